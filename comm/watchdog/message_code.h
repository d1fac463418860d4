// Message authentication codes: HMAC-SHA-256 (RFC 2104), computed by OpenSSL. Who does not know the
// key can neither make the code of a message nor change a message that has one.
#pragma once
#include <array>
#include <cstddef>
#include <span>

namespace pinnerformer {

using MessageKey = std::array<unsigned char, 32>;
using MessageCode = std::array<unsigned char, 32>;

// From the system's generator of random numbers. Throws CommError where it fails.
[[nodiscard]] MessageKey random_message_key();

[[nodiscard]] MessageCode message_code(const MessageKey& key, std::span<const std::byte> message);

// Takes the same time for all codes, so that time does not tell how much of a guess is right.
[[nodiscard]] bool equal_codes(const MessageCode& a, const MessageCode& b);

}  // namespace pinnerformer
