// What is written as Parquet is read again, row for row, also across row groups.
#include "dataloader/formats/parquet_writer.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "dataloader/import/parquet_vectors.h"
#include "tests/support/dataset_fixture.h"

namespace pinnerformer {
namespace {

TEST(ParquetWriter, RowsOfSeveralGroupsAreRead) {
  const TemporaryDirectory directory;
  const std::string path = directory / "v.parquet";
  constexpr int64_t kRows = 2 * kParquetGroupRows + 5, kAtOnce = 50'000;
  ParquetVectorWriter writer(path, {.width = 2}, {});
  for (int64_t first = 0; first < kRows; first += kAtOnce) {
    IdColumn ids;
    std::vector<float> numbers;
    for (int64_t row = first; row < std::min(first + kAtOnce, kRows); ++row) {
      ids.push_back(3 * row);
      numbers.push_back(static_cast<float>(row));
      numbers.push_back(-static_cast<float>(row));
    }
    writer.append(ids, numbers.data());
  }
  EXPECT_FALSE(std::filesystem::exists(path));
  writer.publish();
  int64_t wrong = 0, rows = 0;
  read_parquet_vectors(path, "vector", [&](int64_t row, const std::vector<float>& values) {
    const auto number = static_cast<float>(row);
    wrong += row != rows++ || values != std::vector<float>{number, -number};
    return true;
  });
  EXPECT_EQ(rows, kRows);
  EXPECT_EQ(wrong, 0);
}

}  // namespace
}  // namespace pinnerformer
