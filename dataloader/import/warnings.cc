// Each warning is one function: its text, or nothing.
#include "dataloader/import/warnings.h"

#include <algorithm>
#include <array>
#include <optional>
#include <string_view>

#include "dataloader/base/digits.h"
#include "dataloader/base/printable.h"
#include "dataloader/base/time_text.h"
#include "dataloader/import/cells.h"

namespace pinnerformer {
namespace {

constexpr int64_t kFewRows = 100;     // too few to judge shares by
constexpr int64_t kLargeShare = 20;   // duplicates, bad times: one row in so many
constexpr int64_t kLateShare = 1000;  // late events: at most one in so many
constexpr int64_t kLateDays = 30;     // at least so many days after the others
constexpr int64_t kFewTextIds = 20;   // ids that are no integers: at most one id in so many
constexpr int64_t kSecondsPerDay = 86400;

using Warning = std::optional<std::string>;

Warning about_duplicates(const ImportOptions& options, const EventTables& tables,
                         const ImportReport& report) {
  if (report.duplicates == 0 || options.keep_duplicates) return std::nullopt;
  const bool whole_days = tables.whole_days && !options.untimed;
  const bool many = report.duplicates * kLargeShare > report.rows_read;
  if (!whole_days && !many) return std::nullopt;
  return std::to_string(report.duplicates) + " of " + std::to_string(report.rows_read) +
         " rows were dropped as duplicates" +
         (whole_days ? "; all times are whole days, so that real repeats within a day look equal"
                     : "") +
         "; --keep-duplicates keeps them";
}

// Late events decide where a dataset ends, and training and evaluation are split by its end.
Warning about_late_events(const EventTables& tables) {
  const std::vector<int64_t>& days = tables.events_of_day;
  int64_t all = 0;
  for (const int64_t events : days) all += events;
  if (all < kFewRows) return std::nullopt;
  int64_t late = 0;
  int64_t late_day = -1;
  for (int64_t day = std::ssize(days) - 1; day >= 0; --day) {
    const int64_t events = days[static_cast<size_t>(day)];
    if (events == 0) continue;
    if (late > 0 && late_day - day >= kLateDays) {
      const bool is_one = late == 1;
      return std::to_string(late) + (is_one ? " event lies" : " events lie") + " at or after " +
             utc_text(late_day * kSecondsPerDay) + ", " + std::to_string(late_day - day) +
             " days after all others: the last time decides what is held out for evaluation; "
             "drop " +
             (is_one ? "it" : "them") + ", or set the end with split.end";
    }
    late += events;
    late_day = day;
    if (late > std::max<int64_t>(all / kLateShare, 1)) return std::nullopt;
  }
  return std::nullopt;
}

Warning about_many_items(const EventTables& tables, const ImportReport& report) {
  const auto used = std::ranges::count(tables.item_in_events, true);
  if (report.rows_read < kFewRows || used * 10 < report.rows_read * 9) return std::nullopt;
  return std::to_string(used) + " different items in " + std::to_string(report.rows_read) +
         " rows: nearly every row has an item of its own, so that nothing can be learnt of most; "
         "is the right column mapped to item, and does it hold one item per row?";
}

// Words that databases and programs write where there is no value.
bool stands_for_nothing(std::string_view id) {
  constexpr auto kWords = std::to_array<std::string_view>(
      {"NULL", "null", "NaN", "nan", "None", "\\N", "<NA>", "#N/A", "N/A", "NaT", "undefined"});
  return std::ranges::find(kWords, id) != kWords.end();
}

bool is_integer(std::string_view id) {
  return canonical_integer(id) || whole_decimal(id) || has_digits_only(id);
}

// A word for nothing, or a header in the middle, is an id like any other, and makes all ids text.
Warning about_text_ids(const std::string& role, const std::string& column,
                       const IdDictionary& ids) {
  if (ids.integers()) return std::nullopt;
  int64_t others = 0;
  std::string_view other, nothing;
  for (int64_t i = 0; i < ids.size(); ++i) {
    const std::string_view id = ids.view(i);
    if (is_integer(id)) continue;
    if (others++ == 0) other = id;
    if (nothing.empty() && (stands_for_nothing(id) || id == column)) nothing = id;
  }
  const bool few = others > 0 && others * kFewTextIds <= ids.size();
  if (!few && nothing.empty()) return std::nullopt;
  const std::string id = printable(nothing.empty() ? other : nothing);
  return "'" + id + "' is taken for the id of one " + role +
         (few ? ": " + std::to_string(others) + " of " + std::to_string(ids.size()) +
                    " ids are no integers, and so all are text"
              : "") +
         (id == column ? "; the column has this name: if it is a second header, --missing "
                       : "; if it is none, --missing ") +
         role + "=" + id + " drops its rows";
}

Warning about_shortened_ids(const std::string& role, const IdDictionary& ids) {
  if (ids.integers()) return std::nullopt;
  int64_t shortened = 0;
  std::string_view first;
  for (int64_t i = 0; i < ids.size(); ++i) {
    if (!is_shortened_number(ids.view(i))) continue;
    if (shortened++ == 0) first = ids.view(i);
  }
  if (shortened == 0) return std::nullopt;
  return std::to_string(shortened) + " ids of " + role + "s are written like '" + printable(first) +
         "': a spreadsheet shortens long numbers so, and different ids become one; write the "
         "column as text";
}

Warning about_unused_attributes(const ItemCatalog& catalog, const ImportReport& report) {
  const int64_t unused = report.items_only_in_attributes;
  const bool all = unused == std::ranges::count(catalog.has_attributes, true);
  if (unused == 0 || (!all && unused * 2 < report.items)) return std::nullopt;
  return std::to_string(unused) + " of " + std::to_string(report.items) +
         " items are in --items only, and in no event; are the ids of both written alike?";
}

Warning about_unused_vectors(const ItemCatalog& catalog, const ImportReport& report) {
  const int64_t unused = report.items_only_in_vectors;
  if (unused == 0 || unused < std::ssize(catalog.vector_items)) return std::nullopt;
  return "no event names one of the " + std::to_string(unused) +
         " items of --vectors; are the ids of both written alike?";
}

Warning about_dropped_times(const ImportOptions& options, const ImportReport& report) {
  if (report.dropped_times * kLargeShare <= report.rows_read) return std::nullopt;
  return std::to_string(report.dropped_times) + " of " + std::to_string(report.rows_read) +
         " rows were dropped for a time before 1980 or from 2100 on; is the unit of column '" +
         options.time.name + "' right?";
}

Warning about_absent_keys(const EventTables& tables) {
  std::string text;
  for (const auto& [key, files] : tables.files_without_key) {
    text += (text.empty() ? "" : "; ") + std::to_string(files.size()) +
            (files.size() == 1 ? " file has" : " files have") + " no key '" + key +
            "', which other files have (" + files.front() + "): its value is unknown there";
  }
  return text.empty() ? Warning() : text;
}

Warning about_early_times(const ImportReport& report) {
  if (report.early_times == 0) return std::nullopt;
  return std::to_string(report.early_times) + " rows have a time before 1980";
}

}  // namespace

std::vector<std::string> import_warnings(const ImportOptions& options, const EventTables& tables,
                                         const ItemCatalog& catalog, const ImportReport& report) {
  std::vector<std::string> warnings;
  for (const Warning& warning :
       {about_duplicates(options, tables, report), about_late_events(tables),
        about_many_items(tables, report), about_text_ids("user", options.user.name, tables.users),
        about_text_ids("item", options.item.name, catalog.ids),
        about_shortened_ids("user", tables.users), about_shortened_ids("item", catalog.ids),
        about_unused_attributes(catalog, report), about_unused_vectors(catalog, report),
        about_dropped_times(options, report), about_early_times(report),
        about_absent_keys(tables)}) {
    if (warning) warnings.push_back(*warning);
  }
  return warnings;
}

}  // namespace pinnerformer
