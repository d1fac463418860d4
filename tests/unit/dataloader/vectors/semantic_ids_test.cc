// Codes against plain loops, and what stands in the file of a dataset.
#include "dataloader/vectors/semantic_ids.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <set>

#include "dataloader/base/errors.h"
#include "dataloader/dataset/dataset.h"
#include "dataloader/dataset/dataset_format.h"
#include "dataloader/hdf5/h5_file.h"
#include "dataloader/inspect/dataset_summary.h"
#include "dataloader/inspect/dataset_validate.h"
#include "tests/support/dataset_fixture.h"
#include "tests/support/message_of.h"

namespace pinnerformer {
namespace {

using testing::Each;
using testing::HasSubstr;

constexpr int64_t kCoded = 400, kNumbers = 8, kGroups = 4;

// Directions of kGroups groups with four directions each around them, and a little noise.
torch::Tensor grouped_vectors() {
  torch::manual_seed(2);
  const torch::Tensor group = torch::arange(kCoded) % kGroups;
  const torch::Tensor part = torch::arange(kCoded).floor_divide(kGroups) % 4;
  return torch::eye(kNumbers).index_select(0, group) * 2 +
         torch::eye(kNumbers).index_select(0, part + 4) * 0.5 +
         torch::randn({kCoded, kNumbers}) * 0.01;
}

CodebookOptions small_options() {
  CodebookOptions options;
  options.levels = 2;
  options.codes = 4;
  return options;
}

// The nearest centre by loops over doubles, at each level to what is left.
std::vector<int64_t> plain_codes(const torch::Tensor& vector, const torch::Tensor& codebooks,
                                 int64_t levels) {
  torch::Tensor rest = vector.to(torch::kFloat64) / vector.to(torch::kFloat64).norm();
  const int64_t codes = codebooks.size(0) / levels;
  std::vector<int64_t> found;
  for (int64_t level = 0; level < levels; ++level) {
    int64_t best = 0;
    double least = std::numeric_limits<double>::infinity();
    for (int64_t code = 0; code < codes; ++code) {
      const torch::Tensor centre = codebooks[level * codes + code].to(torch::kFloat64);
      const double distance = (rest - centre).square().sum().item<double>();
      if (distance < least) best = code, least = distance;
    }
    rest = rest - codebooks[level * codes + best];
    found.push_back(best);
  }
  return found;
}

TEST(SemanticIds, CodesAreTheNearestCentres) {
  const torch::Tensor vectors = grouped_vectors();
  torch::manual_seed(7);
  const torch::Tensor codebooks = torch::randn({3 * 5, kNumbers});
  const SemanticIds ids = assign_codes(vectors, codebooks, 3).ids;
  ASSERT_EQ(ids.codes.sizes(), (std::vector<int64_t>{kCoded, 3}));
  for (int64_t item = 0; item < kCoded; ++item) {
    const std::vector<int64_t> expected = plain_codes(vectors[item], codebooks, 3);
    for (int64_t level = 0; level < 3; ++level)
      EXPECT_EQ(ids.codes[item][level].item<int64_t>(), expected[static_cast<size_t>(level)]);
  }
}

TEST(SemanticIds, LevelsFindGroupsAndThenTheirParts) {
  const torch::Tensor vectors = grouped_vectors();
  const auto [ids, coded, distinct, left] =
      assign_codes(vectors, learn_codebooks(vectors, small_options()), 2);
  std::set<std::pair<int64_t, int64_t>> of_groups, all;
  for (int64_t item = 0; item < kCoded; ++item) {
    const auto first = ids.codes[item][0].item<int64_t>();
    of_groups.insert({item % kGroups, first});
    all.insert({first, ids.codes[item][1].item<int64_t>()});
  }
  EXPECT_EQ(of_groups.size(), 4U) << "the first code is the group";
  EXPECT_EQ(coded, kCoded);
  EXPECT_EQ(distinct, std::ssize(all));
  EXPECT_LT(left[0], 0.1);
  EXPECT_LT(left[1], 0.3 * left[0]);
}

TEST(SemanticIds, AreAFunctionOfTheSeed) {
  const torch::Tensor vectors = grouped_vectors();
  CodebookOptions options = small_options();
  options.most_vectors = 300;
  const torch::Tensor one = learn_codebooks(vectors, options);
  EXPECT_TRUE(torch::equal(learn_codebooks(vectors, options), one));
  options.seed = 2;
  EXPECT_FALSE(torch::equal(learn_codebooks(vectors, options), one));
}

TEST(SemanticIds, LengthDoesNotMatterAndZerosHaveNoCode) {
  const torch::Tensor vectors = grouped_vectors();
  const torch::Tensor codebooks = learn_codebooks(vectors, small_options());
  torch::Tensor longer = vectors * 7;
  longer[3].zero_();
  const SemanticIds ids = assign_codes(vectors, codebooks, 2).ids;
  const AssignedCodes found = assign_codes(longer, codebooks, 2);
  EXPECT_EQ(found.coded, kCoded - 1);
  EXPECT_TRUE(found.ids.codes[3].eq(-1).all().item<bool>());
  EXPECT_TRUE(
      torch::equal(found.ids.codes.narrow(0, 4, kCoded - 4), ids.codes.narrow(0, 4, kCoded - 4)));
  const AssignedCodes none = assign_codes(torch::zeros_like(vectors), codebooks, 2);
  EXPECT_EQ(none.coded, 0);
  EXPECT_EQ(none.distinct, 0);
  EXPECT_THAT(none.left, Each(0));
}

// Every code is used, although the vectors have few different values.
TEST(SemanticIds, EveryCodeIsUsed) {
  const torch::Tensor vectors = torch::eye(8).repeat({20, 1});
  CodebookOptions options;
  options.levels = 1;
  options.codes = 8;
  for (options.seed = 1; options.seed < 6; ++options.seed)
    EXPECT_EQ(assign_codes(vectors, learn_codebooks(vectors, options), 1).distinct, 8);
}

TEST(SemanticIds, VectorsThatCannotBeCodedAreRefused) {
  CodebookOptions options = small_options();
  options.codes = kCoded + 1;
  torch::Tensor vectors = grouped_vectors();
  const auto error = [&] {
    return message_of<DataError>([&] { static_cast<void>(learn_codebooks(vectors, options)); });
  };
  EXPECT_THAT(error(), HasSubstr("401 codes for 400 items"));
  options.codes = 4;
  vectors[5][1] = NAN;
  EXPECT_THAT(error(), HasSubstr("an item vector holds NaN or infinity"));
  EXPECT_THROW(static_cast<void>(assign_codes(vectors, torch::eye(kNumbers), 1)), DataError);
}

class SemanticIdsFile : public testing::Test {
 protected:
  SemanticIdsFile() {
    FixtureItems items;
    items.count = kCoded;
    items.vectors = grouped_vectors();
    items.topics.assign(static_cast<size_t>(kCoded), 1);
    for (int64_t i = 0; i < kCoded; ++i) items.titles.push_back("item " + std::to_string(i));
    path_ = write_dataset(directory_.path(),
                          {{.user = 1, .item = 5, .time = 10}, {.user = 2, .item = 6, .time = 20}},
                          items);
  }
  void attach() {
    const Dataset dataset = Dataset::open(path_);
    const torch::Tensor& vectors = dataset.item_vectors();
    ids_ = assign_codes(vectors, learn_codebooks(vectors, small_options()), 2).ids;
    attach_semantic_ids(path_, ids_);
  }
  [[nodiscard]] std::string items_file() const { return path_ + "/" + kItemsFile; }
  [[nodiscard]] std::string error_at_open() const {
    return message_of<DataError>([&] { static_cast<void>(Dataset::open(path_)); });
  }
  // Replaces one number of a column.
  template <class T>
  void overwrite(const char* column, ElementType type, int64_t place, T value) const {
    const ArrayLayout layout = H5File::open(items_file()).layout(column, {type}, 2);
    File::open_for_update(items_file())
        .write_at(layout.offset + place * static_cast<int64_t>(sizeof(T)), &value, sizeof(T));
  }
  void overwrite_code(int64_t place, int32_t value) const {
    overwrite(kCodesColumn, ElementType::kInt32, place, value);
  }
  // A file without codes gets columns of these shapes.
  void add_columns(const std::vector<int64_t>& codes, const std::vector<int64_t>& books) const {
    H5File file = H5File::open_for_update(items_file());
    if (!codes.empty()) file.define(kCodesColumn, ElementType::kInt32, codes);
    if (!books.empty()) file.define(kCodebooksColumn, ElementType::kFloat32, books);
    file.close();
  }

