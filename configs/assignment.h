// The keys and values of a YAML text or a key=value word, as text, with their origin. Checks only
// that the keys exist.
#pragma once
#include <string>
#include <vector>

namespace pinnerformer {

struct Assignment {
  std::string key;     // a known one
  std::string value;   // the value as the user wrote it; a YAML list as "[a, b]"
  std::string origin;  // "configs/quickstart.yaml:7" or "command line"
  bool is_list = false;
  std::vector<std::string> list;  // the words of a YAML list
};

// The author of a YAML text. A former key is an error in a text of a user; it is translated in a
// configuration that a run or a checkpoint stored.
enum class YamlSource { kUser, kStored };

// Flattens nested sections to dotted keys. `source` names the text in messages. Throws ConfigError
// for a text that is not YAML, an unknown key (naming the nearest known one), a repeated one or a
// version that is newer than this program.
[[nodiscard]] std::vector<Assignment> read_yaml(const std::string& text, const std::string& source,
                                                YamlSource whose);
// The same for a file. Throws MissingConfigError where there is none.
[[nodiscard]] std::vector<Assignment> read_yaml_file(const std::string& file, YamlSource whose);
// A line `key: value` of a YAML file without sections, which is no configuration.
struct YamlLine {
  std::string key, value;
  std::string origin;  // "machine.yaml:3"
};
// Throws ConfigError for a text that is no such YAML or repeats a key; MissingConfigError where
// there is no file.
[[nodiscard]] std::vector<YamlLine> read_flat_yaml_file(const std::string& file);
// One word of the command line, "train.steps=200".
[[nodiscard]] Assignment read_override(const std::string& word);

}  // namespace pinnerformer
