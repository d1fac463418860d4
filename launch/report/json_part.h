// Reading JSON that may come from anywhere: every entry is looked at before it is believed, and a
// wrong one is named by its place.
#pragma once
#include <cstdint>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <string>

namespace pinnerformer {

// A part of a file with its place in it ("results[0].method"; "" for the whole). All throw
// DataError naming file, place and what was expected.
struct JsonPart {
  const nlohmann::json& value;
  const std::string& path;
  std::string place;

  [[noreturn]] void fail(const std::string& expected) const;
  [[nodiscard]] bool has(const char* key) const;  // and it is not null
  [[nodiscard]] JsonPart at(const char* key) const;
  [[nodiscard]] std::string as_text() const;
  [[nodiscard]] int64_t as_count() const;  // a whole number of at least 0
  [[nodiscard]] double as_number() const;  // null reads as NaN
  [[nodiscard]] bool as_bool() const;
  [[nodiscard]] std::string text_or(const char* key, const char* other = "") const;
  [[nodiscard]] double number_or_nan(const char* key) const;
  [[nodiscard]] int64_t count_or_0(const char* key) const;
};

// Calls read(element) for each element of a list of at most `most`.
void read_list(const JsonPart& list, size_t most,
               const std::function<void(const JsonPart& element)>& read);

}  // namespace pinnerformer
