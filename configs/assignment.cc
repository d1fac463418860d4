// The only file that knows yaml-cpp.
#include "configs/assignment.h"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "configs/config_keys.h"
#include "configs/errors.h"
#include "configs/former_keys.h"
#include "dataloader/base/nearest_name.h"

namespace pinnerformer {
namespace {

constexpr const char* kCommandLine = "command line";
constexpr const char* kVersion = "version";
constexpr uintmax_t kLargestFile = 1 << 20;  // bytes

[[noreturn]] void throw_unknown(const std::string& key, const std::string& origin,
                                const std::vector<std::string>& known) {
  const std::string common = key_of_common_name(key.substr(key.rfind('.') + 1));
  throw ConfigError("unknown key '" + key + "' (" + origin + "); did you mean '" +
                    (common.empty() ? nearest_key(key, known) : common) + "'?");
}

[[noreturn]] void throw_section(const std::string& key, const std::string& origin) {
  std::string example;
  for (const ConfigKey& known : config_keys()) {
    if (example.empty() && known.name.starts_with(key + ".")) example = known.name;
  }
  throw ConfigError("'" + key + "' (" + origin +
                    ") is a section, not a value: set one of its keys, " + "such as " + example);
}

// yaml-cpp never ends on some texts, and takes all memory on them. This guard sees the events of a
// text before a document is built of them: a text has no more events than a few for each byte.
class EventGuard : public YAML::EventHandler {
 public:
  explicit EventGuard(size_t bytes) : left_(4 * bytes + 16) {}

  void OnDocumentStart(const YAML::Mark& mark) override { count(mark); }
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& mark, YAML::anchor_t) override { count(mark); }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override {
    throw YAML::ParserException(mark, "aliases (*name) are not supported: write the value out");
  }
  void OnScalar(const YAML::Mark& mark, const std::string&, YAML::anchor_t,
                const std::string&) override {
    count(mark);
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t,
                       YAML::EmitterStyle::value) override {
    count(mark);
  }
  void OnSequenceEnd() override {}
  void OnMapStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t,
                  YAML::EmitterStyle::value) override {
    count(mark);
  }
  void OnMapEnd() override {}

 private:
  void count(const YAML::Mark& mark) {
    if (left_ == 0) throw YAML::ParserException(mark, "no end of the document found");
    --left_;
  }

  size_t left_;
};

// The document of a text; null where it has none. Throws YAML::Exception.
YAML::Node load_document(const std::string& text, const std::string& source) {
  std::istringstream stream(text);
  YAML::Parser parser(stream);
  EventGuard guard(text.size());
  if (!parser.HandleNextDocument(guard)) return {};
  if (parser.HandleNextDocument(guard))
    throw ConfigError(source + ": expected one YAML document, found more");
  return YAML::Load(text);
}

// Walks one document and collects its assignments.
class YamlReader {
 public:
  YamlReader(const std::string& source, YamlSource whose) : source_(source), whose_(whose) {}

  // The whole document: sections, and the version of a stored one.
  void read_document(const YAML::Node& document) {
    check_version(document[kVersion]);
    read_section(document, "");
  }

  [[nodiscard]] std::vector<Assignment> take() { return std::move(assignments_); }

 private:
  // `prefix` is "" or "section.".
  void read_section(const YAML::Node& section, const std::string& prefix) {
    for (const auto& entry : section) {
      const std::string origin = source_ + ":" + std::to_string(entry.first.Mark().line + 1);
      if (!entry.first.IsScalar())
        throw ConfigError(origin + ": expected a key, found a structure");
      const std::string written = prefix + entry.first.Scalar();
      if (written == kVersion) continue;
      if (whose_ == YamlSource::kUser) refuse_former_key(written, origin);
      const std::optional<std::string> key = current_key(written);
      if (!key) continue;  // a stored key that is gone
      if (is_config_section(*key)) {
        read_subsection(entry.second, *key, origin);
      } else {
        read_value(entry.second, *key, origin);
      }
    }
  }

  void check_version(const YAML::Node& version) const {
    int64_t number = 0;
    if (!version.IsDefined()) return;
    if (!version.IsScalar() || !assign_text(&number, version.Scalar()) || number < 0)
      throw ConfigError(source_ + ": version: expected a whole number of at least 0");
    if (number > kConfigVersion)
      throw ConfigError(source_ + ": version = " + std::to_string(number) +
                        ": written by a newer pinnerformer; this one reads versions up to " +
                        std::to_string(kConfigVersion));
  }

  void read_subsection(const YAML::Node& node, const std::string& key, const std::string& origin) {
    if (node.IsMap()) {
      read_section(node, key + ".");
    } else if (!node.IsNull()) {  // a section with all its lines commented out is fine
      throw_section(key, origin);
    }
  }

  void read_value(const YAML::Node& node, const std::string& key, const std::string& origin) {
    const ConfigKey* known = find_config_key(key);
    if (known == nullptr) {
      throw_unknown(key, origin, node.IsMap() ? config_section_names() : config_key_names());
    }
    for (const Assignment& earlier : assignments_) {
      if (earlier.key == key) {
        throw ConfigError("'" + key + "' is given twice: " + earlier.origin + " and " + origin);
      }
    }
    RunConfig defaults;
    const std::string expected = ": expected " + type_name(known->member(defaults)) + ", found ";
    if (node.IsMap()) throw ConfigError(key + " (" + origin + ")" + expected + "a section");
    if (node.IsNull()) throw ConfigError(key + " (" + origin + ")" + expected + "nothing");
    assignments_.push_back(node.IsSequence() ? list_assignment(node, key, origin)
                                             : Assignment{key, node.Scalar(), origin, false, {}});
  }

