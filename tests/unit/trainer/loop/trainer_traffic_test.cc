// What a step of the real model moves between the ranks is what the formulas say, to the byte.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "comm/counting_communicator.h"
#include "dataloader/base/enum_name.h"
#include "dataloader/base/slice.h"
#include "tests/support/dataset_fixture.h"
#include "tests/support/rank_threads.h"
#include "tests/support/recording_communicator.h"
#include "tests/support/tiny_dataset.h"
#include "tests/support/training_world.h"
#include "trainer/objective/objective.h"

namespace pinnerformer {
namespace {

using testing::ElementsAre;

// Counts, and notes how many rows of the item table its rank asked for, and how many of the others.
class RowCounter : public CountingCommunicator {
 public:
  using CountingCommunicator::CountingCommunicator;

  [[nodiscard]] int64_t rows() const { return rows_; }
  [[nodiscard]] int64_t rows_elsewhere() const { return rows_elsewhere_; }

  std::unique_ptr<Work> all_gather(torch::Tensor output, torch::Tensor input,
                                   const std::vector<int64_t>& counts,
                                   const std::string& name) override {
    if (name == "used rows") rows_ = input.size(0);
    return CountingCommunicator::all_gather(std::move(output), std::move(input), counts, name);
  }
  std::unique_ptr<Work> all_to_all(torch::Tensor output, torch::Tensor input,
                                   const std::vector<int64_t>& recv_counts,
                                   const std::vector<int64_t>& send_counts,
                                   const std::string& name) override {
    if (name == "requested rows") {
      rows_ = input.size(0);
      rows_elsewhere_ = rows_ - send_counts[static_cast<size_t>(rank())];
    }
    return CountingCommunicator::all_to_all(std::move(output), std::move(input), recv_counts,
                                            send_counts, name);
  }

 private:
  int64_t rows_ = 0, rows_elsewhere_ = 0;
};

// What one rank received in a step.
struct Received {
  int64_t tensors = 0, control = 0;  // bytes
  int64_t rows = 0, rows_elsewhere = 0;
  int64_t parameters = 0;  // elements of the model
};

class TrainerTrafficTest : public testing::Test {
 protected:
  // Four batches of ten users each: all are of one size.
  TrainerTrafficTest() : dataset_(Dataset::open(write_tiny_dataset(directory_.path(), 40))) {}

  [[nodiscard]] TrainerOptions options() const {
    TrainerOptions options = tiny_trainer_options(directory_ / "run");
    options.negatives.in_batch = kInBatch;
    return options;
  }

  [[nodiscard]] std::vector<Received> a_step(int world, const TrainerOptions& options,
                                             const CommOptions& comm_options) const {
    std::vector<Received> ranks(static_cast<size_t>(world));
    run_ranks(world, [&](Communicator& comm) {
      RowCounter control(comm);
      CountingCommunicator tensors(comm);
      Trainer trainer(tiny_training_data(dataset_), options, comm_options,
                      Ranks{&control, &tensors, torch::kCPU}, "");
      const int64_t before = control.bytes_received(), tensors_before = tensors.bytes_received();
      trainer.time_steps(/*warmup=*/0, /*steps=*/1);
      Received& mine = ranks[static_cast<size_t>(comm.rank())];
      mine.control = control.bytes_received() - before;
      mine.tensors = tensors.bytes_received() - tensors_before;
      mine.rows = control.rows();
      mine.rows_elsewhere = control.rows_elsewhere();
      mine.parameters = count_parameters(trainer.model());
    });
    return ranks;
  }

  static constexpr int64_t kInBatch = 2;  // so few that every batch has them

