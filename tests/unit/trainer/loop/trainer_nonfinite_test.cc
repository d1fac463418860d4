// A NaN on one rank: all ranks stop, or all of them skip the step, and say which one it was.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include <atomic>
#include <cmath>
#include <fstream>
#include <limits>
#include <memory>
#include <mutex>
#include <set>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "dataloader/base/enum_name.h"
#include "dataloader/base/errors.h"
#include "tests/support/damage.h"
#include "tests/support/dataset_fixture.h"
#include "tests/support/tiny_dataset.h"
#include "tests/support/training_world.h"
#include "trainer/checkpoint/checkpoint_list.h"

namespace pinnerformer {
namespace {

using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

class TrainerNonfiniteTest : public testing::Test {
 protected:
  TrainerNonfiniteTest() : dataset_(Dataset::open(write_tiny_dataset(directory_.path(), 47))) {}

  [[nodiscard]] TrainerOptions options(const std::string& on_nonfinite) const {
    TrainerOptions options = tiny_trainer_options(directory_ / on_nonfinite);
    options.train.on_nonfinite = enum_value<OnNonfinite>(on_nonfinite);
    return options;
  }
  [[nodiscard]] std::string log(const std::string& run) const {
    std::ifstream file(directory_ / run + "/log.txt");
    std::ostringstream text;
    text << file.rdbuf();
    return text.str();
  }

