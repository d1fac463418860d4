// The tensor file: what was written is read back bit by bit, what is malformed is refused.
#include "trainer/checkpoint/safetensors.h"

#include <gtest/gtest.h>
#include <torch/types.h>

#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>

#include "dataloader/base/errors.h"
#include "tests/support/dataset_fixture.h"

namespace pinnerformer {
namespace {

using Tensors = std::map<std::string, torch::Tensor>;

Tensors some_tensors() {
  torch::manual_seed(1);
  Tensors tensors;
  for (const auto type : {torch::kFloat32, torch::kFloat64, torch::kFloat16, torch::kBFloat16,
                          torch::kInt64, torch::kInt32, torch::kUInt8, torch::kBool})
    tensors[std::string("type/") + c10::toString(type)] =
        (torch::rand({3, 5}) * 100 - 20).clamp_min(0).to(type);
  tensors["scalar"] = torch::tensor(1.25F);
  tensors["empty"] = torch::empty({0, 4});
  tensors["strided"] = torch::arange(12).view({3, 4}).t();
  tensors["quote\"and\\slash"] = torch::ones({2});
  tensors["odd bytes"] = torch::ones({3}, torch::kUInt8);
  tensors["special"] = torch::tensor(
      {std::numeric_limits<float>::infinity(), -0.0F, std::numeric_limits<float>::denorm_min()});
  tensors["with gradient"] = torch::ones({2}).requires_grad_(true);
  return tensors;
}

TEST(Safetensors, RoundTripKeepsEveryBit) {
  const TemporaryDirectory directory;
  const Tensors tensors = some_tensors();
  const FileDigest digest = write_safetensors(directory / "file", tensors);
  EXPECT_EQ(digest.xxh3, digest_file(directory / "file").xxh3);
  const Tensors found = read_safetensors(directory / "file");
  ASSERT_EQ(found.size(), tensors.size());
  for (const auto& [name, tensor] : tensors) {
    ASSERT_TRUE(found.contains(name)) << name;
    const torch::Tensor& copy = found.at(name);
    EXPECT_EQ(copy.scalar_type(), tensor.scalar_type()) << name;
    EXPECT_EQ(copy.sizes(), tensor.sizes()) << name;
    EXPECT_FALSE(copy.requires_grad()) << name;
    const torch::Tensor flat = tensor.detach().contiguous();
    EXPECT_TRUE(flat.nbytes() == 0 ||
                std::memcmp(copy.data_ptr(), flat.data_ptr(), flat.nbytes()) == 0)
        << name;
  }
}

TEST(Safetensors, EmptyFileOfNoTensors) {
  const TemporaryDirectory directory;
  write_safetensors(directory / "file", {});
  EXPECT_TRUE(read_safetensors(directory / "file").empty());
}

// The layout by the format's specification, parsed here by hand.
TEST(Safetensors, LayoutIsTheSpecifiedOne) {
  const TemporaryDirectory directory;
  write_safetensors(directory / "file", {{"b", torch::tensor({3, 4}, torch::kInt64)},
                                         {"a", torch::tensor({1.5F, 2.5F, 3.5F})}});
  const std::string content = content_of(directory / "file");
  uint64_t length = 0;
  std::memcpy(&length, content.data(), sizeof length);
  EXPECT_EQ(length % 8, 0U) << "data must be aligned";
  const auto header = nlohmann::json::parse(content.substr(8, length));
  EXPECT_EQ(header["a"]["dtype"], "F32");
  EXPECT_EQ(header["a"]["shape"], nlohmann::json({3}));
  EXPECT_EQ(header["a"]["data_offsets"], nlohmann::json({0, 12}));
  EXPECT_EQ(header["b"]["dtype"], "I64");
  EXPECT_EQ(header["b"]["data_offsets"], nlohmann::json({12, 28}));
  ASSERT_EQ(content.size(), 8 + length + 28);
  float second = 0;
  std::memcpy(&second, content.data() + 8 + length + 4, sizeof second);
  EXPECT_EQ(second, 2.5F);
}

TEST(Safetensors, SameTensorsGiveTheSameBytes) {
  const TemporaryDirectory directory;
  EXPECT_EQ(write_safetensors(directory / "one", some_tensors()).xxh3,
            write_safetensors(directory / "two", some_tensors()).xxh3);
}

TEST(Safetensors, EveryTruncationIsRefused) {
  const TemporaryDirectory directory;
  write_safetensors(directory / "whole", {{"a", torch::ones({4})}, {"b", torch::ones({2})}});
  const std::string whole = content_of(directory / "whole");
  for (size_t length = 0; length < whole.size(); ++length) {
    write_file(directory / "cut", whole.substr(0, length));
    EXPECT_THROW(static_cast<void>(read_safetensors(directory / "cut")), DataError) << length;
  }
}

std::string file_with_header(const std::string& header, const std::string& data) {
  const uint64_t length = header.size();
  std::string content(sizeof length, '\0');
  std::memcpy(content.data(), &length, sizeof length);
  return content + header + data;
}

TEST(Safetensors, MalformedHeadersAreRefused) {
  const TemporaryDirectory directory;
  const std::string data(64, '\0');
  for (const char* header :
       {"", "not json", "[1, 2]", "7", R"({"a": 5})", R"({"a": {}})",
        R"({"a": {"dtype": "F32", "shape": [2]}})",
        R"({"a": {"dtype": "F99", "shape": [2], "data_offsets": [0, 8]}})",
        R"({"a": {"dtype": "F32", "shape": [3], "data_offsets": [0, 8]}})",
        R"({"a": {"dtype": "F32", "shape": [2], "data_offsets": [8, 0]}})",
        R"({"a": {"dtype": "F32", "shape": [2], "data_offsets": [-8, 0]}})",
        R"({"a": {"dtype": "F32", "shape": [-2, -1], "data_offsets": [0, 8]}})",
        R"({"a": {"dtype": "F32", "shape": "2", "data_offsets": [0, 8]}})",
        R"({"a": {"dtype": "F32", "shape": [2], "data_offsets": [60, 68]}})",
        R"({"a": {"dtype": "F32", "shape": [4000000000, 4000000000], "data_offsets": [0, 8]}})"}) {
    write_file(directory / "file", file_with_header(header, data));
    EXPECT_THROW(static_cast<void>(read_safetensors(directory / "file")), DataError) << header;
  }
}

TEST(Safetensors, AbsurdHeaderLengthIsRefusedWithoutAllocatingIt) {
  const TemporaryDirectory directory;
  write_file(directory / "file", std::string(100, '\xFF'));
  EXPECT_THROW(static_cast<void>(read_safetensors(directory / "file")), DataError);
}

TEST(Safetensors, TensorsThatShareOrSkipDataAreRefused) {
  const TemporaryDirectory directory;
  const std::string data(16, '\0');
  for (const char* header :
       {R"({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}})",   // ends too early
        R"({"a": {"dtype": "F32", "shape": [2], "data_offsets": [8, 16]}})",  // begins too late
        R"({"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]},
            "b": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}})",  // the same bytes
                                                                              // twice
        R"({"a": {"dtype": "F32", "shape": [2.5], "data_offsets": [0, 16]}})",
        R"({"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16, 16]}})",
        R"({"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 1e1]}})",
        R"({"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 18446744073709551615]}})"}) {
    write_file(directory / "file", file_with_header(header, data));
    EXPECT_THROW(static_cast<void>(read_safetensors(directory / "file")), DataError) << header;
  }
}

