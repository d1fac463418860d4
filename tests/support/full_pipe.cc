#include "tests/support/full_pipe.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <array>

namespace pinnerformer {

FullPipe::FullPipe() {
  std::array<int, 2> ends{};
  EXPECT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
  reader_ = ends[0];
  writer_ = ends[1];
  const int flags = ::fcntl(writer_, F_GETFL);
  ::fcntl(writer_, F_SETFL, flags | O_NONBLOCK);
  while (::write(writer_, "x", 1) == 1) ++filled_;
  ::fcntl(writer_, F_SETFL, flags);
}

FullPipe::~FullPipe() {
  ::close(reader_);
  ::close(writer_);
}

void FullPipe::drain() const {
  std::array<char, 512> bytes{};
  for (int left = filled_; left > 0;) {
    const auto count = ::read(reader_, bytes.data(), std::min<size_t>(bytes.size(), size_t(left)));
    if (count <= 0) return;
    left -= static_cast<int>(count);
  }
}

}  // namespace pinnerformer
