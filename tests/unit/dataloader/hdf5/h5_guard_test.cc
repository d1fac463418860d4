// What the reader of HDF5 files refuses before the library reads it. tests/cases/hostile_test.py
// has many more kinds.
#include "dataloader/hdf5/h5_guard.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>

#include "dataloader/base/errors.h"
#include "dataloader/base/file.h"
#include "tests/support/dataset_fixture.h"
#include "tests/support/message_of.h"

namespace pinnerformer {
namespace {

using testing::HasSubstr;

class H5Guard : public testing::Test {
 protected:
  H5Guard() : path_(directory_ / "file.h5") {
    H5File file = H5File::create(path_);
    file.set_attribute("version", int64_t{1});
    file.write("/group/numbers", std::vector<int64_t>{1, 2, 3});
    file.write_strings("/names", 1000,
                       [](int64_t i) { return i == 0 ? std::string(5000, 'x') : "y"; });
    file.close();
    raw_ = H5Fopen(path_.c_str(), H5F_ACC_RDWR, H5P_DEFAULT);
  }

  // Closes what the test has changed and reads the file.
  H5File read() {
    H5Fclose(raw_);
    return H5File::open(path_);
  }

  // A dataset of so many rows that nothing is written to.
  void define(const char* name, hid_t type, hsize_t rows, hid_t properties) const {
    const H5Handle space(H5Screate_simple(1, &rows, nullptr), H5Sclose);
    H5Dclose(H5Dcreate2(raw_, name, type, space.get(), H5P_DEFAULT, properties, H5P_DEFAULT));
  }

  const TemporaryDirectory directory_;
  std::string path_;
  hid_t raw_;
};

std::string names_fault(const H5File& file, const std::string& dataset) {
  return message_of<DataError>([&] { file.read_strings(dataset, [](std::string_view) {}); });
}

TEST_F(H5Guard, AttributeOfManyValuesIsNotReadIntoOne) {
  const hsize_t count = 4096;
  const H5Handle space(H5Screate_simple(1, &count, nullptr), H5Sclose);
  H5Adelete(raw_, "version");
  H5Aclose(H5Acreate2(raw_, "version", H5T_STD_I64LE, space.get(), H5P_DEFAULT, H5P_DEFAULT));
  const H5File file = read();
  EXPECT_THAT(message_of<DataError>([&] { static_cast<void>(file.integer_attribute("version")); }),
              HasSubstr("expected one value"));
}

TEST_F(H5Guard, LinksToOtherNamesAndFilesAreNotFollowed) {
  H5Lcreate_soft("/names", raw_, "soft", H5P_DEFAULT, H5P_DEFAULT);
  H5Lcreate_soft("/group", raw_, "other_group", H5P_DEFAULT, H5P_DEFAULT);
  H5Lcreate_external(path_.c_str(), "/names", raw_, "external", H5P_DEFAULT, H5P_DEFAULT);
  const H5File file = read();
  EXPECT_THAT(names_fault(file, "/soft"), HasSubstr("link to another name"));
  EXPECT_THAT(names_fault(file, "/external"), HasSubstr("link to another file"));
  EXPECT_THAT(
      message_of<DataError>([&] { static_cast<void>(file.describe("/other_group/numbers")); }),
      HasSubstr("/other_group: expected it in this file"));
  EXPECT_EQ(names_fault(file, "/names"), "no error");
}

TEST_F(H5Guard, ExternalStorageIsNotRead) {
  const H5Handle text(H5Tcopy(H5T_C_S1), H5Tclose);
  H5Tset_size(text.get(), 8);
  const H5Handle create(H5Pcreate(H5P_DATASET_CREATE), H5Pclose);
  H5Pset_external(create.get(), "/etc/passwd", 0, 16);
  define("outside", text.get(), 2, create.get());
  EXPECT_THAT(names_fault(read(), "/outside"), HasSubstr("external storage"));
}

TEST_F(H5Guard, ClaimsWithoutContentTakeNoMemory) {
  const H5Handle text = h5_string_type();
  define("unwritten", text.get(), hsize_t{1} << 40, H5P_DEFAULT);
  const H5Handle create(H5Pcreate(H5P_DATASET_CREATE), H5Pclose);
  const hsize_t chunk = 16;
  H5Pset_chunk(create.get(), 1, &chunk);
  define("chunks", H5T_STD_I64LE, hsize_t{1} << 40, create.get());
  const H5File file = read();
  EXPECT_THAT(names_fault(file, "/unwritten"), HasSubstr("never written"));
  EXPECT_THAT(message_of<DataError>([&] { static_cast<void>(file.describe("/chunks")); }),
              HasSubstr("only 0 were ever written"));
}

// The strings of a file take at most the bytes of the file: here 1000 rows name one of 5000 bytes.
TEST_F(H5Guard, OneStringNamedManyTimesIsRefused) {
  H5Fclose(raw_);
  raw_ = H5Fopen(path_.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT);
  const hid_t dataset = H5Dopen2(raw_, "names", H5P_DEFAULT);
  const auto offset = static_cast<int64_t>(H5Dget_offset(dataset));
  H5Dclose(dataset);
  EXPECT_EQ(names_fault(read(), "/names"), "no error");
  std::array<char, 16> reference{};
  File file = File::open_for_update(path_);
  file.read_at(offset, reference.data(), reference.size());
  for (int64_t row = 1; row < 1000; ++row)
    file.write_at(offset + row * 16, reference.data(), reference.size());
  EXPECT_THAT(names_fault(H5File::open(path_), "/names"), HasSubstr("same content many times"));
}

TEST_F(H5Guard, TypesAndShapesThatNobodyReadsAreRefused) {
  const H5Handle odd(H5Tcopy(H5T_STD_I32LE), H5Tclose);
  H5Tset_precision(odd.get(), 24);
  define("odd", odd.get(), 1, H5P_DEFAULT);
  const H5Handle scalar(H5Screate(H5S_SCALAR), H5Sclose);
  H5Dclose(H5Dcreate2(raw_, "scalar", H5T_STD_I64LE, scalar.get(), H5P_DEFAULT, H5P_DEFAULT,
                      H5P_DEFAULT));
  const H5File file = read();
  for (const auto& [name, fault] :
       {std::pair("/odd", "integers of an unusual form"), std::pair("/scalar", "dimensions"),
        std::pair("/group", "expected a dataset")})
    EXPECT_THAT(message_of<DataError>([&] { static_cast<void>(file.describe(name)); }),
                HasSubstr(fault));
}

TEST_F(H5Guard, TextThatIsNoUtf8IsRefusedWithItsRow) {
  H5Fclose(raw_);
  H5File file = H5File::create(path_);
  file.write_strings("/names", 3, [](int64_t i) { return i == 2 ? "caf\xe9" : "good"; });
  file.close();
  EXPECT_THAT(names_fault(H5File::open(path_), "/names"),
              HasSubstr("row 2: expected text in UTF-8, found 'caf\\xe9'"));
}

}  // namespace
}  // namespace pinnerformer
