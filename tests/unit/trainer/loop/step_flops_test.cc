// Model FLOP of a step, counted by hand for a small model.
#include "trainer/loop/step_flops.h"

#include <gtest/gtest.h>

#include "tests/support/tiny_batches.h"

namespace pinnerformer {
namespace {

constexpr RankStepShape kShape{
    .users = 3, .length = 8, .positions = 5, .pairs = 6, .pool_share = 20, .columns = 40};

// Width 16, two layers, output 6, item tower 8 -> 10 -> 6.
TEST(StepFlops, AreThoseOfTheProducts) {
  const ModelOptions options = tiny_model_options();
  PinnerFormer model(options, tiny_model_inputs());
  const double tokens = 3 * 8, h = 16;
  const double input = static_cast<double>(model->named_parameters()["input.weight"].numel());
  const double block = 3 * h * h + h * h + 8 * h * h;
  const double last_of_all = 2 * h * h, last_of_pairs = h * h + h * h + 8 * h * h;
  const double head = h * 4 * h + 4 * h * 6;
  const double tower = 8 * 10 + 10 * 6;
  const double products = tokens * (input + block + last_of_all) + 5 * (last_of_pairs + head) +
                          (20 + 6) * tower + /*attention*/ 2 * 3 * 8 * 8 * h +
                          /*logits*/ 6 * 40 * 6;
  EXPECT_DOUBLE_EQ(StepFlops(model, options).of(kShape), 2 * 3 * products);
}

// With a topic the head is computed for every pair, and there are K times as many logits.
TEST(StepFlops, OfSeveralVectorsAndTopics) {
  ModelOptions options = tiny_model_options();
  ModelInputs inputs = tiny_model_inputs();
  PinnerFormer one(options, inputs);
  const double before = StepFlops(one, options).of(kShape);
  options.user_vectors = 3;
  options.condition = Condition::kTopic;
  inputs.topics = 9;
  PinnerFormer several(options, inputs);
  const double h = 16, first = h * 4 * h, second = 4 * h * 6;
  const double head = 6 * (first + 3 * second) - 5 * (first + second);
  const double logits = 6 * 40 * 6 * (3 - 1);
  EXPECT_DOUBLE_EQ(StepFlops(several, options).of(kShape) - before, 2 * 3 * (head + logits));
}

// What another position with a pair and another user of eight events cost.
TEST(StepFlops, OfTheOtherBlocks) {
  const double h = 16, head = h * 4 * h + 4 * h * 6;
  const double inner = 43;  // 8/3 of the width, rounded up
  struct Case {
    BlockKind block;
    double whole, of_all, of_pairs;  // a block's matrices, and those of the last one
    double attention;                // of a user and layer
  };
  for (const Case& expected : {Case{BlockKind::kHstu, 5 * h * h, 2 * h * h, 3 * h * h, 8 * 8 * h},
                               Case{BlockKind::kLru, 4 * h * h + 3 * h * inner, 2 * h * h,
                                    2 * h * h + 3 * h * inner, 0}}) {
    SCOPED_TRACE(static_cast<int>(expected.block));
    ModelOptions options = tiny_model_options();
    options.block = expected.block;
    PinnerFormer model(options, tiny_model_inputs());
    const StepFlops flops(model, options);
    const auto input = static_cast<double>(model->named_parameters()["input.weight"].numel());
    RankStepShape more = kShape;
    more.positions += 1;
    EXPECT_NEAR(flops.of(more) - flops.of(kShape), 2 * 3 * (expected.of_pairs + head), 1e-6);
    more = kShape;
    more.users += 1;
    const double tokens = 8 * (input + expected.whole + expected.of_all);
    EXPECT_NEAR(flops.of(more) - flops.of(kShape), 2 * 3 * (tokens + 2 * expected.attention), 1e-6);
  }
}

TEST(StepFlops, ATiedTowerEmbedsTheInputsToo) {
  ModelInputs inputs = tiny_model_inputs();
  inputs.id_width = 6;
  inputs.tower = ItemTower::kTied;
  ModelOptions options = tiny_model_options();
  options.hidden = options.output = 6;
  options.user_head = UserHead::kNorm;
  PinnerFormer model(options, inputs);
  const StepFlops flops(model, options);
  RankStepShape more = kShape;
  more.pool_share += 1;
  const double an_item = flops.of(more) - flops.of(kShape);
  EXPECT_DOUBLE_EQ(an_item, 6.0 * 8 * 6) << "content vectors of 8 to vectors of 6";
  RankStepShape longer = kShape;
  longer.users += 1;
  longer.length = kShape.length;
  EXPECT_GE(flops.of(longer) - flops.of(kShape), 8 * an_item) << "eight positions more";
}

}  // namespace
}  // namespace pinnerformer
