// The header is a Python dictionary as text: {'descr': '<f4', 'fortran_order': False, 'shape': (3,
// 4)}
#include "dataloader/import/npy_file.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <optional>

#include "dataloader/base/errors.h"
#include "dataloader/import/parquet_vectors.h"

namespace pinnerformer {
namespace {

constexpr std::string_view kMagic = "\x93NUMPY";

// What follows 'key': in the header.
std::string_view value_of(const std::string& header, const std::string& key) {
  const size_t at = header.find("'" + key + "':");
  if (at == std::string::npos) return {};
  const size_t start = header.find_first_not_of(' ', at + key.size() + 3);
  return start == std::string::npos ? std::string_view() : std::string_view(header).substr(start);
}

ElementType type_of(std::string_view description) {
  if (description.starts_with("'<f2'")) return ElementType::kFloat16;
  if (description.starts_with("'<f4'")) return ElementType::kFloat32;
  if (description.starts_with("'<f8'")) return ElementType::kFloat64;
  if (description.starts_with("'<i4'")) return ElementType::kInt32;
  if (description.starts_with("'<i8'")) return ElementType::kInt64;
  return ElementType::kOther;
}

// "(3, 4)" -> 3, 4. Nothing where it is not a tuple of numbers that are not negative.
std::optional<std::vector<int64_t>> shape_of(std::string_view text) {
  if (!text.starts_with('(')) return std::nullopt;
  std::vector<int64_t> shape;
  for (size_t i = 1; i < text.size();) {
    if (text[i] == ')') return shape;
    if (text[i] == ',' || text[i] == ' ') {
      ++i;
      continue;
    }
    int64_t extent = 0;
    const auto result = std::from_chars(text.data() + i, text.data() + text.size(), extent);
    if (result.ec != std::errc() || extent < 0) return std::nullopt;
    shape.push_back(extent);
    i = static_cast<size_t>(result.ptr - text.data());
  }
  return std::nullopt;
}

template <typename Stored, typename Value>
void copy_values(const std::vector<char>& bytes, Value* out) {
  for (size_t i = 0; i < bytes.size() / sizeof(Stored); ++i) {
    Stored value;
    std::memcpy(&value, bytes.data() + i * sizeof(Stored), sizeof(Stored));
    out[i] = static_cast<Value>(value);
  }
}

// Rows of integers from row `first` on, each of `width`.
template <typename Stored>
void copy_integers(const std::vector<char>& bytes, float* out, const std::string& path,
                   int64_t first, int64_t width) {
  std::vector<Stored> values(bytes.size() / sizeof(Stored));
  if (!bytes.empty()) std::memcpy(values.data(), bytes.data(), bytes.size());
  const auto wrong =
      std::ranges::find_if(values, [](Stored value) { return !is_exact_float(value); });
  if (wrong != values.end())
    refuse_inexact(path + ", row " + std::to_string(first + (wrong - values.begin()) / width + 1),
                   std::to_string(*wrong));
  std::ranges::copy(values, out);
}

}  // namespace

NpyFile::NpyFile(const std::string& path) : file_(File::open(path)) {
  std::array<char, 12> start{};
  const int64_t size = file_.size();
  if (size >= static_cast<int64_t>(start.size())) file_.read_at(0, start.data(), start.size());
  if (std::string_view(start.data(), kMagic.size()) != kMagic) {
    throw DataError(path + ": expected a NumPy .npy file");
  }
  if (start[6] < 1 || start[6] > 3 || start[7] != 0) {
    throw DataError(path + ": expected version 1.0, 2.0 or 3.0 of the .npy format, found " +
                    std::to_string(static_cast<unsigned char>(start[6])) + "." +
                    std::to_string(static_cast<unsigned char>(start[7])));
  }
  const bool is_short = start[6] == 1;  // version 1 has a two-byte length
  uint32_t length = 0;
  std::memcpy(&length, start.data() + 8, is_short ? 2 : 4);
  data_ = (is_short ? 10 : 12) + static_cast<int64_t>(length);
  constexpr uint32_t kLongestHeader = 1 << 20;
  if (data_ > size || length > kLongestHeader)
    throw DataError(path + ": the header is cut short, or longer than 1 MiB");
  std::string header(length, ' ');
  file_.read_at(is_short ? 10 : 12, header.data(), static_cast<int64_t>(length));
  parse_header(header);
  const std::optional<int64_t> bytes = array_bytes(type_, shape_);
  if (!bytes || size - data_ != *bytes) {
    throw DataError(
        path + ": expected " +
        (bytes ? std::to_string(*bytes) + " bytes" : "more bytes than a file can have") +
        " after the header, found " + std::to_string(size - data_) + "; was it copied whole?");
  }
}

void NpyFile::parse_header(const std::string& header) {
  type_ = type_of(value_of(header, "descr"));
  if (type_ == ElementType::kOther || !value_of(header, "fortran_order").starts_with("False")) {
    throw DataError(file_.path() +
                    ": expected a C-ordered array of little-endian float16, float32, float64, "
                    "int32 or int64, as numpy.ascontiguousarray(x, '<f4') makes it, found " +
                    header.substr(0, header.find('\n')));
  }
  const auto shape = shape_of(value_of(header, "shape"));
  if (!shape)
    throw DataError(file_.path() + ": expected a shape such as (3, 4), found " +
                    header.substr(0, header.find('\n')));
  shape_ = *shape;
}

void NpyFile::read_rows(int64_t first, int64_t count, float* out) const {
  const int64_t row_bytes = shape_[1] * size_of(type_);
  std::vector<char> bytes(static_cast<size_t>(count * row_bytes));
  file_.read_at(data_ + first * row_bytes, bytes.data(), count * row_bytes);
  switch (type_) {
    case ElementType::kFloat16:
      return copy_values<c10::Half>(bytes, out);
    case ElementType::kFloat32:
      return copy_values<float>(bytes, out);
    case ElementType::kFloat64:
      return copy_values<double>(bytes, out);
    case ElementType::kInt32:
      return copy_integers<int32_t>(bytes, out, file_.path(), first, shape_[1]);
    default:
      return copy_integers<int64_t>(bytes, out, file_.path(), first, shape_[1]);
  }
}

std::vector<int64_t> NpyFile::read_integers() const {
  if (shape_.size() != 1) throw DataError(file_.path() + ": expected a one-dimensional array");
  std::vector<int64_t> values(static_cast<size_t>(shape_[0]));
  std::vector<char> bytes(static_cast<size_t>(shape_[0] * size_of(type_)));
  file_.read_at(data_, bytes.data(), static_cast<int64_t>(bytes.size()));
  switch (type_) {
    case ElementType::kInt32:
      copy_values<int32_t>(bytes, values.data());
      return values;
    case ElementType::kInt64:
      copy_values<int64_t>(bytes, values.data());
      return values;
    default:
      throw DataError(file_.path() + ": expected integers, found " + name_of(type_));
  }
}

}  // namespace pinnerformer
