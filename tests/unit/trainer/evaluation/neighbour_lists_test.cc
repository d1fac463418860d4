// The strongest neighbours are kept, whatever the order in which they came.
#include "trainer/evaluation/neighbour_lists.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace pinnerformer {
namespace {

std::vector<int32_t> items_kept(int32_t step) {
  NeighbourLists lists(2);
  // 101 is prime: every number below it comes once. Weights 0, 0, 1, 1, ... by item.
  for (int32_t i = 0; i < 101; ++i) {
    const int32_t item = i * step % 101;
    lists.add(1, {.item = item, .weight = static_cast<float>(item / 2)}, 4);
  }
  lists.trim(4);
  EXPECT_TRUE(lists.of(0).empty());
  std::vector<int32_t> items;
  for (const Neighbour& neighbour : lists.of(1)) items.push_back(neighbour.item);
  return items;
}

TEST(NeighbourListsTest, TheStrongestStayAndTiesGoByRow) {
  for (const int32_t step : {1, 7, 100})
    EXPECT_THAT(items_kept(step), testing::ElementsAre(100, 98, 99, 96)) << step;
}

TEST(NeighbourListsTest, TheBoundKeepsSmallCataloguesWhole) {
  EXPECT_EQ(most_neighbours(4096), 4096);
  EXPECT_EQ(most_neighbours(1 << 20), 50);
}

}  // namespace
}  // namespace pinnerformer
