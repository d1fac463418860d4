// Parquet files with changed bytes, as events and as item vectors. The input is a list of patches
// of 12 bytes: where from the end of the file, where its structure is described (two bytes, little
// endian, modulo the size), how many bytes (modulo 8, plus 1), one unused, and eight bytes to put
// there. The first byte of the input chooses the corpus's file.
#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>

#include "dataloader/base/errors.h"
#include "dataloader/import/events.h"
#include "dataloader/import/vectors.h"
#include "tests/fuzz/scratch_file.h"
#include "tests/support/project_paths.h"

using namespace pinnerformer;

namespace {

std::string seed_file(const char* name) {
  return read_whole_file(source_directory() + "/tests/fuzz/seeds/" + name, 1 << 20);
}

void read_as_events(const std::string& path) {
  ImportOptions options;
  options.events = {path};
  options.user.name = "user";
  options.item.name = "item";
  options.time = {"time", {}, TimeUnit::kSeconds};
  options.bad_times = BadTimes::kKeep;
  EventTables tables;
  tables.user_ids_are_text = true;
  IdDictionary items;
  EventSpill spill(path + ".spill", 4);
  read_events(options, {InputFile::plain(path)}, tables, items, spill, {});
}

void read_as_vectors(const std::string& path) {
  ImportOptions options;
  options.vectors = path;
  options.vector_id_column = "item";
  options.vector_value_column = "vector";
  const auto source = VectorSource::open(options);
  IdDictionary items;
  static_cast<void>(source->add_ids(items));
  source->read([](int64_t, std::span<const float>) {});
}

template <class Read>
void tolerate(const Read& read) {
  try {
    read();
  } catch (const DataError&) {
  } catch (const IoError&) {
  } catch (const UserIdsAreText&) {
  } catch (const IdsAreText&) {
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const std::array<std::string, 3> seeds = {
      seed_file("events.parquet"), seed_file("lists.parquet"), seed_file("vectors.parquet")};
  static const std::string path = scratch_file("patched.parquet");
  if (size == 0) return 0;
  std::string bytes = seeds[data[0] % seeds.size()];
  for (++data, --size; size >= 12; data += 12, size -= 12) {
    const size_t back = (data[0] | size_t{data[1]} << 8) % bytes.size();
    const size_t place = bytes.size() - 1 - back;
    const size_t count = std::min<size_t>(data[2] % 8 + 1, bytes.size() - place);
    std::memcpy(bytes.data() + place, data + 4, count);
  }
  write_scratch(path, bytes.data(), bytes.size());
  tolerate([] { read_as_events(path); });
  tolerate([] { read_as_vectors(path); });
  return 0;
}
