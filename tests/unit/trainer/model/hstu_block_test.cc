// The bias by time: what depends on the times of the events alone is learned with it, and not
// without.
#include "trainer/model/hstu_block.h"

#include <gtest/gtest.h>
#include <torch/optim/adam.h>
#include <torch/types.h>

#include <vector>

#include "tests/support/tiny_batches.h"

namespace pinnerformer {
namespace {

constexpr int64_t kTaskUsers = 128, kTaskEvents = 3, kTaskTargets = 4;
constexpr int64_t kTaskHour = 3600, kTaskDay = 24 * kTaskHour;

ModelOptions options_of(bool time) {
  ModelOptions options = tiny_model_options();
  options.max_length = kTaskEvents;
  options.features.time = time;
  return options;
}

// Two events and the newest one. To be found is the state of the second where it is an hour old,
// and that of the first where the second is a day old. The states say nothing of time.
struct Task {
  torch::Tensor states, target;
  Sequences sequences;
};

Task make_task() {
  Task task;
  task.states = torch::randn({kTaskUsers, kTaskEvents, tiny_model_options().hidden});
  const torch::Tensor young = torch::rand({kTaskUsers}) < 0.5;
  const torch::Tensor day = torch::full({kTaskUsers}, kTaskDay),
                      hour = torch::full({kTaskUsers}, kTaskHour);
  const torch::Tensor ages =
      torch::stack({day, torch::where(young, hour, day), torch::zeros_like(day)}, 1);
  task.sequences = {torch::full({kTaskUsers}, kTaskEvents, torch::kInt64), 1'700'000'000 - ages,
                    torch::arange(kTaskUsers)};
  const torch::Tensor found =
      torch::where(young.unsqueeze(1), task.states.select(1, 1), task.states.select(1, 0));
  task.target = found.narrow(1, 0, kTaskTargets);
  return task;
}

// The squared error on new samples after some hundred steps; 1 for an answer of zeros.
double error_after_training(bool time) {
  constexpr int64_t kSteps = 500, kMeasured = 20;
  torch::manual_seed(3);
  HstuBlock block(options_of(time), /*site=*/1);
  const torch::Tensor readout = torch::eye(tiny_model_options().hidden, kTaskTargets);
  torch::optim::Adam optimizer(block.parameters(), torch::optim::AdamOptions(1e-2));
  block.eval();  // without dropout
  double error = 0;
  for (int64_t step = 0; step < kSteps; ++step) {
    const Task task = make_task();
    const torch::Tensor newest = block.forward(task.states, task.sequences).select(1, 2);
    const torch::Tensor answer = (newest - task.states.select(1, 2)).matmul(readout);
    const torch::Tensor loss = (answer - task.target).square().mean();
    if (step >= kSteps - kMeasured) error += loss.item<double>() / kMeasured;
    optimizer.zero_grad();
    loss.backward();
    optimizer.step();
  }
  return error;
}

TEST(HstuBlock, LearnsWhatTimesAloneTellWithTheBiasByTime) {
  const double with = error_after_training(true), without = error_after_training(false);
  EXPECT_GT(without, 0.4) << "one of two events, which cannot be told apart";
  EXPECT_LT(with, 0.6 * without);
}

TEST(HstuBlock, TimesChangeTheOutputThroughTheBiasAlone) {
  for (const bool time : {true, false}) {
    torch::manual_seed(3);
    HstuBlock block(options_of(time), /*site=*/1);
    block.eval();
    const Task task = make_task();
    Sequences later = task.sequences;
    later.time = task.sequences.time.clone();
    later.time.select(1, 0) -= 300 * kTaskDay;
    const torch::Tensor before = block.forward(task.states, task.sequences);
    const torch::Tensor after = block.forward(task.states, later);
    EXPECT_EQ(torch::equal(before, after), !time);
    before.square().sum().backward();
    const auto* bias = block.named_parameters().find("time_bias");
    ASSERT_EQ(bias != nullptr, time);
    if (time) {
      EXPECT_GT(bias->grad().abs().max().item<double>(), 1e-4);
    }
  }
}

}  // namespace
}  // namespace pinnerformer
