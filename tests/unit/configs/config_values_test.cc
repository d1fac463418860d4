// What values a configuration accepts, and that every value survives being written and read again.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <ostream>

#include "configs/config_keys.h"
#include "configs/errors.h"
#include "configs/run_config.h"
#include "tests/support/message_of.h"

namespace pinnerformer {
namespace {

using testing::ElementsAre;
using testing::EndsWith;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

std::string error_of(const std::vector<std::string>& words) {
  return message_of<ConfigError>([&] { (void)load_config("", words); });
}

// A configuration that training accepts, with `words` on top.
std::string training_error(const std::vector<std::string>& words) {
  std::vector<std::string> all = {"data.path=d", "run.directory=r", "positives.actions=repin"};
  all.insert(all.end(), words.begin(), words.end());
  return message_of<ConfigError>([&] { check_trainable(load_config("", all)); });
}

struct Range {
  std::string key;
  std::vector<std::string> good;
  std::vector<std::string> bad;
  std::string expected;
};

// How a failing range is named in the output.
void PrintTo(const Range& range, std::ostream* stream) { *stream << range.key; }

class ConfigValuesRange : public testing::TestWithParam<Range> {};

TEST_P(ConfigValuesRange, IsChecked) {
  for (const std::string& value : GetParam().good) {
    EXPECT_EQ(error_of({GetParam().key + "=" + value}), "no error") << value;
  }
  for (const std::string& value : GetParam().bad) {
    EXPECT_EQ(error_of({GetParam().key + "=" + value}),
              GetParam().key + " = " + value + " (command line): expected " + GetParam().expected);
  }
}

const std::string kCount = "a whole number of at least 1";
const std::string kNotNegative = "a whole number of at least 0";
const std::string kPositive = "a number above 0";
const std::string kShare = "a number from 0 to below 1";
const std::string kActions =
    "a list of different actions, each NAME or NAME>SECONDS, such as [repin, closeup>10]";

INSTANTIATE_TEST_SUITE_P(
    Keys, ConfigValuesRange,
    testing::Values(
        Range{"run.seed", {"0"}, {"-1"}, kNotNegative},
        Range{"data.prefetch_batches", {"1"}, {"0"}, kCount},
        Range{"data.device_vectors_mib", {"0"}, {"-1"}, kNotNegative},
        Range{"data.block_users", {"1"}, {"0"}, kCount},
        Range{"data.shuffle_blocks", {"1"}, {"0"}, kCount},
        Range{"data.on_bad_block", {"fail", "skip"}, {"", "stop"}, "one of fail, skip"},
        Range{"positives.actions",
              {"a", "a>0", "a>2.5,b"},
              {"a,", "a>", "a>x", "a>-1", ">3", "a,a>10"},
              kActions},
        Range{"positives.surfaces",
              {"", "a,b"},
              {"a,a", ",a"},
              "a list of different names, such as [a, b]"},
        Range{"split.users_percent", {"0", "100"}, {"-1", "101"}, "a whole number from 0 to 100"},
        Range{"split.window_days", {"0.5"}, {"0", "-1"}, kPositive},
        Range{"split.windows", {"1"}, {"0"}, kCount},
        Range{"split.min_events", {"1"}, {"0"}, kCount},
        Range{
            "split.validation_percent", {"0", "90"}, {"-1", "101"}, "a whole number from 0 to 100"},
        Range{"split.leave_out", {"1", "2"}, {"0", "3"}, "a whole number from 1 to 2"},
        Range{"model.max_length", {"1"}, {"0"}, kCount},
        Range{"model.hidden", {"8"}, {"0"}, kCount}, Range{"model.layers", {"1"}, {"0"}, kCount},
        Range{"model.heads", {"1"}, {"0", "-8"}, kCount},
        Range{"model.output", {"1"}, {"0"}, kCount},
        Range{"model.item_hidden", {"1"}, {"0"}, kCount},
        Range{"model.action_dim", {"1"}, {"0"}, kCount},
        Range{"model.surface_dim", {"1"}, {"0"}, kCount},
        Range{"model.dropout", {"0", "0.999"}, {"-0.1", "1", "inf"}, kShare},
        Range{"model.temperature", {"0.01"}, {"0.009"}, "a number of at least 0.01"},
        Range{"model.block", {"ligr"}, {"mamba"}, "one of transformer, ligr, hstu, lru"},
        Range{"model.user_head", {"residual"}, {"none"}, "one of mlp, norm, residual"},
        Range{"model.similarity", {"dot"}, {"l2"}, "one of cosine, dot"},
        Range{"model.user_vectors", {"1"}, {"0", "65"}, "a whole number from 1 to 64"},
        Range{"model.condition", {"none", "topic"}, {"item"}, "one of none, topic"},
        Range{"model.condition_dropout", {"0", "0.5"}, {"1"}, kShare},
        Range{"model.prior_days",
              {"[]", "[1, 4]", "7"},
              {"[4, 1]", "[0]", "[1, 1]"},
              "a list of whole numbers above 0, ascending, such as [1, 7]"},
        Range{"item.tower", {"residual"}, {"linear"}, "one of mlp, residual, tied"},
        Range{"item.table.placement",
              {"none", "replicated", "row_sharded"},
              {"sharded"},
              "one of none, replicated, row_sharded"},
        Range{"item.table.memory", {"auto", "host"}, {"gpu"}, "one of auto, host, device"},
        Range{"item.table.dim", {"1"}, {"0"}, kCount},
        Range{"item.table.optimizer",
              {"rowwise_adagrad", "lazy_adam", "adam"},
              {"sgd"},
              "one of rowwise_adagrad, lazy_adam, adam"},
        Range{"item.table.learning_rate", {"0.1"}, {"0"}, kPositive},
        Range{"item.table.init_std", {"0.1"}, {"0"}, kPositive},
        Range{"item.table.hash_buckets", {"0", "7"}, {"-1"}, kNotNegative},
        Range{"item.table.unknown_rate", {"0", "0.5"}, {"1"}, kShare},
        Range{"item.table.pretrain_steps", {"0", "5"}, {"-1"}, kNotNegative},
        Range{"objective.name",
              {"next_action", "sasrec", "all_action", "next_item"},
              {"dense", ""},
              "one of next_action, sasrec, all_action, dense_all_action, next_item"},
        Range{"objective.window_anchor",
              {"position", "sequence_end"},
              {"start"},
              "one of sequence_end, position"},
        Range{"objective.window_days", {"1"}, {"-1"}, "a number of at least 0"},
        Range{"objective.window_events", {"0"}, {"-1"}, kNotNegative},
        Range{"objective.max_labels", {"1"}, {"0"}, kCount},
        Range{"objective.positions", {"1"}, {"0"}, kCount},
        Range{"objective.weighting", {"user", "pair"}, {"event"}, "one of user, pair"},
        Range{"objective.recent_days", {"0", "0.5"}, {"-1"}, "a number of at least 0"},
        Range{"objective.sample_end",
              {"uniform", "latest", "cover", "moment"},
              {"end"},
              "one of uniform, latest, cover, moment"},
        Range{"negatives.mask",
              {"user_positives", "own_positive"},
              {"none"},
              "one of user_positives, own_positive"},
        Range{"negatives.in_batch", {"0"}, {"-1"}, kNotNegative},
        Range{"negatives.random", {"0"}, {"-1"}, kNotNegative},
        Range{"negatives.logq_form",
              {"per_part", "mixture", "corrected"},
              {"sum"},
              "one of per_part, mixture, corrected"}));

INSTANTIATE_TEST_SUITE_P(
    TrainingKeys, ConfigValuesRange,
    testing::Values(
        Range{"optimizer.learning_rate", {"1e-3"}, {"0", "-1"}, kPositive},
        Range{"optimizer.schedule", {"constant"}, {"linear"}, "one of cosine, constant"},
        Range{"validate.every_steps", {"0", "5"}, {"-1"}, kNotNegative},
        Range{"validate.patience", {"0", "5"}, {"-1"}, kNotNegative},
        Range{"optimizer.warmup_steps", {"0"}, {"-1"}, kNotNegative},
        Range{"optimizer.weight_decay", {"0"}, {"-1"}, "a number of at least 0"},
        Range{"optimizer.beta1", {"0"}, {"1"}, kShare},
        Range{"optimizer.beta2", {"0"}, {"1"}, kShare},
        Range{"optimizer.epsilon", {"1e-8"}, {"0"}, kPositive},
        Range{"optimizer.clip_norm", {"0"}, {"-1"}, "a number of at least 0"},
        Range{"train.steps", {"1"}, {"0"}, kCount},
        Range{"train.global_batch_users", {"1"}, {"0"}, kCount},
        Range{"train.precision",
              {"auto", "fp32", "bf16", "bf16_always"},
              {"fp16", "BF16"},
              "one of auto, fp32, bf16, bf16_always"},
        Range{"train.log_every", {"1"}, {"0"}, kCount},
        Range{"train.gradient_accumulation_steps", {"1"}, {"0"}, kCount},
        Range{"train.on_nonfinite", {"stop", "skip"}, {"ignore"}, "one of stop, skip"},
        Range{"checkpoint.every_steps", {"1"}, {"0"}, kCount},
        Range{"checkpoint.keep_last", {"1"}, {"0"}, kCount},
        Range{"checkpoint.table_full_every", {"1"}, {"0"}, kCount},
        Range{"checkpoint.keep_every", {"0", "1000"}, {"-1"}, kNotNegative},
        Range{"train.stop_after",
              {"", "90s", "45m", "1d11h30m"},
              {"90", "m", "1h-2m", "0s", "30m1h"},
              "a duration such as 90s, 45m or 1d11h30m, or nothing"},
        Range{"metrics.tensorboard", {"true", "no"}, {"maybe"}, "true or false"},
        Range{"metrics.prometheus_port",
              {"0", "65535"},
              {"-1", "65536"},
              "a whole number from 0 to 65535"},
        Range{"metrics.peak_tflops", {"0", "989.5"}, {"-1"}, "a number of at least 0"},
        Range{"metrics.prometheus_address",
              {"127.0.0.1", "0.0.0.0", "::1"},
              {"", "localhost", "127.0.0.1:80", "256.0.0.1"},
              "an address in numbers, such as 127.0.0.1, 0.0.0.0 or ::1"},
        Range{"comm.backend",
              {"auto", "nccl", "mpi", "threads"},
              {"gloo"},
              "one of auto, nccl, mpi, threads"},
        Range{"comm.timeout_seconds", {"0.5"}, {"0"}, kPositive},
        Range{"comm.first_timeout_seconds", {"0.5"}, {"0"}, kPositive},
        Range{"comm.straggler_seconds", {"0.5"}, {"0"}, kPositive},
        Range{"comm.reduce_dtype", {"fp32", "bf16"}, {"fp16"}, "one of fp32, bf16"},
        Range{"comm.bucket_mib", {"0", "0.1"}, {"-1"}, "a number of at least 0"},
        Range{"evaluate.index_items", {"0"}, {"-1"}, kNotNegative},
        Range{"evaluate.popularity_days", {"0"}, {"-1"}, "a number of at least 0"},
        Range{"evaluate.mean_last", {"1"}, {"0"}, kCount},
        Range{"evaluate.markov_last", {"1"}, {"0"}, kCount},
        Range{"evaluate.item_to_item_last", {"1"}, {"0"}, kCount},
        Range{"evaluate.ease_l2", {"0.5"}, {"0", "-1"}, kPositive},
        Range{"evaluate.daily_delay_days", {"0"}, {"-1"}, kNotNegative},
        Range{"evaluate.bootstrap", {"0"}, {"-1"}, kNotNegative},
        Range{"evaluate.batch_users", {"1"}, {"0"}, kCount},
        Range{"evaluate.frequency",
              {"daily", "once,realtime"},
              {"weekly", "once,once"},
              "a list of different words of once, daily, realtime"},
        Range{"evaluate.baselines",
              {"", "random"},
              {"pinnersage"},
              "a list of different words of random, popularity, personal_popularity, mean_of_last, "
              "pinnersage_5, pinnersage_20, markov, item_to_item, ease, "
              "popularity_recency"}));

TEST(ConfigValuesContradictions, NameBothKeysWithValuesAndOrigins) {
  EXPECT_EQ(error_of({"model.heads=5"}),
            "model.heads = 5 (command line) does not divide model.hidden = 768 (default): every "
            "head must get the same number of channels");
  EXPECT_EQ(error_of({"model.block=lru"}),
            "model.block = lru (command line) and model.features.position = true (default): "
            "positions are counted from the newest event, and a recurrent block never reads an "
            "event again; set model.features.position=false");
  EXPECT_EQ(error_of({"model.block=lru", "model.features.position=false", "model.heads=5"}),
            "no error");
  EXPECT_EQ(error_of({"objective.window_events=20"}),
            "objective.window_days = 28 (default) and objective.window_events = 20 (command line): "
            "a label window goes by days or by events; set one of them to 0");
  EXPECT_EQ(error_of({"objective.window_events=20", "objective.window_days=0"}), "no error");
  EXPECT_THAT(error_of({"objective.window_days=0"}), HasSubstr("there would be no label"));
  EXPECT_EQ(error_of({"objective.window_days=0", "objective.name=next_item"}), "no error");
  EXPECT_THAT(error_of({"objective.window_events=5", "objective.name=next_item"}),
              HasSubstr("objective.name = next_item (command line) and objective.window_events = 5 "
                        "(command line): next_item has no window"));
  EXPECT_EQ(error_of({"model.user_vectors=4"}), "no error");
  for (const std::string head : {"norm", "residual"})
    EXPECT_THAT(error_of({"model.user_vectors=4", "model.user_head=" + head, "model.output=768"}),
                HasSubstr("model.user_vectors = 4 (command line) and model.user_head = " + head));
  EXPECT_EQ(error_of({"negatives.in_batch=0", "negatives.random=0"}),
            "negatives.in_batch = 0 (command line) and negatives.random = 0 (command line): the "
            "softmax needs at least one negative; raise one of them");
  std::vector<std::string> off;
  for (const ConfigKey& key : config_keys()) {
    if (key.name.starts_with("model.features.")) off.push_back(key.name + "=false");
  }
  EXPECT_THAT(error_of(off), HasSubstr("model.features switches every feature of an action off"));
  off.emplace_back("item.table.placement=replicated");
  EXPECT_EQ(error_of(off), "no error") << "the rows are read";
  off.back() = "item.table.placement=none";
  std::erase(off, "model.features.time=false");
  EXPECT_EQ(error_of(off), "no error");
  EXPECT_EQ(
      error_of({"evaluate.frequency="}),
      "evaluate.frequency = [] (command line): nothing would be evaluated; name at least one of "
      "once, daily and realtime");
}

TEST(ConfigValuesTogether, WidthsThatAreOneWidthAreEqual) {
  EXPECT_THAT(error_of({"model.user_head=norm", "model.output=16"}),
              HasSubstr("model.output = 16 (command line) and model.hidden = 768 (default) must be "
                        "equal: model.user_head=norm does not change the width"));
  EXPECT_EQ(error_of({"model.user_head=norm", "model.output=768"}), "no error");
  const std::string tied = "item.tower=tied";
  EXPECT_THAT(error_of({tied, "item.table.placement=none"}),
              HasSubstr("the tied tower is made of learned rows"));
  const std::string rows = "item.table.placement=replicated";
  EXPECT_THAT(error_of({tied, rows, "item.table.dim=16", "model.output=16"}),
              HasSubstr("must be equal: item.tower=tied feeds the rows to the encoder"));
  EXPECT_THAT(error_of({tied, rows, "item.table.dim=768", "model.output=16"}),
              HasSubstr("must be equal: item.tower=tied compares the rows with user vectors"));
  EXPECT_EQ(error_of({tied, rows, "item.table.dim=768", "model.output=768"}), "no error");
  EXPECT_THAT(error_of({rows, "item.table.memory=device"}),
              HasSubstr("only sharded rows are held on a device"));
  EXPECT_EQ(error_of({"item.table.placement=row_sharded", "item.table.memory=device"}), "no error");
}

TEST(ConfigValuesTogether, LeaveOneOutHasNoWindows) {
  const std::string protocol = "split.protocol=leave_one_out";
  EXPECT_THAT(error_of({protocol, "model.prior_days=[1, 7]"}),
              HasSubstr("the prior counts the days before a window"));
  EXPECT_THAT(error_of({protocol, "split.end=2024-05-31"}),
              HasSubstr("leave_one_out has no windows that it could end"));
}

TEST(ConfigValuesTogether, AUserAloneHasNoNegativesInItsBatch) {
  const std::vector<std::string> words = {"negatives.random=0", "train.global_batch_users=1"};
  EXPECT_THAT(error_of(words), HasSubstr("the only items of a batch would be the user's own"));
  for (const char* enough :
       {"negatives.random=1", "train.global_batch_users=2", "negatives.mask=own_positive"}) {
    std::vector<std::string> more = words;
    more.emplace_back(enough);
    EXPECT_EQ(error_of(more), "no error") << enough;
  }
}

TEST(ConfigValuesTogether, ValidationNeedsUsersOrEventsOfItsOwn) {
  EXPECT_THAT(error_of({"split.users_percent=60", "split.validation_percent=41"}),
              HasSubstr("expected at most 100 together"));
  const std::string protocol = "split.protocol=leave_one_out";
  EXPECT_THAT(error_of({protocol, "split.leave_out=1", "split.validation_percent=5"}),
              HasSubstr("set split.leave_out: 2"));
  EXPECT_EQ(error_of({protocol, "split.leave_out=1"}), "no error");
  EXPECT_EQ(error_of({protocol, "split.users_percent=100", "split.validation_percent=100"}),
            "no error");
  EXPECT_THAT(training_error({"split.users_percent=60", "split.validation_percent=40"}),
              HasSubstr("holds out every user"));
}

TEST(ConfigValuesTrainable, AsksForWhatOnlyTrainingNeeds) {
  EXPECT_EQ(error_of({}), "no error");
  EXPECT_EQ(training_error({}), "no error");
  EXPECT_THAT(training_error({"data.path="}), HasSubstr("data.path is empty"));
  EXPECT_THAT(training_error({"run.directory="}), HasSubstr("run.directory is empty"));
  EXPECT_THAT(training_error({"positives.actions="}), HasSubstr("positives.actions is empty"));
  EXPECT_THAT(training_error({"split.users_percent=100"}), HasSubstr("holds out every user"));
  EXPECT_EQ(training_error({"split.users_percent=100", "split.protocol=leave_one_out"}),
            "no error");
}

// A value other than the default that the key accepts.
std::string another_value(const ConfigKey& key) {
  RunConfig config;
  const ValueRef value = key.member(config);
  const std::string before = value_text(value);
  if (key.name == "split.leave_out") return "1";
  if (key.name == "split.end") return "2024-05-31";  // its form is checked when it is read
  for (const char* text : {"true",
                           "false",
                           "0.123456789012345",
                           "16",
                           "3",
                           "bf16",
                           "sasrec",
                           "position",
                           "threads",
                           "a \"b\"\\c: #d\n\te",
                           "::1",
                           "[x>1.5, y]",
                           "daily,realtime",
                           "random",
                           "leave_one_out",
                           "replicated",
                           "host",
                           "lazy_adam",
                           "90m",
                           "skip",
                           "pair",
                           "latest",
                           "own_positive",
                           "1",
                           "[1, 7]",
                           "ligr",
                           "residual",
                           "dot",
                           "constant",
                           "topic",
                           "mixture"}) {
    if (assign_text(value, text) && key.rule.holds(value) && value_text(value) != before)
      return text;
  }
  ADD_FAILURE() << "no other value known for " << key.name;
  return "";
}

TEST(ConfigValuesRoundTrip, EveryKeyAlone) {
  for (const ConfigKey& key : config_keys()) {
    RunConfig config, before;
    if (key.name == "objective.window_events")  // it takes the place of the days
      config.objective.window_days = before.objective.window_days = 0;
    ASSERT_TRUE(assign_text(key.member(config), another_value(key))) << key.name;
    const RunConfig again = parse_config(to_yaml(config));
    EXPECT_THAT(config_differences(config, again), IsEmpty()) << to_yaml(config);
    EXPECT_EQ(to_yaml(config), to_yaml(again));
    const auto differences = config_differences(config, before);
    ASSERT_EQ(differences.size(), 1U) << key.name;
    EXPECT_THAT(differences[0], testing::StartsWith(key.name + ": "));
  }
}

TEST(ConfigValuesRoundTrip, AwkwardStrings) {
  for (const std::string text :
       {"",     " ",    "null",     "Null", "~",   "true", "12", "-",  "- a",
        "a b",  "a: b", "#",        "'",    "[a]", "{a}",  "&a", "*a", "/tmp/a b/c",
        "\r\n", "\x01", "\xc3\xa9", "%",    "@",   "a,b",  "="}) {
    RunConfig config;
    config.data.path = text;
    if (!text.empty()) config.positives.surfaces = {text, "other"};
    const RunConfig again = parse_config(to_yaml(config));
    EXPECT_EQ(again.data.path, text);
    EXPECT_EQ(again.positives.surfaces, config.positives.surfaces) << text;
  }
}

TEST(ConfigValuesDifferences, NameKeyAndBothValues) {
  RunConfig here;
  RunConfig there;
  here.model.hidden = 64;
  there.positives.actions = {"repin"};
  EXPECT_THAT(
      config_differences(here, there),
      ElementsAre("positives.actions: [] here, [repin] there", "model.hidden: 64 here, 768 there"));
}

TEST(ConfigValuesDescribe, GivesTheOriginOfEachValue) {
  const std::string file = testing::TempDir() + "pf_describe.yaml";
  std::ofstream(file) << "model:\n  hidden: 64\n  heads: 4\n";
  const std::string text = describe_config(file, {"model.heads=2", "train.steps=5"});
  EXPECT_THAT(text, testing::ContainsRegex("hidden: 64 +# " + file + ":2 - H, width"));
  EXPECT_THAT(text, testing::ContainsRegex("heads: 2 +# command line - attention"));
  EXPECT_THAT(text, testing::ContainsRegex("layers: 6 +# default - L, blocks"));
  EXPECT_THAT(text, HasSubstr(" (one of auto, fp32, bf16, bf16_always)"));
  // It is itself a configuration file.
  EXPECT_EQ(to_yaml(parse_config(text)),
            to_yaml(load_config(file, {"model.heads=2", "train.steps=5"})));
  EXPECT_THAT(to_yaml(RunConfig()), Not(HasSubstr("#")));
  EXPECT_THAT(to_yaml(RunConfig()),
              EndsWith("baselines: [popularity, mean_of_last, popularity_recency]\n"));
}

TEST(ConfigValues, BooleansInAnyCapitals) {
  const auto first_only = [](const std::string& word) {
    return load_config("", {"positives.first_only=" + word}).positives.first_only;
  };
  for (const char* word : {"true", "True", "TRUE", "Yes", "ON"}) EXPECT_TRUE(first_only(word));
  for (const char* word : {"false", "False", "FALSE", "No", "oFF"}) EXPECT_FALSE(first_only(word));
  EXPECT_THAT(error_of({"positives.first_only=T"}), HasSubstr("expected true or false"));
}

}  // namespace
}  // namespace pinnerformer
