#include "dataloader/sampling/sample_reader.h"

#include <utility>

#include "dataloader/base/errors.h"
#include "dataloader/base/random.h"

namespace pinnerformer {
namespace {

// Up to this many unwanted users between two wanted ones are read too: cheaper than a second read.
constexpr int64_t kLargestGap = 16;
// Bounds the memory of a block of users with long timelines: 20 bytes per event.
constexpr int64_t kBlockEvents = int64_t{1} << 20;

Timeline events_of(const Timeline& timeline, int64_t first, int64_t end) {
  const auto part = [&](const auto& column) {
    return std::decay_t<decltype(column)>(column.begin() + first, column.begin() + end);
  };
  return {timeline.user,          part(timeline.item), part(timeline.action),
          part(timeline.surface), part(timeline.time), part(timeline.duration)};
}

}  // namespace

SampleReader::SampleReader(const Dataset& dataset, MarkPositives positives,
                           const WindowSpec& window, const TrainingPart& part, int64_t seed,
                           const DataOptions& options)
    : dataset_(dataset),
      positives_(std::move(positives)),
      window_(window),
      part_(part),
      seed_(seed),
      skip_bad_blocks_(options.on_bad_block == OnBadBlock::kSkip),
      verify_checksums_(options.verify_checksums) {}

// The number of users that one read covers.
size_t SampleReader::block_size(std::span<const int64_t> users) const {
  int64_t events = dataset_.timeline_length(users[0]);
  size_t size = 1;
  for (; size < users.size() && users[size] - users[size - 1] <= kLargestGap; ++size) {
    events += dataset_.timeline_length(users[size]);
    if (events > kBlockEvents) break;
  }
  return size;
}

void SampleReader::read(std::span<const int64_t> users, int64_t epoch, std::vector<Sample>& samples,
                        SkippedUsers& skipped) {
  while (!users.empty()) {
    const size_t before = samples.size();
    size_t size = users.size();  // all of them where even their lengths cannot be read
    try {
      dataset_.check_files(users.front(), users.back() + 1 - users.front());
      size = block_size(users);
      read_block(users.first(size), epoch, samples);
    } catch (const DataError& error) {
      skip(size, error, skipped);
      samples.resize(before);
    } catch (const IoError& error) {
      skip(size, error, skipped);
      samples.resize(before);
    }
    users = users.subspan(size);
  }
}

// Called in a handler: rethrows unless bad blocks are skipped.
void SampleReader::skip(size_t users, const std::exception& error, SkippedUsers& skipped) const {
  if (!skip_bad_blocks_) throw;
  if (skipped.count == 0) skipped.reason = error.what();
  skipped.count += static_cast<int64_t>(users);
}

void SampleReader::read_block(std::span<const int64_t> users, int64_t epoch,
                              std::vector<Sample>& samples) {
  const int64_t rows = users.back() + 1 - users.front();
  if (verify_checksums_) dataset_.verify(users.front(), rows, verified_);
  dataset_.read(users.front(), rows, block_);
  for (const int64_t user : users) {
    const int64_t place = user - users.front();
    const std::span<const int64_t> times(block_.time);
    const auto first = static_cast<size_t>(block_.start[static_cast<size_t>(place)]);
    const auto length = static_cast<size_t>(block_.length(place));
    block_.copy_to(timeline_, place, part_.events(times.subspan(first, length)));
    add_sample(epoch, samples);
  }
}

void SampleReader::add_sample(int64_t epoch, std::vector<Sample>& samples) {
  dataset_.check(timeline_);
  KeyedRandom random(RandomStream::kWindow, {seed_, epoch, timeline_.user});
  auto window = draw_window(timeline_, positives_(timeline_), window_, random);
  if (!window) return;
  samples.push_back({events_of(timeline_, window->first, window->end), std::move(window->labels),
                     static_cast<int64_t>(random.next())});
}

}  // namespace pinnerformer
