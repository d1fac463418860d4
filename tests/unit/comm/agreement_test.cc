// Ranks that run different jobs are detected; item, rank and line are named.
#include "comm/agreement.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "configs/errors.h"
#include "launch/job/preflight.h"
#include "tests/support/rank_threads.h"

namespace pinnerformer {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

TEST(Agreement, EqualItemsAgree) {
  for (const int ranks : {1, 2, 4})
    run_ranks(ranks, [](Communicator& comm) {
      EXPECT_FALSE(find_disagreement(comm, {{"configuration", "a: 1\nb: 2\n"}, {"plan", ""}}));
    });
}

TEST(Agreement, NamesItemRanksAndFirstDifferingLine) {
  run_ranks(4, [](Communicator& comm) {
    const std::string mine = comm.rank() >= 2 ? "a: 1\nb: 3\nc: 0\n" : "a: 1\nb: 2\nc: 0\n";
    const auto found = find_disagreement(comm, {{"dataset", "x"}, {"configuration", mine}});
    ASSERT_TRUE(found);
    EXPECT_EQ(found->item, "configuration");
    EXPECT_THAT(found->ranks, ElementsAre(2, 3));
    EXPECT_EQ(found->line_of_rank_0, "b: 2");
    EXPECT_EQ(found->line_of_other, "b: 3");
  });
}

TEST(Agreement, AValueThatEndsEarlierDiffersToo) {
  run_ranks(2, [](Communicator& comm) {
    const auto found =
        find_disagreement(comm, {{"plan", comm.rank() == 0 ? "one\ntwo\n" : "one\n"}});
    ASSERT_TRUE(found);
    EXPECT_EQ(found->line_of_rank_0, "two");
    EXPECT_EQ(found->line_of_other, "");
  });
}

TEST(Agreement, PreflightRefusesOnEveryRankInTheSameWords) {
  run_ranks(3, [](Communicator& comm) {
    EXPECT_NO_THROW(require_same_job(comm, {{"dataset", "f00"}}));
    try {
      require_same_job(comm, {{"dataset", comm.rank() == 1 ? "abc" : "f00"}});
      ADD_FAILURE() << "two datasets were taken for one";
    } catch (const ConfigError& error) {
      EXPECT_THAT(error.what(), HasSubstr("do not agree on the dataset: rank 1 differ"));
      EXPECT_THAT(error.what(), HasSubstr("rank 1 has 'abc', rank 0 has 'f00'"));
    }
  });
}

TEST(Agreement, GathersOneTextPerRank) {
  run_ranks(3, [](Communicator& comm) {
    const auto texts =
        gather_texts(comm, std::string(static_cast<size_t>(comm.rank()), 'x'), 2, "t");
    EXPECT_THAT(texts, ElementsAre("", "x", "xx"));
  });
}

}  // namespace
}  // namespace pinnerformer
