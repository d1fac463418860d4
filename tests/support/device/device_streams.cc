#include "tests/support/device/device_streams.h"

#include <algorithm>
#include <utility>

namespace pinnerformer::device_double {
namespace {

std::string text_of(int stream) {
  return std::to_string(stream % kStreamsPerDevice) + " of device " +
         std::to_string(stream / kStreamsPerDevice);
}

size_t index(int stream) { return static_cast<size_t>(stream); }

int default_stream_beside(int stream) { return stream / kStreamsPerDevice * kStreamsPerDevice; }

}  // namespace

DeviceStreams& DeviceStreams::instance() {
  static auto* streams = new DeviceStreams;  // never destroyed, as DeviceMemory
  return *streams;
}

void DeviceStreams::access(const void* allocation, bool write, int stream,
                           const std::string& operation) {
  const std::lock_guard lock(mutex_);
  Accesses& before = accesses_[allocation];
  Clock& mine = seen_[index(stream)];
  if (before.writer >= 0 && mine[index(before.writer)] < before.written)
    findings_.push_back(operation + (write ? " writes" : " reads") + " on stream " +
                        text_of(stream) + " what stream " + text_of(before.writer) +
                        " wrote, without waiting for it");
  for (int other = 0; write && other < kStreams; ++other)
    if (other != stream && mine[index(other)] < before.read[index(other)])
      findings_.push_back(operation + " overwrites on stream " + text_of(stream) + " what stream " +
                          text_of(other) + " may still read");
  const uint64_t now = ++mine[index(stream)];
  if (write) {
    before.writer = stream;
    before.written = now;
  } else {
    before.read[index(stream)] = now;
  }
}

void DeviceStreams::record(Mark& mark, int stream) {
  const std::lock_guard lock(mutex_);
  mark = {stream, queues_[index(stream)].enqueued, std::chrono::steady_clock::now(),
          seen_[index(stream)]};
}

void DeviceStreams::block(const Mark& mark, int stream) {
  if (mark.stream < 0) return;
  finish_up_to(mark.stream, mark.work);
  const std::lock_guard lock(mutex_);
  Clock& mine = seen_[index(stream)];
  for (size_t i = 0; i < mine.size(); ++i) mine[i] = std::max(mine[i], mark.seen[i]);
}

bool DeviceStreams::done(const Mark& mark) {
  const std::lock_guard lock(mutex_);
  return mark.stream < 0 || queues_[index(mark.stream)].finished >= mark.work;
}

void DeviceStreams::enqueue(int stream, std::function<void()> work) {
  const std::lock_guard lock(mutex_);
  Queue& queue = queues_[index(stream)];
  queue.work.push_back(std::move(work));
  ++queue.enqueued;
}

void DeviceStreams::finish(int stream) {
  Mark mark;
  record(mark, stream);
  finish_up_to(stream, mark.work);
}

void DeviceStreams::finish_up_to(int stream, size_t work) {
  Queue& queue = queues_[index(stream)];
  const std::lock_guard running(queue.running);
  std::unique_lock lock(mutex_);
  while (queue.finished < work) {
    const std::function<void()> next = std::move(queue.work.front());
    queue.work.pop_front();
    lock.unlock();
    next();
    lock.lock();
    ++queue.finished;
  }
}

void DeviceStreams::keep_for(const void* allocation, int stream) {
  const std::lock_guard lock(mutex_);
  accesses_[allocation].kept[index(stream)] = true;
}

bool DeviceStreams::free(const void* allocation) {
  const std::lock_guard lock(mutex_);
  const auto found = accesses_.find(allocation);
  if (found == accesses_.end()) return true;
  const Accesses last = found->second;
  accesses_.erase(found);
  bool reusable = true;
  for (int stream = 0; stream < kStreams; ++stream) {
    if (stream % kStreamsPerDevice == 0) continue;
    const Clock& owner = seen_[index(default_stream_beside(stream))];
    const bool behind = owner[index(stream)] < last.read[index(stream)] ||
                        (last.writer == stream && owner[index(stream)] < last.written);
    if (!behind) continue;
    reusable = false;
    if (!last.kept[index(stream)])
      findings_.push_back("memory is freed while stream " + text_of(stream) +
                          " may still use it: record_stream() is missing");
  }
  return reusable;
}

std::vector<std::string> DeviceStreams::take_findings() {
  const std::lock_guard lock(mutex_);
  return std::exchange(findings_, {});
}

}  // namespace pinnerformer::device_double
