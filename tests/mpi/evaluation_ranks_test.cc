// Evaluation over MPI gives the result of a single rank, bit by bit.
#include <gtest/gtest.h>
#include <torch/types.h>

#include <memory>
#include <string>
#include <vector>

#include "comm/mpi/mpi_communicator.h"
#include "comm/thread_communicator.h"
#include "dataloader/base/enum_name.h"
#include "dataloader/dataset/dataset.h"
#include "tests/support/dataset_fixture.h"
#include "tests/support/tiny_dataset.h"
#include "trainer/evaluation/baselines.h"
#include "trainer/evaluation/evaluation.h"

namespace pinnerformer {
namespace {

std::string evaluate_on(Communicator& comm, const Dataset& dataset, const SplitOptions& split) {
  const PositiveOptions positives{.actions = {"save"}, .surfaces = {}};
  EvaluateOptions options;
  options.batch_users = 3;
  options.index_items = 25;
  options.frequency = {InferenceFrequency::kOnce, InferenceFrequency::kDaily,
                       InferenceFrequency::kRealtime};
  const BaselineInputs inputs{.dataset = dataset,
                              .positives = positives,
                              .split = split,
                              .evaluate = options,
                              .seed = 1,
                              .comm = comm};
  std::vector<std::unique_ptr<RetrievalMethod>> methods;
  std::vector<RetrievalMethod*> pointers;
  for (const std::string_view name : kEnumNames<Baseline>) {
    methods.push_back(make_baseline(enum_value<Baseline>(name), inputs));
    pointers.push_back(methods.back().get());
  }
  return to_json(
      evaluate({.dataset = dataset,
                .positives = positives,
                .split = split,
                .evaluate = options,
                .seed = 1,
                .comm = comm,
                .progress = nullptr,
                .by = {SegmentKind::kActivity, SegmentKind::kItemAge, SegmentKind::kPopularity,
                       SegmentKind::kSurface, SegmentKind::kAction, SegmentKind::kNovelty}},
               pointers));
}

TEST(EvaluationRanks, GiveTheResultOfOneRank) {
  const TemporaryDirectory directory;
  const Dataset dataset = Dataset::open(write_tiny_dataset(directory.path(), /*users=*/60));
  const auto ranks = make_mpi_communicator(/*timeout_seconds=*/60);
  const auto alone = make_single_communicator();
  for (const char* protocol : {"windows", "leave_one_out"}) {
    const SplitOptions split{.users_percent = 70,
                             .window_days = 5,
                             .windows = 2,
                             .min_events = 1,
                             .protocol = enum_value<SplitProtocol>(protocol)};
    EXPECT_EQ(evaluate_on(*ranks, dataset, split), evaluate_on(*alone, dataset, split)) << protocol;
  }
}

}  // namespace
}  // namespace pinnerformer
