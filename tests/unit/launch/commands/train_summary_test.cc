// What a training says at its end.
#include "launch/commands/train_summary.h"

#include <gtest/gtest.h>

namespace pinnerformer {
namespace {

TEST(TrainSummary, NamesTheBestCheckpointAndTheNextCommands) {
  EXPECT_EQ(train_summary({.run = "build/my run",
                           .first_step = 100,
                           .step = 500,
                           .total_steps = 500,
                           .done = true,
                           .seconds = 3723,
                           .best_step = 400,
                           .best_recall_at_10 = 0.06519}),
            "done: 500 of 500 steps, 400 of them now in 1:02:03\n"
            "best validation: R@10 0.0652 at step 400, build/my run/checkpoints/step-000000400\n"
            "next: pinnerformer evaluate --run 'build/my run' --checkpoint best\n"
            "      pinnerformer embed --run 'build/my run' --checkpoint best --out "
            "'build/my run/vectors.h5'\n");
}

TEST(TrainSummary, WithoutValidationTheNewestCheckpointIsMeant) {
  EXPECT_EQ(train_summary({.run = "r", .first_step = 0, .step = 5, .total_steps = 5, .done = true}),
            "done: 5 of 5 steps, 5 of them now in 0:00:00\n"
            "next: pinnerformer evaluate --run r\n"
            "      pinnerformer embed --run r --out r/vectors.h5\n");
}

TEST(TrainSummary, StepsBeyondALoweredNumberAreSaidToBeSo) {
  EXPECT_TRUE(
      train_summary({.run = "r", .first_step = 25, .step = 25, .total_steps = 5, .done = true})
          .starts_with("done: 25 steps, more than train.steps=5, 0 of them now in 0:00:00\n"));
}

TEST(TrainSummary, AStoppedTrainingSaysHowItGoesOn) {
  EXPECT_EQ(train_summary({.run = "r", .first_step = 2, .step = 5, .total_steps = 9}),
            "stopped: 5 of 9 steps, 3 of them now in 0:00:00\n"
            "next:    start the same command again, which goes on from step 5\n");
}

}  // namespace
}  // namespace pinnerformer
