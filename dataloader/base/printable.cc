#include "dataloader/base/printable.h"

#include <algorithm>
#include <cstdint>

namespace pinnerformer {
namespace {

struct Letter {
  size_t bytes = 1;
  uint32_t code = 0;
  bool valid = false;
};

// The UTF-8 sequence at the start of `text`: shortest form, no surrogates, up to U+10FFFF.
Letter first_letter(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  if (byte(0) < 0x80) return {1, byte(0), true};
  const size_t length = byte(0) >= 0xf0 ? 4 : byte(0) >= 0xe0 ? 3 : byte(0) >= 0xc0 ? 2 : 0;
  if (length == 0 || byte(0) > 0xf4 || text.size() < length) return {};
  uint32_t code = byte(0) & (0x7fU >> length);
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return {};
    code = code << 6 | (byte(i) & 0x3f);
  }
  const uint32_t least = length == 2 ? 0x80 : length == 3 ? 0x800 : 0x10000;
  const bool surrogate = code >= 0xd800 && code < 0xe000;
  return {length, code, code >= least && !surrogate && code <= 0x10ffff};
}

bool is_control(uint32_t code) {
  return code < 0x20 || (code >= 0x7f && code < 0xa0) ||  // C0, DEL, C1
         code == 0x200e || code == 0x200f || (code >= 0x2028 && code <= 0x202e) ||
         (code >= 0x2066 && code <= 0x2069) || code == 0xfeff;
}

std::string escaped(std::string_view text, std::string_view kept) {
  constexpr const char* kDigits = "0123456789abcdef";
  std::string safe;
  safe.reserve(text.size());
  while (!text.empty()) {
    Letter letter = first_letter(text);
    if (!letter.valid) letter.bytes = 1;
    const std::string_view bytes = text.substr(0, letter.bytes);
    text.remove_prefix(letter.bytes);
    if (letter.valid && (!is_control(letter.code) || kept.find(bytes[0]) != kept.npos)) {
      safe += bytes;
      continue;
    }
    for (const char byte : bytes)
      safe += {'\\', 'x', kDigits[static_cast<unsigned char>(byte) >> 4], kDigits[byte & 15]};
  }
  return safe;
}

}  // namespace

bool is_utf8(std::string_view text) {
  while (!text.empty()) {
    const Letter letter = first_letter(text);
    if (!letter.valid) return false;
    text.remove_prefix(letter.bytes);
  }
  return true;
}

std::string printable(std::string_view text, size_t most_bytes) {
  return escaped(text.substr(0, most_bytes), "") + (text.size() > most_bytes ? "..." : "");
}

std::string printable_lines(std::string_view text) { return escaped(text, "\n\t"); }

}  // namespace pinnerformer
