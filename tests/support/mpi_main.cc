// main() of the MPI tests: starts MPI, refuses another number of ranks than the test was registered
// for, names the rank in every failure, and fails on all ranks if any rank failed.
#include <gtest/gtest.h>

#include <cstdlib>
#include <iostream>

#include "comm/mpi/mpi_communicator.h"
#include "comm/mpi/mpi_runtime.h"
#include "tests/support/run_tests.h"

namespace {

class RankPrinter : public testing::EmptyTestEventListener {
 public:
  explicit RankPrinter(int rank) : rank_(rank) {}
  void OnTestPartResult(const testing::TestPartResult& result) override {
    if (result.passed()) return;
    std::cerr << "[rank " << rank_ << "] "
              << (result.file_name() != nullptr ? result.file_name() : "?") << ":"
              << result.line_number() << ": " << (result.skipped() ? "skipped: " : "")
              << result.message() << std::endl;
  }
  void OnTestEnd(const testing::TestInfo& info) override {
    if (info.result()->Failed())
      std::cerr << "[rank " << rank_ << "] FAILED " << info.test_suite_name() << "." << info.name()
                << std::endl;
  }

 private:
  int rank_;
};

}  // namespace

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  pinnerformer::select_tests(argc, argv);
  const pinnerformer::MpiRuntime mpi;
  const char* expected = std::getenv("PF_TEST_RANKS");
  if (expected == nullptr || std::atoi(expected) != mpi.size()) {
    std::cerr << "[rank " << mpi.rank() << "] the world has " << mpi.size()
              << " rank(s), PF_TEST_RANKS asks for " << (expected == nullptr ? "none" : expected)
              << ": run through ctest, or set it and use mpirun -n" << std::endl;
    return 1;
  }
  auto& listeners = testing::UnitTest::GetInstance()->listeners();
  if (mpi.rank() != 0) delete listeners.Release(listeners.default_result_printer());
  listeners.Append(new RankPrinter(mpi.rank()));

  const int failed = RUN_ALL_TESTS();
  torch::Tensor failures = torch::tensor(failed, torch::kInt64);
  const auto comm = pinnerformer::make_mpi_communicator(/*timeout_seconds=*/60);
  comm->all_reduce(failures, "test results")->wait();
  return failures.item<int64_t>() == 0 ? 0 : 1;
}
