// The conformance suite of communicators over NCCL, started like a job: one process per rank, under
// the launcher. Ranks share a GPU where there are fewer GPUs than ranks. Skips, with the reason,
// where there is no GPU.
#include <gtest/gtest.h>
#include <torch/cuda.h>
#include <torch/types.h>

#include <cstdlib>

#include "comm/options.h"
#include "launch/job/session.h"
#include "tests/support/communicator_suite.h"

namespace pinnerformer {
namespace {

constexpr int kRanks = 2;  // see tests/CMakeLists.txt

TEST(NcclRanks, KeepThePromisesOfACommunicator) {
#ifdef PF_WITH_CUDA
  const int devices = torch::cuda::device_count();
#else
  const int devices = 0;  // that this program could use
#endif
  if (devices == 0) GTEST_SKIP() << "no CUDA device on this machine";
  if (devices < kRanks) ::setenv("PF_TEST_SHARE_GPU", "1", /*overwrite=*/1);
  CommOptions options;
  options.backend = CommBackend::kNccl;
  options.first_timeout_seconds = options.timeout_seconds = 120;
  const Session session(options);
  const Ranks ranks = session.ranks();
  ASSERT_EQ(ranks.control->size(), kRanks) << "start it with mpirun";
  ASSERT_NE(ranks.tensors, ranks.control);
  communicator_suite::check_everything(*ranks.tensors, ranks.device);
}

}  // namespace
}  // namespace pinnerformer
