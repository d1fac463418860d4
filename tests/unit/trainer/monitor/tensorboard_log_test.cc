// The event files of a run: one per start, and no step twice after a resume.
#include "trainer/monitor/tensorboard_log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <vector>

#include "dataloader/base/errors.h"
#include "tests/support/dataset_fixture.h"
#include "tests/support/fault_injection.h"
#include "trainer/monitor/event_file.h"

namespace pinnerformer {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;

StepRecord record_of(int64_t step) {
  StepRecord record;
  record.step = step;
  return record;
}

void log_steps(const std::string& run, int64_t resumed, const std::vector<int64_t>& steps) {
  TensorboardLog log(run, resumed, "train:\n  steps: 9\n");
  for (const int64_t step : steps) log.record(record_of(step));
}

std::vector<std::string> event_files(const std::string& run) {
  std::vector<std::string> paths;
  for (const auto& entry : fs::directory_iterator(run + "/tensorboard"))
    paths.push_back(entry.path());
  std::ranges::sort(paths);
  return paths;
}

// Number of events of this step in all files; the first step after a resume has two more.
int64_t events_of(const std::string& run, int64_t step) {
  int64_t count = 0;
  for (const std::string& path : event_files(run))
    count +=
        events_up_to(content_of(path), step).count - events_up_to(content_of(path), step - 1).count;
  return count;
}

TEST(TensorboardLog, ResumedRunTakesNoStepTwice) {
  const TemporaryDirectory run;
  log_steps(run.path(), 0, {10, 20, 30, 40});
  log_steps(run.path(), 20, {30, 40, 50});
  for (const int64_t step : {10, 20, 30, 40, 50}) EXPECT_EQ(events_of(run.path(), step), 1) << step;
  EXPECT_EQ(event_files(run.path()).size(), 2U);
}

TEST(TensorboardLog, TheNextFileSortsAfterTheOthersWithinOneSecond) {
  const TemporaryDirectory run;
  log_steps(run.path(), 0, {10});
  log_steps(run.path(), 10, {20});
  log_steps(run.path(), 20, {30});
  const auto files = event_files(run.path());
  ASSERT_EQ(files.size(), 3U);
  for (size_t i = 0; i < 3; ++i)
    EXPECT_EQ(events_up_to(content_of(files[i]), INT64_MAX).count,
              events_up_to(content_of(files[i]), 10 * static_cast<int64_t>(i) + 10).count)
        << "file " << i << " holds later steps than its own";
}

TEST(TensorboardLog, AFileWithoutAnyStepLeftIsRemoved) {
  const TemporaryDirectory run;
  log_steps(run.path(), 0, {10, 20});
  log_steps(run.path(), 0, {10});
  EXPECT_EQ(event_files(run.path()).size(), 1U);
  EXPECT_EQ(events_of(run.path(), 10), 1);
  EXPECT_EQ(events_of(run.path(), 20), 0);
}

TEST(TensorboardLog, TheTornEndOfAKilledRunIsCutOff) {
  const TemporaryDirectory run;
  log_steps(run.path(), 0, {10, 20});
  const std::string file = event_files(run.path()).at(0);
  fs::resize_file(file, fs::file_size(file) - 3);
  log_steps(run.path(), 30, {40});
  EXPECT_EQ(events_of(run.path(), 10), 1);
  EXPECT_EQ(events_of(run.path(), 20), 0);
  EXPECT_EQ(events_up_to(content_of(file), 100).content, content_of(file));
}

TEST(TensorboardLog, FilesOfOtherProgramsAreLeftAlone) {
  const TemporaryDirectory run;
  fs::create_directory(run / "tensorboard");
  const std::vector<std::string> others = {"events.out.tfevents.1700000000.host.1.0", "notes.txt",
                                           "events.out.tfevents.17000000x0.pinnerformer"};
  for (const std::string& name : others) write_file(run / "tensorboard/" + name, "mine");
  log_steps(run.path(), 0, {10});
  for (const std::string& name : others)
    EXPECT_EQ(content_of(run / "tensorboard/" + name), "mine") << name;
}

TEST(TensorboardLog, AFileInThePlaceOfTheDirectoryIsAnErrorThatNamesTheKey) {
  const TemporaryDirectory run;
  write_file(run / "tensorboard", "x");
  try {
    log_steps(run.path(), 0, {});
    ADD_FAILURE() << "no error";
  } catch (const IoError& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("metrics.tensorboard=false"));
  }
}

TEST(TensorboardLog, FullDiskKeepsTheOldEvents) {
  const TemporaryDirectory run;
  log_steps(run.path(), 0, {10, 20});
  arm_faults({.below = run.path(), .fault = Fault::kNoSpace, .count = 1000});
  EXPECT_THROW(log_steps(run.path(), 10, {}), IoError);
  disarm_faults();
  EXPECT_EQ(events_of(run.path(), 20), 1);
}

}  // namespace
}  // namespace pinnerformer
