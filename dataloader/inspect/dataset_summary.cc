// Counting, and the two ways to show it.
#include "dataloader/inspect/dataset_summary.h"

#include <torch/torch.h>

#include <algorithm>
#include <bit>
#include <iomanip>
#include <nlohmann/json.hpp>
#include <numeric>
#include <sstream>

#include "dataloader/base/printable.h"
#include "dataloader/base/time_text.h"

namespace pinnerformer {
namespace {

std::vector<std::pair<std::string, int64_t>> named(const std::vector<std::string>& names,
                                                   const std::vector<int64_t>& counts) {
  std::vector<std::pair<std::string, int64_t>> pairs;
  for (size_t i = 0; i < names.size(); ++i) pairs.emplace_back(names[i], counts[i]);
  return pairs;
}

// The smallest value that the given percent of the values do not exceed.
std::vector<std::pair<int64_t, int64_t>> percentiles_of(std::vector<int64_t> values) {
  std::vector<std::pair<int64_t, int64_t>> percentiles;
  if (values.empty()) return percentiles;
  std::sort(values.begin(), values.end());
  for (const int64_t percent : {0, 10, 50, 90, 99, 100}) {
    const int64_t rank = std::max<int64_t>((percent * std::ssize(values) + 99) / 100 - 1, 0);
    percentiles.emplace_back(percent, values[static_cast<size_t>(rank)]);
  }
  return percentiles;
}

// Event columns of a dataset, added up user by user.
class Counter {
 public:
  Counter(const Dataset& dataset, const PositiveRule& rule)
      : dataset_(dataset),
        rule_(rule),
        actions_(dataset.actions().size()),
        surfaces_(dataset.surfaces().size()),
        items_(static_cast<size_t>(dataset.items())) {}

  void count_all() {
    constexpr int64_t kUsersPerBlock = 256;
    EventBlock block;
    Timeline timeline;
    for (int64_t first = 0; first < dataset_.users(); first += kUsersPerBlock) {
      dataset_.read(first, std::min(kUsersPerBlock, dataset_.users() - first), block);
      for (int64_t user = 0; user < block.users(); ++user) {
        block.copy_to(timeline, user, block.length(user));
        count(timeline);
      }
    }
  }

  void fill(DatasetSummary& summary) const {
    summary.actions = named(dataset_.actions(), actions_);
    summary.surfaces = named(dataset_.surfaces(), surfaces_);
    summary.length_percentiles = percentiles_of(lengths_);
    summary.positive_percentiles = percentiles_of(positives_);
    for (const int64_t length : lengths_) summary.events_per_user.add(length);
    for (const int64_t positives : positives_) summary.positives_per_user.add(positives);
    for (const int64_t events : items_) summary.events_per_item.add(events);
    summary.positives = std::accumulate(positives_.begin(), positives_.end(), int64_t{0});
  }

 private:
  void count(const Timeline& timeline) {
    dataset_.check(timeline);
    for (const int32_t item : timeline.item) ++items_[static_cast<size_t>(item)];
    for (const int16_t action : timeline.action) ++actions_[static_cast<size_t>(action)];
    for (const int16_t surface : timeline.surface) ++surfaces_[static_cast<size_t>(surface)];
    const std::vector<uint8_t> marks = rule_.mark(timeline);
    lengths_.push_back(timeline.size());
    positives_.push_back(std::count(marks.begin(), marks.end(), 1));
  }

