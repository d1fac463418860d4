// Vectors that counted the labels of training make training look easier than serving: users whose
// labels were counted are found better than others. Vectors of earlier events do not.
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "comm/thread_communicator.h"
#include "dataloader/base/random.h"
#include "dataloader/vectors/co_occurrence_vectors.h"
#include "dataloader/vectors/item_vectors_file.h"
#include "tests/support/dataset_fixture.h"
#include "trainer/evaluation/baselines.h"
#include "trainer/evaluation/evaluation.h"

namespace pinnerformer {
namespace {

constexpr int64_t kTopics = 20;
constexpr int64_t kItemsOfATopic = 60;
constexpr int64_t kTrainingEnd = 10 * kDay;
constexpr int64_t kLabelDays = 4;

// Users of one topic each, who take a random item of it every 28 hours for 14 days.
std::vector<EventRow> topical_users() {
  std::vector<EventRow> rows;
  for (int64_t user = 0; user < 700; ++user) {
    KeyedRandom random(RandomStream::kProjection, {user, 21});
    const int64_t topic = random.below(kTopics);
    for (int64_t event = 0; event < 12; ++event)
      rows.push_back({.user = user,
                      .item = topic * kItemsOfATopic + random.below(kItemsOfATopic),
                      .action = "click",
                      .time = 1 + event * 28 * 3600 + random.below(3600)});
  }
  rows.push_back({.user = 9999, .item = 0, .action = "click", .time = 0});
  rows.push_back({.user = 9999, .item = 0, .action = "click", .time = 14 * kDay});
  return rows;
}

struct Recalls {
  double training_users = 0;    // on their last labels
  double evaluation_users = 0;  // after the end of training
  double error = 0;             // standard error of the difference
};

// Mean of the last vectors, which count the events before `before`.
Recalls recalls_of(int64_t before) {
  const TemporaryDirectory directory;
  FixtureItems items;
  items.count = kTopics * kItemsOfATopic;
  const std::string path = write_dataset(directory.path(), topical_users(), items);
  CoOccurrenceVectorsOptions options;
  options.counting.before = before;
  options.counting.temporary_prefix = directory / "pairs-";
  options.dimension = 128;
  attach_item_vectors(path, make_co_occurrence_vectors(Dataset::open(path), options, {}));
  const Dataset dataset = Dataset::open(path);
  const PositiveOptions positives{.actions = {"click"}, .surfaces = {}, .first_only = true};
  SplitOptions split{.users_percent = 40,
                     .window_days = static_cast<double>(kLabelDays),
                     .windows = 1,
                     .min_events = 3,
                     .validation_percent = 60};
  const EvaluateOptions evaluate_options;
  const auto comm = make_single_communicator();
  const auto recall = [&](HeldOut part) {
    MeanOfLastBaseline mean(dataset, 20);
    const std::vector<RetrievalMethod*> methods{&mean};
    return evaluate({.dataset = dataset,
                     .positives = positives,
                     .split = split,
                     .evaluate = evaluate_options,
                     .seed = 1,
                     .comm = *comm,
                     .progress = nullptr,
                     .part = part},
                    methods)
        .results.front();
  };
  const MethodResult served = recall(HeldOut::kTest);
  // The last labels of the others: a window that ends where training ends.
  split.end = std::to_string(kTrainingEnd);
  const MethodResult trained = recall(HeldOut::kValidation);
  return {.training_users = trained.metrics.recall_at_10,
          .evaluation_users = served.metrics.recall_at_10,
          .error = std::hypot(trained.standard_errors.recall_at_10,
                              served.standard_errors.recall_at_10)};
}

TEST(VectorsLeakTest, VectorsOfEventsBeforeTheLabelsTreatAllUsersAlike) {
  const Recalls clean = recalls_of(kTrainingEnd + 1 - kLabelDays * kDay);
  EXPECT_NEAR(clean.training_users, clean.evaluation_users, 3 * clean.error);
  EXPECT_GT(clean.evaluation_users, 0.1) << "ten random items of the topic would be .17";
}

TEST(VectorsLeakTest, VectorsThatCountTheLabelsDoNot) {
  const Recalls leaking = recalls_of(kTrainingEnd + 1);
  EXPECT_GT(leaking.training_users, leaking.evaluation_users + 5 * leaking.error);
}

}  // namespace
}  // namespace pinnerformer
