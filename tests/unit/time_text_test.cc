// Times as people write them.
#include "dataloader/time_text.h"

#include <gtest/gtest.h>

namespace pinnerformer {
namespace {

TEST(TimeText, ReadsWhatItWrites) {
  for (const int64_t seconds : {int64_t{0}, int64_t{951782400}, int64_t{1650882384}})
    EXPECT_EQ(parse_utc(utc_text(seconds)), seconds);
}

TEST(TimeText, ReadsDatesTimesAndSeconds) {
  EXPECT_EQ(parse_utc("1650882384"), 1650882384);
  EXPECT_EQ(parse_utc("2022-04-25"), 1650844800);
  EXPECT_EQ(parse_utc("2022-04-25 10:26:24"), 1650882384);
  EXPECT_EQ(parse_utc("2022-04-25T10:26:24"), 1650882384);
  EXPECT_EQ(parse_utc("2024-02-29"), 1709164800);
}

TEST(TimeText, RefusesAllElse) {
  for (const char* text :
       {"", "yesterday", "2022-04", "2022-04-31", "2023-02-29", "2022-04-25 10:26",
        "2022-04-25T10:26:24+02:00", "2022-13-01", "1650882384s", "1.5"})
    EXPECT_FALSE(parse_utc(text)) << text;
}

}  // namespace
}  // namespace pinnerformer
