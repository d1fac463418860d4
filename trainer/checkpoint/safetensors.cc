#include "trainer/checkpoint/safetensors.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <nlohmann/json.hpp>

#include "dataloader/base/errors.h"
#include "trainer/checkpoint/bounded_json.h"
#include "trainer/errors.h"

namespace pinnerformer {
namespace {

using nlohmann::json;

constexpr int64_t kSliceBytes = int64_t{16} << 20;

struct TypeName {
  torch::ScalarType type;
  const char* name;
};
constexpr TypeName kTypes[] = {{torch::kFloat32, "F32"}, {torch::kFloat64, "F64"},
                               {torch::kFloat16, "F16"}, {torch::kBFloat16, "BF16"},
                               {torch::kInt64, "I64"},   {torch::kInt32, "I32"},
                               {torch::kUInt8, "U8"},    {torch::kBool, "BOOL"}};

const char* name_of(torch::ScalarType type) {
  for (const TypeName& entry : kTypes)
    if (entry.type == type) return entry.name;
  TORCH_CHECK(false, "no safetensors name for ", type);
}

torch::ScalarType type_of(const std::string& name, const std::string& where) {
  for (const TypeName& entry : kTypes)
    if (name == entry.name) return entry.type;
  throw DataError(where + " has an unknown element type");
}

int64_t row_bytes(torch::ScalarType type, const std::vector<int64_t>& shape) {
  auto bytes = static_cast<int64_t>(c10::elementSize(type));
  for (size_t i = 1; i < shape.size(); ++i) bytes *= shape[i];
  return bytes;
}

int64_t rows_of(const std::vector<int64_t>& shape) { return shape.empty() ? 1 : shape[0]; }

std::string make_header(const std::vector<SlicedTensor>& tensors) {
  json header = json::object();
  int64_t offset = 0;
  for (const SlicedTensor& tensor : tensors) {
    const int64_t bytes = rows_of(tensor.shape) * row_bytes(tensor.type, tensor.shape);
    header[tensor.name] = {{"dtype", name_of(tensor.type)},
                           {"shape", tensor.shape},
                           {"data_offsets", {offset, offset + bytes}}};
    offset += bytes;
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');  // keeps the data aligned
  return text;
}

// Whether `shape` has exactly `bytes` bytes. Checked before anything is allocated.
bool fits(const std::vector<int64_t>& shape, size_t element_size, int64_t bytes) {
  auto total = static_cast<int64_t>(element_size);
  for (const int64_t size : shape)
    if (size < 0 || __builtin_mul_overflow(total, size, &total)) return false;
  return total == bytes;
}

// The data section of an open file.
struct DataSection {
  int64_t begin = 0;
  int64_t bytes = 0;
};

std::vector<int64_t> whole_numbers(const json& entry, const char* key, const std::string& where) {
  const auto found = entry.find(key);
  if (found == entry.end() || !found->is_array())
    throw DataError(where + " has no list \"" + key + "\"");
  std::vector<int64_t> numbers;
  for (const json& value : *found) numbers.push_back(as_whole_number(value, key, 0, where));
  return numbers;
}

SafetensorsFile::Entry read_entry(const json& entry, const DataSection& data,
                                  const std::string& where) {
  const torch::ScalarType type = type_of(text_entry(entry, "dtype", where), where);
  const std::vector<int64_t> shape = whole_numbers(entry, "shape", where);
  const std::vector<int64_t> range = whole_numbers(entry, "data_offsets", where);
  if (range.size() != 2 || range[1] < range[0] || range[1] > data.bytes)
    throw DataError(where + " has \"data_offsets\" " + entry.at("data_offsets").dump() +
                    ", expected a range within the " + std::to_string(data.bytes) +
                    " bytes of data");
  const int64_t begin = range[0], bytes = range[1] - range[0];
  if (!fits(shape, c10::elementSize(type), bytes))
    throw DataError(where + ": its shape does not fit its " + std::to_string(bytes) + " bytes");
  return {type, shape, data.begin + begin, bytes};
}

// Tensors must lie one after another and fill the file. Otherwise a few bytes of header could claim
// the same data many times, and more memory than the file has.
void check_layout(const std::map<std::string, SafetensorsFile::Entry>& entries,
                  const DataSection& data, const std::string& path) {
  std::vector<std::pair<int64_t, int64_t>> ranges;  // offset and bytes
  for (const auto& [name, entry] : entries) ranges.emplace_back(entry.offset, entry.bytes);
  std::ranges::sort(ranges);
  int64_t end = data.begin;
  for (const auto& [offset, bytes] : ranges) {
    if (offset != end)
      throw DataError(path + ": a tensor begins at byte " + std::to_string(offset) + ", expected " +
                      std::to_string(end) + ", where the one before ends");
    end += bytes;
  }
  if (end != data.begin + data.bytes)
    throw DataError(path + ": its tensors end at byte " + std::to_string(end) +
                    ", expected the end of the file at " + std::to_string(data.begin + data.bytes));
}

std::string read_header(const File& file, int64_t size) {
  uint64_t length = 0;
  constexpr uint64_t kLongestHeader = 4 << 20;  // for some 30,000 tensors
  if (size < static_cast<int64_t>(sizeof length))
    throw DataError(file.path() + ": not a safetensors file: it has " + std::to_string(size) +
                    " bytes");
  file.read_at(0, &length, sizeof length);
  if (length > kLongestHeader)
    throw DataError(file.path() + ": not a safetensors file: its header has " +
                    std::to_string(length) + " bytes, expected at most " +
                    std::to_string(kLongestHeader));
  if (static_cast<int64_t>(sizeof length + length) > size)
    throw DataError(file.path() + ": the file ends inside its header");
  std::string header(length, '\0');
  file.read_at(sizeof length, header.data(), static_cast<int64_t>(length));
  return header;
}

// The file is in a manifest that has been checked: that it is missing is a failure of the disk, not
// a wrong name.
File open_file(const std::string& path) try {
  return File::open(path);
} catch (const MissingInputError& error) {
  throw IoError(error.what());
}

}  // namespace

int64_t rows_of_slice(const SlicedTensor& tensor, int64_t bytes) {
  return std::max<int64_t>(1, bytes / std::max<int64_t>(1, row_bytes(tensor.type, tensor.shape)));
}

void for_each_slice(const SlicedTensor& tensor,
                    const std::function<void(int64_t first, int64_t count)>& use) {
  const int64_t rows = rows_of(tensor.shape), step = rows_of_slice(tensor, kSliceBytes);
  for (int64_t first = 0; first < rows; first += step) use(first, std::min(step, rows - first));
}

FileDigest write_sliced_safetensors(const std::string& path,
                                    const std::vector<SlicedTensor>& tensors) {
  const std::string header = make_header(tensors);
  const auto length = static_cast<uint64_t>(header.size());
  DurableFile file(path);
  file.write(&length, sizeof length);
  file.write(header.data(), header.size());
  for (const SlicedTensor& tensor : tensors)
    for_each_slice(tensor, [&](int64_t first, int64_t count) {
      const torch::Tensor slice = tensor.slice(first, count).contiguous();
      TORCH_CHECK(slice.scalar_type() == tensor.type, tensor.name, ": a slice is ",
                  slice.scalar_type(), ", the tensor ", tensor.type);
      file.write(slice.const_data_ptr(), slice.nbytes());
    });
  return file.finish();
}

FileDigest write_safetensors(const std::string& path,
                             const std::map<std::string, torch::Tensor>& tensors) {
  std::vector<SlicedTensor> sliced;
  for (const auto& [name, tensor] : tensors)
    sliced.push_back({name, tensor.scalar_type(), tensor.sizes().vec(),
                      [tensor = tensor.detach()](int64_t first, int64_t count) {
                        return (tensor.dim() == 0 ? tensor : tensor.narrow(0, first, count)).cpu();
                      }});
  return write_sliced_safetensors(path, sliced);
}

SafetensorsFile::SafetensorsFile(const std::string& path) : file_(open_file(path)) {
  const int64_t size = file_.size();
  const std::string header = read_header(file_, size);
  constexpr int kMostDepth = 3;  // the header, a tensor, its shape
  const auto begin = static_cast<int64_t>(sizeof(uint64_t) + header.size());
  const DataSection data{begin, size - begin};
  try {
    const json tensors = parse_bounded_json(header, kMostDepth, path);
    if (!tensors.is_object()) throw DataError(path + ": its header is no JSON object");
    for (const auto& [name, entry] : tensors.items())
      if (name != "__metadata__")
        entries_[name] = read_entry(entry, data, path + ": tensor " + printable_json(name));
  } catch (const CheckpointError& error) {
    throw DataError(error.what());
  }
  check_layout(entries_, data, path);
}

const SafetensorsFile::Entry& SafetensorsFile::entry(const std::string& name,
                                                     torch::ScalarType type,
                                                     size_t dimensions) const {
  const auto found = entries_.find(name);
  if (found == entries_.end()) throw DataError(path() + ": has no tensor '" + name + "'");
  const Entry& entry = found->second;
  if (entry.type != type || entry.shape.size() != dimensions)
    throw DataError(path() + ": tensor '" + name + "' is " + name_of(entry.type) + " of " +
                    std::to_string(entry.shape.size()) + " dimensions, expected " + name_of(type) +
                    " of " + std::to_string(dimensions));
  return entry;
}

torch::Tensor SafetensorsFile::read(const Entry& entry, int64_t first, int64_t count) const {
  std::vector<int64_t> shape = entry.shape;
  if (!shape.empty()) shape[0] = count;
  torch::Tensor rows = torch::empty(shape, entry.type);
  file_.read_at(entry.offset + first * row_bytes(entry.type, entry.shape), rows.data_ptr(),
                static_cast<int64_t>(rows.nbytes()));
  return rows;
}

torch::Tensor SafetensorsFile::map(const Entry& entry) const {
  const auto pages = std::make_shared<ReadOnlyMap>(file_, entry.offset, entry.bytes);
  // from_blob takes a mutable pointer. The tensor keeps the map alive.
  return torch::from_blob(
      const_cast<void*>(pages->data()), entry.shape, [pages](void*) {},
      torch::TensorOptions().dtype(entry.type));
}

std::map<std::string, torch::Tensor> read_safetensors(const std::string& path) {
  const SafetensorsFile file(path);
  std::map<std::string, torch::Tensor> tensors;
  for (const auto& [name, entry] : file.entries())
    tensors[name] = file.read(entry, 0, rows_of(entry.shape));
  return tensors;
}

}  // namespace pinnerformer
