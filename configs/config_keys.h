// The table of all configuration keys. Reading, writing, checking, describing and comparing
// configurations are loops over it, so a new option needs one new line here and nothing else.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "configs/run_config.h"
#include "configs/typed_value.h"
#include "configs/value_rule.h"

namespace pinnerformer {

struct ConfigKey {
  std::string name;  // "model.hidden"
  std::string help;  // one line; the comment beside the option says more
  ValueRef (*member)(RunConfig& config);
  ValueRule rule;
};

// Keys of one section stand together, subsections after the section's own keys.
[[nodiscard]] const std::vector<ConfigKey>& config_keys();
// nullptr where there is no such key.
[[nodiscard]] const ConfigKey* find_config_key(std::string_view name);
// Whether the value of this key is a path, which says where a run is and not what it does.
[[nodiscard]] bool is_path_key(std::string_view name);
// Whether some key starts with "name.".
[[nodiscard]] bool is_config_section(std::string_view name);
// The key that people mean by a common name of other programs, such as "lr" or "batch_size"; ""
// for any other name.
[[nodiscard]] std::string key_of_common_name(std::string_view name);
// All key names and, for messages about a misspelt section, all section names.
[[nodiscard]] std::vector<std::string> config_key_names();
[[nodiscard]] std::vector<std::string> config_section_names();

}  // namespace pinnerformer