  static Assignment list_assignment(const YAML::Node& node, const std::string& key,
                                    const std::string& origin) {
    Assignment assignment{key, "", origin, true, {}};
    for (const auto& word : node) {
      if (!word.IsScalar()) {
        throw ConfigError(key + " (" + origin + "): expected a list of words, found a structure");
      }
      assignment.list.push_back(word.Scalar());
    }
    assignment.value = value_text(&assignment.list);
    return assignment;
  }

  std::string source_;
  YamlSource whose_;
  std::vector<Assignment> assignments_;
};

std::vector<YamlLine> lines_of(const YAML::Node& document, const std::string& file) {
  std::vector<YamlLine> lines;
  if (!document.IsMap()) throw ConfigError(file + ": expected lines such as\n  name: value");
  for (const auto& entry : document) {
    const std::string origin = file + ":" + std::to_string(entry.first.Mark().line + 1);
    if (!entry.first.IsScalar() || !entry.second.IsScalar())
      throw ConfigError(origin + ": expected a key and one value, found a structure");
    const std::string& key = entry.first.Scalar();
    if (std::ranges::find(lines, key, &YamlLine::key) != lines.end())
      throw ConfigError("'" + key + "' (" + origin + ") is given twice");
    lines.push_back({key, entry.second.Scalar(), origin});
  }
  return lines;
}

// The first line that is indented with a tab, which yaml-cpp has no message for; "" for none.
std::string tab_advice(const std::string& text) {
  std::istringstream lines(text);
  std::string line;
  for (int64_t number = 1; std::getline(lines, line); ++number) {
    const size_t first = line.find_first_not_of(" \t");
    if (first != std::string::npos && line.substr(0, first).find('\t') != std::string::npos)
      return "; line " + std::to_string(number) + " begins with a tab: indent with blanks";
  }
  return "";
}

[[noreturn]] void throw_not_yaml(const std::string& text, const std::string& source,
                                 const YAML::Exception& error) {
  throw ConfigError(source + ":" + std::to_string(error.mark.line + 1) +
                    ": not valid YAML: " + error.msg + tab_advice(text));
}

// The text of a file that a user wrote.
std::string read_text(const std::string& file) {
  if (!std::filesystem::exists(file)) {
    throw MissingConfigError("the configuration file '" + file + "' does not exist (looked from " +
                             std::filesystem::current_path().string() + ")");
  }
  const auto refuse = [&](const std::string& why) {
    throw ConfigError("the configuration file '" + file + "' cannot be read: " + why);
  };
  if (std::filesystem::is_directory(file)) refuse("it is a directory");
  // A pipe may never end, and a device has no end.
  if (!std::filesystem::is_regular_file(file)) refuse("it is not a regular file");
  if (std::filesystem::file_size(file) > kLargestFile)
    refuse("it has " + std::to_string(std::filesystem::file_size(file)) +
           " bytes; a configuration has at most " + std::to_string(kLargestFile));
  errno = 0;
  std::ostringstream text;
  const std::ifstream stream(file, std::ios::binary);
  if (!stream) refuse(std::strerror(errno));
  text << stream.rdbuf();
  if (text.fail() && errno != 0) refuse(std::strerror(errno));  // fails on empty files, too
  return text.str();
}

}  // namespace

std::vector<Assignment> read_yaml(const std::string& text, const std::string& source,
                                  YamlSource whose) {
  try {
    const YAML::Node document = load_document(text, source);
    YamlReader reader(source, whose);
    if (document.IsNull()) return {};
    if (!document.IsMap()) {
      throw ConfigError(source +
                        ": expected sections with keys, such as\n  train:\n    steps: 200");
    }
    reader.read_document(document);
    return reader.take();
  } catch (const YAML::Exception& error) {
    throw_not_yaml(text, source, error);
  }
}

std::vector<Assignment> read_yaml_file(const std::string& file, YamlSource whose) {
  return read_yaml(read_text(file), file, whose);
}

std::vector<YamlLine> read_flat_yaml_file(const std::string& file) {
  const std::string text = read_text(file);
  try {
    return lines_of(load_document(text, file), file);
  } catch (const YAML::Exception& error) {
    throw_not_yaml(text, file, error);
  }
}

Assignment read_override(const std::string& word) {
  const size_t equals = word.find('=');
  if (equals == std::string::npos || equals == 0) {
    throw ConfigError("expected key=value, such as train.steps=200; found '" + word + "'");
  }
  Assignment assignment{word.substr(0, equals), word.substr(equals + 1), kCommandLine, false, {}};
  refuse_former_key(assignment.key, kCommandLine);
  if (is_config_section(assignment.key)) throw_section(assignment.key, kCommandLine);
  if (find_config_key(assignment.key) == nullptr) {
    throw_unknown(assignment.key, kCommandLine, config_key_names());
  }
  return assignment;
}

}  // namespace pinnerformer
