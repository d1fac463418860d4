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
