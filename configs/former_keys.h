// Keys of earlier versions of the configuration, and the version that a stored one carries.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace pinnerformer {

// Version of the text that to_yaml() writes, in its first line. A stored text without one is of
// version 0: it may hold former keys.
inline constexpr int64_t kConfigVersion = 1;

// A key or a section of an earlier version.
struct FormerKey {
  std::string_view name;
  std::string_view now;     // its present name; "" where it was removed
  std::string_view advice;  // for users of a removed key
};

// Also finds a key of a former section. nullptr for any other name.
[[nodiscard]] const FormerKey* find_former_key(std::string_view key);
// The present name of `key`: `key` itself where it was not renamed, nothing where it was removed.
[[nodiscard]] std::optional<std::string> current_key(const std::string& key);
// Throws ConfigError for a former key, naming the present one.
void refuse_former_key(const std::string& key, const std::string& origin);

}  // namespace pinnerformer
