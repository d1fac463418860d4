// Counting, and the two ways to show it.
#include "dataloader/dataset_summary.h"

#include <torch/torch.h>

#include <algorithm>
#include <iomanip>
#include <nlohmann/json.hpp>
#include <sstream>

#include "dataloader/time_text.h"

namespace pinnerformer {
namespace {

std::vector<std::pair<std::string, int64_t>> named(const std::vector<std::string>& names,
                                                   const std::vector<int64_t>& counts) {
  std::vector<std::pair<std::string, int64_t>> pairs;
  for (size_t i = 0; i < names.size(); ++i) pairs.emplace_back(names[i], counts[i]);
  return pairs;
}

void fill_lengths(const Dataset& dataset, DatasetSummary& summary) {
  std::vector<int64_t> lengths;
  for (int64_t user = 0; user < dataset.users(); ++user) {
    lengths.push_back(dataset.timeline_length(user));
  }
  if (lengths.empty()) return;
  std::sort(lengths.begin(), lengths.end());
  for (const int64_t percent : {0, 10, 50, 90, 99, 100}) {
    const auto last = static_cast<int64_t>(lengths.size()) - 1;
    const int64_t rank = std::max<int64_t>((percent * (last + 1) + 99) / 100 - 1, 0);
    summary.length_percentiles.emplace_back(percent, lengths[static_cast<size_t>(rank)]);
  }
  summary.mean_length =
      static_cast<double>(dataset.events()) / static_cast<double>(dataset.users());
}

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

void add_counts(std::ostringstream& out, const char* title,
                const std::vector<std::pair<std::string, int64_t>>& counts, int64_t events) {
  out << title << "\n";
  for (const auto& [name, count] : counts) {
    const double share = 100.0 * static_cast<double>(count) / static_cast<double>(events);
    out << "  " << std::left << std::setw(22) << name << std::right << std::setw(12) << count
        << std::fixed << std::setprecision(1) << std::setw(7) << share << " %\n";
  }
}

}  // namespace

DatasetSummary summarize_dataset(const Dataset& dataset) {
  DatasetSummary summary;
  summary.directory = dataset.directory();
  summary.fingerprint = dataset.fingerprint();
  summary.users = dataset.users();
  summary.items = dataset.items();
  summary.events = dataset.events();
  summary.first_time = dataset.first_time();
  summary.last_time = dataset.last_time();
  summary.actions = named(dataset.actions(), dataset.action_counts());
  summary.surfaces = named(dataset.surfaces(), dataset.surface_counts());
  fill_lengths(dataset, summary);
  summary.vector_width = dataset.vector_width();
  if (dataset.item_vectors().defined()) {
    const bool half = dataset.item_vectors().scalar_type() == torch::kFloat16;
    summary.vector_type = half ? "float16" : "float32";
    summary.items_with_vector = count_vectors(dataset.item_vectors());
  }
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
  nlohmann::ordered_json lengths = nlohmann::ordered_json::object();
  for (const auto& [percent, length] : summary.length_percentiles) {
    lengths["p" + std::to_string(percent)] = length;
  }
  json["events_per_user"] = lengths;
  json["events_per_user_mean"] = summary.mean_length;
  json["vector_width"] = summary.vector_width;
  json["vector_type"] = summary.vector_type;
  json["items_with_vector"] = summary.items_with_vector;
  json["has_titles"] = summary.has_titles;
  json["topics"] = summary.topics;
  return json.dump(2);
}

std::string dataset_summary_text(const DatasetSummary& summary) {
  std::ostringstream out;
  const auto line = [&out](const char* name) -> std::ostream& {
    return out << std::left << std::setw(16) << name;
  };
  line("dataset") << summary.directory << " (fingerprint " << summary.fingerprint << ")\n";
  line("users") << summary.users << "\n";
  line("items") << summary.items << "\n";
  line("events") << summary.events << "\n";
  line("time") << utc_text(summary.first_time) << " to " << utc_text(summary.last_time) << "\n";
  line("events per user") << std::fixed << std::setprecision(1) << "mean " << summary.mean_length;
  for (const auto& [percent, length] : summary.length_percentiles) {
    out << ", p" << percent << " " << length;
  }
  out << "\n";
  if (summary.vector_width > 0) {
    line("vectors") << summary.vector_width << " numbers of " << summary.vector_type << ", "
                    << summary.items_with_vector << " items ("
                    << 100.0 * static_cast<double>(summary.items_with_vector) /
                           static_cast<double>(std::max<int64_t>(summary.items, 1))
                    << " %)\n";
  } else {
    line("vectors") << "none\n";
  }
  line("titles") << (summary.has_titles ? "yes" : "no") << "\n";
  line("topics") << summary.topics << "\n";
  add_counts(out, "actions", summary.actions, summary.events);
  add_counts(out, "surfaces", summary.surfaces, summary.events);
  return out.str();
}

}  // namespace pinnerformer
