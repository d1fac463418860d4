// Layout: a header, one record per vector (links of the lowest level, numbers, label), then per
// vector the size of its links on upper levels and these links.
#include "launch/index/hnsw_file.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "dataloader/base/errors.h"
#include "dataloader/base/row_set.h"

namespace pinnerformer {
namespace {

constexpr int64_t kHeaderBytes = 96;
constexpr int64_t kLinkBytes = 4;
constexpr int64_t kLabelBytes = 8;
constexpr int64_t kBytesAtOnce = int64_t{8} << 20;
constexpr int64_t kMostLevels = 64;

template <class Value>
Value value_at(const char* bytes) {
  Value value;
  std::memcpy(&value, bytes, sizeof value);
  return value;
}

class HnswFileCheck {
 public:
  HnswFileCheck(const File& file, const HnswShape& shape)
      : file_(file), shape_(shape), labels_(shape.rows) {}

  void run() {
    check_sizes();
    check_header();
    check_records();
    read_upper_links();
    check_upper_links();
  }

 private:
  [[noreturn]] void refuse(const std::string& fault) const {
    throw DataError(file_.path() + " is damaged: " + fault +
                    "; copy it again or run `pinnerformer index` again");
  }

  void require(std::string_view name, int64_t expected, int64_t found) const {
    if (expected != found)
      refuse(std::string(name) + ": expected " + std::to_string(expected) + ", found " +
             std::to_string(found));
  }

  [[nodiscard]] int64_t list_bytes(int64_t links) const { return kLinkBytes * (1 + links); }
  [[nodiscard]] int64_t record_bytes() const {
    return list_bytes(2 * shape_.m) + shape_.width * int64_t{sizeof(float)} + kLabelBytes;
  }
  [[nodiscard]] int64_t upper_offset() const { return kHeaderBytes + shape_.rows * record_bytes(); }

  void check_sizes() const {
    const bool sane = shape_.rows >= 1 && shape_.rows <= kMostHnswRows && shape_.width >= 1 &&
                      shape_.width <= kMostHnswWidth && shape_.m >= 2 && shape_.m <= kMostHnswLinks;
    if (!sane)
      refuse("it should have " + std::to_string(shape_.rows) + " vectors of " +
             std::to_string(shape_.width) + " numbers and " + std::to_string(shape_.m) + " links");
    const int64_t least = upper_offset() + shape_.rows * kLinkBytes;
    if (file_.size() < least)
      refuse("expected " + std::to_string(least) + " bytes or more, found " +
             std::to_string(file_.size()));
  }

  void check_header() {
    std::vector<char> header(kHeaderBytes);
    file_.read_at(0, header.data(), kHeaderBytes);
    const auto whole = [&](int64_t at) { return value_at<int64_t>(header.data() + at); };
    const int64_t label = list_bytes(2 * shape_.m) + shape_.width * int64_t{sizeof(float)};
    require("start of the links", 0, whole(0));
    require("capacity", shape_.rows, whole(8));
    require("number of vectors", shape_.rows, whole(16));
    require("bytes of a vector with its links", record_bytes(), whole(24));
    require("place of the label", label, whole(32));
    require("place of the vector", list_bytes(2 * shape_.m), whole(40));
    require("links of an upper level", shape_.m, whole(56));
    require("links of the lowest level", 2 * shape_.m, whole(64));
    require("links", shape_.m, whole(72));
    top_level_ = value_at<int32_t>(header.data() + 48);
    entry_ = value_at<uint32_t>(header.data() + 52);
    if (top_level_ < 0 || top_level_ > kMostLevels)
      refuse("its highest level is " + std::to_string(top_level_));
    require_row("entry point", entry_);
  }

  void require_row(const char* what, int64_t row) const {
    if (row >= shape_.rows)
      refuse(std::string(what) + " " + std::to_string(row) + " of " + std::to_string(shape_.rows) +
             " vectors");
  }

