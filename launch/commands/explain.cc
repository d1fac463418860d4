// pinnerformer explain: one user's sample followed through one training step, with its numbers.
#include <algorithm>
#include <cstdio>
#include <iostream>
#include <nlohmann/json.hpp>

#include "dataloader/base/errors.h"
#include "dataloader/base/printable.h"
#include "dataloader/base/time_text.h"
#include "dataloader/sampling/split.h"
#include "launch/cli/cli.h"
#include "launch/cli/json_file.h"
#include "launch/commands/registry.h"
#include "launch/job/agreed_precision.h"
#include "launch/job/session.h"
#include "launch/job/training_setup.h"
#include "trainer/loop/trainer.h"

namespace pinnerformer {
namespace {

using Json = nlohmann::ordered_json;

Json json_of(const Dataset& dataset, const TracedEvent& event) {
  return {{"event", event.event},
          {"time", event.time},
          {"item", dataset.item_id(event.item)},
          {"action", dataset.actions()[static_cast<size_t>(event.action)]},
          {"positive", event.positive}};
}

Json json_of(const Dataset& dataset, const std::vector<TracedEvent>& events) {
  Json list = Json::array();
  for (const TracedEvent& event : events) list.push_back(json_of(dataset, event));
  return list;
}

Json json_of(const Dataset& dataset, const std::vector<TracedColumn>& columns) {
  Json list = Json::array();
  for (const TracedColumn& column : columns)
    list.push_back({{"item", dataset.item_id(column.item)}, {"log_q", column.log_q}});
  return list;
}

Json json_of(const Dataset& dataset, const TracedPair& pair) {
  return {{"event", pair.event},
          {"item", dataset.item_id(pair.item)},
          {"similarity", pair.similarity},
          {"prior", pair.prior},
          {"log_q", pair.log_q},
          {"logit", pair.logit},
          {"negatives", pair.negatives},
          {"pool_logit", pair.pool_logit},
          {"loss", pair.loss},
          {"weight", pair.weight}};
}

Json json_of(const Dataset& dataset, const StepTrace& trace) {
  Json pairs = Json::array();
  for (const TracedPair& pair : trace.pairs) pairs.push_back(json_of(dataset, pair));
  return {{"user", dataset.user_id(trace.user)},
          {"step", trace.step},
          {"epoch", trace.epoch},
          {"timeline", {{"events", trace.timeline_events}, {"training", trace.training_events}}},
          {"inputs", json_of(dataset, trace.inputs)},
          {"labels", json_of(dataset, trace.labels)},
          {"pairs", pairs},
          {"pool",
           {{"in_batch", json_of(dataset, trace.in_batch_columns)},
            {"random", json_of(dataset, trace.random_columns)}}},
          {"batch", {{"users", trace.batch_users}, {"pairs", trace.batch_pairs}}},
          {"temperature", trace.temperature},
          {"loss", trace.loss},
          {"grad_norm", trace.grad_norm},
          {"learning_rate", trace.learning_rate},
          {"weight",
           {{"name", trace.weight.name},
            {"before", trace.weight.before},
            {"gradient", trace.weight.gradient},
            {"after", trace.weight.after}}}};
}

// printf with a std::string as the result, which is never cut: ids have any length.
template <class... Values>
std::string line(const char* format, Values... values) {
  const int length = std::snprintf(nullptr, 0, format, values...);
  std::string text(static_cast<size_t>(std::max(length, 0)), '\0');
  std::snprintf(text.data(), text.size() + 1, format, values...);
  return text;
}

std::string text_of(const Dataset& dataset, const TracedEvent& event) {
  const std::string title = dataset.has_titles() ? dataset.item_title(event.item) : "";
  return line("  %5lld  %s  %-10s %s%s%s\n", static_cast<long long>(event.event),
              utc_text(event.time).c_str(),
              printable(dataset.actions()[static_cast<size_t>(event.action)]).c_str(),
              printable(dataset.item_id(event.item)).c_str(), event.positive ? "  positive" : "",
              title.empty() ? "" : ("  " + printable(title, 40)).c_str());
}

// The first and last of a long list.
template <class Value, class Print>
std::string shortened(const std::vector<Value>& values, size_t most, Print print) {
  std::string text;
  const size_t head = values.size() <= most ? values.size() : most / 2;
  const size_t tail = values.size() <= most ? values.size() : values.size() - (most - head);
  for (size_t i = 0; i < head; ++i) text += print(values[i]);
  if (tail > head) text += line("    ... %zu more ...\n", tail - head);
  for (size_t i = tail; i < values.size(); ++i) text += print(values[i]);
  return text;
}

std::string columns_text(const Dataset& dataset, const char* kind,
                         const std::vector<TracedColumn>& columns) {
  std::string text = line("  %zu %s:", columns.size(), kind);
  for (size_t i = 0; i < std::min<size_t>(3, columns.size()); ++i)
    text += line("%s item %s (log Q %.3f)", i == 0 ? "" : ",",
                 printable(dataset.item_id(columns[i].item)).c_str(), columns[i].log_q);
  return text + (columns.size() > 3 ? ", ...\n" : "\n");
}

std::string text_of(const Dataset& dataset, const StepTrace& trace, int64_t most) {
  const auto limit = static_cast<size_t>(most);
  const auto event_line = [&](const TracedEvent& event) { return text_of(dataset, event); };
  const auto pair_line = [&](const TracedPair& pair) {
    return line("  %5lld  %-10s %10.4f %7.3f %8.3f %9.4f %9lld %9.4f %8.4f %9.6f\n",
                static_cast<long long>(pair.event), printable(dataset.item_id(pair.item)).c_str(),
                pair.similarity, pair.prior, pair.log_q, pair.logit,
                static_cast<long long>(pair.negatives), pair.pool_logit, pair.loss, pair.weight);
  };
  double share = 0;
  for (const TracedPair& pair : trace.pairs) share += pair.weight * pair.loss;
  std::string text =
      line("user %s in step %lld, epoch %lld\n\n", printable(dataset.user_id(trace.user)).c_str(),
           static_cast<long long>(trace.step), static_cast<long long>(trace.epoch)) +
      line("timeline: %lld events, %lld of them may be used in training\n",
           static_cast<long long>(trace.timeline_events),
           static_cast<long long>(trace.training_events)) +
      line("\ninputs: %zu events\n", trace.inputs.size()) +
      shortened(trace.inputs, limit, event_line) +
      line("\nlabels: %zu positives after the newest input or between inputs\n",
           trace.labels.size()) +
      shortened(trace.labels, limit, event_line) +
      line("\npool: the same %zu columns for every pair of the step\n",
           trace.in_batch_columns.size() + trace.random_columns.size()) +
      columns_text(dataset, "positives of the batch", trace.in_batch_columns) +
      columns_text(dataset, "random items", trace.random_columns) +
      line("\npairs: %zu of this user, temperature %.4f\n", trace.pairs.size(), trace.temperature) +
      "  event  item       similarity   prior    log Q     logit negatives  log sum     loss    "
      "weight\n" +
      shortened(trace.pairs, limit, pair_line);
  text +=
      line("\nloss: this user adds %.6f (sum of weight times loss)\n", share) +
      line("  %lld users with %lld pairs make the loss of the step, %.5f\n",
           static_cast<long long>(trace.batch_users), static_cast<long long>(trace.batch_pairs),
           trace.loss) +
      line("\ngradient: norm %.4f before clipping, learning rate %.3e\n", trace.grad_norm,
           trace.learning_rate) +
      line("  %s: gradient %.4e after clipping, weight %.6f -> %.6f\n", trace.weight.name.c_str(),
           trace.weight.gradient, trace.weight.before, trace.weight.after);
  return text;
}

}  // namespace

int command_explain(const Arguments& arguments) {
  std::string user;
  int64_t step = 1, lines = 8;
  CommandLine cli("explain",
                  "Follows one user's sample through one training step: events, window, labels, "
                  "pairs, pool, loss, gradient, new weight. Trains in memory up to that step; "
                  "writes nothing into the run directory.",
                  "pinnerformer explain --config configs/quickstart.yaml --user 17 --step 20");
  cli.add_required("user", "ID", &user, "external id of the user");
  cli.add_option("step", "N", &step, "the first step from N on that has a sample of the user");
  cli.add_option("lines", "N", &lines, "events and pairs printed of each list; --json has all");
  cli.accept_config();
  if (!cli.parse(arguments)) return kDone;
  if (step < 1 || lines < 2) throw UsageError("--step is 1 or more, --lines 2 or more");
  RunConfig config = cli.config();
  if (step > config.train.steps)
    throw UsageError("--step " + std::to_string(step) + ": the training has " +
                     std::to_string(config.train.steps) + " steps (train.steps)");
  if (config.item.table.pretrain_steps > 0)
    std::cerr
        << "note: without the item.table.pretrain_steps of a training, whose numbers differ\n";
  config.item.table.pretrain_steps = 0;
  const Dataset dataset = Dataset::open(config.data.path);
  const auto row = dataset.find_user(user);
  if (!row) throw DataError("user '" + user + "' is not in " + dataset.directory());
  if (!is_training_user(dataset.user_hash(*row), config.split))
    throw DataError("user '" + user +
                    "' is held out for evaluation: training has no sample of them");
  const Session session(config.comm);
  if (session.ranks().control->size() != 1)
    throw UsageError("explain runs as one process: start it without mpirun");
  config.train.precision = agreed_precision(config.train.precision, session.ranks());
  Trainer trainer(training_data(dataset, config), config, config.comm, session.ranks(), "");
  const StepTrace trace = trainer.trace_step(*row, step);
  std::cout << text_of(dataset, trace, lines);
  write_json_file(cli.json_file(), json_of(dataset, trace));
  return kDone;
}

}  // namespace pinnerformer
