// pinnerformer recommend: the nearest items of given users, with titles.
#include <algorithm>
#include <iostream>
#include <limits>
#include <nlohmann/json.hpp>
#include <vector>

#include "dataloader/base/errors.h"
#include "dataloader/base/printable.h"
#include "dataloader/sampling/split.h"
#include "launch/cli/cli.h"
#include "launch/cli/json_file.h"
#include "launch/commands/registry.h"
#include "launch/job/session.h"
#include "launch/serving/loaded_model.h"
#include "trainer/evaluation/top_items.h"

namespace pinnerformer {
namespace {

using Json = nlohmann::ordered_json;

struct Request {
  std::vector<std::string> users;
  int64_t evaluation_users = 0;
  int64_t items = 5;
  int64_t history = 5;
  bool repeats = false;
  std::string vectors;  // file of `embed` with the item vectors; "": computed
};

std::vector<int64_t> chosen_users(const LoadedModel& run, const Request& request) {
  const Dataset& dataset = run.dataset();
  std::vector<int64_t> rows;
  for (const std::string& id : request.users) {
    const auto row = dataset.find_user(id);
    if (!row) throw DataError("user '" + id + "' is not in " + dataset.directory());
    rows.push_back(*row);
  }
  const SplitOptions& split = run.config().split;
  for (int64_t user = 0, found = 0; user < dataset.users() && found < request.evaluation_users;
       ++user) {
    if (!is_evaluation_user(dataset.user_hash(user), split)) continue;
    if (dataset.timeline_length(user) < std::max(split.min_events, request.history)) continue;
    rows.push_back(user);
    ++found;
  }
  return rows;
}

// In the order of the dataset's items, [I, D].
torch::Tensor stored_item_vectors(const LoadedModel& run, const std::string& path) {
  const EmbeddingFileReader stored(path, "/item");
  require_version(stored.version(), path, run.version(), run.path());
  require_width(stored, run.config().model.output);
  std::cerr << checksum_note(stored);
  const Dataset& dataset = run.dataset();
  const IdColumn ids = stored.ids(0, stored.rows());
  // Both are ascending by id: the same items are the same ids in the same order.
  for (int64_t item = 0; item < std::max(dataset.items(), ids.size()); ++item) {
    const std::string here = item < dataset.items() ? dataset.item_id(item) : "";
    const std::string there = item < ids.size() ? ids.text(item) : "";
    if (here == there) continue;
    throw DataError(path + " has the vectors of other items than " + dataset.directory() +
                    ": item '" + (here.empty() ? there : here) +
                    "' is not in both. Run `pinnerformer embed --items` with this dataset");
  }
  return stored.vectors(0, stored.rows());
}

Json describe(const Dataset& dataset, int64_t item) {
  Json object{{"item", dataset.item_id(item)}};
  if (dataset.has_titles()) object["title"] = dataset.item_title(item);
  return object;
}

// Leaves out the items of the user's own events unless repeats are asked for.
Json recommend(LoadedModel& run, const torch::Tensor& items, int64_t user, const Request& request) {
  const Dataset& dataset = run.dataset();
  const Timeline timeline = dataset.timeline(user);
  torch::Tensor scores =
      torch::matmul(run.user_vectors(std::vector{timeline}), items.t());  // [1, I]
  if (!request.repeats) {
    const std::vector<int64_t> seen(timeline.item.begin(), timeline.item.end());
    scores.index_fill_(1, torch::tensor(seen), -std::numeric_limits<float>::infinity());
  }
  const EmbeddingSource source = run.source();
  Json answer{{"user", dataset.user_id(user)},
              {"events", timeline.size()},
              {"run", source.run},
              {"checkpoint", source.checkpoint},
              {"step", source.step}};
  for (int64_t i = std::max<int64_t>(0, timeline.size() - request.history); i < timeline.size();
       ++i) {
    const auto at = static_cast<size_t>(i);
    Json event = describe(dataset, timeline.item[at]);
    event["action"] = dataset.actions()[static_cast<size_t>(timeline.action[at])];
    answer["last"].push_back(event);
  }
  const std::vector<std::vector<int64_t>> best = top_columns(scores, request.items);
  for (const int64_t item : best.front()) {
    Json entry = describe(dataset, item);
    entry["similarity"] = scores[0][item].item<double>();
    answer["recommended"].push_back(entry);
  }
  return answer;
}

std::string text_of(const Json& item) {
  const std::string title = item.value("title", "");
  const std::string id = printable(item["item"].get<std::string>());
  return title.empty() ? "item " + id : printable(title) + "  (item " + id + ")";
}

void print(const Json& answer) {
  std::cout << "user " << printable(answer["user"].get<std::string>()) << ", " << answer["events"]
            << " events\n  last:\n";
  for (const Json& event : answer.value("last", Json::array()))
    std::cout << "    " << printable(event["action"].get<std::string>()) << "  " << text_of(event)
              << "\n";
  std::cout << "  recommended:\n";
  for (const Json& item : answer.value("recommended", Json::array()))
    std::cout << "    " << std::to_string(item["similarity"].get<double>()).substr(0, 6) << "  "
              << text_of(item) << "\n";
  std::cout << "\n";
}

}  // namespace

int command_recommend(const Arguments& arguments) {
  LoadedModelOptions options;
  Request request;
  CommandLine cli("recommend", "Lists the nearest items of given users.",
                  "pinnerformer recommend --run build/quickstart/run --users 17,42 --items 10");
  add_model_options(cli, &options);
  cli.add_option("users", "ID,ID", &request.users, "ids of users");
  cli.add_option("evaluation-users", "N", &request.evaluation_users,
                 "and the first N held-out users");
  cli.add_option("items", "N", &request.items, "items for each user");
  cli.add_option("history", "N", &request.history, "last items shown for each user");
  cli.add_option("vectors", "FILE", &request.vectors,
                 "take the item vectors from this file of `embed`");
  cli.add_flag("repeats", &request.repeats, "also recommend items of the user's own events");
  if (!cli.parse(arguments) || printed_config(options)) return kDone;
  if (request.users.empty() && request.evaluation_users == 0)
    throw UsageError("name users with --users ID,ID or --evaluation-users N");
  if (request.items < 1 || request.history < 0 || request.evaluation_users < 0)
    throw UsageError("--items must be at least 1, --history and --evaluation-users at least 0");

  LoadedModel run(options, DataUse::kAnyThatFits);
  const Session session(run.config().comm);
  run.load_model(session.ranks().device, *session.ranks().control);
  if (!session.coordinator()) return kDone;
  const torch::Tensor items =
      request.vectors.empty() ? run.item_vectors() : stored_item_vectors(run, request.vectors);
  Json answers = Json::array();
  for (const int64_t user : chosen_users(run, request))
    answers.push_back(recommend(run, items, user, request));
  std::cout << run.source_note() << "\n";
  for (const Json& answer : answers) print(answer);
  write_json_file(cli.json_file(), answers);
  return kDone;
}

}  // namespace pinnerformer
