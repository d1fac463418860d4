// The import from end to end: items known beforehand, events, final order, items file, users files.
#include "dataloader/import/import.h"

#include <algorithm>
#include <bit>
#include <chrono>
#include <filesystem>

#include "dataloader/base/errors.h"
#include "dataloader/base/file.h"
#include "dataloader/base/paths.h"
#include "dataloader/base/temporary.h"
#include "dataloader/dataset/dataset_format.h"
#include "dataloader/import/events.h"
#include "dataloader/import/items.h"
#include "dataloader/import/users.h"
#include "dataloader/import/warnings.h"

namespace pinnerformer {
namespace {

// Enough partitions that one of them can be sorted in memory, by guess: plain text takes roughly a
// third of a spilled event, compressed text and Parquet a tenth. Partitions that turn out larger
// are split.
int64_t partitions_for(const ImportOptions& options, const std::vector<InputFile>& files) {
  int64_t bytes = 0;
  for (const InputFile& file : files) {
    const FileForm form = file_form(file, options.form);
    const bool is_plain =
        form.format != TableFormat::kParquet && form.compression == Compression::kNone;
    bytes += File::open(file.path).size() * (is_plain ? 3 : 10);
  }
  const int64_t partition_bytes =
      largest_partition(options.memory_mib) * static_cast<int64_t>(sizeof(SpilledEvent)) / 2;
  const auto wanted = static_cast<uint64_t>(bytes / partition_bytes + 1);
  return static_cast<int64_t>(std::min<uint64_t>(std::bit_ceil(wanted), 4096));
}

// Sorted names, and the place of each provisional one among them.
std::vector<std::string> sort_names(const Vocabulary& vocabulary, std::vector<int16_t>& places) {
  std::vector<std::string> names = vocabulary.names();
  std::sort(names.begin(), names.end());
  for (const std::string& name : vocabulary.names()) {
    const auto at = std::lower_bound(names.begin(), names.end(), name) - names.begin();
    places.push_back(static_cast<int16_t>(at));
  }
  return names;
}

// All that is read before anything is written.
struct Inputs {
  ItemCatalog catalog;
  std::unique_ptr<VectorSource> vectors;
  EventTables tables;
  std::unique_ptr<EventSpill> spill;
};

struct TextIds {
  bool users = false;
  bool items = false;
};

Inputs read_inputs_as(const TextIds& text, const ImportOptions& options,
                      const std::vector<InputFile>& files, const std::string& directory,
                      const ImportProgressCallback& progress) {
  Inputs inputs;
  if (text.items) inputs.catalog.ids.become_strings();
  if (!options.items.empty()) read_item_attributes(options, inputs.catalog);
  if (!options.vectors.empty()) {
    inputs.vectors = VectorSource::open(options);
    read_vector_ids(*inputs.vectors, inputs.catalog);
    if (options.without_vector != ItemsWithoutVector::kKeep)
      leave_out_zero_vectors(*inputs.vectors, inputs.catalog);
  }
  inputs.tables.user_ids_are_text = text.users;
  inputs.spill = std::make_unique<EventSpill>(directory, partitions_for(options, files));
  read_events(options, files, inputs.tables, inputs.catalog.ids, *inputs.spill, progress);
  return inputs;
}

// Reads with integer ids and, where that fails, once more with text ids.
Inputs read_inputs(const ImportOptions& options, const std::vector<InputFile>& files,
                   const std::string& directory, const ImportProgressCallback& progress) {
  TextIds text;
  while (true) {
    try {
      return read_inputs_as(text, options, files, directory, progress);
    } catch (const UserIdsAreText&) {
      text.users = true;
    } catch (const IdsAreText&) {
      text.items = true;
    }
  }
}

std::vector<std::pair<std::string, int64_t>> zero_counts(const std::vector<std::string>& names) {
  std::vector<std::pair<std::string, int64_t>> counts;
  for (const std::string& name : names) counts.emplace_back(name, 0);
  return counts;
}

// Where temporary files of a kind go: beside the output.
std::string temporary_directory(const std::string& out, const std::string& kind) {
  return without_trailing_slashes(out) + ".tmp-" + kind + "-" +
         std::to_string(std::chrono::steady_clock::now().time_since_epoch().count());
}

// Items that are marked in `known` and that no event names. Items are numbered in the order
// attributes, vectors, events, so that an event's item may have a low number: they are marked one
// by one.
int64_t count_unused(const std::vector<bool>& known, const std::vector<bool>& in_events) {
  int64_t unused = 0;
  for (size_t item = 0; item < known.size(); ++item) {
    if (known[item] && (item >= in_events.size() || !in_events[item])) ++unused;
  }
  return unused;
}

void check_options(const ImportOptions& options) {
  if (options.out.empty()) throw DataError("no output directory given");
  if (holds_dataset(options.out) && !options.overwrite) {
    throw DataError(options.out + " holds a dataset already; --overwrite replaces it");
  }
  if (options.memory_mib <= kImportProcessMib) {
    throw DataError("an import needs more than " + std::to_string(kImportProcessMib) +
                    " MiB of memory, found " + std::to_string(options.memory_mib));
  }
  if (options.part_events < 1) throw DataError("expected at least one event per users file");
  remove_abandoned_directories(without_trailing_slashes(options.out));
}

}  // namespace

ImportReport import_dataset(const ImportOptions& options, const ImportProgressCallback& progress) {
  const auto start = std::chrono::steady_clock::now();
  check_options(options);
  const InputFiles files(options.events, temporary_directory(options.out, "input"));
  Inputs inputs =
      read_inputs(options, files.files(), temporary_directory(options.out, "events"), progress);
  const ItemCatalog& catalog = inputs.catalog;
  const EventTables& tables = inputs.tables;
  const VectorSource* vectors = inputs.vectors.get();

  OrderedItems items = order_items(options, catalog);
  FinalNumbers numbers;
  DatasetWriterOptions writing;
  writing.directory = options.out;
  writing.overwrite = options.overwrite;
  writing.actions = sort_names(tables.actions, numbers.actions);
  writing.surfaces = sort_names(tables.surfaces, numbers.surfaces);
  writing.integer_user_ids = !tables.user_ids_are_text;
  writing.part_events = options.part_events;
  writing.vector_width = vectors != nullptr ? vectors->width() : 0;
  numbers.items = items.row_of_item;

  ImportReport report;
  report.items = items.table.ids.size();
  report.files = std::ssize(files.files());
  report.rows_read = tables.rows_read;
  report.empty_rows = tables.empty_rows;
  report.dropped_missing = tables.dropped_missing;
  report.dropped_times = tables.dropped_times;
  report.early_times = tables.early_times;
  report.duplicates_kept = options.keep_duplicates;
  report.user_ids_are_text = tables.user_ids_are_text;
  report.item_ids_are_text = !catalog.ids.integers();
  report.items_only_in_attributes = count_unused(catalog.has_attributes, tables.item_in_events);
  report.vector_width = writing.vector_width;
  report.actions = zero_counts(writing.actions);
  report.surfaces = zero_counts(writing.surfaces);
  DatasetWriter writer(writing, std::move(items.table));
  if (vectors != nullptr) {
    report.items_without_vector = report.items - copy_vectors(*vectors, catalog, items, writer);
    report.items_only_in_vectors = count_unused(catalog.has_vector, tables.item_in_events);
  }
  write_users(options, tables, numbers, *inputs.spill, writer, report, progress);
  writer.finish();
  report.warnings = import_warnings(options, tables, catalog, report);
  report.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return report;
}

}  // namespace pinnerformer
