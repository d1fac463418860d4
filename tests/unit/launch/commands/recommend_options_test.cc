// Whom `pinnerformer recommend` answers, with how many items, and which of them it leaves out.
#include <gtest/gtest.h>
#include <torch/types.h>

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "comm/thread_communicator.h"
#include "launch/commands/registry.h"
#include "launch/serving/loaded_model.h"
#include "tests/support/dataset_fixture.h"
#include "tests/support/tiny_config.h"
#include "tests/support/tiny_dataset.h"

namespace pinnerformer {
namespace {

using Words = std::vector<std::string>;
using nlohmann::json;

class RecommendOptionsTest : public testing::Test {
 protected:
  RecommendOptionsTest()
      : path_(write_tiny_dataset(directory_.path(), 150)), run_(directory_ / "run") {
    train_config(dataset_, tiny_config(path_, run_, {"train.steps=1"}));
  }

  // `pinnerformer recommend --run RUN words`: what --json says.
  [[nodiscard]] json recommended(const Words& words) const {
    const std::string file = directory_ / "recommended.json";
    Arguments arguments{"--run", run_, "--json", file};
    arguments.insert(arguments.end(), words.begin(), words.end());
    testing::internal::CaptureStdout();
    const int code = command_recommend(arguments);
    testing::internal::GetCapturedStdout();
    EXPECT_EQ(code, kDone);
    return json::parse(content_of(file));
  }
  static Words users_of(const json& answers) {
    Words users;
    for (const json& answer : answers) users.push_back(answer.at("user").get<std::string>());
    return users;
  }
  // Held out (split.users_percent=20), with at least so many events.
  [[nodiscard]] Words held_out_users(int64_t events) const {
    Words users;
    for (int64_t user = 0; user < dataset_.users(); ++user)
      if (dataset_.user_hash(user) % 100 < 20 && dataset_.timeline(user).size() >= events)
        users.push_back(dataset_.user_id(user));
    return users;
  }
  // The row of a user with many events.
  [[nodiscard]] int64_t busy_user() const {
    for (int64_t user = 0; user < dataset_.users(); ++user)
      if (dataset_.timeline(user).size() >= 12) return user;
    return -1;
  }

  TemporaryDirectory directory_;
  std::string path_;
  std::string run_;
  Dataset dataset_ = Dataset::open(path_);
};

TEST_F(RecommendOptionsTest, HeldOutUsersHaveTheEventsThatAreShown) {
  const Words with_6 = held_out_users(6), with_3 = held_out_users(3);  // split.min_events
  ASSERT_GT(with_6.size(), 4U);
  ASSERT_GT(with_3.size(), with_6.size());
  EXPECT_EQ(users_of(recommended({"--evaluation-users", "150", "--history", "6"})), with_6);
  EXPECT_EQ(users_of(recommended({"--evaluation-users", "150", "--history", "1"})), with_3);
  const std::string named = dataset_.user_id(busy_user());
  EXPECT_EQ(users_of(recommended({"--evaluation-users", "2", "--history", "6", "--users", named})),
            (Words{named, with_6[0], with_6[1]}));
}

TEST_F(RecommendOptionsTest, TheNearestItemsButTheUsersOwn) {
  LoadedModelOptions options;
  options.run = run_;
  LoadedModel model(options, DataUse::kTrainingData);
  const auto comm = make_single_communicator();
  model.load_model(torch::kCPU, *comm);
  const Timeline timeline = dataset_.timeline(busy_user());
  const torch::Tensor scores =
      model.item_vectors().matmul(model.user_vectors(std::vector<Timeline>{timeline})[0]);
  std::map<std::string, double> score_of;
  std::vector<double> others;  // of items that are not the user's own, the highest first
  for (int64_t item = 0; item < dataset_.items(); ++item) {
    score_of[dataset_.item_id(item)] = scores[item].item<double>();
    if (std::count(timeline.item.begin(), timeline.item.end(), item) == 0)
      others.push_back(scores[item].item<double>());
  }
  std::sort(others.begin(), others.end(), std::greater<>());

  const std::string user = dataset_.user_id(busy_user());
  const json found = recommended({"--users", user, "--items", "12"}).at(0).at("recommended");
  ASSERT_EQ(found.size(), 12U);
  for (size_t i = 0; i < found.size(); ++i) {
    const auto similarity = found[i].at("similarity").get<double>();
    EXPECT_NEAR(similarity, others[i], 1e-5);
    EXPECT_NEAR(similarity, score_of.at(found[i].at("item").get<std::string>()), 1e-5);
  }
  const json all = recommended({"--users", user, "--items", "40", "--repeats"});
  EXPECT_EQ(all.at(0).at("recommended").size(), 40U);
  EXPECT_EQ(recommended({"--users", user, "--items", "40"}).at(0).at("recommended").size(),
            others.size());
}

TEST_F(RecommendOptionsTest, TheLastEventsAreShownInTheirOrder) {
  const Timeline timeline = dataset_.timeline(busy_user());
  const std::string user = dataset_.user_id(busy_user());
  const json last = recommended({"--users", user, "--history", "4"}).at(0).at("last");
  ASSERT_EQ(last.size(), 4U);
  for (size_t i = 0; i < 4; ++i) {
    const size_t event = timeline.item.size() - 4 + i;
    EXPECT_EQ(last[i].at("item").get<std::string>(), dataset_.item_id(timeline.item[event]));
    EXPECT_EQ(last[i].at("action").get<std::string>(),
              dataset_.actions()[static_cast<size_t>(timeline.action[event])]);
  }
}

}  // namespace
}  // namespace pinnerformer
