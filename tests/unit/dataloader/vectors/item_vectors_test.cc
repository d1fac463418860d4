// Vectors from co-occurrence: the exact decomposition of a stored matrix is the reference, and
// neither the future nor parts nor memory change anything.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

#include "dataloader/base/errors.h"
#include "dataloader/base/random.h"
#include "dataloader/inspect/dataset_validate.h"
#include "dataloader/vectors/co_occurrence_vectors.h"
#include "dataloader/vectors/item_vectors_file.h"
#include "dataloader/vectors/ppmi.h"
#include "tests/support/dataset_fixture.h"
#include "tests/support/message_of.h"

namespace pinnerformer {
namespace {

using testing::HasSubstr;

constexpr int64_t kBefore = 1000;
constexpr int64_t kItems = 60;
constexpr int64_t kTopics = 6;

// Users with one or two topics of ten items each, some other items, and a future that has nothing
// to do with it.
std::vector<EventRow> topical_events(bool with_future) {
  std::vector<EventRow> rows;
  for (int64_t user = 0; user < 300; ++user) {
    KeyedRandom random(RandomStream::kProjection, {user});
    const int64_t topic = random.below(kTopics);
    for (int64_t i = 0; i < 8; ++i) {
      const int64_t item = random.uniform() < 0.2
                               ? random.below(kItems)
                               : topic + kTopics * random.below(kItems / kTopics);
      rows.push_back({.user = user, .item = item, .time = random.below(kBefore)});
    }
    if (!with_future) continue;
    rows.push_back({.user = user, .item = random.below(kItems), .time = kBefore});
    rows.push_back({.user = user, .item = kItems, .time = kBefore + 1});
  }
  return rows;
}

class ItemVectorsTest : public testing::Test {
 protected:
  ItemVectorsTest() {
    options_.counting.before = kBefore;
    options_.dimension = kTopics;
  }

  // Items 0 to 61; number 60 is in the future only.
  ItemVectors make(const std::vector<EventRow>& rows, int64_t part_events = 1 << 20) {
    const TemporaryDirectory directory;
    options_.counting.temporary_prefix = directory / "pairs-";
    FixtureItems items;
    items.count = kItems + 2;
    const Dataset dataset =
        Dataset::open(write_dataset(directory.path(), rows, items, part_events));
    return make_co_occurrence_vectors(dataset, options_, {});
  }

