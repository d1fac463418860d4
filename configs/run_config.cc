// Defaults <- YAML <- key=value, all by loops over the key table.
#include "configs/run_config.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>

#include "configs/assignment.h"
#include "configs/config_checks.h"
#include "configs/config_keys.h"
#include "configs/errors.h"
#include "configs/former_keys.h"
#include "dataloader/base/paths.h"

namespace pinnerformer {
namespace {

using Origins = std::map<std::string, std::string>;

struct LoadedConfig {
  RunConfig config;
  Origins origins;  // of the keys that were set
};

std::string expectation(const ConfigKey& key, const ValueRef& value) {
  const bool number =
      std::holds_alternative<int64_t*>(value) || std::holds_alternative<double*>(value);
  if (key.rule.expected.empty()) return type_name(value);
  return number ? type_name(value) + " " + key.rule.expected : key.rule.expected;
}

// Products of two counts must fit into 64 bits.
constexpr int64_t kLargestCount = 1'000'000'000;

bool is_too_large(const ConfigKey& key, const ValueRef& value) {
  if (const auto* const* fraction = std::get_if<double*>(&value))
    return std::abs(**fraction) > static_cast<double>(kLargestCount);
  const auto* number = std::get_if<int64_t*>(&value);
  return number != nullptr && **number > kLargestCount && key.name != "run.seed";
}

// A shell expands ~ at the start of a word only: "run.directory=~/run" would make a directory
// called ~.
void refuse_home_directory(const Assignment& assignment) {
  if (is_path_key(assignment.key) && is_from_home(assignment.value))
    throw ConfigError(assignment.key + " = " + assignment.value + " (" + assignment.origin +
                      "): " + (assignment.value[0] == '~' ? "~ is" : "variables are") +
                      " not expanded here; write the whole path");
}

std::vector<Assignment> read_overrides(const std::vector<std::string>& words) {
  std::vector<Assignment> assignments;
  std::ranges::transform(words, std::back_inserter(assignments), read_override);
  std::ranges::for_each(assignments, refuse_home_directory);
  return assignments;
}

bool assign(const ValueRef& value, const Assignment& assignment) {
  return assignment.is_list ? assign_list(value, assignment.list)
                            : assign_text(value, assignment.value);
}

void apply(LoadedConfig& loaded, const Assignment& assignment) {
  const ConfigKey& key = *find_config_key(assignment.key);
  const ValueRef value = key.member(loaded.config);
  const auto refuse = [&](const std::string& expected) {
    throw ConfigError(key.name + " = " + assignment.value + " (" + assignment.origin +
                      "): expected " + expected);
  };
  if (!assign(value, assignment) || !key.rule.holds(value)) refuse(expectation(key, value));
  if (is_too_large(key, value))
    refuse(type_name(value) + " of at most " + std::to_string(kLargestCount));
  loaded.origins[key.name] = assignment.origin;
}

constexpr const char* kDefault = "default";
constexpr const char* kStored = "stored configuration";

std::string origin_of(const Origins& origins, const std::string& key, const char* unset) {
  const auto found = origins.find(key);
  return found == origins.end() ? unset : found->second;
}

// Applies in order, so that a later assignment wins, then looks for contradictions. `base_origin`
// says where the values of `base` came from.
LoadedConfig merge(RunConfig base, const char* base_origin,
                   const std::vector<Assignment>& assignments) {
  LoadedConfig loaded{std::move(base), {}};
  for (const Assignment& assignment : assignments) apply(loaded, assignment);
  check_contradictions(loaded.config, [&](const std::string& key) {
    return key + " = " + value_text(find_config_key(key)->member(loaded.config)) + " (" +
           origin_of(loaded.origins, key, base_origin) + ")";
  });
  return loaded;
}

LoadedConfig load(const std::string& file, YamlSource whose,
                  const std::vector<std::string>& overrides) {
  std::vector<Assignment> assignments;
  if (!file.empty()) assignments = read_yaml_file(file, whose);
  if (whose == YamlSource::kUser) std::ranges::for_each(assignments, refuse_home_directory);
  std::ranges::move(read_overrides(overrides), std::back_inserter(assignments));
  return merge({}, kDefault, assignments);
}

std::vector<std::string> sections_of(const std::string& key) {
  std::vector<std::string> sections;
  size_t start = 0;
  for (size_t dot = key.find('.'); dot != std::string::npos; dot = key.find('.', start)) {
    sections.push_back(key.substr(start, dot - start));
    start = dot + 1;
  }
  return sections;
}

// `comment` gives what stands behind a value; "" for nothing. Takes a copy because the table hands
// out references to members of a mutable configuration.
std::string render(RunConfig config, const std::function<std::string(const ConfigKey&)>& comment) {
  std::string text = "version: " + std::to_string(kConfigVersion) + "\n";
  std::vector<std::string> open;
  for (const ConfigKey& key : config_keys()) {
    const std::vector<std::string> sections = sections_of(key.name);
    const auto common = std::ranges::mismatch(sections, open).in1 - sections.begin();
    for (auto depth = static_cast<size_t>(common); depth < sections.size(); ++depth) {
      text += std::string(2 * depth, ' ') + sections[depth] + ":\n";
    }
    open = sections;
    std::string line = std::string(2 * sections.size(), ' ') +
                       key.name.substr(key.name.rfind('.') + 1) + ": " +
                       value_text(key.member(config));
    const std::string remark = comment(key);
    constexpr size_t kCommentColumn = 32;
    if (!remark.empty() && line.size() < kCommentColumn) line.resize(kCommentColumn, ' ');
    text += line + (remark.empty() ? "" : "  # " + remark) + "\n";
  }
  return text;
}

// " (one of fp32, bf16)"; "" for a key without a fixed set of values.
std::string names_of(const ConfigKey& key) {
  RunConfig defaults;
  const ValueRef value = key.member(defaults);
  return std::holds_alternative<ChoiceRef>(value) ? " (" + type_name(value) + ")" : "";
}

std::string describe(const LoadedConfig& loaded) {
  return render(loaded.config, [&](const ConfigKey& key) {
    return origin_of(loaded.origins, key.name, kDefault) + " - " + key.help + names_of(key);
  });
}

}  // namespace

RunConfig load_config(const std::string& file, const std::vector<std::string>& overrides) {
  return load(file, YamlSource::kUser, overrides).config;
}

RunConfig parse_config(const std::string& yaml) {
  return merge({}, kDefault, read_yaml(yaml, kStored, YamlSource::kStored)).config;
}

RunConfig override_config(const RunConfig& config, const std::vector<std::string>& overrides) {
  return merge(config, kStored, read_overrides(overrides)).config;
}

std::string to_yaml(const RunConfig& config) {
  return render(config, [](const ConfigKey&) { return std::string(); });
}

std::string describe_config(const std::string& file, const std::vector<std::string>& overrides) {
  return describe(load(file, YamlSource::kUser, overrides));
}

std::string describe_stored_config(const std::string& file,
                                   const std::vector<std::string>& overrides) {
  return describe(load(file, YamlSource::kStored, overrides));
}

std::vector<std::string> config_differences(const RunConfig& here, const RunConfig& there) {
  RunConfig left = here;
  RunConfig right = there;
  std::vector<std::string> differences;
  for (const ConfigKey& key : config_keys()) {
    const std::string mine = value_text(key.member(left));
    const std::string other = value_text(key.member(right));
    if (mine != other) differences.push_back(key.name + ": " + mine + " here, " + other + " there");
  }
  return differences;
}

}  // namespace pinnerformer
