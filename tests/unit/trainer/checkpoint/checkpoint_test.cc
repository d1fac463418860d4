// Checkpoints: whole or absent, the newest whole one is found, nothing is overwritten.
#include "trainer/checkpoint/checkpoint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "dataloader/base/errors.h"
#include "tests/support/dataset_fixture.h"
#include "trainer/checkpoint/checkpoint_list.h"

namespace pinnerformer {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;

Checkpoint checkpoint_of(int64_t step) {
  Checkpoint checkpoint;
  checkpoint.info = {step, {3, 17}, step * 8, 2, "0123abcd", {}};
  checkpoint.config = "model:\n  hidden: 16\n";
  checkpoint.data = "{\"actions\": []}\n";
  const auto value = static_cast<double>(step);
  checkpoint.model = {{"w", torch::full({3, 4}, value)}, {"b", torch::full({4}, value + 0.5)}};
  checkpoint.training = {{"adam.steps", torch::tensor(value)},
                         {"positive_counts", torch::full({8}, step, torch::kInt32)}};
  return checkpoint;
}

CheckpointOptions keep_last(int64_t count) {
  CheckpointOptions options;
  options.keep_last = count;
  return options;
}

void replace(const fs::path& path, const std::string& content) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << content;
}

void flip_byte(const fs::path& path, size_t place) {
  std::string content = content_of(path);
  content.at(place) = static_cast<char>(content.at(place) ^ 0x10);
  replace(path, content);
}

std::vector<std::string> names_in(const std::string& directory) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(directory))
    names.push_back(entry.path().filename());
  std::sort(names.begin(), names.end());
  return names;
}

std::string reason_of(const std::string& path) {
  try {
    static_cast<void>(load_checkpoint(path, /*training=*/true));
  } catch (const CheckpointError& error) {
    return error.what();
  }
  return "nothing was thrown";
}

TEST(Checkpoint, RoundTrip) {
  const TemporaryDirectory directory;
  const Checkpoint saved = checkpoint_of(40);
  const std::string path = save_checkpoint(directory.path(), saved);
  EXPECT_EQ(path, directory / "step-000000040");
  const Checkpoint found = load_checkpoint(path, /*training=*/true);
  EXPECT_EQ(found.info.step, 40);
  EXPECT_EQ(found.info.position.epoch, 3);
  EXPECT_EQ(found.info.position.consumed, 17);
  EXPECT_EQ(found.info.samples, 320);
  EXPECT_EQ(found.info.world_size, 2);
  EXPECT_EQ(found.info.dataset_fingerprint, "0123abcd");
  EXPECT_EQ(found.config, saved.config);
  EXPECT_EQ(found.data, saved.data);
  EXPECT_EQ(found.info.files.size(), 4U);
  for (const auto& [name, tensor] : saved.model)
    EXPECT_TRUE(torch::equal(found.model.at(name), tensor)) << name;
  for (const auto& [name, tensor] : saved.training)
    EXPECT_TRUE(torch::equal(found.training.at(name), tensor)) << name;
  EXPECT_TRUE(load_checkpoint(path, /*training=*/false).training.empty());
}

TEST(Checkpoint, ManifestVouchesForEveryFile) {
  const TemporaryDirectory directory;
  const std::string path = save_checkpoint(directory.path(), checkpoint_of(1));
  const CheckpointInfo info = read_manifest(path, /*verify_files=*/true);
  for (const std::string& name : names_in(path))
    EXPECT_TRUE(name == "MANIFEST.json" || info.files.contains(name)) << name;
  EXPECT_EQ(names_in(directory.path()), std::vector<std::string>{"step-000000001"})
      << "nothing partial is left";
}