TEST(Safetensors, NestedHeaderIsRefusedAtOnce) {
  const TemporaryDirectory directory;
  for (const size_t depth : {size_t{5}, size_t{1'000'000}, size_t{40'000'000}}) {
    write_file(directory / "file", file_with_header(std::string(depth, '['), ""));
    EXPECT_THROW(static_cast<void>(read_safetensors(directory / "file")), DataError) << depth;
  }
}

TEST(Safetensors, MetadataOfOtherWritersIsSkipped) {
  const TemporaryDirectory directory;
  const std::string header =
      R"({"__metadata__": {"format": "pt"}, "a": {"dtype": "U8", "shape": [2], "data_offsets": [0, 2]}})";
  write_file(directory / "file", file_with_header(header, "\x05\x07"));
  const Tensors found = read_safetensors(directory / "file");
  ASSERT_EQ(found.size(), 1U);
  EXPECT_EQ(found.at("a")[1].item<int64_t>(), 7);
}

TEST(Safetensors, PipesAndDevicesAreRefused) {
  EXPECT_THROW(static_cast<void>(read_safetensors("/dev/zero")), DataError);
}

TEST(Safetensors, MissingFileIsAnIoError) {
  EXPECT_THROW(static_cast<void>(read_safetensors("/no/such/file")), IoError);
}

}  // namespace
}  // namespace pinnerformer
