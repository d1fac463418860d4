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

void print_row(const std::vector<std::string>& cells) {
  constexpr std::array<size_t, 6> kWidths = {16, 10, 18, 18, 9, 8};
  for (size_t i = 0; i < cells.size(); ++i) {
    // "±" takes two bytes and one column.
    const size_t columns = cells[i].size() - (cells[i].find("±") != std::string::npos ? 1 : 0);
    std::cout << cells[i] << std::string(columns < kWidths[i] ? kWidths[i] - columns : 1, ' ');
  }
  std::cout << "\n";
}

void print(const EvaluationResult& result) {
  std::cout << result.positives << " positives of " << result.users << " held-out users, index of "
            << result.index_items << " items\n\n";
  // With one positive per user recall is the hit rate, and the literature shows NDCG beside it.
  const bool one_left_out = result.protocol == SplitProtocol::kLeaveOneOut;
  const std::string first = one_left_out ? "HR@10" : "R@10";
  const std::string second = one_left_out ? "NDCG@10" : "R@50";
  const auto second_metric =
      one_left_out ? &RetrievalMetrics::ndcg_at_10 : &RetrievalMetrics::recall_at_50;
  print_row({"method", "frequency", first, second, "P90@10", "IE@50"});
  for (const MethodResult& row : result.results)
    print_row({row.method, std::string(enum_name(row.frequency)),
               cell(row.metrics.recall_at_10, row.standard_errors.recall_at_10),
               cell(row.metrics.*second_metric, row.standard_errors.*second_metric),
               cell(row.metrics.p90_coverage_at_10, 0),
               cell(row.metrics.interest_entropy_at_50, 0)});
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
  run.load_model(ranks.device);
  const auto encode = [&](const std::vector<HistoryPrefix>& users) {
    return run.user_vectors(users);
  };
  std::vector<std::unique_ptr<RetrievalMethod>> methods;
  methods.push_back(std::make_unique<EncoderMethod>("model", encode, run.item_vectors()));
  const bool has_vectors = run.dataset().item_vectors().defined();
  for (const Baseline baseline : config.evaluate.baselines) {
    // Listed by default, and no reason to fail where there are no vectors.
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
    inputs.progress = [&](const std::string& method, const std::string& frequency, int64_t done,
                          int64_t total) {
      const std::string stage = method + " " + frequency;
      const double fraction =
          static_cast<double>(done) / static_cast<double>(std::max<int64_t>(1, total));
      progress.update(stage, fraction, progress.rate(stage, done, "users"));
    };
  const EvaluationResult result = evaluate(inputs, pointers);
  if (session.coordinator()) {
    print(result);
    std::cout << run.unknown_items_note();
    nlohmann::json object = nlohmann::json::parse(to_json(result));
    object["unknown_items"] = run.unknown_items();
    write_json_file(cli.json_file(), object);
  }
  return kDone;
}

}  // namespace pinnerformer
