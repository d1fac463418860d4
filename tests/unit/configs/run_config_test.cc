// Reading, checking and writing configurations: every error message a user can meet, and the list
// of keys, which is frozen.
#include "configs/run_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <regex>
#include <set>

#include "configs/config_keys.h"
#include "configs/errors.h"
#include "tests/support/message_of.h"
#include "tests/support/project_paths.h"

namespace pinnerformer {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::StartsWith;

// A YAML file that lives as long as the test.
class TemporaryYaml {
 public:
  explicit TemporaryYaml(const std::string& text)
      : path_(testing::TempDir() + "pf_run_config_" +
              testing::UnitTest::GetInstance()->current_test_info()->name() + ".yaml") {
    std::ofstream(path_) << text;
  }
  TemporaryYaml(const TemporaryYaml&) = delete;
  TemporaryYaml& operator=(const TemporaryYaml&) = delete;
  ~TemporaryYaml() { std::filesystem::remove(path_); }
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// Where the value of a plain option lies.
struct Address {
  const void* operator()(const void* value) const { return value; }
  const void* operator()(const ChoiceRef& choice) const { return choice.address(); }
};

std::string yaml_error(const std::string& text) {
  return message_of<ConfigError>([&] { (void)parse_config(text); });
}

std::string override_error(const std::vector<std::string>& words) {
  return message_of<ConfigError>([&] { (void)load_config("", words); });
}

std::string read_source(const std::string& path) {
  std::ifstream stream(source_directory() + "/" + path);
  return {std::istreambuf_iterator<char>(stream), {}};
}

TEST(RunConfigKeys, AreFrozen) {
  // The keys are what users' files are written in. Extend the list with a new key; rename or remove
  // one only with a note for users.
  EXPECT_THAT(
      config_key_names(),
      ElementsAre(
          "run.directory", "run.seed", "data.path", "data.prefetch_batches", "data.block_users",
          "data.shuffle_blocks", "data.on_bad_block", "data.verify_checksums",
          "data.device_vectors_mib", "positives.actions", "positives.surfaces",
          "positives.first_only", "split.users_percent", "split.window_days", "split.windows",
          "split.end", "split.min_events", "split.protocol", "split.validation_percent",
          "split.leave_out", "model.max_length", "model.hidden", "model.layers", "model.heads",
          "model.output", "model.item_hidden", "model.action_dim", "model.surface_dim",
          "model.dropout", "model.temperature", "model.block", "model.user_head",
          "model.similarity", "model.user_vectors", "model.condition", "model.condition_dropout",
          "model.prior_days", "model.features.content", "model.features.time",
          "model.features.surface", "model.features.action", "model.features.duration",
          "model.features.position", "item.tower", "item.semantic_ids", "item.table.placement",
          "item.table.memory", "item.table.dim", "item.table.optimizer", "item.table.learning_rate",
          "item.table.init_std", "item.table.hash_buckets", "item.table.unknown_rate",
          "item.table.pretrain_steps", "objective.name", "objective.window_days",
          "objective.window_events", "objective.window_anchor", "objective.max_labels",
          "objective.positions", "objective.weighting", "objective.recent_days",
          "objective.sample_end", "negatives.in_batch", "negatives.random", "negatives.logq",
          "negatives.logq_form", "negatives.mask", "optimizer.learning_rate",
          "optimizer.warmup_steps", "optimizer.schedule", "optimizer.weight_decay",
          "optimizer.beta1", "optimizer.beta2", "optimizer.epsilon", "optimizer.clip_norm",
          "train.steps", "train.global_batch_users", "train.precision", "train.log_every",
          "train.stop_after", "train.gradient_accumulation_steps", "train.on_nonfinite",
          "checkpoint.every_steps", "checkpoint.keep_last", "checkpoint.table_full_every",
          "checkpoint.keep_every", "checkpoint.mirror", "validate.every_steps", "validate.patience",
          "metrics.tensorboard", "metrics.prometheus_file", "metrics.prometheus_port",
          "metrics.prometheus_address", "metrics.peak_tflops", "comm.backend",
          "comm.timeout_seconds", "comm.first_timeout_seconds", "comm.straggler_seconds",
          "comm.bucket_mib", "comm.reduce_dtype", "evaluate.index_items",
          "evaluate.popularity_days", "evaluate.mean_last", "evaluate.markov_last",
          "evaluate.item_to_item_last", "evaluate.ease_l2", "evaluate.daily_delay_days",
          "evaluate.bootstrap", "evaluate.batch_users", "evaluate.exclude_seen",
          "evaluate.frequency", "evaluate.baselines"));
}

TEST(RunConfigKeys, EveryOptionHasItsKey) {
  const std::regex field(
      R"(\n  (?:bool|int64_t|double|std::string|std::vector<[\w:]+>|\w+(?= \w+ = \w+::k)) )"
      R"((\w+)(?:\{\}| = [^;]*)?;)");
  size_t fields = 0;
  for (const char* file : {"comm/options.h", "dataloader/options.h", "trainer/options.h"}) {
    const std::string text = read_source(file);
    for (std::sregex_iterator match(text.begin(), text.end(), field), end; match != end; ++match) {
      ++fields;
      const std::string ending = '.' + (*match)[1].str();
      EXPECT_TRUE(std::ranges::any_of(config_keys(),
                                      [&](const auto& key) { return key.name.ends_with(ending); }))
          << file << " declares " << (*match)[1] << ", which has no line in configs/config_keys.cc";
    }
  }
  EXPECT_EQ(fields, config_keys().size());
}

TEST(RunConfigKeys, PointAtDifferentMembersAndExplainThemselves) {
  RunConfig config;
  std::set<const void*> members;
  for (const ConfigKey& key : config_keys()) {
    const ValueRef value = key.member(config);
    const void* member = std::visit(Address(), value);
    EXPECT_TRUE(members.insert(member).second) << key.name;
    EXPECT_FALSE(key.help.empty()) << key.name;
    EXPECT_TRUE(key.rule.holds(key.member(config))) << "default of " << key.name;
  }
}

TEST(RunConfigLoad, DefaultsFileOverridesInThisOrder) {
  const TemporaryYaml file("train: {steps: 20, log_every: 2}\nmodel:\n  features: {time: no}\n");
  const RunConfig config = load_config(file.path(), {"train.steps=30", "run.seed=7", "run.seed=8"});
  EXPECT_EQ(config.train.steps, 30);
  EXPECT_EQ(config.train.log_every, 2);
  EXPECT_EQ(config.run.seed, 8);
  EXPECT_FALSE(config.model.features.time);
  EXPECT_EQ(config.model.hidden, ModelOptions().hidden);
}

TEST(RunConfigLoad, ReadsLists) {
  const auto actions = [](const std::string& word) {
    return load_config("", {"positives.actions=" + word}).positives.actions;
  };
  EXPECT_THAT(actions("repin,closeup>10"), ElementsAre("repin", "closeup>10"));
  EXPECT_THAT(actions("[repin, closeup>2.5]"), ElementsAre("repin", "closeup>2.5"));
  EXPECT_THAT(actions("repin"), ElementsAre("repin"));
  EXPECT_THAT(actions("a\\,b, c\\,"), ElementsAre("a,b", "c,"));
  EXPECT_THAT(actions(""), IsEmpty());
  EXPECT_THAT(actions("[]"), IsEmpty());
  const auto parsed = parse_config(
      "positives:\n  actions: [repin, closeup>10]\n  surfaces:\n    - home feed\n    - 'a, b'\n");
  EXPECT_THAT(parsed.positives.actions, ElementsAre("repin", "closeup>10"));
  EXPECT_THAT(parsed.positives.surfaces, ElementsAre("home feed", "a, b"));
}

TEST(RunConfigLoad, AcceptsEmptyTextsAndSections) {
  EXPECT_THAT(config_differences(parse_config(""), RunConfig()), IsEmpty());
  EXPECT_THAT(config_differences(parse_config("# nothing\nmodel:\n"), RunConfig()), IsEmpty());
  EXPECT_EQ(parse_config("model.hidden: 64").model.hidden, 64);
}

TEST(RunConfigLoad, OverridesAStoredConfiguration) {
  RunConfig stored;
  stored.model.hidden = 64;
  const RunConfig config = override_config(stored, {"model.layers=2"});
  EXPECT_EQ(config.model.hidden, 64);
  EXPECT_EQ(config.model.layers, 2);
  EXPECT_EQ(message_of<ConfigError>([&] { (void)override_config(stored, {"model.heads=5"}); }),
            "model.heads = 5 (command line) does not divide model.hidden = 64 (stored "
            "configuration): every head must get the same number of channels");
}

TEST(RunConfigErrors, UnknownKeysNameTheNearest) {
  const TemporaryYaml file("train:\n  steps: 3\n\nmodel:\n  layers: 2\n\n  hiden: 64\n");
  EXPECT_EQ(message_of<ConfigError>([&] { (void)load_config(file.path(), {}); }),
            "unknown key 'model.hiden' (" + file.path() + ":7); did you mean 'model.hidden'?");
  EXPECT_EQ(override_error({"learning_rate=1"}),
            "unknown key 'learning_rate' (command line); did you mean 'optimizer.learning_rate'?");
  EXPECT_THAT(override_error({"model.learning_rate=1"}), HasSubstr("'optimizer.learning_rate'?"));
  EXPECT_THAT(override_error({"objectiv.window_days=1"}), HasSubstr("'objective.window_days'?"));
  EXPECT_THAT(override_error({"comm.bakcend=mpi"}), HasSubstr("'comm.backend'?"));
  EXPECT_THAT(yaml_error("modle:\n  hidden: 3"), HasSubstr("'modle' (stored configuration:1)"));
  EXPECT_THAT(yaml_error("modle:\n  hidden: 3"), HasSubstr("did you mean 'model'?"));
}

TEST(RunConfigErrors, CommonNamesOfOtherProgramsNameTheKey) {
  EXPECT_EQ(override_error({"lr=1"}),
            "unknown key 'lr' (command line); did you mean 'optimizer.learning_rate'?");
  EXPECT_THAT(override_error({"train.batch_size=8"}), HasSubstr("'train.global_batch_users'?"));
  // Each of them stands for a key that exists.
  for (const char* name : {"lr", "epochs", "dtype", "grad_accum", "dataset", "output_dir"})
    EXPECT_NE(find_config_key(key_of_common_name(name)), nullptr) << name;
  EXPECT_EQ(key_of_common_name("learning_rate"), "");
}

TEST(RunConfigErrors, ValuesTooLargeToCountAreRefused) {
  for (const char* key : {"train.global_batch_users", "data.block_users", "evaluate.bootstrap"})
    EXPECT_EQ(override_error({std::string(key) + "=9223372036854775807"}),
              std::string(key) +
                  " = 9223372036854775807 (command line): expected a whole number of at most "
                  "1000000000");
  EXPECT_EQ(override_error({"run.seed=9223372036854775807"}), "no error");
}

TEST(RunConfigErrors, PathsFromHomeAreRefusedButForStoredOnes) {
  EXPECT_EQ(override_error({"run.directory=~/run"}),
            "run.directory = ~/run (command line): ~ is not expanded here; write the whole path");
  for (const char* word : {"data.path=~", "checkpoint.mirror=~/x", "metrics.prometheus_file=~/x"})
    EXPECT_THAT(override_error({word}), HasSubstr("~ is not expanded")) << word;
  const TemporaryYaml file("data: {path: ~/set}\n");
  EXPECT_THAT(message_of<ConfigError>([&] { (void)load_config(file.path(), {}); }),
              HasSubstr("data.path = ~/set (" + file.path() + ":1)"));
  EXPECT_EQ(parse_config("run: {directory: ~/run}").run.directory, "~/run");
}

TEST(RunConfigErrors, OnlyRegularFilesOfLimitedSizeAreRead) {
  const auto error = [](const std::string& path) {
    return message_of<ConfigError>([&] { (void)load_config(path, {}); });
  };
  const std::string pipe = testing::TempDir() + "pf_config_pipe";
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  EXPECT_THAT(error(pipe), HasSubstr("it is not a regular file"));
  std::filesystem::remove(pipe);
  EXPECT_THAT(error("/dev/zero"), HasSubstr("it is not a regular file"));
  const TemporaryYaml large("# " + std::string(2 << 20, 'x') + "\n");
  EXPECT_THAT(error(large.path()), HasSubstr("a configuration has at most 1048576"));
  EXPECT_THAT(yaml_error("model: " + std::string(100'000, '[')), HasSubstr("not valid YAML"));
}

TEST(RunConfigErrors, FormerKeysNameTheOnesOfToday) {
  EXPECT_EQ(override_error({"train.accumulate=2"}),
            "unknown key 'train.accumulate' (command line): it is now called "
            "'train.gradient_accumulation_steps'");
  EXPECT_THAT(override_error({"item.id_table.dim=8"}), HasSubstr("called 'item.table.dim'"));
  const TemporaryYaml file("item:\n  id_table: {dim: 8}\ncomm: {wire_precision: bf16}\n");
  EXPECT_EQ(message_of<ConfigError>([&] { (void)load_config(file.path(), {}); }),
            "unknown key 'item.id_table' (" + file.path() + ":2): it is now called 'item.table'");
}

TEST(RunConfigStored, FormerKeysAreTranslated) {
  const RunConfig config = parse_config(
      "train:\n  accumulate: 3\nitem:\n  id_table:\n    placement: row_sharded\n    dim: 8\n"
      "comm:\n  wire_precision: bf16\n");
  EXPECT_EQ(config.train.gradient_accumulation_steps, 3);
  EXPECT_EQ(config.item.table.placement, ItemPlacement::kRowSharded);
  EXPECT_EQ(config.item.table.dim, 8);
  EXPECT_EQ(config.comm.reduce_dtype, ReduceDtype::kBf16);
}

TEST(RunConfigStored, KeysThatAreGoneAreSkippedAndRefusedFromUsers) {
  const std::string text =
      "checkpoint: {keep_best: 2, keep_last: 5}\ncomm: {first_bucket_mib: 2}\n";
  EXPECT_EQ(parse_config(text).checkpoint.keep_last, 5);
  EXPECT_EQ(override_error({"comm.first_bucket_mib=2"}),
            "unknown key 'comm.first_bucket_mib' (command line): it was removed; the first bucket "
            "has 1 MiB, or comm.bucket_mib if that is less");
  EXPECT_THAT(override_error({"checkpoint.keep_best=2"}), HasSubstr("it was removed; "));
}

TEST(RunConfigStored, CarriesAVersionAndRefusesANewerOne) {
  EXPECT_THAT(to_yaml(RunConfig()), StartsWith("version: 1\n"));
  EXPECT_EQ(yaml_error("version: 1\nmodel: {hidden: 64}"), "no error");
  EXPECT_EQ(yaml_error("version: 2\n"),
            "stored configuration: version = 2: written by a newer pinnerformer; this one reads "
            "versions up to 1");
  EXPECT_THAT(yaml_error("version: new\n"), HasSubstr("expected a whole number"));
}

TEST(RunConfigErrors, TypesNameKeyValueExpectationAndOrigin) {
  EXPECT_EQ(override_error({"train.steps=many"}),
            "train.steps = many (command line): expected a whole number of at least 1");
  EXPECT_EQ(yaml_error("\ntrain:\n  steps: 1.5"),
            "train.steps = 1.5 (stored configuration:3): expected a whole number of at least 1");
  EXPECT_EQ(override_error({"negatives.logq=2"}),
            "negatives.logq = 2 (command line): expected true or false");
  EXPECT_THAT(override_error({"model.dropout=nan"}),
              HasSubstr("expected a number from 0 to below"));
  EXPECT_THAT(override_error({"train.steps="}),
              HasSubstr("train.steps =  (command line): expected"));
  EXPECT_THAT(override_error({"train.steps=99999999999999999999"}), HasSubstr("whole number"));
  EXPECT_THAT(override_error({"objective.window_days=1e15"}), HasSubstr("1000000000"));
  EXPECT_EQ(yaml_error("train: {steps: }"),
            "train.steps (stored configuration:1): expected a whole number, found nothing");
  EXPECT_EQ(yaml_error("train: {steps: {a: 1}}"),
            "train.steps (stored configuration:1): expected a whole number, found a section");
  EXPECT_THAT(yaml_error("train: {steps: [1, 2]}"), HasSubstr("train.steps = [1, 2] (stored"));
  EXPECT_THAT(yaml_error("positives: {actions: [[a]]}"), HasSubstr("expected a list of words"));
}

TEST(RunConfigErrors, SectionsAreNotValues) {
  EXPECT_EQ(override_error({"model=3"}),
            "'model' (command line) is a section, not a value: set one of its keys, such as "
            "model.max_length");
  EXPECT_THAT(yaml_error("model:\n  features: 3"), HasSubstr("such as model.features.content"));
}

TEST(RunConfigErrors, MalformedInput) {
  EXPECT_EQ(override_error({"train.steps"}),
            "expected key=value, such as train.steps=200; found 'train.steps'");
  EXPECT_THAT(override_error({"=3"}), HasSubstr("expected key=value"));
  EXPECT_THAT(yaml_error("model:\n  hidden: [1\n"),
              StartsWith("stored configuration:3: not valid YAML: "));
  EXPECT_THAT(yaml_error("train:\n\tsteps: 5\n"),
              HasSubstr("line 2 begins with a tab: indent with blanks"));
  EXPECT_THAT(yaml_error("- a\n- b\n"), HasSubstr("expected sections with keys"));
  EXPECT_THAT(yaml_error("a: 1\n---\nb: 2\n"), HasSubstr("expected one YAML document"));
  EXPECT_THAT(yaml_error("[a]: 1\n"), HasSubstr("expected a key, found a structure"));
  EXPECT_THAT(yaml_error("a: &x\n  b: *x\n"), HasSubstr("aliases (*name) are not supported"));
  EXPECT_EQ(yaml_error("train:\n  steps: 1\ntrain.steps: 2\n"),
            "'train.steps' is given twice: stored configuration:2 and stored configuration:3");
}

TEST(RunConfigErrors, AMissingFileIsItsOwnError) {
  try {
    (void)load_config("no/such.yaml", {});
    FAIL() << "no error";
  } catch (const MissingConfigError& error) {
    EXPECT_THAT(error.what(), HasSubstr("'no/such.yaml' does not exist"));
  }
  EXPECT_THAT(message_of<ConfigError>([] { (void)load_config(testing::TempDir(), {}); }),
              HasSubstr("cannot be read"));
}

TEST(RunConfigShipped, FilesLoadAndCanTrain) {
  const auto shipped = [](const std::string& name) {
    return source_directory() + "/configs/" + name;
  };
  const RunConfig quickstart = load_config(shipped("quickstart.yaml"), {});
  EXPECT_NO_THROW(check_trainable(quickstart));
  EXPECT_EQ(quickstart.train.steps, 500);
  EXPECT_EQ(quickstart.optimizer.learning_rate, 1e-3);
  const RunConfig paper =
      load_config(shipped("pinnerformer.yaml"), {"data.path=d", "run.directory=r"});
  EXPECT_NO_THROW(check_trainable(paper));
  EXPECT_THAT(paper.positives.actions, ElementsAre("repin", "closeup>10", "clickthrough>10"));
  EXPECT_EQ(paper.model.hidden, 768);
  EXPECT_EQ(paper.train.precision, Precision::kBf16);
  EXPECT_NO_THROW(check_trainable(load_config(shipped("two_nodes.yaml"), {})));
  for (const char* name : {"esasrec.yaml", "ml-1m.yaml", "online_retail.yaml"})
    EXPECT_NO_THROW(check_trainable(load_config(shipped(name), {}))) << name;
  // Whatever else is shipped at least loads.
  for (const auto& entry : std::filesystem::directory_iterator(shipped(""))) {
    if (entry.path().extension() != ".yaml") continue;
    EXPECT_NO_THROW((void)load_config(entry.path(), {})) << entry.path();
  }
}

}  // namespace
}  // namespace pinnerformer
