#include "trainer/checkpoint/bounded_json.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "dataloader/base/errors.h"
#include "dataloader/base/file.h"
#include "trainer/errors.h"

namespace pinnerformer {
namespace {

using nlohmann::json;

constexpr int64_t kMostNumber = int64_t{1} << 53;  // exact in every JSON reader
constexpr size_t kMostShown = 80;

std::string cut(std::string text) {
  if (text.size() > kMostShown) text = text.substr(0, kMostShown) + "...";
  return text;
}

const json& entry_of(const json& object, const char* key, const std::string& path) {
  if (!object.is_object() || !object.contains(key))
    throw CheckpointError(path + ": has no entry \"" + key + "\"");
  return object.at(key);
}

}  // namespace

std::string read_bounded_text(const std::string& path, int64_t most_bytes) try {
  return read_whole_file(path, most_bytes);
} catch (const MissingInputError&) {
  throw CheckpointError(path + " is missing");
} catch (const DataError& error) {
  throw CheckpointError(error.what());
}

json parse_bounded_json(const std::string& text, int most_depth, const std::string& path) try {
  const auto limit_depth = [&](int depth, json::parse_event_t event, const json&) {
    const bool opens =
        event == json::parse_event_t::object_start || event == json::parse_event_t::array_start;
    if (opens && depth >= most_depth)
      throw CheckpointError(path + ": its JSON is nested more than " + std::to_string(most_depth) +
                            " levels deep");
    return true;
  };
  return json::parse(text, limit_depth);
} catch (const json::parse_error& error) {
  throw CheckpointError(path + " is damaged: not JSON at byte " + std::to_string(error.byte));
} catch (const json::exception&) {
  throw CheckpointError(path + " is damaged: not JSON, or a number out of range");
}

std::string printable_json(const json& value) {
  if (value.is_object()) return "an object";
  if (value.is_array()) return "an array";
  return cut(value.dump(-1, ' ', /*ensure_ascii=*/true, json::error_handler_t::replace));
}

int64_t as_whole_number(const json& value, const std::string& name, int64_t least,
                        const std::string& path) {
  // A float would be rounded, and an unsigned number above 2^63 would become negative.
  const bool whole = value.is_number_unsigned()
                         ? value.get<uint64_t>() <= static_cast<uint64_t>(kMostNumber)
                         : value.is_number_integer();
  if (!whole || value.get<int64_t>() < least)
    throw CheckpointError(path + ": " + name + " is " + printable_json(value) +
                          ", expected a whole number from " + std::to_string(least) + " to 2^53");
  return value.get<int64_t>();
}

int64_t whole_number(const json& object, const char* key, int64_t least, const std::string& path) {
  return as_whole_number(entry_of(object, key, path), std::string("\"") + key + "\"", least, path);
}

double number_entry(const json& object, const char* key, const std::string& path) {
  const json& value = entry_of(object, key, path);
  if (!value.is_number())
    throw CheckpointError(path + ": \"" + key + "\" is " + printable_json(value) +
                          ", expected a number");
  return value.get<double>();
}

std::string text_entry(const json& object, const char* key, const std::string& path) {
  const json& value = entry_of(object, key, path);
  if (!value.is_string())
    throw CheckpointError(path + ": \"" + key + "\" is " + printable_json(value) +
                          ", expected a string");
  return value.get<std::string>();
}

json digest_json(const FileDigest& digest) {
  return {{"bytes", digest.bytes}, {"xxh3", digest.xxh3}};
}

FileDigest digest_of(const json& object, const std::string& path) {
  return {whole_number(object, "bytes", 0, path), text_entry(object, "xxh3", path)};
}

}  // namespace pinnerformer
