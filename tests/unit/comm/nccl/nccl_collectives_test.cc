// The collectives without a GPU: NCCL's functions are replaced by ones that move the data between
// threads. Different counts per rank, groups, and failures inside a group.
#ifdef PF_WITH_CUDA
#include "comm/nccl/nccl_collectives.h"

#include <gtest/gtest.h>

#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "tests/support/rank_threads.h"

namespace pinnerformer {
namespace {

using Names = std::vector<std::string>;

size_t element_bytes(ncclDataType_t type) {
  return type == ncclInt64 ? 8 : type == ncclBfloat16 ? 2 : 4;
}

torch::Tensor view(const void* data, size_t count, ncclDataType_t type) {
  const auto scalar = type == ncclInt64      ? torch::kInt64
                      : type == ncclInt32    ? torch::kInt32
                      : type == ncclBfloat16 ? torch::kBFloat16
                                             : torch::kFloat32;
  return torch::from_blob(const_cast<void*>(data), {static_cast<int64_t>(count)}, scalar);
}

// Replaces NCCL for one rank; ranks are threads. Sends and receives of a group happen at its end.
class ThreadNccl {
 public:
  explicit ThreadNccl(Communicator& comm) : comm_(comm) {
    api.group_start = [this] { return note("group_start"); };
    api.group_end = [this] {
      if (!sent_.empty() || !received_.empty()) exchange();
      return note("group_end");
    };
    api.all_reduce = [this](const void* in, void* out, size_t count, ncclDataType_t type,
                            ncclRedOp_t, ncclComm_t, cudaStream_t) {
      std::memmove(out, in, count * element_bytes(type));
      comm_.all_reduce(view(out, count, type), "double")->wait();
      return note("all_reduce");
    };
    api.broadcast = [this](const void* in, void* out, size_t count, ncclDataType_t type, int root,
                           ncclComm_t, cudaStream_t) {
      if (comm_.rank() == root) std::memmove(out, in, count * element_bytes(type));
      comm_.broadcast(view(out, count, type), root, "double")->wait();
      return note("broadcast");
    };
    api.reduce = [this](const void* in, void* out, size_t count, ncclDataType_t type, ncclRedOp_t,
                        int root, ncclComm_t, cudaStream_t) {
      const torch::Tensor sum = view(in, count, type).clone();
      comm_.all_reduce(sum, "double")->wait();
      if (comm_.rank() == root) view(out, count, type).copy_(sum);
      return note("reduce");
    };
    api.all_gather = [this](const void* in, void* out, size_t count, ncclDataType_t type,
                            ncclComm_t, cudaStream_t) {
      comm_
          .all_gather(view(out, count * ranks(), type), view(in, count, type), equal(count),
                      "double")
          ->wait();
      return note("all_gather");
    };
    api.reduce_scatter = [this](const void* in, void* out, size_t count, ncclDataType_t type,
                                ncclRedOp_t, ncclComm_t, cudaStream_t) {
      comm_
          .reduce_scatter(view(out, count, type), view(in, count * ranks(), type), equal(count),
                          "double")
          ->wait();
      return note("reduce_scatter");
    };
    api.send = [this](const void* data, size_t count, ncclDataType_t type, int peer, ncclComm_t,
                      cudaStream_t) {
      sent_[peer] = view(data, count, type);
      return note("send");
    };
    api.receive = [this](void* data, size_t count, ncclDataType_t type, int peer, ncclComm_t,
                         cudaStream_t) {
      received_[peer] = view(data, count, type);
      return note("receive");
    };
  }

  // The result of the call of this name, instead of success; the call still moves its data.
  std::map<std::string, ncclResult_t> answers;
  Names calls;
  NcclApi api;

 private:
  [[nodiscard]] size_t ranks() const { return static_cast<size_t>(comm_.size()); }
  [[nodiscard]] std::vector<int64_t> equal(size_t count) const {
    return std::vector<int64_t>(ranks(), static_cast<int64_t>(count));
  }

  ncclResult_t note(const std::string& name) {
    calls.push_back(name);
    const auto answer = answers.find(name);
    return answer == answers.end() ? ncclSuccess : answer->second;
  }

