// One row at a time; what is missing, unknown or out of range is decided here.
#include "dataloader/import/events.h"

#include <algorithm>
#include <limits>
#include <optional>

#include "dataloader/base/checksum.h"
#include "dataloader/base/errors.h"
#include "dataloader/base/time_text.h"
#include "dataloader/dataset/dataset_format.h"
#include "dataloader/import/cells.h"

namespace pinnerformer {
namespace {

constexpr int64_t kMicrosecondsPerSecond = 1000000;
constexpr int64_t kMicrosecondsPerDay = 86400 * kMicrosecondsPerSecond;

// Cells of one batch by role. Columns the table does not have are -1.
class EventReader {
 public:
  EventReader(const ImportOptions& options, EventTables& tables, IdDictionary& items,
              EventSpill& spill)
      : untimed_(options.untimed),
        bad_times_(options.bad_times),
        tables_(tables),
        items_(items),
        spill_(spill) {
    for (const EventColumn* column : {&options.user, &options.item, &options.time, &options.action,
                                      &options.surface, &options.duration}) {
      meanings_.push_back(column);
      const bool wanted = !column->name.empty() && !(untimed_ && column == &options.time);
      places_.push_back(wanted ? static_cast<int>(names_.size()) : -1);
      if (wanted) names_.push_back(column->name);
    }
  }

  [[nodiscard]] const std::vector<std::string>& names() const { return names_; }

  // Whether an event may lack the column: its action, surface or duration is unknown then.
  [[nodiscard]] bool is_optional(const std::string& column) const {
    const auto is_read_from = [&](Role role) {
      return has(role) && meanings_[role]->name == column;
    };
    return !is_read_from(kUser) && !is_read_from(kItem) && !is_read_from(kTime);
  }

  void read(const TableBatch& batch, const std::string& path) {
    batch_ = &batch;
    path_ = &path;
    for (int64_t row = 0; row < batch.rows; ++row) read_row(static_cast<size_t>(row));
    tables_.rows_read += batch.rows;
  }

 private:
  enum Role : size_t { kUser, kItem, kTime, kAction, kSurface, kDuration };

  [[nodiscard]] bool has(Role role) const { return places_[role] >= 0; }
  [[nodiscard]] Cell cell(Role role, size_t row) const {
    return {batch_->columns[static_cast<size_t>(places_[role])], *meanings_[role], *path_, row,
            batch_->first_row + static_cast<int64_t>(row)};
  }

  // True where the row is to be dropped; an empty cell that nobody announced is an error.
  [[nodiscard]] bool is_missing(Role role, const char* name, size_t row) const {
    const Cell here = cell(role, row);
    if (is_marked_missing(here)) return true;
    if (is_empty(here)) {
      here.fail("a value", std::string("; --missing ") + name + "= drops such rows");
    }
    return false;
  }

  [[nodiscard]] int64_t user(size_t row, uint64_t& hash) const {
    const Cell here = cell(kUser, row);
    if (!tables_.user_ids_are_text) {
      const auto number = integer_id_of(here);
      if (!number) throw UserIdsAreText();
      hash = user_hash(*number);
      return *number;
    }
    const int64_t index = add_id(tables_.users, here);
    hash = user_hash(tables_.users.view(index));
    return index;
  }

  // Microseconds since 1970; nothing where the row is to be dropped for its time.
  [[nodiscard]] std::optional<int64_t> time(size_t row) {
    if (untimed_) return (tables_.rows_read + static_cast<int64_t>(row)) * kMicrosecondsPerSecond;
    const Cell here = cell(kTime, row);
    const int64_t value = time_of(here);
    const bool is_early = value < kYear1980 * kMicrosecondsPerSecond;
    const bool is_late = value >= kYear2100 * kMicrosecondsPerSecond;
    if (!is_early && !is_late) return value;
    if (bad_times_ == BadTimes::kDrop) return std::nullopt;
    if (value < 0 || is_late) fail_time(here, value);
    if (++tables_.early_times == 1) {
      tables_.first_early = here.place() + ": '" + printable(here.column.text(row)) +
                            "' reads as " + utc_text(value / kMicrosecondsPerSecond);
      if (looks_like_date(here)) {
        tables_.first_early += "; it looks like a date: time=" + here.meaning.name + ":iso";
      }
    }
    return value;
  }

  [[nodiscard]] int16_t name_index(Role role, Vocabulary& vocabulary, size_t row) const {
    if (!has(role)) return vocabulary.add(kUnknownName);
    const Cell here = cell(role, row);
    if (is_empty(here) || is_marked_missing(here)) return vocabulary.add(kUnknownName);
    return vocabulary.add(here.storable_text());
  }

  [[nodiscard]] float duration(size_t row) const {
    constexpr float kUnknown = std::numeric_limits<float>::quiet_NaN();
    if (!has(kDuration)) return kUnknown;
    const Cell here = cell(kDuration, row);
    if (is_empty(here) || is_marked_missing(here)) return kUnknown;
    return duration_of(here);
  }

  void mark(int64_t item) {
    const auto at = static_cast<size_t>(item);
    if (tables_.item_in_events.size() <= at) tables_.item_in_events.resize(at + at / 2 + 1, false);
    tables_.item_in_events[at] = true;
  }

