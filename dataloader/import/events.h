// First pass of the import: rows of the event files become spilled events.
#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "dataloader/import/id_dictionary.h"
#include "dataloader/import/import.h"
#include "dataloader/import/spill.h"

namespace pinnerformer {

// Names in the order they are first seen.
class Vocabulary {
 public:
  explicit Vocabulary(std::string what) : what_(std::move(what)) {}
  int16_t add(std::string_view name);  // throws DataError beyond 32,767 names
  [[nodiscard]] const std::vector<std::string>& names() const { return names_; }

 private:
  std::string what_;  // "actions"
  std::vector<std::string> names_;
  std::unordered_map<std::string, int16_t> index_;
  std::string last_;  // events repeat the same few names
  int16_t last_index_ = -1;
};

// What the events are made of, in provisional numbers.
struct EventTables {
  IdDictionary users;  // only used where user_ids_are_text
  bool user_ids_are_text = false;
  Vocabulary actions{"actions"};
  Vocabulary surfaces{"surfaces"};
  std::vector<bool> item_in_events;  // by provisional number
  int64_t rows_read = 0;
  int64_t empty_rows = 0;  // rows of files whose lists are empty: they give no row
  int64_t dropped_missing = 0;
  int64_t dropped_times = 0;       // rows whose time is not from 1980 to 2100 (BadTimes::kDrop)
  int64_t early_times = 0;         // rows before 1980 that were read
  std::string first_early;         // place, value and reading of the first of them
  bool whole_days = true;          // no time lies within a day
  int64_t first_time = INT64_MAX;  // microseconds
  int64_t last_time = INT64_MIN;
  std::vector<int64_t> events_of_day;  // by days since 1970
  // JSON lines files none of whose records has an optional key that other files have, by key.
  std::map<std::string, std::vector<std::string>> files_without_key;
};

// Thrown where a user id turns out to be text after the pass began with integers: the pass starts
// again with text ids. Integer ids need no memory per user, so they are tried first.
struct UserIdsAreText {};

// Reads all events from `files`. `items` numbers the items and may hold some already.
void read_events(const ImportOptions& options, const std::vector<InputFile>& files,
                 EventTables& tables, IdDictionary& items, EventSpill& spill,
                 const ImportProgressCallback& progress);

}  // namespace pinnerformer
