// A partition's file is opened for each append: no limit on open files limits the partitions.
#include "dataloader/import_spill.h"

#include <bit>
#include <filesystem>

#include "dataloader/errors.h"
#include "dataloader/file_io.h"

namespace pinnerformer {
namespace {
constexpr size_t kBufferEvents = 8192;  // 320 KiB per partition
}  // namespace

EventSpill::EventSpill(std::string directory, int64_t partitions)
    : directory_(std::move(directory)),
      shift_(64 - std::countr_zero(static_cast<uint64_t>(partitions))),
      buffers_(static_cast<size_t>(partitions)),
      in_file_(static_cast<size_t>(partitions), 0) {
  if (!std::has_single_bit(static_cast<uint64_t>(partitions))) {
    throw DataError("expected a power of two for the number of partitions, found " +
                    std::to_string(partitions));
  }
  std::error_code error;
  std::filesystem::create_directories(directory_, error);
  if (error) throw IoError("cannot make directory " + directory_ + ": " + error.message());
}

EventSpill::~EventSpill() {
  std::error_code ignored;
  std::filesystem::remove_all(directory_, ignored);
}

std::string EventSpill::file_name(size_t partition) const {
  return directory_ + "/events-" + std::to_string(partition);
}

void EventSpill::add(const SpilledEvent& event) {
  // A shift by 64 is undefined, and with one partition there is nothing to shift for.
  const size_t partition = shift_ == 64 ? 0 : static_cast<size_t>(event.user_hash >> shift_);
  buffers_[partition].push_back(event);
  if (buffers_[partition].size() >= kBufferEvents) flush(partition);
}

void EventSpill::flush(size_t partition) {
  std::vector<SpilledEvent>& buffer = buffers_[partition];
  File::append_to(file_name(partition))
      .append(buffer.data(), static_cast<int64_t>(buffer.size() * sizeof(SpilledEvent)));
  in_file_[partition] += static_cast<int64_t>(buffer.size());
  buffer.clear();
}

std::vector<SpilledEvent> EventSpill::take(int64_t partition) {
  const auto at = static_cast<size_t>(partition);
  std::vector<SpilledEvent> events(static_cast<size_t>(in_file_[at]));
  if (!events.empty()) {
    File::open(file_name(at))
        .read_at(0, events.data(), static_cast<int64_t>(events.size() * sizeof(SpilledEvent)));
    std::filesystem::remove(file_name(at));
  }
  events.insert(events.end(), buffers_[at].begin(), buffers_[at].end());
  buffers_[at] = {};
  return events;
}

}  // namespace pinnerformer
