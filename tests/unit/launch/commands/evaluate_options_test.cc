// Every option that reaches an evaluation: what `pinnerformer evaluate` writes must be what a plain
// program computes with the changed value. An option that is ignored, constant or taken for another
// one fails here.
#include <ATen/record_function.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "comm/thread_communicator.h"
#include "configs/errors.h"
#include "launch/commands/registry.h"
#include "launch/serving/loaded_model.h"
#include "tests/support/dataset_fixture.h"
#include "tests/support/plain_evaluation.h"
#include "tests/support/tiny_config.h"
#include "tests/support/tiny_dataset.h"

namespace pinnerformer {
namespace {

using Words = std::vector<std::string>;

constexpr int64_t kUsers = 150;

const Words kStoredWords = {
    "train.steps=1",
    "split.users_percent=50",
    "split.window_days=6",
    "split.end=2020-09-29",
    "evaluate.frequency=once,daily,realtime",
    "evaluate.bootstrap=20",
    "evaluate.baselines=popularity,personal_popularity,mean_of_last",
};

Words operator+(Words words, const Words& more) {
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

std::string name_of(const Words& words) {
  std::string name;
  for (const std::string& word : words) name += (name.empty() ? "" : " ") + word;
  return name;
}

// What the command wrote, in the form of the plain program.
PlainEvaluation evaluation_of(const nlohmann::json& written) {
  PlainEvaluation evaluation;
  for (const std::string key :
       {"users", "user_windows", "positives", "excluded_positives", "index_items"})
    evaluation.counts[key] = written.at(key);
  for (const nlohmann::json& row : written.at("results")) {
    PlainResult result{row.at("method"), row.at("frequency"), {}};
    for (const std::string key :
         {"recall@10", "recall@50", "recall@10_per_user", "ndcg@10", "p90_coverage@10"})
      result.figures[key] = row.at(key);
    if (const nlohmann::json& error = row.at("stderr").at("recall@10"); !error.is_null())
      result.figures["stderr"] = error;
    evaluation.results.push_back(result);
  }
  return evaluation;
}

void expect_equal(const PlainEvaluation& found, const PlainEvaluation& expected) {
  EXPECT_EQ(found.counts, expected.counts);
  ASSERT_EQ(found.results.size(), expected.results.size());
  for (size_t i = 0; i < found.results.size(); ++i) {
    const PlainResult& a = found.results[i];
    const PlainResult& b = expected.results[i];
    SCOPED_TRACE(b.method + " " + b.frequency);
    EXPECT_EQ(a.method, b.method);
    EXPECT_EQ(a.frequency, b.frequency);
    ASSERT_EQ(a.figures.size(), b.figures.size());
    for (const auto& [key, value] : b.figures) EXPECT_NEAR(a.figures.at(key), value, 1e-9) << key;
  }
}

class EvaluateOptionsTest : public testing::Test {
 protected:
  EvaluateOptionsTest() : path_(write_tiny_dataset(directory_.path(), kUsers)) {}

  [[nodiscard]] RunConfig config(const Words& words) const {
    return tiny_config(path_, directory_ / name_of(words), kStoredWords + words);
  }
  // The directory of a run that was trained with these options.
  std::string trained(const Words& words) {
    const RunConfig run = config(words);
    if (std::find(runs_.begin(), runs_.end(), run.run.directory) == runs_.end()) {
      train_config(dataset_, run);
      runs_.push_back(run.run.directory);
    }
    return run.run.directory;
  }
  // `pinnerformer evaluate --run RUN words`
  [[nodiscard]] PlainEvaluation evaluated(const std::string& run, const Words& words = {}) const {
    const std::string file = directory_ / "result.json";
    testing::internal::CaptureStdout();
    const int code = command_evaluate(Arguments{"--run", run, "--json", file} + words);
    testing::internal::GetCapturedStdout();
    EXPECT_EQ(code, kDone);
    return evaluation_of(nlohmann::json::parse(content_of(file)));
  }
  static PlainEvaluation plain(const std::string& run, const RunConfig& config) {
    LoadedModelOptions options;
    options.run = run;
    LoadedModel model(options, DataUse::kTrainingData);
    const auto comm = make_single_communicator();
    model.load_model(torch::kCPU, *comm);
    return evaluate_plainly(model, config);
  }

  // `change` is stored with the model: its training must have had it too. The same model evaluated
  // without the change gives other figures.
  void expect_stored(const Words& change, const Words& against = {}) {
    SCOPED_TRACE(name_of(change));
    const std::string run = trained(against + change);
    const PlainEvaluation expected = plain(run, config(against + change));
    expect_equal(evaluated(run), expected);
    EXPECT_NE(plain(run, config(against)), expected) << "the change has no effect to be seen";
  }
  // `change` is given to the command.
  void expect_given(const Words& change, const Words& against = {}) {
    SCOPED_TRACE(name_of(change));
    const std::string run = trained({});
    const PlainEvaluation expected = plain(run, config(against + change));
    expect_equal(evaluated(run, against + change), expected);
    EXPECT_NE(plain(run, config(against)), expected) << "the change has no effect to be seen";
  }

  TemporaryDirectory directory_;
  std::string path_;
  Dataset dataset_ = Dataset::open(path_);
  Words runs_;
};

TEST_F(EvaluateOptionsTest, AsStored) {
  const std::string run = trained({});
  const PlainEvaluation expected = plain(run, config({}));
  EXPECT_GT(expected.counts.at("user_windows"), 15) << "too few cases to tell options apart";
  expect_equal(evaluated(run), expected);
}

TEST_F(EvaluateOptionsTest, Positives) {
  expect_stored({"positives.actions=save>20"});
  expect_stored({"positives.actions=view"});
  expect_stored({"positives.surfaces=home"});
  expect_stored({"positives.first_only=true"});
}

TEST_F(EvaluateOptionsTest, Split) {
  expect_stored({"split.users_percent=30"});
  expect_stored({"split.window_days=4"});
  expect_stored({"split.windows=2"});
  expect_stored({"split.end=2020-10-01"});
  expect_stored({"split.min_events=6"});
  const Words leave_one_out = {"split.end=", "split.protocol=leave_one_out"};
  expect_stored(leave_one_out);
  expect_stored({"split.min_events=6"}, leave_one_out);
}

// The seed chooses the items of the index, the resamples and the scores of `random`.
TEST_F(EvaluateOptionsTest, Seed) {
  expect_stored({"run.seed=12"});
  expect_stored({"run.seed=12"}, {"evaluate.index_items=15", "evaluate.bootstrap=0"});
  expect_stored({"run.seed=12"}, {"evaluate.baselines=random", "evaluate.bootstrap=0"});
}

TEST_F(EvaluateOptionsTest, Evaluate) {
  expect_given({"evaluate.index_items=15"});
  expect_given({"evaluate.popularity_days=2"});
  expect_given({"evaluate.mean_last=2"});
  expect_given({"evaluate.bootstrap=9"});
  expect_given({"evaluate.bootstrap=0"});
  expect_given({"evaluate.exclude_seen=false"});
  expect_given({"evaluate.frequency=daily"});
  expect_given({"evaluate.daily_delay_days=1"});
  expect_given({"evaluate.baselines=random,mean_of_last"});
  const Words once = {"evaluate.frequency=once", "evaluate.bootstrap=0"};
  expect_given({"evaluate.markov_last=4"}, Words{"evaluate.baselines=markov"} + once);
  expect_given({"evaluate.item_to_item_last=1"}, Words{"evaluate.baselines=item_to_item"} + once);
  expect_given({"evaluate.ease_l2=0.5"}, Words{"evaluate.baselines=ease"} + once);
}

TEST_F(EvaluateOptionsTest, EveryBaselineHasItsRow) {
  const PlainEvaluation all =
      evaluated(trained({}), {"evaluate.frequency=once",
                              "evaluate.baselines=pinnersage_20,random,popularity,"
                              "pinnersage_5,personal_popularity,mean_of_last"});
  Words methods;
  for (const PlainResult& result : all.results) methods.push_back(result.method);
  EXPECT_EQ(methods, (Words{"model", "pinnersage_20", "random", "popularity", "pinnersage_5",
                            "personal_popularity", "mean_of_last"}));
}

// What watches a training, such as the port of its metrics, makes no other model of it.
TEST_F(EvaluateOptionsTest, SeedsMayBeWatchedInOtherWays) {
  const std::string first = trained({});
  const std::string second = trained({"run.seed=12", "metrics.tensorboard=false"});
  EXPECT_FALSE(evaluated(first, {"--run", second, "evaluate.frequency=once"}).results.empty());
  const std::string other = trained({"run.seed=12", "model.layers=1"});
  EXPECT_THROW(command_evaluate({"--run", first, "--run", other}), ConfigError);
}

// Calls of a layer that the transformer alone has.
std::atomic<int64_t> layer_norms;

std::unique_ptr<at::ObserverContext> count_layer_norms(const at::RecordFunction& function) {
  if (std::string_view(function.name()) == "aten::layer_norm") ++layer_norms;
  return nullptr;
}

// The size of a batch changes no figure, so what is counted is how often the model runs.
TEST_F(EvaluateOptionsTest, BatchUsers) {
  const std::string run = trained({});
  const int64_t cases = plain(run, config({})).counts.at("user_windows");
  const auto calls = [&](const Words& words) {
    layer_norms = 0;
    const at::CallbackHandle handle =
        at::addGlobalCallback(at::RecordFunctionCallback(count_layer_norms));
    static_cast<void>(evaluated(run, Words{"evaluate.baselines=popularity"} + words));
    at::removeCallback(handle);
    return layer_norms.load();
  };
  const int64_t calls_per_batch = calls({"evaluate.frequency=once"});
  ASSERT_GT(calls_per_batch, 0);
  EXPECT_EQ(calls({"evaluate.frequency=once", "evaluate.batch_users=1"}), cases * calls_per_batch);
  EXPECT_GT(calls({"evaluate.frequency=realtime", "evaluate.batch_users=1"}),
            cases * calls_per_batch)
      << "some users have several vectors, each of them a batch of its own";
}

}  // namespace
}  // namespace pinnerformer
