// A step of the real model overlaps communication with computation: the pool travels while the
// transformer runs, its gradient and the buckets while the transformer is differentiated.
#include <ATen/record_function.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include <algorithm>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "tests/support/dataset_fixture.h"
#include "tests/support/rank_threads.h"
#include "tests/support/recording_communicator.h"
#include "tests/support/tiny_batches.h"
#include "tests/support/tiny_dataset.h"
#include "tests/support/training_world.h"

namespace pinnerformer {
namespace {

constexpr const char* kFirstLayer = "gradient of the first layer";
constexpr const char* kAttention = "attention of a layer";

// While it lives, every forward attention of this thread is an event.
class AttentionListener {
 public:
  explicit AttentionListener(std::vector<std::string>& events) {
    events_ = &events;
    handle_ = at::addThreadLocalCallback(at::RecordFunctionCallback(&AttentionListener::note));
  }
  ~AttentionListener() { at::removeCallback(handle_); }
  AttentionListener(const AttentionListener&) = delete;
  AttentionListener& operator=(const AttentionListener&) = delete;

 private:
  static std::unique_ptr<at::ObserverContext> note(const at::RecordFunction& function) {
    if (std::string_view(function.name()) == "aten::scaled_dot_product_attention")
      events_->emplace_back(kAttention);
    return nullptr;
  }

  // A callback is a plain function, and every rank is a thread.
  static inline thread_local std::vector<std::string>* events_ = nullptr;
  at::CallbackHandle handle_ = at::INVALID_CALLBACK_HANDLE;
};

class TrainerOverlapTest : public testing::Test {
 protected:
  TrainerOverlapTest() : dataset_(Dataset::open(write_tiny_dataset(directory_.path(), 47))) {}

  // What rank 0 of two did in its last step, in order.
  std::vector<std::string> events_of_a_step(int64_t accumulate) {
    TrainerOptions options = tiny_trainer_options(directory_ / "run");
    options.train.gradient_accumulation_steps = accumulate;
    CommOptions comm_options;
    comm_options.bucket_mib = 0.002;
    std::vector<std::string> events;
    run_ranks(2, [&](Communicator& comm) {
      std::vector<std::string> mine;
      RecordingCommunicator recorder(comm,
                                     [&](const std::string& event) { mine.push_back(event); });
      Trainer trainer(tiny_training_data(dataset_), options, comm_options,
                      Ranks{&comm, &recorder, torch::kCPU}, "");
      trainer.model()->named_parameters()["input.weight"].register_hook(
          [&](const torch::Tensor&) { mine.emplace_back(kFirstLayer); });
      const AttentionListener attention(mine);
      trainer.time_steps(/*warmup=*/1, /*steps=*/1);
      const auto last = std::find(mine.rbegin(), mine.rend(), "start negative pool").base() - 1;
      if (comm.rank() == 0) events.assign(last, mine.end());
    });
    return events;
  }

  TemporaryDirectory directory_;
  Dataset dataset_;
};

int64_t place(const std::vector<std::string>& events, const std::string& event) {
  const auto found = std::find(events.begin(), events.end(), event);
  EXPECT_NE(found, events.end()) << event << " in " << testing::PrintToString(events);
  return found - events.begin();
}

TEST_F(TrainerOverlapTest, ThePoolTravelsWhileTheTransformerRuns) {
  const auto events = events_of_a_step(/*accumulate=*/1);
  EXPECT_EQ(place(events, "start negative pool"), 0);
  const auto arrived = events.begin() + place(events, "done negative pool");
  EXPECT_EQ(std::count(events.begin(), arrived, kAttention), tiny_model_options().layers)
      << testing::PrintToString(events);
  EXPECT_EQ(std::count(arrived, events.end(), kAttention), 0);
}

TEST_F(TrainerOverlapTest, GradientsTravelWhileTheTransformerIsDifferentiated) {
  for (const int64_t parts : {1, 3}) {
    SCOPED_TRACE(parts);
    const auto events = events_of_a_step(parts);
    const int64_t first_layer =
        std::find(events.rbegin(), events.rend(), kFirstLayer).base() - events.begin() - 1;
    EXPECT_LT(place(events, "start gradient of the negative pool"), first_layer);
    EXPECT_GT(place(events, "done gradient of the negative pool"), first_layer);
    // Every bucket of the head and the blocks but the last is on its way before the input layer.
    const auto left = std::count_if(
        events.begin(), events.begin() + first_layer,
        [](const std::string& event) { return event.starts_with("start gradient bucket"); });
    const auto all = std::count_if(events.begin(), events.end(), [](const std::string& event) {
      return event.starts_with("start gradient bucket");
    });
    EXPECT_GT(all, 6);
    EXPECT_GT(2 * left, all) << testing::PrintToString(events);
    EXPECT_LT(place(events, "start gradient of the negative pool"),
              place(events, "start gradient bucket 0"))
        << "the same order on every rank, however many parts it computes in";
  }
}

}  // namespace
}  // namespace pinnerformer
