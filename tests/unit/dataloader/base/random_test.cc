// Shuffles reach every order, normal draws have the right moments, keys decide alone.
#include "dataloader/base/random.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <numeric>
#include <vector>

namespace pinnerformer {
namespace {

using testing::UnorderedElementsAreArray;

std::vector<int64_t> numbers(int64_t count) {
  std::vector<int64_t> values(static_cast<size_t>(count));
  std::iota(values.begin(), values.end(), int64_t{0});
  return values;
}

KeyedRandom stream(int64_t key) { return KeyedRandom(RandomStream::kOrder, {7, key}); }

TEST(RandomTest, ShuffleKeepsTheValuesAndReachesEveryOrder) {
  std::map<std::vector<int64_t>, int64_t> seen;
  for (int64_t key = 0; key < 6000; ++key) {
    std::vector<int64_t> values = numbers(3);
    KeyedRandom random = stream(key);
    shuffle(std::span(values), random);
    EXPECT_THAT(values, UnorderedElementsAreArray(numbers(3)));
    ++seen[values];
  }
  ASSERT_EQ(seen.size(), 6U);
  for (const auto& [order, count] : seen) EXPECT_NEAR(static_cast<double>(count), 1000, 150);
}

TEST(RandomTest, ShuffleFrontDrawsEverySubsetEquallyOften) {
  std::map<std::vector<int64_t>, int64_t> seen;
  for (int64_t key = 0; key < 6000; ++key) {
    std::vector<int64_t> values = numbers(4);
    KeyedRandom random = stream(key);
    shuffle_front(std::span(values), 2, random);
    std::sort(values.begin(), values.begin() + 2);
    ++seen[{values[0], values[1]}];
  }
  ASSERT_EQ(seen.size(), 6U);
  for (const auto& [subset, count] : seen) EXPECT_NEAR(static_cast<double>(count), 1000, 150);
}

TEST(RandomTest, ShufflesDependOnTheKeyAlone) {
  std::vector<int64_t> one = numbers(100), two = numbers(100), other = numbers(100);
  KeyedRandom first = stream(1), again = stream(1), second = stream(2);
  shuffle(std::span(one), first);
  shuffle(std::span(two), again);
  shuffle(std::span(other), second);
  EXPECT_EQ(one, two);
  EXPECT_NE(one, other);
}

TEST(RandomTest, NormalDrawsHaveMeanZeroAndVarianceOne) {
  KeyedRandom random = stream(3);
  double sum = 0, squares = 0;
  constexpr int kDraws = 20000;
  for (int i = 0; i < kDraws; ++i) {
    const double value = random.normal();
    sum += value;
    squares += value * value;
  }
  EXPECT_NEAR(sum / kDraws, 0, 0.03);
  EXPECT_NEAR(squares / kDraws, 1, 0.05);
}

}  // namespace
}  // namespace pinnerformer
