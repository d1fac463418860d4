// A partition's file is opened for each append: no limit on open files limits the partitions.
#include "dataloader/import/spill.h"

#include <algorithm>
#include <bit>
#include <filesystem>

#include "dataloader/base/errors.h"
#include "dataloader/base/file.h"

namespace pinnerformer {
namespace {
constexpr size_t kBufferEvents = 8192;  // 320 KiB per partition
constexpr int64_t kSplitPartitions = 16;
constexpr int kMostBits = 48;  // users whose hashes agree in so many are one user, to all purposes
}  // namespace

EventSpill::EventSpill(std::string directory, int64_t partitions, int bits_before)
    : directory_(std::move(directory)),
      bits_before_(bits_before),
      bits_(std::countr_zero(static_cast<uint64_t>(partitions))),
      buffers_(static_cast<size_t>(partitions)),
      in_file_(static_cast<size_t>(partitions), 0) {
  if (!std::has_single_bit(static_cast<uint64_t>(partitions))) {
    throw DataError("expected a power of two for the number of partitions, found " +
                    std::to_string(partitions));
  }
  std::error_code error;
  std::filesystem::create_directories(directory_, error);
  if (error) throw IoError("cannot make directory " + directory_ + ": " + error.message());
  claim_.emplace(directory_);
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
  const size_t partition =
      bits_ == 0 ? 0 : static_cast<size_t>(event.user_hash << bits_before_ >> (64 - bits_));
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

int64_t EventSpill::events(int64_t partition) const {
  const auto at = static_cast<size_t>(partition);
  return in_file_[at] + std::ssize(buffers_[at]);
}

std::unique_ptr<EventSpill> EventSpill::split(int64_t partition) {
  const auto at = static_cast<size_t>(partition);
  if (bits_before_ + bits_ > kMostBits) return nullptr;
  auto parts = std::make_unique<EventSpill>(file_name(at) + ".split", kSplitPartitions,
                                            bits_before_ + bits_);
  flush(at);
  const File file = File::open(file_name(at));
  std::vector<SpilledEvent> block;
  for (int64_t done = 0; done < in_file_[at]; done += std::ssize(block)) {
    block.resize(std::min(kBufferEvents, static_cast<size_t>(in_file_[at] - done)));
    file.read_at(done * static_cast<int64_t>(sizeof(SpilledEvent)), block.data(),
                 static_cast<int64_t>(block.size() * sizeof(SpilledEvent)));
    for (const SpilledEvent& event : block) parts->add(event);
  }
  std::filesystem::remove(file_name(at));
  in_file_[at] = 0;
  return parts;
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
