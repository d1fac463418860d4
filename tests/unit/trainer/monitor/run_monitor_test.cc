// What leads from the keys metrics.* to files and the port.
#include "trainer/monitor/run_monitor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "tests/support/dataset_fixture.h"
#include "trainer/monitor/metrics_server.h"

namespace pinnerformer {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class RunMonitorTest : public testing::Test {
 protected:
  RunMonitorTest() {
    options_.tensorboard = false;
    fs::create_directory(run());
  }
  [[nodiscard]] std::string run() const { return directory_ / "run"; }
  [[nodiscard]] std::string file() const { return directory_ / "run.prom"; }
  [[nodiscard]] RunMonitor monitor() {
    return {options_, {run(), "a: b\n", 0, 100}, [this](const std::string& text) {
              warnings_.push_back(text);
            }};
  }
  [[nodiscard]] std::string text() const { return content_of(file()); }

  TemporaryDirectory directory_;
  MetricsOptions options_;
  std::vector<std::string> warnings_;
};

TEST_F(RunMonitorTest, WithoutOutletsNothingIsWritten) {
  RunMonitor monitor = this->monitor();
  monitor.record({.step = 5});
  monitor.saved({.step = 5});
  monitor.finish();
  EXPECT_TRUE(fs::is_empty(run()));
}

TEST_F(RunMonitorTest, TensorboardIsASwitch) {
  options_.tensorboard = true;
  monitor().record({.step = 5});
  EXPECT_TRUE(fs::is_directory(run() + "/tensorboard"));
}

TEST_F(RunMonitorTest, FileFollowsTheRun) {
  options_.prometheus_file = file();
  RunMonitor monitor = this->monitor();
  EXPECT_THAT(text(), HasSubstr("planned_steps{run=\"" + run() + "\"} 100\n"));
  monitor.record({.step = 5});
  EXPECT_THAT(text(), HasSubstr("pinnerformer_step{run=\"" + run() + "\"} 5\n"));
  monitor.saved({.step = 7});
  EXPECT_THAT(text(), HasSubstr("checkpoint_step{run=\"" + run() + "\"} 7\n"));
  EXPECT_THAT(text(), HasSubstr("running{run=\"" + run() + "\"} 1\n"));
  monitor.finish();
  EXPECT_THAT(text(), HasSubstr("running{run=\"" + run() + "\"} 0\n"));
  EXPECT_THAT(warnings_, IsEmpty());
}

TEST_F(RunMonitorTest, AFailedTrainingStillCountsAsRunning) {
  options_.prometheus_file = file();
  monitor().record({.step = 5});
  EXPECT_THAT(text(), HasSubstr("running{run=\"" + run() + "\"} 1\n"));
}

TEST_F(RunMonitorTest, StartsAreCountedInTheRunDirectory) {
  options_.prometheus_file = file();
  for (const char* restarts : {"0", "1", "2"}) {
    monitor().finish();
    EXPECT_THAT(text(), HasSubstr("restarts_total{run=\"" + run() + "\"} " + restarts + "\n"));
  }
  write_file(run() + "/starts", "many");
  monitor().finish();
  EXPECT_THAT(text(), HasSubstr("restarts_total{run=\"" + run() + "\"} 0\n"));
}

TEST_F(RunMonitorTest, StartsThatCannotBeCountedAreAWarning) {
  options_.prometheus_file = file();
  fs::create_directories(run() + "/starts");
  monitor().record({.step = 5});
  ASSERT_EQ(warnings_.size(), 1U);
  EXPECT_THAT(warnings_[0], HasSubstr("restarts are not counted"));
  EXPECT_THAT(text(), HasSubstr("pinnerformer_step{run=\"" + run() + "\"} 5\n"));
}

TEST_F(RunMonitorTest, AFileThatCannotBeWrittenIsOneWarningAndTriedAgain) {
  options_.prometheus_file = file();
  fs::create_directory(file());
  RunMonitor monitor = this->monitor();
  monitor.record({.step = 5});
  ASSERT_EQ(warnings_.size(), 1U);
  EXPECT_THAT(warnings_[0], HasSubstr("metrics.prometheus_file: cannot write " + file()));
  EXPECT_THAT(warnings_[0], HasSubstr("found a directory"));
  fs::remove(file());
  monitor.record({.step = 6});
  EXPECT_THAT(text(), HasSubstr("pinnerformer_step{run=\"" + run() + "\"} 6\n"));
}

TEST_F(RunMonitorTest, NothingButTheFileIsLeftBesideIt) {
  options_.prometheus_file = file();
  RunMonitor monitor = this->monitor();
  for (int64_t step = 1; step < 20; ++step) monitor.record({.step = step});
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(directory_.path()))
    names.push_back(entry.path().filename());
  EXPECT_THAT(names, testing::UnorderedElementsAre("run", "run.prom"));
}

TEST_F(RunMonitorTest, APortInUseIsAWarningAndTheTrainingGoesOn) {
  const MetricsServer other("127.0.0.1", 0);
  options_.prometheus_port = other.port();
  options_.prometheus_file = file();
  RunMonitor monitor = this->monitor();
  monitor.record({.step = 5});
  ASSERT_EQ(warnings_.size(), 1U);
  EXPECT_THAT(warnings_[0], HasSubstr("metrics.prometheus_port: cannot listen on 127.0.0.1 port " +
                                      std::to_string(other.port()) + ": Address already in use"));
  EXPECT_THAT(text(), HasSubstr("pinnerformer_step{run=\"" + run() + "\"} 5\n"));
}

TEST_F(RunMonitorTest, AddressIsThatOfTheOptions) {
  options_.prometheus_port = 9;  // of no matter: the address is not of this machine
  options_.prometheus_address = "192.0.2.1";
  static_cast<void>(monitor());
  ASSERT_EQ(warnings_.size(), 1U);
  EXPECT_THAT(warnings_[0], HasSubstr("192.0.2.1 port 9"));
}

}  // namespace
}  // namespace pinnerformer
