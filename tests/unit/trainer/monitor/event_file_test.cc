// The bytes of TensorBoard's event files. tests/e2e/watch_test.py reads whole files with
// TensorBoard.
#include "trainer/monitor/event_file.h"

#include <gtest/gtest.h>

namespace pinnerformer {
namespace {

using Bytes = std::string;

Bytes bytes_of(std::initializer_list<int> values) {
  Bytes bytes;
  for (const int value : values) bytes += static_cast<char>(value);
  return bytes;
}

// The double 1.0, as it stands in a file.
const Bytes kOne = bytes_of({0, 0, 0, 0, 0, 0, 0xf0, 0x3f});

TEST(EventFile, ScalarIsEncodedAsTheMessageDefinitionsSay) {
  const Bytes value = bytes_of({0x0a, 1, 'a', 0x15, 0, 0, 0x20, 0x40});  // tag "a", float 2.5
  EXPECT_EQ(scalars_event(1, 300, {{"a", 2.5}}),
            bytes_of({0x09}) + kOne + bytes_of({0x10, 0xac, 0x02}) +  // 300 in base 128
                bytes_of({0x2a, 10, 0x0a, 8}) + value);
}

TEST(EventFile, StartAndVersionAreEncodedAsTheMessageDefinitionsSay) {
  EXPECT_EQ(start_event(1, 5), bytes_of({0x09}) + kOne + bytes_of({0x10, 5, 0x3a, 2, 0x08, 1}));
  EXPECT_EQ(version_event(1),
            bytes_of({0x09}) + kOne + bytes_of({0x10, 0, 0x1a, 13}) + "brain.Event:2");
}

// RFC 3720 gives 0xe3069283 for "123456789".
TEST(EventFile, FrameHoldsLengthAndMaskedChecksums) {
  const Bytes frame = framed("123456789");
  const uint32_t masked = ((0xe3069283U >> 15) | (0xe3069283U << 17)) + 0xa282ead8U;
  ASSERT_EQ(frame.size(), 8U + 4 + 9 + 4);
  EXPECT_EQ(frame.substr(0, 8), bytes_of({9, 0, 0, 0, 0, 0, 0, 0}));
  EXPECT_EQ(frame.substr(12, 9), "123456789");
  for (size_t i = 0; i < 4; ++i)
    EXPECT_EQ(static_cast<uint8_t>(frame[21 + i]), (masked >> (8 * i)) & 0xff) << i;
}

Bytes step(int64_t number) { return framed(scalars_event(1, number, {{"loss", 1.5}})); }

TEST(EventFile, EventsAfterTheLastStepAreLeftOut) {
  const Bytes file = framed(version_event(1)) + step(10) + step(20) + step(30) + step(25);
  const EventList kept = events_up_to(file, 20);
  EXPECT_EQ(kept.content, framed(version_event(1)) + step(10) + step(20));
  EXPECT_EQ(kept.count, 3);
  EXPECT_EQ(events_up_to(file, INT64_MAX).content, file);
  EXPECT_EQ(events_up_to(file, 0).count, 1);
}

TEST(EventFile, EveryCutKeepsTheWholeEventsBeforeIt) {
  const Bytes file = framed(version_event(1)) + step(10) + step(20);
  const size_t first = framed(version_event(1)).size(), each = step(10).size();
  for (size_t size = 0; size < file.size(); ++size) {
    const size_t whole = size < first ? 0 : first + (size - first) / each * each;
    EXPECT_EQ(events_up_to(file.substr(0, size), 100).content.size(), whole) << size;
  }
}

TEST(EventFile, EveryDamagedByteEndsTheList) {
  const Bytes file = framed(version_event(1)) + step(10);
  const size_t first = framed(version_event(1)).size();
  for (size_t i = 0; i < file.size(); ++i) {
    Bytes damaged = file;
    damaged[i] = static_cast<char>(damaged[i] ^ 0x40);
    EXPECT_EQ(events_up_to(damaged, 100).count, i < first ? 0 : 1) << i;
  }
}

TEST(EventFile, ALengthThatExceedsTheFileIsNotBelieved) {
  const Bytes terabyte = bytes_of({0, 0, 0, 0, 0, 1, 0, 0});
  for (const Bytes& length : {terabyte, Bytes(8, '\xff')}) {
    const Bytes frame = framed(length);  // ends with the checksum of these bytes
    EXPECT_EQ(events_up_to(length + frame.substr(frame.size() - 4) + step(10), 100).count, 0);
  }
}

TEST(EventFile, AnEventOfAnotherFormEndsTheList) {
  const Bytes no_step = bytes_of({0x09}) + kOne + bytes_of({0x1a, 1, 'x'});
  EXPECT_EQ(events_up_to(step(10) + framed(no_step) + step(20), 100).count, 1);
  const Bytes endless_step = bytes_of({0x09}) + kOne + Bytes("\x10") + Bytes(20, '\xff');
  EXPECT_EQ(events_up_to(framed(endless_step), 100).count, 0);
  EXPECT_EQ(events_up_to(framed(""), 100).count, 0);
}

}  // namespace
}  // namespace pinnerformer
