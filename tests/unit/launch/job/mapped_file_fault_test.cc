// A fault inside a library that reads a file is an answer about the file; any other is a fault.
#include "launch/job/mapped_file_fault.h"

#include <gtest/gtest.h>

#include <csignal>
#include <string>

#include "dataloader/base/library_call.h"
#include "launch/cli/exit_code.h"

namespace pinnerformer {
namespace {

TEST(MappedFileFaultDeathTest, FaultOfALibraryNamesTheFile) {
  const auto fault = [](int signal) {
    report_library_faults();
    const std::string path = "bad.h5";
    const LibraryCall call(path);
    std::raise(signal);
  };
  for (const int signal : {SIGSEGV, SIGABRT, SIGFPE})
    EXPECT_EXIT(fault(signal), testing::ExitedWithCode(kBadData), "bad.h5: the library");
}

TEST(MappedFileFaultDeathTest, FaultOfOursEndsByItsSignal) {
  const auto fault = [] {
    report_library_faults();
    {
      const std::string path = "good.h5";
      const LibraryCall call(path);
    }
    std::raise(SIGSEGV);
  };
  EXPECT_EXIT(fault(), testing::KilledBySignal(SIGSEGV), "");
}

}  // namespace
}  // namespace pinnerformer
