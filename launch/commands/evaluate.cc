// pinnerformer evaluate: a checkpoint against the baselines, on users it was never trained on.
#include <algorithm>
#include <array>
#include <cstdio>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <vector>

#include "dataloader/base/enum_name.h"
#include "launch/cli/cli.h"
#include "launch/cli/json_file.h"
#include "launch/cli/progress.h"
#include "launch/commands/registry.h"
#include "launch/job/session.h"
#include "launch/serving/loaded_model.h"
#include "trainer/evaluation/baselines.h"
#include "trainer/evaluation/evaluation.h"

namespace pinnerformer {
namespace {

std::string cell(double value, double standard_error) {
  std::array<char, 48> text{};
  if (value != value) return "-";
  if (standard_error > 0) {
    std::snprintf(text.data(), text.size(), "%.4f ± %.4f", value, standard_error);
  } else {
    std::snprintf(text.data(), text.size(), "%.4f", value);
  }
  return text.data();
}

struct Column {
  const char* title;
  double RetrievalMetrics::*metric;
  bool with_error;  // shown with its standard error
};

// With one positive per user recall is the hit rate (HR).
std::vector<Column> columns(SplitProtocol protocol) {
  const Column coverage{"coverage@10", &RetrievalMetrics::p90_coverage_at_10, false};
  const Column entropy{"entropy@50", &RetrievalMetrics::interest_entropy_at_50, false};
  if (protocol == SplitProtocol::kLeaveOneOut)
    return {{"HR@10", &RetrievalMetrics::recall_at_10, true},
            {"NDCG@10", &RetrievalMetrics::ndcg_at_10, true},
            {"HR@50", &RetrievalMetrics::recall_at_50, false},
            coverage,
            entropy};
  return {{"R@10", &RetrievalMetrics::recall_at_10, true},
          {"R@50", &RetrievalMetrics::recall_at_50, true},
          {"R@10/user", &RetrievalMetrics::recall_at_10_per_user, false},
          {"NDCG@10", &RetrievalMetrics::ndcg_at_10, false},
          coverage,
          entropy};
}

void print_cell(const std::string& text, size_t width) {
  // "±" takes two bytes and one column.
  const size_t shown = text.size() - (text.find("±") != std::string::npos ? 1 : 0);
  std::cout << text << std::string(shown < width ? width - shown : 1, ' ');
}

size_t width_of(const Column& column) { return column.with_error ? 18 : 13; }

// What the frequency `daily` means, where the paper's delay changes it.
void print_delay(const EvaluationResult& result) {
  const bool daily = std::any_of(
      result.results.begin(), result.results.end(),
      [](const MethodResult& row) { return row.frequency == InferenceFrequency::kDaily; });
  if (daily && result.daily_delay_days > 0)
    std::cout << "daily: vectors come into use " << result.daily_delay_days
              << " day(s) after they are made\n";
}

void print(const EvaluationResult& result) {
  std::cout << result.positives << " positives of " << result.users << " held-out users, index of "
            << result.index_items << " items\n";
  print_delay(result);
  std::cout << "\n";
  const std::vector<Column> shown = columns(result.protocol);
  print_cell("method", 20);
  print_cell("frequency", 10);
  for (const Column& column : shown) print_cell(column.title, width_of(column));
  for (const MethodResult& row : result.results) {
    std::cout << "\n";
    print_cell(row.method, 20);
    print_cell(std::string(enum_name(row.frequency)), 10);
    for (const Column& column : shown)
      print_cell(cell(row.metrics.*column.metric,
                      column.with_error ? row.standard_errors.*column.metric : 0),
                 width_of(column));
  }
  std::cout << "\n";
  for (const MethodResult& row : result.results)
    for (const auto& [name, value] : row.settings)
      if (row.frequency == result.results.front().frequency)
        std::cout << row.method << ": " << name << " " << value << "\n";
  std::cout << std::flush;
}

}  // namespace

int command_evaluate(const Arguments& arguments) {
  LoadedModelOptions options;
  CommandLine cli(
      "evaluate",
      "Measures a checkpoint and the baselines on held-out users: recall, entropy, coverage.",
      "mpirun -n 2 pinnerformer evaluate --run build/quickstart/run --json result.json");
  add_model_options(cli, &options);
  if (!cli.parse(arguments) || printed_config(options)) return kDone;
  LoadedModel run(options, DataUse::kTrainingData);
  const RunConfig& config = run.config();

  const Session session(config.comm);
  const Ranks ranks = session.ranks();
  run.load_model(ranks.device, *ranks.control);
  const auto encode = [&](const std::vector<HistoryPrefix>& users) {
    return run.user_vectors(users);
  };
  std::vector<std::unique_ptr<RetrievalMethod>> methods;
  methods.push_back(std::make_unique<EncoderMethod>("model", encode, run.item_vectors()));
  const bool has_vectors = run.dataset().item_vectors().defined();
  for (const Baseline baseline : config.evaluate.baselines) {
    // Baselines of content vectors are in the default list; a dataset without vectors skips them.
    if (needs_content_vectors(baseline) && !has_vectors) continue;
    methods.push_back(make_baseline(baseline, {run.dataset(), config.positives, config.split,
                                               config.evaluate, config.run.seed, *ranks.control}));
  }
  std::vector<RetrievalMethod*> pointers;
  for (const auto& method : methods) pointers.push_back(method.get());

  EvaluationInputs inputs{run.dataset(),
                          config.positives,
                          config.split,
                          config.evaluate,
                          config.run.seed,
                          *ranks.control,
                          {}};
  ProgressLine progress;
  if (session.coordinator())
    inputs.progress = [&](const EvaluationProgress& at) {
      const std::string stage = at.method + " " + at.frequency;
      const double fraction = static_cast<double>(at.users_done) /
                              static_cast<double>(std::max<int64_t>(1, at.users_total));
      progress.update(stage, fraction, progress.rate(stage, at.users_done, "users"));
    };
  const EvaluationResult result = evaluate(inputs, pointers);
  if (session.coordinator()) {
    std::cout << run.source_note();
    print(result);
    std::cout << run.unknown_items_note();
    nlohmann::json object = nlohmann::json::parse(to_json(result));
    const EmbeddingSource source = run.source();
    object["run"] = source.run;
    object["checkpoint"] = source.checkpoint;
    object["step"] = source.step;
    object["unknown_items"] = run.unknown_items();
    write_json_file(cli.json_file(), object);
  }
  return kDone;
}

}  // namespace pinnerformer
