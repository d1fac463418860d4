#include "trainer/checkpoint/manifest.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "trainer/checkpoint/bounded_json.h"

namespace pinnerformer {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;

constexpr const char* kFormat = "pinnerformer-checkpoint";
constexpr int64_t kVersion = 2;
constexpr int64_t kWithoutChecksum = 1;  // still read
constexpr size_t kDigits = 16;
constexpr int64_t kMostBytes = int64_t{1} << 20;  // a manifest has about 2,000
constexpr int kMostDepth = 3;                     // the manifest, its files, one of them
constexpr size_t kLongestName = 255;

// Where the digits of the checksum begin in the text; npos where there is none.
size_t checksum_position(const std::string& text) {
  const std::string key = "\"checksum\": \"";
  const size_t found = text.rfind(key);
  const bool whole = found != std::string::npos && found + key.size() + kDigits <= text.size();
  return whole ? found + key.size() : std::string::npos;
}

std::string checksum_of(std::string text, size_t position) {
  text.replace(position, kDigits, kDigits, '0');
  StreamHash hash;
  hash.add(text.data(), text.size());
  return hash_text(hash.value());
}

bool is_checksum(const std::string& text) {
  return text.size() == kDigits && text.find_first_not_of("0123456789abcdef") == std::string::npos;
}

// A name with a folder would let a manifest name files outside of its checkpoint.
bool is_plain_name(const std::string& name) {
  const bool printable_ascii =
      std::ranges::all_of(name, [](char c) { return c > ' ' && c < 0x7f; });
  return printable_ascii && !name.empty() && name.size() <= kLongestName && name[0] != '.' &&
         name.find('/') == std::string::npos && name != kManifestName;
}

std::map<std::string, FileDigest> files_of(const json& manifest, const std::string& path) {
  const auto found = manifest.find("files");
  if (found == manifest.end() || !found->is_object())
    throw CheckpointError(path + ": \"files\" is " +
                          (found == manifest.end() ? "missing" : printable_json(*found)) +
                          ", expected an object of file names");
  std::map<std::string, FileDigest> files;
  for (const auto& [name, entry] : found->items()) {
    if (!is_plain_name(name))
      throw CheckpointError(path + ": \"files\" names " + printable_json(name) +
                            ", expected names of files beside the manifest");
    const std::string where = path + ": \"" + name + "\"";
    const FileDigest digest = digest_of(entry, where);
    if (!is_checksum(digest.xxh3))
      throw CheckpointError(where + ": \"xxh3\" is " + printable_json(digest.xxh3) +
                            ", expected 16 hexadecimal digits");
    files[name] = digest;
  }
  return files;
}

void require_files(const CheckpointInfo& info, const std::string& path) {
  std::vector<std::string> needed{kModelFile, kTrainingFile, kConfigFile};
  if (info.files.contains(kItemTableFile)) needed.emplace_back(kItemTableTrainingFile);
  if (info.files.contains(kItemTableTrainingFile)) needed.emplace_back(kItemTableFile);
  if (info.files.contains(kItemTableChangesFile)) needed.emplace_back(kItemTableFile);
  for (const std::string& name : needed)
    if (!info.files.contains(name))
      throw CheckpointError(path + ": \"files\" does not name " + name +
                            ", without which no checkpoint can be used");
}

std::optional<double> loss_of(const json& manifest, const std::string& path) {
  const auto found = manifest.find("loss");
  if (found == manifest.end() || found->is_null()) return std::nullopt;
  if (!found->is_number())
    throw CheckpointError(path + ": \"loss\" is " + printable_json(*found) +
                          ", expected a number or null");
  return found->get<double>();
}

BestStep best_of(const json& manifest, const std::string& path) {
  const auto found = manifest.find("best");
  if (found == manifest.end() || found->is_null()) return {};
  if (!found->is_object())
    throw CheckpointError(path + ": \"best\" is " + printable_json(*found) +
                          ", expected an object or null");
  const std::string where = path + ": \"best\"";
  return {whole_number(*found, "step", 0, where), number_entry(*found, "recall_at_10", where),
          whole_number(*found, "validations_since", 0, where)};
}

ordered_json json_of(const BestStep& best) {
  if (best.step < 0) return {};
  return {{"step", best.step},
          {"recall_at_10", best.recall_at_10},
          {"validations_since", best.validations_since}};
}

InitialWeights initial_of(const json& manifest, const std::string& path) {
  const auto found = manifest.find("initial_weights");
  if (found == manifest.end() || found->is_null()) return {};
  if (!found->is_object())
    throw CheckpointError(path + ": \"initial_weights\" is " + printable_json(*found) +
                          ", expected an object or null");
  const std::string where = path + ": \"initial_weights\"";
  return {text_entry(*found, "checkpoint", where), whole_number(*found, "step", 0, where),
          text_entry(*found, "model", where)};
}

ordered_json json_of(const InitialWeights& initial) {
  if (initial.checkpoint.empty()) return {};
  return {{"checkpoint", initial.checkpoint}, {"step", initial.step}, {"model", initial.model}};
}

CheckpointInfo info_of(const json& manifest, const std::string& path) {
  CheckpointInfo info;
  info.step = whole_number(manifest, "step", 0, path);
  info.position.epoch = whole_number(manifest, "epoch", 0, path);
  info.position.consumed = whole_number(manifest, "epoch_consumed", 0, path);
  info.samples = whole_number(manifest, "samples", 0, path);
  info.world_size =
      static_cast<int>(std::min<int64_t>(INT32_MAX, whole_number(manifest, "world_size", 1, path)));
  info.dataset_fingerprint = text_entry(manifest, "dataset_fingerprint", path);
  info.loss = loss_of(manifest, path);
  info.best = best_of(manifest, path);
  info.initial = initial_of(manifest, path);
  info.files = files_of(manifest, path);
  require_files(info, path);
  return info;
}

}  // namespace