  void exchange() {
    const torch::Tensor like = (sent_.empty() ? received_ : sent_).begin()->second;
    std::vector<int64_t> send_counts, receive_counts;
    std::vector<torch::Tensor> sent{like.new_empty({0})};
    for (int peer = 0; peer < comm_.size(); ++peer) {
      send_counts.push_back(sent_.contains(peer) ? sent_[peer].numel() : 0);
      receive_counts.push_back(received_.contains(peer) ? received_[peer].numel() : 0);
      if (sent_.contains(peer)) sent.push_back(sent_[peer]);
    }
    int64_t total = 0, first = 0;
    for (const int64_t count : receive_counts) total += count;
    const torch::Tensor arrived = like.new_empty({total});
    comm_.all_to_all(arrived, torch::cat(sent), receive_counts, send_counts, "double")->wait();
    for (auto& [peer, rows] : received_) {
      rows.copy_(arrived.narrow(0, first, rows.numel()));
      first += rows.numel();
    }
    sent_.clear();
    received_.clear();
  }

  Communicator& comm_;
  std::map<int, torch::Tensor> sent_, received_;
};

// Rank r has r rows of two elements; rank 0 has none.
std::vector<int64_t> uneven(const Communicator& comm) {
  std::vector<int64_t> counts;
  for (int64_t rank = 0; rank < comm.size(); ++rank) counts.push_back(rank);
  return counts;
}

torch::Tensor rows_of(int64_t count, int64_t value, torch::ScalarType type) {
  return torch::full({count, 2}, value, torch::TensorOptions(type));
}

class NcclCollectivesWorld : public testing::TestWithParam<int> {};

TEST_P(NcclCollectivesWorld, GatherRowsOfEveryRankInRankOrder) {
  for (const auto type : {torch::kFloat32, torch::kBFloat16, torch::kInt64})
    run_ranks(GetParam(), [&](Communicator& comm) {
      ThreadNccl nccl(comm);
      const std::vector<int64_t> counts = uneven(comm);
      std::vector<torch::Tensor> expected{rows_of(0, 0, type)};
      for (int64_t rank = 0; rank < comm.size(); ++rank)
        expected.push_back(rows_of(rank, rank + 1, type));
      const torch::Tensor output = torch::zeros_like(torch::cat(expected));
      EXPECT_EQ(NcclCollectives(nccl.api, nullptr, nullptr)
                    .all_gather(output, rows_of(comm.rank(), comm.rank() + 1, type), counts),
                ncclSuccess);
      EXPECT_TRUE(output.equal(torch::cat(expected))) << output;
    });
}

TEST_P(NcclCollectivesWorld, ReduceScatterLeavesEachRankItsRowsOfTheSum) {
  run_ranks(GetParam(), [&](Communicator& comm) {
    ThreadNccl nccl(comm);
    const std::vector<int64_t> counts = uneven(comm);
    const int64_t ranks = comm.size(), rows = ranks * (ranks - 1) / 2;
    const torch::Tensor input = torch::arange(rows * 2, torch::kFloat32).view({rows, 2});
    const torch::Tensor output = torch::zeros({comm.rank(), 2});
    EXPECT_EQ(NcclCollectives(nccl.api, nullptr, nullptr)
                  .reduce_scatter(output, input * (comm.rank() + 1), counts),
              ncclSuccess);
    const int64_t first = comm.rank() * (comm.rank() - 1) / 2;
    const torch::Tensor sum = input * (ranks * (ranks + 1) / 2);
    EXPECT_TRUE(output.equal(sum.narrow(0, first, comm.rank()))) << output;
  });
}

// As NCCL does it fastest: by trees and switches as well as by a ring.
TEST_P(NcclCollectivesWorld, EqualCountsAreOneCall) {
  run_ranks(GetParam(), [&](Communicator& comm) {
    ThreadNccl nccl(comm);
    const NcclCollectives collectives(nccl.api, nullptr, nullptr);
    const int64_t ranks = comm.size(), rank = comm.rank();
    const std::vector<int64_t> two_each(static_cast<size_t>(ranks), 2);
    const torch::Tensor rows = torch::arange(ranks * 4, torch::kFloat32).view({ranks * 2, 2});
    const torch::Tensor gathered = torch::zeros_like(rows), own = torch::zeros({2, 2});
    EXPECT_EQ(collectives.all_gather(gathered, rows.narrow(0, rank * 2, 2), two_each), ncclSuccess);
    EXPECT_EQ(collectives.reduce_scatter(own, rows, two_each), ncclSuccess);
    EXPECT_TRUE(gathered.equal(rows)) << gathered;
    EXPECT_TRUE(own.equal(rows.narrow(0, rank * 2, 2) * ranks)) << own;
    EXPECT_EQ(nccl.calls, Names({"all_gather", "reduce_scatter"}));
  });
}

TEST_P(NcclCollectivesWorld, AllToAllBringsEachRankItsRows) {
  run_ranks(GetParam(), [&](Communicator& comm) {
    ThreadNccl nccl(comm);
    const int64_t ranks = comm.size(), rank = comm.rank();
    // To rank r: r rows that hold sender and receiver.
    const std::vector<int64_t> send = uneven(comm);
    const std::vector<int64_t> receive(static_cast<size_t>(ranks), rank);
    std::vector<torch::Tensor> sent{rows_of(0, 0, torch::kInt64)}, expected = sent;
    for (int64_t other = 0; other < ranks; ++other) {
      sent.push_back(rows_of(other, 10 * rank + other, torch::kInt64));
      expected.push_back(rows_of(rank, 10 * other + rank, torch::kInt64));
    }
    const torch::Tensor output = torch::zeros({ranks * rank, 2}, torch::kInt64);
    EXPECT_EQ(NcclCollectives(nccl.api, nullptr, nullptr)
                  .all_to_all(output, torch::cat(sent), receive, send),
              ncclSuccess);
    EXPECT_TRUE(output.equal(torch::cat(expected))) << output;
  });
}

TEST_P(NcclCollectivesWorld, SumAndBroadcastAreInPlace) {
  run_ranks(GetParam(), [&](Communicator& comm) {
    ThreadNccl nccl(comm);
    const NcclCollectives collectives(nccl.api, nullptr, nullptr);
    const torch::Tensor sum = rows_of(3, comm.rank() + 1, torch::kFloat32);
    EXPECT_EQ(collectives.all_reduce(sum), ncclSuccess);
    EXPECT_TRUE(sum.eq(comm.size() * (comm.size() + 1) / 2).all().item<bool>()) << sum;
    const int root = comm.size() - 1;
    const torch::Tensor copied = rows_of(3, comm.rank(), torch::kFloat32);
    EXPECT_EQ(collectives.broadcast(copied, root), ncclSuccess);
    EXPECT_TRUE(copied.eq(root).all().item<bool>()) << copied;
  });
}

INSTANTIATE_TEST_SUITE_P(Worlds, NcclCollectivesWorld, testing::Values(1, 2, 3, 4));

// A single rank with two rows: these tests check only the results of the calls.
ncclResult_t exchange_alone(ThreadNccl& nccl) {
  const torch::Tensor input = torch::ones({2, 2}), output = torch::zeros({2, 2});
  return NcclCollectives(nccl.api, nullptr, nullptr).all_to_all(output, input, {2}, {2});
}

TEST(NcclCollectives, AFailureInsideAGroupIsAnsweredAndTheGroupEnded) {
  run_ranks(1, [](Communicator& comm) {
    ThreadNccl nccl(comm);
    nccl.answers["send"] = ncclSystemError;
    EXPECT_EQ(exchange_alone(nccl), ncclSystemError);
    EXPECT_EQ(nccl.calls, Names({"group_start", "send", "receive", "group_end"}));
  });
}

TEST(NcclCollectives, AGroupThatDoesNotBeginMakesNoCalls) {
  run_ranks(1, [](Communicator& comm) {
    ThreadNccl nccl(comm);
    nccl.answers["group_start"] = ncclInternalError;
    EXPECT_EQ(exchange_alone(nccl), ncclInternalError);
    EXPECT_EQ(nccl.calls, Names({"group_start"}));
  });
}

// A non-blocking communicator accepts calls later.
TEST(NcclCollectives, InProgressIsNoFailure) {
  run_ranks(1, [](Communicator& comm) {
    ThreadNccl nccl(comm);
    nccl.answers["send"] = nccl.answers["group_end"] = ncclInProgress;
    EXPECT_EQ(exchange_alone(nccl), ncclInProgress);
    nccl.answers["group_end"] = ncclRemoteError;
    EXPECT_EQ(exchange_alone(nccl), ncclRemoteError);
  });
}

TEST(NcclCollectives, ATypeWithoutNcclTwinIsNamed) {
  run_ranks(1, [](Communicator& comm) {
    ThreadNccl nccl(comm);
    const torch::Tensor tensor = torch::ones({2}, torch::kFloat64);
    const NcclCollectives collectives(nccl.api, nullptr, nullptr);
    EXPECT_THROW(static_cast<void>(collectives.all_reduce(tensor)), c10::Error);
    EXPECT_THROW(static_cast<void>(collectives.all_gather(tensor, tensor, {2})), c10::Error);
    EXPECT_EQ(nccl.calls, Names({})) << "an open group would swallow what comes next";
  });
}

}  // namespace
}  // namespace pinnerformer
#endif
