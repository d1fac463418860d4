// Which users count for a pair: against plain counting, up to the time and no further.
#include "dataloader/vectors/co_occurrence.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <set>

#include "dataloader/base/errors.h"
#include "dataloader/base/random.h"
#include "tests/support/dataset_fixture.h"
#include "tests/support/message_of.h"

namespace pinnerformer {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Pair;

constexpr int64_t kCountedUntil = 1000;

class CoOccurrenceCounts : public testing::Test {
 protected:
  CoOccurrenceCounts() { options_.before = kCountedUntil; }

  // Users of each pair, by rows of the dataset.
  using Pairs = std::map<std::pair<int, int>, int>;

  CoOccurrence count(const std::vector<EventRow>& rows, int64_t part_events = 1 << 20) {
    const TemporaryDirectory directory;
    FixtureItems items;
    items.count = 40;
    const Dataset dataset =
        Dataset::open(write_dataset(directory.path(), rows, items, part_events));
    options_.temporary_prefix = directory / "pairs-";
    return count_co_occurrence(dataset, options_, {});
  }
  Pairs pairs(const std::vector<EventRow>& rows, int64_t part_events = 1 << 20) {
    const CoOccurrence counted = count(rows, part_events);
    Pairs result;
    counted.pairs.visit([&](const PairCount& pair) {
      result[{counted.items[pair.row], counted.items[pair.column]}] = static_cast<int>(pair.count);
    });
    return result;
  }

