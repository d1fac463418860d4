// The set gives back what was put into it, from any place on.
#include "dataloader/base/row_set.h"

#include <gtest/gtest.h>

#include <stdexcept>

namespace pinnerformer {
namespace {

TEST(RowSet, SlicesAreTheUsersInOrder) {
  std::vector<int64_t> users = {0, 1, 63, 64, 127, 128, 1000, 1001, 70000};
  for (int64_t user = 100000; user < 100500; user += 1 + user % 3) users.push_back(user);
  UserSet set;
  for (const int64_t user : users) set.add(user);
  ASSERT_EQ(set.size(), std::ssize(users));
  for (int64_t first = 0; first <= set.size(); ++first)
    for (int64_t count = 0; first + count <= set.size(); count += 1 + count / 3)
      ASSERT_EQ(set.slice(first, count),
                std::vector<int64_t>(users.begin() + first, users.begin() + first + count));
  EXPECT_THROW(static_cast<void>(set.slice(1, set.size())), std::out_of_range);
}

TEST(RowSet, RefusesUsersOutOfOrder) {
  UserSet set;
  EXPECT_TRUE(set.empty());
  set.add(70);
  EXPECT_THROW(set.add(70), std::logic_error);
  EXPECT_THROW(set.add(65), std::logic_error);
  EXPECT_THROW(set.add(3), std::logic_error);
  EXPECT_EQ(set.size(), 1);
}

}  // namespace
}  // namespace pinnerformer
