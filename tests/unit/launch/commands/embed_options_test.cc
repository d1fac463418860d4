// Options of `pinnerformer embed` whose file must hold what another file of the command holds.
#include <gtest/gtest.h>
#include <torch/types.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "comm/thread_communicator.h"
#include "dataloader/base/errors.h"
#include "dataloader/vectors/embedding_file.h"
#include "launch/commands/registry.h"
#include "launch/serving/loaded_model.h"
#include "tests/support/dataset_fixture.h"
#include "tests/support/tiny_config.h"
#include "tests/support/tiny_dataset.h"

namespace pinnerformer {
namespace {

using Words = std::vector<std::string>;

class EmbedOptionsTest : public testing::Test {
 protected:
  EmbedOptionsTest()
      : path_(write_tiny_dataset(directory_.path(), 47, /*vectors=*/true, /*topics=*/true)) {}

  std::string trained(const std::string& name, const Words& words) {
    train_config(dataset_, tiny_config(path_, directory_ / name, words));
    return directory_ / name;
  }
  // `pinnerformer embed --run RUN --out FILE words`. Returns what --json says.
  [[nodiscard]] nlohmann::json embedded(const std::string& run, const std::string& out,
                                        const Words& words = {}) const {
    Arguments arguments{"--run", run, "--out", out, "--json", directory_ / "embed.json"};
    arguments.insert(arguments.end(), words.begin(), words.end());
    testing::internal::CaptureStdout();
    const int code = command_embed(arguments);
    testing::internal::GetCapturedStdout();
    EXPECT_EQ(code, kDone);
    return nlohmann::json::parse(content_of(directory_ / "embed.json"));
  }

  TemporaryDirectory directory_;
  std::string path_;
  Dataset dataset_ = Dataset::open(path_);
};

// The one shard of one rank has the users, the items and the numbers of the whole file.
TEST_F(EmbedOptionsTest, ShardsHoldAllVectorsOfAUser) {
  for (const int64_t vectors : {1, 3}) {
    SCOPED_TRACE(vectors);
    const std::string name = std::to_string(vectors);
    const std::string run = trained(name, {"model.user_vectors=" + name});
    static_cast<void>(embedded(run, directory_ / (name + ".h5")));
    static_cast<void>(embedded(run, directory_ / (name + "-parts.h5"), {"--shards"}));
    for (const char* set : {"/user", "/item"}) {
      const EmbeddingFileReader whole(directory_ / (name + ".h5"), set);
      const EmbeddingFileReader shard(directory_ / (name + "-parts-00000-of-00001.h5"), set);
      ASSERT_EQ(shard.rows(), whole.rows()) << set;
      ASSERT_EQ(shard.width(), std::string(set) == "/user" ? 6 * vectors : 6);
      EXPECT_TRUE(torch::equal(shard.vectors(0, shard.rows()), whole.vectors(0, whole.rows())))
          << set;
      for (int64_t row = 0; row < whole.rows(); ++row)
        EXPECT_EQ(shard.ids(row, 1).text(0), whole.ids(row, 1).text(0)) << set;
    }
  }
}

// "With an event at or after this time": the second of a user's newest event counts, the next one
// does not.
TEST_F(EmbedOptionsTest, ActiveUsersHaveAnEventAtOrAfterTheTime) {
  const std::string run = trained("run", {});
  std::vector<int64_t> newest;
  for (int64_t user = 0; user < dataset_.users(); ++user)
    newest.push_back(dataset_.timeline(user).time.back());
  std::sort(newest.begin(), newest.end());
  const int64_t middle = newest[newest.size() / 2];
  for (const int64_t since : {middle, middle + 1}) {
    const auto first = std::lower_bound(newest.begin(), newest.end(), since);
    const nlohmann::json made = embedded(run, directory_ / "active.h5",
                                         {"--users", "--active-since", std::to_string(since)});
    EXPECT_EQ(made.at("users").get<int64_t>(), newest.end() - first);
    EXPECT_EQ(made.at("items").get<int64_t>(), 0);
    EXPECT_EQ(EmbeddingFileReader(directory_ / "active.h5", "/user").rows(), newest.end() - first);
  }
}

TEST_F(EmbedOptionsTest, VectorsForATopicAreOfThisTopic) {
  const std::string run = trained("run", {"model.condition=topic"});
  const std::string topic = dataset_.topic_names()[1];
  EXPECT_FALSE(embedded(run, directory_ / "any.h5", {"--users"}).contains("topic"));
  EXPECT_EQ(embedded(run, directory_ / "topic.h5", {"--users", "--topic", topic}).at("topic"),
            topic);
  const EmbeddingFileReader any(directory_ / "any.h5", "/user");
  const EmbeddingFileReader of_topic(directory_ / "topic.h5", "/user");
  EXPECT_EQ(any.topic(), "");
  EXPECT_EQ(of_topic.topic(), topic);
  LoadedModelOptions of_run;
  of_run.run = run;
  LoadedModel model(of_run, DataUse::kAnyThatFits);
  model.condition_on(topic);
  model.load_model(torch::kCPU, *make_single_communicator());
  const torch::Tensor expected = model.user_vectors(std::vector{dataset_.timeline(0)})[0];
  EXPECT_LT((of_topic.vectors(0, 1)[0] - expected).abs().max().item<float>(), 1e-5);
  EXPECT_GT((any.vectors(0, 1)[0] - expected).abs().max().item<float>(), 1e-3);
  const Arguments mixed{"--run",
                        run,
                        "--users",
                        "--out",
                        directory_ / "merged.h5",
                        "--merge",
                        directory_ / "topic.h5"};
  EXPECT_THROW(command_embed(mixed), DataError);
}

}  // namespace
}  // namespace pinnerformer