TEST(Checkpoint, FlippedByteAnywhereIsFound) {
  const TemporaryDirectory directory;
  const std::string path = save_checkpoint(directory.path(), checkpoint_of(1));
  for (const char* name :
       {"model.safetensors", "training.safetensors", "config.yaml", "data.json"}) {
    const fs::path file = fs::path(path) / name;
    const size_t size = fs::file_size(file);
    for (const size_t place : {size_t{0}, size / 2, size - 1}) {
      flip_byte(file, place);
      EXPECT_THAT(reason_of(path), HasSubstr(name)) << place;
      flip_byte(file, place);
    }
  }
  EXPECT_EQ(reason_of(path), "nothing was thrown");
}

TEST(Checkpoint, TruncatedOrMissingFileIsFound) {
  for (const char* name :
       {"model.safetensors", "training.safetensors", "config.yaml", "data.json", "MANIFEST.json"}) {
    const TemporaryDirectory directory;
    const std::string path = save_checkpoint(directory.path(), checkpoint_of(1));
    const fs::path file = fs::path(path) / name;
    const std::string whole = content_of(file);
    for (const size_t length : {size_t{0}, size_t{1}, whole.size() / 2, whole.size() - 3}) {
      replace(file, whole.substr(0, length));
      EXPECT_THAT(reason_of(path), HasSubstr(name)) << length;
    }
    fs::remove(file);
    EXPECT_THAT(reason_of(path), HasSubstr(name));
  }
}

TEST(Checkpoint, NewestValidIsChosenAndEveryRejectedOneHasItsReason) {
  const TemporaryDirectory directory;
  for (const int64_t step : {5, 10, 20, 100})
    save_checkpoint(directory.path(), checkpoint_of(step));
  EXPECT_EQ(find_newest_checkpoint(directory.path()).path, directory / "step-000000100");

  flip_byte(directory / "step-000000100/model.safetensors", 150);
  fs::remove(directory / "step-000000020/MANIFEST.json");
  const NewestCheckpoint newest = find_newest_checkpoint(directory.path());
  EXPECT_EQ(newest.path, directory / "step-000000010");
  EXPECT_THAT(newest.rejected, ElementsAre(HasSubstr("step-000000100/model.safetensors is damaged"),
                                           HasSubstr("step-000000020/MANIFEST.json is missing")));
}

TEST(Checkpoint, NoneIsNoneAndNoError) {
  const TemporaryDirectory directory;
  EXPECT_FALSE(find_newest_checkpoint(directory.path()).path);
  EXPECT_FALSE(find_newest_checkpoint(directory / "missing").path);
  EXPECT_TRUE(list_checkpoints(directory / "missing").empty());
}

TEST(Checkpoint, PartialDirectoryDoesNotExist) {
  const TemporaryDirectory directory;
  save_checkpoint(directory.path(), checkpoint_of(5));
  fs::copy(directory / "step-000000005", directory / "step-000000009.partial-123");
  EXPECT_THAT(list_checkpoints(directory.path()), ElementsAre(directory / "step-000000005"));
  EXPECT_EQ(find_newest_checkpoint(directory.path()).path, directory / "step-000000005");
  remove_old_checkpoints(directory.path(), keep_last(3));
  EXPECT_THAT(names_in(directory.path()), ElementsAre("step-000000005"));
}

TEST(Checkpoint, LeftOversOfAKilledWriterAreNoObstacle) {
  const TemporaryDirectory directory;
  const std::string partial = directory / ("step-000000005.partial-" + std::to_string(::getpid()));
  fs::create_directory(partial);
  write_file(partial + "/model.safetensors", "half");
  EXPECT_EQ(save_checkpoint(directory.path(), checkpoint_of(5)), directory / "step-000000005");
  EXPECT_EQ(reason_of(directory / "step-000000005"), "nothing was thrown");
}

TEST(Checkpoint, OldOnesAreRemovedAndTheNewestKept) {
  const TemporaryDirectory directory;
  for (const int64_t step : {1, 2, 3, 999, 1000})
    save_checkpoint(directory.path(), checkpoint_of(step));
  remove_old_checkpoints(directory.path(), keep_last(2));
  EXPECT_THAT(names_in(directory.path()), ElementsAre("step-000000999", "step-000001000"));
}

