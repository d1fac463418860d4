// Any bytes as a manifest or as a tensor file. The first byte says which: M, a manifest; H, the
// header of a tensor file, a zero byte and its data, so that the header's length is always right;
// anything else, a whole tensor file.
#include <torch/types.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>

#include "dataloader/base/errors.h"
#include "tests/fuzz/scratch_file.h"
#include "trainer/checkpoint/manifest.h"
#include "trainer/checkpoint/safetensors.h"

using namespace pinnerformer;

namespace {

void read_tensors(const std::string& content) {
  static const std::string path = scratch_file("tensors");
  write_scratch(path, content.data(), content.size());
  try {
    for (const auto& [name, tensor] : read_safetensors(path)) {
      // Every element must be in memory of its own.
      if (tensor.numel() > 0) static_cast<void>(tensor.to(torch::kFloat64).sum().item<double>());
    }
  } catch (const DataError&) {
  }
}

void read_manifest_text(const std::string& text) {
  try {
    const CheckpointInfo info = parse_manifest(text, "MANIFEST.json");
    // What is accepted can be written and read again.
    static_cast<void>(parse_manifest(manifest_text(info), "MANIFEST.json"));
  } catch (const CheckpointError&) {
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string content(reinterpret_cast<const char*>(data) + 1, size - 1);
  if (data[0] == 'M') {
    read_manifest_text(content);
  } else if (data[0] == 'H') {
    const size_t end = std::min(content.find('\0'), content.size());
    const uint64_t length = end;
    std::string file(sizeof length, '\0');
    std::memcpy(file.data(), &length, sizeof length);
    read_tensors(file + content.substr(0, end) + content.substr(std::min(end + 1, content.size())));
  } else {
    read_tensors(content);
  }
  return 0;
}
