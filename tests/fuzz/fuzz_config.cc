// Any bytes as a configuration. The first byte says whose: S, one stored in a checkpoint; anything
// else, one that a user wrote, read from a file.
#include <cstdint>
#include <string>

#include "configs/errors.h"
#include "configs/run_config.h"
#include "tests/fuzz/scratch_file.h"

using namespace pinnerformer;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  static const std::string path = scratch_file("config.yaml");
  const std::string text(reinterpret_cast<const char*>(data) + 1, size - 1);
  try {
    if (data[0] == 'S') {
      // What is accepted can be written and read again.
      static_cast<void>(parse_config(to_yaml(parse_config(text))));
    } else {
      write_scratch(path, text.data(), text.size());
      static_cast<void>(to_yaml(load_config(path, {})));
    }
  } catch (const ConfigError&) {
  } catch (const DataError&) {  // no regular file
  }
  return 0;
}
