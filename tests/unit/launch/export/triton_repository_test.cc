// Versions of a Triton repository, loaded and called as its PyTorch backend does: TorchScript,
// positional tensors, any batch.
#include "launch/export/triton_repository.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/csrc/jit/serialization/import.h>

#include <filesystem>
#include <string>
#include <vector>

#include "dataloader/base/errors.h"
#include "tests/support/dataset_fixture.h"
#include "tests/support/message_of.h"
#include "tests/support/tiny_batches.h"

namespace pinnerformer {
namespace {

namespace fs = std::filesystem;

struct TinyTowers {
  explicit TinyTowers(const ModelOptions& options = tiny_model_options())
      : inputs(tiny_model_inputs()), model(options, inputs) {
    model->eval();
    spec = tower_spec(model, options, inputs, {"weights-1", "vectors-1"});
  }
  ModelInputs inputs;
  PinnerFormer model;
  TowerSpec spec;
};

TEST(TritonRepository, AVersionIsLoadedAndCalledAsTheBackendDoes) {
  TinyTowers towers;
  const TemporaryDirectory directory;
  ASSERT_EQ(add_triton_version(directory / "models", towers.spec), 1);
  torch::jit::Module tower = torch::jit::load(directory / "models/user_tower/1/model.pt");
  const c10::InferenceMode inference;
  for (const std::vector<int64_t>& lengths : {std::vector<int64_t>{5}, {4, 12, 7}, {1, 1}}) {
    const Batch batch = random_batch(lengths, 9);
    const int64_t users = batch.users(), events = batch.item.size(1);
    const torch::Tensor content = towers.inputs.item_vectors.to(torch::kFloat32)
                                      .index_select(0, batch.item.flatten())
                                      .view({users, events, 8});
    std::vector<c10::IValue> tensors = {
        content,        torch::zeros({users, events, 0}), batch.action, batch.surface, batch.time,
        batch.duration, batch.length.unsqueeze(1)};
    const torch::Tensor vectors = tower.forward(tensors).toTensor();
    EXPECT_LT((vectors - towers.model->user_embedding(batch)).abs().max().item<double>(), 1e-5);
  }
}

TEST(TritonRepository, TheNextVersionLeavesAllOthersAndTheConfiguration) {
  TinyTowers towers;
  const TemporaryDirectory directory;
  add_triton_version(directory.path(), towers.spec);
  const std::string config = directory / "user_tower/config.pbtxt";
  const std::string edited = content_of(config) + "response_cache { enable: true }\n";
  write_file(config, edited);
  const std::string first = content_of(directory / "user_tower/1/model.pt");
  fs::create_directories(directory / "item_tower/04");  // no number of a version for Triton
  fs::create_directories(directory / "item_tower/5.tmp-1-2");
  fs::create_directories(directory / "user_tower/3");
  EXPECT_EQ(add_triton_version(directory.path(), towers.spec), 5);
  EXPECT_EQ(content_of(config), edited);
  EXPECT_EQ(content_of(directory / "user_tower/1/model.pt"), first);
  EXPECT_TRUE(fs::exists(directory / "user_tower/5/model.pt"));
  EXPECT_TRUE(fs::exists(directory / "item_tower/5/model.pt"));
}

TEST(TritonRepository, AnotherSignatureIsRefusedBeforeAnythingIsWritten) {
  TinyTowers towers;
  const TemporaryDirectory directory;
  add_triton_version(directory.path(), towers.spec);
  ModelOptions wider = tiny_model_options();
  wider.output = 7;
  const TinyTowers other(wider);
  EXPECT_THAT(message_of<DataError>([&] { add_triton_version(directory.path(), other.spec); }),
              testing::HasSubstr("declares other inputs or outputs"));
  EXPECT_FALSE(fs::exists(directory / "item_tower/2"));
  fs::remove(directory / "user_tower/config.pbtxt");
  EXPECT_THAT(message_of<DataError>([&] { add_triton_version(directory.path(), towers.spec); }),
              testing::HasSubstr("holds versions but no config.pbtxt"));
}

// The item tower of the version is there already when the user tower's part fails.
TEST(TritonRepository, AFailureLeavesNothingOfItsVersion) {
  TinyTowers towers;
  const TemporaryDirectory directory;
  fs::create_directories(directory / "models/user_tower");
  write_file(directory / "models/user_tower/warmup", "a file where a directory should be");
  EXPECT_THROW(add_triton_version(directory / "models", towers.spec), IoError);
  EXPECT_FALSE(fs::exists(directory / "models/item_tower"));
  EXPECT_TRUE(fs::exists(directory / "models/user_tower/warmup"));
  fs::remove(directory / "models/user_tower/warmup");
  ASSERT_EQ(add_triton_version(directory / "models", towers.spec), 1);
}

// A server that polls takes every name that begins with digits for a version.
TEST(TritonRepository, WhatAKilledExportLeavesBeginsWithALetterAndGoes) {
  TinyTowers towers;
  const TemporaryDirectory directory;
  fs::create_directories(directory / "user_tower/new.tmp-1-2");
  add_triton_version(directory.path(), towers.spec);
  for (const auto& entry : fs::directory_iterator(directory / "user_tower"))
    EXPECT_EQ(entry.path().string().find(".tmp-"), std::string::npos) << entry.path();
}

TEST(TritonRepository, WidthsOfZeroAreAnyWidth) {
  TinyTowers towers;
  const std::string config = triton_user_config(towers.spec);
  EXPECT_THAT(config, testing::HasSubstr("\"content\" data_type: TYPE_FP32 dims: [ -1, 8 ]"));
  EXPECT_THAT(config, testing::HasSubstr("\"id_rows\" data_type: TYPE_FP32 dims: [ -1, -1 ]"));
  EXPECT_THAT(config, testing::HasSubstr("\"length\" data_type: TYPE_INT64 dims: [ 1 ]"));
}

}  // namespace
}  // namespace pinnerformer
