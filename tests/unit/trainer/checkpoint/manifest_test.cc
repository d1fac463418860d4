// A manifest is believed only where every entry is possible: others are refused by name.
#include "trainer/checkpoint/manifest.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <nlohmann/json.hpp>

#include "tests/support/message_of.h"

namespace pinnerformer {
namespace {

using nlohmann::json;
using testing::AllOf;
using testing::HasSubstr;

CheckpointInfo some_info() {
  CheckpointInfo info;
  info.step = 40;
  info.position = {3, 17};
  info.samples = 320;
  info.world_size = 2;
  info.dataset_fingerprint = "0123abcd";
  info.loss = 2.5;
  for (const char* name : {kModelFile, kTrainingFile, kConfigFile})
    info.files[name] = {10, "0123456789abcdef"};
  return info;
}

// The manifest as a program of version 1 would write it: without a checksum, so that any entry can
// be changed.
json unsigned_manifest() {
  json manifest = json::parse(manifest_text(some_info()));
  manifest["version"] = 1;
  manifest.erase("checksum");
  return manifest;
}

std::string message_for(const std::string& text) {
  return message_of<CheckpointError>(
      [&] { static_cast<void>(parse_manifest(text, "run/MANIFEST.json")); });
}

std::string message_after(const std::function<void(json&)>& change) {
  json manifest = unsigned_manifest();
  change(manifest);
  return message_for(manifest.dump());
}

TEST(Manifest, RoundTrip) {
  const CheckpointInfo info = parse_manifest(manifest_text(some_info()), "MANIFEST.json");
  EXPECT_EQ(info.step, 40);
  EXPECT_EQ(info.position.epoch, 3);
  EXPECT_EQ(info.position.consumed, 17);
  EXPECT_EQ(info.samples, 320);
  EXPECT_EQ(info.world_size, 2);
  EXPECT_EQ(info.dataset_fingerprint, "0123abcd");
  EXPECT_EQ(info.loss, 2.5);
  EXPECT_EQ(info.files.size(), 3U);
  EXPECT_EQ(message_for(unsigned_manifest().dump()), "no error");
}

TEST(Manifest, CountsAreWholeNumbersWithinTheirRange) {
  for (const char* key : {"step", "epoch", "epoch_consumed", "samples", "world_size", "version"})
    for (const json& value : {json(-1), json(1.5), json(1e300), json("1"), json(nullptr),
                              json(json::array()), json(UINT64_MAX), json(INT64_MIN)}) {
      const std::string message = message_after([&](json& manifest) { manifest[key] = value; });
      EXPECT_THAT(message, AllOf(HasSubstr("run/MANIFEST.json"), HasSubstr(key),
                                 HasSubstr("expected a whole number")))
          << value;
    }
  EXPECT_THAT(message_after([](json& manifest) { manifest["world_size"] = 0; }),
              HasSubstr("from 1 to 2^53"));
}

TEST(Manifest, MissingEntriesAreNamed) {
  for (const char* key : {"format", "version", "step", "epoch", "epoch_consumed", "samples",
                          "world_size", "dataset_fingerprint", "files"})
    EXPECT_THAT(message_after([&](json& manifest) { manifest.erase(key); }), HasSubstr(key));
}

TEST(Manifest, EveryNeededFileIsNamed) {
  for (const json& files : {json(nullptr), json(json::array()), json("model"), json(7)})
    EXPECT_THAT(message_after([&](json& manifest) { manifest["files"] = files; }),
                HasSubstr("expected an object of file names"));
  EXPECT_THAT(message_after([](json& manifest) { manifest["files"] = json::object(); }),
              HasSubstr("does not name model.safetensors"));
  for (const char* file : {kModelFile, kTrainingFile, kConfigFile})
    EXPECT_THAT(message_after([&](json& manifest) { manifest["files"].erase(file); }),
                HasSubstr(std::string("does not name ") + file));
  for (const char* file : {kItemTableFile, kItemTableTrainingFile, kItemTableChangesFile})
    EXPECT_THAT(message_after([&](json& manifest) {
                  manifest["files"][file] = {{"bytes", 1}, {"xxh3", "0123456789abcdef"}};
                }),
                HasSubstr("does not name item_table"));
}

TEST(Manifest, NamesAreThoseOfFilesBesideIt) {
  for (const std::string name : {"/etc/passwd", "../model.safetensors", "..", ".", "", "a/b",
                                 ".hidden", "MANIFEST.json", "bell\a", "line\nbreak", "two words"})
    EXPECT_THAT(message_after([&](json& manifest) {
                  manifest["files"][name] = {{"bytes", 1}, {"xxh3", "0123456789abcdef"}};
                }),
                HasSubstr("expected names of files beside the manifest"))
        << name;
}

TEST(Manifest, SizesAndChecksumsOfFilesArePossible) {
  const auto message = [](const json& entry) {
    return message_after([&](json& manifest) { manifest["files"][kModelFile] = entry; });
  };
  EXPECT_THAT(message({{"bytes", -1}, {"xxh3", "0123456789abcdef"}}), HasSubstr("bytes"));
  EXPECT_THAT(message({{"bytes", 1e18}, {"xxh3", "0123456789abcdef"}}), HasSubstr("bytes"));
  EXPECT_THAT(message(json::object({{"bytes", 1}})), HasSubstr("xxh3"));
  EXPECT_THAT(message({{"bytes", 1}, {"xxh3", 5}}), HasSubstr("expected a string"));
  EXPECT_THAT(message({{"bytes", 1}, {"xxh3", "0123"}}), HasSubstr("16 hexadecimal digits"));
  EXPECT_THAT(message({{"bytes", 1}, {"xxh3", "0123456789ABCDEF"}}), HasSubstr("hexadecimal"));
  EXPECT_THAT(message(nullptr), HasSubstr("model.safetensors"));
}

TEST(Manifest, WhatIsPrintedOfItIsShortAndHasNoControlCharacters) {
  const std::string long_text = std::string(100'000, 'x') + "\x1b[2J";
  const std::string message =
      message_after([&](json& manifest) { manifest["step"] = "\x1b[2J" + long_text; });
  EXPECT_LT(message.size(), 300U);
  EXPECT_EQ(message.find('\x1b'), std::string::npos);
}

TEST(Manifest, DeepNestingIsRefusedAtOnce) {
  std::string text = manifest_text(some_info());
  text.insert(text.find("\"files\""), "\"x\": " + std::string(200'000, '[') + ",");
  EXPECT_THAT(message_for(text), HasSubstr("nested"));
  EXPECT_THAT(message_for(std::string(200'000, '{')), HasSubstr("MANIFEST.json"));
}

}  // namespace
}  // namespace pinnerformer
