// The text that explains a wait, for given statuses of all ranks.
#include "comm/watchdog/rank_status.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

namespace pinnerformer {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::SizeIs;

ObservedRank at(int64_t begun, const std::string& name, const std::string& phase) {
  ObservedRank rank;
  rank.heard = true;
  rank.status.host.assign("node7");
  rank.status.phase.assign(phase);
  rank.status.step = 12;
  rank.status.begun = begun;
  rank.status.begun_name.assign(name);
  return rank;
}

ObservedRank waiting(int64_t number, const std::string& name, double seconds) {
  ObservedRank rank = at(number, name, "backward");
  rank.status.waiting = number;
  rank.status.waiting_name.assign(name);
  rank.status.waiting_seconds = seconds;
  return rank;
}

TEST(RankStatus, NamesTheRankThatIsBehindAndWhereItIs) {
  const std::vector ranks = {waiting(9, "pairs", 5), at(8, "loss", "wait for data"),
                             waiting(9, "pairs", 4)};
  EXPECT_EQ(explain_wait(ranks, 9, "pairs"),
            "not arrived: rank 1 on node7 alive, at step 12 in 'wait for data' after 'loss'");
}

TEST(RankStatus, TellsTheSilentFromTheSlow) {
  std::vector ranks = {waiting(9, "pairs", 5), at(8, "loss", "forward")};
  ranks[1].silent_seconds = 4.2;
  EXPECT_EQ(explain_wait(ranks, 9, "pairs"),
            "not arrived: rank 1 on node7 last seen at step 12 in 'forward' after 'loss', silent "
            "for 4.2 s: frozen, ended, or its host is lost");
}

TEST(RankStatus, ARankThatJoinedAndThenFellSilentIsNamedToo) {
  std::vector ranks = {waiting(9, "pairs", 5), waiting(9, "pairs", 1)};
  ranks[1].silent_seconds = 4;
  EXPECT_THAT(explain_wait(ranks, 9, "pairs"), HasSubstr("rank 1 on node7 joined, then silent"));
}

TEST(RankStatus, AnotherCollectiveUnderTheSameNumber) {
  const std::vector ranks = {waiting(9, "pairs", 5), waiting(9, "loss", 5)};
  EXPECT_THAT(explain_wait(ranks, 9, "pairs"),
              HasSubstr("rank 1 on node7 is in another collective, 'loss'"));
}

TEST(RankStatus, LongNamesAreComparedAsFarAsTheyTravel) {
  const std::string name(200, 'x');
  const std::vector ranks = {waiting(9, name, 5), waiting(9, name, 5)};
  EXPECT_THAT(explain_wait(ranks, 9, name), HasSubstr("all ranks have arrived"));
}

TEST(RankStatus, NamesAFewOfMany) {
  std::vector<ObservedRank> ranks(100, at(1, "a", "forward"));
  const std::string text = explain_wait(ranks, 2, "b");
  EXPECT_THAT(text, HasSubstr("rank 7 "));
  EXPECT_THAT(text, Not(HasSubstr("rank 8 ")));
  EXPECT_THAT(text, HasSubstr("and 92 more rank(s)"));
}

TEST(RankStatus, StragglersAreAliveAndAwaited) {
  std::vector ranks = {waiting(9, "pairs", 7.5), at(8, "loss", "forward"), waiting(9, "pairs", 6)};
  const auto found = find_stragglers(ranks, /*threshold_seconds=*/5);
  ASSERT_THAT(found, SizeIs(1));
  EXPECT_EQ(found[0].rank, 1);
  EXPECT_EQ(found[0].waiting_for, 9);
  EXPECT_EQ(found[0].text,
            "straggler: rank 1 on node7 is alive at step 12 in 'forward' after 'loss'; 2 rank(s) "
            "have waited up to 7.5 s for it in 'pairs'");
  EXPECT_THAT(find_stragglers(ranks, 8), IsEmpty());
  ranks[1] = at(9, "pairs", "backward");  // has begun it, but computes
  EXPECT_THAT(find_stragglers(ranks, 5), SizeIs(1));
  ranks[1].silent_seconds = 4;  // frozen: the deadline ends the job
  EXPECT_THAT(find_stragglers(ranks, 5), IsEmpty());
}

// A rank that waits in an older collective, while the others wait for it in the next one.
TEST(RankStatus, AStragglerMayWaitItself) {
  const std::vector ranks = {waiting(10, "pairs", 7.5), waiting(9, "loss", 8)};
  const auto found = find_stragglers(ranks, /*threshold_seconds=*/5);
  ASSERT_THAT(found, SizeIs(1));
  EXPECT_EQ(found[0].rank, 1);
}

TEST(RankStatus, DivergenceShowsAtTheFirstCommonMark) {
  std::vector ranks = {at(70, "a", "x"), at(64, "a", "x"), at(200, "a", "x")};
  ranks[0].status.marks[0] = {64, 111};
  ranks[1].status.marks[0] = {64, 111};
  ranks[2].status.marks[0] = {192, 5};
  EXPECT_EQ(explain_divergence(ranks), "");
  ranks[1].status.marks[0] = {64, 112};
  EXPECT_THAT(explain_divergence(ranks), HasSubstr("up to collective 64 rank 1 on node7 has made"));
}

TEST(RankStatus, ARankThatOutlivesTheEndOfTheJobIsToldSo) {
  std::vector ranks = {at(9, "pairs", "forward"), at(9, "pairs", "forward")};
  ranks[1].silent_seconds = 4;
  EXPECT_EQ(explain_end(ranks), "") << "silent, but it has not ended the job";
  ranks[1].status.ended = 1;
  EXPECT_EQ(explain_end(ranks),
            "rank 1 on node7 ended the job 4.0 s ago, and the launcher has not ended this rank");
  ranks[1].silent_seconds = 1;
  EXPECT_EQ(explain_end(ranks), "") << "the launcher needs a moment";
}

TEST(RankStatus, AFieldWithoutAnEndIsReadAsFarAsItGoes) {
  ShortText text;
  text.bytes.fill('x');
  EXPECT_EQ(text.text(), std::string(text.bytes.size(), 'x'));
}

}  // namespace
}  // namespace pinnerformer
