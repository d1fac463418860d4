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

TEST(TimeText, AnythingElseIsRefused) {
  for (const char* text : {"", "yesterday", "2022-13-01", "2022-04-25T25:00:00", "25.04.2022",
                           "1e9", "12 ", "2022-04-25Zulu"}) {
    EXPECT_EQ(parse_utc(text), std::nullopt) << text;
  }
}

}  // namespace
}  // namespace pinnerformer
