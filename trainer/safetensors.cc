#include "trainer/safetensors.h"

#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>

#include "dataloader/errors.h"

namespace pinnerformer {
namespace {

using nlohmann::json;

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

torch::ScalarType type_of(const std::string& name, const std::string& path) {
  for (const TypeName& entry : kTypes)
    if (name == entry.name) return entry.type;
  throw DataError(path + ": unknown element type '" + name + "'");
}

std::string make_header(const std::map<std::string, torch::Tensor>& tensors) {
  json header = json::object();
  int64_t offset = 0;
  for (const auto& [name, tensor] : tensors) {
    const auto bytes = static_cast<int64_t>(tensor.nbytes());
    header[name] = {{"dtype", name_of(tensor.scalar_type())},
                    {"shape", tensor.sizes().vec()},
                    {"data_offsets", {offset, offset + bytes}}};
    offset += bytes;
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');  // keeps the data aligned
  return text;
}

torch::Tensor read_tensor(std::ifstream& file, const json& entry, int64_t data_begin,
                          const std::string& path) {
  const auto offsets = entry.at("data_offsets").get<std::array<int64_t, 2>>();
  torch::Tensor tensor = torch::empty(entry.at("shape").get<std::vector<int64_t>>(),
                                      type_of(entry.at("dtype"), path));
  const auto bytes = static_cast<int64_t>(tensor.nbytes());
  if (offsets[1] - offsets[0] != bytes)
    throw DataError(path + ": a tensor's shape does not fit its " +
                    std::to_string(offsets[1] - offsets[0]) + " bytes");
  file.seekg(data_begin + offsets[0]);
  if (!file.read(static_cast<char*>(tensor.data_ptr()), bytes))
    throw DataError(path + ": the file ends before its tensors do");
  return tensor;
}

}  // namespace

FileDigest write_safetensors(const std::string& path,
                             const std::map<std::string, torch::Tensor>& tensors) {
  const std::string header = make_header(tensors);
  const auto length = static_cast<uint64_t>(header.size());
  DurableFile file(path);
  file.write(&length, sizeof length);
  file.write(header.data(), header.size());
  for (const auto& [name, tensor] : tensors) {
    const torch::Tensor host = tensor.detach().cpu().contiguous();
    file.write(host.data_ptr(), host.nbytes());
  }
  return file.finish();
}

std::map<std::string, torch::Tensor> read_safetensors(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw IoError("opening " + path + " failed");
  uint64_t length = 0;
  constexpr uint64_t kLongestHeader = 100'000'000;  // as the format's own reader has it
  if (!file.read(reinterpret_cast<char*>(&length), sizeof length) || length > kLongestHeader)
    throw DataError(path + ": not a safetensors file");
  std::string header(length, '\0');
  if (!file.read(header.data(), static_cast<std::streamsize>(length)))
    throw DataError(path + ": the file ends inside its header");
  std::map<std::string, torch::Tensor> tensors;
  try {
    const auto data_begin = static_cast<int64_t>(sizeof length + length);
    const json entries = json::parse(header);
    for (const auto& [name, entry] : entries.items())
      if (name != "__metadata__") tensors[name] = read_tensor(file, entry, data_begin, path);
  } catch (const json::exception& error) {
    throw DataError(path + ": bad safetensors header: " + error.what());
  }
  return tensors;
}

}  // namespace pinnerformer
