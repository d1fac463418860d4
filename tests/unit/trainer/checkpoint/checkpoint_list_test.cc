// The list of a run's checkpoints: links are never followed by a removal, readers survive removals,
// and a step names its checkpoint.
#include "trainer/checkpoint/checkpoint_list.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <thread>

#include "dataloader/base/errors.h"
#include "dataloader/base/file.h"
#include "tests/support/dataset_fixture.h"
#include "trainer/checkpoint/checkpoint.h"

namespace pinnerformer {
namespace {

namespace fs = std::filesystem;

Checkpoint small_checkpoint(int64_t step) {
  Checkpoint checkpoint;
  checkpoint.info.step = step;
  checkpoint.config = "model:\n  hidden: 16\n";
  checkpoint.model = {{"w", torch::full({64, 64}, static_cast<double>(step))}};
  return checkpoint;
}

CheckpointOptions keep_one() {
  CheckpointOptions options;
  options.keep_last = 1;
  return options;
}

TEST(CheckpointList, RemovingALinkLeavesWhatItPointsTo) {
  const TemporaryDirectory directory;
  const std::string archived = save_checkpoint(directory / "archive", small_checkpoint(1));
  const std::string run = directory / "run";
  fs::create_directory(run);
  fs::create_directory_symlink(archived, checkpoint_path(run, 1));
  for (const int64_t step : {2, 3}) save_checkpoint(run, small_checkpoint(step));
  fs::create_directory_symlink(directory / "archive", run + "/step-000000002.partial-7");

  remove_old_checkpoints(run, keep_one());
  EXPECT_EQ(list_checkpoints(run), std::vector<std::string>{checkpoint_path(run, 3)});
  EXPECT_FALSE(fs::exists(fs::symlink_status(checkpoint_path(run, 1)))) << "the link is gone";
  EXPECT_FALSE(fs::exists(fs::symlink_status(run + "/step-000000002.partial-7")));
  EXPECT_TRUE(checkpoint_damage(archived).empty()) << "the archive is untouched";
}

TEST(CheckpointList, RemovingACheckpointLeavesTheTargetsOfLinksInIt) {
  const TemporaryDirectory directory;
  for (const int64_t step : {1, 2}) save_checkpoint(directory.path(), small_checkpoint(step));
  fs::create_directory(directory / "mine");
  write_file(directory / "mine/notes", "kept");
  fs::create_directory_symlink(directory / "mine", checkpoint_path(directory.path(), 1) + "/link");
  remove_old_checkpoints(directory.path(), keep_one());
  EXPECT_FALSE(fs::exists(checkpoint_path(directory.path(), 1)));
  EXPECT_TRUE(fs::exists(directory / "mine/notes"));
}

void damage_model(const std::string& checkpoint) {
  File file = File::open_for_update(checkpoint + "/" + kModelFile);
  const char byte = 0x55;
  file.write_at(file.size() - 1, &byte, 1);
}

TEST(CheckpointList, PruningNeverRemovesTheLastOneThatIsWhole) {
  const TemporaryDirectory directory;
  for (const int64_t step : {1, 2, 3, 4}) save_checkpoint(directory.path(), small_checkpoint(step));
  const auto path = [&](int64_t step) { return checkpoint_path(directory.path(), step); };
  damage_model(path(3));
  damage_model(path(4));  // its size is right: only its checksum tells
  const PrunePlan plan = plan_prune(directory.path(), keep_one());
  EXPECT_THAT(plan.kept, testing::ElementsAre(path(2), path(3), path(4)));
  EXPECT_THAT(plan.removed, testing::ElementsAre(path(1)));
  EXPECT_TRUE(fs::exists(path(1))) << "a plan removes nothing";
  prune(plan);
  EXPECT_FALSE(fs::exists(path(1)));
  damage_model(path(2));
  EXPECT_THROW(static_cast<void>(plan_prune(directory.path(), keep_one())), CheckpointError);
}

TEST(CheckpointList, PruningKeepsTheBestAndMultiples) {
  const TemporaryDirectory directory;
  for (const int64_t step : {1, 2, 3, 4, 5, 6}) {
    Checkpoint checkpoint = small_checkpoint(step);
    checkpoint.info.best = {1, 0.5, 3};
    save_checkpoint(directory.path(), checkpoint);
  }
  CheckpointOptions options = keep_one();
  options.keep_every = 3;
  prune(plan_prune(directory.path(), options));
  EXPECT_THAT(list_checkpoints(directory.path()),
              testing::ElementsAre(checkpoint_path(directory.path(), 1),
                                   checkpoint_path(directory.path(), 3),
                                   checkpoint_path(directory.path(), 6)));
}

TEST(CheckpointList, AStepNamesItsCheckpoint) {
  const TemporaryDirectory directory;
  const std::string run = directory / "run";
  const std::string path = save_checkpoint(run + "/checkpoints", small_checkpoint(500));
  for (const char* name : {"/500", "/checkpoints/500", "/step-500", "/checkpoints/step-500",
                           "/000500", "/checkpoints/step-000000500"})
    EXPECT_EQ(resolve_checkpoint_path(run + name), path) << name;
  for (const char* name : {"/501", "/checkpoints", "/checkpoints/latest", "/-500", "/500x", "/"})
    EXPECT_EQ(resolve_checkpoint_path(run + name), run + name) << "as it was given";
  fs::create_directory(run + "/500");
  EXPECT_EQ(resolve_checkpoint_path(run + "/500"), run + "/500") << "a directory that exists";
}

// A training that saves and removes as fast as it can, keeping one checkpoint.
class FastTraining {
 public:
  explicit FastTraining(std::string directory)
      : directory_(std::move(directory)), thread_([this] {
          for (int64_t step = 1; !stop_; ++step) {
            save_checkpoint(directory_, small_checkpoint(step));
            remove_old_checkpoints(directory_, keep_one());
            saved_ = step;
          }
        }) {
    while (saved_ == 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  ~FastTraining() {
    stop_ = true;
    thread_.join();
  }

 private:
  std::string directory_;
  std::atomic<bool> stop_ = false;
  std::atomic<int64_t> saved_ = 0;
  std::thread thread_;
};

TEST(CheckpointList, ReadersFindAWholeCheckpointWhileOthersAreRemoved) {
  const TemporaryDirectory directory;
  const FastTraining training(directory.path());
  for (int i = 0; i < 60; ++i) {
    EXPECT_TRUE(find_newest_checkpoint(directory.path()).path) << i;
    read_newest_checkpoint(directory.path(), [](const NewestCheckpoint& newest) {
      if (!newest.path) throw CheckpointError("none is whole");
      static_cast<void>(load_checkpoint(*newest.path, /*training=*/true));
    });
  }
}

TEST(CheckpointList, ReadingStartsAgainOnlyWhereTheListChanged) {
  const TemporaryDirectory directory;
  save_checkpoint(directory.path(), small_checkpoint(1));
  int calls = 0;
  EXPECT_THROW(read_newest_checkpoint(directory.path(),
                                      [&](const NewestCheckpoint&) {
                                        ++calls;
                                        throw CheckpointError("damaged");
                                      }),
               CheckpointError);
  EXPECT_EQ(calls, 1) << "damage is not a removal";
  std::vector<std::string> read;
  read_newest_checkpoint(directory.path(), [&](const NewestCheckpoint& newest) {
    read.push_back(newest.path.value());
    if (read.size() > 1) return;
    save_checkpoint(directory.path(), small_checkpoint(2));
    remove_old_checkpoints(directory.path(), keep_one());
    throw CheckpointError("gone");
  });
  EXPECT_EQ(read, (std::vector<std::string>{checkpoint_path(directory.path(), 1),
                                            checkpoint_path(directory.path(), 2)}));
}

TEST(CheckpointList, ARemovedCheckpointIsNotADamagedOne) {
  const TemporaryDirectory directory;
  const std::string path = save_checkpoint(directory.path(), small_checkpoint(1));
  EXPECT_FALSE(was_removed(path));
  fs::remove(path + "/MANIFEST.json");  // as a removal begins
  std::thread removal([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(150));
    fs::remove_all(path);
  });
  EXPECT_TRUE(was_removed(path)) << "waits for the removal to end";
  removal.join();
  fs::create_directory(path);
  EXPECT_FALSE(was_removed(path)) << "a directory without a manifest that stays is damaged";
}

TEST(CheckpointList, APartialCheckpointThatVanishesIsAnIoError) {
  const TemporaryDirectory directory;
  Checkpoint checkpoint = small_checkpoint(1);
  checkpoint.streamed["large"] = [&](const std::string& path) {
    fs::remove_all(fs::path(path).parent_path());
    return FileDigest{};
  };
  EXPECT_THROW(save_checkpoint(directory.path(), checkpoint), IoError);
  EXPECT_TRUE(list_checkpoints(directory.path()).empty());
}

TEST(CheckpointList, FilesThatTheManifestDoesNotNameAreRefused) {
  const TemporaryDirectory directory;
  const std::string path = save_checkpoint(directory.path(), small_checkpoint(1));
  write_file(path + "/notes.txt", "other files are ignored");
  EXPECT_TRUE(checkpoint_damage(path).empty());
  write_file(path + "/" + kItemTableChangesFile, "planted");
  EXPECT_FALSE(checkpoint_damage(path).empty());
  EXPECT_THROW(static_cast<void>(read_manifest(path, /*verify_files=*/false)), CheckpointError);
}

TEST(CheckpointList, PositionsThatNoTrainingReachesAreRefused) {
  CheckpointInfo info;
  info.position = {.epoch = 2, .consumed = 30};
  info.samples = 230;
  check_position(info, /*users=*/100, "checkpoint");
  const auto refuse = [](CheckpointInfo changed) {
    EXPECT_THROW(check_position(changed, 100, "checkpoint"), CheckpointError);
  };
  CheckpointInfo changed = info;
  changed.position.consumed = 100;
  refuse(changed);
  changed = info;
  changed.position.consumed = 31;
  refuse(changed);
  changed = info;
  changed.position.epoch = 3;
  refuse(changed);
  changed.position.epoch = int64_t{1} << 60;
  refuse(changed);
}

}  // namespace
}  // namespace pinnerformer
