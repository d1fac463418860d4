// pinnerformer import: event tables and item vectors become a dataset directory.
#include "dataloader/import/import.h"

#include <algorithm>
#include <iostream>
#include <map>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "dataloader/dataset/dataset_writer.h"
#include "launch/cli/cli.h"
#include "launch/cli/json_file.h"
#include "launch/cli/progress.h"

namespace pinnerformer {
namespace {

// The options as words, before they become ImportOptions.
struct ImportWords {
  std::vector<std::string> columns;
  std::vector<std::string> missing;
  std::vector<std::string> item_columns;
  std::vector<std::string> vector_columns;
  std::string format = "auto";
  std::string without_vector = "keep";
};

void declare(CommandLine& cli, ImportOptions& options, ImportWords& words) {
  cli.add_required("events", "FILE,...", &options.events,
                   "events: .csv, .tsv (also .gz) or .parquet");
  cli.add_required("columns", "ROLE=COLUMN,...", &words.columns,
                   "columns of user, item, time and, where there are any, action, surface and "
                   "duration; time=COLUMN:s, :ms, :us or :iso and duration=COLUMN:s or :ms say "
                   "the unit; lists in a Parquet column are one event per element");
  cli.add_flag("untimed", &options.untimed,
               "no time is known: the order of the rows stands for it, one second each from 1970");
  cli.add_required("out", "DIR", &options.out, "directory of the dataset, made by this command");
  cli.add_option("missing", "ROLE=TEXT,...", &words.missing,
                 "text that stands for nothing: an unknown action, surface or duration; a row "
                 "without user, item or time is dropped");
  cli.add_option("format", "NAME", &words.format,
                 "auto (by file name), csv, tsv or parquet; of events and items");
  cli.add_option("items", "FILE", &options.items, "attributes of items");
  cli.add_option("item-columns", "ROLE=COLUMN,...", &words.item_columns,
                 "columns of id, title and topic in --items");
  cli.add_option("vectors", "FILE", &options.vectors, "item vectors: .npy, .h5, .hdf5 or .parquet");
  cli.add_option("vector-columns", "ROLE=NAME,...", &words.vector_columns,
                 "datasets or columns of id (item_id) and vector (vector) in --vectors");
  cli.add_option("vector-ids", "FILE", &options.vector_ids,
                 "item ids of the rows of a .npy, one per line, or a .npy of integers");
  cli.add_option("items-without-vector", "WHAT", &words.without_vector,
                 "keep (as a row of zeros), drop (with their events) or error");
  cli.add_flag("keep-duplicates", &options.keep_duplicates,
               "keep events that are equal in every column");
  cli.add_flag("overwrite", &options.overwrite, "replace a dataset that is in DIR already");
  cli.add_option("part-events", "N", &options.part_events, "events per users file");
  cli.add_option("memory", "MIB", &options.memory_mib,
                 "to stay within, apart from item ids and text ids of users");
  cli.add_option("partitions", "N", &options.partitions,
                 "files events are sorted in, a power of two; 0: by input size");
}

void interpret(const ImportWords& words, ImportOptions& options) {
  static const std::map<std::string, TableFormat> formats = {{"auto", TableFormat::kByName},
                                                             {"csv", TableFormat::kCsv},
                                                             {"tsv", TableFormat::kTsv},
                                                             {"parquet", TableFormat::kParquet}};
  static const std::map<std::string, ItemsWithoutVector> choices = {
      {"keep", ItemsWithoutVector::kKeep},
      {"drop", ItemsWithoutVector::kDrop},
      {"error", ItemsWithoutVector::kError}};
  const std::vector<std::string> format_names = {"auto", "csv", "tsv", "parquet"};
  const std::vector<std::string> choice_names = {"keep", "drop", "error"};
  require_known("format", words.format, format_names);
  require_known("--items-without-vector", words.without_vector, choice_names);
  options.format = formats.at(words.format);
  options.without_vector = choices.at(words.without_vector);
  try {
    set_event_columns(options, words.columns);
    set_missing_markers(options, words.missing);
    set_item_columns(options, words.item_columns);
    set_vector_columns(options, words.vector_columns);
  } catch (const std::invalid_argument& error) {
    throw UsageError(error.what());
  }
  const bool names_time = std::ranges::any_of(
      words.columns, [](const std::string& column) { return column.starts_with("time="); });
  if (options.untimed && names_time) {
    throw UsageError("--untimed and --columns time=... contradict each other; leave one out");
  }
  const auto partitions = static_cast<uint64_t>(options.partitions);
  if (options.partitions < 0 || (partitions & (partitions - 1)) != 0) {
    throw UsageError("--partitions: expected a power of two, found " +
                     std::to_string(options.partitions));
  }
  constexpr int64_t kLeastMib = 2 * kImportProcessMib;
  if (options.memory_mib < kLeastMib) {
    throw UsageError("--memory: expected at least " + std::to_string(kLeastMib) + " MiB, found " +
                     std::to_string(options.memory_mib));
  }
  if (options.part_events < 1) throw UsageError("--part-events: expected 1 or more");
  if (holds_dataset(options.out) && !options.overwrite) {
    throw UsageError(options.out + " holds a dataset already; --overwrite replaces it");
  }
}

}  // namespace

int command_import(const Arguments& arguments) {
  ImportOptions options;
  ImportWords words;
  CommandLine cli("import", "Turns tables of events and item vectors into a dataset.",
                  "pinnerformer import --events events.tsv.gz --columns user=user,item=item,"
                  "action=action,surface=surface,time=ts_ms:ms,duration=duration_ms:ms "
                  "--missing surface=-,duration=-1 --vectors item_vectors.h5 --out dataset");
  declare(cli, options, words);
  if (!cli.parse(arguments)) return kDone;
  interpret(words, options);
  ImportReport report;
  {
    ProgressLine line;
    report = import_dataset(options, [&line](const ImportProgress& progress) {
      line.update(progress.stage, progress.fraction,
                  line.rate(progress.stage, progress.events, "events"));
    });
  }
  std::cout << import_report_text(report);
  write_json_file(cli.json_file(), nlohmann::ordered_json::parse(import_report_json(report)));
  return kDone;
}

}  // namespace pinnerformer
