// The conformance suite of communicators over MPI, one process per rank.
#include "comm/mpi/mpi_communicator.h"

#include <gtest/gtest.h>
#include <torch/types.h>

#include <chrono>
#include <thread>

#include "tests/support/communicator_suite.h"

namespace pinnerformer {
namespace {

constexpr double kTimeoutSeconds = 60;

TEST(MpiCommunicator, KeepsThePromisesOfACommunicator) {
  const auto comm = make_mpi_communicator(kTimeoutSeconds);
  communicator_suite::check_everything(*comm);
}

TEST(MpiCommunicator, TwoCommunicatorsDoNotMix) {
  const auto one = make_mpi_communicator(kTimeoutSeconds);
  const auto two = make_mpi_communicator(kTimeoutSeconds);
  torch::Tensor a = torch::full({5}, one->rank() + 1, torch::kInt64);
  torch::Tensor b = torch::full({5}, 100 * (one->rank() + 1), torch::kInt64);
  // Ranks issue the two calls in different order: only traffic of one communicator is ordered.
  std::unique_ptr<Work> first, second;
  if (one->rank() % 2 == 0) {
    first = one->all_reduce(a, "a");
    second = two->all_reduce(b, "b");
  } else {
    second = two->all_reduce(b, "b");
    first = one->all_reduce(a, "a");
  }
  first->wait();
  second->wait();
  const int64_t sum = one->size() * (one->size() + 1) / 2;
  EXPECT_TRUE(torch::equal(a, torch::full({5}, sum, torch::kInt64)));
  EXPECT_TRUE(torch::equal(b, torch::full({5}, 100 * sum, torch::kInt64)));
}

TEST(MpiCommunicator, RefusesWhatMpiCannotMove) {
  const auto comm = make_mpi_communicator(kTimeoutSeconds);
  EXPECT_THROW(comm->all_reduce(torch::ones({4, 4}).t().narrow(0, 0, 2), "strided"), c10::Error);
  EXPECT_THROW(comm->all_reduce(torch::ones({4}, torch::kComplexFloat), "complex"), c10::Error);
  const std::vector<int64_t> counts(static_cast<size_t>(comm->size()), 2);
  EXPECT_THROW(comm->all_gather(torch::ones({2 * comm->size() + 1}), torch::ones({2}), counts,
                                "counts do not sum to the rows"),
               c10::Error);
}

// The request finishes after its deadline, when the late rank joins; MPI_Finalize requires that.
bool finishes_late(Work& work) {
  for (int attempt = 0; attempt < 1000; ++attempt) {
    try {
      work.wait();
      return true;
    } catch (const CommError&) {
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
  }
  return false;
}

// Rank 0 joins the collective only after the others have missed the deadline.
TEST(MpiCommunicatorDeadline, NamesTheCollectiveThatARankDidNotJoin) {
  const auto patient = make_mpi_communicator(kTimeoutSeconds);
  if (patient->size() == 1) GTEST_SKIP() << "needs two ranks";
  const auto hasty = make_mpi_communicator(/*timeout_seconds=*/0.3);
  torch::Tensor tensor = torch::ones({3});
  std::unique_ptr<Work> work;
  if (patient->rank() != 0) {
    work = hasty->all_reduce(tensor, "lonely sum");
    try {
      work->wait();
      ADD_FAILURE() << "finished without rank 0";
    } catch (const CommError& error) {
      EXPECT_NE(std::string(error.what()).find("lonely sum"), std::string::npos) << error.what();
    }
  }
  patient->barrier("all deadlines are missed");
  if (patient->rank() == 0) work = hasty->all_reduce(tensor, "lonely sum");
  EXPECT_TRUE(finishes_late(*work));
  EXPECT_TRUE(torch::equal(tensor, torch::full({3}, static_cast<double>(patient->size()))));
}

}  // namespace
}  // namespace pinnerformer
