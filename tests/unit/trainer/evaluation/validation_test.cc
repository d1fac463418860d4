// Validation cases: those of validation users alone, or second-last events; equal over ranks.
#include "trainer/evaluation/validation.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <thread>

#include "comm/thread_communicator.h"
#include "dataloader/base/errors.h"
#include "tests/support/dataset_fixture.h"
#include "tests/support/message_of.h"

namespace pinnerformer {
namespace {

using testing::HasSubstr;
using testing::SizeIs;

constexpr int64_t kAllUsers = 90;
constexpr int64_t kAllItems = 30;
constexpr int64_t kEvents = 6;

// User u clicks items u, u + 1, ... (mod kAllItems), one a day.
std::vector<EventRow> clicks_of_all() {
  std::vector<EventRow> rows;
  for (int64_t user = 0; user < kAllUsers; ++user)
    for (int64_t day = 0; day < kEvents; ++day)
      rows.push_back({.user = user,
                      .item = (user + day) % kAllItems,
                      .action = "click",
                      .time = (1 + day) * kDay});
  return rows;
}

class ValidationTest : public testing::Test {
 protected:
  ValidationTest() { evaluate_.batch_users = 4; }

  [[nodiscard]] EvaluationInputs inputs(Communicator& comm) const {
    return {.dataset = dataset_,
            .positives = positives_,
            .split = split_,
            .evaluate = evaluate_,
            .seed = 1,
            .comm = comm,
            .progress = nullptr};
  }

  // Scores only the item that continues the last day's: the very positive.
  static torch::Tensor next_items(const std::vector<HistoryPrefix>& prefixes) {
    torch::Tensor vectors = torch::zeros({std::ssize(prefixes), kAllItems});
    for (size_t i = 0; i < prefixes.size(); ++i) {
      const int32_t last = prefixes[i].timeline->item[static_cast<size_t>(prefixes[i].length - 1)];
      vectors[static_cast<int64_t>(i)][(last + 1) % kAllItems] = 1;
    }
    return vectors;
  }

  // Users and history lengths that the method was asked for.
  std::set<std::pair<int64_t, int64_t>> asked(HeldOut part) {
    std::set<std::pair<int64_t, int64_t>> cases;
    EncoderMethod spy("spy",
                      [&](const std::vector<HistoryPrefix>& prefixes) {
                        for (const HistoryPrefix& prefix : prefixes)
                          cases.insert({prefix.timeline->user, prefix.length});
                        return next_items(prefixes);
                      },
                      {});
    const auto comm = make_single_communicator();
    if (part == HeldOut::kValidation) {
      static_cast<void>(validate(inputs(*comm), spy));
    } else {
      static_cast<void>(evaluate(inputs(*comm), std::vector<RetrievalMethod*>{&spy}));
    }
    return cases;
  }

  TemporaryDirectory directory_;
  Dataset dataset_ = Dataset::open(write_dataset(directory_.path(), clicks_of_all()));
  PositiveOptions positives_{.actions = {"click"}, .surfaces = {}};
  SplitOptions split_{.users_percent = 30,
                      .window_days = 1,
                      .windows = 1,
                      .min_events = 1,
                      .validation_percent = 20};
  EvaluateOptions evaluate_;
};

TEST_F(ValidationTest, ValidationUsersAreNeitherTestedNorTrainedOn) {
  const auto validated = asked(HeldOut::kValidation);
  const auto tested = asked(HeldOut::kTest);
  EXPECT_GT(validated.size(), 5U);
  for (const auto& [user, length] : validated) {
    EXPECT_EQ(length, kEvents - 1) << "the history ends where the window begins";
    EXPECT_FALSE(tested.contains({user, length})) << user;
    const uint64_t hash = dataset_.user_hash(user);
    EXPECT_GE(hash % 100, 30U);
    EXPECT_LT(hash % 100, 50U);
    EXPECT_FALSE(is_training_user(hash, split_)) << user;
  }
  int64_t others = 0;
  for (int64_t user = 0; user < dataset_.users(); ++user)
    others += is_training_user(dataset_.user_hash(user), split_) ? 1 : 0;
  EXPECT_EQ(others + std::ssize(validated) + std::ssize(tested), kAllUsers);
}

TEST_F(ValidationTest, LeaveOneOutValidatesOnTheSecondLastEvent) {
  split_ = {.users_percent = 100,
            .min_events = 1,
            .protocol = SplitProtocol::kLeaveOneOut,
            .validation_percent = 100};
  const auto validated = asked(HeldOut::kValidation);
  EXPECT_THAT(validated, SizeIs(kAllUsers));
  for (const auto& [user, length] : validated) EXPECT_EQ(length, kEvents - 2);
  for (const auto& [user, length] : asked(HeldOut::kTest)) EXPECT_EQ(length, kEvents - 1);
}

TEST_F(ValidationTest, MetricsAreTheSameOnAnyNumberOfRanks) {
  std::set<std::vector<double>> found;
  for (const int size : {1, 2, 5}) {
    const auto comms = make_thread_communicators(size, 60);
    std::vector<ValidationResult> results(static_cast<size_t>(size));
    std::vector<std::thread> threads;
    for (size_t rank = 0; rank < results.size(); ++rank)
      threads.emplace_back([&, rank] {
        EncoderMethod method("model", next_items, {});
        results[rank] = validate(inputs(*comms[rank]), method);
      });
    for (std::thread& thread : threads) thread.join();
    for (const ValidationResult& result : results)
      found.insert({static_cast<double>(result.users), static_cast<double>(result.positives),
                    result.metrics.recall_at_10, result.metrics.ndcg_at_10});
  }
  ASSERT_THAT(found, SizeIs(1));
  EXPECT_EQ((*found.begin())[2], 1.0) << "the method names every positive";
}

TEST_F(ValidationTest, WithoutValidationUsersTheErrorNamesTheKey) {
  split_.validation_percent = 0;
  const auto comm = make_single_communicator();
  EncoderMethod method("model", next_items, {});
  EXPECT_THAT(message_of<DataError>([&] { static_cast<void>(validate(inputs(*comm), method)); }),
              HasSubstr("split.validation_percent = 0"));
}

}  // namespace
}  // namespace pinnerformer
