#include "launch/export/model_card.h"

#include <array>
#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string_view>

#include "dataloader/base/enum_name.h"
#include "dataloader/base/errors.h"
#include "dataloader/base/file.h"
#include "dataloader/base/printable.h"
#include "dataloader/base/time_text.h"
#include "trainer/checkpoint/bounded_json.h"
#include "trainer/errors.h"
#include "trainer/evaluation/evaluation.h"

namespace pinnerformer {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr int64_t kMostEvaluationBytes = int64_t{16} << 20;

// A name of unknown origin, in a cell of a table: no letter of it is markup.
std::string cell(const std::string& text) {
  std::string safe;
  for (const char letter : printable(text)) {
    if (std::string_view("\\|<`*_[").find(letter) != std::string_view::npos) safe += '\\';
    safe += letter;
  }
  return safe;
}

// A name in a result of an evaluation; "-" where there is none.
std::string name_cell(const json& result, const char* key) {
  const auto found = result.find(key);
  return found != result.end() && found->is_string() ? cell(found->get<std::string>()) : "-";
}

std::string row(const std::string& name, const std::string& value) {
  return "| " + name + " | " + value + " |\n";
}
std::string row(const std::string& name, int64_t value) { return row(name, std::to_string(value)); }

std::string list(const std::vector<std::string>& names) {
  constexpr size_t kMost = 20;
  std::string text;
  for (size_t i = 0; i < names.size() && i < kMost; ++i)
    text += (i > 0 ? ", " : "") + cell(names[i]);
  return names.size() > kMost ? text + ", and " + std::to_string(names.size() - kMost) + " more"
                              : text;
}

std::string short_number(double value) {
  std::array<char, 40> text{};
  std::snprintf(text.data(), text.size(), "%.6g", value);
  return text.data();
}

std::string source_section(const LoadedModel& run) {
  const EmbeddingSource source = run.source();
  return "# PinnerFormer user and item towers\n\n| | |\n|---|---|\n" +
         row("model version", run.version().model) + row("content version", run.version().content) +
         row("run", cell(source.run)) + row("checkpoint", cell(source.checkpoint)) +
         row("step", source.step) + "\n";
}

std::string model_section(const TowerSpec& spec) {
  int64_t weights = 0;
  for (const auto& [name, weight] : spec.weights) weights += weight.numel();
  const ModelOptions& options = spec.options;
  return "## Model\n\nA causal encoder over a user's newest events, and an item tower; see "
         "`model.json` for every option. The score of an item is the dot product of its vector and "
         "the user's.\n\n| | |\n|---|---|\n" +
         row("weights", weights) + row("events read", options.max_length) +
         row("layers", options.layers) + row("width", options.hidden) +
         row("block", std::string(enum_name(options.block))) +
         row("user head", std::string(enum_name(options.user_head))) +
         row("item tower", std::string(enum_name(spec.item_tower))) +
         row("similarity", std::string(enum_name(options.similarity))) +
         row("width of content vectors", spec.content_width) +
         row("width of learned rows", spec.row_width()) +
         row("width of the sums of code rows", spec.code_width) +
         row("width of user and item vectors", spec.dimensions()) +
         row("vectors of a user", options.user_vectors) +
         row("condition", std::string(enum_name(options.condition))) +
         row("temperature", short_number(spec.temperature)) + "\n";
}

std::string data_section(const LoadedModel& run) {
  const Dataset& data = run.dataset();
  const PositiveOptions& positives = run.config().positives;
  return "## Data\n\n| | |\n|---|---|\n" +
         row("dataset", cell(fs::path(data.directory()).lexically_normal().filename().string())) +
         row("fingerprint", data.fingerprint()) + row("users", data.users()) +
         row("items", data.items()) + row("events", data.events()) +
         row("first event", utc_text(data.first_time())) +
         row("last event", utc_text(data.last_time())) + row("actions", list(data.actions())) +
         row("surfaces", list(data.surfaces())) + row("positives", list(positives.actions)) + "\n";
}

std::string split_section(const SplitOptions& split) {
  std::string text = "## Split\n\n";
  if (split.protocol == SplitProtocol::kLeaveOneOut)
    return text + "The last event of every user is the test; training leaves out the last " +
           std::to_string(split.leave_out) + " events of every user.\n\n";
  return text + std::to_string(split.users_percent) +
         " % of the users are held out. They are evaluated on " + std::to_string(split.windows) +
         " window(s) of " + short_number(split.window_days) +
         " days at the end of the data; training sees no event after the first window begins.\n\n";
}

std::string metric_cell(const json& result, const char* key) {
  const auto found = result.find(key);
  return found != result.end() && found->is_number() ? short_number(found->get<double>()) : "-";
}

std::string metrics_section(const LoadedModel& run, const json& evaluation) {
  const BestStep& best = run.checkpoint().best;
  std::string text = "## Metrics\n\n";
  if (best.step >= 0)
    text += "Best validation by then: recall@10 of " + short_number(best.recall_at_10) +
            " in step " + std::to_string(best.step) + ".\n\n";
  if (evaluation.is_null())
    return text +
           "No evaluation was given to the export (`--evaluation FILE`). Measure with "
           "`pinnerformer evaluate`.\n\n";
  std::string head = "| method | frequency |", line = "|---|---|";
  for (const MetricName& metric : kMetricNames) {
    head += std::string(" ") + metric.key + " |";
    line += "---|";
  }
  text += std::to_string(evaluation.value("users", int64_t{0})) + " held-out users, " +
          std::to_string(evaluation.value("index_items", int64_t{0})) + " items in the index.\n\n" +
          head + "\n" + line + "\n";
  for (const json& result : evaluation["results"]) {
    text += "| ";
    text += name_cell(result, "method") + " | " + name_cell(result, "frequency") + " |";
    for (const MetricName& metric : kMetricNames)
      text += std::string(" ").append(metric_cell(result, metric.key)).append(" |");
    text += "\n";
  }
  return text + "\n";
}

std::string limits_section(const LoadedModel& run, const TowerSpec& spec) {
  std::string text =
      "## Limits\n\n"
      "- Vectors of different versions must not be compared. Both towers, `items.h5` and any index "
      "made of it carry `model_version` and `content_version`: compare them before you serve.\n"
      "- The model reads the newest " +
      std::to_string(spec.options.max_length) +
      " events of a user. It learned from the actions and surfaces listed above and has no index "
      "for others.\n";
  if (!run.unknown_items_note().empty()) text += "- " + run.unknown_items_note();
  if (spec.prior.defined())
    text +=
        "- The vectors contain the popularity of the items as of the last event of the data: "
        "export or embed anew with the data of the next day.\n";
  return text +
         "- It repeats the preferences in its data, popularity bias included. It was not "
         "checked for fairness between groups of users or of items.\n\n";
}

constexpr const char* kUse = R"(## Use

```python
import torch
user, item = torch.jit.load("user_tower.pt"), torch.jit.load("item_tower.pt")
assert user.model_version == item.model_version
vector = user(content, id_rows, action, surface, time, duration, length)  # preprocessing.json: "inputs"
```

`export.json` lists the files with their checksums; `pinnerformer export --verify DIR` compares them. The format is
described in docs/export_format.md of the project, and docs/plain_model.py there is the model in plain PyTorch.
)";

}  // namespace

