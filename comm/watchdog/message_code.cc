#include "comm/watchdog/message_code.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <sys/random.h>

#include "comm/errors.h"

namespace pinnerformer {

MessageKey random_message_key() {
  MessageKey key{};
  if (::getrandom(key.data(), key.size(), 0) != std::ssize(key))
    throw CommError("the system gave no random bytes for the key of the heartbeat");
  return key;
}

MessageCode message_code(const MessageKey& key, std::span<const std::byte> message) {
  MessageCode code{};
  unsigned int size = 0;
  if (::HMAC(::EVP_sha256(), key.data(), static_cast<int>(key.size()),
             reinterpret_cast<const unsigned char*>(message.data()), message.size(), code.data(),
             &size) == nullptr ||
      size != code.size())
    throw CommError("OpenSSL cannot compute HMAC-SHA-256");
  return code;
}

bool equal_codes(const MessageCode& a, const MessageCode& b) {
  return ::CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

}  // namespace pinnerformer
