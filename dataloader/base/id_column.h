// A column of external ids, all 64-bit integers or all strings, packed: no allocation per id.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace pinnerformer {

class IdColumn {
 public:
  explicit IdColumn(bool integers = true) : integers_(integers) {}

  [[nodiscard]] bool integers() const { return integers_; }
  [[nodiscard]] int64_t size() const {
    return static_cast<int64_t>(integers_ ? numbers_.size() : ends_.size());
  }
  void push_back(int64_t id) { numbers_.push_back(id); }
  void push_back(std::string_view id) {
    bytes_.append(id);
    ends_.push_back(static_cast<int64_t>(bytes_.size()));
  }

  [[nodiscard]] int64_t number(int64_t row) const { return numbers_[static_cast<size_t>(row)]; }
  [[nodiscard]] const std::vector<int64_t>& numbers() const { return numbers_; }
  [[nodiscard]] std::string_view view(int64_t row) const {  // of string columns
    const auto at = static_cast<size_t>(row);
    const int64_t start = at == 0 ? 0 : ends_[at - 1];
    return std::string_view(bytes_).substr(static_cast<size_t>(start),
                                           static_cast<size_t>(ends_[at] - start));
  }
  [[nodiscard]] std::string text(int64_t row) const {
    return integers_ ? std::to_string(number(row)) : std::string(view(row));
  }

 private:
  bool integers_;
  std::vector<int64_t> numbers_;
  std::string bytes_;
  std::vector<int64_t> ends_;  // end of each string in bytes_
};

}  // namespace pinnerformer
