// The safetensors format: 8 bytes of header length, a JSON header, raw little-endian data.
// Readable with the `safetensors` package of Python.
#pragma once
#include <torch/types.h>

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "dataloader/base/durable_file.h"
#include "dataloader/base/file.h"

namespace pinnerformer {

// Tensors by name, written in name order; they may live on any device. Throws IoError.
FileDigest write_safetensors(const std::string& path,
                             const std::map<std::string, torch::Tensor>& tensors);

// CPU tensors that own their memory. Throws IoError, or DataError where the file is malformed.
[[nodiscard]] std::map<std::string, torch::Tensor> read_safetensors(const std::string& path);

// A tensor that is written slice by slice, as there is no memory for a copy of it.
struct SlicedTensor {
  std::string name;
  torch::ScalarType type = torch::kFloat32;
  std::vector<int64_t> shape;
  // Rows first .. first + count, a CPU tensor. Called in order.
  std::function<torch::Tensor(int64_t first, int64_t count)> slice;
};

// The rows in a slice of at most `bytes` bytes, and at least one.
[[nodiscard]] int64_t rows_of_slice(const SlicedTensor& tensor, int64_t bytes);
// Calls use(first, count) for all slices of a tensor, in order.
void for_each_slice(const SlicedTensor& tensor,
                    const std::function<void(int64_t first, int64_t count)>& use);

// Writes the tensors in the order given. Holds one slice of 16 MiB at a time.
FileDigest write_sliced_safetensors(const std::string& path,
                                    const std::vector<SlicedTensor>& tensors);

// An open safetensors file, of which parts are read.
class SafetensorsFile {
 public:
  // Reads the header: at most 4 MiB, tensors that fill the file without gaps. Throws IoError, and
  // DataError where the file is malformed.
  explicit SafetensorsFile(const std::string& path);

  struct Entry {
    torch::ScalarType type = torch::kFloat32;
    std::vector<int64_t> shape;
    int64_t offset = 0;  // of the data in the file
    int64_t bytes = 0;
  };
  [[nodiscard]] const std::string& path() const { return file_.path(); }
  [[nodiscard]] const std::map<std::string, Entry>& entries() const { return entries_; }
  // Throws DataError where there is no such tensor, or of another type or number of dimensions.
  [[nodiscard]] const Entry& entry(const std::string& name, torch::ScalarType type,
                                   size_t dimensions) const;
  // Rows first .. first + count.
  [[nodiscard]] torch::Tensor read(const Entry& entry, int64_t first, int64_t count) const;
  // The whole tensor, mapped read only: pages come from the file when they are touched, and are
  // shared between processes. Writing to it ends the process.
  [[nodiscard]] torch::Tensor map(const Entry& entry) const;

 private:
  File file_;
  std::map<std::string, Entry> entries_;
};

}  // namespace pinnerformer
