// The split rule: pinned hash values, edges of the windows, windows outside the data.
#include "dataloader/sampling/split.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "dataloader/base/errors.h"
#include "dataloader/base/random.h"
#include "tests/support/dataset_fixture.h"
#include "tests/support/message_of.h"

namespace pinnerformer {
namespace {

using testing::AllOf;
using testing::HasSubstr;

// Pinned: another hash would move users between training and evaluation.
TEST(SplitTest, HashOfIntegerIdsIsSplitmix64) {
  EXPECT_EQ(splitmix64(0), 0xE220A8397B1DCDAFULL);
  EXPECT_EQ(splitmix64(1), 0x910A2DEC89025CC1ULL);
  EXPECT_EQ(splitmix64(1234567), 6457827717110365317ULL);
}

TEST(SplitTest, ShareOfUsersIsByHashModulo100) {
  SplitOptions options;
  options.users_percent = 40;
  EXPECT_TRUE(is_evaluation_user(39, options));
  EXPECT_FALSE(is_evaluation_user(40, options));
  EXPECT_TRUE(is_evaluation_user(100, options));
  // 2^64 - 1 is 15 modulo 100: the hash is unsigned.
  EXPECT_TRUE(is_evaluation_user(~0ULL, options));
  options.users_percent = 0;
  EXPECT_FALSE(is_evaluation_user(0, options));
  options.users_percent = 100;
  EXPECT_TRUE(is_evaluation_user(99, options));
  options.users_percent = 40;
  int64_t held_out = 0;
  for (uint64_t id = 1; id <= 25156; ++id) {
    held_out += is_evaluation_user(splitmix64(id), options) ? 1 : 0;
  }
  EXPECT_NEAR(static_cast<double>(held_out) / 25156, 0.4, 0.01);
}

TEST(SplitTest, WindowsEndAtTheLastEvent) {
  const SplitOptions options{.users_percent = 10, .window_days = 3.5, .windows = 2};
  const int64_t start = evaluation_start(/*first_time=*/0, /*last_time=*/10 * kDay + 7, options);
  EXPECT_EQ(start, 3 * kDay + 7);
  const std::vector<EvaluationWindow> windows = evaluation_windows(start, options);
  ASSERT_EQ(windows.size(), 2U);
  EXPECT_EQ(windows[0].begin, start);
  EXPECT_EQ(windows[0].end, windows[1].begin);
  EXPECT_EQ(windows[1].end, 10 * kDay + 7);
}

TEST(SplitTest, NoWindowsTrainsOnEverything) {
  const SplitOptions options{.users_percent = 0, .window_days = 14, .windows = 0};
  EXPECT_EQ(evaluation_start(5, 10, options), 10);
  EXPECT_TRUE(evaluation_windows(10, options).empty());
}

TEST(SplitTest, LeaveOneOutTrainsOnEverybodyButNotOnTheEnds) {
  SplitOptions options{
      .users_percent = 100, .window_days = 99, .protocol = SplitProtocol::kLeaveOneOut};
  EXPECT_TRUE(is_evaluation_user(7, options));
  EXPECT_TRUE(is_training_user(7, options));
  EXPECT_EQ(left_out_events(options), 2);
  options.leave_out = 1;
  EXPECT_EQ(left_out_events(options), 1);
  EXPECT_EQ(evaluation_start(0, 10, options), 10);
  options.protocol = SplitProtocol::kWindows;
  EXPECT_FALSE(is_training_user(7, options));
  EXPECT_EQ(left_out_events(options), 0);
}

TEST(SplitTest, ValidationUsersAreTheNextHashes) {
  SplitOptions options{.users_percent = 40, .validation_percent = 10};
  for (const uint64_t hash : std::initializer_list<uint64_t>{0, 39, 40, 49, 50, 99}) {
    EXPECT_EQ(is_evaluation_user(hash, options), hash < 40) << hash;
    EXPECT_EQ(is_validation_user(hash, options), hash == 40 || hash == 49) << hash;
    EXPECT_EQ(is_training_user(hash, options), hash >= 50) << hash;
  }
  options.protocol = SplitProtocol::kLeaveOneOut;  // another event of anybody, not another user
  EXPECT_TRUE(is_validation_user(9, options));
  EXPECT_FALSE(is_validation_user(10, options));
  EXPECT_TRUE(is_training_user(9, options));
}

// One event in the far future must not move the split.
TEST(SplitTest, TheEndCanBeSetByHand) {
  SplitOptions options{.users_percent = 10, .window_days = 2, .windows = 1, .end = "2024-01-31"};
  const int64_t end = 1706659200;
  const int64_t far = end + 10000 * kDay;
  EXPECT_EQ(split_end(far, options), end);
  const int64_t start = evaluation_start(end - 90 * kDay, far, options);
  EXPECT_EQ(start, end - 2 * kDay);
  EXPECT_EQ(evaluation_windows(start, options).back().end, end);
  options.end = "";
  EXPECT_EQ(split_end(far, options), far);
}

TEST(SplitTest, AnEndOutsideTheDataIsRefused) {
  SplitOptions options{.users_percent = 10, .window_days = 2, .windows = 1, .end = "2024-01-31"};
  const int64_t end = 1706659200;
  const auto error = [&](int64_t first, int64_t last) {
    return message_of<DataError>([&] { (void)evaluation_start(first, last, options); });
  };
  EXPECT_EQ(error(end - 2 * kDay, end + kDay), "no error");
  EXPECT_THAT(error(end - kDay, end + kDay),
              AllOf(HasSubstr("split.end = 2024-01-31"), HasSubstr("before the data begins")));
  EXPECT_THAT(error(end - 9 * kDay, end - 3 * kDay), HasSubstr("after the data ends"));
  options.end = "20240131";
  EXPECT_THAT(error(0, end), AllOf(HasSubstr("split.end = 20240131"), HasSubstr("2024-01-31")));
}

TEST(SplitTest, WindowsOutsideTheDataAreRefused) {
  SplitOptions options{.users_percent = 10, .window_days = 5, .windows = 2};
  EXPECT_EQ(evaluation_start(0, 10 * kDay, options), 0);
  try {
    static_cast<void>(evaluation_start(1, 10 * kDay, options));
    FAIL() << "nothing was thrown";
  } catch (const DataError& error) {
    EXPECT_THAT(error.what(),
                AllOf(HasSubstr("split.windows = 2"), HasSubstr("split.window_days = 5"),
                      HasSubstr("from 1970-01-01T00:00:01Z to 1970-01-11T00:00:00Z")));
  }
  options.window_days = 0;
  EXPECT_THROW(static_cast<void>(evaluation_start(0, kDay, options)), DataError);
  options = {.users_percent = 10, .window_days = 1, .windows = -1};
  EXPECT_THROW(static_cast<void>(evaluation_start(0, kDay, options)), DataError);
}

}  // namespace
}  // namespace pinnerformer
