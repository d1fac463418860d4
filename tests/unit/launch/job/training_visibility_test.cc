// What training sees. Every event has an item of its own, and the item table counts the steps that
// moved a row: after one step over all users, the items with a count are the events that training
// has seen.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <set>
#include <string>
#include <vector>

#include "dataloader/base/errors.h"
#include "dataloader/base/random.h"
#include "launch/job/training_setup.h"
#include "tests/support/dataset_fixture.h"
#include "tests/support/message_of.h"
#include "tests/support/tiny_config.h"

namespace pinnerformer {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

constexpr int64_t kUsers = 24;
constexpr int64_t kEvents = 9;
constexpr int64_t kFirstDay = 1'599'955'200;  // 2020-09-13 UTC
constexpr int64_t kLastTime = kFirstDay + kDay * (kUsers - 1 + 3 * (kEvents - 1)) + kUsers - 1;

struct Event {
  int64_t user = 0;
  int64_t number = 0;  // of the user's events
  [[nodiscard]] int64_t item() const { return user * kEvents + number; }
  // User u's events are three days apart and begin at day u.
  [[nodiscard]] int64_t time() const { return kFirstDay + kDay * (user + 3 * number) + user; }
  [[nodiscard]] std::string action() const { return item() % 3 == 0 ? "view" : "save"; }
  [[nodiscard]] std::string surface() const { return item() % 2 == 0 ? "home" : "search"; }
  [[nodiscard]] float duration() const { return static_cast<float>(item() % 20); }
};

std::vector<EventRow> all_rows() {
  std::vector<EventRow> rows;
  for (int64_t user = 0; user < kUsers; ++user)
    for (int64_t number = 0; number < kEvents; ++number) {
      const Event event{user, number};
      rows.push_back(
          {user, event.item(), event.action(), event.surface(), event.time(), event.duration()});
    }
  return rows;
}

using Condition = std::function<bool(const Event&)>;

// A user's newest input is the event before its last positive that training may see, and that
// positive is a label. So training sees all events up to it and none after it.
std::set<int64_t> expected_items(const Condition& trains_on, const Condition& is_positive) {
  std::set<int64_t> items;
  for (int64_t user = 0; user < kUsers; ++user) {
    int64_t last = 0;
    for (int64_t number = 1; number < kEvents; ++number)
      if (trains_on({user, number}) && is_positive({user, number})) last = number;
    for (int64_t number = 0; last > 0 && number <= last; ++number)
      items.insert(Event{user, number}.item());
  }
  return items;
}

bool is_save(const Event& event) { return event.action() == "save"; }

bool is_held_out(const Event& event, uint64_t percent) {
  return splitmix64(static_cast<uint64_t>(event.user)) % 100 < percent;
}

class TrainingVisibilityTest : public testing::Test {
 protected:
  TrainingVisibilityTest() : path_(write_dataset(directory_.path(), all_rows())) {}

  [[nodiscard]] std::set<int64_t> trained_items(const std::vector<std::string>& words) {
    std::vector<std::string> all = {
        "objective.name=sasrec", "objective.window_days=1000",   "objective.sample_end=latest",
        "negatives.random=0",    "negatives.in_batch=1000",      "item.table.unknown_rate=0",
        "train.steps=1",         "train.global_batch_users=1000"};
    all.insert(all.end(), words.begin(), words.end());
    const RunConfig config =
        tiny_config(path_, directory_ / ("run" + std::to_string(++runs_)), all);
    std::set<int64_t> items;
    train_config(dataset_, config, [&](Trainer& trainer) {
      const torch::Tensor updates = trainer.item_table()->model_state().at("updates");
      for (int64_t item = 0; item + 1 < updates.size(0); ++item)
        if (updates[item].item<int32_t>() > 0) items.insert(item);
    });
    return items;
  }

