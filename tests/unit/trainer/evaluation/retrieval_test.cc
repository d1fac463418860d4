// Ranks and best items against a plain reference that scores and sorts everything one by one.
#include "trainer/evaluation/retrieval.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <set>

#include "dataloader/base/random.h"

namespace pinnerformer {
namespace {

using testing::ElementsAre;

// Small whole numbers: scores are exact in float32 and ties are everywhere.
torch::Tensor whole_number_vectors(int64_t rows, int64_t width, int64_t key) {
  KeyedRandom random(RandomStream::kEvaluation, {key});
  torch::Tensor vectors = torch::empty({rows, width});
  for (int64_t i = 0; i < vectors.numel(); ++i) {
    vectors.mutable_data_ptr<float>()[i] = static_cast<float>(random.below(5) - 2);
  }
  return vectors;
}

float score_of(const torch::Tensor& queries, int64_t row, const torch::Tensor& items,
               int32_t item) {
  float score = 0;
  for (int64_t i = 0; i < items.size(1); ++i) {
    score += queries[row][i].item<float>() * items[item][i].item<float>();
  }
  return score;
}

bool holds(std::span<const int32_t> list, int32_t item) {
  return std::find(list.begin(), list.end(), item) != list.end();
}

// The definitions of RetrievalAnswer, word for word; `row` is the query's first.
struct Reference {
  const torch::Tensor& queries;
  const torch::Tensor& items;
  const CandidateIndex& index;

  [[nodiscard]] double rank(const RetrievalQuery& query, int64_t row, int32_t target) const {
    int64_t best = row;
    for (int64_t v = row; v < row + query.vectors; ++v) {
      if (score_of(queries, v, items, target) > score_of(queries, best, items, target)) best = v;
    }
    const float own = score_of(queries, best, items, target);
    double rank = 0;
    for (const int32_t item : index.items()) {
      if (item == target || holds(query.positives, item) || holds(query.seen, item)) continue;
      const float score = score_of(queries, best, items, item);
      rank += score > own ? 1 : score == own ? 0.5 : 0;
    }
    return rank;
  }

  [[nodiscard]] std::vector<int32_t> list(const RetrievalQuery& query, int64_t row) const {
    std::vector<int32_t> found;
    for (const int32_t item : index.items()) {
      if (!holds(query.seen, item)) found.push_back(item);
    }
    std::stable_sort(found.begin(), found.end(), [&](int32_t a, int32_t b) {
      return score_of(queries, row, items, a) > score_of(queries, row, items, b);
    });
    return found;
  }
};

// Queries with 0 to 3 seen items and 1 to 3 positives, all of them targets.
struct RandomQueries {
  std::vector<std::vector<int32_t>> seen;
  std::vector<std::vector<int32_t>> positives;
  std::vector<RetrievalQuery> queries;
  int64_t rows = 0;

