// pinnerformer recommend: the nearest items of given users, with titles.
#include <algorithm>
#include <cmath>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <vector>

#include "dataloader/base/errors.h"
#include "dataloader/base/printable.h"
#include "dataloader/base/time_text.h"
#include "dataloader/sampling/split.h"
#include "launch/cli/cli.h"
#include "launch/cli/json_file.h"
#include "launch/commands/registry.h"
#include "launch/job/session.h"
#include "launch/serving/item_search.h"
#include "launch/serving/loaded_model.h"
#include "launch/serving/reasons.h"

namespace pinnerformer {
namespace {

using Json = nlohmann::ordered_json;

struct Request {
  std::vector<std::string> users;
  int64_t evaluation_users = 0;
  int64_t items = 5;
  int64_t history = 5;
  bool repeats = false;
  bool explain = false;
  std::string vectors;  // file of `embed` with the item vectors; "": computed
  std::string index;    // index of them; "": all items are compared
  std::string topic;    // of the items wanted; "": any
};

std::vector<int64_t> chosen_users(const LoadedModel& run, const Request& request) {
  const Dataset& dataset = run.dataset();
  std::vector<int64_t> rows;
  for (const std::string& id : request.users) {
    const auto row = dataset.find_user(id);
    if (!row)
      throw DataError("user '" + id + "' is not in " + dataset.directory() +
                      (request.users.size() > 1 ? "; a comma of an id is written \\," : ""));
    rows.push_back(*row);
  }
  const SplitOptions& split = run.config().split;
  const int64_t least_events = std::max(split.min_events, request.history);
  for (int64_t user = 0, found = 0; user < dataset.users() && found < request.evaluation_users;
       ++user) {
    if (!is_evaluation_user(dataset.user_hash(user), split)) continue;
    if (dataset.timeline_length(user) < least_events) continue;
    rows.push_back(user);
    ++found;
  }
  if (rows.empty())
    throw DataError("--evaluation-users: no held-out user of " + dataset.directory() + " has " +
                    std::to_string(least_events) + " events; lower --history, or name users with " +
                    "--users");
  return rows;
}

std::unique_ptr<ItemSearch> item_search(LoadedModel& run, const Request& request) {
  if (!request.index.empty()) return search_index(run, request.index);
  if (!request.vectors.empty()) return search_stored_items(run, request.vectors);
  return search_computed_items(run);
}

Json describe(const Dataset& dataset, int64_t item) {
  Json object{{"item", dataset.item_id(item)}};
  if (dataset.has_titles()) object["title"] = dataset.item_title(item);
  return object;
}

Json describe_event(const Dataset& dataset, const Timeline& timeline, int64_t event) {
  const auto at = static_cast<size_t>(event);
  Json object = describe(dataset, timeline.item[at]);
  object["action"] = dataset.actions()[static_cast<size_t>(timeline.action[at])];
  return object;
}

// What the answer tells of a user beside the items.
Json describe_user(const LoadedModel& run, int64_t user, const Timeline& timeline,
                   const Request& request) {
  const EmbeddingSource source = run.source();
  Json answer{{"user", run.dataset().user_id(user)},
              {"events", timeline.size()},
              {"run", source.run},
              {"checkpoint", source.checkpoint},
              {"step", source.step}};
  if (!request.topic.empty()) answer["topic"] = request.topic;
  for (int64_t i = std::max<int64_t>(0, timeline.size() - request.history); i < timeline.size();
       ++i)
    answer["last"].push_back(describe_event(run.dataset(), timeline, i));
  return answer;
}

void add_reasons(const LoadedModel& run, const ItemSearch& items, const torch::Tensor& vector,
                 const Timeline& timeline, const std::vector<ScoredRow>& best, Json& answer) {
  if (best.empty()) return;
  std::vector<int64_t> rows;
  for (const ScoredRow& one : best) rows.push_back(one.row);
  const std::vector<Reason> found = reasons(
      vector, items.vectors(rows), items.vectors({timeline.item.begin(), timeline.item.end()}),
      run.config().model.output);
  for (size_t i = 0; i < found.size(); ++i) {
    Json event = describe_event(run.dataset(), timeline, found[i].event);
    event["time"] = utc_text(timeline.time[static_cast<size_t>(found[i].event)]);
    event["cosine"] = found[i].cosine;
    Json& entry = answer["recommended"][i];
    entry["nearest_event"] = event;
    if (run.config().model.prior_days.empty()) continue;
    entry["prior"] = found[i].prior;
    entry["prior_share"] = found[i].prior_share;
  }
}

// Leaves out the items of the user's own events unless repeats are asked for.
Json recommend(LoadedModel& run, const ItemSearch& items, int64_t user, const Request& request) {
  const Timeline timeline = run.dataset().timeline(user);
  if (timeline.size() == 0)
    throw DataError("user '" + printable(run.dataset().user_id(user)) +
                    "' has no events: there is nothing to make a vector from");
  const torch::Tensor vector = run.user_vectors(std::vector{timeline})[0];
  std::vector<int64_t> left_out;
  if (!request.repeats) left_out.assign(timeline.item.begin(), timeline.item.end());
  const std::vector<ScoredRow> best = items.best(vector, request.items, left_out);
  Json answer = describe_user(run, user, timeline, request);
  for (const ScoredRow& one : best) {
    Json entry = describe(run.dataset(), one.row);
    entry["similarity"] = static_cast<double>(one.score);
    answer["recommended"].push_back(entry);
  }
  if (request.explain) add_reasons(run, items, vector, timeline, best, answer);
  return answer;
}

std::string short_number(double number) { return std::to_string(number).substr(0, 6); }

std::string text_of(const Json& item) {
  const std::string title = item.value("title", "");
  const std::string id = printable(item["item"].get<std::string>());
  return title.empty() ? "item " + id : printable(title) + "  (item " + id + ")";
}

void print_reason(const Json& item) {
  const Json& event = item["nearest_event"];
  std::cout << "            nearest event: " << event["time"].get<std::string>() << "  "
            << printable(event["action"].get<std::string>()) << "  " << text_of(event)
            << ", cosine " << short_number(event["cosine"]);
  if (item.contains("prior"))
    std::cout << "; popularity prior " << short_number(item["prior"]) << ", "
              << std::lround(100 * item["prior_share"].get<double>()) << " % of the score";
  std::cout << "\n";
}

void print(const Json& answer) {
  std::cout << "user " << printable(answer["user"].get<std::string>()) << ", " << answer["events"]
            << " events\n  last:\n";
  for (const Json& event : answer.value("last", Json::array()))
    std::cout << "    " << printable(event["action"].get<std::string>()) << "  " << text_of(event)
              << "\n";
  std::cout << "  recommended:\n";
  for (const Json& item : answer.value("recommended", Json::array())) {
    std::cout << "    " << short_number(item["similarity"]) << "  " << text_of(item) << "\n";
    if (item.contains("nearest_event")) print_reason(item);
  }
  std::cout << "\n";
}

}  // namespace

int command_recommend(const Arguments& arguments) {
  LoadedModelOptions options;
  Request request;
  CommandLine cli("recommend", "Lists the nearest items of given users.",
                  "pinnerformer recommend --run build/quickstart/run --users 17,42 --items 10");
  add_model_options(cli, &options);
  cli.add_option("users", "ID,ID", &request.users, "ids of users; a comma of an id is written \\,");
  cli.add_option("evaluation-users", "N", &request.evaluation_users,
                 "the first N held-out users, in addition to --users");
  cli.add_option("items", "N", &request.items, "items for each user");
  cli.add_option("history", "N", &request.history, "last items shown for each user");
  cli.add_option("vectors", "FILE", &request.vectors,
                 "take the item vectors from this file of `embed`");
  cli.add_option(
      "index", "FILE", &request.index,
      "find the items with this index of `pinnerformer index`, instead of comparing all");
  cli.add_option(
      "topic", "NAME", &request.topic,
      "vectors for items of this topic (model.condition=topic); other items may come, too");
  cli.add_flag("explain", &request.explain,
               "for each item, show the nearest of the user's events and the share of the prior");
  cli.add_flag("repeats", &request.repeats, "also recommend items of the user's own events");
  if (!cli.parse(arguments) || printed_config(options)) return kDone;
  if (request.users.empty() && request.evaluation_users == 0)
    throw UsageError("name users with --users ID,ID or --evaluation-users N");
  if (request.items < 1 || request.history < 0 || request.evaluation_users < 0)
    throw UsageError("--items must be at least 1, --history and --evaluation-users at least 0");

  if (!request.vectors.empty() && !request.index.empty())
    throw UsageError("--vectors and --index exclude each other: an index has its own vectors");

  LoadedModel run(options, DataUse::kAnyThatFits);
  if (!request.topic.empty()) run.condition_on(request.topic);
  const Session session(run.config().comm);
  run.load_model(session.ranks().device, *session.ranks().control);
  if (!session.coordinator()) return kDone;
  const std::unique_ptr<ItemSearch> items = item_search(run, request);
  Json answers = Json::array();
  for (const int64_t user : chosen_users(run, request))
    answers.push_back(recommend(run, *items, user, request));
  std::cout << run.source_note() << run.unknown_items_note() << "\n";
  for (const Json& answer : answers) print(answer);
  write_json_file(cli.json_file(), answers);
  return kDone;
}

}  // namespace pinnerformer
