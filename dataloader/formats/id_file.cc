#include "dataloader/formats/id_file.h"

#include <string_view>

#include "dataloader/base/errors.h"
#include "dataloader/base/printable.h"
#include "dataloader/import/npy_file.h"

namespace pinnerformer {
namespace {

constexpr int64_t kMostTextBytes = int64_t{64} << 30;

void require_rows(const std::string& path, int64_t expected, int64_t found) {
  if (expected != found)
    throw DataError(path + ": expected " + std::to_string(expected) + " ids, found " +
                    std::to_string(found));
}

IdColumn read_numbers(const std::string& path, int64_t rows) {
  const NpyFile file(path);
  if (file.type() != ElementType::kInt64 || file.shape().size() != 1)
    throw DataError(path + ": expected one row of int64 numbers, found " + name_of(file.type()) +
                    " in " + std::to_string(file.shape().size()) + " dimensions");
  require_rows(path, rows, file.shape().front());
  IdColumn ids;
  for (const int64_t id : file.read_integers()) ids.push_back(id);
  return ids;
}

IdColumn read_lines(const std::string& path, int64_t rows) {
  const std::string text = read_whole_file(path, kMostTextBytes);
  if (!text.empty() && text.back() != '\n')
    throw DataError(path + ": its last line has no end: the file is not complete");
  IdColumn ids(false);
  for (size_t start = 0; start < text.size();) {
    const size_t end = text.find('\n', start);
    ids.push_back(std::string_view(text).substr(start, end - start));
    start = end + 1;
  }
  require_rows(path, rows, ids.size());
  return ids;
}

}  // namespace

std::string id_file_name(const std::string& stem, bool integers) {
  return stem + (integers ? ".ids.npy" : ".ids.txt");
}

IdFileWriter::IdFileWriter(const std::string& stem, bool integers, int64_t rows) {
  const std::string path = id_file_name(stem, integers);
  if (integers) {
    numbers_.emplace(path, ElementType::kInt64, std::vector<int64_t>{rows});
  } else {
    lines_.emplace(path);
  }
}

void IdFileWriter::append(const IdColumn& ids) {
  if (numbers_) {
    numbers_->append(ids.numbers().data(), ids.size() * int64_t{sizeof(int64_t)});
    return;
  }
  std::string lines;
  for (int64_t i = 0; i < ids.size(); ++i) {
    const std::string_view id = ids.view(i);
    if (id.find('\n') != std::string_view::npos)
      throw DataError(
          "the id '" + printable(id) +
          "' has a line end in it and cannot stand in a file of one id per line. `embed` to "
          "HDF5 or Parquet holds such ids; an index needs other ids");
    lines.append(id).push_back('\n');
  }
  lines_->file().append(lines.data(), std::ssize(lines));
  hash_.add(lines.data(), lines.size());
  bytes_ += std::ssize(lines);
}

FileDigest IdFileWriter::digest() const {
  return numbers_ ? numbers_->digest() : FileDigest{bytes_, hash_text(hash_.value())};
}

void IdFileWriter::publish() { numbers_ ? numbers_->publish() : lines_->publish(); }

IdColumn read_id_file(const std::string& stem, bool integers, int64_t rows) {
  const std::string path = id_file_name(stem, integers);
  return integers ? read_numbers(path, rows) : read_lines(path, rows);
}

}  // namespace pinnerformer