  CoOccurrenceOptions options_;
};

EventRow event(int64_t user, int64_t item, int64_t time, const std::string& action = "view") {
  return {.user = user, .item = item, .action = action, .time = time};
}

TEST_F(CoOccurrenceCounts, UsersMayBeLeftOut) {
  const std::vector<EventRow> rows = {event(1, 0, 1), event(1, 1, 2), event(2, 0, 1),
                                      event(2, 2, 2)};
  options_.counts_user = [](int64_t row) { return row == 0; };
  const CoOccurrence counted = count(rows);
  EXPECT_EQ(counted.statistics.users, 1);
  EXPECT_THAT(counted.users, ElementsAre(1, 1)) << "only the items of that user take part";
}

std::vector<EventRow> random_events() {
  std::vector<EventRow> rows;
  for (int64_t user = 0; user < 50; ++user) {
    KeyedRandom random(RandomStream::kProjection, {user});
    const int64_t length = random.below(25);
    for (int64_t i = 0; i < length; ++i) {
      rows.push_back(event(user, random.below(40), random.below(2 * kCountedUntil)));
    }
  }
  return rows;
}

TEST_F(CoOccurrenceCounts, EqualPlainCountingWhateverThePartsAndTheMemory) {
  const std::vector<EventRow> rows = random_events();
  std::map<int64_t, std::set<int64_t>> items_of_user;
  for (const EventRow& row : rows) {
    if (row.time < kCountedUntil) items_of_user[row.user].insert(row.item);
  }
  Pairs expected;
  for (const auto& [user, items] : items_of_user) {
    for (const int64_t a : items) {
      for (const int64_t b : items) {
        if (a < b) ++expected[{static_cast<int>(a), static_cast<int>(b)}];
      }
    }
  }
  for (const int64_t part_events : {1, 40, 1 << 20}) {
    for (const int64_t memory : {16, 1 << 20}) {
      options_.memory_bytes = memory;
      EXPECT_EQ(pairs(rows, part_events), expected) << part_events << " " << memory;
    }
  }
}

TEST_F(CoOccurrenceCounts, AUserCountsOnceForAPair) {
  EXPECT_THAT(
      pairs({event(1, 5, 1), event(1, 7, 2), event(1, 5, 3), event(2, 7, 1), event(2, 5, 2)}),
      ElementsAre(Pair(std::pair(5, 7), 2)));
}

TEST_F(CoOccurrenceCounts, DegreesAreSumsOfCounts) {
  const CoOccurrence counted = count({event(1, 5, 1), event(1, 7, 2), event(2, 7, 1),
                                      event(2, 5, 2), event(2, 9, 3), event(3, 11, 1)});
  EXPECT_THAT(counted.items, ElementsAre(5, 7, 9, 11));
  EXPECT_THAT(counted.degree, ElementsAre(3, 3, 2, 0));
  EXPECT_EQ(counted.statistics.users, 2);
}

TEST_F(CoOccurrenceCounts, NothingAtOrAfterTheTimeIsSeen) {
  const std::vector<EventRow> past = {event(1, 5, 1), event(1, 7, kCountedUntil - 1)};
  std::vector<EventRow> leaking = past;
  leaking.push_back(event(1, 9, kCountedUntil));
  leaking.push_back(event(1, 11, kCountedUntil + 1));
  const CoOccurrence counted = count(leaking);
  EXPECT_THAT(counted.items, ElementsAre(5, 7));
  EXPECT_EQ(counted.statistics.events, 2);
  EXPECT_EQ(counted.statistics.events_kept_out, 2);
  EXPECT_EQ(pairs(leaking), pairs(past));
  options_.before = kCountedUntil + 1;
  EXPECT_THAT(count(leaking).items, ElementsAre(5, 7, 9)) << "the second before counts";
}

TEST_F(CoOccurrenceCounts, TheEndOfATimelineIsLeftOut) {
  options_.leave_out = 2;
  const std::vector<EventRow> rows = {event(1, 5, 1), event(1, 7, 2), event(1, 9, 3),
                                      event(1, 11, 4), event(2, 13, 1)};
  EXPECT_THAT(pairs(rows), ElementsAre(Pair(std::pair(5, 7), 1)));
  EXPECT_THAT(count(rows).items, ElementsAre(5, 7));
}

TEST_F(CoOccurrenceCounts, OfHeavyUsersTheMostRecentItemsCount) {
  options_.max_items_per_user = 3;
  const std::vector<EventRow> rows = {event(1, 5, 1), event(1, 7, 2),  event(1, 9, 3),
                                      event(1, 5, 4), event(1, 11, 5), event(1, 11, 6)};
  // By last occurrence: 11, 5, 9; item 7 is beyond the cap.
  EXPECT_THAT(pairs(rows), ElementsAre(Pair(std::pair(5, 9), 1), Pair(std::pair(5, 11), 1),
                                       Pair(std::pair(9, 11), 1)));
  EXPECT_EQ(count(rows).statistics.capped_users, 1);
  EXPECT_THAT(count(rows).users, ElementsAre(1, 0, 1, 1)) << "of items 5, 7, 9 and 11";
  options_.max_items_per_user = 4;
  EXPECT_EQ(count(rows).statistics.capped_users, 0);
}

TEST_F(CoOccurrenceCounts, ItemsOfTooFewUsersTakeNoPartAndNoPlace) {
  options_.min_users = 2;
  options_.max_items_per_user = 2;
  const std::vector<EventRow> rows = {event(1, 5, 1), event(1, 7, 2), event(1, 9, 3),
                                      event(2, 5, 1), event(2, 7, 2)};
  EXPECT_THAT(pairs(rows), ElementsAre(Pair(std::pair(5, 7), 2)));
  EXPECT_EQ(count(rows).statistics.rare_items, 1);
}

TEST_F(CoOccurrenceCounts, OnlyTheNamedActionsCount) {
  options_.counted.actions = {"save"};
  EXPECT_THAT(pairs({event(1, 5, 1, "save"), event(1, 7, 2), event(1, 9, 3, "save")}),
              ElementsAre(Pair(std::pair(5, 9), 1)));
  options_.counted.actions = {"sav"};
  EXPECT_THROW(count({event(1, 5, 1, "save")}), DataError);
}

TEST_F(CoOccurrenceCounts, NoEventBeforeTheTimeIsAnError) {
  const std::string message = message_of<DataError>([&] { count({event(1, 5, kCountedUntil)}); });
  EXPECT_THAT(message, HasSubstr("1970-01-01T00:16:40Z"));
}

}  // namespace
}  // namespace pinnerformer
