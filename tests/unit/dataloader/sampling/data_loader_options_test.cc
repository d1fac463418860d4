// data.prefetch_batches: how far the loader reads ahead of its consumer.
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <thread>

#include "dataloader/sampling/data_loader.h"
#include "tests/support/dataset_fixture.h"
#include "tests/support/tiny_dataset.h"

namespace pinnerformer {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

// A loader of which nobody takes a batch, and the number of timelines it has read.
class IdleLoader {
 public:
  IdleLoader(const Dataset& dataset, int64_t prefetch_batches) {
    DataOptions options;
    options.prefetch_batches = prefetch_batches;
    options.block_users = 1;
    options.shuffle_blocks = 1;
    LoaderSpec spec;
    spec.window = {8, 864'000, true};
    spec.part.train_until = dataset.last_time();
    spec.global_batch_users = 2;
    loader_ = std::make_unique<DataLoader>(
        dataset, all_users(dataset),
        [this, mark = saves_are_positive(dataset)](const Timeline& timeline) {
          ++read_;
          return mark(timeline);
        },
        spec, options, LoaderPosition{});
  }
  // Once it has not read for a while.
  [[nodiscard]] int64_t read_in_all() const {
    const auto deadline = steady_clock::now() + milliseconds(20'000);
    int64_t before = -1;
    while (before != read_ && steady_clock::now() < deadline) {
      before = read_;
      std::this_thread::sleep_for(milliseconds(300));
    }
    return read_;
  }

 private:
  std::atomic<int64_t> read_ = 0;
  std::unique_ptr<DataLoader> loader_;  // last: its thread counts
};

TEST(DataLoaderOptions, BatchesAreReadAheadAsFarAsAskedFor) {
  const TemporaryDirectory directory;
  const Dataset dataset = Dataset::open(write_tiny_dataset(directory.path(), 300));
  const IdleLoader one(dataset, 1), many(dataset, 20);
  EXPECT_GE(many.read_in_all() - one.read_in_all(), 2 * 15) << "19 batches of two users";
}

}  // namespace
}  // namespace pinnerformer
