#include "launch/cli/json_file.h"

#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <iostream>
#include <nlohmann/json.hpp>
#include <optional>
#include <string_view>
#include <system_error>

#include "dataloader/base/published_file.h"
#include "launch/cli/exit_code.h"
#include "launch/cli/option_checks.h"

namespace pinnerformer {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

// The descriptor that the name stands for; nothing where it stands for none.
std::optional<int> descriptor_named(const std::string& file) {
  if (file == "/dev/stdout") return 1;
  if (file == "/dev/stderr") return 2;
  for (const std::string_view folder : {"/dev/fd/", "/proc/self/fd/"}) {
    if (!file.starts_with(folder)) continue;
    int descriptor = -1;
    const char* const end = file.data() + file.size();
    const auto [rest, error] = std::from_chars(file.data() + folder.size(), end, descriptor);
    if (error == std::errc() && rest == end) return descriptor;
  }
  return std::nullopt;
}

// A pipe, a device or an open descriptor (/dev/stdout, /dev/fd/N) is written to, never replaced.
bool is_stream(const fs::path& file) {
  std::error_code ignored;
  const fs::file_type type = fs::status(file, ignored).type();
  return type == fs::file_type::fifo || type == fs::file_type::character ||
         type == fs::file_type::socket || descriptor_named(file).has_value() ||
         file.string().starts_with("/dev/fd/") || file.string().starts_with("/proc/");
}

// Opened by its name, a file would be written from its start, over what the descriptor has written.
void write_to(int descriptor, const std::string& file, std::string_view text) {
  std::cout << std::flush;
  while (!text.empty()) {
    const ssize_t written = ::write(descriptor, text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) throw IoError("cannot write " + file + ": " + std::strerror(errno));
    text.remove_prefix(static_cast<size_t>(written));
  }
}

// Whether readers of a checkpoint, an index, an export or of vectors need this file.
bool is_description(const fs::path& file) {
  std::error_code ignored;
  const fs::path directory = file.parent_path();
  const auto has = [&](const fs::path& path) { return fs::exists(path, ignored); };
  const std::string name = file.filename();
  if (!has(file)) return false;
  if (name == "data.json") return has(directory / "MANIFEST.json");
  if (name == "export.json") return has(directory / "items.h5");
  return name == "MANIFEST.json" || name.ends_with(".hnsw.json") ||
         has(fs::path(file).replace_extension(".npy"));
}

}  // namespace

void write_json_file(const std::string& file, const nlohmann::json& result) {
  if (file.empty()) return;
  // Ids and titles of a dataset need not be UTF-8: better a replaced letter than no result.
  const std::string text =
      result.dump(2, ' ', /*ensure_ascii=*/false, nlohmann::json::error_handler_t::replace) + "\n";
  try {
    if (const std::optional<int> descriptor = descriptor_named(file)) {
      write_to(*descriptor, file, text);
    } else if (is_stream(file)) {
      File::append_to(file).append(text.data(), std::ssize(text));
    } else {
      publish_text(file, text);
    }
  } catch (const IoError& error) {
    throw IoError(std::string("the result (--json): ") + error.what());
  }
}

void check_json_file(const std::string& file) {
  if (file.empty() || is_stream(file)) return;
  require_ending("json", file, "JSON", {".json", ".txt"});
  if (is_description(file))
    throw UsageError("--json " + file +
                     ": it would replace the description of a checkpoint, an index, an export or "
                     "vectors; choose another name");
  try {
    check_replaceable(file);
  } catch (const IoError& error) {
    throw UsageError(std::string("--json: ") + error.what());
  }
}

json read_json_file(const std::string& file) try {
  constexpr int64_t kMostBytes = int64_t{32} << 20;
  constexpr int kMostDepth = 32;
  const auto limit_depth = [&](int depth, json::parse_event_t event, const json&) {
    const bool opens =
        event == json::parse_event_t::object_start || event == json::parse_event_t::array_start;
    if (opens && depth >= kMostDepth)
      throw DataError(file + ": its JSON is nested more than " + std::to_string(kMostDepth) +
                      " levels deep");
    return true;
  };
  return json::parse(read_whole_file(file, kMostBytes), limit_depth);
} catch (const json::parse_error& error) {
  throw DataError(file + " is not JSON: an error at byte " + std::to_string(error.byte));
} catch (const json::exception&) {
  throw DataError(file + " is not JSON, or has a number out of range");
}

}  // namespace pinnerformer
