// Unique values against a map.
#include "trainer/items/unique.h"

#include <gtest/gtest.h>

#include <map>

#include "dataloader/base/random.h"

namespace pinnerformer {
namespace {

void expect_distinct(const std::vector<int64_t>& list) {
  const Unique found = unique(list);
  std::map<int64_t, int64_t> position_of;
  std::vector<int64_t> values, positions;
  for (const int64_t value : list) {
    const auto [at, is_new] = position_of.emplace(value, std::ssize(values));
    if (is_new) values.push_back(value);
    positions.push_back(at->second);
  }
  EXPECT_EQ(found.values, values);
  EXPECT_EQ(found.position, positions);
}

TEST(Unique, SmallLists) {
  expect_distinct({});
  expect_distinct({7});
  expect_distinct({3, 3, 3});
  expect_distinct({5, 0, 5, INT64_MAX, 0, 1, INT64_MAX});
}

TEST(Unique, ManyValuesWithAndWithoutRepeats) {
  for (const int64_t range : {10, 3000, 1'000'000'000}) {
    KeyedRandom random(RandomStream::kSynth, {range});
    std::vector<int64_t> list;
    for (int i = 0; i < 5000; ++i) list.push_back(random.below(range) * 4096);  // equal low bits
    expect_distinct(list);
  }
}

}  // namespace
}  // namespace pinnerformer
