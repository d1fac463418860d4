// Best columns of a score matrix against a full sort, with ties at every place; blending of lists.
#include "trainer/evaluation/top_items.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <numeric>

#include "dataloader/base/random.h"

namespace pinnerformer {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

constexpr float kOut = -std::numeric_limits<float>::infinity();

std::vector<int64_t> sorted_columns(const std::vector<float>& row, size_t k) {
  std::vector<int64_t> columns(row.size());
  std::iota(columns.begin(), columns.end(), int64_t{0});
  std::stable_sort(columns.begin(), columns.end(), [&](int64_t a, int64_t b) {
    return row[static_cast<size_t>(a)] > row[static_cast<size_t>(b)];
  });
  std::erase_if(columns, [&](int64_t c) { return row[static_cast<size_t>(c)] == kOut; });
  columns.resize(std::min(columns.size(), k));
  return columns;
}

TEST(TopItemsTest, EqualsAFullSortWithManyTies) {
  KeyedRandom random(RandomStream::kEvaluation, {1});
  for (const int64_t columns : {1, 5, 40, 300}) {
    for (const int64_t k : {1, 10, 50}) {
      torch::Tensor scores = torch::empty({8, columns});
      for (int64_t i = 0; i < scores.numel(); ++i) {
        const int64_t draw = random.below(6);
        scores.mutable_data_ptr<float>()[i] = draw == 0 ? kOut : static_cast<float>(draw);
      }
      const auto found = top_columns(scores, k);
      for (int64_t row = 0; row < 8; ++row) {
        const float* begin = scores.const_data_ptr<float>() + row * columns;
        EXPECT_EQ(found[static_cast<size_t>(row)],
                  sorted_columns({begin, begin + columns}, static_cast<size_t>(k)))
            << columns << " columns, k " << k << ", row " << row;
      }
    }
  }
}

TEST(TopItemsTest, NothingLeftGivesAnEmptyList) {
  EXPECT_THAT(top_columns(torch::full({1, 4}, kOut), 2), ElementsAre(IsEmpty()));
}

TEST(TopItemsTest, ListsTakeTurnsAndSkipWhatIsThere) {
  EXPECT_THAT(round_robin({{1, 2, 3}, {2, 1, 4}, {9}}, 10), ElementsAre(1, 2, 9, 3, 4));
  EXPECT_THAT(round_robin({{1, 2, 3}, {2, 1, 4}, {9}}, 2), ElementsAre(1, 2));
  EXPECT_THAT(round_robin({{5, 6}}, 5), ElementsAre(5, 6));
  EXPECT_THAT(round_robin({{}, {}}, 5), IsEmpty());
}

}  // namespace
}  // namespace pinnerformer