TEST(Checkpoint, OnesWithoutAManifestDoNotCountAsKept) {
  const TemporaryDirectory directory;
  for (const int64_t step : {1, 2, 3}) save_checkpoint(directory.path(), checkpoint_of(step));
  fs::remove(directory / "step-000000003/MANIFEST.json");
  remove_old_checkpoints(directory.path(), keep_last(1));
  EXPECT_THAT(names_in(directory.path()), ElementsAre("step-000000002", "step-000000003"));
}

TEST(Checkpoint, NeverOverwrites) {
  const TemporaryDirectory directory;
  const std::string path = save_checkpoint(directory.path(), checkpoint_of(5));
  const std::string before = content_of(path + "/MANIFEST.json");
  Checkpoint other = checkpoint_of(5);
  other.model["w"].fill_(-1);
  EXPECT_THROW(save_checkpoint(directory.path(), other), IoError);
  EXPECT_EQ(content_of(path + "/MANIFEST.json"), before);
  EXPECT_EQ(reason_of(path), "nothing was thrown");
}

TEST(Checkpoint, SetAsideMakesRoomAndKeepsTheFiles) {
  const TemporaryDirectory directory;
  const std::string path = save_checkpoint(directory.path(), checkpoint_of(5));
  EXPECT_EQ(set_aside_checkpoint(path), directory / "damaged-step-000000005");
  EXPECT_TRUE(list_checkpoints(directory.path()).empty());
  save_checkpoint(directory.path(), checkpoint_of(5));
  EXPECT_EQ(set_aside_checkpoint(path), directory / "damaged-step-000000005-2");
  EXPECT_TRUE(fs::exists(directory / "damaged-step-000000005/model.safetensors"));
  save_checkpoint(directory.path(), checkpoint_of(5));
  remove_old_checkpoints(directory.path(), keep_last(1));
  EXPECT_EQ(names_in(directory.path()).size(), 3U) << "left for a person to look at";
  EXPECT_THROW(set_aside_checkpoint(directory / "step-000000099"), IoError);
}

// A manifest as a program of another version or kind would write it, its checksum right.
void rewrite_manifest(const std::string& path, const std::string& from, const std::string& to) {
  const fs::path file = fs::path(path) / "MANIFEST.json";
  std::string text = content_of(file);
  text.replace(text.find(from), from.size(), to);
  const size_t place = text.rfind("\"checksum\": \"") + 13;
  text.replace(place, 16, 16, '0');
  StreamHash hash;
  hash.add(text.data(), text.size());
  text.replace(place, 16, hash_text(hash.value()));
  replace(file, text);
}

TEST(Checkpoint, FutureVersionIsRefusedAndNotPassedOver) {
  const TemporaryDirectory directory;
  save_checkpoint(directory.path(), checkpoint_of(4));
  const std::string path = save_checkpoint(directory.path(), checkpoint_of(5));
  rewrite_manifest(path, "\"version\": 2", "\"version\": 3");
  EXPECT_THAT(reason_of(path), HasSubstr("version 3"));
  EXPECT_THROW(static_cast<void>(find_newest_checkpoint(directory.path())), NewerVersionError);
  rewrite_manifest(path, "pinnerformer-checkpoint", "something else");
  EXPECT_THAT(reason_of(path), HasSubstr("no manifest"));
}

TEST(Checkpoint, VersionOneHasNoChecksumAndIsStillRead) {
  const TemporaryDirectory directory;
  const std::string path = save_checkpoint(directory.path(), checkpoint_of(4));
  auto manifest = nlohmann::json::parse(content_of(path + "/MANIFEST.json"));
  manifest["version"] = 1;
  manifest.erase("checksum");
  manifest.erase("loss");
  replace(path + "/MANIFEST.json", manifest.dump());
  EXPECT_EQ(load_checkpoint(path, /*training=*/true).info.step, 4);
}

