// GPUs with errors, by a double of NVIDIA's library and a log as the kernel writes it.
#include "launch/doctor/gpu_faults.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>

#include "tests/support/dataset_fixture.h"
#include "tests/support/project_paths.h"

namespace pinnerformer {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

constexpr const char* kGpu = "0000:18:00.0";

class GpuFaultsDriver : public testing::Test {
 protected:
  ~GpuFaultsDriver() override { ::unsetenv("PF_NVML_DOUBLE"); }
  // Corrected and uncorrected errors, whether a row waits for its replacement, whether that failed.
  static Check with(const std::string& counts) {
    set(counts);
    return gpu_memory_check(nvml_double(), kGpu);
  }
  static void set(const std::string& answers) {
    ::setenv("PF_NVML_DOUBLE", (std::string(kGpu) + " " + answers).c_str(), 1);
  }
};

TEST_F(GpuFaultsDriver, AGpuWithoutActiveLinksIsANote) {
  set("0 0 0 0 6");
  const Check linked = nvlink_check(nvml_double(), kGpu);
  EXPECT_EQ(linked.health, Health::kOk);
  EXPECT_THAT(linked.finding, HasSubstr("0000:18:00.0: 6 active link(s)"));
  set("0 0 0 0");
  const Check alone = nvlink_check(nvml_double(), kGpu);
  EXPECT_EQ(alone.health, Health::kNote);
  EXPECT_THAT(alone.finding, HasSubstr("over PCIe"));
  EXPECT_EQ(nvlink_check("libno-such-library.so.1", kGpu).health, Health::kNote) << "not known";
  EXPECT_EQ(nvlink_check("libno-such-library.so.1", "").health, Health::kOk) << "a CPU";
}

TEST_F(GpuFaultsDriver, SaysWhatTheDriverCounted) {
  const Check sound = with("7 0 0 0");
  EXPECT_EQ(sound.health, Health::kOk);
  EXPECT_THAT(sound.finding, HasSubstr("0000:18:00.0: 7 corrected, 0 uncorrected"));
  const Check damaged = with("7 2 0 0");
  EXPECT_EQ(damaged.health, Health::kNote);
  EXPECT_THAT(damaged.finding, AllOf(HasSubstr("2 uncorrected"), HasSubstr("reset the GPU")));
  EXPECT_EQ(with("0 0 1 0").health, Health::kNote) << "a row waits for its replacement";
  const Check worn = with("0 0 0 1");
  EXPECT_EQ(worn.health, Health::kFailed);
  EXPECT_THAT(worn.finding, HasSubstr("replace the GPU"));
}

TEST_F(GpuFaultsDriver, WithoutLibraryDriverOrGpuNothingIsKnown) {
  EXPECT_EQ(read_gpu_memory_errors("libno-such-library.so.1", kGpu), std::nullopt);
  EXPECT_EQ(read_gpu_memory_errors(nvml_double(), kGpu), std::nullopt) << "no driver";
  static_cast<void>(with("0 0 0 0"));
  EXPECT_EQ(read_gpu_memory_errors(nvml_double(), "0000:99:00.0"), std::nullopt);
  // A library without NVML's functions.
  EXPECT_EQ(read_gpu_memory_errors("libc.so.6", kGpu), std::nullopt);
  EXPECT_EQ(gpu_memory_check("libno-such-library.so.1", kGpu).health, Health::kNote);
  EXPECT_EQ(gpu_memory_check("libno-such-library.so.1", "").health, Health::kOk) << "a CPU";
}

class GpuFaultsLog : public testing::Test {
 protected:
  [[nodiscard]] Check of(const std::string& log) const {
    return gpu_faults_check(write_file(directory_ / "kmsg", log), kGpu);
  }
  TemporaryDirectory directory_;
};

TEST_F(GpuFaultsLog, CountsThoseOfThisGpu) {
  const Check found =
      of("4,1,2,-;NVRM: Xid (PCI:0000:18:00): 79, pid='<unknown>', GPU has fallen off the bus.\n"
         "4,2,3,-;NVRM: Xid (PCI:0000:18:00): 31, pid=7, name=python, MMU Fault\n"
         "4,3,4,-;NVRM: Xid (PCI:0000:18:00): 79, pid=8\n"
         "4,4,5,-;NVRM: Xid (PCI:0000:19:00): 48, pid=9\n");
  EXPECT_EQ(found.health, Health::kNote);
  EXPECT_THAT(found.finding, AllOf(HasSubstr("0000:18:00.0: 79 (fell off the bus) 2 times"),
                                   Not(HasSubstr("48"))));
}

TEST_F(GpuFaultsLog, FaultsOfProgramsAreNoneOfTheHardware) {
  const Check found = of("NVRM: Xid (PCI:0000:18:00): 31, pid=7, name=python\n");
  EXPECT_EQ(found.health, Health::kOk);
  EXPECT_THAT(found.finding, HasSubstr("none of its hardware; of programs: 31 once"));
  EXPECT_EQ(of("").health, Health::kOk);
  EXPECT_EQ(of("NVRM: Xid (PCI:0000:18:00): \nNVRM: Xid (PCI:0000:18:00): x").health, Health::kOk);
}

TEST_F(GpuFaultsLog, ALogThatMayNotBeReadIsANote) {
  const Check found = gpu_faults_check(directory_ / "none", kGpu);
  EXPECT_EQ(found.health, Health::kNote);
  EXPECT_THAT(found.finding, AllOf(HasSubstr("cannot be read"), HasSubstr("dmesg")));
  EXPECT_EQ(gpu_faults_check(directory_ / "none", "").health, Health::kOk) << "a CPU";
}

}  // namespace
}  // namespace pinnerformer
