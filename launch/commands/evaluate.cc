// pinnerformer evaluate: checkpoints against the baselines and each other, on users that none of
// them was trained on.
#include <algorithm>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <vector>

#include "configs/errors.h"
#include "dataloader/base/enum_name.h"
#include "dataloader/base/errors.h"
#include "launch/cli/cli.h"
#include "launch/cli/json_file.h"
#include "launch/cli/progress.h"
#include "launch/commands/evaluate_text.h"
#include "launch/commands/registry.h"
#include "launch/job/session.h"
#include "launch/serving/loaded_model.h"
#include "trainer/evaluation/baselines.h"
#include "trainer/evaluation/evaluation.h"

namespace pinnerformer {
namespace {

using Models = std::vector<std::unique_ptr<LoadedModel>>;

// Runs to evaluate: those of --run are seeds of one configuration, those of --compare of another.
struct EvaluateWords {
  std::vector<std::string> runs;
  std::vector<std::string> compared;
  LoadedModelOptions model;  // --checkpoint and key=value words, for each of them
  std::vector<std::string> by;
};

void declare(CommandLine& cli, EvaluateWords& words) {
  add_model_options(cli, &words.model, &words.runs);
  cli.add_option("compare", "DIR", &words.compared,
                 "another run on the same dataset and split: its difference to --run, over the "
                 "same users, at the same --checkpoint. Like --run, may be given more than once");
  cli.add_option("by", "SEGMENT,SEGMENT", &words.by,
                 "the same figures by segments: activity, item_age, popularity, surface, action, "
                 "topic, novelty");
}

// Each kind once, in the order given.
std::vector<SegmentKind> segments_of(const EvaluateWords& words) {
  const std::vector<std::string> known(kEnumNames<SegmentKind>.begin(),
                                       kEnumNames<SegmentKind>.end());
  std::vector<SegmentKind> kinds;
  for (const std::string& word : words.by) {
    require_known("segment", word, known);
    const auto kind = enum_value<SegmentKind>(word);
    if (std::ranges::find(kinds, kind) == kinds.end()) kinds.push_back(kind);
  }
  return kinds;
}

LoadedModelOptions options_of(const EvaluateWords& words, const std::string& run) {
  LoadedModelOptions options = words.model;
  options.run = run;
  return options;
}

Models open_models(const EvaluateWords& words, const std::vector<std::string>& runs) {
  Models models;
  for (const std::string& run : runs)
    models.push_back(std::make_unique<LoadedModel>(options_of(words, run), DataUse::kTrainingData));
  return models;
}

// Throws ConfigError where the two differ in a key that matters.
void require_same(const LoadedModel& first, const LoadedModel& other, const std::string& why,
                  bool (*matters)(const std::string& key)) {
  std::string text;
  for (const std::string& line : config_differences(first.config(), other.config()))
    if (matters(line.substr(0, line.find(':')))) text += "\n  " + line;
  if (!text.empty()) throw ConfigError(first.path() + " and " + other.path() + " " + why + text);
  if (first.dataset().fingerprint() != other.dataset().fingerprint())
    throw DataError(first.path() + " and " + other.path() +
                    " were trained on different datasets: " + first.dataset().directory() +
                    " and " + other.dataset().directory() +
                    ". Differences over the same users need the same data");
}

// Keys that may differ between seeds.
bool matters_for_seeds(const std::string& key) {
  return !(key.starts_with("run.") || key.starts_with("data.") || key.starts_with("comm.") ||
           key.starts_with("checkpoint.") || key.starts_with("evaluate.") ||
           key.starts_with("metrics."));
}

// Keys that decide the cases.
bool decides_cases(const std::string& key) {
  return key.starts_with("positives.") || (key.starts_with("split.") && key != "split.leave_out" &&
                                           key != "split.validation_percent");
}

// The spread over runs that are one run would be none.
void require_different(const Models& models) {
  for (auto first = models.begin(); first != models.end(); ++first)
    for (auto other = models.begin(); other != first; ++other) {
      const bool same_weights = (*first)->version().model == (*other)->version().model;
      if (!same_weights && (*first)->config().run.seed != (*other)->config().run.seed) continue;
      throw UsageError((*other)->path() + " and " + (*first)->path() + " have the same " +
                       (same_weights ? "weights" : "run.seed") +
                       ", so that a mean over them says nothing of other seeds; leave one out");
    }
}

// One of the runs may not have reached its end.
std::string note_of_steps(const Models& models) {
  std::string steps;
  bool differ = false;
  for (const auto& model : models) {
    steps += (steps.empty() ? "" : ", ") + std::to_string(model->source().step);
    differ = differ || model->source().step != models.front()->source().step;
  }
  return differ
             ? "note: the newest checkpoints of these runs are of different steps: " + steps + "\n"
             : "";
}

void require_comparable(const Models& models, const Models& compared) {
  for (const Models* group : {&models, &compared})
    for (const auto& model : *group)
      require_same(*group->front(), *model,
                   "differ in more than the seed, so that no mean over them makes sense; give the "
                   "second one with --compare:",
                   matters_for_seeds);
  if (!compared.empty())
    require_same(*models.front(), *compared.front(),
                 "cannot be compared, as they are evaluated on different cases:", decides_cases);
}

// Methods, their owners and how they are grouped.
struct Methods {
  std::vector<std::unique_ptr<RetrievalMethod>> owned;
  std::vector<MethodRuns> groups;

