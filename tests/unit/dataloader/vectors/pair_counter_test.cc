// The external sort: the same counts as a map, however little memory there is.
#include "dataloader/vectors/pair_counter.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <utility>

#include "dataloader/base/random.h"
#include "tests/support/dataset_fixture.h"

namespace pinnerformer {
namespace {

using Counts = std::map<std::pair<uint32_t, uint32_t>, uint32_t>;

std::vector<std::pair<uint32_t, uint32_t>> random_pairs(int64_t count) {
  KeyedRandom random(RandomStream::kProjection, {count});
  std::vector<std::pair<uint32_t, uint32_t>> pairs;
  while (std::ssize(pairs) < count) {
    const auto a = static_cast<uint32_t>(random.below(30));
    const auto b = static_cast<uint32_t>(random.below(30));
    if (a != b) pairs.emplace_back(a, b);
  }
  return pairs;
}

TEST(PairCounter, CountsLikeAMapInAnyMemory) {
  const auto pairs = random_pairs(2000);
  Counts expected;
  for (const auto& [a, b] : pairs) ++expected[{std::min(a, b), std::max(a, b)}];
  // 24 bytes are three pairs: 667 runs, so that runs are merged again and again.
  for (const int64_t memory : {int64_t{1}, int64_t{24}, int64_t{8000}, int64_t{1} << 20}) {
    const TemporaryDirectory directory;
    PairCounter counter(directory / "pairs-", memory);
    for (const auto& [a, b] : pairs) counter.add(a, b);
    EXPECT_EQ(counter.added(), 2000);
    const PairFile counted = counter.finish();
    EXPECT_EQ(counted.size(), std::ssize(expected)) << memory;
    auto next = expected.begin();
    counted.visit([&](const PairCount& pair) {
      ASSERT_NE(next, expected.end());
      EXPECT_EQ(std::pair(pair.row, pair.column), next->first);
      EXPECT_EQ(pair.count, next->second);
      ++next;
    });
    EXPECT_EQ(next, expected.end());
    EXPECT_TRUE(std::filesystem::is_empty(directory.path())) << "a temporary file has a name";
  }
}

TEST(PairCounter, NoPairs) {
  const TemporaryDirectory directory;
  PairCounter counter(directory / "pairs-", 1024);
  const PairFile counted = counter.finish();
  EXPECT_EQ(counted.size(), 0);
  counted.visit([](const PairCount&) { FAIL(); });
}

}  // namespace
}  // namespace pinnerformer
