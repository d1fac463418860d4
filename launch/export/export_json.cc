#include "launch/export/export_json.h"

#include <nlohmann/json.hpp>

#include "dataloader/base/enum_name.h"
#include "dataloader/base/errors.h"
#include "launch/export/export_format.h"
#include "trainer/checkpoint/bounded_json.h"
#include "trainer/errors.h"

namespace pinnerformer {
namespace {

using Json = nlohmann::ordered_json;

constexpr int64_t kMostManifestBytes = int64_t{1} << 20;

// Names of a dataset are checked to be UTF-8 when it is opened; a path need not be.
std::string text_of(const Json& object) {
  return object.dump(2, ' ', /*ensure_ascii=*/false, Json::error_handler_t::replace) + "\n";
}

Json versions(const char* format, const EmbeddingVersion& version) {
  return {{"format", format},
          {"version", kExportVersion},
          {"model_version", version.model},
          {"content_version", version.content}};
}

Json features_json(const FeatureOptions& features) {
  return {{"content", features.content},   {"time", features.time},
          {"surface", features.surface},   {"action", features.action},
          {"duration", features.duration}, {"position", features.position}};
}

Json options_json(const TowerSpec& spec) {
  const ModelOptions& options = spec.options;
  return {{"max_length", options.max_length},
          {"hidden", options.hidden},
          {"layers", options.layers},
          {"heads", options.heads},
          {"output", options.output},
          {"block", enum_name(options.block)},
          {"user_head", enum_name(options.user_head)},
          {"similarity", enum_name(options.similarity)},
          {"user_vectors", options.user_vectors},
          {"condition", enum_name(options.condition)},
          {"item_tower", enum_name(spec.item_tower)},
          {"features", features_json(options.features)}};
}

Json time_json(const TowerSpec& spec) {
  Json periods = Json::object();
  for (const auto& [name, period] : spec.periods)
    periods[name] = std::vector<int64_t>(period.data_ptr<int64_t>(),
                                         period.data_ptr<int64_t>() + period.numel());
  return {{"periods_us", periods}, {"log_scale_seconds", 28 * 86400}};
}

std::vector<float> floats_of(const torch::Tensor& values) {
  if (!values.defined()) return {};
  return {values.data_ptr<float>(), values.data_ptr<float>() + values.numel()};
}

Json inputs_json(const std::vector<TowerInput>& inputs, const char* batch) {
  Json list = Json::array();
  for (const TowerInput& input : inputs) {
    Json shape = Json::array({batch});
    for (const std::string& size : input.shape)
      size == "S" ? shape.push_back(size) : shape.push_back(std::stoll(size));
    list.push_back(
        {{"name", input.name}, {"type", input.integers ? "int64" : "float32"}, {"shape", shape}});
  }
  return list;
}

Json indices_json(const std::vector<std::string>& names) {
  Json object = Json::object();
  for (size_t i = 0; i < names.size(); ++i) object[names[i]] = i;
  return object;
}

const char* id_type(bool integers) { return integers ? "integer" : "string"; }

std::string content_type(const Dataset& dataset) {
  if (!dataset.item_vectors().defined()) return "none";
  return dataset.item_vectors().scalar_type() == torch::kFloat16 ? "float16" : "float32";
}

// Only plain names: nothing outside of the directory is read.
FileDigest file_entry(const nlohmann::json& files, std::string_view name, const std::string& path) {
  const auto entry = files.find(name);
  if (entry == files.end() || !entry->is_object())
    throw DataError(path + " does not list " + std::string(name) +
                    "; write the export again with `pinnerformer export`");
  return digest_of(*entry, path);
}

}  // namespace

std::string model_json(const TowerSpec& spec) {
  Json object = versions("pinnerformer model", spec.version);
  object["options"] = options_json(spec);
  object["widths"] = {{"content", spec.content_width}, {"id_rows", spec.id_width},
                      {"code_sums", spec.code_width},  {"actions", spec.actions},
                      {"surfaces", spec.surfaces},     {"vector", spec.dimensions()}};
  object["time"] = time_json(spec);
  object["layer_norm_epsilon"] = 1e-5;
  object["least_norm"] = 1e-6;
  object["profile_events"] = 20;
  object["temperature"] = spec.temperature;
  object["prior"] = {{"days", spec.options.prior_days}, {"weights", floats_of(spec.prior)}};
  return text_of(object);
}

std::string preprocessing_json(const TowerSpec& spec, const DataContract& contract,
                               const Dataset& dataset) {
  Json object = versions("pinnerformer preprocessing", spec.version);
  object["max_length"] = spec.options.max_length;
  object["events"] = "the newest max_length events, oldest first, padded on the right";
  object["time_unit"] = "seconds since 1970, UTC";
  object["duration_unit"] = "seconds";
  object["absent_duration"] = -1;
  object["item_id"] = id_type(dataset.item_ids_are_integers());
  object["user_id"] = id_type(dataset.user_ids_are_integers());
  object["actions"] = indices_json(contract.actions);
  object["surfaces"] = indices_json(contract.surfaces);
  if (spec.topics > 0) object["topics"] = indices_json(contract.topics);
  const char* rule = "leave out and count";
  object["on_unknown"] = {{"action", rule}, {"surface", rule}, {"item", rule}};
  object["content"] = {{"width", spec.content_width}, {"type", content_type(dataset)}};
  object["id_rows"] = {{"width", spec.id_width}};
  object["inputs"] = inputs_json(user_tower_inputs(spec), "B");
  object["item_inputs"] = inputs_json(item_tower_inputs(spec), "N");
  object["dimensions"] = spec.dimensions();
  object["user_vectors"] = spec.options.user_vectors;
  return text_of(object);
}

std::string export_json(const EmbeddingVersion& version, const EmbeddingSource& source,
                        const std::map<std::string, FileDigest>& files) {
  Json object = versions(kExportFormat, version);
  object["run"] = source.run;
  object["checkpoint"] = source.checkpoint;
  object["step"] = source.step;
  object["files"] = Json::object();
  for (const auto& [name, digest] : files) object["files"][name] = digest_json(digest);
  return text_of(object);
}

ExportManifest read_export_json(const std::string& path) try {
  const nlohmann::json object =
      parse_bounded_json(read_whole_file(path, kMostManifestBytes), /*most_depth=*/4, path);
  if (!object.is_object() || !object.contains("format") || object["format"] != kExportFormat)
    throw DataError(path + " is not the export.json of `pinnerformer export`");
  if (const int64_t version = whole_number(object, "version", 1, path); version != kExportVersion)
    throw DataError(path + ": expected export version " + std::to_string(kExportVersion) +
                    ", found " + std::to_string(version) +
                    "; export again with this program, or use the program that wrote it");
  ExportManifest manifest{
      {text_entry(object, "model_version", path), text_entry(object, "content_version", path)},
      {text_entry(object, "run", path), text_entry(object, "checkpoint", path),
       whole_number(object, "step", 0, path)},
      {}};
  if (!object.contains("files") || !object["files"].is_object())
    throw DataError(path + " has no list of files");
  for (const std::string_view name : kExportFiles)
    manifest.files[std::string(name)] = file_entry(object["files"], name, path);
  return manifest;
} catch (const CheckpointError& error) {
  throw DataError(error.what());
}

}  // namespace pinnerformer
