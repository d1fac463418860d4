#include "launch/report/json_part.h"

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "dataloader/base/errors.h"

namespace pinnerformer {

void JsonPart::fail(const std::string& expected) const {
  throw DataError(path + ": " + (place.empty() ? "the whole" : place) + " should be " + expected);
}

bool JsonPart::has(const char* key) const {
  return value.is_object() && value.contains(key) && !value.at(key).is_null();
}

JsonPart JsonPart::at(const char* key) const {
  if (!value.is_object()) fail("an object");
  const std::string name = place.empty() ? key : place + "." + key;
  if (!value.contains(key)) throw DataError(path + " has no " + name);
  return {value.at(key), path, name};
}

std::string JsonPart::as_text() const {
  if (!value.is_string()) fail("a text");
  return value.get<std::string>();
}

int64_t JsonPart::as_count() const {
  constexpr double kMost = 9e15;
  const double number = value.is_number() ? value.get<double>() : -1;
  if (!(number >= 0 && number <= kMost && number == std::floor(number)))
    fail("a whole number of at least 0");
  return static_cast<int64_t>(number);
}

double JsonPart::as_number() const {
  if (value.is_null()) return std::numeric_limits<double>::quiet_NaN();
  if (!value.is_number()) fail("a number or null");
  return value.get<double>();
}

bool JsonPart::as_bool() const {
  if (!value.is_boolean()) fail("true or false");
  return value.get<bool>();
}

std::string JsonPart::text_or(const char* key, const char* other) const {
  return has(key) ? at(key).as_text() : other;
}

double JsonPart::number_or_nan(const char* key) const {
  return has(key) ? at(key).as_number() : std::numeric_limits<double>::quiet_NaN();
}

int64_t JsonPart::count_or_0(const char* key) const { return has(key) ? at(key).as_count() : 0; }

void read_list(const JsonPart& list, size_t most,
               const std::function<void(const JsonPart& element)>& read) {
  if (!list.value.is_array()) list.fail("a list");
  if (list.value.size() > most)
    list.fail("a list of at most " + std::to_string(most) + " entries, and has " +
              std::to_string(list.value.size()));
  for (size_t i = 0; i < list.value.size(); ++i)
    read(JsonPart{list.value[i], list.path, list.place + "[" + std::to_string(i) + "]"});
}

}  // namespace pinnerformer
