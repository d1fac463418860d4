// The index finds what a comparison with all vectors finds, and survives any file.
#include "launch/index/hnsw_graph.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <limits>

#include "dataloader/base/errors.h"
#include "dataloader/base/random.h"
#include "launch/index/inner_product.h"
#include "tests/support/dataset_fixture.h"
#include "tests/support/message_of.h"

namespace pinnerformer {
namespace {

using testing::HasSubstr;

constexpr int64_t kRows = 400;
constexpr int64_t kWidth = 19;  // no multiple of the number of partial sums
constexpr HnswOptions kOptions{.m = 4, .ef_construction = 60, .threads = 1};
constexpr HnswShape kShape{kRows, kWidth, kOptions.m};
// Places in a file of this shape.
constexpr int64_t kHeader = 96;
constexpr int64_t kLinks = 4 * (1 + 2 * kOptions.m);
constexpr int64_t kRecord = kLinks + 4 * kWidth + 8;
constexpr int64_t kUpper = kHeader + kRows * kRecord;

std::vector<float> random_vectors(int64_t rows, int64_t seed) {
  KeyedRandom random(RandomStream::kSynth, {seed});
  std::vector<float> numbers;
  for (int64_t i = 0; i < rows * kWidth; ++i)
    numbers.push_back(static_cast<float>(random.normal()));
  return numbers;
}

HnswGraph built(const std::vector<float>& vectors, const HnswOptions& options = kOptions) {
  HnswGraph graph(std::ssize(vectors) / kWidth, kWidth, options);
  const std::span<const float> all = vectors;
  const size_t half = static_cast<size_t>(std::ssize(vectors) / kWidth / 2 * kWidth);
  graph.add(0, all.first(half));
  graph.add(static_cast<int64_t>(half) / kWidth, all.subspan(half));
  graph.set_ef(100);
  return graph;
}

// By the definition: every inner product, in double precision.
std::vector<int64_t> best_rows(const std::vector<float>& vectors, const float* query,
                               int64_t count) {
  std::vector<std::pair<double, int64_t>> scored;
  for (int64_t row = 0; row < std::ssize(vectors) / kWidth; ++row) {
    double sum = 0;
    for (int64_t i = 0; i < kWidth; ++i)
      sum += double{vectors[static_cast<size_t>(row * kWidth + i)]} * double{query[i]};
    scored.emplace_back(-sum, row);
  }
  std::ranges::sort(scored);
  std::vector<int64_t> rows;
  for (int64_t i = 0; i < count; ++i) rows.push_back(scored[static_cast<size_t>(i)].second);
  return rows;
}

std::vector<int64_t> rows_of(const std::vector<ScoredRow>& found) {
  std::vector<int64_t> rows;
  for (const ScoredRow& one : found) rows.push_back(one.row);
  return rows;
}

// One coordinate is large and the same sign everywhere, as the log counts of a popularity prior: by
// inner products alone the vectors in which it is largest are the neighbours of all.
TEST(HnswGraph, LongVectorsDoNotHideTheOthers) {
  constexpr int64_t kMany = 4000, kQueries = 50;
  std::vector<float> vectors = random_vectors(kMany, 21);
  std::vector<float> queries = random_vectors(kQueries, 22);
  float largest = 0;
  for (int64_t row = 0; row < kMany; ++row) {
    float* vector = vectors.data() + row * kWidth;
    vector[0] = 10 * std::abs(vector[0]);
    largest = std::max(largest, inner_product(vector, vector, kWidth));
  }
  const auto found = [&](float largest_square) {
    HnswGraph graph =
        built(vectors, {.m = 16, .ef_construction = 200, .largest_square = largest_square});
    graph.set_ef(200);
    int64_t right = 0;
    for (int64_t i = 0; i < kQueries; ++i) {
      float* query = queries.data() + i * kWidth;
      query[0] = .1F;
      const std::vector<int64_t> best = best_rows(vectors, query, 10);
      for (const int64_t row : rows_of(graph.search(query, 10)))
        right += std::ranges::count(best, row);
    }
    return right;
  };
  const int64_t padded = found(largest), plain = found(0);
  EXPECT_GE(padded, 9 * kQueries);
  EXPECT_LT(plain, 8 * kQueries);
}

TEST(HnswGraph, InnerProductIsThatOfTheDefinition) {
  const std::vector<float> numbers = random_vectors(8, 3);
  for (int64_t width = 0; width < 70; ++width) {
    double sum = 0;
    for (size_t i = 0; i < static_cast<size_t>(width); ++i)
      sum += double{numbers[i]} * double{numbers[i + 70]};
    EXPECT_NEAR(inner_product(numbers.data(), numbers.data() + 70, width), sum, 1e-4) << width;
  }
}

TEST(HnswGraph, FindsTheBestByInnerProduct) {
  const std::vector<float> vectors = random_vectors(kRows, 1), queries = random_vectors(50, 2);
  for (const int64_t threads : {1, 4}) {
    const HnswGraph graph = built(vectors, {.m = 16, .ef_construction = 100, .threads = threads});
    int64_t right = 0;
    for (int64_t q = 0; q < 50; ++q) {
      const float* query = queries.data() + q * kWidth;
      const std::vector<int64_t> exact = best_rows(vectors, query, 10);
      EXPECT_EQ(rows_of(graph.search_all(query, 10)), exact);
      for (const ScoredRow& one : graph.search(query, 10)) {
        right += std::ranges::count(exact, one.row);
        EXPECT_EQ(one.score, inner_product(query, vectors.data() + one.row * kWidth, kWidth));
      }
    }
    EXPECT_GT(right, 490);
  }
}

TEST(HnswGraph, ComparisonWithAllLeavesOut) {
  const std::vector<float> vectors = random_vectors(kRows, 1);
  const HnswGraph graph = built(vectors);
  std::vector<int64_t> expected = best_rows(vectors, vectors.data(), 6);
  std::vector<int64_t> left_out = {expected[0], expected[2]};
  std::ranges::sort(left_out);
  EXPECT_EQ(rows_of(graph.search_all(vectors.data(), 4, left_out)),
            (std::vector<int64_t>{expected[1], expected[3], expected[4], expected[5]}));
}

TEST(HnswGraph, OneThreadBuildsEqualFiles) {
  const TemporaryDirectory directory;
  const std::vector<float> vectors = random_vectors(kRows, 1);
  built(vectors).save(directory / "a");
  built(vectors).save(directory / "b");
  EXPECT_EQ(content_of(directory / "a"), content_of(directory / "b"));
}

TEST(HnswGraph, LoadedGraphIsTheSavedOne) {
  const TemporaryDirectory directory;
  const std::vector<float> vectors = random_vectors(kRows, 1), queries = random_vectors(20, 2);
  const HnswGraph graph = built(vectors);
  graph.save(directory / "a");
  HnswGraph loaded(File::open(directory / "a"), kShape);
  loaded.set_ef(100);
  for (int64_t q = 0; q < 20; ++q)
    EXPECT_EQ(loaded.search(queries.data() + q * kWidth, 10),
              graph.search(queries.data() + q * kWidth, 10));
  for (int64_t row = 0; row < kRows; ++row)
    EXPECT_EQ(std::memcmp(loaded.vector(row), vectors.data() + row * kWidth, 4 * kWidth), 0);
}

class HnswGraphFile : public testing::Test {
 protected:
  HnswGraphFile() {
    built(random_vectors(kRows, 1)).save(directory_ / "good");
    good_ = content_of(directory_ / "good");
  }

