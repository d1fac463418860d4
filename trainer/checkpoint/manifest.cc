#include "trainer/checkpoint/manifest.h"

#include <nlohmann/json.hpp>

namespace pinnerformer {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;

constexpr const char* kFormat = "pinnerformer-checkpoint";
constexpr int kVersion = 2;
constexpr int kWithoutChecksum = 1;  // still read
constexpr size_t kDigits = 16;

// Where the digits of the checksum stand in the text; npos where there is none.
size_t checksum_place(const std::string& text) {
  const std::string key = "\"checksum\": \"";
  const size_t found = text.rfind(key);
  const bool whole = found != std::string::npos && found + key.size() + kDigits <= text.size();
  return whole ? found + key.size() : std::string::npos;
}

std::string checksum_of(std::string text, size_t place) {
  text.replace(place, kDigits, kDigits, '0');
  StreamHash hash;
  hash.add(text.data(), text.size());
  return hash.digest().xxh3;
}

CheckpointInfo from_json(const json& manifest) {
  CheckpointInfo info;
  info.step = manifest.at("step");
  info.position = {manifest.at("epoch"), manifest.at("epoch_consumed")};
  info.samples = manifest.at("samples");
  info.world_size = manifest.at("world_size");
  info.dataset_fingerprint = manifest.at("dataset_fingerprint");
  if (manifest.contains("loss") && !manifest.at("loss").is_null())
    info.loss = manifest.at("loss").get<double>();
  for (const auto& [name, digest] : manifest.at("files").items())
    info.files[name] = {digest.at("bytes"), digest.at("xxh3")};
  return info;
}

}  // namespace

std::string manifest_text(const CheckpointInfo& info) {
  ordered_json files = ordered_json::object();
  for (const auto& [name, digest] : info.files)
    files[name] = {{"bytes", digest.bytes}, {"xxh3", digest.xxh3}};
  const ordered_json manifest{{"format", kFormat},
                              {"version", kVersion},
                              {"step", info.step},
                              {"epoch", info.position.epoch},
                              {"epoch_consumed", info.position.consumed},
                              {"samples", info.samples},
                              {"world_size", info.world_size},
                              {"dataset_fingerprint", info.dataset_fingerprint},
                              {"loss", info.loss ? ordered_json(*info.loss) : ordered_json()},
                              {"files", files},
                              {"checksum", std::string(kDigits, '0')}};
  std::string text = manifest.dump(2) + "\n";
  const size_t place = checksum_place(text);
  return text.replace(place, kDigits, checksum_of(text, place));
}

CheckpointInfo parse_manifest(const std::string& text, const std::string& path) try {
  const json manifest = json::parse(text);
  if (manifest.at("format") != kFormat)
    throw CheckpointError(path + " is no manifest of a " + kFormat);
  if (manifest.at("version") == kWithoutChecksum) return from_json(manifest);
  const size_t place = checksum_place(text);
  if (place == std::string::npos || checksum_of(text, place) != text.substr(place, kDigits))
    throw CheckpointError(path + " is damaged: its checksum is not that of its content");
  if (manifest.at("version").get<int>() > kVersion)
    throw NewerVersionError(path + " has format version " + manifest.at("version").dump() +
                            ", this program reads up to " + std::to_string(kVersion) +
                            ": use the newer pinnerformer that wrote it");
  return from_json(manifest);
} catch (const json::exception& error) {
  throw CheckpointError(path + " is damaged: " + error.what());
}

}  // namespace pinnerformer