  TemporaryDirectory directory_;
  std::string path_;
  Dataset dataset_ = Dataset::open(path_);
  int runs_ = 0;
};

TEST_F(TrainingVisibilityTest, NothingAfterTheEvaluationTimeIsTrainedOn) {
  for (const auto& [words, days] :
       {std::pair{std::vector<std::string>{"split.window_days=6"}, 6},
        {std::vector<std::string>{"split.window_days=12"}, 12},
        {std::vector<std::string>{"split.window_days=6", "split.windows=3"}, 18}}) {
    const int64_t end = kLastTime - days * kDay;
    const auto expected = expected_items(
        [&](const Event& event) { return !is_held_out(event, 20) && event.time() <= end; },
        is_save);
    EXPECT_EQ(trained_items(words), expected) << days << " days are held out";
  }
}

TEST_F(TrainingVisibilityTest, TheEndSetByHandHolds) {
  const int64_t end = kFirstDay + (22 - 6) * kDay;
  EXPECT_EQ(trained_items({"split.end=2020-10-05", "split.window_days=6"}),
            expected_items(
                [&](const Event& event) { return !is_held_out(event, 20) && event.time() <= end; },
                is_save));
}

TEST_F(TrainingVisibilityTest, UsersHeldOutAreNotTrainedOn) {
  for (const uint64_t percent : {uint64_t{10}, uint64_t{50}}) {
    const int64_t end = kLastTime - 5 * kDay;
    const auto expected = expected_items(
        [&](const Event& event) { return !is_held_out(event, percent) && event.time() <= end; },
        is_save);
    ASSERT_THAT(expected, Not(IsEmpty()));
    EXPECT_EQ(trained_items({"split.users_percent=" + std::to_string(percent)}), expected);
  }
}

TEST_F(TrainingVisibilityTest, WithoutUsersHeldOutEverythingIsTrainedOn) {
  EXPECT_EQ(trained_items({"split.users_percent=0"}),
            expected_items([](const Event&) { return true; }, is_save));
}

TEST_F(TrainingVisibilityTest, LeaveOneOutTrainsOnNeitherOfTheLastTwoEvents) {
  EXPECT_EQ(trained_items({"split.protocol=leave_one_out"}),
            expected_items([](const Event& event) { return event.number < kEvents - 2; }, is_save));
}

TEST_F(TrainingVisibilityTest, LeaveOutOneTrainsOnTheSecondLastEventToo) {
  EXPECT_EQ(trained_items({"split.protocol=leave_one_out", "split.leave_out=1"}),
            expected_items([](const Event& event) { return event.number < kEvents - 1; }, is_save));
}

TEST_F(TrainingVisibilityTest, ValidationUsersAreNotTrainedOn) {
  const int64_t end = kLastTime - 5 * kDay;
  const auto expected = expected_items(
      [&](const Event& event) { return !is_held_out(event, 40) && event.time() <= end; }, is_save);
  EXPECT_EQ(trained_items({"split.users_percent=10", "split.validation_percent=30"}), expected);
}

TEST_F(TrainingVisibilityTest, PositivesAreThoseOfTheConfiguration) {
  const auto everything = [](const Event&) { return true; };
  const auto items = [&](const std::string& word) {
    return trained_items({"split.users_percent=0", word});
  };
  EXPECT_EQ(items("positives.actions=view"),
            expected_items(everything, [](const Event& event) { return !is_save(event); }));
  EXPECT_EQ(items("positives.actions=save>16"), expected_items(everything, [](const Event& event) {
              return is_save(event) && event.duration() > 16;
            }));
  EXPECT_EQ(items("positives.surfaces=home"), expected_items(everything, [](const Event& event) {
              return is_save(event) && event.surface() == "home";
            }));
}

TEST_F(TrainingVisibilityTest, OptionsOfTheLoaderAreHandedOn) {
  const RunConfig config = tiny_config(
      path_, directory_ / "run",
      {"data.prefetch_batches=9", "data.on_bad_block=skip", "data.verify_checksums=false"});
  const DataOptions options = training_data(dataset_, config).options;
  EXPECT_EQ(options.path, path_);
  EXPECT_EQ(options.prefetch_batches, 9);
  EXPECT_EQ(options.block_users, 4);
  EXPECT_EQ(options.shuffle_blocks, 3);
  EXPECT_EQ(options.on_bad_block, OnBadBlock::kSkip);
  EXPECT_FALSE(options.verify_checksums);
}

TEST_F(TrainingVisibilityTest, NobodyToTrainOnIsAnError) {
  const RunConfig config = tiny_config(path_, directory_ / "run", {"split.users_percent=100"});
  EXPECT_THAT(message_of<DataError>([&] { static_cast<void>(training_data(dataset_, config)); }),
              HasSubstr("has no user to train on"));
}

}  // namespace
}  // namespace pinnerformer