  TemporaryDirectory directory_;
  Dataset dataset_;
};

// Every gradient once around the ring, the pool out to all others and its gradient back.
TEST_F(TrainerTrafficTest, TensorsAreGradientsAndThePool) {
  struct Case {
    int world;
    double bucket_mib;  // of many buckets 4/3 bytes each would be rounded, so those are for 2 ranks
  };
  for (const auto& [world, bucket_mib] : {Case{2, 25}, Case{3, 25}, Case{2, 0.002}}) {
    SCOPED_TRACE(c10::str(world, " ranks, buckets of ", bucket_mib, " MiB"));
    const TrainerOptions run = options();
    CommOptions comm_options;
    comm_options.bucket_mib = bucket_mib;
    const std::vector<Received> ranks = a_step(world, run, comm_options);
    const int64_t columns = run.negatives.in_batch + run.negatives.random;
    const std::vector<int64_t> shares = slice_counts(columns, world);
    for (size_t r = 0; r < ranks.size(); ++r) {
      const int64_t gradients = 2 * 4 * ranks[r].parameters * (world - 1) / world;
      const int64_t pool = 4 * (columns - shares[r]) * run.model.output;
      const int64_t pool_gradient = 4 * (world - 1) * shares[r] * run.model.output;
      EXPECT_EQ(ranks[r].tensors, gradients + pool + pool_gradient) << "rank " << r;
    }
  }
}

// Who wants to stop says so with the positives.
TEST_F(TrainerTrafficTest, ACollectiveOfAStepIsMadeOnce) {
  const auto calls = [&](int64_t steps) {
    TrainerOptions run = options();
    run.run.directory = directory_ / std::to_string(steps);
    run.train.steps = steps;
    run.train.log_every = run.checkpoint.every_steps = 1000;
    std::filesystem::create_directories(run.run.directory);
    std::map<std::string, int64_t> started;  // by rank 0
    run_ranks(2, [&](Communicator& comm) {
      RecordingCommunicator recording(comm, [&](const std::string& event) {
        if (comm.rank() == 0 && event.starts_with("start ")) ++started[event];
      });
      Trainer trainer(tiny_training_data(dataset_), run, CommOptions{},
                      Ranks{&recording, &recording, torch::kCPU}, "");
      EXPECT_TRUE(trainer.train());
    });
    return started;
  };
  std::map<std::string, int64_t> in_a_step;
  const auto few = calls(4), many = calls(9);
  for (const auto& [name, count] : many)
    if (count != few.at(name)) in_a_step[name] = count - few.at(name);
  EXPECT_THAT(in_a_step, ElementsAre(testing::Pair("start counts of the columns", 5),
                                     testing::Pair("start gradient bucket 0", 5),
                                     testing::Pair("start gradient of the negative pool", 5),
                                     testing::Pair("start in-batch columns", 5),
                                     testing::Pair("start negative pool", 5),
                                     testing::Pair("start positives", 5)));
}

// The sums over all ranks: who asks whom for how many rows is up to the batch. Sharded rows and
// their gradients travel as tensors do.
TEST_F(TrainerTrafficTest, ControlIsPairsAndTheItemRowsOfTheHost) {
  for (const int64_t world : {2, 3})
    for (const char* name : {"none", "replicated", "row_sharded"}) {
      SCOPED_TRACE(c10::str(world, " ranks, ", name));
      TrainerOptions run = options();
      const ItemPlacement placement = run.item.table.placement = enum_value<ItemPlacement>(name);
      run.item.table.dim = 6;
      Received sum;
      for (const Received& rank : a_step(static_cast<int>(world), run, CommOptions{})) {
        EXPECT_EQ(rank.rows > 0, placement != ItemPlacement::kNone);
        EXPECT_LE(rank.rows, kTinyItems + 1) << "each row once";
        sum.control += rank.control;
        sum.rows += rank.rows;
        sum.rows_elsewhere += rank.rows_elsewhere;
      }
      // Five numbers of each rank, the items of the in-batch columns, and their counts around the
      // ring. Nothing of it grows with the batch.
      const int64_t columns = 8 * run.negatives.in_batch;
      int64_t expected =
          (world - 1) * (world * 5 * 8 + columns) + world * (2 * columns * (world - 1) / world);
      const int64_t row = 4 * run.item.table.dim;
      const int64_t counts = 8 * world * (world - 1);
      if (placement == ItemPlacement::kReplicated)
        expected += (world - 1) * sum.rows * (8 + row) + counts;
      if (placement == ItemPlacement::kRowSharded) expected += sum.rows_elsewhere * 8 + counts;
      EXPECT_EQ(sum.control, expected);
    }
}

// Rows to send there and gradients back, and the norms of these around the ring.
TEST_F(TrainerTrafficTest, ShardedItemRowsTravelAsTensorsUnlessTheyStayOnTheHost) {
  TrainerOptions run = options();
  run.item.table.placement = ItemPlacement::kRowSharded;
  run.item.table.dim = 6;
  const auto sum_of = [&](RowMemory memory) {
    run.item.table.memory = memory;
    Received sum;
    for (const Received& rank : a_step(2, run, CommOptions{})) {
      sum.tensors += rank.tensors;
      sum.control += rank.control;
      sum.rows_elsewhere += rank.rows_elsewhere;
    }
    return sum;
  };
  const Received near = sum_of(RowMemory::kAuto), far = sum_of(RowMemory::kHost);
  EXPECT_EQ(near.rows_elsewhere, far.rows_elsewhere);
  const int64_t moved = near.rows_elsewhere * 2 * 4 * run.item.table.dim;
  EXPECT_EQ(near.tensors - far.tensors, moved);
  EXPECT_EQ(far.control - near.control, moved);
}

}  // namespace
}  // namespace pinnerformer