json read_evaluation(const std::string& path, const EmbeddingSource& source) try {
  json object = parse_bounded_json(read_whole_file(path, kMostEvaluationBytes), 12, path);
  if (!object.is_object() || !object.contains("results") || !object["results"].is_array())
    throw DataError(path +
                    " is no evaluation: expected what `pinnerformer evaluate --json` writes");
  for (const json& result : object["results"])
    if (!result.is_object())
      throw DataError(path + ": an entry of results is " + printable_json(result) +
                      ", not an object");
  for (const char* count : {"users", "index_items"})
    if (object.contains(count)) static_cast<void>(whole_number(object, count, 0, path));
  const int64_t step = whole_number(object, "step", 0, path);
  const std::string checkpoint = text_entry(object, "checkpoint", path);
  if (step != source.step ||
      fs::weakly_canonical(checkpoint) != fs::weakly_canonical(source.checkpoint))
    throw DataError(path + " is the evaluation of " + checkpoint + " (step " +
                    std::to_string(step) + "), and the export is of " + source.checkpoint +
                    " (step " + std::to_string(source.step) + "): evaluate that one");
  return object;
} catch (const CheckpointError& error) {
  throw DataError(error.what());
}

std::string model_card(const LoadedModel& run, const TowerSpec& spec, const json& evaluation) {
  return source_section(run) + model_section(spec) + data_section(run) +
         split_section(run.config().split) + metrics_section(run, evaluation) +
         limits_section(run, spec) + kUse;
}

}  // namespace pinnerformer
