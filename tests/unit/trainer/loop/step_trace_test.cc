// The trace of a step against the training it stands for, and against itself.
#include "trainer/loop/step_trace.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <string>

#include "comm/thread_communicator.h"
#include "dataloader/base/enum_name.h"
#include "dataloader/base/errors.h"
#include "tests/support/dataset_fixture.h"
#include "tests/support/message_of.h"
#include "tests/support/tiny_dataset.h"
#include "tests/support/training_world.h"

namespace pinnerformer {
namespace {

using testing::AllOf;
using testing::HasSubstr;

struct StepTraceTest : testing::Test {
  TemporaryDirectory directory;
  Dataset dataset = Dataset::open(write_tiny_dataset(directory.path(), 47));
  TrainerOptions options = tiny_trainer_options(directory / "run");

  [[nodiscard]] StepTrace trace(int64_t user, int64_t first_step) const {
    const auto comm = make_single_communicator();
    Trainer trainer(tiny_training_data(dataset), options, CommOptions{},
                    Ranks{comm.get(), comm.get(), torch::kCPU}, "run: tiny\n");
    return trainer.trace_step(user, first_step);
  }
  // The traces of all users that have a sample in this step.
  [[nodiscard]] std::vector<StepTrace> traces_of(int64_t step) const {
    std::vector<StepTrace> traces;
    for (int64_t user = 0; user < dataset.users(); ++user) try {
        StepTrace found = trace(user, step);
        if (found.step == step) traces.push_back(std::move(found));
      } catch (const DataError&) {  // a user without a sample
      }
    return traces;
  }
};

double share_of(const StepTrace& trace) {
  double share = 0;
  for (const TracedPair& pair : trace.pairs) share += pair.weight * pair.loss;
  return share;
}

TEST_F(StepTraceTest, UsersOfAStepAddUpToItsLossWhichIsThatOfTraining) {
  for (const std::string placement : {"none", "replicated"}) {
    options.item.table.placement = enum_value<ItemPlacement>(placement);
    options.item.table.dim = 4;
    options.run.directory = directory / ("run-" + placement);
    options.train.steps = 3;
    const std::vector<double> losses = train_world(dataset, 1, options).losses;
    const std::vector<StepTrace> traces = traces_of(2);
    ASSERT_GT(traces.size(), 3U);
    double loss = 0;
    int64_t pairs = 0;
    for (const StepTrace& trace : traces) {
      loss += share_of(trace);
      pairs += std::ssize(trace.pairs);
      EXPECT_NEAR(trace.loss, losses[1], 1e-6) << placement;
    }
    EXPECT_NEAR(loss, losses[1], 1e-4) << placement;
    EXPECT_EQ(pairs, traces.front().batch_pairs);
  }
}

TEST_F(StepTraceTest, TheWindowIsPartOfTheTimelineAndLabelsFollowIt) {
  for (const StepTrace& trace : traces_of(1)) {
    const Timeline timeline = dataset.timeline(trace.user);
    EXPECT_EQ(trace.timeline_events, timeline.size());
    for (const TracedEvent& event : trace.inputs)
      EXPECT_EQ(event.item, timeline.item[static_cast<size_t>(event.event)]);
    ASSERT_FALSE(trace.labels.empty());
    for (const TracedEvent& label : trace.labels) {
      EXPECT_TRUE(label.positive);
      EXPECT_EQ(label.item, timeline.item[static_cast<size_t>(label.event)]);
      EXPECT_GT(label.event, trace.inputs.back().event);
    }
    for (const TracedPair& pair : trace.pairs) {
      EXPECT_GE(pair.event, trace.inputs.front().event);
      EXPECT_LE(pair.event, trace.inputs.back().event);
      EXPECT_TRUE(std::ranges::any_of(trace.labels, [&](const TracedEvent& label) {
        return label.item == pair.item && label.time > trace.inputs.back().time;
      })) << "a pair predicts a label of a later time";
    }
    EXPECT_EQ(std::ssize(trace.random_columns), options.negatives.random);
  }
}

TEST_F(StepTraceTest, TheFirstUpdateOfTheWeightIsAdamWs) {
  const StepTrace trace = traces_of(1).front();
  const double g = trace.weight.gradient, rate = trace.learning_rate;
  EXPECT_NE(g, 0);
  EXPECT_GT(rate, 0);
  const double decayed = trace.weight.before * (1 - rate * options.optimizer.weight_decay);
  EXPECT_NEAR(trace.weight.after, decayed - rate * g / (std::abs(g) + options.optimizer.epsilon),
              1e-6);
}

TEST_F(StepTraceTest, AUserWithoutASampleIsAnErrorThatSaysWhy) {
  int64_t refused = 0;
  for (int64_t user = 0; user < dataset.users(); ++user) {
    const std::vector<uint8_t> positive = saves_are_positive(dataset)(dataset.timeline(user));
    if (std::ranges::count(positive, 1) > 0) continue;
    ++refused;
    EXPECT_THAT(message_of<DataError>([&] { static_cast<void>(trace(user, 1)); }),
                AllOf(HasSubstr("user " + dataset.user_id(user)), HasSubstr("no sample"),
                      HasSubstr("objective.window_days")));
  }
  EXPECT_GT(refused, 0);
}

}  // namespace
}  // namespace pinnerformer
