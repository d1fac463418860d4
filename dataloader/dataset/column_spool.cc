// The buffer goes to the file whenever it holds 4 MiB.
#include "dataloader/dataset/column_spool.h"

#include <unistd.h>

#include <algorithm>

namespace pinnerformer {
namespace {
constexpr int64_t kBufferBytes = int64_t{4} << 20;
}  // namespace

ColumnSpool::~ColumnSpool() {
  if (file_) ::unlink(path_.c_str());
}

void ColumnSpool::append(const void* values, int64_t bytes) {
  const auto* from = static_cast<const char*>(values);
  buffer_.insert(buffer_.end(), from, from + bytes);
  if (static_cast<int64_t>(buffer_.size()) < kBufferBytes) return;
  if (!file_) file_ = File::create(path_);
  file_->write_at(spilled_, buffer_.data(), static_cast<int64_t>(buffer_.size()));
  spilled_ += static_cast<int64_t>(buffer_.size());
  buffer_.clear();
}

void ColumnSpool::copy_to(File& file, int64_t offset) const {
  std::vector<char> block(static_cast<size_t>(std::min(spilled_, kBufferBytes)));
  for (int64_t done = 0; done < spilled_; done += kBufferBytes) {
    const int64_t count = std::min(kBufferBytes, spilled_ - done);
    file_->read_at(done, block.data(), count);
    file.write_at(offset + done, block.data(), count);
  }
  file.write_at(offset + spilled_, buffer_.data(), static_cast<int64_t>(buffer_.size()));
}

}  // namespace pinnerformer
