// A users file with any of its numbers replaced: what opens can be read, and what is read is
// checked. The bytes that HDF5 itself interprets stay as they are.
#include <cstdint>

#include "dataloader/base/errors.h"
#include "dataloader/dataset/timeline_check.h"
#include "dataloader/dataset/users_file.h"
#include "dataloader/dataset/users_writer.h"
#include "tests/fuzz/array_patches.h"
#include "tests/fuzz/scratch_file.h"

using namespace pinnerformer;

namespace {

constexpr TimelineLimits kLimits{50, 2, 2};

std::string whole_file() {
  const std::string path = scratch_file("whole.h5");
  UsersWriter writer(path, /*integer_user_ids=*/true);
  for (int64_t user = 0; user < 8; ++user) {
    Timeline events;
    for (int64_t i = 0; i < user; ++i) {
      events.item.push_back(static_cast<int32_t>(user + i));
      events.action.push_back(static_cast<int16_t>(i % 2));
      events.surface.push_back(0);
      events.time.push_back(1000 * i);
      events.duration.push_back(1.5f);
    }
    writer.add_user(user, events);
  }
  writer.finish();
  return read_whole_file(path, 1 << 20);
}

void read_all(const std::string& path) {
  const UsersFile file(path);
  EventBlock block;
  std::vector<int64_t> lengths;
  for (int64_t user = 0; user < file.users(); ++user) lengths.push_back(file.length(user));
  block.reset(0, lengths);
  file.read_events(0, file.users(), block, 0);
  Timeline timeline;
  for (int64_t user = 0; user < file.users(); ++user) {
    block.copy_to(timeline, user, block.length(user));
    static_cast<void>(timeline_fault(timeline, kLimits));
    static_cast<void>(file.number(user));
  }
  VerifiedBlocks verified;
  file.verify(0, file.users(), verified);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const std::string whole = whole_file();
  static const std::vector<ArrayLayout> arrays = arrays_of(
      scratch_file("whole.h5"), {"/user/id", "/user/offset", "/event/item", "/event/action",
                                 "/event/surface", "/event/time", "/event/duration"});
  static const std::string path = scratch_file("patched.h5");
  const std::string bytes = patched(whole, arrays, data, size);
  write_scratch(path, bytes.data(), bytes.size());
  try {
    read_all(path);
  } catch (const DataError&) {
  } catch (const IoError&) {
  }
  return 0;
}
