// What `doctor` says of a machine that lacks something.
#include "launch/doctor/doctor_checks.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>

#include "tests/support/dataset_fixture.h"
#include "tests/support/failing_locks.h"
#include "tests/support/tiny_dataset.h"

namespace pinnerformer {
namespace {

using testing::HasSubstr;

constexpr const char* kLocking = "HDF5_USE_FILE_LOCKING";

class DoctorChecks : public testing::Test {
 protected:
  DoctorChecks() {
    unsetenv(kLocking);
    config_.data.path = write_tiny_dataset(directory_.path(), 10);
  }
  ~DoctorChecks() override { unsetenv(kLocking); }

  [[nodiscard]] Check check(const std::string& name) const {
    const std::vector<Check> checks = check_machine(config_, torch::kCPU);
    const auto found = std::ranges::find(checks, name, &Check::name);
    return found == checks.end() ? Check{name, Health::kFailed, "no such check"} : *found;
  }

  TemporaryDirectory directory_;
  RunConfig config_;
};

TEST_F(DoctorChecks, LocksThatWorkAreFine) {
  EXPECT_EQ(check("HDF5 file locks").health, Health::kOk);
}

TEST_F(DoctorChecks, LocksThatFailAreANoteForNobodyAsksForThem) {
  const FailingLocks no_locks;
  for (const char* value : {"", "FALSE", "0"}) {
    setenv(kLocking, value, /*overwrite=*/1);
    const Check locks = check("HDF5 file locks");
    EXPECT_EQ(locks.health, Health::kNote) << value;
    EXPECT_THAT(locks.finding, HasSubstr("do not work on " + config_.data.path));
    EXPECT_THAT(locks.finding, HasSubstr("files are opened without"));
  }
}

TEST_F(DoctorChecks, LocksThatFailAreAFailureWhereTheEnvironmentForcesThem) {
  const FailingLocks no_locks;
  for (const char* value : {"TRUE", "1", "BEST_EFFORT"}) {
    setenv(kLocking, value, /*overwrite=*/1);
    const Check locks = check("HDF5 file locks");
    EXPECT_EQ(locks.health, Health::kFailed) << value;
    EXPECT_THAT(locks.finding, HasSubstr("HDF5_USE_FILE_LOCKING asks for them: unset it"));
  }
}

TEST_F(DoctorChecks, NoGpuIsAFailureForNcclAlone) {
  EXPECT_EQ(check("GPU").health, Health::kNote);
  config_.comm.backend = CommBackend::kNccl;
  EXPECT_EQ(check("GPU").health, Health::kFailed);
  EXPECT_THAT(check("GPU").finding, HasSubstr("comm.backend=nccl needs one"));
}

}  // namespace
}  // namespace pinnerformer