  void read_row(size_t row) {
    if (is_missing(kUser, "user", row) || is_missing(kItem, "item", row) ||
        (!untimed_ && is_missing(kTime, "time", row))) {
      ++tables_.dropped_missing;
      return;
    }
    const std::optional<int64_t> when = time(row);
    if (!when) {
      ++tables_.dropped_times;
      return;
    }
    SpilledEvent event;
    event.time = *when;
    event.user = user(row, event.user_hash);
    const int64_t item = add_id(items_, cell(kItem, row));
    if (item > std::numeric_limits<int32_t>::max()) throw DataError("more than 2147483647 items");
    event.item = static_cast<int32_t>(item);
    mark(item);
    event.action = name_index(kAction, tables_.actions, row);
    event.surface = name_index(kSurface, tables_.surfaces, row);
    event.duration = duration(row);
    note_time(event.time);
    spill_.add(event);
  }

  void note_time(int64_t time) {
    tables_.first_time = std::min(tables_.first_time, time);
    tables_.last_time = std::max(tables_.last_time, time);
    const auto day = static_cast<size_t>(time / kMicrosecondsPerDay);
    tables_.whole_days = tables_.whole_days && time % kMicrosecondsPerDay == 0;
    if (untimed_) return;
    if (tables_.events_of_day.size() <= day) tables_.events_of_day.resize(day + 1, 0);
    ++tables_.events_of_day[day];
  }

  bool untimed_;
  BadTimes bad_times_;
  EventTables& tables_;
  IdDictionary& items_;
  EventSpill& spill_;
  std::vector<const EventColumn*> meanings_;
  std::vector<int> places_;  // column of the batch for each role
  std::vector<std::string> names_;
  const TableBatch* batch_ = nullptr;
  const std::string* path_ = nullptr;
};

// Whether a time of today in a coarser unit would be read as this: 1980 to 2100 in seconds, taken
// for milliseconds, is January and February 1970.
bool looks_too_small(int64_t microseconds, TimeUnit unit) {
  const auto lies_between = [microseconds](int64_t low, int64_t high) {
    return low <= microseconds && microseconds <= high;
  };
  const bool thousandth = lies_between(kYear1980 * 1000, kYear2100 * 1000);
  const bool millionth = lies_between(kYear1980, kYear2100);
  if (unit == TimeUnit::kMilliseconds) return thousandth;
  return unit == TimeUnit::kMicroseconds && (thousandth || millionth);
}

void check_span(const ImportOptions& options, const EventTables& tables) {
  const std::string& column = options.time.name;
  if (looks_too_small(tables.first_time, options.time.unit) &&
      looks_too_small(tables.last_time, options.time.unit)) {
    throw DataError("all times of column '" + column +
                    "' lie in January and February 1970: its unit is probably larger; time=" +
                    column + ":s says seconds, :ms milliseconds");
  }
  if (tables.early_times == 0 || options.bad_times == BadTimes::kKeep) return;
  throw DataError(
      std::to_string(tables.early_times) + " of " + std::to_string(tables.rows_read) +
      " rows have a time before 1980, the first: " + tables.first_early +
      "; expected times from 1980 to 2100 in one unit (time=" + column +
      ":s, :ms, :us, :ns or :iso); --bad-times drop leaves such rows out, keep takes them");
}

bool some_begin_with(const std::string& key, const std::vector<InputFile>& files,
                     const TableForm& form) {
  return std::ranges::any_of(
      files, [&](const InputFile& file) { return begins_with_column(file, form, key); });
}

}  // namespace

int16_t Vocabulary::add(std::string_view name) {
  if (last_index_ >= 0 && name == last_) return last_index_;
  const auto [entry, is_new] =
      index_.try_emplace(std::string(name), static_cast<int16_t>(names_.size()));
  if (is_new) {
    if (names_.size() >= static_cast<size_t>(std::numeric_limits<int16_t>::max())) {
      throw DataError("more than 32767 different " + what_ + ", the last one '" +
                      std::string(name) + "'; is the right column mapped?");
    }
    names_.emplace_back(name);
  }
  last_ = name;
  last_index_ = entry->second;
  return last_index_;
}

void read_events(const ImportOptions& options, const std::vector<InputFile>& files,
                 EventTables& tables, IdDictionary& items, EventSpill& spill,
                 const ImportProgressCallback& progress) {
  if (files.empty()) throw DataError("no event files given");
  if (tables.user_ids_are_text) tables.users.become_strings();
  EventReader reader(options, tables, items, spill);
  const auto count = static_cast<double>(files.size());
  for (size_t i = 0; i < files.size(); ++i) {
    WantedColumns columns{reader.names()};
    // Where other files have the key its values are unknown; a key that no file has is a mistake.
    columns.may_lack_key = [&](const std::string& key) {
      if (!reader.is_optional(key)) return false;
      const bool is_known = tables.files_without_key.contains(key);
      if (!is_known && !some_begin_with(key, files, options.form)) return false;
      std::vector<std::string>& without = tables.files_without_key[key];
      // Two roles may read one key.
      if (without.empty() || without.back() != files[i].name) without.push_back(files[i].name);
      return true;
    };
    TableReader table(files[i], options.form, columns);
    TableBatch batch;
    while (true) {
      const bool more = table.next(batch);
      tables.empty_rows += batch.empty_rows;
      if (!more) break;
      reader.read(batch, files[i].name);
      if (progress) {
        progress({"reading events", (static_cast<double>(i) + table.fraction()) / count,
                  tables.rows_read});
      }
    }
  }
  if (tables.rows_read == tables.dropped_missing + tables.dropped_times) {
    throw DataError(files.front().name + ": no events, only " +
                    (tables.rows_read == 0       ? "a header"
                     : tables.dropped_times == 0 ? "rows that are marked as missing"
                                                 : "rows that are dropped, for their time too; "
                                                   "is its unit right? time=COLUMN:s, :ms, :us, "
                                                   ":ns or :iso says it"));
  }
  if (!options.untimed) check_span(options, tables);
}

}  // namespace pinnerformer
