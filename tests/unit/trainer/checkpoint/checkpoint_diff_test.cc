// The difference of two checkpoints: bit by bit, in sizes a person can judge.
#include "trainer/checkpoint/checkpoint_diff.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include <cmath>

namespace pinnerformer {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST(CheckpointDiff, SameBitsAreNoDifference) {
  const double nan = std::nan("");
  const NamedTensors a = {{"x", torch::tensor({1.0, nan, -0.5})}, {"n", torch::tensor({3, 4})}};
  NamedTensors b;
  for (const auto& [name, tensor] : a) b[name] = tensor.clone();
  EXPECT_THAT(tensor_differences(a, b), IsEmpty());
}

TEST(CheckpointDiff, CountsAndMeasures) {
  const NamedTensors a = {{"x", torch::tensor({1.0F, 2.0F, 4.0F, 0.0F})}};
  const NamedTensors b = {{"x", torch::tensor({1.0F, 2.5F, 3.0F, -0.0F})}};
  const auto differences = tensor_differences(a, b);
  ASSERT_EQ(differences.size(), 1U);
  EXPECT_EQ(differences[0].elements, 3) << "0 and -0 are different bits";
  EXPECT_EQ(differences[0].of, 4);
  EXPECT_DOUBLE_EQ(differences[0].largest_absolute, 1.0);
  EXPECT_DOUBLE_EQ(differences[0].largest_relative, 0.25);
  EXPECT_EQ(describe(differences[0]),
            "x: 3 of 4 elements, largest difference 1 absolute, 0.25 relative");
}

TEST(CheckpointDiff, NotANumberIsAnInfiniteDifference) {
  const auto differences =
      tensor_differences({{"x", torch::tensor({1.0F})}}, {{"x", torch::tensor({std::nanf("")})}});
  ASSERT_EQ(differences.size(), 1U);
  EXPECT_TRUE(std::isinf(differences[0].largest_absolute));
}

TEST(CheckpointDiff, OtherTypesShapesAndNamesAreNamed) {
  const auto f = torch::kFloat32;
  const NamedTensors a = {
      {"a", torch::zeros({2, 3}, f)}, {"b", torch::zeros({2}, f)}, {"only", torch::zeros({1}, f)}};
  const NamedTensors b = {{"a", torch::zeros({3, 2}, f)},
                          {"b", torch::zeros({2}, torch::kBFloat16)},
                          {"other", torch::zeros({1}, f)}};
  std::vector<std::string> lines;
  for (const auto& difference : tensor_differences(a, b)) lines.push_back(describe(difference));
  EXPECT_THAT(lines,
              ElementsAre("a: Float [2, 3] and Float [3, 2]", "b: Float [2] and BFloat16 [2]",
                          "only: only in the first", "other: only in the second"));
}

TEST(CheckpointDiff, ManifestsAreCompared) {
  CheckpointInfo a, b;
  a.step = 10;
  b.step = 20;
  b.world_size = 4;
  EXPECT_THAT(info_differences(a, b), ElementsAre("step: 10 and 20", "world_size: 1 and 4"));

  CheckpointInfo validated, begun;
  validated.best = {.step = 5, .recall_at_10 = .25, .validations_since = 2};
  begun.initial.model = "0123";
  EXPECT_THAT(info_differences(validated, CheckpointInfo()),
              ElementsAre("best step: 5 and -1", "best recall_at_10: 0.25 and 0",
                          "validations_since: 2 and 0"));
  EXPECT_THAT(info_differences(begun, CheckpointInfo()),
              ElementsAre("initial_weights (checksum): 0123 and none"));
}

}  // namespace
}  // namespace pinnerformer
