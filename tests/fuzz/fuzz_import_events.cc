// Any bytes as a table of events: the import reads them or says what is wrong with them.
#include <cstdint>
#include <cstdio>
#include <string>

#include "dataloader/base/errors.h"
#include "dataloader/import/events.h"
#include "tests/fuzz/scratch_file.h"

using namespace pinnerformer;

namespace {

// The second byte chooses among the forms that are neither plain CSV nor TSV.
void set_form(uint8_t choice, ImportOptions& options) {
  constexpr TableFormat kFormats[] = {TableFormat::kCsv, TableFormat::kTsv, TableFormat::kJsonLines,
                                      TableFormat::kUserLines};
  constexpr const char* kDelimiters[] = {"", " ", ";", "::", "|", "\t", ",", "ab"};
  options.form.format = kFormats[choice & 3];
  options.form.delimiter = kDelimiters[choice >> 3 & 7];
  if (choice & 4) {
    options.form.header = TableHeader::kNone;
    options.user.name = "0";
    options.item.name = "1";
    options.time.name = "2";
  }
  options.bad_times = choice & 64 ? BadTimes::kDrop : BadTimes::kKeep;
  options.untimed = choice & 128;
}

}  // namespace

// The first byte chooses format, unit of time and columns.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  const uint8_t choice = data[0];
  static const std::string path = scratch_file("events");
  ImportOptions options;
  options.events = {path};
  options.form.format = choice & 1 ? TableFormat::kCsv : TableFormat::kTsv;
  options.time.unit = static_cast<TimeUnit>(choice >> 1 & 3);
  if (choice & 8) options.action.name = "action";
  if (choice & 16) options.duration = {"duration", {"-1"}, TimeUnit::kMilliseconds};
  if (choice & 32) options.surface = {"surface", {"-"}, {}};
  if (choice & 64) options.user.missing = {""};
  const size_t head = choice & 128 ? 2 : 1;
  if (choice & 128) set_form(data[1], options);
  write_scratch(path, data + head, size - head);
  for (const bool text : {false, true}) {
    EventTables tables;
    tables.user_ids_are_text = text;
    IdDictionary items;
    EventSpill spill(path + ".spill", 4);
    try {
      read_events(options, {InputFile::plain(path)}, tables, items, spill, {});
      for (int64_t partition = 0; partition < spill.partitions(); ++partition)
        static_cast<void>(spill.take(partition));
      break;
    } catch (const UserIdsAreText&) {
    } catch (const IdsAreText&) {
      break;
    } catch (const DataError&) {
      break;
    }
  }
  return 0;
}
