#include "launch/serving/item_index.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "dataloader/base/errors.h"
#include "dataloader/formats/id_file.h"
#include "trainer/checkpoint/bounded_json.h"
#include "trainer/errors.h"

namespace pinnerformer {
namespace {

using Json = nlohmann::json;

constexpr const char* kFormat = "pinnerformer item index";
constexpr int64_t kVersion = 1;
constexpr int64_t kMostBytes = int64_t{1} << 20;

FileDigest read_digest(const Json& object, const char* name, const std::string& path) {
  if (!object.contains(name) || !object[name].is_object())
    throw DataError(path + ": has no entry \"" + name + "\"");
  return digest_of(object[name], path);
}

void check_format(const Json& object, const std::string& path) {
  if (!object.is_object() || object.value("format", Json()) != kFormat)
    throw DataError(path +
                    " describes no item index: expected one that `pinnerformer index` wrote");
  const int64_t version = whole_number(object, "version", 1, path);
  if (version != kVersion)
    throw DataError(path + ": expected item index version " + std::to_string(kVersion) +
                    ", found " + std::to_string(version) + "; run `pinnerformer index` again");
}

ItemIndexDescription description_of(const Json& object, const std::string& path) {
  check_format(object, path);
  ItemIndexDescription found;
  found.version = {text_entry(object, "model_version", path),
                   text_entry(object, "content_version", path)};
  found.shape = {whole_number(object, "rows", 1, path), whole_number(object, "dimensions", 1, path),
                 whole_number(object, "m", 2, path)};
  found.ef_construction = whole_number(object, "ef_construction", 1, path);
  found.ef = whole_number(object, "ef", 1, path);
  const std::string id_type = text_entry(object, "id_type", path);
  if (id_type != "integer" && id_type != "string")
    throw DataError(path + ": \"id_type\" is '" + id_type + "', expected integer or string");
  found.integer_ids = id_type == "integer";
  found.recall = {number_entry(object, "recall_at_10", path),
                  whole_number(object, "recall_queries", 1, path),
                  text_entry(object, "recall_query_kind", path)};
  found.graph = read_digest(object, "index_file", path);
  found.ids = read_digest(object, "id_file", path);
  return found;
}

}  // namespace

std::string index_description_name(const std::string& path) { return path + ".json"; }

nlohmann::ordered_json to_json(const ItemIndexDescription& description) {
  return {{"format", kFormat},
          {"version", kVersion},
          {"model_version", description.version.model},
          {"content_version", description.version.content},
          {"rows", description.shape.rows},
          {"dimensions", description.shape.width},
          {"space", "inner product"},
          {"m", description.shape.m},
          {"ef_construction", description.ef_construction},
          {"ef", description.ef},
          {"id_type", description.integer_ids ? "integer" : "string"},
          {"recall_at_10", description.recall.at_10},
          {"recall_queries", description.recall.queries},
          {"recall_query_kind", description.recall.kind},
          {"index_file", digest_json(description.graph)},
          {"id_file", digest_json(description.ids)}};
}

ItemIndexDescription read_index_description(const std::string& path) try {
  const std::string text = read_whole_file(path, kMostBytes);
  return description_of(parse_bounded_json(text, /*most_depth=*/4, path), path);
} catch (const CheckpointError& error) {  // of the functions that read JSON
  throw DataError(error.what());
}

ItemIndex::ItemIndex(const std::string& path)
    : path_(path), description_(read_index_description(index_description_name(path))) {
  const auto require = [&](const File& file, const FileDigest& expected) {
    require_digest(file, expected, index_description_name(path),
                   "Copy all files of the index again, or run `pinnerformer index` again");
  };
  // An index may be replaced meanwhile: the ids are checked after they were read, the graph is read
  // from the file that was checked.
  const bool integers = description_.integer_ids;
  ids_ = read_id_file(path, integers, description_.shape.rows);
  require(File::open(id_file_name(path, integers)), description_.ids);
  File graph = File::open(path);
  require(graph, description_.graph);
  graph_.emplace(std::move(graph), description_.shape);
  graph_->set_ef(std::min(description_.ef, description_.shape.rows));
}

}  // namespace pinnerformer
