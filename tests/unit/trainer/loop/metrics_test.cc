// metrics.jsonl: one record per logged step, none twice after a resume, none torn.
#include "trainer/loop/metrics.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "dataloader/base/errors.h"
#include "tests/support/dataset_fixture.h"
#include "tests/support/fault_injection.h"

namespace pinnerformer {
namespace {

using nlohmann::json;

StepRecord record_of(int64_t step) {
  StepRecord record;
  record.step = step;
  record.loss = 1.0 / static_cast<double>(step);
  record.step_ms = 5;
  return record;
}

void log_steps(const std::string& directory, int64_t resumed, std::vector<int64_t> steps) {
  MetricsLog log(directory, resumed, 100);
  for (const int64_t step : steps) log.record(record_of(step));
}

std::vector<std::string> lines_of(const std::string& path) {
  std::ifstream file(path);
  std::vector<std::string> lines;
  for (std::string line; std::getline(file, line);) lines.push_back(line);
  return lines;
}

std::vector<int64_t> steps_in(const TemporaryDirectory& directory) {
  std::vector<int64_t> steps;
  for (const std::string& line : lines_of(directory / "metrics.jsonl"))
    steps.push_back(json::parse(line).at("step"));
  return steps;
}

TEST(Metrics, RecordHasEveryPromisedField) {
  const TemporaryDirectory directory;
  log_steps(directory.path(), 0, {3});
  const json record = json::parse(lines_of(directory / "metrics.jsonl").at(0));
  for (const char* field : {"step", "epoch", "loss", "temperature", "learning_rate", "grad_norm",
                            "users_per_second", "step_ms", "data_wait_ms", "comm_wait_ms",
                            "save_stall_ms", "memory_mib", "world_size", "skipped_users"})
    EXPECT_TRUE(record.contains(field)) << field;
  EXPECT_DOUBLE_EQ(record.at("loss"), 1.0 / 3) << "a double survives as text";
  EXPECT_FALSE(lines_of(directory / "log.txt").empty());
}

TEST(Metrics, RecordsBeyondTheResumedStepAreDropped) {
  const TemporaryDirectory directory;
  log_steps(directory.path(), 0, {10, 20, 30, 40});
  log_steps(directory.path(), 20, {30, 40, 50});
  EXPECT_EQ(steps_in(directory), (std::vector<int64_t>{10, 20, 30, 40, 50}));
}

TEST(Metrics, FreshRunStartsAnew) {
  const TemporaryDirectory directory;
  log_steps(directory.path(), 0, {10, 20});
  log_steps(directory.path(), 0, {10});
  EXPECT_EQ(steps_in(directory), (std::vector<int64_t>{10}));
}

TEST(Metrics, TornLineIsDropped) {
  const TemporaryDirectory directory;
  log_steps(directory.path(), 0, {10, 20});
  std::ofstream(directory / "metrics.jsonl", std::ios::app) << R"({"step":15,"epo)";
  log_steps(directory.path(), 30, {40});
  EXPECT_EQ(steps_in(directory), (std::vector<int64_t>{10, 20, 40}));
}

TEST(Metrics, LinesThatAreNoRecordsAreDropped) {
  const TemporaryDirectory directory;
  write_file(directory / "metrics.jsonl", "7\n{\"loss\":1}\n{\"step\":\"x\"}\n\n{\"step\":5}\n");
  log_steps(directory.path(), 10, {20});
  EXPECT_EQ(steps_in(directory), (std::vector<int64_t>{5, 20}));
}

TEST(Metrics, AllRecordsStayWhereNoStepIsTakenAgain) {
  const TemporaryDirectory directory;
  log_steps(directory.path(), 0, {10, 20});
  write_file(directory / "metrics.jsonl",
             lines_of(directory / "metrics.jsonl").at(0) + "\n{\"loss\":1}\n");
  log_steps(directory.path(), INT64_MAX, {});
  EXPECT_EQ(steps_in(directory), (std::vector<int64_t>{10}));
}

TEST(Metrics, MissingDirectoryIsAnError) {
  const TemporaryDirectory directory;
  EXPECT_THROW(MetricsLog(directory / "missing", 0, 1), IoError);
}

// The records of an earlier run are never lost silently.
TEST(Metrics, RecordsThatCannotBeReadAreAnErrorAndStay) {
  const TemporaryDirectory directory;
  log_steps(directory.path(), 0, {10, 20});
  arm_faults({.below = directory.path(), .fault = Fault::kReadError});
  EXPECT_THROW(MetricsLog(directory.path(), 20, 100), IoError);
  disarm_faults();
  EXPECT_EQ(steps_in(directory), (std::vector<int64_t>{10, 20}));
}

[[noreturn]] void open_log_as_nobody(const std::string& directory) {
  if (::geteuid() == 0 && ::seteuid(65534) != 0) std::_Exit(1);
  try {
    MetricsLog(directory, 20, 100);
  } catch (const IoError& error) {
    std::fprintf(stderr, "%s\n", error.what());
    std::_Exit(3);
  }
  std::_Exit(0);
}

TEST(Metrics, UnreadableRecordsInAWritableDirectoryAreAnErrorAndStay) {
  const TemporaryDirectory directory;
  log_steps(directory.path(), 0, {10, 20});
  std::filesystem::permissions(directory.path(), std::filesystem::perms::all);
  std::filesystem::permissions(directory / "metrics.jsonl", std::filesystem::perms::none);
  EXPECT_EXIT(open_log_as_nobody(directory.path()), testing::ExitedWithCode(3),
              "metrics.jsonl: Permission denied");
  std::filesystem::permissions(directory / "metrics.jsonl", std::filesystem::perms::owner_all);
  EXPECT_EQ(steps_in(directory), (std::vector<int64_t>{10, 20}));
}

TEST(Metrics, FullDiskKeepsTheOldRecords) {
  const TemporaryDirectory directory;
  log_steps(directory.path(), 0, {10, 20});
  arm_faults({.below = directory.path(), .fault = Fault::kNoSpace, .count = 1000});
  EXPECT_THROW(MetricsLog(directory.path(), 10, 100), IoError);
  disarm_faults();
  EXPECT_EQ(steps_in(directory), (std::vector<int64_t>{10, 20}));
}

TEST(Metrics, ResidentMemoryIsPlausible) {
  EXPECT_GT(resident_memory_mib(), 1);
  EXPECT_LT(resident_memory_mib(), 1e6);
}

}  // namespace
}  // namespace pinnerformer
