// Events come from keyed draws: the dataset is the same in every test and on every machine.
#include "tests/support/tiny_dataset.h"

#include <torch/types.h>

#include "dataloader/base/random.h"
#include "dataloader/sampling/positives.h"
#include "dataloader/vectors/semantic_ids.h"
#include "tests/support/dataset_fixture.h"

namespace pinnerformer {

std::string write_tiny_dataset(const std::string& directory, int64_t users, bool vectors,
                               bool topics) {
  std::vector<EventRow> rows;
  for (int64_t user = 0; user < users; ++user) {
    KeyedRandom random(RandomStream::kSynth, {77, user});
    const int64_t events = 1 + random.below(14);
    const bool never_saves = user % 11 == 3;
    int64_t time = 1'600'000'000 + random.below(10 * kDay);
    for (int64_t i = 0; i < events; ++i) {
      EventRow row;
      row.user = 500 + user;
      row.item = random.below(kTinyItems);
      row.action = never_saves || random.below(3) == 0 ? "view" : "save";
      row.surface = random.below(2) == 0 ? "home" : "search";
      row.time = time;
      if (random.below(4) != 0) row.duration = static_cast<float>(random.below(60));
      rows.push_back(row);
      time += random.below(4) == 0 ? 0 : random.below(4 * kDay);
    }
  }
  FixtureItems items;
  items.count = kTinyItems;
  if (vectors)
    items.vectors =
        torch::sin(torch::arange(kTinyItems * 8, torch::kFloat32) * 1.7).view({kTinyItems, 8});
  for (int32_t item = 0; topics && item < kTinyItems; ++item)
    items.topics.push_back(item % 7 == 0 ? -1 : item % 4);
  return write_dataset(directory, rows, items);
}

void add_tiny_codes(const std::string& dataset) {
  constexpr int64_t kLevels = 2, kCodes = 5;
  const Dataset opened = Dataset::open(dataset);
  CodebookOptions options;
  options.levels = kLevels;
  options.codes = kCodes;
  const torch::Tensor codebooks = learn_codebooks(opened.item_vectors(), options);
  attach_semantic_ids(dataset, assign_codes(opened.item_vectors(), codebooks, kLevels).ids);
}

MarkPositives saves_are_positive(const Dataset& dataset) {
  PositiveOptions options;
  options.actions = {"save"};
  return [rule = PositiveRule(options, dataset)](const Timeline& t) { return rule.mark(t); };
}

UserSet all_users(const Dataset& dataset) {
  UserSet users;
  for (int64_t user = 0; user < dataset.users(); ++user) users.add(user);
  return users;
}

}  // namespace pinnerformer