  // One list of links. A flag in its count would mark a deleted vector.
  void check_list(const char* list, int64_t most) const {
    const auto count = value_at<uint32_t>(list);
    if (count > most)
      refuse("a vector has " + std::to_string(count) + " links, expected up to " +
             std::to_string(most));
    for (uint32_t i = 1; i <= count; ++i)
      require_row("a link to", value_at<uint32_t>(list + i * kLinkBytes));
  }

  void check_records() {
    const int64_t at_once = std::max<int64_t>(1, kBytesAtOnce / record_bytes());
    std::vector<char> block;
    for (int64_t first = 0; first < shape_.rows; first += at_once) {
      const int64_t count = std::min(at_once, shape_.rows - first);
      block.resize(static_cast<size_t>(count * record_bytes()));
      file_.read_at(kHeaderBytes + first * record_bytes(), block.data(), std::ssize(block));
      for (int64_t i = 0; i < count; ++i) check_record(block.data() + i * record_bytes());
    }
  }

  void check_record(const char* record) {
    check_list(record, 2 * shape_.m);
    const char* numbers = record + list_bytes(2 * shape_.m);
    for (int64_t i = 0; i < shape_.width; ++i)
      if (!std::isfinite(value_at<float>(numbers + i * int64_t{sizeof(float)})))
        refuse("a vector has a number that is not finite");
    const auto label = value_at<uint64_t>(numbers + shape_.width * int64_t{sizeof(float)});
    if (label >= static_cast<uint64_t>(shape_.rows))
      refuse("a vector is called row " + std::to_string(label) + " of " +
             std::to_string(shape_.rows));
    const auto row = static_cast<int64_t>(label);
    if (labels_.contains(row)) refuse("two vectors are called row " + std::to_string(row));
    labels_.add(row);
  }

  // Every size is compared with what is left of the file before it is used.
  void read_upper_links() {
    upper_.resize(static_cast<size_t>(file_.size() - upper_offset()));
    file_.read_at(upper_offset(), upper_.data(), std::ssize(upper_));
    const int64_t level_bytes = list_bytes(shape_.m);
    int64_t at = 0;
    for (int64_t row = 0; row < shape_.rows; ++row) {
      if (at + kLinkBytes > std::ssize(upper_)) refuse("its links end too early");
      const int64_t bytes = value_at<uint32_t>(upper_.data() + at);
      at += kLinkBytes;
      if (bytes % level_bytes != 0 || bytes > std::ssize(upper_) - at)
        refuse("vector " + std::to_string(row) + " has " + std::to_string(bytes) +
               " bytes of links on upper levels");
      const int64_t levels = bytes / level_bytes;
      if (levels > top_level_)
        refuse("vector " + std::to_string(row) + " is on level " + std::to_string(levels) + " of " +
               std::to_string(top_level_));
      levels_.push_back(static_cast<uint8_t>(levels));
      at += bytes;
    }
    require("bytes of links on upper levels", at, std::ssize(upper_));
    require("level of the entry point", top_level_, levels_[entry_]);
  }

  // A link on a level leads to a vector that has links there too.
  void check_upper_links() const {
    const char* list = upper_.data();
    for (const uint8_t levels : levels_) {
      list += kLinkBytes;
      for (int level = 1; level <= levels; ++level, list += list_bytes(shape_.m)) {
        check_list(list, shape_.m);
        const auto count = value_at<uint32_t>(list);
        for (uint32_t i = 1; i <= count; ++i)
          if (levels_[value_at<uint32_t>(list + i * kLinkBytes)] < level)
            refuse("a link on level " + std::to_string(level) + " leads to a lower vector");
      }
    }
  }

  const File& file_;
  HnswShape shape_;
  RowSet labels_;
  int64_t top_level_ = 0;
  uint32_t entry_ = 0;
  std::vector<char> upper_;      // sizes and links of the upper levels
  std::vector<uint8_t> levels_;  // the highest level of each vector
};

}  // namespace

void check_hnsw_file(const File& file, const HnswShape& shape) { HnswFileCheck(file, shape).run(); }

}  // namespace pinnerformer