  const Dataset& dataset_;
  const PositiveRule& rule_;
  std::vector<int64_t> actions_, surfaces_, items_;  // events of each
  std::vector<int64_t> lengths_, positives_;         // of each user
};

int64_t count_vectors(const torch::Tensor& vectors) {
  constexpr int64_t kRowsPerBlock = 65536;
  int64_t count = 0;
  for (const torch::Tensor& block : vectors.split(kRowsPerBlock)) {
    count += block.ne(0).any(1).sum().item<int64_t>();
  }
  return count;
}

nlohmann::ordered_json counts_json(const std::vector<std::pair<std::string, int64_t>>& counts) {
  nlohmann::ordered_json object = nlohmann::ordered_json::object();
  for (const auto& [name, events] : counts) object[name] = events;
  return object;
}

nlohmann::ordered_json percentiles_json(
    const std::vector<std::pair<int64_t, int64_t>>& percentiles) {
  nlohmann::ordered_json object = nlohmann::ordered_json::object();
  for (const auto& [percent, value] : percentiles) {
    std::string key = "p";  // g++ 12 warns of "p" + to_string()
    object[key.append(std::to_string(percent))] = value;
  }
  return object;
}

nlohmann::ordered_json distribution_json(const Distribution& distribution) {
  nlohmann::ordered_json array = nlohmann::ordered_json::array();
  for (const auto& [least, most, count] : distribution.rows())
    array.push_back({{"least", least}, {"most", most}, {"count", count}});
  return array;
}

std::string percentiles_text(const std::vector<std::pair<int64_t, int64_t>>& percentiles) {
  std::string text;
  for (const auto& [percent, value] : percentiles)
    text += ", p" + std::to_string(percent) + " " + std::to_string(value);
  return text;
}

// One bar per row, the longest 40 letters.
void add_plot(std::ostringstream& out, const char* title, const Distribution& distribution) {
  constexpr int64_t kLongestBar = 40;
  int64_t largest = 1;
  for (const auto& row : distribution.rows()) largest = std::max(largest, row.count);
  out << title << "\n";
  for (const auto& [least, most, count] : distribution.rows()) {
    const std::string range =
        least == most ? std::to_string(least) : std::to_string(least) + "-" + std::to_string(most);
    out << "  " << std::left << std::setw(22) << range << std::right << std::setw(12) << count
        << "  "
        << std::string(static_cast<size_t>((count * kLongestBar + largest - 1) / largest), '#')
        << "\n";
  }
}

void add_counts(std::ostringstream& out, const char* title,
                const std::vector<std::pair<std::string, int64_t>>& counts, int64_t events) {
  out << title << "\n";
  for (const auto& [name, count] : counts) {
    const double share =
        100.0 * static_cast<double>(count) / static_cast<double>(std::max<int64_t>(events, 1));
    out << "  " << std::left << std::setw(22) << printable(name, 60) << std::right << std::setw(12)
        << count << std::fixed << std::setprecision(1) << std::setw(7) << share << " %\n";
  }
}

}  // namespace

void Distribution::add(int64_t value) {
  const auto place = static_cast<size_t>(std::bit_width(static_cast<uint64_t>(value)));
  while (rows_.size() <= place) {
    const int64_t least = rows_.empty() ? 0 : int64_t{1} << (rows_.size() - 1);
    rows_.push_back({least, std::max<int64_t>(2 * least - 1, 0), 0});
  }
  ++rows_[place].count;
}

DatasetSummary summarize_dataset(const Dataset& dataset, const PositiveRule& rule) {
  DatasetSummary summary;
  summary.directory = dataset.directory();
  summary.fingerprint = dataset.fingerprint();
  summary.users = dataset.users();
  summary.items = dataset.items();
  summary.events = dataset.events();
  summary.first_time = dataset.first_time();
  summary.last_time = dataset.last_time();
  Counter counter(dataset, rule);
  counter.count_all();
  counter.fill(summary);
  summary.mean_length = static_cast<double>(dataset.events()) /
                        static_cast<double>(std::max<int64_t>(dataset.users(), 1));
  summary.vector_width = dataset.vector_width();
  if (dataset.item_vectors().defined()) {
    const bool half = dataset.item_vectors().scalar_type() == torch::kFloat16;
    summary.vector_type = half ? "float16" : "float32";
    summary.items_with_vector = count_vectors(dataset.item_vectors());
  }
  summary.code_levels = dataset.semantic_ids().levels();
  summary.codes_of_level = dataset.semantic_ids().codes_of_level();
  summary.has_titles = dataset.has_titles();
  summary.topics = static_cast<int64_t>(dataset.topic_names().size());
  return summary;
}

std::string dataset_summary_json(const DatasetSummary& summary) {
  nlohmann::ordered_json json;
  json["directory"] = summary.directory;
  json["fingerprint"] = summary.fingerprint;
  json["users"] = summary.users;
  json["items"] = summary.items;
  json["events"] = summary.events;
  json["first_time"] = summary.first_time;
  json["last_time"] = summary.last_time;
  json["first_date"] = utc_text(summary.first_time);
  json["last_date"] = utc_text(summary.last_time);
  json["actions"] = counts_json(summary.actions);
  json["surfaces"] = counts_json(summary.surfaces);
  json["events_per_user"] = percentiles_json(summary.length_percentiles);
  json["events_per_user_mean"] = summary.mean_length;
  json["positives"] = summary.positives;
  json["positives_per_user"] = percentiles_json(summary.positive_percentiles);
  json["distributions"] = {{"events_per_user", distribution_json(summary.events_per_user)},
                           {"positives_per_user", distribution_json(summary.positives_per_user)},
                           {"events_per_item", distribution_json(summary.events_per_item)}};
  json["vector_width"] = summary.vector_width;
  json["vector_type"] = summary.vector_type;
  json["items_with_vector"] = summary.items_with_vector;
  json["semantic_id_levels"] = summary.code_levels;
  json["semantic_id_codes"] = summary.codes_of_level;
  json["has_titles"] = summary.has_titles;
  json["topics"] = summary.topics;
  return json.dump(2);
}

std::string dataset_summary_text(const DatasetSummary& summary) {
  std::ostringstream out;
  const auto line = [&out](const char* name) -> std::ostream& {
    return out << std::left << std::setw(16) << name;
  };
  line("dataset") << summary.directory << " (fingerprint " << printable(summary.fingerprint)
                  << ")\n";
  line("users") << summary.users << "\n";
  line("items") << summary.items << "\n";
  line("events") << summary.events << "\n";
  line("time") << utc_text(summary.first_time) << " to " << utc_text(summary.last_time) << "\n";
  out << std::fixed << std::setprecision(1);
  const auto users = static_cast<double>(std::max<int64_t>(summary.users, 1));
  line("events per user") << "mean " << summary.mean_length
                          << percentiles_text(summary.length_percentiles) << "\n";
  line("positives") << summary.positives << ", per user: mean "
                    << static_cast<double>(summary.positives) / users
                    << percentiles_text(summary.positive_percentiles) << "\n";
  if (summary.vector_width > 0) {
    line("vectors") << summary.vector_width << " numbers of " << summary.vector_type << ", "
                    << summary.items_with_vector << " items ("
                    << 100.0 * static_cast<double>(summary.items_with_vector) /
                           static_cast<double>(std::max<int64_t>(summary.items, 1))
                    << " %)\n";
  } else {
    line("vectors") << "none\n";
  }
  if (summary.code_levels > 0)
    line("semantic ids") << summary.code_levels << " codes of an item, " << summary.codes_of_level
                         << " different ones at each level\n";
  line("titles") << (summary.has_titles ? "yes" : "no") << "\n";
  line("topics") << summary.topics << "\n";
  add_counts(out, "actions", summary.actions, summary.events);
  add_counts(out, "surfaces", summary.surfaces, summary.events);
  add_plot(out, "users by number of events", summary.events_per_user);
  add_plot(out, "users by number of positives", summary.positives_per_user);
  add_plot(out, "items by number of events", summary.events_per_item);
  return out.str();
}

}  // namespace pinnerformer
