// The "role=column" assignments of the import command.
#include <algorithm>
#include <optional>
#include <stdexcept>
#include <utility>

#include "dataloader/import/import.h"

namespace pinnerformer {
namespace {

struct Assignment {
  std::string role;
  std::string value;
};

Assignment split_assignment(const std::string& text) {
  const size_t equals = text.find('=');
  if (equals == std::string::npos || equals == 0) {
    throw std::invalid_argument("expected role=column, as in user=user_id, found '" + text + "'");
  }
  return {text.substr(0, equals), text.substr(equals + 1)};
}

// Assignments of which each role has one.
std::vector<Assignment> split_assignments(const std::vector<std::string>& texts) {
  std::vector<Assignment> assignments;
  for (const std::string& text : texts) {
    Assignment next = split_assignment(text);
    const auto earlier = std::ranges::find(assignments, next.role, &Assignment::role);
    if (earlier != assignments.end()) {
      throw std::invalid_argument("expected one column of " + next.role + ", found two, '" +
                                  earlier->value + "' and '" + next.value + "'; leave one out");
    }
    assignments.push_back(std::move(next));
  }
  return assignments;
}

EventColumn& event_column(ImportOptions& options, const std::string& role) {
  if (role == "user") return options.user;
  if (role == "item") return options.item;
  if (role == "time") return options.time;
  if (role == "action") return options.action;
  if (role == "surface") return options.surface;
  if (role == "duration") return options.duration;
  throw std::invalid_argument("unknown event column '" + role +
                              "': expected user, item, time, action, surface or duration");
}

std::optional<TimeUnit> unit_of(const std::string& text) {
  if (text == "s") return TimeUnit::kSeconds;
  if (text == "ms") return TimeUnit::kMilliseconds;
  if (text == "us") return TimeUnit::kMicroseconds;
  if (text == "ns") return TimeUnit::kNanoseconds;
  if (text == "iso") return TimeUnit::kIso;
  return std::nullopt;
}

// Cuts ":ms" off the column name of a time or duration. Such a name holds no other colon, unless it
// carries a type ("timestamp:float").
TimeUnit take_unit(const std::string& role, std::string& column) {
  const size_t colon = column.rfind(':');
  if (colon == std::string::npos || column.substr(colon) == ":float" ||
      column.substr(colon) == ":token") {
    return TimeUnit::kSeconds;
  }
  const std::optional<TimeUnit> unit = unit_of(column.substr(colon + 1));
  if (!unit || (role == "duration" && *unit == TimeUnit::kIso)) {
    throw std::invalid_argument(
        "unknown unit '" + column.substr(colon + 1) + "' of " + role +
        (role == "time" ? ": expected s, ms, us, ns or iso" : ": expected s, ms, us or ns"));
  }
  column.resize(colon);
  return *unit;
}

}  // namespace

void set_event_columns(ImportOptions& options, const std::vector<std::string>& assignments) {
  for (auto& [role, column] : split_assignments(assignments)) {
    EventColumn& target = event_column(options, role);
    if (role == "time" || role == "duration") target.unit = take_unit(role, column);
    if (column.empty()) throw std::invalid_argument("expected a column name in '" + role + "='");
    target.name = column;
  }
}

void set_missing_markers(ImportOptions& options, const std::vector<std::string>& assignments) {
  for (const std::string& text : assignments) {
    const auto [role, marker] = split_assignment(text);
    EventColumn& column = event_column(options, role);
    if (column.name.empty()) {
      throw std::invalid_argument("'" + text + "' says what is absent in the column of " + role +
                                  ", of which there is none; name it with --columns " + role +
                                  "=COLUMN");
    }
    column.missing.push_back(marker);
  }
}

void set_item_columns(ImportOptions& options, const std::vector<std::string>& assignments) {
  for (const auto& [role, column] : split_assignments(assignments)) {
    if (role == "id") {
      options.item_id_column = column;
    } else if (role == "title") {
      options.item_title_column = column;
    } else if (role == "topic") {
      options.item_topic_column = column;
    } else {
      throw std::invalid_argument("unknown item column '" + role +
                                  "': expected id, title or topic");
    }
  }
}

void set_vector_columns(ImportOptions& options, const std::vector<std::string>& assignments) {
  for (const auto& [role, column] : split_assignments(assignments)) {
    if (role == "id") {
      options.vector_id_column = column;
    } else if (role == "vector") {
      options.vector_value_column = column;
    } else {
      throw std::invalid_argument("unknown vector column '" + role + "': expected id or vector");
    }
  }
}

}  // namespace pinnerformer
