// Gradients summed over ranks while backward runs, against the serial sum.
#include "comm/gradients/gradient_reducer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include <algorithm>
#include <mutex>

#include "comm/counting_communicator.h"
#include "comm/thread_communicator.h"
#include "tests/support/rank_threads.h"
#include "tests/support/recording_communicator.h"

namespace pinnerformer {
namespace {

constexpr int64_t kWidth = 8;
constexpr int64_t kLayers = 6;

// Six layers, each used in the order of registration, and one parameter that nothing uses.
struct Network {
  std::vector<torch::Tensor> params;

  Network() {
    for (int64_t layer = 0; layer < kLayers; ++layer) {
      const torch::Tensor ramp = torch::arange(kWidth * kWidth, torch::kFloat32);
      params.push_back(torch::sin(ramp + static_cast<double>(layer)).view({kWidth, kWidth}) / 3);
      params.push_back(torch::full({kWidth}, 0.1));
    }
    params.push_back(torch::ones({3}));  // never used
    for (torch::Tensor& param : params) param.requires_grad_(true);
  }
  [[nodiscard]] torch::Tensor loss(int rank) const {
    torch::Tensor x =
        torch::cos(torch::arange(2 * kWidth, torch::kFloat32) * (rank + 1.0)).view({2, kWidth});
    for (size_t layer = 0; layer < kLayers; ++layer)
      x = torch::tanh(x.matmul(params[2 * layer]) + params[2 * layer + 1]);
    return x.sum() * (rank + 1.0);
  }
};

// A bucket holds about one layer.
CommOptions small_buckets() {
  CommOptions options;
  options.bucket_mib = 300.0 / (1 << 20);
  return options;
}

std::vector<torch::Tensor> serial_sum(int ranks) {
  const Network network;
  for (int rank = 0; rank < ranks; ++rank) network.loss(rank).backward();
  std::vector<torch::Tensor> grads;
  for (const torch::Tensor& param : network.params)
    grads.push_back(param.grad().defined() ? param.grad() : torch::zeros_like(param));
  return grads;
}

TEST(GradientReducer, EqualsTheSerialSumStepAfterStep) {
  for (const int ranks : {1, 2, 3, 4}) {
    const auto expected = serial_sum(ranks);
    run_ranks(ranks, [&](Communicator& comm) {
      const Network network;
      GradientReducer reducer(network.params, comm, small_buckets());
      EXPECT_GT(reducer.plan().size(), 4U);
      for (int step = 0; step < 3; ++step) {
        reducer.prepare();
        network.loss(comm.rank()).backward();
        reducer.finish();
        for (size_t i = 0; i < expected.size(); ++i)
          EXPECT_TRUE(torch::allclose(network.params[i].grad(), expected[i], 1e-5, 1e-6))
              << "parameter " << i << ", step " << step << ", " << ranks << " ranks";
      }
    });
  }
}

TEST(GradientReducer, AllRanksHoldTheSameBits) {
  std::mutex mutex;
  std::vector<torch::Tensor> flat;
  run_ranks(4, [&](Communicator& comm) {
    const Network network;
    GradientReducer reducer(network.params, comm, small_buckets());
    reducer.prepare();
    network.loss(comm.rank()).backward();
    reducer.finish();
    const std::lock_guard lock(mutex);
    flat.push_back(torch::cat(reducer.buckets()).clone());
  });
  for (const torch::Tensor& other : flat) EXPECT_TRUE(torch::equal(other, flat[0]));
}

TEST(GradientReducer, GradientsAreViewsOfTheBucketsAndStaySo) {
  const auto comm = make_single_communicator();
  const Network network;
  GradientReducer reducer(network.params, *comm, small_buckets());
  reducer.prepare();
  network.loss(0).backward();
  reducer.finish();
  int64_t elements = 0, params = 0;
  for (size_t b = 0; b < reducer.plan().size(); ++b) {
    const torch::Tensor& bucket = reducer.buckets()[b];
    elements += bucket.numel();
    for (const size_t p : reducer.plan()[b].params) {
      EXPECT_TRUE(network.params[p].grad().is_alias_of(bucket)) << p;
      ++params;
    }
  }
  EXPECT_EQ(params, std::ssize(network.params));
  for (const torch::Tensor& param : network.params) elements -= param.numel();
  EXPECT_EQ(elements, 0);
}

TEST(GradientReducer, UnusedParameterContributesZeros) {
  run_ranks(3, [&](Communicator& comm) {
    const Network network;
    GradientReducer reducer(network.params, comm, small_buckets());
    reducer.prepare();
    network.loss(comm.rank()).backward();
    reducer.finish();
    EXPECT_TRUE(torch::equal(network.params.back().grad(), torch::zeros({3})));
  });
}

// A parameter that only some ranks use still gets the sum of those.
TEST(GradientReducer, ParameterUsedOnOneRankOnly) {
  run_ranks(3, [&](Communicator& comm) {
    const Network network;
    GradientReducer reducer(network.params, comm, small_buckets());
    reducer.prepare();
    torch::Tensor loss = network.loss(comm.rank());
    if (comm.rank() == 1) loss = loss + (network.params.back() * 5).sum();
    loss.backward();
    reducer.finish();
    EXPECT_TRUE(torch::equal(network.params.back().grad(), torch::full({3}, 5.0)));
  });
}

TEST(GradientReducer, BucketsLeaveBeforeBackwardHasFinished) {
  run_ranks(2, [&](Communicator& comm) {
    std::vector<std::string> events;
    RecordingCommunicator recorder(comm,
                                   [&](const std::string& event) { events.push_back(event); });
    Network network;
    network.params.pop_back();  // the unused one would hold back its whole bucket
    network.params[0].register_hook(
        [&](const torch::Tensor&) { events.emplace_back("gradient of the first layer"); });
    GradientReducer reducer(network.params, recorder, small_buckets());
    reducer.prepare();
    network.loss(comm.rank()).backward();
    events.emplace_back("backward returned");
    reducer.finish();

    std::vector<std::string> starts;
    for (const std::string& event : events)
      if (event.starts_with("start")) starts.push_back(event);
    ASSERT_EQ(starts.size(), reducer.plan().size());
    for (size_t b = 0; b < starts.size(); ++b)
      EXPECT_EQ(starts[b], "start gradient bucket " + std::to_string(b)) << "plan order";
    const auto place = [&](const std::string& event) {
      return std::find(events.begin(), events.end(), event) - events.begin();
    };
    EXPECT_LT(place("start gradient bucket 0"), place("gradient of the first layer"));
    EXPECT_LT(place("start gradient bucket 3"), place("gradient of the first layer"));
    EXPECT_LT(place(starts.back()), place("backward returned"));
    EXPECT_LT(place("backward returned"), place("done gradient bucket 0"));
  });
}

// Forward uses the last parameter first: buckets fill in another order than they are reduced in.
TEST(GradientReducer, FullBucketWaitsForThoseBeforeIt) {
  const auto comm = make_single_communicator();
  std::vector<std::string> events;
  RecordingCommunicator recorder(*comm, [&](const std::string& event) { events.push_back(event); });
  std::vector<torch::Tensor> params;
  for (int i = 0; i < 3; ++i) params.push_back(torch::ones({50}).requires_grad_(true));
  GradientReducer reducer(params, recorder, small_buckets());
  ASSERT_EQ(reducer.plan().size(), 3U);
  reducer.prepare();
  // Forward uses the last parameter first, so its gradient, bucket 0, is ready last.
  torch::Tensor x = torch::ones({50});
  for (const size_t p : {2U, 1U, 0U}) x = torch::tanh(x * params[p]);
  x.sum().backward();
  reducer.finish();
  EXPECT_THAT(events, testing::ElementsAre("start gradient bucket 0", "start gradient bucket 1",
                                           "start gradient bucket 2", "done gradient bucket 0",
                                           "done gradient bucket 1", "done gradient bucket 2"));
}

// Two passes give the gradients of one pass over the sum of their losses, by as many collectives.
TEST(GradientReducer, SeveralPassesAddUpAndAreReducedOnce) {
  const auto expected = serial_sum(2);
  run_ranks(2, [&](Communicator& comm) {
    std::vector<std::string> events;
    RecordingCommunicator recorder(comm,
                                   [&](const std::string& event) { events.push_back(event); });
    Network network;
    network.params.pop_back();  // the unused one would hold back its whole bucket
    GradientReducer reducer(network.params, recorder, small_buckets());
    for (int step = 0; step < 2; ++step) {
      events.clear();
      reducer.prepare(GradientReducer::Passes::kSeveral);
      (network.loss(comm.rank()) * 0.25).backward();
      EXPECT_THAT(events, testing::IsEmpty()) << "left before the last pass";
      reducer.last_pass();
      (network.loss(comm.rank()) * 0.75).backward();
      EXPECT_THAT(events, testing::Not(testing::IsEmpty())) << "no overlap with the last pass";
      reducer.finish();
      EXPECT_EQ(events.size(), 2 * reducer.plan().size());
      for (size_t i = 0; i < network.params.size(); ++i)
        EXPECT_TRUE(torch::allclose(network.params[i].grad(), expected[i], 1e-5, 1e-6)) << i;
    }
  });
}

TEST(GradientReducer, BfloatOnTheWireHalvesTheBytesAndKeepsThreeDigits) {
  const auto expected = serial_sum(3);
  run_ranks(3, [&](Communicator& comm) {
    CommOptions options = small_buckets();
    options.reduce_dtype = ReduceDtype::kBf16;
    CountingCommunicator counted(comm);
    const Network network;
    GradientReducer reducer(network.params, counted, options);
    reducer.prepare();
    network.loss(comm.rank()).backward();
    reducer.finish();
    int64_t bytes = 0;
    for (const torch::Tensor& bucket : reducer.buckets()) {
      EXPECT_EQ(bucket.scalar_type(), torch::kFloat32);
      bytes += 2 * 2 * 2 * bucket.numel() / 3;  // 2 (n-1)/n of two bytes each
    }
    EXPECT_EQ(counted.bytes_received(), bytes);
    for (size_t i = 0; i < expected.size(); ++i) {
      const double error = (network.params[i].grad() - expected[i]).norm().item<double>();
      EXPECT_LE(error, 0.01 * expected[i].norm().item<double>()) << i;
    }
  });
}

TEST(GradientReducer, RefusesAnotherTypeThanFloat32) {
  const auto comm = make_single_communicator();
  const torch::Tensor wide = torch::ones({2}, torch::kFloat64).requires_grad_(true);
  EXPECT_THROW(GradientReducer({wide}, *comm, small_buckets()), c10::Error);
}

TEST(GradientReducer, LeavesNoHookBehind) {
  const auto comm = make_single_communicator();
  const Network network;
  { const GradientReducer reducer(network.params, *comm, small_buckets()); }
  EXPECT_NO_THROW(network.loss(0).backward());
}

}  // namespace
}  // namespace pinnerformer