  void start_group(const std::string& name) { groups.push_back({name, {}}); }
  void add(std::unique_ptr<RetrievalMethod> method) {
    groups.back().runs.push_back(method.get());
    owned.push_back(std::move(method));
  }
};

void add_models(Methods& methods, const std::string& name, const Models& models,
                const Ranks& ranks) {
  if (models.empty()) return;
  methods.start_group(name);
  for (const auto& model : models) {
    model->load_model(ranks.device, *ranks.control);
    methods.add(std::make_unique<EncoderMethod>(
        name,
        [&run = *model](const std::vector<HistoryPrefix>& users) {
          return run.user_vectors(users);
        },
        model->item_vectors(*ranks.control).to(ranks.device)));  // scores are computed there
  }
}

void add_baselines(Methods& methods, const LoadedModel& run, Communicator& comm) {
  const RunConfig& config = run.config();
  for (const Baseline baseline : config.evaluate.baselines) {
    // Baselines of content vectors are in the default list; a dataset without vectors skips them.
    if (needs_content_vectors(baseline) && !run.dataset().item_vectors().defined()) {
      if (comm.rank() == 0)
        std::cerr << "note: " << enum_name(baseline) << " is left out, as "
                  << run.dataset().directory() << " has no item vectors\n";
      continue;
    }
    auto method = make_baseline(baseline, {run.dataset(), config.positives, config.split,
                                           config.evaluate, config.run.seed, comm});
    methods.start_group(method->name());
    methods.add(std::move(method));
  }
}

nlohmann::json sources_json(const Models& models) {
  nlohmann::json sources = nlohmann::json::array();
  for (const auto& model : models) {
    const EmbeddingSource source = model->source();
    sources.push_back({{"run", source.run},
                       {"checkpoint", source.checkpoint},
                       {"step", source.step},
                       {"unknown_items", model->unknown_items()}});
  }
  return sources;
}

void report(const EvaluationResult& result, const Models& models, const Models& compared,
            bool newest, const std::string& json_file) {
  std::string notes;
  for (const Models* group : {&models, &compared}) {
    if (newest) notes += note_of_steps(*group);
    for (const auto& model : *group) {
      std::cout << (group == &compared ? "compared with " : "") << model->source_note();
      notes += model->unknown_items_note();
    }
  }
  std::cout << describe_evaluation(result) << notes << std::flush;
  nlohmann::json object = nlohmann::json::parse(to_json(result));
  object.update(sources_json(models).front());
  if (models.size() > 1) object["runs"] = sources_json(models);
  if (!compared.empty()) object["compared"] = sources_json(compared);
  write_json_file(json_file, object);
}

}  // namespace

int command_evaluate(const Arguments& arguments) {
  EvaluateWords words;
  CommandLine cli(
      "evaluate",
      "Measures a checkpoint and the baselines on held-out users: recall, entropy, coverage.",
      "mpirun -n 2 pinnerformer evaluate --run build/quickstart/run --json result.json");
  declare(cli, words);
  if (!cli.parse(arguments)) return kDone;
  const std::vector<SegmentKind> by = segments_of(words);
  if (words.runs.empty() && !words.compared.empty())
    throw UsageError("--compare needs --run DIR: --checkpoint DIR names one checkpoint alone");
  if (words.runs.empty()) words.runs.emplace_back();  // --checkpoint DIR alone
  if (printed_config(options_of(words, words.runs.front()))) return kDone;
  const Models models = open_models(words, words.runs);
  const Models compared = open_models(words, words.compared);
  require_comparable(models, compared);
  require_different(models);
  require_different(compared);

  const LoadedModel& first = *models.front();
  const RunConfig& config = first.config();
  const Session session(config.comm);
  const Ranks ranks = session.ranks();
  Methods methods;
  add_models(methods, "model", models, ranks);
  add_models(methods, "compared", compared, ranks);
  add_baselines(methods, first, *ranks.control);
  EvaluationInputs inputs{first.dataset(),
                          config.positives,
                          config.split,
                          config.evaluate,
                          config.run.seed,
                          *ranks.control,
                          {}};
  inputs.by = by;
  ProgressLine progress;
  if (session.coordinator())
    inputs.progress = [&](const EvaluationProgress& at) {
      const std::string stage = at.method + " " + at.frequency;
      const double fraction = static_cast<double>(at.users_done) /
                              static_cast<double>(std::max<int64_t>(1, at.users_total));
      progress.update(stage, fraction, progress.rate(stage, at.users_done, "users"));
    };
  const EvaluationResult result = evaluate(inputs, methods.groups);
  if (session.coordinator())
    report(result, models, compared, words.model.checkpoint.empty(), cli.json_file());
  return kDone;
}

}  // namespace pinnerformer
