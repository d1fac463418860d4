// When the ranks of a job can each have a GPU, and what is said where they cannot.
#include "launch/job/session.h"

#include <gtest/gtest.h>

namespace pinnerformer {
namespace {

TEST(Session, GpusAreThereWhereEachRankHasItsOwn) {
  EXPECT_EQ(why_gpus_are_missing({"node1, GPU a"}), "");
  EXPECT_EQ(why_gpus_are_missing({"node1, GPU a", "node1, GPU b", "node2, GPU a"}), "");
  EXPECT_EQ(idle_gpus_note({"node1, GPU a", "node1, GPU b"}), "");
}

TEST(Session, NamesTheRanksThatWouldShareAGpu) {
  EXPECT_EQ(why_gpus_are_missing({"node1, GPU a", "node1, GPU b", "node1, GPU a"}),
            "ranks 0 and 2 would share one (node1, GPU a)");
}

TEST(Session, NamesTheRankThatSeesNoGpu) {
  EXPECT_EQ(why_gpus_are_missing({"node1, GPU a", ""}), "rank 1 sees no GPU");
  EXPECT_EQ(why_gpus_are_missing({"", ""}), "rank 0 sees no GPU");
}

TEST(Session, SaysWhyGpusLieIdleWhereThereAreAny) {
  EXPECT_EQ(idle_gpus_note({"node1, GPU a", ""}),
            "the CPU computes, GPUs lie idle: a run takes them where every rank has its own, but "
            "rank 1 sees no GPU");
  EXPECT_EQ(idle_gpus_note({"", ""}), "");
}

}  // namespace
}  // namespace pinnerformer
