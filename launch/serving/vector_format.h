// The formats in which `embed` writes vectors (docs/data_format.md, "Vector files").
#pragma once
#include <array>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "dataloader/vectors/embedding_file.h"

namespace pinnerformer {

enum class VectorFormat { kH5, kParquet, kNpy };
constexpr auto enum_names(VectorFormat) {
  return std::to_array<std::string_view>({"h5", "parquet", "npy"});
}

// The format of --format, or where that is "" the one of the name's ending: HDF5 for a name with an
// ending of its own. Throws UsageError for an unknown format, and for a name whose ending is that
// of another format.
[[nodiscard]] VectorFormat vector_format(const std::string& format, const std::string& out);
// "float32" or "float16". Throws UsageError.
[[nodiscard]] ElementType vector_type(const std::string& dtype);

// "a/v.npy", 1 of 4 -> "a/v-00001-of-00004.npy".
[[nodiscard]] std::string shard_name(const std::string& path, int shard, int shards);

// Parquet and .npy files hold one set, and write() takes its rows in order. A .npy file has its ids
// and a description beside it: STEM.ids.npy or STEM.ids.txt, and STEM.json. Every failure to write
// is an IoError; DataError for an id that cannot stand in the file.
[[nodiscard]] std::unique_ptr<EmbeddingWriter> make_vector_writer(
    VectorFormat format, const std::string& path, const EmbeddingVersion& version,
    const std::vector<EmbeddingFileShape>& sets, const EmbeddingSource& source);

}  // namespace pinnerformer
