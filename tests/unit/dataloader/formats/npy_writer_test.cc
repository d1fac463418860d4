// What is written as .npy and id files is what the project's own readers read.
#include "dataloader/formats/npy_writer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "dataloader/base/errors.h"
#include "dataloader/formats/id_file.h"
#include "dataloader/import/npy_file.h"
#include "tests/support/dataset_fixture.h"
#include "tests/support/message_of.h"

namespace pinnerformer {
namespace {

using testing::HasSubstr;

TEST(NpyWriter, NumbersAreRead) {
  const TemporaryDirectory directory;
  const std::vector<float> numbers = {1, 2.5, -3, 4, 5, 6};
  NpyWriter writer(directory / "v.npy", ElementType::kFloat32, {3, 2});
  writer.append(numbers.data(), 8);
  EXPECT_THROW(static_cast<void>(writer.digest()), std::logic_error);
  EXPECT_FALSE(std::filesystem::exists(directory / "v.npy"));
  writer.append(numbers.data() + 2, 16);
  const FileDigest digest = writer.digest();
  writer.publish();
  EXPECT_EQ(digest.bytes, std::ssize(content_of(directory / "v.npy")));
  EXPECT_EQ(digest.xxh3, digest_file(directory / "v.npy").xxh3);
  EXPECT_EQ((digest.bytes - 24) % 64, 0);
  const NpyFile file(directory / "v.npy");
  EXPECT_EQ(file.shape(), (std::vector<int64_t>{3, 2}));
  std::vector<float> found(6);
  file.read_rows(0, 3, found.data());
  EXPECT_EQ(found, numbers);
}

IdColumn strings(const std::vector<std::string>& ids) {
  IdColumn column(false);
  for (const std::string& id : ids) column.push_back(std::string_view(id));
  return column;
}

TEST(NpyWriter, IdsAreRead) {
  const TemporaryDirectory directory;
  IdColumn numbers;
  for (const int64_t id : {-5, 7, 9}) numbers.push_back(id);
  IdFileWriter integers(directory / "a", true, 3), texts(directory / "b", false, 3);
  integers.append(numbers);
  texts.append(strings({"x", ""}));
  texts.append(strings({"a b"}));
  EXPECT_EQ(texts.digest().bytes, 7);
  integers.publish();
  texts.publish();
  EXPECT_EQ(read_id_file(directory / "a", true, 3).numbers(), numbers.numbers());
  const IdColumn found = read_id_file(directory / "b", false, 3);
  EXPECT_EQ(found.text(0) + "|" + found.text(1) + "|" + found.text(2), "x||a b");
  EXPECT_EQ(content_of(directory / "b.ids.txt"), "x\n\na b\n");
}

TEST(NpyWriter, WrongIdsAreRefused) {
  const TemporaryDirectory directory;
  IdFileWriter texts(directory / "b", false, 1);
  EXPECT_THAT(message_of<DataError>([&] { texts.append(strings({"a\nb"})); }),
              HasSubstr("line end"));
  const auto error = [&](bool integers, int64_t rows) {
    return message_of<DataError>(
        [&] { static_cast<void>(read_id_file(directory / "c", integers, rows)); });
  };
  write_file(directory / "c.ids.txt", "a\nb\n");
  EXPECT_THAT(error(false, 3), HasSubstr("expected 3 ids, found 2"));
  write_file(directory / "c.ids.txt", "a\nb");
  EXPECT_THAT(error(false, 2), HasSubstr("not complete"));
  NpyWriter writer(directory / "c.ids.npy", ElementType::kFloat32, {1});
  writer.append("1234", 4);
  writer.publish();
  EXPECT_THAT(error(true, 1), HasSubstr("int64"));
  EXPECT_THROW(static_cast<void>(read_id_file(directory / "d", true, 1)), MissingInputError);
}

}  // namespace
}  // namespace pinnerformer
