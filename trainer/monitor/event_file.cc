#include "trainer/monitor/event_file.h"

#include <bit>
#include <boost/crc.hpp>
#include <cstring>
#include <optional>

namespace pinnerformer {
namespace {

static_assert(std::endian::native == std::endian::little, "numbers are copied as they are");

template <class Number>
void append_number(std::string& bytes, Number number) {
  bytes.append(reinterpret_cast<const char*>(&number), sizeof number);
}

template <class Number>
Number number_at(std::string_view bytes, size_t offset) {
  Number number{};
  std::memcpy(&number, bytes.data() + offset, sizeof number);
  return number;
}

// A message in the wire format of protocol buffers. A field is a key, number * 8 + kind, and a
// value of that kind.
class WireMessage {
 public:
  WireMessage& integer(int field, int64_t value) {
    key(field, 0);
    varint(static_cast<uint64_t>(value));
    return *this;
  }
  WireMessage& float64(int field, double value) {
    key(field, 1);
    append_number(bytes_, value);
    return *this;
  }
  WireMessage& float32(int field, float value) {
    key(field, 5);
    append_number(bytes_, value);
    return *this;
  }
  WireMessage& text(int field, std::string_view value) {
    key(field, 2);
    varint(value.size());
    bytes_ += value;
    return *this;
  }
  WireMessage& message(int field, const WireMessage& value) { return text(field, value.bytes_); }
  [[nodiscard]] const std::string& bytes() const { return bytes_; }

 private:
  void key(int field, int kind) { varint(static_cast<uint64_t>(field * 8 + kind)); }
  void varint(uint64_t value) {
    for (; value >= 0x80; value >>= 7) bytes_ += static_cast<char>(value | 0x80);
    bytes_ += static_cast<char>(value);
  }

  std::string bytes_;
};

// Every event begins with its time and its step, also where the step is zero: step_of() reads them
// there.
WireMessage event_of(double time, int64_t step) {
  WireMessage event;
  event.float64(1, time).integer(2, step);
  return event;
}

// Nothing where the event does not begin as event_of() does.
std::optional<int64_t> step_of(std::string_view event) {
  constexpr size_t kStep = 9;  // behind the key and the eight bytes of the time
  if (event.size() <= kStep || event[0] != 0x09 || event[kStep] != 0x10) return std::nullopt;
  uint64_t step = 0;
  for (size_t i = kStep + 1, shift = 0; i < event.size() && shift < 64; ++i, shift += 7) {
    const auto byte = static_cast<uint8_t>(event[i]);
    step |= uint64_t{byte & 0x7fU} << shift;
    if (byte < 0x80) return static_cast<int64_t>(step);
  }
  return std::nullopt;
}

// CRC-32C, rotated and shifted by a constant: a checksum of bytes that hold checksums is no good.
uint32_t masked_crc(std::string_view bytes) {
  boost::crc_optimal<32, 0x1EDC6F41, 0xFFFFFFFF, 0xFFFFFFFF, true, true> crc;
  crc.process_bytes(bytes.data(), bytes.size());
  return std::rotr(static_cast<uint32_t>(crc.checksum()), 15) + 0xa282ead8U;
}

constexpr size_t kHead = sizeof(uint64_t) + sizeof(uint32_t);  // length and its checksum
constexpr size_t kTail = sizeof(uint32_t);                     // checksum of the event

// The event at the beginning of `content`; nothing where there is no whole one.
std::optional<std::string_view> first_event(std::string_view content) {
  if (content.size() < kHead + kTail) return std::nullopt;
  const auto length = number_at<uint64_t>(content, 0);
  if (number_at<uint32_t>(content, sizeof length) != masked_crc(content.substr(0, sizeof length)) ||
      length > content.size() - kHead - kTail)
    return std::nullopt;
  const std::string_view event = content.substr(kHead, length);
  if (number_at<uint32_t>(content, kHead + length) != masked_crc(event)) return std::nullopt;
  return event;
}

}  // namespace

std::string version_event(double time) {
  return event_of(time, 0).text(3, "brain.Event:2").bytes();
}

std::string start_event(double time, int64_t step) {
  constexpr int64_t kStart = 1;
  return event_of(time, step).message(7, WireMessage().integer(1, kStart)).bytes();
}

std::string scalars_event(double time, int64_t step,
                          const std::vector<std::pair<std::string, double>>& values) {
  WireMessage summary;
  for (const auto& [tag, value] : values)
    summary.message(1, WireMessage().text(1, tag).float32(2, static_cast<float>(value)));
  return event_of(time, step).message(5, summary).bytes();
}

std::string text_event(double time, int64_t step, const std::string& tag,
                       const std::string& markdown) {
  constexpr int64_t kString = 7;
  const WireMessage one_element = WireMessage().message(2, WireMessage().integer(1, 1));
  const WireMessage tensor =
      WireMessage().integer(1, kString).message(2, one_element).text(8, markdown);
  const WireMessage plugin = WireMessage().message(1, WireMessage().text(1, "text"));
  const WireMessage value = WireMessage().text(1, tag).message(8, tensor).message(9, plugin);
  return event_of(time, step).message(5, WireMessage().message(1, value)).bytes();
}

std::string framed(std::string_view event) {
  std::string bytes;
  append_number(bytes, uint64_t{event.size()});
  append_number(bytes, masked_crc(bytes));
  bytes += event;
  append_number(bytes, masked_crc(event));
  return bytes;
}

EventList events_up_to(std::string_view content, int64_t last_step) {
  EventList kept;
  while (const auto event = first_event(content)) {
    const auto step = step_of(*event);
    if (!step) break;
    const size_t bytes = kHead + event->size() + kTail;
    if (*step <= last_step) {
      kept.content += content.substr(0, bytes);
      ++kept.count;
    }
    content.remove_prefix(bytes);
  }
  return kept;
}

}  // namespace pinnerformer
