// The safetensors format: 8 bytes of header length, a JSON header, raw little-endian data.
// Readable with the `safetensors` package of Python.
#pragma once
#include <torch/types.h>

#include <map>
#include <string>

#include "trainer/durable_file.h"

namespace pinnerformer {

// Tensors by name, written in name order; they may live on any device. Throws IoError.
FileDigest write_safetensors(const std::string& path,
                             const std::map<std::string, torch::Tensor>& tensors);

// CPU tensors that own their memory. Throws IoError, or DataError where the file is malformed.
[[nodiscard]] std::map<std::string, torch::Tensor> read_safetensors(const std::string& path);

}  // namespace pinnerformer
