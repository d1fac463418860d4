// The import from end to end: items known beforehand, events, final order, items file, users files.
#include "dataloader/import/import.h"

#include <algorithm>
#include <bit>
#include <chrono>
#include <filesystem>

#include "dataloader/base/directory_claim.h"
#include "dataloader/base/errors.h"
#include "dataloader/base/file.h"
#include "dataloader/dataset/dataset_format.h"
#include "dataloader/import/events.h"
#include "dataloader/import/items.h"
#include "dataloader/import/users.h"

namespace pinnerformer {
namespace {

// Enough partitions that one of them can be sorted in memory, by guess: text and Parquet take
// roughly a third of a spilled event, gzip a tenth. Partitions that turn out larger are split.
int64_t partitions_for(const ImportOptions& options) {
  if (options.partitions > 0) return options.partitions;
  int64_t bytes = 0;
  for (const std::string& path : options.events) {
    const int64_t size = File::open(path).size();
    bytes += path.ends_with(".gz") || path.ends_with(".parquet") ? size * 10 : size * 3;
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

// Reads the events with integer user ids and, where that fails, once more with text ids.
std::unique_ptr<EventSpill> spill_events(const ImportOptions& options, const std::string& directory,
                                         EventTables& tables, IdDictionary& items,
                                         const ImportProgressCallback& progress) {
  for (const bool text : {false, true}) {
    tables = EventTables();
    tables.user_ids_are_text = text;
    auto spill = std::make_unique<EventSpill>(directory, partitions_for(options));
    try {
      read_events(options, tables, items, *spill, progress);
      return spill;
    } catch (const UserIdsAreText&) {
    }
  }
  throw std::logic_error("text ids were refused");
}

std::vector<std::pair<std::string, int64_t>> zero_counts(const std::vector<std::string>& names) {
  std::vector<std::pair<std::string, int64_t>> counts;
  for (const std::string& name : names) counts.emplace_back(name, 0);
  return counts;
}

std::string spill_directory(std::string out) {
  while (out.size() > 1 && out.ends_with('/')) out.pop_back();
  remove_abandoned_directories(out);
  return out + ".tmp-events-" +
         std::to_string(std::chrono::steady_clock::now().time_since_epoch().count());
}

// Items of the vectors that no event names. Items are numbered in the order attributes, vectors,
// events, so that an event's item may have a low number: they are marked one by one.
int64_t count_unused(const ItemCatalog& catalog, const std::vector<bool>& in_events) {
  int64_t unused = 0;
  for (const int64_t item : catalog.vector_items) {
    const auto at = static_cast<size_t>(item);
    if (at >= in_events.size() || !in_events[at]) ++unused;
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
  for (const std::string& path : options.events) static_cast<void>(File::open(path));
}

}  // namespace

ImportReport import_dataset(const ImportOptions& options, const ImportProgressCallback& progress) {
  const auto start = std::chrono::steady_clock::now();
  check_options(options);
  ItemCatalog catalog;
  if (!options.items.empty()) read_item_attributes(options, catalog);
  std::unique_ptr<VectorSource> vectors;
  if (!options.vectors.empty()) {
    vectors = VectorSource::open(options);
    read_vector_ids(*vectors, catalog);
  }
  EventTables tables;
  const auto spill =
      spill_events(options, spill_directory(options.out), tables, catalog.ids, progress);

  OrderedItems items = order_items(options, catalog);
  FinalNumbers numbers;
  DatasetWriterOptions writing;
  writing.directory = options.out;
  writing.overwrite = options.overwrite;
  writing.actions = sort_names(tables.actions, numbers.actions);
  writing.surfaces = sort_names(tables.surfaces, numbers.surfaces);
  writing.integer_user_ids = !tables.user_ids_are_text;
  writing.part_events = options.part_events;
  writing.vector_width = vectors ? vectors->width() : 0;
  numbers.items = items.row_of_item;

  ImportReport report;
  report.items = items.table.ids.size();
  report.files = static_cast<int64_t>(options.events.size());
  report.rows_read = tables.rows_read;
  report.dropped_missing = tables.dropped_missing;
  report.vector_width = writing.vector_width;
  report.actions = zero_counts(writing.actions);
  report.surfaces = zero_counts(writing.surfaces);
  DatasetWriter writer(writing, std::move(items.table));
  if (vectors) {
    const int64_t zeros = copy_vectors(*vectors, catalog, items, writer);
    report.items_without_vector =
        report.items - static_cast<int64_t>(catalog.vector_items.size()) + zeros;
    report.items_only_in_vectors = count_unused(catalog, tables.item_in_events);
  }
  write_users(options, tables, numbers, *spill, writer, report, progress);
  writer.finish();
  report.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return report;
}

}  // namespace pinnerformer