  // What is wrong with the file in which the bytes at `at` are replaced.
  template <class Value>
  std::string fault(int64_t at, Value value) const {
    std::string bytes = good_;
    std::memcpy(bytes.data() + at, &value, sizeof value);
    return fault_of(bytes);
  }
  std::string fault_of(const std::string& bytes) const {
    write_file(directory_ / "bad", bytes);
    return message_of<DataError>([&] { check_hnsw_file(File::open(directory_ / "bad"), kShape); });
  }

  TemporaryDirectory directory_;
  std::string good_;
};

TEST_F(HnswGraphFile, EveryNumberOfTheHeaderIsChecked) {
  EXPECT_EQ(fault_of(good_), "no error");
  for (const int64_t at : {0, 8, 16, 24, 32, 40, 56, 64, 72})
    EXPECT_THAT(fault(at, std::numeric_limits<int64_t>::max()), HasSubstr("expected")) << at;
  EXPECT_THAT(fault(48, int32_t{-1}), HasSubstr("highest level is -1"));
  EXPECT_THAT(fault(48, int32_t{60}), HasSubstr("level of the entry point"));
  EXPECT_THAT(fault(52, uint32_t{kRows}), HasSubstr("entry point 400"));
}

TEST_F(HnswGraphFile, EveryRecordIsChecked) {
  const int64_t record = kHeader + 7 * kRecord;
  EXPECT_THAT(fault(record, uint32_t{2 * kOptions.m + 1}), HasSubstr("9 links"));
  EXPECT_THAT(fault(record, uint32_t{1U << 16}), HasSubstr("65536 links"));  // deleted
  EXPECT_THAT(fault(record + 4, uint32_t{kRows}), HasSubstr("a link to 400"));
  EXPECT_THAT(fault(record + kLinks, std::numeric_limits<float>::quiet_NaN()),
              HasSubstr("not finite"));
  EXPECT_THAT(fault(record + kRecord - 8, uint64_t{kRows}), HasSubstr("called row 400"));
  EXPECT_THAT(fault(record + kRecord - 8, uint64_t{3}), HasSubstr("two vectors are called row 3"));
}

TEST_F(HnswGraphFile, EveryUpperListIsChecked) {
  EXPECT_THAT(fault(kUpper, uint32_t{0xFFFFFFF0}), HasSubstr("bytes of links"));
  EXPECT_THAT(fault(kUpper, uint32_t{7}), HasSubstr("7 bytes of links"));
  std::vector<uint32_t> lower;  // vectors on the lowest level alone
  int64_t upper = 0;            // place of the links of another one
  for (int64_t row = 0, at = kUpper; row < kRows; ++row) {
    uint32_t bytes = 0;
    std::memcpy(&bytes, good_.data() + at, sizeof bytes);
    at += 4;
    if (bytes == 0) lower.push_back(static_cast<uint32_t>(row));
    if (bytes > 0) upper = at;
    at += bytes;
  }
  EXPECT_THAT(fault(upper, uint32_t{kOptions.m + 1}), HasSubstr("5 links"));
  EXPECT_THAT(fault(upper + 4, uint32_t{kRows + 1}), HasSubstr("a link to 401"));
  EXPECT_THAT(fault(upper + 4, lower.at(0)), HasSubstr("leads to a lower vector"));
}

TEST_F(HnswGraphFile, EveryTruncationIsFound) {
  for (size_t size = 0; size < good_.size(); size += 97)
    EXPECT_THAT(fault_of(good_.substr(0, size)), HasSubstr("damaged")) << size;
  EXPECT_THAT(fault_of(good_ + "x"), HasSubstr("damaged"));
}

// Whatever the check lets pass can be searched.
TEST_F(HnswGraphFile, ChangedFilesNeverHarm) {
  KeyedRandom random(RandomStream::kSynth, {9});
  const std::vector<float> query = random_vectors(1, 4);
  int64_t passed = 0;
  for (int trial = 0; trial < 2000; ++trial) {
    std::string bytes = good_;
    for (int change = 0; change < 2; ++change)
      bytes[static_cast<size_t>(random.below(std::ssize(bytes)))] =
          static_cast<char>(random.below(256));
    write_file(directory_ / "bad", bytes);
    try {
      HnswGraph graph(File::open(directory_ / "bad"), kShape);
      EXPECT_LE(std::ssize(graph.search(query.data(), 10)), 10);
      ++passed;
    } catch (const DataError&) {
    }
  }
  EXPECT_GT(passed, 100);  // changed numbers of vectors
}

TEST(HnswGraph, FirstExceptionOfAThreadIsThrown) {
  std::atomic<int64_t> done = 0;
  const auto work = [&](int64_t i) {
    if (i == 5) throw DataError("at 5");
    ++done;
  };
  EXPECT_EQ(message_of<DataError>([&] { run_on_threads(3, 100'000'000, work); }), "at 5");
  EXPECT_LT(done, 90'000'000);  // the other threads end too
  run_on_threads(3, 5, work);
  EXPECT_THROW(run_on_threads(1, 6, work), DataError);
}

}  // namespace
}  // namespace pinnerformer
