#include "launch/cli/option_checks.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <string_view>

#include "dataloader/base/time_text.h"
#include "launch/cli/exit_code.h"

namespace pinnerformer {
namespace {

// The ending of `path` where it belongs to a format, else "".
std::string ending_of_a_format(const std::string& path) {
  constexpr auto kEndings = std::to_array<std::string_view>(
      {".pq",   ".feather", ".arrow", ".pkl",  ".csv",     ".gz",   ".h5",  ".hdf5", ".hnsw",
       ".html", ".json",    ".jsonl", ".npy",  ".npz",     ".onnx", ".pt",  ".pth",  ".safetensors",
       ".tar",  ".tsv",     ".txt",   ".yaml", ".parquet", ".yml",  ".zip", ".zst"});
  const std::string ending = std::filesystem::path(path).extension();
  return std::ranges::find(kEndings, ending) == kEndings.end() ? "" : ending;
}

}  // namespace

int64_t time_option(const std::string& name, const std::string& text) {
  if (const std::string problem = time_problem(text); !problem.empty())
    throw UsageError("--" + name + " " + problem);
  return *parse_utc(text);
}

void require_at_least(const std::string& name, int64_t value, int64_t least) {
  if (value < least)
    throw UsageError("--" + name + " must be at least " + std::to_string(least) + ", not " +
                     std::to_string(value));
}

void require_between(const std::string& name, int64_t value, int64_t least, int64_t most) {
  if (value < least || value > most)
    throw UsageError("--" + name + " " + std::to_string(value) + ": expected " +
                     std::to_string(least) + " to " + std::to_string(most));
}

void require_ending(const std::string& name, const std::string& file, const std::string& what,
                    std::initializer_list<std::string_view> endings) {
  const std::string ending = ending_of_a_format(file);
  if (ending.empty() || std::ranges::find(endings, ending) != endings.end()) return;
  throw UsageError("--" + name + " " + file + ": the file is " + what + ", not " + ending +
                   "; give it the ending " + std::string(*endings.begin()));
}

void require_hdf5_ending(const std::string& name, const std::string& file) {
  require_ending(name, file, "HDF5", {".h5", ".hdf5"});
  const std::filesystem::path path(file);
  const std::string base = path.filename();
  const bool is_part = base == "items.h5" || (base.starts_with("users-") && base.ends_with(".h5"));
  if (is_part && std::filesystem::exists(path.parent_path() / "items.h5"))
    throw UsageError("--" + name + " " + file +
                     ": it would replace a file of a dataset or an export; choose another name");
}

void require_directory_name(const std::string& name, const std::string& directory) {
  const std::string ending = ending_of_a_format(directory);
  if (!ending.empty())
    throw UsageError("--" + name + " " + directory + ": a directory is written, no " + ending +
                     " file; leave the ending out");
}

bool lies_within(const std::string& path, const std::string& directory) {
  std::error_code ignored;
  const auto canonical = [&ignored](const std::string& name) {
    return std::filesystem::weakly_canonical(std::filesystem::absolute(name), ignored);
  };
  const auto relative = canonical(path).lexically_relative(canonical(directory));
  return !relative.empty() && *relative.begin() != "..";
}

void require_json_apart(const std::string& json, const std::string& own) {
  if (json.empty() || own.empty() || !lies_within(json, own)) return;
  throw UsageError("--json " + json + ": --out writes " + own +
                   ", and the result would take its place; choose another name");
}

}  // namespace pinnerformer
