// Edit distance and the choice of the name a typing error was meant to be.
#include "dataloader/base/nearest_name.h"

#include <gtest/gtest.h>

#include <vector>

namespace pinnerformer {
namespace {

TEST(NearestName, CountsTypingErrors) {
  EXPECT_EQ(edit_distance("", ""), 0);
  EXPECT_EQ(edit_distance("", "abc"), 3);
  EXPECT_EQ(edit_distance("abc", ""), 3);
  EXPECT_EQ(edit_distance("hidden", "hidden"), 0);
  EXPECT_EQ(edit_distance("hiden", "hidden"), 1);
  EXPECT_EQ(edit_distance("hidxen", "hidden"), 1);
  EXPECT_EQ(edit_distance("hidddden", "hidden"), 2);
  EXPECT_EQ(edit_distance("trian", "train"), 1);  // neighbours swapped: one error
  EXPECT_EQ(edit_distance("kitten", "sitting"), 3);
}

TEST(NearestName, TakesTheFirstOfTheNearest) {
  const std::vector<std::string> known = {"train", "embed", "brain"};
  EXPECT_EQ(nearest_name("trian", known), "train");
  EXPECT_EQ(nearest_name("rain", known), "train");
  EXPECT_EQ(nearest_name("embedd", known), "embed");
}

TEST(NearestName, ABeginningIsNearerThanSimilarLetters) {
  const std::vector<std::string> known = {"data", "evaluate", "--help", "--columns", "--config"};
  EXPECT_EQ(nearest_name("eval", known), "evaluate");
  EXPECT_EQ(nearest_name("--co", known), "--columns");
  EXPECT_EQ(nearest_name("", known), "data");
}

TEST(NearestName, KeysMayLackTheirSection) {
  const std::vector<std::string> known = {"model.layers", "model.hidden", "objective.window_days",
                                          "split.window_days", "optimizer.learning_rate"};
  EXPECT_EQ(nearest_key("hidden", known), "model.hidden");
  EXPECT_EQ(nearest_key("learning_rat", known), "optimizer.learning_rate");
  EXPECT_EQ(nearest_key("model.learning_rate", known), "optimizer.learning_rate");
  EXPECT_EQ(nearest_key("model.hiden", known), "model.hidden");
  EXPECT_EQ(nearest_key("splt.window_days", known), "split.window_days");
  EXPECT_EQ(nearest_key("objectiv.window_days", known), "objective.window_days");
}

}  // namespace
}  // namespace pinnerformer