std::string manifest_text(const CheckpointInfo& info) {
  ordered_json files = ordered_json::object();
  for (const auto& [name, digest] : info.files) files[name] = digest_json(digest);
  const ordered_json manifest{{"format", kFormat},
                              {"version", kVersion},
                              {"step", info.step},
                              {"epoch", info.position.epoch},
                              {"epoch_consumed", info.position.consumed},
                              {"samples", info.samples},
                              {"world_size", info.world_size},
                              {"dataset_fingerprint", info.dataset_fingerprint},
                              {"loss", info.loss ? ordered_json(*info.loss) : ordered_json()},
                              {"best", json_of(info.best)},
                              {"initial_weights", json_of(info.initial)},
                              {"files", files},
                              {"checksum", std::string(kDigits, '0')}};
  std::string text = manifest.dump(2) + "\n";
  const size_t position = checksum_position(text);
  return text.replace(position, kDigits, checksum_of(text, position));
}

CheckpointInfo parse_manifest(const std::string& text, const std::string& path) {
  const json manifest = parse_bounded_json(text, kMostDepth, path);
  if (text_entry(manifest, "format", path) != kFormat)
    throw CheckpointError(path + " is no manifest of a " + kFormat);
  const int64_t version = whole_number(manifest, "version", kWithoutChecksum, path);
  if (version == kWithoutChecksum) return info_of(manifest, path);
  const size_t position = checksum_position(text);
  if (position == std::string::npos ||
      checksum_of(text, position) != text.substr(position, kDigits))
    throw CheckpointError(path + " is damaged: its checksum is not that of its content");
  if (version > kVersion)
    throw NewerVersionError(path + " has format version " + std::to_string(version) +
                            ", this program reads up to " + std::to_string(kVersion) +
                            ": use the newer pinnerformer that wrote it");
  return info_of(manifest, path);
}

CheckpointInfo read_manifest_file(const std::string& directory) {
  const std::string path = directory + "/" + kManifestName;
  return parse_manifest(read_bounded_text(path, kMostBytes), path);
}

}  // namespace pinnerformer