  TemporaryDirectory directory_;
  Dataset dataset_;
};

// Trains so many steps; one of the ranks, whichever comes first, gets a NaN into its gradient of
// step `bad_step`.
Trained train_with_a_nan(const Dataset& dataset, int world, const TrainerOptions& options,
                         int bad_step, int64_t steps = 20) {
  std::atomic<bool> taken = false;
  return train_world(dataset, world, options, [&](Trainer& trainer) {
    if (!taken.exchange(true)) {
      torch::Tensor weight = trainer.model()->named_parameters()["head_output.weight"];
      weight.register_hook([step = std::make_shared<int>(0), bad_step](const torch::Tensor& grad) {
        return ++*step == bad_step ? grad * kNaN : grad;
      });
    }
    trainer.resume();
    StopCondition stop;
    stop.requested = [&] { return trainer.step() >= steps; };
    trainer.train(stop);
  });
}

TEST_F(TrainerNonfiniteTest, AllRanksStopTogetherWithStepAndParameters) {
  for (const int world : {1, 3}) {
    TrainerOptions run = options("stop");
    run.run.directory += std::to_string(world);
    try {
      static_cast<void>(train_with_a_nan(dataset_, world, run, /*bad_step=*/5));
      ADD_FAILURE() << "trained over a NaN";
    } catch (const DataError& error) {
      EXPECT_THAT(error.what(), HasSubstr("the gradient of step 5 is not finite (norm nan) in "
                                          "head_output.weight; no user"));
      EXPECT_THAT(error.what(), HasSubstr("train.on_nonfinite=skip"));
    }
  }
}

// What was counted, read and learned in the bad step and after it is no part of the checkpoint.
TEST_F(TrainerNonfiniteTest, StoppingSavesTheStepBeforeAndTheRunGoesOnFromThere) {
  const std::vector<std::pair<std::string, int64_t>> kinds = {
      {"none", 1}, {"none", 20}, {"replicated", 20}, {"row_sharded", 20}};
  for (const auto& kind : kinds) {
    const std::string& placement = kind.first;
    const int64_t log_every = kind.second;
    SCOPED_TRACE(placement + std::to_string(log_every));
    const auto with_rows = [&](const std::string& name) {
      TrainerOptions run = options("stop");
      run.run.directory = directory_ / (name + placement + std::to_string(log_every));
      run.item.table.placement = enum_value<ItemPlacement>(placement);
      run.item.table.dim = 4;
      return run;
    };
    const Trained whole = train_world(dataset_, 2, with_rows("whole"));
    TrainerOptions run = with_rows("stopped");
    run.train.log_every = log_every;  // the check comes with a record, or one step later
    const std::string saved = run.run.directory + "/checkpoints/step-000000006";
    try {
      static_cast<void>(train_with_a_nan(dataset_, 2, run, /*bad_step=*/7));
      ADD_FAILURE() << "trained over a NaN";
    } catch (const DataError& error) {
      EXPECT_THAT(error.what(), HasSubstr("\nThe state before this step is in " + saved));
    }
    EXPECT_THAT(list_checkpoints(run.run.directory + "/checkpoints"), testing::ElementsAre(saved));
    run.train.log_every = 1;
    const Trained resumed = train_world(dataset_, 2, run);
    ASSERT_GE(resumed.losses.size(), 14U);
    EXPECT_EQ(resumed.losses,
              std::vector(whole.losses.end() - std::ssize(resumed.losses), whole.losses.end()));
    for (const auto& [name, tensor] : whole.weights)
      EXPECT_TRUE(torch::equal(tensor, resumed.weights.at(name))) << name;
    const auto counts = [](const TrainerOptions& of) {
      return load_checkpoint(of.run.directory + "/checkpoints/step-000000020", /*training=*/true)
          .training.at("positive_counts");
    };
    EXPECT_TRUE(torch::equal(counts(run), counts(with_rows("whole"))));
  }
}

TEST_F(TrainerNonfiniteTest, StoppingWhereACheckpointIsSavesNoneAndWaitsForIt) {
  TrainerOptions run = options("stop");
  run.train.log_every = 1;  // the check comes before the next look after the save
  const std::string saved = run.run.directory + "/checkpoints/step-000000010";
  try {
    static_cast<void>(train_with_a_nan(dataset_, 1, run, /*bad_step=*/11));
    ADD_FAILURE() << "trained over a NaN";
  } catch (const DataError& error) {
    EXPECT_THAT(error.what(), HasSubstr("is in " + saved));
  }
  EXPECT_THAT(log("stop"), HasSubstr("saved " + saved));
  EXPECT_THAT(list_checkpoints(run.run.directory + "/checkpoints"), testing::ElementsAre(saved));
}

TEST_F(TrainerNonfiniteTest, ABadFirstStepLeavesNoCheckpoint) {
  const TrainerOptions run = options("stop");
  EXPECT_THROW(static_cast<void>(train_with_a_nan(dataset_, 2, run, /*bad_step=*/1)), DataError);
  EXPECT_THAT(list_checkpoints(run.run.directory + "/checkpoints"), testing::IsEmpty());
}

// From the fifth step on the gradient of the item rows is too large for its square, and that of the
// weights is not: rows of 1e-25 meet weights of 1e25 in the item tower.
Trained train_with_bad_rows(const Dataset& dataset, int world, const TrainerOptions& options,
                            int64_t steps) {
  return train_world(dataset, world, options, [&](Trainer& trainer) {
    trainer.resume();
    StopCondition stop;
    stop.requested = [&, spoilt = false]() mutable {
      if (trainer.step() == 4 && !std::exchange(spoilt, true)) {
        const torch::NoGradGuard no_grad;
        torch::Tensor rows = trainer.item_table()->model_state().at("rows");
        rows.mul_(1e-25);
        torch::Tensor weight = trainer.model()->named_parameters()["item_expand.weight"];
        weight.narrow(1, weight.size(1) - rows.size(1), rows.size(1)).mul_(1e25);
      }
      return trainer.step() >= steps;
    };
    trainer.train(stop);
  });
}

TEST_F(TrainerNonfiniteTest, TheGradientOfItemRowsCountsAsThatOfWeights) {
  for (const char* placement : {"replicated", "row_sharded"}) {
    SCOPED_TRACE(placement);
    const auto with_rows = [&](const std::string& on_nonfinite, const std::string& name) {
      TrainerOptions run = options(on_nonfinite);
      run.run.directory = directory_ / (name + placement);
      run.item.table.placement = enum_value<ItemPlacement>(placement);
      run.item.table.dim = 4;
      return run;
    };
    try {
      static_cast<void>(train_with_bad_rows(dataset_, 3, with_rows("stop", "stop"), 20));
      ADD_FAILURE() << "trained over rows without a finite gradient";
    } catch (const DataError& error) {
      EXPECT_THAT(
          error.what(),
          testing::ContainsRegex("the gradient of step 5 is not finite \\(norm nan\\) in "
                                 "[0-9]+ item rows \\((item [0-9]+|the unknown row), .* more\\);"));
      EXPECT_THAT(error.what(), HasSubstr("a lower item.table.learning_rate"));
    }
    const auto before = train_with_bad_rows(dataset_, 3, with_rows("skip", "before"), 4).weights;
    const auto after = train_with_bad_rows(dataset_, 3, with_rows("skip", "after"), 5).weights;
    for (const auto& [name, tensor] : before)
      EXPECT_TRUE(torch::equal(tensor, after.at(name))) << name;
    EXPECT_THAT(log("after" + std::string(placement)), HasSubstr("skipped a step: the gradient"));
  }
}

// In its second step the rows alone meet a NaN, which is gone in the third.
Trained pretrain_with_a_nan(const Dataset& dataset, const TrainerOptions& options) {
  return train_world(dataset, 2, options, [&](Trainer& trainer) {
    trainer.resume();
    StopCondition stop;
    stop.requested = [&, calls = 0, kept = torch::Tensor()]() mutable {
      torch::Tensor rows = trainer.item_table()->model_state().at("rows");
      ++calls;
      if (calls == 2) {
        kept = rows.clone();
        rows.fill_(kNaN);
      } else if (calls == 3) {
        rows.copy_(kept);
      }
      return false;
    };
    trainer.train(stop);
  });
}

TEST_F(TrainerNonfiniteTest, PretrainingOfItemRowsIsCheckedToo) {
  for (const char* placement : {"replicated", "row_sharded"}) {
    SCOPED_TRACE(placement);
    const auto with_rows = [&](const std::string& on_nonfinite) {
      TrainerOptions run = options(on_nonfinite);
      run.run.directory += placement;
      run.train.steps = 2;
      run.item.table.placement = enum_value<ItemPlacement>(placement);
      run.item.table.dim = 4;
      run.item.table.pretrain_steps = 3;
      return run;
    };
    try {
      static_cast<void>(pretrain_with_a_nan(dataset_, with_rows("stop")));
      ADD_FAILURE() << "trained over a NaN";
    } catch (const DataError& error) {
      EXPECT_THAT(error.what(), StartsWith("training diverged: the gradient of step 2 of "
                                           "item.table.pretrain_steps is not finite in "));
      EXPECT_THAT(error.what(), HasSubstr("Try a lower item.table.learning_rate"));
    }
    const Trained skipped = pretrain_with_a_nan(dataset_, with_rows("skip"));
    for (const auto& [name, tensor] : skipped.weights)
      EXPECT_TRUE(tensor.isfinite().all().item<bool>()) << name;
    const std::string told = log("skip" + std::string(placement));
    EXPECT_THAT(told, HasSubstr("skipped a step: the gradient of step 2 of item.table"));
    EXPECT_THAT(told, Not(HasSubstr("the gradient of step 3")));
  }
}

TEST_F(TrainerNonfiniteTest, SkippingLeavesTheStepOutOnAllRanks) {
  const TrainerOptions run = options("skip");
  const Trained trained = train_with_a_nan(dataset_, 3, run, /*bad_step=*/5);
  ASSERT_EQ(trained.losses.size(), 20U);
  for (size_t i = 0; i < trained.losses.size(); ++i)
    EXPECT_EQ(std::isfinite(trained.losses[i]), i + 1 != 5) << "step " << i + 1;
  for (const auto& [name, tensor] : trained.weights)
    EXPECT_TRUE(tensor.isfinite().all().item<bool>()) << name;
  EXPECT_THAT(log("skip"), HasSubstr("skipped a step: the gradient of step 5 is not finite"));
  EXPECT_THAT(log("skip"), Not(HasSubstr("step 6 is not")));
  // As if the optimizer had not been called in step 5.
  const Checkpoint saved = load_checkpoint(run.run.directory + "/checkpoints/step-000000020", true);
  EXPECT_EQ(saved.training.at("adam.steps").item<float>(), 19);
}

TEST_F(TrainerNonfiniteTest, ASkippedStepMovesNoLearnedRow) {
  for (const char* placement : {"replicated", "row_sharded"}) {
    const auto train = [&](const std::string& run, int bad_step, int64_t steps) {
      TrainerOptions with_rows = options("skip");
      with_rows.run.directory = directory_ / (run + placement);
      with_rows.item.table.placement = enum_value<ItemPlacement>(placement);
      with_rows.item.table.dim = 4;
      return train_with_a_nan(dataset_, 3, with_rows, bad_step, steps).weights;
    };
    const auto before = train("before", /*bad_step=*/0, /*steps=*/4);
    const auto after = train("after", /*bad_step=*/5, /*steps=*/5);
    for (const auto& [name, tensor] : before)
      EXPECT_TRUE(torch::equal(tensor, after.at(name))) << name;
  }
}

TEST_F(TrainerNonfiniteTest, UsersWhoseDataGiveANanAreNamed) {
  try {
    static_cast<void>(train_world(dataset_, 2, options("stop"), [](Trainer& trainer) {
      // Whoever was on the surface "search" reads a NaN.
      trainer.model()->named_parameters()["surface.weight"].detach().select(0, 1).fill_(kNaN);
      trainer.resume();
      trainer.train();
    }));
    ADD_FAILURE() << "trained over a NaN";
  } catch (const DataError& error) {
    EXPECT_THAT(error.what(), HasSubstr("step 1 is not finite"));
    EXPECT_THAT(error.what(), HasSubstr("users whose data give a NaN or infinity: 5"));
  }
}

// Past the writer of datasets, which would refuse it.
void put_nan_into_vector(const std::string& dataset, int64_t item) {
  constexpr uint16_t kHalfNaN = 0x7e00;
  constexpr int64_t kWidth = 8, kColumn = 3;
  overwrite_element(dataset + "/items.h5", "/item/vector", item * kWidth + kColumn, kHalfNaN);
}

// With what all of the ranks stop, which must be the same.
std::string last_words(const Dataset& dataset, int world, const TrainerOptions& options) {
  std::mutex mutex;
  std::vector<std::string> words;
  const auto train = [&](Trainer& trainer) {
    try {
      trainer.resume();
      trainer.train();
    } catch (const DataError& error) {
      const std::lock_guard lock(mutex);
      words.emplace_back(error.what());
      throw;
    }
  };
  EXPECT_THROW(static_cast<void>(train_world(dataset, world, options, train)), DataError);
  EXPECT_EQ(words.size(), static_cast<size_t>(world));
  for (const std::string& other : words) EXPECT_EQ(other, words[0]);
  return words.empty() ? "" : words[0];
}

std::string bad_vector(const std::string& dataset, int64_t item) {
  return dataset + "/items.h5: dataset /item/vector, row " + std::to_string(item) + " (item " +
         std::to_string(item) + ") is not finite, see `pinnerformer data validate " + dataset + "`";
}

TEST_F(TrainerNonfiniteTest, AnItemVectorThatIsNotFiniteIsNamedByItsRow) {
  constexpr int64_t kItem = 7;
  for (const int world : {1, 2}) {
    const TemporaryDirectory elsewhere;
    const std::string path = write_tiny_dataset(elsewhere.path(), 47);
    put_nan_into_vector(path, kItem);
    TrainerOptions run = options("stop");
    run.run.directory += std::to_string(world);
    EXPECT_THAT(last_words(Dataset::open(path), world, run),
                StartsWith("training met bad data: " + bad_vector(path, kItem)));
  }
}

// An item that no user had: only the random items of the pool bring it in.
TEST_F(TrainerNonfiniteTest, SoIsOneThatOnlyThePoolReads) {
  for (const int world : {1, 2}) {
    const TemporaryDirectory elsewhere;
    const std::string path = write_tiny_dataset(elsewhere.path(), /*users=*/6);
    std::set<int64_t> had;
    const Dataset whole = Dataset::open(path);
    for (const Timeline& timeline : whole.timelines(0, whole.users()))
      had.insert(timeline.item.begin(), timeline.item.end());
    int64_t item = kTinyItems - 1;
    while (had.contains(item)) --item;
    ASSERT_GT(item, 0) << "item 0 is what padding reads";
    put_nan_into_vector(path, item);
    TrainerOptions run = options("stop");
    run.run.directory += std::to_string(world);
    const std::string words = last_words(Dataset::open(path), world, run);
    EXPECT_THAT(words, StartsWith("training met bad data: " + bad_vector(path, item)));
    EXPECT_THAT(words, HasSubstr("no user of the step"));
  }
}

TEST_F(TrainerNonfiniteTest, SkippingForEverIsAStandstill) {
  TrainerOptions run = options("skip");
  run.train.steps = 200;
  try {
    static_cast<void>(train_world(dataset_, 1, run, [](Trainer& trainer) {
      trainer.model()->named_parameters()["head_output.weight"].detach().fill_(kNaN);
      trainer.resume();
      trainer.train();
    }));
    ADD_FAILURE() << "skipped all steps";
  } catch (const DataError& error) {
    EXPECT_THAT(error.what(), HasSubstr("training stands still: 100 steps in a row"));
  }
}

}  // namespace
}  // namespace pinnerformer