TEST(Checkpoint, EveryFlippedBitOfAManifestIsFound) {
  const TemporaryDirectory directory;
  const std::string path = save_checkpoint(directory.path(), checkpoint_of(12345));
  const fs::path manifest = fs::path(path) / "MANIFEST.json";
  const std::string whole = content_of(manifest);
  for (size_t bit = 0; bit < 8 * whole.size(); ++bit) {
    std::string text = whole;
    text[bit / 8] = static_cast<char>(text[bit / 8] ^ (1 << bit % 8));
    replace(manifest, text);
    EXPECT_FALSE(checkpoint_damage(path).empty()) << "bit " << bit;
    EXPECT_THROW(static_cast<void>(read_manifest(path, /*verify_files=*/false)), CheckpointError);
  }
}

TEST(Checkpoint, EveryDamagedFileIsNamed) {
  const TemporaryDirectory directory;
  const std::string path = save_checkpoint(directory.path(), checkpoint_of(1));
  EXPECT_TRUE(checkpoint_damage(path).empty());
  flip_byte(path + "/config.yaml", 3);
  fs::remove(path + "/training.safetensors");
  EXPECT_THAT(checkpoint_damage(path), ElementsAre(HasSubstr("config.yaml is damaged"),
                                                   HasSubstr("training.safetensors is missing")));
}

TEST(Checkpoint, EveryMthIsKeptAndTheLossOfEach) {
  const TemporaryDirectory directory;
  const std::map<int64_t, std::optional<double>> losses = {
      {1, 5.0}, {2, 3.0}, {3, 4.0}, {4, 4.5}, {5, 3.5}, {6, std::nullopt}, {7, 4.2}};
  for (const auto& [step, loss] : losses) {
    Checkpoint checkpoint = checkpoint_of(step);
    checkpoint.info.loss = loss;
    save_checkpoint(directory.path(), checkpoint);
  }
  CheckpointOptions options = keep_last(2);
  options.keep_every = 4;
  remove_old_checkpoints(directory.path(), options);
  EXPECT_THAT(names_in(directory.path()),
              ElementsAre("step-000000004", "step-000000006", "step-000000007"));
  EXPECT_EQ(read_manifest(directory / "step-000000004", false).loss, 4.5);
  EXPECT_EQ(read_manifest(directory / "step-000000006", false).loss, std::nullopt);
  options.keep_every = 0;
  remove_old_checkpoints(directory.path(), options);
  EXPECT_THAT(names_in(directory.path()), ElementsAre("step-000000006", "step-000000007"));
}

TEST(Checkpoint, ForeignFilesAreNeverRemoved) {
  const TemporaryDirectory directory;
  for (const int64_t step : {1, 2, 3}) save_checkpoint(directory.path(), checkpoint_of(step));
  for (const char* name : {"notes.partial-1", "step-1-copy", "step-000000001.bak",
                           "step-000000001.partial-mine", "backup-step-000000001"})
    fs::create_directory(directory / name);
  fs::create_directory(directory / "step-000000003.partial-77");
  remove_old_checkpoints(directory.path(), keep_last(1));
  EXPECT_THAT(names_in(directory.path()),
              ElementsAre("backup-step-000000001", "notes.partial-1", "step-000000001.bak",
                          "step-000000001.partial-mine", "step-000000003", "step-1-copy"));
}

TEST(Checkpoint, ManifestOfTheWrongShapeIsRefused) {
  const TemporaryDirectory directory;
  const std::string path = save_checkpoint(directory.path(), checkpoint_of(5));
  for (const char* text : {"", "7", "[]", "{}", "{\"format\": 1}", "\xFF\xFE"}) {
    replace(fs::path(path) / "MANIFEST.json", text);
    EXPECT_THAT(reason_of(path), HasSubstr("MANIFEST.json")) << text;
  }
}

TEST(Checkpoint, UnwritableDirectoryIsAnIoError) {
  const TemporaryDirectory directory;
  write_file(directory / "file", "in the way");
  EXPECT_THROW(save_checkpoint(directory / "file", checkpoint_of(5)), IoError);
}

}  // namespace
}  // namespace pinnerformer
