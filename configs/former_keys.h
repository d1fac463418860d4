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

// What became of a key or of a section.
struct FormerKey {
  std::string_view name;
  std::string_view now;     // its name today; "" where it is gone
  std::string_view advice;  // for users of a key that is gone
};

// Also finds a key of a former section. nullptr for a name that never was one.
[[nodiscard]] const FormerKey* find_former_key(std::string_view key);
// The name of `key` today: `key` itself where it was not renamed, nothing where it is gone.
[[nodiscard]] std::optional<std::string> current_key(const std::string& key);
// Throws ConfigError for a former key, naming the one of today.
void refuse_former_key(const std::string& key, const std::string& origin);

}  // namespace pinnerformer
