// The command line shared by all commands.
#include "launch/cli/cli.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "configs/errors.h"
#include "tests/support/message_of.h"
#include "tests/support/project_paths.h"

namespace pinnerformer {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::StartsWith;

// A command with one option of each kind.
struct Example {
  Example() : cli("synth", "Writes a dataset.", "pinnerformer synth DIR --items 10") {
    cli.add_word("DIR", &directory, "directory to create");
    cli.add_required("items", "N", &items, "number of items");
    cli.add_option("users", "N", &users, "number of users");
    cli.add_option("share", "X", &share, "share of repeats");
    cli.add_option("name", "TEXT", &name, "name of the dataset");
    cli.add_option("actions", "LIST", &actions, "actions");
    cli.add_flag("force", &force, "overwrite");
  }
  std::string directory;
  int64_t items = 0;
  int64_t users = 20;
  double share = 0.5;
  std::string name;
  std::vector<std::string> actions;
  bool force = false;
  CommandLine cli;
};

constexpr const char* kHint = " (`pinnerformer synth --help` lists the options)";

std::string example_error(const Arguments& arguments) {
  return message_of<UsageError>([&] { (void)Example().cli.parse(arguments); });
}

TEST(Cli, StoresValues) {
  Example example;
  ASSERT_TRUE(example.cli.parse({"--items=7", "out", "--share", "-1.5", "--force", "--actions",
                                 "a,b", "--actions=c", "--json", "r.json", "--name", "x y"}));
  EXPECT_EQ(example.directory, "out");
  EXPECT_EQ(example.items, 7);
  EXPECT_EQ(example.users, 20);
  EXPECT_EQ(example.share, -1.5);
  EXPECT_EQ(example.name, "x y");
  EXPECT_THAT(example.actions, ElementsAre("a", "b", "c"));
  EXPECT_TRUE(example.force);
  EXPECT_EQ(example.cli.json_file(), "r.json");
}

TEST(Cli, RejectsUnknownOptionsWithTheNearest) {
  EXPECT_EQ(example_error({"out", "--itmes", "3"}),
            std::string("unknown option '--itmes'; did you mean '--items'?") + kHint);
  EXPECT_THAT(example_error({"out", "--helq"}), HasSubstr("did you mean '--help'?"));
  EXPECT_THAT(example_error({"--directory", "out"}),
              HasSubstr("unknown option '--directory'; usage: pinnerformer "));
  EXPECT_THAT(example_error({"out", "--item", "3"}), HasSubstr("did you mean '--items'?"));
  EXPECT_THAT(example_error({"out", "--items=1", "-force"}), HasSubstr("did you mean '--force'?"));
  EXPECT_THAT(example_error({"out", "--items=1", "--json", "--forse"}),
              HasSubstr("unknown option '--forse'; did you mean '--force'?"));
  // Known to commands that accept a configuration only.
  EXPECT_THAT(example_error({"out", "--items=1", "--config", "a"}), HasSubstr("unknown option"));
}

TEST(Cli, RejectsWrongLines) {
  EXPECT_EQ(example_error({"out"}), std::string("--items N is missing") + kHint);
  EXPECT_EQ(example_error({"--items=1"}), std::string("DIR is missing") + kHint);
  EXPECT_EQ(example_error({"out", "more", "--items=1"}),
            std::string("unexpected word 'more'") + kHint);
  EXPECT_THAT(example_error({"out", "a.b=3", "--items=1"}), HasSubstr("unexpected word 'a.b=3'"));
  EXPECT_EQ(example_error({"out", "--items", "many"}),
            std::string("--items = many: expected a whole number") + kHint);
  EXPECT_THAT(example_error({"out", "--items=1", "--items=2"}),
              StartsWith("--items is given twice"));
  EXPECT_THAT(example_error({"out", "--items"}), HasSubstr("'--items' is missing"));
  EXPECT_THAT(example_error({"out", "--items="}), HasSubstr("--items"));
  EXPECT_THAT(example_error({"out", "--items=1", "--force=yes"}), HasSubstr("--force"));
}

TEST(Cli, PathsFromHomeAreRefused) {
  EXPECT_THAT(example_error({"out", "--items=1", "--json=~/a.json"}),
              HasSubstr("--json = ~/a.json: ~ was not expanded by the shell"));
  EXPECT_EQ(example_error({"out", "--items=1", "--name=~/a"}), "no error");
  EXPECT_THAT(example_error({"~/out", "--items=1"}), HasSubstr("~/out: ~ was not expanded"));
}

TEST(Cli, BeginningsAndOtherNamesOfOptionsAreFound) {
  EXPECT_THAT(example_error({"out", "--it", "3"}), HasSubstr("did you mean '--items'?"));
  EXPECT_THAT(example_error({"out", "-i", "3"}), HasSubstr("did you mean '--items'?"));
  EXPECT_THAT(example_error({"out", "--topk=3"}), HasSubstr("did you mean '--items'?"));
  EXPECT_THAT(example_error({"out", "--sep", "3"}), Not(HasSubstr("--delimiter")))
      << "this command has no such option";
}

TEST(Cli, AWordWithoutAPlaceGetsAHint) {
  const auto error = [](const std::string& word) {
    CommandLine cli("embed", "Writes.", "pinnerformer embed");
    std::vector<std::string> settings;
    std::string run;
    cli.add_option("run", "DIR", &run, "run");
    cli.add_words("key=value", &settings, "settings");
    return message_of<UsageError>([&] { (void)cli.parse({word}); });
  };
  EXPECT_THAT(error("/tmp"), HasSubstr("unexpected word '/tmp'; a run is given with --run /tmp"));
  EXPECT_THAT(error("train.steps"), HasSubstr("without blanks: train.steps=VALUE"));
  EXPECT_THAT(error("other"), HasSubstr("unexpected word 'other'; settings are written key=value"));
  CommandLine cli("train", "Trains.", "pinnerformer train");
  cli.accept_config();
  EXPECT_THAT(message_of<UsageError>([&] { (void)cli.parse({"c.yaml"}); }),
              HasSubstr("a configuration is given with --config c.yaml"));
}

TEST(Cli, AResultThatCannotBeWrittenIsFoundBeforeTheWork) {
  EXPECT_THAT(example_error({"out", "--items=1", "--json", "/tmp"}),
              StartsWith("--json: cannot write /tmp: expected a regular file"));
  EXPECT_THAT(example_error({"out", "--items=1", "--json", "r.csv"}),
              HasSubstr("the file is JSON, not .csv"));
  EXPECT_EQ(example_error({"out", "--items=1", "--json", "/dev/null"}), "no error");
}

TEST(Cli, HelpShowsUsageOptionsAndExample) {
  Example example;
  testing::internal::CaptureStdout();
  EXPECT_FALSE(example.cli.parse({"--itmes", "--help"}));  // help is given whatever else is wrong
  EXPECT_EQ(testing::internal::GetCapturedStdout(), R"(Writes a dataset.

Usage: pinnerformer synth DIR --items N [options]

  DIR             directory to create
  --json FILE     write the result to FILE as one JSON object
  --items N       number of items (required)
  --users N       number of users (default 20)
  --share X       share of repeats (default 0.5)
  --name TEXT     name of the dataset
  --actions LIST  actions
  --force         overwrite
  --help          print this text

Example:
  pinnerformer synth DIR --items 10
)");
}

TEST(Cli, CollectsRemainingWords) {
  CommandLine cli("data", "Looks.", "pinnerformer data inspect build/dataset");
  std::string action;
  std::vector<std::string> directories;
  cli.add_word("inspect|validate", &action, "what to do");
  cli.add_words("DIR", &directories, "datasets");
  ASSERT_TRUE(cli.parse({"inspect", "a", "--json", "f", "b"}));
  EXPECT_EQ(action, "inspect");
  EXPECT_THAT(directories, ElementsAre("a", "b"));
  EXPECT_THAT(cli.help(), HasSubstr("pinnerformer data inspect|validate [options] [DIR ...]\n"));
}

class CliConfig : public testing::Test {
 protected:
  CliConfig() { cli_.accept_config(); }
  CommandLine cli_{"train", "Trains.", "pinnerformer train train.steps=2"};
};

TEST_F(CliConfig, TakesFileAndWords) {
  ASSERT_TRUE(cli_.parse({"model.layers=2", "--config",
                          source_directory() + "/configs/quickstart.yaml", "train.steps=3"}));
  EXPECT_THAT(cli_.overrides(), ElementsAre("model.layers=2", "train.steps=3"));
  EXPECT_EQ(cli_.config().train.steps, 3);
  EXPECT_EQ(cli_.config().model.hidden, 64);
}

TEST_F(CliConfig, NeedsNeither) {
  ASSERT_TRUE(cli_.parse({}));
  EXPECT_THAT(cli_.overrides(), IsEmpty());
  EXPECT_THAT(config_differences(cli_.config(), RunConfig()), IsEmpty());
}

TEST_F(CliConfig, PrintsTheConfigurationAndStops) {
  testing::internal::CaptureStdout();
  EXPECT_FALSE(cli_.parse({"--print-config", "train.steps=3"}));
  EXPECT_THAT(testing::internal::GetCapturedStdout(),
              testing::ContainsRegex("steps: 3 +# command line"));
}

TEST_F(CliConfig, KeysWrittenAsOptionsAreShownTheirForm) {
  for (const char* word : {"--steps", "--steps=4", "--train.steps=4"}) {
    EXPECT_THAT(message_of<UsageError>([&] {
                  (void)cli_.parse({word, "4"});
                }),
                HasSubstr("settings are written key=value: train.steps=VALUE"))
        << word;
  }
  EXPECT_THAT(message_of<UsageError>([&] {
                (void)cli_.parse({"--lr", "4"});
              }),
              HasSubstr("optimizer.learning_rate=VALUE"));
  EXPECT_THAT(message_of<UsageError>([&] { (void)cli_.parse({"--stepz=4"}); }),
              HasSubstr("usage: pinnerformer train [options] [key=value ...]"));
  EXPECT_THAT(message_of<UsageError>([&] { (void)cli_.parse({"--"}); }), HasSubstr(""));
}

TEST_F(CliConfig, RefusesWhatIsNoSetting) {
  EXPECT_THAT(message_of<UsageError>([&] { (void)cli_.parse({"train.steps"}); }),
              HasSubstr("unexpected word 'train.steps'; a setting is written without blanks: "
                        "train.steps=VALUE"));
  EXPECT_THROW((void)cli_.parse({"--print-config", "train.stepz=3"}), ConfigError);
  EXPECT_THAT(message_of<UsageError>([&] { (void)cli_.parse({"build/day=2024-05-31"}); }),
              HasSubstr("unexpected word 'build/day=2024-05-31'"));
}

TEST(CliRequireKnown, NamesTheNearest) {
  const std::vector<std::string> known = {"once", "daily", "realtime"};
  EXPECT_NO_THROW(require_known("frequency", "daily", known));
  EXPECT_THAT(message_of<UsageError>([&] { require_known("frequency", "run/x", known); }),
              HasSubstr("unknown frequency 'run/x'; expected one of "));
  EXPECT_EQ(message_of<UsageError>([&] { require_known("frequency", "dayly", known); }),
            "unknown frequency 'dayly'; did you mean 'daily'?");
}

}  // namespace
}  // namespace pinnerformer
