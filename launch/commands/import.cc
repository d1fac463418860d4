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
#include "launch/cli/option_checks.h"
#include "launch/cli/progress.h"
#include "launch/commands/semantic_ids_note.h"

namespace pinnerformer {
namespace {

// The options as words, before they become ImportOptions.
struct ImportWords {
  std::vector<std::string> files;  // behind the options
  std::vector<std::string> columns;
  std::vector<std::string> missing;
  std::vector<std::string> item_columns;
  std::vector<std::string> vector_columns;
  std::string format = "auto";
  std::string delimiter;
  std::string escape;
  bool header = false;
  bool no_header = false;
  std::string bad_times = "error";
  std::string without_vector = "keep";
  bool describe = false;
};

void declare(CommandLine& cli, ImportOptions& options, ImportWords& words) {
  cli.add_option("events", "FILE,...", &options.events,
                 "files, patterns or directories of events: CSV, TSV, JSON lines (also compressed) "
                 "or Parquet; - reads standard input");
  cli.add_words("FILE", &words.files, "more files of events");
  cli.add_flag("describe", &words.describe,
               "print the form, columns and first rows of the events and stop");
  cli.add_option("columns", "ROLE=COLUMN,...", &words.columns,
                 "columns of user, item, time and, where there are any, action, surface and "
                 "duration; time=COLUMN:s, :ms, :us, :ns or :iso and duration=COLUMN:s or :ms say "
                 "the unit; lists in Parquet and JSON are one event per element");
  cli.add_flag("untimed", &options.untimed,
               "no time is known: the order of the rows stands for it, one second each from 1970");
  cli.add_option("out", "DIR", &options.out, "directory of the dataset, made by this command");
  cli.add_option("missing", "ROLE=TEXT,...", &words.missing,
                 "text that means that the value is absent, e.g. duration=-1; a row without user, "
                 "item or time is dropped");
  cli.add_option("bad-times", "WHAT", &words.bad_times,
                 "rows with a time before 1980 or from 2100 on: error, drop, or keep (1970 to 1979 "
                 "only)");
  cli.add_option("format", "NAME", &words.format,
                 "auto (by file name), csv, tsv, jsonl, parquet or user-lines (one user per line: "
                 "user item item ...) of the events, and of items whose name says none");
  cli.add_option("delimiter", "TEXT", &words.delimiter,
                 "what separates columns: tab, space (any number), ';', '::' or another text");
  cli.add_option("escape", "CHARACTER", &words.escape,
                 "what stands before a quote inside a quoted value: '\\' in files of Spark and "
                 "MySQL; default: the quote is written twice");
  cli.add_flag("no-header", &words.no_header,
               "the first row is data; columns are numbers from 0, as in user=0,item=1");
  cli.add_flag("header", &words.header,
               "the first row holds column names, even if these are numbers");
  cli.add_option("items", "FILE", &options.items, "attributes of items");
  cli.add_option("item-columns", "ROLE=COLUMN,...", &words.item_columns,
                 "columns of id, title and topic in --items");
  cli.add_option("vectors", "FILE", &options.vectors, "item vectors: .npy, HDF5 or Parquet");
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
                 "memory that the import may use, besides item ids and text ids of users");
}

template <typename Choice>
Choice choice_of(const std::string& option, const std::string& word,
                 const std::map<std::string, Choice>& choices) {
  std::vector<std::string> names;
  for (const auto& [name, choice] : choices) names.push_back(name);
  require_known(option, word, names);
  return choices.at(word);
}

TableForm form_of(const ImportWords& words) {
  TableForm form;
  form.format = choice_of<TableFormat>("--format", words.format,
                                       {{"auto", TableFormat::kByName},
                                        {"csv", TableFormat::kCsv},
                                        {"tsv", TableFormat::kTsv},
                                        {"jsonl", TableFormat::kJsonLines},
                                        {"parquet", TableFormat::kParquet},
                                        {"user-lines", TableFormat::kUserLines}});
  form.delimiter = delimiter_of(words.delimiter);
  if (words.escape.size() > 1 || words.escape == "\"")
    throw UsageError("--escape: expected one character, such as '\\', found '" + words.escape +
                     "'");
  if (!words.escape.empty()) form.escape = words.escape[0];
  if (words.header && words.no_header) {
    throw UsageError("--header and --no-header contradict each other; leave one out");
  }
  if (words.header) form.header = TableHeader::kNames;
  if (words.no_header) form.header = TableHeader::kNone;
  return form;
}

void check(const ImportWords& words, const ImportOptions& options) {
  const bool names_time = std::ranges::any_of(
      words.columns, [](const std::string& column) { return column.starts_with("time="); });
  if (options.untimed && names_time) {
    throw UsageError("--untimed and --columns time=... contradict each other; leave one out");
  }
  if (options.out.empty()) throw UsageError("--out DIR is missing");
  require_directory_name("out", options.out);
  constexpr int64_t kLeastMib = 2 * kImportProcessMib;
  if (options.memory_mib < kLeastMib) {
    throw UsageError("--memory: expected at least " + std::to_string(kLeastMib) + " MiB, found " +
                     std::to_string(options.memory_mib));
  }
  if (options.items.empty() && !words.item_columns.empty())
    throw UsageError("--item-columns names columns of --items FILE, which is missing");
  const bool about_vectors = !words.vector_columns.empty() || !options.vector_ids.empty() ||
                             words.without_vector != "keep";
  if (options.vectors.empty() && about_vectors)
    throw UsageError(
        "--vector-columns, --vector-ids and --items-without-vector are about "
        "--vectors FILE, which is missing");
  if (options.part_events < 1) throw UsageError("--part-events: expected 1 or more");
  if (holds_dataset(options.out) && !options.overwrite) {
    throw UsageError(options.out + " holds a dataset already; --overwrite replaces it");
  }
}

void interpret(const ImportWords& words, ImportOptions& options) {
  options.events.insert(options.events.end(), words.files.begin(), words.files.end());
  if (options.events.empty()) throw UsageError("--events FILE is missing");
  options.form = form_of(words);
  options.bad_times = choice_of<BadTimes>(
      "--bad-times", words.bad_times,
      {{"error", BadTimes::kError}, {"drop", BadTimes::kDrop}, {"keep", BadTimes::kKeep}});
  options.without_vector =
      choice_of<ItemsWithoutVector>("--items-without-vector", words.without_vector,
                                    {{"keep", ItemsWithoutVector::kKeep},
                                     {"drop", ItemsWithoutVector::kDrop},
                                     {"error", ItemsWithoutVector::kError}});
  try {
    set_event_columns(options, words.columns);
    set_missing_markers(options, words.missing);
    set_item_columns(options, words.item_columns);
    set_vector_columns(options, words.vector_columns);
  } catch (const std::invalid_argument& error) {
    throw UsageError(error.what());
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
  if (words.describe) {
    std::cout << describe_input(options);
    return kDone;
  }
  check(words, options);
  const bool had_codes = has_semantic_ids(options.out);
  ImportReport report;
  {
    ProgressLine line;
    report = import_dataset(options, [&line](const ImportProgress& progress) {
      line.update(progress.stage, progress.fraction,
                  line.rate(progress.stage, progress.events, "events"));
    });
  }
  for (const std::string& warning : report.warnings) std::cerr << "warning: " << warning << "\n";
  std::cout << import_report_text(report);
  if (had_codes) note_lost_semantic_ids(options.out);
  write_json_file(cli.json_file(), nlohmann::ordered_json::parse(import_report_json(report)));
  return kDone;
}

}  // namespace pinnerformer
