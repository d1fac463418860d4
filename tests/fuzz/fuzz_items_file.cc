// A dataset whose items.h5 has any of its numbers replaced: what opens can be read. The first byte
// of the input chooses integer or string ids; then come the patches.
#include <array>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "dataloader/base/errors.h"
#include "dataloader/dataset/dataset.h"
#include "dataloader/dataset/dataset_writer.h"
#include "tests/fuzz/array_patches.h"
#include "tests/fuzz/scratch_file.h"

using namespace pinnerformer;

namespace {

constexpr int64_t kItems = 6, kWidth = 4;

struct Whole {
  std::string directory;
  std::string items_file;
  std::string bytes;  // of it
  std::vector<ArrayLayout> arrays;
};

ItemColumns columns(bool integer_ids) {
  ItemColumns items{.ids = IdColumn(integer_ids),
                    .titles = std::vector<std::string>(kItems, "a title"),
                    .topics = {0, 1, -1, 0, 1, 0},
                    .topic_names = {"art", "food"}};
  for (int64_t i = 0; i < kItems; ++i) {
    if (integer_ids)
      items.ids.push_back(10 * i);
    else
      items.ids.push_back(std::string_view("item " + std::to_string(i)));
  }
  items.codes.levels = 2;
  for (int32_t i = 0; i < kItems; ++i)
    items.codes.codes.insert(items.codes.codes.end(), {i % 3, 2});
  items.codes.codebooks.assign(size_t{2} * 3 * kWidth, 0.5F);
  return items;
}

Whole make_whole(bool integer_ids) {
  Whole whole;
  whole.directory = scratch_file(integer_ids ? "integers" : "strings");
  DatasetWriter writer({.directory = whole.directory,
                        .overwrite = true,
                        .actions = {"click", "view"},
                        .surfaces = {"home"},
                        .vector_width = kWidth},
                       columns(integer_ids));
  writer.set_vectors(0, std::vector<float>(kItems * kWidth, 1.0F));
  Timeline events;
  for (int64_t i = 0; i < kItems; ++i) {
    events.item.push_back(static_cast<int32_t>(i));
    events.action.push_back(static_cast<int16_t>(i % 2));
    events.surface.push_back(0);
    events.time.push_back(1000 * i);
    events.duration.push_back(1.5F);
  }
  writer.add_user(int64_t{7}, events);
  writer.finish();
  whole.items_file = whole.directory + "/items.h5";
  whole.bytes = read_whole_file(whole.items_file, 1 << 20);
  std::vector<std::string> names = {"/item/vector",          "/item/topic", "/item/semantic_id",
                                    "/semantic_id/codebook", "/part/users", "/part/events",
                                    "/part/fingerprint"};
  if (integer_ids) names.emplace_back("/item/id");
  whole.arrays = arrays_of(whole.items_file, names);
  return whole;
}

void read_everything(const std::string& directory) {
  const Dataset dataset = Dataset::open(directory);
  for (int64_t item = 0; item < dataset.items(); ++item) {
    static_cast<void>(dataset.find_item(dataset.item_id(item)));
    static_cast<void>(dataset.item_hash(item));
    if (dataset.has_titles()) static_cast<void>(dataset.item_title(item));
  }
  for (const int32_t topic : dataset.item_topics())
    if (topic >= 0) static_cast<void>(dataset.topic_names().at(static_cast<size_t>(topic)));
  static_cast<void>(dataset.item_vectors().sum());
  static_cast<void>(dataset.semantic_ids().codebooks.sum());
  const torch::Tensor codes = dataset.semantic_ids().codes;
  if (codes.max().item<int64_t>() >= dataset.semantic_ids().codes_of_level()) std::abort();
  for (int64_t user = 0; user < dataset.users(); ++user) {
    dataset.check_files(user, 1);
    dataset.check(dataset.timeline(user));
    static_cast<void>(dataset.find_user(dataset.user_id(user)));
  }
  static_cast<void>(dataset.newest_times(0, dataset.users()));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const std::array<Whole, 2> wholes = {make_whole(false), make_whole(true)};
  if (size == 0) return 0;
  const Whole& whole = wholes[data[0] & 1];
  const std::string bytes = patched(whole.bytes, whole.arrays, data + 1, size - 1);
  // In the place of the file, as an exchange of vectors does it.
  const std::string beside = whole.directory + "/patched";
  write_scratch(beside, bytes.data(), bytes.size());
  std::filesystem::rename(beside, whole.items_file);
  try {
    read_everything(whole.directory);
  } catch (const DataError&) {
  } catch (const IoError&) {
  }
  return 0;
}
