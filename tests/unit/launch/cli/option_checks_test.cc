// Times, numbers and file names on the command line: another unit, size or format is refused.
#include "launch/cli/option_checks.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "launch/cli/exit_code.h"
#include "tests/support/message_of.h"

namespace pinnerformer {
namespace {

using testing::HasSubstr;

std::string time_error(const std::string& text) {
  return message_of<UsageError>([&] { (void)time_option("before", text); });
}

TEST(OptionChecks, TimesAreSecondsOrDates) {
  EXPECT_EQ(time_option("before", "1703030400"), 1703030400);
  EXPECT_EQ(time_option("before", "2023-12-20"), 1703030400);
  EXPECT_EQ(time_option("before", "0"), 0);
  EXPECT_THAT(time_error("tomorrow"), HasSubstr("--before tomorrow: expected a time such as"));
}

TEST(OptionChecks, OtherUnitsAreRefused) {
  EXPECT_EQ(time_error("1703030400000"),
            "--before 1703030400000 is after 2100: is it in milliseconds? Expected seconds since "
            "1970");
  EXPECT_THAT(time_error("1703030400000000"), HasSubstr("after 2100"));
  EXPECT_EQ(time_error("20231220"),
            "--before 20231220: a date is written 2023-12-20; a plain number is seconds since "
            "1970");
}

TEST(OptionChecks, NumbersOutsideOfTheirBoundsAreRefused) {
  EXPECT_NO_THROW(require_at_least("users", 1, 1));
  EXPECT_EQ(message_of<UsageError>([] { require_at_least("users", 0, 1); }),
            "--users must be at least 1, not 0");
  for (const int64_t value : {2, 64}) EXPECT_NO_THROW(require_between("m", value, 2, 64)) << value;
  for (const int64_t value : {1, 65})
    EXPECT_EQ(message_of<UsageError>([&] { require_between("m", value, 2, 64); }),
              "--m " + std::to_string(value) + ": expected 2 to 64");
}

TEST(OptionChecks, EndingsOfOtherFormatsAreRefused) {
  for (const char* name : {"v.h5", "v.hdf5", "v", "v.2024"})
    EXPECT_NO_THROW(require_hdf5_ending("out", name)) << name;
  EXPECT_EQ(message_of<UsageError>([] { require_hdf5_ending("out", "a/v.npy"); }),
            "--out a/v.npy: the file is HDF5, not .npy; give it the ending .h5");
  EXPECT_THROW(require_hdf5_ending("out", "v.parquet"), UsageError);
  EXPECT_NO_THROW(require_ending("out", "m.yml", "YAML", {".yaml", ".yml"}));
  EXPECT_EQ(message_of<UsageError>([] {
              require_ending("out", "m.h5", "YAML", {".yaml", ".yml"});
            }),
            "--out m.h5: the file is YAML, not .h5; give it the ending .yaml");
  EXPECT_NO_THROW(require_directory_name("out", "runs/export.2024"));
  EXPECT_EQ(message_of<UsageError>([] { require_directory_name("out", "e.onnx"); }),
            "--out e.onnx: a directory is written, no .onnx file; leave the ending out");
}

}  // namespace
}  // namespace pinnerformer
