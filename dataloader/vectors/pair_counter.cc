// An external merge sort. What comes out depends on the pairs only, not on how they were cut.
#include "dataloader/vectors/pair_counter.h"

#include <unistd.h>

#include <queue>
#include <utility>

namespace pinnerformer {
namespace {

constexpr size_t kMostRuns = 64;  // merged at once; one open file and one block of memory each
constexpr size_t kBlockPairs = 1 << 14;

// Walks through a sorted run, a block at a time.
class RunReader {
 public:
  explicit RunReader(const PairFile& run) : run_(&run) { load(); }
  [[nodiscard]] bool done() const { return block_.empty(); }
  [[nodiscard]] const PairCount& pair() const { return block_[at_]; }
  void advance() {
    if (++at_ == block_.size()) load();
  }

 private:
  void load() {
    const int64_t left = run_->size() - next_;
    block_.resize(std::min(kBlockPairs, static_cast<size_t>(left)));
    run_->read(next_, static_cast<int64_t>(block_.size()), block_.data());
    next_ += static_cast<int64_t>(block_.size());
    at_ = 0;
  }

  const PairFile* run_;
  std::vector<PairCount> block_;
  size_t at_ = 0;
  int64_t next_ = 0;
};

// Takes pairs in ascending order, adds up equal ones and writes them.
class PairWriter {
 public:
  explicit PairWriter(const std::string& path) : file_(path) {}
  void add(const PairCount& pair) {
    if (!block_.empty() && block_.back().key() == pair.key()) {
      block_.back().count += pair.count;
      return;
    }
    if (block_.size() == kBlockPairs) flush();
    block_.push_back(pair);
  }
  [[nodiscard]] PairFile finish() {
    flush();
    return std::move(file_);
  }

 private:
  void flush() {
    file_.append(block_);
    block_.clear();
  }
  PairFile file_;
  std::vector<PairCount> block_;
};

}  // namespace

PairFile::PairFile(const std::string& path) : file_(File::create(path)) {
  ::unlink(path.c_str());  // the open file stays, and even a killed process leaves nothing behind
}

void PairFile::read(int64_t first, int64_t count, PairCount* out) const {
  constexpr auto kBytes = static_cast<int64_t>(sizeof(PairCount));
  if (count > 0) file_.read_at(first * kBytes, out, count * kBytes);
}

void PairFile::append(const std::vector<PairCount>& pairs) {
  constexpr auto kBytes = static_cast<int64_t>(sizeof(PairCount));
  const auto count = static_cast<int64_t>(pairs.size());
  file_.write_at(size_ * kBytes, pairs.data(), count * kBytes);
  size_ += count;
}

PairCounter::PairCounter(std::string path_prefix, int64_t memory_bytes)
    : path_prefix_(std::move(path_prefix)),
      capacity_(std::max<size_t>(static_cast<size_t>(memory_bytes) / sizeof(uint64_t), 1)) {
  waiting_.reserve(capacity_);  // growing would need half as much again
}

std::string PairCounter::next_path() { return path_prefix_ + std::to_string(files_++); }

void PairCounter::flush() {
  std::sort(waiting_.begin(), waiting_.end());
  PairWriter writer(next_path());
  for (const uint64_t key : waiting_) {
    writer.add({static_cast<uint32_t>(key >> 32), static_cast<uint32_t>(key), 1});
  }
  flushed_ += static_cast<int64_t>(waiting_.size());
  waiting_.clear();
  runs_.push_back(writer.finish());
  if (runs_.size() == kMostRuns) {
    PairFile merged = merge_runs();
    runs_.clear();
    runs_.push_back(std::move(merged));
  }
}

PairFile PairCounter::merge_runs() {
  std::vector<RunReader> readers(runs_.begin(), runs_.end());
  using Entry = std::pair<uint64_t, size_t>;  // key, reader
  std::priority_queue<Entry, std::vector<Entry>, std::greater<>> heads;
  const auto queue = [&](size_t reader) {
    if (!readers[reader].done()) heads.emplace(readers[reader].pair().key(), reader);
  };
  for (size_t i = 0; i < readers.size(); ++i) queue(i);
  PairWriter writer(next_path());
  while (!heads.empty()) {
    const size_t reader = heads.top().second;
    heads.pop();
    writer.add(readers[reader].pair());
    readers[reader].advance();
    queue(reader);
  }
  return writer.finish();
}

PairFile PairCounter::finish() {
  if (!waiting_.empty() || runs_.empty()) flush();
  std::vector<uint64_t>().swap(waiting_);  // the memory is wanted for what comes next
  PairFile result = runs_.size() == 1 ? std::move(runs_.front()) : merge_runs();
  runs_.clear();
  flushed_ = 0;
  return result;
}

}  // namespace pinnerformer