  RandomQueries(int64_t count, int64_t items, int64_t vectors) {
    KeyedRandom random(RandomStream::kEvaluation, {99});
    for (int64_t q = 0; q < count; ++q) {
      std::set<int32_t> drawn;
      const auto draw = [&](int64_t n) {
        std::vector<int32_t> list;
        while (static_cast<int64_t>(list.size()) < n) {
          const auto item = static_cast<int32_t>(random.below(items));
          if (drawn.insert(item).second) list.push_back(item);
        }
        return list;
      };
      seen.push_back(draw(random.below(4)));
      positives.push_back(draw(1 + random.below(3)));
    }
    for (size_t q = 0; q < seen.size(); ++q) {
      const int64_t own = vectors == 1 ? 1 : 1 + static_cast<int64_t>(q) % vectors;
      rows += own;
      queries.push_back(
          {.vectors = own, .targets = positives[q], .positives = positives[q], .seen = seen[q]});
    }
  }
};

void expect_reference(int64_t index_items, int64_t block_bytes, int64_t vectors) {
  constexpr int64_t kItems = 40;
  const torch::Tensor items = whole_number_vectors(kItems, 4, 1);
  const CandidateIndex index(kItems, index_items, /*seed=*/5);
  const RandomQueries random(/*count=*/23, kItems, vectors);
  const torch::Tensor queries = whole_number_vectors(random.rows, 4, 2);
  const auto answers =
      Retriever(items, index, block_bytes).answer(queries, random.queries, /*top_k=*/7);
  const Reference reference{queries, items, index};
  int64_t row = 0;
  for (size_t q = 0; q < random.queries.size(); ++q) {
    const RetrievalQuery& query = random.queries[q];
    for (size_t t = 0; t < query.targets.size(); ++t) {
      EXPECT_EQ(answers[q].ranks[t], reference.rank(query, row, query.targets[t])) << q;
    }
    if (query.vectors == 1) {
      std::vector<int32_t> list = reference.list(query, row);
      list.resize(std::min<size_t>(7, list.size()));
      EXPECT_EQ(answers[q].top, list) << q;
    }
    row += query.vectors;
  }
}

TEST(RetrievalTest, AllItemsInOneBlock) { expect_reference(0, 1 << 20, 1); }
TEST(RetrievalTest, AllItemsInBlocksOfOneQuery) { expect_reference(0, 1, 1); }
TEST(RetrievalTest, AllItemsInUnevenBlocks) { expect_reference(0, 5 * 40 * 4, 1); }
TEST(RetrievalTest, SampledIndexRanksTargetsOutsideIt) { expect_reference(15, 1 << 20, 1); }
TEST(RetrievalTest, SampledIndexInBlocks) { expect_reference(15, 3 * 15 * 4, 1); }
TEST(RetrievalTest, IndexSmallerThanTheLists) { expect_reference(4, 1 << 20, 1); }
TEST(RetrievalTest, OracleAmongSeveralVectors) { expect_reference(0, 7 * 40 * 4, 4); }
TEST(RetrievalTest, OracleInASampledIndex) { expect_reference(15, 1, 4); }

// The score of every item is its largest, as if a query's vectors were one with these scores; the
// nearest vector of the target alone would give better ranks.
TEST(RetrievalTest, TheLargestScoreOfSeveralVectorsCountsForEveryItem) {
  constexpr int64_t kItems = 40, kVectors = 3;
  const torch::Tensor items = whole_number_vectors(kItems, 4, 1);
  const RandomQueries random(/*count=*/23, kItems, /*vectors=*/1);
  const torch::Tensor vectors = whole_number_vectors(random.rows * kVectors, 4, 2);
  const torch::Tensor queries = vectors.view({random.rows, kVectors, 4});
  torch::Tensor scores = torch::full({random.rows, kItems}, -1e9);
  for (int64_t row = 0; row < random.rows; ++row)
    for (int64_t item = 0; item < kItems; ++item)
      for (int64_t k = 0; k < kVectors; ++k)
        scores[row][item] =
            std::max(scores[row][item].item<float>(),
                     score_of(vectors, row * kVectors + k, items, static_cast<int32_t>(item)));
  for (const int64_t index_items : {0, 15})
    for (const int64_t block_bytes : {1, 5 * 40 * 4, 1 << 20}) {
      const CandidateIndex index(kItems, index_items, /*seed=*/5);
      const auto found = Retriever(items, index, block_bytes).answer(queries, random.queries, 7);
      const auto expected = Retriever({}, index).answer(scores, random.queries, 7);
      for (size_t q = 0; q < found.size(); ++q) {
        EXPECT_EQ(found[q].ranks, expected[q].ranks);
        EXPECT_EQ(found[q].top, expected[q].top);
      }
    }
}

TEST(RetrievalTest, NoVectorIsChosenByWhatWasRight) {
  // By the second vector alone one item is better than item 3; by the largest scores two are.
  const torch::Tensor items =
      torch::tensor({{4.0F, 0.0F}, {3.0F, 0.0F}, {0.0F, 5.0F}, {2.0F, 3.5F}});
  const CandidateIndex index(4, 0, 1);
  const std::vector<int32_t> positives = {3};
  const std::vector<RetrievalQuery> queries = {
      {.vectors = 1, .targets = positives, .positives = positives, .seen = {}}};
  const auto answers = Retriever(items, index).answer(torch::eye(2).unsqueeze(0), queries, 4);
  EXPECT_THAT(answers[0].ranks, ElementsAre(2.0));
  EXPECT_THAT(answers[0].top, ElementsAre(2, 0, 3, 1));
}

TEST(RetrievalTest, WithoutItemVectorsAQueryIsTheScoresOfAllItems) {
  constexpr int64_t kItems = 40;
  const RandomQueries random(/*count=*/23, kItems, /*vectors=*/1);
  const torch::Tensor scores = whole_number_vectors(random.rows, kItems, 2);
  for (const int64_t index_items : {0, 15}) {
    const CandidateIndex index(kItems, index_items, /*seed=*/5);
    const auto found = Retriever({}, index).answer(scores, random.queries, 7);
    const auto expected = Retriever(torch::eye(kItems), index).answer(scores, random.queries, 7);
    for (size_t q = 0; q < found.size(); ++q) {
      EXPECT_EQ(found[q].ranks, expected[q].ranks);
      EXPECT_EQ(found[q].top, expected[q].top);
    }
  }
}

TEST(RetrievalTest, TargetsServedSeparatelyStillDoNotCompete) {
  // One query per positive, as in real time: scores 3, 2, 1, 0 of items 0 to 3.
  const torch::Tensor items = torch::tensor({{3.0F}, {2.0F}, {1.0F}, {0.0F}});
  const CandidateIndex index(4, 0, 1);
  const std::vector<int32_t> positives = {0, 2};
  const std::vector<int32_t> target = {2};
  const std::vector<RetrievalQuery> queries = {
      {.vectors = 1, .targets = target, .positives = positives, .seen = {}}};
  const auto answers = Retriever(items, index).answer(torch::ones({1, 1}), queries, 4);
  EXPECT_THAT(answers[0].ranks, ElementsAre(1.0));       // only item 1 is better
  EXPECT_THAT(answers[0].top, ElementsAre(0, 1, 2, 3));  // positives can be retrieved
}

TEST(RetrievalTest, ASeenTargetIsStillRanked) {
  const torch::Tensor items = torch::tensor({{3.0F}, {2.0F}, {1.0F}, {0.0F}});
  const CandidateIndex index(4, 0, 1);
  const std::vector<int32_t> positives = {2};
  const std::vector<int32_t> seen = {0, 2};
  const std::vector<RetrievalQuery> queries = {
      {.vectors = 1, .targets = positives, .positives = positives, .seen = seen}};
  const auto answers = Retriever(items, index).answer(torch::ones({1, 1}), queries, 4);
  EXPECT_THAT(answers[0].ranks, ElementsAre(1.0));
  EXPECT_THAT(answers[0].top, ElementsAre(1, 3));
}

TEST(RetrievalTest, ATargetDoesNotCompeteWithItself) {
  // Not even as a tie where the caller lists no positives.
  const torch::Tensor items = torch::tensor({{3.0F}, {2.0F}, {2.0F}});
  const CandidateIndex index(3, 0, 1);
  const std::vector<int32_t> target = {2};
  const std::vector<RetrievalQuery> queries = {
      {.vectors = 1, .targets = target, .positives = {}, .seen = {}}};
  const auto answers = Retriever(items, index).answer(torch::ones({1, 1}), queries, 1);
  EXPECT_THAT(answers[0].ranks, ElementsAre(1.5));
}

TEST(RetrievalTest, SeveralVectorsAreBlended) {
  const torch::Tensor items =
      torch::tensor({{4.0F, 0.0F}, {3.0F, 0.0F}, {0.0F, 4.0F}, {2.0F, 3.0F}});
  const CandidateIndex index(4, 0, 1);
  const std::vector<int32_t> positives = {3};
  const std::vector<RetrievalQuery> queries = {
      {.vectors = 2, .targets = positives, .positives = positives, .seen = {}}};
  const auto answers = Retriever(items, index).answer(torch::eye(2), queries, 3);
  EXPECT_THAT(answers[0].top, ElementsAre(0, 2, 1));
  EXPECT_THAT(answers[0].ranks, ElementsAre(1.0));  // the second vector is nearer to item 3
}

TEST(RetrievalTest, NotANumberIsRefused) {
  const torch::Tensor items = torch::ones({3, 2});
  const CandidateIndex index(3, 0, 1);
  const std::vector<int32_t> target = {1};
  const std::vector<RetrievalQuery> queries = {
      {.vectors = 1, .targets = target, .positives = target, .seen = {}}};
  const torch::Tensor broken = torch::full({1, 2}, std::numeric_limits<float>::quiet_NaN());
  EXPECT_THROW(static_cast<void>(Retriever(items, index).answer(broken, queries, 1)),
               std::runtime_error);
  EXPECT_THROW(Retriever(items / 0.0, index), std::runtime_error);
}

TEST(RetrievalTest, SampledIndexIsAFunctionOfTheSeed) {
  const CandidateIndex one(1000, 100, 7);
  const CandidateIndex same(1000, 100, 7);
  const CandidateIndex other(1000, 100, 8);
  EXPECT_EQ(one.items(), same.items());
  EXPECT_NE(one.items(), other.items());
  EXPECT_EQ(one.size(), 100);
  EXPECT_TRUE(std::is_sorted(one.items().begin(), one.items().end()));
  EXPECT_EQ(std::set<int32_t>(one.items().begin(), one.items().end()).size(), 100U);
  for (int32_t item = 0; item < 1000; ++item) {
    const int64_t column = one.column(item);
    if (column >= 0) {
      EXPECT_EQ(one.items()[static_cast<size_t>(column)], item);
    }
    EXPECT_EQ(column >= 0, holds(one.items(), item));
  }
  EXPECT_EQ(CandidateIndex(10, 0, 1).size(), 10);
  EXPECT_EQ(CandidateIndex(10, 50, 1).size(), 10);
}

}  // namespace
}  // namespace pinnerformer
