// No checkpoint is ever half there: a kill, an error or a short write at every system call of a
// save, damage at sampled places of the files. With PF_SOAK=1 at all of them (tests/run.sh --tier
// soak), else at a sample.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <torch/types.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <random>

#include "dataloader/base/errors.h"
#include "tests/support/dataset_fixture.h"
#include "tests/support/fault_injection.h"
#include "trainer/checkpoint/checkpoint.h"
#include "trainer/checkpoint/checkpoint_list.h"
#include "trainer/checkpoint/checkpoint_writer.h"

namespace pinnerformer {
namespace {

namespace fs = std::filesystem;

bool soak() { return std::getenv("PF_SOAK") != nullptr; }

Checkpoint random_checkpoint(int64_t step) {
  torch::manual_seed(static_cast<uint64_t>(step));
  Checkpoint checkpoint;
  checkpoint.info = {step, {0, step}, step * 8, 2, "0123abcd", {}};
  checkpoint.config = "model:\n  hidden: 16\n";
  checkpoint.data = "{}\n";
  for (int i = 0; i < 20; ++i)
    checkpoint.model['w' + std::to_string(i)] = torch::randn({8, 16 + i});
  for (int i = 0; i < 40; ++i)
    checkpoint.training['m' + std::to_string(i)] = torch::randn({8, 16 + i});
  return checkpoint;
}

bool holds(const std::string& path, int64_t step) {
  const Checkpoint found = load_checkpoint(path, /*training=*/true);
  const Checkpoint expected = random_checkpoint(step);
  for (const auto& [name, tensor] : expected.model)
    if (!torch::equal(found.model.at(name), tensor)) return false;
  for (const auto& [name, tensor] : expected.training)
    if (!torch::equal(found.training.at(name), tensor)) return false;
  return found.info.step == step;
}

// What a training does for a save, in a process of its own. Exit code 0: saved; 3: IoError.
int save_in_child(const std::string& directory, int64_t step, const FaultPlan& plan) {
  const Checkpoint checkpoint = random_checkpoint(step);
  const pid_t child = ::fork();
  if (child == 0) {
    CheckpointOptions options;
    options.keep_last = 2;
    CheckpointWriter writer(directory, options, 0);
    arm_faults(plan);
    try {
      writer.start(checkpoint);
      ::_exit(writer.finished(std::chrono::seconds(60)) ? 0 : 4);
    } catch (const IoError&) {
      ::_exit(3);
    }
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

class CheckpointFaults : public testing::Test {
 protected:
  CheckpointFaults() {
    for (const int64_t step : {10, 20}) save_checkpoint(before_, random_checkpoint(step));
  }

  // A copy of a run's directory with the checkpoints of steps 10 and 20.
  std::string fresh_run() {
    fs::remove_all(run_);
    fs::copy(before_, run_, fs::copy_options::recursive);
    return run_;
  }

  int64_t calls_of_a_save() {
    const std::string run = fresh_run();
    CheckpointOptions options;
    options.keep_last = 2;
    CheckpointWriter writer(run, options, 0);
    const Checkpoint checkpoint = random_checkpoint(30);
    arm_faults({run, Fault::kCount, 0, 0});
    writer.start(checkpoint);
    EXPECT_TRUE(writer.finished(std::chrono::seconds(60)));
    const int64_t calls = calls_seen();
    disarm_faults();
    return calls;
  }

  TemporaryDirectory directory_;
  std::string before_ = directory_ / "before";
  std::string run_ = directory_ / "run";
};

TEST_F(CheckpointFaults, EverySystemCallOfASave) {
  const int64_t calls = calls_of_a_save();
  ASSERT_GT(calls, 70);
  int64_t points = 0, saved = 0, refused = 0, killed = 0;
  const int64_t stride = soak() ? 1 : 5;
  int64_t turn = 0;
  for (const Fault fault :
       {Fault::kKillBefore, Fault::kKillAfter, Fault::kTornWrite, Fault::kShortWrite,
        Fault::kNoSpace, Fault::kIoError, Fault::kInterrupted}) {
    for (int64_t call = turn++ % stride; call < calls; call += stride, ++points) {
      SCOPED_TRACE("fault " + std::to_string(static_cast<int>(fault)) + " at call " +
                   std::to_string(call) + " of " + std::to_string(calls));
      const std::string run = fresh_run();
      const int code = save_in_child(run, 30, {run, fault, call, 1});
      const bool kills =
          fault == Fault::kKillBefore || fault == Fault::kKillAfter || fault == Fault::kTornWrite;
      EXPECT_TRUE(kills ? code == -1 : code == 0 || code == 3) << code;
      // Short writes are finished, passing errors retried.
      if (!kills && fault != Fault::kNoSpace) {
        EXPECT_EQ(code, 0);
      }
      (code == 0 ? saved : code == 3 ? refused : killed) += 1;

      const NewestCheckpoint newest = find_newest_checkpoint(run);
      ASSERT_TRUE(newest.path);
      const int64_t step = newest.path->ends_with("30") ? 30 : 20;
      EXPECT_TRUE(holds(*newest.path, step));
      EXPECT_TRUE(code != 0 || step == 30) << "said to be saved";
      EXPECT_TRUE(holds(run + "/step-000000020", 20)) << "one of the newest two";
      EXPECT_TRUE(step == 30 || holds(run + "/step-000000010", 10)) << "removed too early";

      // The run goes on: the next save works and clears what the fault left behind.
      EXPECT_EQ(save_in_child(run, 40, {run, Fault::kCount, 0, 0}), 0);
      EXPECT_EQ(find_newest_checkpoint(run).path, run + "/step-000000040");
      for (const auto& entry : fs::directory_iterator(run))
        EXPECT_EQ(entry.path().filename().string().find("partial"), std::string::npos)
            << entry.path();
    }
  }
  std::cout << points << " points at " << calls << " system calls: " << killed << " killed, "
            << saved << " saved, " << refused
            << " refused; the newest whole checkpoint loaded each time\n";
}

TEST_F(CheckpointFaults, LastingErrorsEndTheSaveAndNameTheFile) {
  for (const auto& [fault, reason] : {std::pair(Fault::kNoSpace, "No space left"),
                                      std::pair(Fault::kIoError, "Input/output error")}) {
    const std::string run = fresh_run();
    CheckpointWriter writer(run, {}, 0);
    const Checkpoint checkpoint = random_checkpoint(30);
    arm_faults({run, fault, 10, 1'000'000});
    writer.start(checkpoint);
    std::string message;
    try {
      static_cast<void>(writer.finished(std::chrono::seconds(60)));
    } catch (const IoError& error) {
      message = error.what();
    }
    disarm_faults();
    EXPECT_NE(message.find(reason), std::string::npos) << message;
    EXPECT_NE(message.find("step-000000030"), std::string::npos) << message;
    EXPECT_EQ(find_newest_checkpoint(run).path, run + "/step-000000020");
  }
}

struct Damage {
  std::string file;
  std::string content;  // the whole file, damaged
  std::string what;
};

Damage random_damage(const std::map<std::string, std::string>& files, std::mt19937_64& random) {
  size_t total = 0;
  for (const auto& [name, content] : files) total += content.size();
  for (;;) {
    size_t place = random() % total;
    auto file = files.begin();
    for (; place >= file->second.size(); ++file) place -= file->second.size();
    Damage damage{file->first, file->second, ""};
    switch (random() % 3) {
      case 0:
        damage.content[place] = static_cast<char>(damage.content[place] ^ (1 << random() % 8));
        damage.what = "flipped bit";
        break;
      case 1:
        damage.content.resize(place);
        damage.what = "truncated";
        break;
      default:
        for (size_t i = place / 4096 * 4096; i < damage.content.size() && i / 4096 == place / 4096;
             ++i)
          damage.content[i] = 0;
        damage.what = "zeroed page";
    }
    damage.what += " at " + std::to_string(place) + " of " + file->first;
    if (damage.content != file->second) return damage;
  }
}

TEST_F(CheckpointFaults, DamageAtAnyPlaceIsFound) {
  const std::string run = fresh_run();
  const std::string newest = run + "/step-000000020";
  std::map<std::string, std::string> files;
  for (const auto& entry : fs::directory_iterator(newest))
    files[entry.path()] = content_of(entry.path());
  ASSERT_EQ(files.size(), 5U);
  std::mt19937_64 random(20240611);
  const int places = soak() ? 10'000 : 500;
  for (int i = 0; i < places; ++i) {
    const Damage damage = random_damage(files, random);
    std::ofstream(damage.file, std::ios::binary | std::ios::trunc) << damage.content;
    const NewestCheckpoint found = find_newest_checkpoint(run);
    ASSERT_EQ(found.path, run + "/step-000000010") << damage.what;
    ASSERT_EQ(found.rejected.size(), 1U) << damage.what;
    ASSERT_FALSE(checkpoint_damage(newest).empty()) << damage.what;
    std::ofstream(damage.file, std::ios::binary | std::ios::trunc) << files.at(damage.file);
  }
  EXPECT_EQ(find_newest_checkpoint(run).path, newest);
  std::cout << places << " damaged places: all found, the checkpoint before taken\n";
}

}  // namespace
}  // namespace pinnerformer
