// Text reaches readers, and nothing about a reader blocks or ends the writer.
#include "comm/watchdog/nonblocking_write.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <string>
#include <thread>

#include "tests/support/full_pipe.h"

namespace pinnerformer {
namespace {

using Clock = std::chrono::steady_clock;

std::string read_some(int descriptor) {
  std::array<char, 1000> bytes{};
  const ssize_t count = ::read(descriptor, bytes.data(), bytes.size());
  return {bytes.data(), static_cast<size_t>(std::max<ssize_t>(0, count))};
}

TEST(NonblockingWrite, ReachesPipesSocketsAndFiles) {
  std::array<int, 2> ends{};
  ASSERT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
  write_without_blocking(ends[1], "text");
  EXPECT_EQ(read_some(ends[0]), "text");
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM, 0, ends.data()), 0);
  write_without_blocking(ends[1], "text");
  EXPECT_EQ(read_some(ends[0]), "text");
  std::FILE* file = std::tmpfile();
  ASSERT_NE(file, nullptr);
  const int descriptor = ::fileno(file);
  ASSERT_EQ(::write(descriptor, "one ", 4), 4);
  write_without_blocking(descriptor, "two ");
  ASSERT_EQ(::write(descriptor, "three", 5), 5);
  ::lseek(descriptor, 0, SEEK_SET);
  EXPECT_EQ(read_some(descriptor), "one two three");
  std::fclose(file);
}

TEST(NonblockingWrite, DropsTheTextWhereAPipeStaysFull) {
  const FullPipe pipe;
  const int flags = ::fcntl(pipe.writer(), F_GETFL);
  const auto begin = Clock::now();
  write_without_blocking(pipe.writer(), "text", std::chrono::milliseconds(200));
  EXPECT_GE(Clock::now() - begin, std::chrono::milliseconds(190)) << "gave a slow reader no time";
  EXPECT_LT(Clock::now() - begin, std::chrono::seconds(20));
  EXPECT_EQ(::fcntl(pipe.writer(), F_GETFL), flags);
}

TEST(NonblockingWrite, CutsATextThatIsLargerThanThePipe) {
  std::array<int, 2> ends{};
  ASSERT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
  write_without_blocking(ends[1], std::string(1 << 24, 'x'), std::chrono::milliseconds(200));
  EXPECT_EQ(read_some(ends[0]), std::string(1000, 'x'));
  for (const int end : ends) ::close(end);
}

TEST(NonblockingWrite, WaitsForASlowReader) {
  const FullPipe pipe;
  std::thread reader([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    pipe.drain();
  });
  write_without_blocking(pipe.writer(), "text", std::chrono::seconds(20));
  reader.join();
  EXPECT_EQ(read_some(pipe.reader()), "text");
}

TEST(NonblockingWrite, AClosedReaderEndsNothing) {
  std::array<int, 2> ends{};
  ASSERT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
  ::close(ends[0]);
  write_without_blocking(ends[1], "text");  // SIGPIPE would end the test program
  ::close(ends[1]);
  write_without_blocking(ends[1], "text");
}

}  // namespace
}  // namespace pinnerformer