  CoOccurrenceVectorsOptions options_;
};

torch::Tensor gram(const torch::Tensor& vectors) {
  const torch::Tensor values = vectors.to(torch::kFloat64);
  return values.mm(values.t());
}

TEST_F(ItemVectorsTest, EqualTheExactDecomposition) {
  const TemporaryDirectory directory;
  const Dataset dataset = Dataset::open(write_dataset(directory.path(), topical_events(false)));
  options_.counting.temporary_prefix = directory / "pairs-";
  const CoOccurrence counts = count_co_occurrence(dataset, options_.counting, {});
  ASSERT_EQ(counts.items.size(), kItems);
  const PpmiMatrix matrix(counts, options_.smoothing);
  const torch::Tensor dense = matrix.times(torch::eye(kItems)).to(torch::kFloat64);
  const auto [u, s, vt] = torch::linalg_svd(dense);
  // The subspace of the reference is well defined, or the comparison would mean nothing.
  ASSERT_GT((s[kTopics - 1] / s[kTopics]).item<double>(), 1.2);
  const torch::Tensor rows = u.narrow(1, 0, kTopics) * s.narrow(0, 0, kTopics).sqrt();
  const torch::Tensor expected = torch::nn::functional::normalize(rows);

  const ItemVectors made = make_co_occurrence_vectors(dataset, options_, {});
  EXPECT_LT((gram(made.vectors) - gram(expected)).abs().max().item<double>(), 2e-3);  // float16
  const torch::Tensor values = made.singular_values.to(torch::kFloat64);
  EXPECT_LT((values / s.narrow(0, 0, kTopics) - 1).abs().max().item<double>(), 1e-3);
}

TEST_F(ItemVectorsTest, ItemsOfATopicLieClose) {
  const ItemVectors made = make(topical_events(false));
  const torch::Tensor products = gram(made.vectors);
  double within = 0;
  double across = 0;
  for (int64_t a = 0; a < kItems; ++a) {
    for (int64_t b = 0; b < a; ++b) {
      (a % kTopics == b % kTopics ? within : across) += products[a][b].item<double>();
    }
  }
  EXPECT_GT(within / (kTopics * 45), 0.8);  // 45 pairs within each topic
  EXPECT_LT(across / (15 * 100), 0.3);      // 15 pairs of topics, 100 pairs of items each
  EXPECT_EQ(made.vectors.scalar_type(), torch::kFloat16);
  EXPECT_LT((products.diagonal() - 1).abs().max().item<double>(), 2e-3);
}

TEST_F(ItemVectorsTest, TheFutureChangesNothing) {
  const ItemVectors without = make(topical_events(false));
  const ItemVectors with = make(topical_events(true));
  EXPECT_TRUE(torch::equal(without.vectors, with.vectors));
  EXPECT_EQ(without.ids.numbers(), with.ids.numbers());
  EXPECT_EQ(with.statistics.events_kept_out, 600);
  options_.counting.before = kBefore + 1;  // the planted events can be seen at all
  EXPECT_FALSE(torch::equal(make(topical_events(true)).vectors, with.vectors));
}

TEST_F(ItemVectorsTest, PartsAndMemoryChangeNothing) {
  const std::vector<EventRow> rows = topical_events(true);
  const ItemVectors one = make(rows);
  EXPECT_TRUE(torch::equal(make(rows, 100).vectors, one.vectors)) << "parts";
  options_.counting.memory_bytes = 800;
  EXPECT_TRUE(torch::equal(make(rows).vectors, one.vectors)) << "memory";
}

TEST_F(ItemVectorsTest, AnotherSeedFindsTheSameSubspace) {
  const ItemVectors one = make(topical_events(false));
  options_.seed = 2;
  EXPECT_LT(
      (gram(make(topical_events(false)).vectors) - gram(one.vectors)).abs().max().item<double>(),
      2e-3);
}

TEST_F(ItemVectorsTest, ItemsThatOccurAloneHaveNoVector) {
  std::vector<EventRow> rows = topical_events(false);
  rows.push_back({.user = 1000, .item = kItems, .time = 5});
  const ItemVectors made = make(rows);
  EXPECT_EQ(made.ids.size(), kItems);
  EXPECT_EQ(made.ids.number(kItems - 1), kItems - 1);
}

TEST_F(ItemVectorsTest, ItemsOutsideOfTheTruncatedSpaceHaveNoVector) {
  std::vector<EventRow> rows = topical_events(false);
  for (const int64_t item : {kItems, kItems + 1}) {  // they share a user with nobody else
    rows.push_back({.user = 1000, .item = item, .time = 5});
  }
  EXPECT_EQ(make(rows).ids.size(), kItems);
  options_.dimension = kTopics + 2;  // room for the two directions of the pair
  const ItemVectors made = make(rows);
  EXPECT_EQ(made.ids.size(), kItems + 2);
  EXPECT_LT((gram(made.vectors).diagonal() - 1).abs().max().item<double>(), 2e-3);
}

TEST_F(ItemVectorsTest, TheRecipeSaysWhatTheyDependOn) {
  options_.counting.leave_out = 2;
  const std::string recipe = make(topical_events(false)).recipe;
  for (const char* part : {"second 1000", "1970-01-01T00:16:40Z", "last 2", "0.75", "SVD 6"}) {
    EXPECT_THAT(recipe, HasSubstr(part));
  }
}

TEST_F(ItemVectorsTest, MoreDimensionsThanItemsAreAnError) {
  options_.dimension = kItems + 1;
  EXPECT_THAT(message_of<DataError>([&] { make(topical_events(false)); }),
              testing::AllOf(HasSubstr("61"), HasSubstr("60 items"), HasSubstr("dimension")));
  options_.dimension = kItems;
  EXPECT_EQ(make(topical_events(false)).vectors.size(1), kItems);
}

TEST_F(ItemVectorsTest, UsersWithOneItemEachAreAnError) {
  options_.dimension = 2;
  EXPECT_THAT(message_of<DataError>([&] {
                make({{.user = 1, .item = 1, .time = 1}, {.user = 2, .item = 2, .time = 1}});
              }),
              HasSubstr("no two items"));
}

TEST_F(ItemVectorsTest, AttachingReplacesTheVectorsOfADataset) {
  const ItemVectors made = make(topical_events(false));
  const TemporaryDirectory directory;
  // Items 0 to 69, of which the last ten get no vector.
  std::vector<EventRow> rows;
  for (int64_t item = 30; item < 70; ++item) rows.push_back({.user = item % 7, .item = item});
  FixtureItems items;
  items.count = 70;
  items.vectors = torch::ones({70, 3});
  const std::string path = write_dataset(directory.path(), rows, items, /*part_events=*/10);
  const std::string before = Dataset::open(path).fingerprint();
  EXPECT_EQ(attach_item_vectors(path + "/", made), kItems);

  validate_dataset(path);
  const Dataset dataset = Dataset::open(path);
  EXPECT_NE(dataset.fingerprint(), before);
  EXPECT_EQ(dataset.vector_width(), kTopics);
  EXPECT_TRUE(torch::equal(dataset.item_vectors().narrow(0, 0, kItems), made.vectors));
  EXPECT_EQ(dataset.item_vectors().narrow(0, kItems, 10).abs().max().item<float>(), 0);
  EXPECT_EQ(dataset.events(), 40);
}

TEST_F(ItemVectorsTest, AttachingToForeignItemsIsAnErrorAndChangesNothing) {
  ItemVectors made = make(topical_events(false));
  made.ids = IdColumn(true);
  for (int64_t i = 0; i < kItems; ++i) made.ids.push_back(1000 + i);
  const TemporaryDirectory directory;
  const std::string path = write_dataset(directory.path(), topical_events(false));
  const std::string before = Dataset::open(path).fingerprint();
  EXPECT_THAT(message_of<DataError>([&] { attach_item_vectors(path, made); }), HasSubstr("1000"));
  EXPECT_EQ(Dataset::open(path).fingerprint(), before);
  EXPECT_EQ(validate_dataset(path).fingerprint, before);
}

}  // namespace
}  // namespace pinnerformer
