// The library defines the datasets and writes strings; numbers go straight to where they lie.
#include "dataloader/vectors/embedding_file.h"

#include <algorithm>

#include "dataloader/base/checksum.h"
#include "dataloader/base/errors.h"
#include "dataloader/base/file.h"
#include "dataloader/base/printable.h"
#include "dataloader/base/sparse_file.h"

namespace pinnerformer {
namespace {

constexpr const char* kFormat = "pinnerformer-vectors";
constexpr int64_t kVersion = 2;
constexpr int64_t kIdsAtOnce = 65536;

// "/user/vector" -> "/checksum/user/vector"
std::string sums_name(const std::string& dataset) { return "/checksum" + dataset; }

int64_t blocks_of(int64_t bytes) { return (bytes + kChecksumBlockBytes - 1) / kChecksumBlockBytes; }

// The stored checksums of a dataset of so many bytes; none where the file has none.
std::vector<uint64_t> stored_checksums(const H5File& file, const std::string& dataset,
                                       int64_t bytes) {
  if (!file.has(sums_name(dataset))) return {};
  std::vector<uint64_t> sums = file.read_words(sums_name(dataset));
  if (std::ssize(sums) == blocks_of(bytes)) return sums;
  throw DataError(file.path() + ": dataset " + sums_name(dataset) + ": expected " +
                  std::to_string(blocks_of(bytes)) + " blocks, found " +
                  std::to_string(sums.size()));
}

[[noreturn]] void refuse_rows(const std::string& path, const std::string& dataset, int64_t first,
                              int64_t end, const std::string& fault) {
  throw DataError(path + ": dataset " + dataset + ", rows " + std::to_string(first) + " to " +
                  std::to_string(end - 1) + ": " + fault +
                  "; copy the file again or run `pinnerformer embed` again");
}

void check_format(const H5File& file) {
  if (!file.has_attribute("format") || file.text_attribute("format") != kFormat)
    throw DataError(file.path() +
                    " is no vector file: expected one that `pinnerformer embed` wrote");
  const int64_t version = file.integer_attribute("version");
  if (version != kVersion)
    throw DataError(file.path() + ": expected vector file version " + std::to_string(kVersion) +
                    ", found " + std::to_string(version) + "; run `pinnerformer embed` again");
}

void write_string_ids(H5File& file, const EmbeddingFileShape& set) {
  IdColumn block(false);
  file.write_strings(set.group + "/id", set.rows, [&](int64_t row) {
    if (row % kIdsAtOnce == 0) block = set.next_ids(std::min(kIdsAtOnce, set.rows - row));
    return block.text(row % kIdsAtOnce);
  });
}

}  // namespace

void require_version(const EmbeddingVersion& found, const std::string& where,
                     const EmbeddingVersion& expected, const std::string& whose,
                     const std::string& remedy) {
  const auto require = [&](const char* kind, const std::string& there, const std::string& here) {
    if (there == here) return;
    throw DataError("the vectors of " + where + " have " + kind + " version " + there + ", " +
                    whose + " has " + here + ": vectors of different versions must not be mixed. " +
                    remedy);
  };
  require("model", found.model, expected.model);
  require("content", found.content, expected.content);
}

void require_width(const EmbeddingFileReader& found, int64_t width) {
  if (found.width() == width) return;
  throw DataError(found.path() + ": expected vectors of " + std::to_string(width) +
                  " numbers, as the model makes, found " + std::to_string(found.width()) +
                  ". Embed all users and items anew, without --merge");
}

void require_topic(const EmbeddingFileReader& found, const std::string& topic) {
  if (found.topic() == topic) return;
  const auto named = [](const std::string& name) {
    return name.empty() ? std::string("items of any topic")
                        : "items of the topic '" + printable(name) + "'";
  };
  throw DataError(found.path() + ": expected vectors of users for " + named(topic) +
                  ", found vectors for " + named(found.topic()) +
                  ": they must not stand in one set. Give the --topic of that file, or embed all "
                  "users anew, without --merge");
}

std::string checksum_note(const EmbeddingFileReader& found) {
  if (found.has_checksums()) return "";
  return "note: " + found.path() +
         " has no checksums, since an earlier version wrote it: damage in it cannot be found\n";
}

EmbeddingFileReader::EmbeddingFileReader(const std::string& path, const std::string& group)
    : file_(H5File::open(path)),
      bytes_(File::open(path)),
      id_(group + "/id"),
      vector_(group + "/vector") {
  require_written(bytes_);
  check_format(file_);
  if (!file_.has(id_))
    throw DataError(path + " has no " +
                    (group == "/state" ? "states" : group.substr(1) + " vectors") +
                    ": `pinnerformer embed` writes them " +
                    (group == "/state" ? "with --states" : "unless it is told to leave them out"));
  version_ = {file_.text_attribute("model_version", group),
              file_.text_attribute("content_version", group)};
  if (file_.has_attribute("topic")) topic_ = file_.text_attribute("topic");
  integer_ids_ = !file_.holds_strings(id_);
  const ArrayLayout layout =
      file_.layout(vector_, {ElementType::kFloat32, ElementType::kFloat16}, 2);
  type_ = layout.type;
  rows_ = layout.shape[0];
  width_ = layout.shape[1];
  offset_ = layout.offset;
  const int64_t ids = file_.describe(id_).shape.at(0);
  if (ids != rows_)
    throw DataError(path + ": dataset " + id_ + ": expected " + std::to_string(rows_) +
                    " ids, as there are vectors, found " + std::to_string(ids));
  if (width_ < 1) throw DataError(path + ": dataset " + vector_ + ": its vectors have no numbers");
  checksums_ = stored_checksums(file_, vector_, layout.bytes);
  verified_.resize(checksums_.size());
  if (integer_ids_) check_ids();
}

void EmbeddingFileReader::check_ids() const {
  const ArrayLayout layout = file_.layout(id_, {ElementType::kInt64}, 1);
  const std::vector<uint64_t> sums = stored_checksums(file_, id_, layout.bytes);
  if (sums.empty() || block_checksums(bytes_, layout.offset, layout.bytes) == sums) return;
  refuse_rows(path(), id_, 0, rows_, "the ids do not match their checksums");
}

void EmbeddingFileReader::verify(int64_t first_byte, int64_t end_byte) const {
  if (checksums_.empty()) return;
  const int64_t row = row_bytes();
  for (int64_t start = first_byte / kChecksumBlockBytes * kChecksumBlockBytes; start < end_byte;
       start += kChecksumBlockBytes) {
    const auto block = static_cast<size_t>(start / kChecksumBlockBytes);
    if (verified_[block]) continue;
    const int64_t bytes = std::min(kChecksumBlockBytes, rows_ * row - start);
    if (block_checksums(bytes_, offset_ + start, bytes).front() != checksums_[block])
      refuse_rows(path(), vector_, start / row, (start + bytes + row - 1) / row,
                  "the vectors do not match their checksum");
    verified_[block] = true;
  }
}

IdColumn EmbeddingFileReader::ids(int64_t first, int64_t count) const {
  IdColumn column(integer_ids_);
  if (!integer_ids_) {
    file_.read_strings(id_, first, count, [&](std::string_view id) { column.push_back(id); });
    return column;
  }
  std::vector<int64_t> numbers(static_cast<size_t>(count));
  if (count > 0) file_.read_rows(id_, first, count, numbers.data());
  for (const int64_t number : numbers) column.push_back(number);
  return column;
}

torch::Tensor EmbeddingFileReader::vectors(int64_t first, int64_t count) const {
  TORCH_CHECK(first >= 0 && first + count <= rows_, path(), ": rows ", first, " to ", first + count,
              " of ", rows_);
  torch::Tensor out = torch::empty(
      {count, width_}, type_ == ElementType::kFloat16 ? torch::kFloat16 : torch::kFloat32);
  const int64_t row = row_bytes();
  verify(first * row, (first + count) * row);
  bytes_.read_at(offset_ + first * row, out.data_ptr(), count * row);
  if (!out.isfinite().all().item<bool>())
    refuse_rows(path(), vector_, first, first + count, "expected finite numbers");
  return out.to(torch::kFloat32);
}

EmbeddingFileWriter::EmbeddingFileWriter(std::string path, const EmbeddingVersion& version,
                                         const std::vector<EmbeddingFileShape>& sets,
                                         const EmbeddingSource& source)
    : path_(std::move(path)), partial_(std::in_place, path_) {
  H5File file = H5File::create(partial_->path());
  file.set_attribute("format", std::string(kFormat));
  file.set_attribute("version", kVersion);
  file.set_attribute("run", source.run);
  file.set_attribute("checkpoint", source.checkpoint);
  file.set_attribute("step", source.step);
  if (!source.topic.empty()) file.set_attribute("topic", source.topic);
  for (const EmbeddingFileShape& set : sets) {
    if (set.integer_ids) {
      file.define(set.group + "/id", ElementType::kInt64, {set.rows});
    } else {
      write_string_ids(file, set);
    }
    file.define(set.group + "/vector", set.type, {set.rows, set.width});
    const int64_t row = set.width * size_of(set.type);
    file.define(sums_name(set.group + "/vector"), ElementType::kUint64,
                {blocks_of(set.rows * row)});
    if (set.integer_ids)
      file.define(sums_name(set.group + "/id"), ElementType::kUint64,
                  {blocks_of(set.rows * int64_t{sizeof(int64_t)})});
    file.set_attribute("model_version", version.model, set.group);
    file.set_attribute("content_version", version.content, set.group);
  }
  file.close();

  file = H5File::open(partial_->path());
  for (const EmbeddingFileShape& set : sets) {
    const auto sums = [&](const std::string& dataset) {
      return file.layout(sums_name(dataset), {ElementType::kUint64}, 1);
    };
    if (set.integer_ids) {
      const ArrayLayout ids = file.layout(set.group + "/id", {ElementType::kInt64}, 1);
      write_integer_ids(set, ids.offset);
      summed_.push_back({ids, sums(set.group + "/id")});
    }
    const ArrayLayout layout = file.layout(set.group + "/vector", {set.type}, 2);
    places_.push_back({set.group, set.rows, set.width, layout.offset, set.type});
    summed_.push_back({layout, sums(set.group + "/vector")});
  }
}

void EmbeddingFileWriter::write_integer_ids(const EmbeddingFileShape& set, int64_t offset) {
  for (int64_t row = 0; row < set.rows; row += kIdsAtOnce) {
    const IdColumn block = set.next_ids(std::min(kIdsAtOnce, set.rows - row));
    partial_->file().write_at(offset + row * int64_t{sizeof(int64_t)}, block.numbers().data(),
                              block.size() * int64_t{sizeof(int64_t)});
  }
}

void EmbeddingFileWriter::write(const std::string& group, int64_t first,
                                const torch::Tensor& vectors) {
  const auto place = std::ranges::find(places_, group, &Place::group);
  TORCH_CHECK(partial_ && place != places_.end(), path_, ": ", group, " cannot be written now");
  TORCH_CHECK(vectors.dim() == 2 && vectors.size(1) == place->width && first >= 0 &&
                  first + vectors.size(0) <= place->rows &&
                  vectors.scalar_type() == torch::kFloat32,
              path_, ": ", group, " is [", place->rows, ", ", place->width, "], not ",
              vectors.sizes(), " from row ", first);
  if (vectors.numel() == 0) return;
  const torch::Tensor values = stored_numbers(vectors, place->type, group, first);
  const int64_t row = place->width * size_of(place->type);
  partial_->file().write_at(place->offset + first * row, values.const_data_ptr(),
                            vectors.size(0) * row);
}

void EmbeddingFileWriter::write_checksums() {
  for (const Summed& one : summed_) {
    const std::vector<uint64_t> sums =
        block_checksums(partial_->file(), one.content.offset, one.content.bytes);
    partial_->file().write_at(one.checksums.offset, sums.data(), one.checksums.bytes);
  }
}

void EmbeddingFileWriter::publish() {
  write_checksums();
  partial_->publish();
  partial_.reset();
}

}  // namespace pinnerformer
