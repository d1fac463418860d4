// Import: tables of events, item attributes and item vectors become a dataset directory. Events may
// be larger than memory; items and vocabularies are held in it, and users where their ids are text.
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "dataloader/import/table_form.h"

namespace pinnerformer {

enum class TimeUnit { kSeconds, kMilliseconds, kMicroseconds, kNanoseconds, kIso };
// What becomes of rows whose time does not lie from 1980 to 2100. kKeep keeps those since 1970.
enum class BadTimes { kError, kDrop, kKeep };
enum class ItemsWithoutVector { kKeep, kDrop, kError };

// A column of the events with what a cell means where it holds nothing.
struct EventColumn {
  std::string name;                    // "" where the table has no such column
  std::vector<std::string> missing;    // cells with one of these texts hold nothing
  TimeUnit unit = TimeUnit::kSeconds;  // of time and duration
};

// What an import takes besides the events it sorts; the rest of its memory is for these.
constexpr int64_t kImportProcessMib = 512;

struct ImportOptions {
  std::vector<std::string> events;  // words as InputFiles takes them, read in this order
  TableForm form;                   // of events and items
  EventColumn user{"user", {}, {}};
  EventColumn item{"item", {}, {}};
  EventColumn time{"time", {}, {}};
  bool untimed = false;  // no time is known: the row number in the order of the input stands for it
  BadTimes bad_times = BadTimes::kError;
  EventColumn action;    // without it every action is "unknown"
  EventColumn surface;   // without it every surface is "unknown"
  EventColumn duration;  // without it every duration is unknown

  std::string items;  // table of item attributes; "": none
  std::string item_id_column = "id";
  std::string item_title_column;  // "": no titles
  std::string item_topic_column;  // "": no topics

  std::string vectors;                         // .npy, HDF5 or Parquet file; "": none
  std::string vector_id_column = "item_id";    // HDF5 dataset or Parquet column
  std::string vector_value_column = "vector";  // likewise
  std::string vector_ids;  // with .npy: a text file with one id per line, or a .npy of integers
  ItemsWithoutVector without_vector = ItemsWithoutVector::kKeep;

  std::string out;  // directory to make
  bool overwrite = false;
  bool keep_duplicates = false;             // else events equal in every column are written once
  int64_t part_events = int64_t{64} << 20;  // events per users file
  int64_t memory_mib = 2048;  // to stay within, apart from what ids and vocabularies take
};

struct ImportReport {
  int64_t users = 0;
  int64_t users_with_one_event = 0;
  int64_t longest_user = 0;  // events of the user with most
  int64_t items = 0;
  int64_t events = 0;
  int64_t unknown_durations = 0;       // events written without a duration
  int64_t files = 0;                   // event files read
  int64_t rows_read = 0;               // of those files
  int64_t empty_rows = 0;              // rows of files whose lists are empty
  int64_t dropped_missing = 0;         // rows whose user, item or time is marked as missing
  int64_t dropped_times = 0;           // rows whose time is out of range (BadTimes::kDrop)
  int64_t early_times = 0;             // rows before 1980 that were kept
  int64_t dropped_without_vector = 0;  // events of items without a vector (kDrop)
  int64_t duplicates = 0;              // dropped, or only counted with keep_duplicates
  bool duplicates_kept = false;
  int64_t unsorted_users = 0;            // their rows were not in ascending time
  int64_t items_without_vector = 0;      // of the items written: rows of zeros
  int64_t items_only_in_vectors = 0;     // never in an event, so only recommendable by their vector
  int64_t items_only_in_attributes = 0;  // of --items: never in an event
  bool user_ids_are_text = false;
  bool item_ids_are_text = false;
  int64_t vector_width = 0;
  int64_t first_time = 0;
  int64_t last_time = 0;
  std::vector<std::pair<std::string, int64_t>> actions;  // name and events, by name
  std::vector<std::pair<std::string, int64_t>> surfaces;
  std::vector<std::string> warnings;  // what may not be as the user thinks, one sentence each
  double seconds = 0;
};

struct ImportProgress {
  std::string stage;    // "reading events"
  double fraction = 0;  // of this stage, 0 to 1
  int64_t events = 0;   // read or written so far in this stage
};
using ImportProgressCallback = std::function<void(const ImportProgress&)>;

// Columns, types, first rows and a guess of the columns' meaning of the first file of
// options.events, and the names of all files; for people. Throws as import_dataset().
[[nodiscard]] std::string describe_input(const ImportOptions& options);

// "user=uid,time=ts_ms:ms" -> the columns of `options`, on top of what they are. These four
// throw std::invalid_argument: what they read was typed by the user.
void set_event_columns(ImportOptions& options, const std::vector<std::string>& assignments);
// "surface=-", "duration=-1" -> missing markers.
void set_missing_markers(ImportOptions& options, const std::vector<std::string>& assignments);
// "id=item", "title=name", "topic=tag".
void set_item_columns(ImportOptions& options, const std::vector<std::string>& assignments);
// "id=item_id", "vector=embedding".
void set_vector_columns(ImportOptions& options, const std::vector<std::string>& assignments);

// Throws MissingInputError, DataError (naming file, row, column, value) or IoError; then nothing is
// left behind. `progress` may be empty.
ImportReport import_dataset(const ImportOptions& options, const ImportProgressCallback& progress);

// {"users": 25156, ...} and a table for people.
[[nodiscard]] std::string import_report_json(const ImportReport& report);
[[nodiscard]] std::string import_report_text(const ImportReport& report);

}  // namespace pinnerformer
