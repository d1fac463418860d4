#include "trainer/checkpoint/data_contract.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "dataloader/base/checksum.h"
#include "dataloader/base/errors.h"
#include "trainer/checkpoint/bounded_json.h"
#include "trainer/errors.h"

namespace pinnerformer {
namespace {

constexpr int64_t kSampledItems = 256;

torch::Tensor vector_of(const Dataset& dataset, int64_t item) {
  return dataset.item_vectors()[item].to(torch::kFloat32).contiguous();
}

std::string hash_of(const torch::Tensor& vector) {
  return hash_text(hash_bytes(vector.const_data_ptr(), static_cast<int64_t>(vector.nbytes())));
}

// One item with a vector from each of kSampledItems equal parts of the items.
std::map<std::string, std::string> sample_vectors(const Dataset& dataset) {
  std::map<std::string, std::string> sample;
  const int64_t stretches = std::min(kSampledItems, dataset.items());
  for (int64_t i = 0; i < stretches; ++i) {
    const int64_t end = dataset.items() * (i + 1) / stretches;
    for (int64_t item = dataset.items() * i / stretches; item < end; ++item) {
      const torch::Tensor vector = vector_of(dataset, item);
      if (!vector.any().item<bool>()) continue;
      sample[dataset.item_id(item)] = hash_of(vector);
      break;
    }
  }
  return sample;
}

void require_names(const char* kind, const std::vector<std::string>& names,
                   const std::vector<std::string>& known, const std::string& dataset,
                   const std::string& source) {
  std::string unknown, all;
  for (const std::string& name : names)
    if (std::ranges::find(known, name) == known.end())
      unknown += (unknown.empty() ? "'" : ", '") + name + "'";
  for (const std::string& name : known) all += (all.empty() ? "" : ", ") + name;
  if (!unknown.empty())
    throw DataError(dataset + " has the " + kind + " " + unknown + ", which the model of " +
                    source + " does not know (it knows: " + all +
                    "). Leave such events out of the import, or train on data that has them");
}

void require_same_vectors(const Dataset& dataset, const DataContract& contract,
                          const std::string& source) {
  int64_t shared = 0;
  for (const auto& [id, hash] : contract.vector_sample) {
    const auto item = dataset.find_item(id);
    if (!item) continue;
    ++shared;
    if (hash_of(vector_of(dataset, *item)) == hash) continue;
    throw DataError(
        "the content vector of item " + id + " in " + dataset.directory() +
        " is not the one that the model of " + source + " was trained on (content version " +
        contract.content_version() +
        "): another encoder made it. Import the vectors of the same encoder, or train anew");
  }
  if (shared == 0 && !contract.vector_sample.empty())
    throw DataError(dataset.directory() + " has none of the items whose content vectors " + source +
                    " knows: whether the same encoder made its vectors cannot be told. Keep some "
                    "items of the training data");
}

void require_same_codebooks(const Dataset& dataset, const DataContract& contract,
                            const std::string& source) {
  const std::string found = codebooks_version(dataset);
  if (found == contract.codebooks) return;
  throw DataError("the codebooks of the semantic ids in " + dataset.directory() + " are " + found +
                  ", the model of " + source + " has learned rows for those of " +
                  contract.codebooks + ": take them over with `pinnerformer semantic-ids --into " +
                  dataset.directory() + " --codebooks-of DIR`, where DIR is the training data");
}

const char* id_type(bool integers) { return integers ? "integer" : "string"; }

std::optional<bool> integer_items(const nlohmann::json& stored, const std::string& source) {
  if (!stored.contains("item_id")) return std::nullopt;
  for (const bool integers : {true, false})
    if (stored.at("item_id") == id_type(integers)) return integers;
  throw CheckpointError(source + " is damaged: 'item_id' is neither \"integer\" nor \"string\"");
}

}  // namespace

std::string DataContract::content_version() const {
  if (vector_width == 0) return "none";
  Fingerprint fingerprint;
  fingerprint.add(vector_width);
  for (const auto& [id, hash] : vector_sample) {
    fingerprint.add(std::string_view(id));
    fingerprint.add(std::string_view(hash));
  }
  return hash_text(fingerprint.value());
}

DataContract data_contract(const Dataset& dataset) {
  DataContract contract{dataset.actions(), dataset.surfaces(), dataset.vector_width(), {}, {}};
  if (contract.vector_width > 0) contract.vector_sample = sample_vectors(dataset);
  contract.integer_items = dataset.item_ids_are_integers();
  return contract;
}

std::string to_json(const DataContract& contract) {
  nlohmann::ordered_json json{{"actions", contract.actions},
                              {"surfaces", contract.surfaces},
                              {"vector_width", contract.vector_width},
                              {"content_version", contract.content_version()},
                              {"vector_sample", contract.vector_sample}};
  if (!contract.topics.empty()) json["topics"] = contract.topics;
  if (!contract.codebooks.empty()) json["codebooks"] = contract.codebooks;
  if (contract.integer_items) json["item_id"] = id_type(*contract.integer_items);
  return json.dump(2) + "\n";
}

DataContract parse_data_contract(const std::string& text, const std::string& source) try {
  constexpr int kMostDepth = 2;
  const nlohmann::json json = parse_bounded_json(text, kMostDepth, source);
  return {.actions = json.at("actions"),
          .surfaces = json.at("surfaces"),
          .vector_width = whole_number(json, "vector_width", 0, source),
          .topics = json.value("topics", std::vector<std::string>()),
          .vector_sample = json.at("vector_sample"),
          .codebooks = json.value("codebooks", std::string()),
          .integer_items = integer_items(json, source)};
} catch (const nlohmann::json::exception& error) {
  throw CheckpointError(source + " is damaged: an entry is missing or of another type (" +
                        error.what() + ")");
}

void require_contract(const Dataset& dataset, const DataContract& contract,
                      const std::string& source) {
  require_names("action", dataset.actions(), contract.actions, dataset.directory(), source);
  require_names("surface", dataset.surfaces(), contract.surfaces, dataset.directory(), source);
  require_same_content(dataset, contract, source);
}

void require_same_content(const Dataset& dataset, const DataContract& contract,
                          const std::string& source) {
  if (dataset.vector_width() != contract.vector_width)
    throw DataError("the content vectors of " + dataset.directory() + " have " +
                    std::to_string(dataset.vector_width()) + " elements, the model of " + source +
                    " reads " + std::to_string(contract.vector_width) +
                    ": import the vectors of the encoder it was trained with");
  if (contract.vector_width > 0) require_same_vectors(dataset, contract, source);
  if (!contract.codebooks.empty()) require_same_codebooks(dataset, contract, source);
}

void require_same_id_type(const Dataset& dataset, const DataContract& contract,
                          const std::string& source) {
  const bool found = dataset.item_ids_are_integers();
  if (contract.integer_items.value_or(found) == found) return;
  throw DataError(
      "item ids of " + dataset.directory() + " are of type " + id_type(found) + ", those that " +
      source + " was trained on of type " + id_type(*contract.integer_items) +
      ". With item.table.hash_buckets the hash of an id names its row, and the two types "
      "have other hashes. Leave out of the import what made the ids strings, or train "
      "without --init-from");
}

std::string codebooks_version(const Dataset& dataset) {
  const SemanticIds& ids = dataset.semantic_ids();
  if (!ids.defined()) return "none";
  Fingerprint fingerprint;
  fingerprint.add(ids.levels());
  fingerprint.add(std::string_view(hash_of(ids.codebooks)));
  return hash_text(fingerprint.value());
}

std::vector<int64_t> indices_of(const std::vector<std::string>& names,
                                const std::vector<std::string>& known) {
  std::vector<int64_t> indices;
  for (const std::string& name : names)
    indices.push_back(std::ranges::find(known, name) - known.begin());
  return indices;
}

}  // namespace pinnerformer