  TemporaryDirectory directory_;
  std::string path_;
  SemanticIds ids_;
};

TEST_F(SemanticIdsFile, EverythingElseStaysAsItWas) {
  const Dataset before = Dataset::open(path_);
  EXPECT_FALSE(before.semantic_ids().defined());
  attach();
  const Dataset after = Dataset::open(path_);
  EXPECT_TRUE(torch::equal(after.semantic_ids().codes, ids_.codes));
  EXPECT_TRUE(torch::equal(after.semantic_ids().codebooks, ids_.codebooks));
  EXPECT_TRUE(torch::equal(after.item_vectors(), before.item_vectors()));
  EXPECT_EQ(after.item_topics(), before.item_topics());
  EXPECT_EQ(after.item_title(7), "item 7");
  EXPECT_EQ(after.timeline(0).item, before.timeline(0).item);
  EXPECT_NE(after.fingerprint(), before.fingerprint());
  EXPECT_NO_THROW(static_cast<void>(validate_dataset(path_)));
  attach();
  EXPECT_EQ(Dataset::open(path_).fingerprint(), after.fingerprint()) << "the same again";
  const DatasetSummary summary = summarize_dataset(after, PositiveRule({}, after));
  EXPECT_THAT(dataset_summary_text(summary),
              HasSubstr("2 codes of an item, 4 different ones at each level"));
}

TEST_F(SemanticIdsFile, BadCodesAreRefusedAtOpen) {
  attach();
  const auto original = ids_.codes.flatten()[10].item<int32_t>();
  for (const int32_t bad : {4, -2, -1}) {  // -1 at one level alone
    overwrite_code(10, bad);
    EXPECT_THAT(error_at_open(), HasSubstr("/item/semantic_id, row 5: expected codes of 0 to 3"));
  }
  overwrite_code(10, original);
  EXPECT_EQ(error_at_open(), "no error");
  overwrite(kCodebooksColumn, ElementType::kFloat32, 3, NAN);
  EXPECT_THAT(error_at_open(), HasSubstr("/semantic_id/codebook: expected finite numbers"));
}

TEST_F(SemanticIdsFile, ShapesThatDoNotFitAreRefusedAtOpen) {
  const std::string whole = content_of(items_file());
  const auto error = [&](const std::vector<int64_t>& codes, const std::vector<int64_t>& books) {
    write_file(items_file(), whole);
    add_columns(codes, books);
    return error_at_open();
  };
  EXPECT_THAT(error({kCoded, 2}, {}), HasSubstr(kCodebooksColumn));
  EXPECT_THAT(error({}, {8, kNumbers}), HasSubstr(kCodesColumn));
  EXPECT_THAT(error({kCoded - 1, 2}, {8, kNumbers}), HasSubstr("expected 400 rows"));
  EXPECT_THAT(error({kCoded, 17}, {17, kNumbers}), HasSubstr("expected 1 to 16 codes"));
  EXPECT_THAT(error({kCoded, 2}, {7, kNumbers}), HasSubstr("expected [2 * V, 8]"));
  EXPECT_THAT(error({kCoded, 2}, {8, kNumbers + 1}), HasSubstr("found [8, 9]"));
  EXPECT_THAT(error({kCoded, 1}, {8193, kNumbers}), HasSubstr("V of 1 to 8192"));
  EXPECT_EQ(error({kCoded, 2}, {8, kNumbers}), "no error");
}

TEST_F(SemanticIdsFile, AFlippedCodeIsFoundByValidation) {
  attach();
  overwrite_code(10, 1 - ids_.codes.flatten()[10].item<int32_t>() % 2);
  EXPECT_THROW(static_cast<void>(validate_dataset(path_)), DataError);
}

}  // namespace
}  // namespace pinnerformer
