// The report as JSON and as text.
#include <iomanip>
#include <nlohmann/json.hpp>
#include <sstream>

#include "dataloader/base/time_text.h"
#include "dataloader/import/cells.h"
#include "dataloader/import/import.h"

namespace pinnerformer {
namespace {

nlohmann::ordered_json counts_json(const std::vector<std::pair<std::string, int64_t>>& counts) {
  nlohmann::ordered_json object = nlohmann::ordered_json::object();
  for (const auto& [name, events] : counts) object[name] = events;
  return object;
}

std::string counts_text(const std::vector<std::pair<std::string, int64_t>>& counts) {
  std::string text;
  for (const auto& [name, events] : counts) {
    text += (text.empty() ? "" : ", ") + printable(name) + " " + std::to_string(events);
  }
  return text;
}

void add_line(std::ostringstream& out, const std::string& name, const std::string& value) {
  out << std::left << std::setw(24) << name << value << "\n";
}

void add_count(std::ostringstream& out, const std::string& name, int64_t count) {
  if (count > 0) add_line(out, name, std::to_string(count));
}

}  // namespace

std::string import_report_json(const ImportReport& report) {
  nlohmann::ordered_json json;
  json["users"] = report.users;
  json["users_with_one_event"] = report.users_with_one_event;
  json["longest_user"] = report.longest_user;
  json["items"] = report.items;
  json["events"] = report.events;
  json["unknown_durations"] = report.unknown_durations;
  json["files"] = report.files;
  json["rows_read"] = report.rows_read;
  json["empty_rows"] = report.empty_rows;
  json["dropped_missing"] = report.dropped_missing;
  json["dropped_times"] = report.dropped_times;
  json["early_times"] = report.early_times;
  json["dropped_without_vector"] = report.dropped_without_vector;
  json["duplicates"] = report.duplicates;
  json["duplicates_kept"] = report.duplicates_kept;
  json["unsorted_users"] = report.unsorted_users;
  json["items_without_vector"] = report.items_without_vector;
  json["items_only_in_vectors"] = report.items_only_in_vectors;
  json["items_only_in_attributes"] = report.items_only_in_attributes;
  json["user_ids"] = report.user_ids_are_text ? "text" : "integers";
  json["item_ids"] = report.item_ids_are_text ? "text" : "integers";
  json["vector_width"] = report.vector_width;
  json["first_time"] = report.first_time;
  json["last_time"] = report.last_time;
  json["actions"] = counts_json(report.actions);
  json["surfaces"] = counts_json(report.surfaces);
  json["warnings"] = report.warnings;
  json["seconds"] = report.seconds;
  return json.dump(2);
}

std::string import_report_text(const ImportReport& report) {
  std::ostringstream out;
  const auto ids = [](bool text) { return text ? " (ids are text)" : " (ids are integers)"; };
  add_line(out, "users", std::to_string(report.users) + ids(report.user_ids_are_text));
  add_line(out, "items", std::to_string(report.items) + ids(report.item_ids_are_text));
  add_line(out, "events", std::to_string(report.events));
  add_line(out, "event files", std::to_string(report.files));
  add_line(out, "time", utc_text(report.first_time) + " to " + utc_text(report.last_time));
  add_line(out, "actions", counts_text(report.actions));
  add_line(out, "surfaces", counts_text(report.surfaces));
  add_count(out, "users with one event", report.users_with_one_event);
  add_count(out, "events of longest user", report.longest_user);
  add_count(out, "unknown durations", report.unknown_durations);
  add_count(out, "vector width", report.vector_width);
  add_count(out, "items without vector", report.items_without_vector);
  add_count(out, "items only in vectors", report.items_only_in_vectors);
  add_count(out, "items only in --items", report.items_only_in_attributes);
  if (report.duplicates > 0) {
    add_line(out, "duplicate events",
             std::to_string(report.duplicates) + (report.duplicates_kept ? " kept" : " dropped"));
  }
  add_count(out, "rows with empty lists", report.empty_rows);
  add_count(out, "rows dropped, missing", report.dropped_missing);
  add_count(out, "rows dropped, bad time", report.dropped_times);
  add_count(out, "times before 1980", report.early_times);
  add_count(out, "events without vector", report.dropped_without_vector);
  add_count(out, "users not sorted", report.unsorted_users);
  out << std::left << std::setw(24) << "seconds" << std::fixed << std::setprecision(2)
      << report.seconds << "\n";
  return out.str();
}

}  // namespace pinnerformer
