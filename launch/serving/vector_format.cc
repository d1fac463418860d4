#include "launch/serving/vector_format.h"

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "dataloader/base/enum_name.h"
#include "dataloader/base/published_file.h"
#include "dataloader/formats/id_file.h"
#include "dataloader/formats/npy_writer.h"
#include "dataloader/formats/parquet_writer.h"
#include "launch/cli/cli.h"
#include "launch/cli/exit_code.h"
#include "launch/cli/option_checks.h"
#include "trainer/checkpoint/bounded_json.h"

namespace pinnerformer {
namespace {

namespace fs = std::filesystem;

// What every file says about its vectors.
FileMetadata metadata_of(const EmbeddingFileShape& set, const EmbeddingVersion& version,
                         const EmbeddingSource& source) {
  FileMetadata metadata = {
      {"format", "pinnerformer-vectors"},   {"version", "2"},
      {"set", set.group.substr(1)},         {"model_version", version.model},
      {"content_version", version.content}, {"run", source.run},
      {"checkpoint", source.checkpoint},    {"step", std::to_string(source.step)}};
  if (!source.topic.empty()) metadata.emplace_back("topic", source.topic);
  return metadata;
}

class ParquetOutput : public EmbeddingWriter {
 public:
  ParquetOutput(const std::string& path, const EmbeddingFileShape& set,
                const FileMetadata& metadata)
      : set_(set), file_(path, {set.width, set.type, set.integer_ids}, metadata) {}

  void write(const std::string& group, int64_t first, const torch::Tensor& vectors) override {
    const torch::Tensor numbers = stored_numbers(vectors, set_.type, group, first);
    file_.append(set_.next_ids(numbers.size(0)), numbers.const_data_ptr());
  }
  void publish() override { file_.publish(); }

 private:
  EmbeddingFileShape set_;
  ParquetVectorWriter file_;
};

// The description has the sums of both files: a reader can tell whether all three belong together.
class NpyOutput : public EmbeddingWriter {
 public:
  NpyOutput(const std::string& path, const EmbeddingFileShape& set, FileMetadata metadata)
      : set_(set),
        stem_(fs::path(path).replace_extension().string()),
        metadata_(std::move(metadata)),
        file_(path, set.type, {set.rows, set.width}),
        ids_(stem_, set.integer_ids, set.rows) {}

  void write(const std::string& group, int64_t first, const torch::Tensor& vectors) override {
    const torch::Tensor numbers = stored_numbers(vectors, set_.type, group, first);
    file_.append(numbers.const_data_ptr(), numbers.numel() * size_of(set_.type));
    ids_.append(set_.next_ids(numbers.size(0)));
  }

  void publish() override {
    nlohmann::ordered_json description;
    for (const auto& [name, value] : metadata_) description[name] = value;
    description["rows"] = set_.rows;
    description["dimensions"] = set_.width;
    description["dtype"] = name_of(set_.type);
    description["vectors"] = digest_json(file_.digest());
    description["ids"] = digest_json(ids_.digest());
    ids_.publish();
    publish_text(stem_ + ".json",
                 description.dump(2, ' ', /*ensure_ascii=*/false,
                                  nlohmann::ordered_json::error_handler_t::replace) +
                     "\n");
    file_.publish();
  }

 private:
  EmbeddingFileShape set_;
  std::string stem_;
  FileMetadata metadata_;
  NpyWriter file_;
  IdFileWriter ids_;
};

// The format whose ending a name has; HDF5 for all others.
VectorFormat format_of_ending(const std::string& ending) {
  if (ending == ".parquet") return VectorFormat::kParquet;
  if (ending == ".npy") return VectorFormat::kNpy;
  return VectorFormat::kH5;
}

}  // namespace

VectorFormat vector_format(const std::string& format, const std::string& out) {
  const std::string ending = fs::path(out).extension();
  const VectorFormat of_ending = format_of_ending(ending);
  if (of_ending == VectorFormat::kH5 && (format.empty() || format == "h5"))
    require_hdf5_ending("out", out);
  if (format.empty()) return of_ending;
  const auto& names = kEnumNames<VectorFormat>;
  require_known("format", format, std::vector<std::string>(names.begin(), names.end()));
  const auto wanted = enum_value<VectorFormat>(format);
  const std::string right = "." + format;
  if (wanted != VectorFormat::kH5 ? ending != right : of_ending != wanted)
    throw UsageError("--out " + out + ": the format is " + format + "; give the file the ending " +
                     right);
  return wanted;
}

ElementType vector_type(const std::string& dtype) {
  const auto names = std::to_array<std::string>({"float16", "float32"});
  require_known("dtype", dtype, names);
  return dtype == "float16" ? ElementType::kFloat16 : ElementType::kFloat32;
}

std::string shard_name(const std::string& path, int shard, int shards) {
  const fs::path whole(path);
  std::array<char, 40> part{};
  std::snprintf(part.data(), part.size(), "-%05d-of-%05d", shard, shards);
  return (whole.parent_path() / (whole.stem().string() + part.data() + whole.extension().string()))
      .string();
}

std::unique_ptr<EmbeddingWriter> make_vector_writer(VectorFormat format, const std::string& path,
                                                    const EmbeddingVersion& version,
                                                    const std::vector<EmbeddingFileShape>& sets,
                                                    const EmbeddingSource& source) {
  if (format == VectorFormat::kH5)
    return std::make_unique<EmbeddingFileWriter>(path, version, sets, source);
  TORCH_CHECK(sets.size() == 1, path, ": one set, not ", sets.size());
  const FileMetadata metadata = metadata_of(sets.front(), version, source);
  if (format == VectorFormat::kParquet)
    return std::make_unique<ParquetOutput>(path, sets.front(), metadata);
  return std::make_unique<NpyOutput>(path, sets.front(), metadata);
}

}  // namespace pinnerformer
