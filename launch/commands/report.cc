// pinnerformer report: one page about runs.
#include <algorithm>
#include <filesystem>
#include <iostream>
#include <nlohmann/json.hpp>

#include "dataloader/base/printable.h"
#include "dataloader/base/published_file.h"
#include "launch/cli/cli.h"
#include "launch/cli/json_file.h"
#include "launch/commands/registry.h"
#include "launch/report/page.h"

namespace pinnerformer {
namespace {

struct ReportWords {
  std::string first;
  std::vector<std::string> more;
  std::string out;
  std::vector<std::string> evaluations;
  std::string recommendations;
};

void declare(CommandLine& cli, ReportWords& words) {
  cli.add_word("RUN", &words.first, "run directory of a training");
  cli.add_words("MORE-RUNS", &words.more, "further runs, shown beside it");
  cli.add_required("out", "FILE", &words.out, "HTML page to write, with the ending .html");
  cli.add_option("evaluation", "FILE", &words.evaluations,
                 "file of `evaluate --json`; may be given more than once. Those in the run "
                 "directories (*.json) are found without it");
  cli.add_option("recommendations", "FILE", &words.recommendations,
                 "file of `recommend --json`: examples of users");
}

void check(const ReportWords& words) {
  const std::string ending = std::filesystem::path(words.out).extension();
  if (ending != ".html" && ending != ".htm")
    throw UsageError("--out " + words.out + ": the page is HTML; give it the ending .html");
  check_replaceable(words.out);
}

bool same_file(const std::string& a, const std::string& b) {
  std::error_code error;
  return std::filesystem::equivalent(a, b, error);
}

// A file that is there already, such as one of a run directory, is not shown twice.
void add_evaluation(ReportInputs& inputs, const std::string& file) {
  for (const ReportedEvaluation& known : inputs.evaluations)
    if (same_file(known.path, file)) return;
  inputs.evaluations.push_back(read_evaluation(file));
  const std::string& run = inputs.evaluations.back().run;
  // A relative path may have been written in another directory.
  const bool exists = std::filesystem::exists(run);
  const bool shown = std::ranges::any_of(
      inputs.runs, [&](const RunRecord& record) { return same_file(record.path, run); });
  if (exists && !shown)
    std::cerr << "note: " << printable_lines(file) << " is about the run " << printable_lines(run)
              << ", which is none of those on this page\n";
}

ReportInputs read_inputs(const ReportWords& words) {
  std::vector<std::string> directories = {words.first};
  directories.insert(directories.end(), words.more.begin(), words.more.end());
  ReportInputs inputs;
  inputs.runs = read_runs(directories);
  for (const RunRecord& run : inputs.runs)
    inputs.evaluations.insert(inputs.evaluations.end(), run.evaluations.begin(),
                              run.evaluations.end());
  for (const std::string& file : words.evaluations) add_evaluation(inputs, file);
  if (!words.recommendations.empty()) inputs.users = read_recommendations(words.recommendations);
  return inputs;
}

nlohmann::json summary(const ReportInputs& inputs, const std::string& out) {
  nlohmann::json runs = nlohmann::json::array();
  for (const RunRecord& run : inputs.runs)
    runs.push_back({{"run", run.path},
                    {"step", run.metrics.last_step},
                    {"records", run.metrics.records},
                    {"problems", run.problems}});
  nlohmann::json evaluations = nlohmann::json::array();
  for (const ReportedEvaluation& evaluation : inputs.evaluations)
    evaluations.push_back(evaluation.path);
  return {{"out", out},
          {"runs", runs},
          {"evaluations", evaluations},
          {"example_users", inputs.users.size()}};
}

}  // namespace

int command_report(const Arguments& arguments) {
  ReportWords words;
  CommandLine cli("report",
                  "Writes one page about runs: curves, time, evaluations, examples, configuration. "
                  "It needs no network and no other file.",
                  "pinnerformer report build/quickstart/run --evaluation "
                  "build/quickstart/evaluate.json --out build/quickstart/report.html");
  declare(cli, words);
  if (!cli.parse(arguments)) return kDone;
  check(words);
  const ReportInputs inputs = read_inputs(words);
  publish_text(words.out, report_page(inputs));
  for (const RunRecord& run : inputs.runs)
    for (const std::string& problem : run.problems)
      std::cerr << "note: " << printable_lines(problem) << "\n";
  std::cout << "wrote " << words.out << ": " << inputs.runs.size() << " run(s), "
            << inputs.evaluations.size() << " evaluation(s), " << inputs.users.size()
            << " example user(s)\n";
  write_json_file(cli.json_file(), summary(inputs, words.out));
  return kDone;
}

}  // namespace pinnerformer
