// Times as people write them.
#include "dataloader/base/time_text.h"

#include <gtest/gtest.h>

namespace pinnerformer {
namespace {

TEST(TimeText, IsReadBack) {
  for (const int64_t seconds : {int64_t{0}, int64_t{1650882384}, int64_t{4102444799}}) {
    EXPECT_EQ(parse_utc(utc_text(seconds)), seconds);
    EXPECT_EQ(parse_utc(std::to_string(seconds)), seconds);
  }
}

TEST(TimeText, ADateIsItsMidnightInUtc) {
  EXPECT_EQ(parse_utc("2022-04-25"), 1650844800);
  EXPECT_EQ(parse_utc("2022-04-25 10:26:24"), 1650882384);
  EXPECT_EQ(parse_utc("2022-04-25T10:26:24"), 1650882384);
}

TEST(TimeText, OffsetsAndFractionsAreUnderstood) {
  EXPECT_EQ(parse_utc("2022-04-25T12:26:24+02:00"), 1650882384);
  EXPECT_EQ(parse_utc("2022-04-25T06:26:24-0400"), 1650882384);
  EXPECT_EQ(parse_utc("2022-04-25T10:26:24.999Z"), 1650882384);
  EXPECT_EQ(parse_utc("2022-04-25T10:26:24.999999999"), 1650882384);
  EXPECT_EQ(parse_utc("1969-12-31T23:59:59.5Z"), -1) << "rounded down, not towards zero";
}

TEST(TimeText, ProblemsNameTheTextAndWhatToWrite) {
  for (const char* text : {"0", "1650882384", "2022-04-25", "2022-04-25T12:26:24+02:00"})
    EXPECT_EQ(time_problem(text), "") << text;
  EXPECT_EQ(time_problem("soon"),
            "soon: expected a time such as 2024-05-31, 2024-05-31T23:59:59Z or seconds since 1970, "
            "in UTC");
  EXPECT_EQ(time_problem("20240131"),
            "20240131: a date is written 2024-01-31; a plain number is seconds since 1970");
  EXPECT_EQ(time_problem("20241331"), "") << "no date, so seconds";
  EXPECT_EQ(time_problem("1650882384000"),
            "1650882384000 is after 2100: is it in milliseconds? Expected seconds since 1970");
  EXPECT_NE(time_problem("1650882384000000").find("microseconds"), std::string::npos);
  EXPECT_NE(time_problem("1650882384000000000").find("nanoseconds"), std::string::npos);
  EXPECT_NE(time_problem("2101-01-01"), "");
}

TEST(TimeText, AnythingElseIsRefused) {
  for (const char* text : {"", "yesterday", "2022-13-01", "2022-04-25T25:00:00", "25.04.2022",
                           "1e9", "12 ", "2022-04-25Zulu"}) {
    EXPECT_EQ(parse_utc(text), std::nullopt) << text;
  }
}

}  // namespace
}  // namespace pinnerformer
