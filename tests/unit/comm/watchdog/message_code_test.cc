// The code of a message against the published example, and what changes it.
#include "comm/watchdog/message_code.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string_view>

namespace pinnerformer {
namespace {

MessageCode code_of_text(const MessageKey& key, std::string_view text) {
  return message_code(key, std::as_bytes(std::span(text)));
}

// RFC 4231, test case 1; HMAC pads its key of 20 bytes with zeros.
TEST(MessageCode, IsHmacSha256) {
  MessageKey key{};
  std::fill_n(key.begin(), 20, static_cast<unsigned char>(0x0b));
  EXPECT_EQ(code_of_text(key, "Hi There"),
            (MessageCode{0xb0, 0x34, 0x4c, 0x61, 0xd8, 0xdb, 0x38, 0x53, 0x5c, 0xa8, 0xaf,
                         0xce, 0xaf, 0x0b, 0xf1, 0x2b, 0x88, 0x1d, 0xc2, 0x00, 0xc9, 0x83,
                         0x3d, 0xa7, 0x26, 0xe9, 0x37, 0x6c, 0x2e, 0x32, 0xcf, 0xf7}));
}

TEST(MessageCode, DependsOnKeyAndText) {
  const MessageKey key = random_message_key(), other = random_message_key();
  EXPECT_NE(key, other);
  EXPECT_TRUE(equal_codes(code_of_text(key, "a"), code_of_text(key, "a")));
  EXPECT_FALSE(equal_codes(code_of_text(key, "a"), code_of_text(key, "b")));
  EXPECT_FALSE(equal_codes(code_of_text(key, "a"), code_of_text(other, "a")));
}

}  // namespace
}  // namespace pinnerformer
