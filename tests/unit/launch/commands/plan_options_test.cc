// Every option of `pinnerformer plan` reaches what it plans, and the users of a dataset are those
// that its split trains on.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "launch/commands/registry.h"
#include "tests/support/dataset_fixture.h"
#include "tests/support/tiny_dataset.h"

namespace pinnerformer {
namespace {

using Words = std::vector<std::string>;

class PlanOptionsTest : public testing::Test {
 protected:
  // `pinnerformer plan` for four ranks of a CPU. Returns what --json says.
  [[nodiscard]] nlohmann::json planned(const Words& words) const {
    const std::string file = directory_ / "plan.json";
    Arguments arguments{"--ranks",
                        "4",
                        "--gpu",
                        "cpu",
                        "--json",
                        file,
                        "model.hidden=32",
                        "model.heads=4",
                        "model.layers=2",
                        "model.max_length=24",
                        "model.output=16",
                        "model.item_hidden=20",
                        "train.steps=1000",
                        "train.global_batch_users=40"};
    arguments.insert(arguments.end(), words.begin(), words.end());
    testing::internal::CaptureStdout();
    const int code = command_plan(arguments);
    testing::internal::GetCapturedStdout();
    EXPECT_EQ(code, kDone);
    return nlohmann::json::parse(content_of(file));
  }
  static double part_of(const nlohmann::json& plan, const char* list, const std::string& name) {
    for (const nlohmann::json& part : plan.at(list))
      if (part.at("part") == name) return part.at("value").get<double>();
    ADD_FAILURE() << "no part " << name;
    return 0;
  }
  static double number_of(const nlohmann::json& plan, const char* key) {
    return plan.at(key).get<double>();
  }
  static double users_of(const nlohmann::json& plan) {
    return number_of(plan, "epoch_seconds") * number_of(plan, "users_per_second");
  }

  TemporaryDirectory directory_;
};

TEST_F(PlanOptionsTest, SizesOfTheDataAreThoseGiven) {
  EXPECT_NEAR(users_of(planned({"--users", "5000"})), 5000, 1e-6);
  EXPECT_EQ(part_of(planned({"--items", "7000"}), "memory", "counts of positives"), 4 * 7000);
  const auto vectors = planned({"--items", "7000", "--content-width", "24"});
  EXPECT_EQ(part_of(vectors, "memory", "item vectors"), 7000 * 24 * 2);
  const auto none = planned({"--content-width", "0", "item.table.placement=replicated"});
  EXPECT_EQ(part_of(none, "memory", "item vectors"), 0);
  const auto events = planned({"--events-per-user", "321"});
  EXPECT_NEAR(number_of(events, "read_bytes_per_second"),
              number_of(events, "users_per_second") * 321 * 20, 1e-3);
}

TEST_F(PlanOptionsTest, PairsAndNodesMoveTheStep) {
  const auto pairs = [&](const char* count) {
    return part_of(planned({"--pairs-per-user", count}), "step", "plan of the step");
  };
  EXPECT_NEAR(pairs("9"), 3 * pairs("3"), 1e-9);
  const auto exchange = [&](const char* nodes) {
    return part_of(planned({"--nodes", nodes}), "step", "sum of gradients, exposed");
  };
  EXPECT_EQ(exchange("0"), exchange("1")) << "four ranks fill no node";
  EXPECT_GT(exchange("2"), 2 * exchange("1"));
}

TEST_F(PlanOptionsTest, UsersOfADatasetAreThoseOfTheTraining) {
  const std::string path = "data.path=" + write_tiny_dataset(directory_.path(), 60);
  EXPECT_NEAR(users_of(planned({path, "split.users_percent=0"})), 60, 1e-6);
  EXPECT_NEAR(users_of(planned({path, "split.users_percent=20"})), 48, 1e-6);
  EXPECT_NEAR(users_of(planned({path, "split.users_percent=20", "split.validation_percent=30"})),
              30, 1e-6);
  EXPECT_NEAR(users_of(planned({path, "split.users_percent=100", "split.protocol=leave_one_out"})),
              60, 1e-6)
      << "every user is trained on";
}

}  // namespace
}  // namespace pinnerformer
