// Any bytes as a table of events: the import reads them or says what is wrong with them.
#include <cstdint>
#include <cstdio>
#include <string>

#include "dataloader/base/errors.h"
#include "dataloader/import/events.h"
#include "tests/fuzz/scratch_file.h"

using namespace pinnerformer;

// The first byte chooses format, unit of time and columns.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  const uint8_t choice = data[0];
  static const std::string path = scratch_file("events");
  ImportOptions options;
  options.events = {path};
  options.format = choice & 1 ? TableFormat::kCsv : TableFormat::kTsv;
  options.time.unit = static_cast<TimeUnit>(choice >> 1 & 3);
  if (choice & 8) options.action.name = "action";
  if (choice & 16) options.duration = {"duration", {"-1"}, TimeUnit::kMilliseconds};
  if (choice & 32) options.surface = {"surface", {"-"}, {}};
  if (choice & 64) options.user.missing = {""};
  write_scratch(path, data + 1, size - 1);
  for (const bool text : {false, true}) {
    EventTables tables;
    tables.user_ids_are_text = text;
    IdDictionary items;
    EventSpill spill(path + ".spill", 4);
    try {
      read_events(options, tables, items, spill, {});
      for (int64_t partition = 0; partition < spill.partitions(); ++partition)
        static_cast<void>(spill.take(partition));
      break;
    } catch (const UserIdsAreText&) {
    } catch (const DataError&) {
      break;
    }
  }
  return 0;
}
