// Boost.Program_options splits the line into options and words; values are converted by the same
// code as those of the configuration, so that both give the same messages.
#include "launch/cli/cli.h"

#include <algorithm>
#include <array>
#include <boost/program_options.hpp>
#include <filesystem>
#include <string_view>
#include <utility>

#include "configs/config_keys.h"
#include "dataloader/base/nearest_name.h"
#include "dataloader/base/paths.h"
#include "launch/cli/json_file.h"
#include "launch/cli/launcher_rank.h"

namespace pinnerformer {
namespace {

namespace po = boost::program_options;

// Long options only, "--name VALUE" or "--name=VALUE", no guessing of abbreviations: a new option
// must not change what an old line means.
constexpr int kStyle = po::command_line_style::allow_long |
                       po::command_line_style::long_allow_adjacent |
                       po::command_line_style::long_allow_next;

// Placeholder of further words that are settings.
constexpr const char* kSettings = "key=value";

bool is_flag(const ValueRef& value) { return std::holds_alternative<bool*>(value); }

// " (default 20)"; nothing for values that stand for "not given".
std::string default_text(const ValueRef& value) {
  const std::string text = value_text(value);
  const bool unset = is_flag(value) || text == "\"\"" || text == "[]";
  return unset ? "" : " (default " + text + ")";
}

// The configuration key that was written like an option, "" where none was: --steps,
// --train.steps=9.
std::string key_meant_by(const std::string& word) {
  std::string name = word.substr(0, word.find('='));
  name.erase(0, name.find_first_not_of('-'));
  std::ranges::replace(name, '-', '_');
  const std::string common = key_of_common_name(name);
  if (!common.empty()) return common;
  const std::string key = nearest_key(name, config_key_names());
  return key == name || key.ends_with("." + name) ? key : "";
}

bool is_path(const std::string& placeholder) {
  return placeholder.find("FILE") != std::string::npos ||
         placeholder.find("DIR") != std::string::npos;
}

// A shell expands ~ at the start of a word only: "--out=~/x" and "key=~/x" would make a directory
// called ~.
std::string not_expanded(const std::string& path) {
  return path + ": " + (path[0] == '~' ? "~" : "the variable") +
         " was not expanded by the shell; write the whole path";
}

// What options of this program are called elsewhere.
constexpr auto kOtherNames = std::to_array<std::pair<std::string_view, std::string_view>>({
    {"--cols", "--columns"},
    {"--output", "--out"},
    {"-o", "--out"},
    {"--sep", "--delimiter"},
    {"--separator", "--delimiter"},
    {"--input", "--events"},
    {"--file", "--events"},
    {"--top", "--items"},
    {"--top-k", "--items"},
    {"--topk", "--items"},
    {"--k", "--items"},
    {"-k", "--items"},
    {"--model", "--run"},
});

// A name that shares no more than some letters would be a misleading guess.
bool is_similar(const std::string& word, const std::string& name) {
  return name.starts_with(word) || 2 * edit_distance(word, name) <= std::ssize(word);
}

// The one of a command's options (`names`, with dashes) that programs elsewhere call like this, ""
// where there is none.
std::string option_called(const std::string& word, const std::vector<std::string>& names) {
  const std::string name = word.substr(0, word.find('='));
  for (const auto& [other, ours] : kOtherNames)
    if (name == other && std::ranges::find(names, ours) != names.end()) return std::string(ours);
  return "";
}

// The option with similar letters, "" where there is none.
std::string option_spelt(const std::string& word, const std::vector<std::string>& names) {
  const std::string given = word.substr(0, word.find('='));
  const std::string name = given.substr(std::min(given.find_first_not_of('-'), given.size()));
  const std::string nearest = nearest_name("--" + name, names);
  return is_similar(name, nearest.substr(2)) ? nearest : "";
}

bool looks_like_option(const std::string& word) {
  double number = 0;
  return word.size() > 1 && word.starts_with('-') && !assign_text(&number, word);
}

// The words of the line in order; words that belong to no option have an empty string_key.
template <class Options>
std::vector<po::option> split(const Arguments& arguments, const Options& options) {
  po::options_description declared;
  for (const auto& option : options) {
    if (is_flag(option.value)) {
      declared.add_options()(option.name.c_str(), "");
    } else {
      declared.add_options()(option.name.c_str(), po::value<std::string>());
    }
  }
  return po::command_line_parser(arguments).options(declared).style(kStyle).run().options;
}

}  // namespace

void require_known(const std::string& kind, const std::string& word,
                   std::span<const std::string> known) {
  if (std::ranges::find(known, word) != known.end()) return;
  const std::string nearest = nearest_name(word, known);
  const bool similar = known.size() == 1 || is_similar(word, nearest);
  std::string all;
  for (const std::string& name : known) all += (all.empty() ? "" : ", ") + name;
  throw UsageError("unknown " + kind + " '" + word + "'; " +
                   (similar ? "did you mean '" + nearest + "'?" : "expected one of " + all));
}

CommandLine::CommandLine(std::string command, std::string summary, std::string example)
    : command_(std::move(command)), summary_(std::move(summary)), example_(std::move(example)) {
  add_option("json", "FILE", &json_file_, "write the result to FILE as one JSON object");
}

void CommandLine::add_flag(const std::string& name, bool* value, const std::string& help) {
  options_.push_back({name, "", value, help});
}

void CommandLine::add_option(const std::string& name, const std::string& placeholder,
                             ValueRef value, const std::string& help) {
  options_.push_back({name, placeholder, value, help + default_text(value)});
}

void CommandLine::add_required(const std::string& name, const std::string& placeholder,
                               ValueRef value, const std::string& help) {
  options_.push_back({name, placeholder, value, help + " (required)", /*required=*/true});
}

void CommandLine::add_word(const std::string& placeholder, std::string* value,
                           const std::string& help) {
  words_.push_back({placeholder, value, help});
}

void CommandLine::add_words(const std::string& placeholder, std::vector<std::string>* values,
                            const std::string& help) {
  rest_placeholder_ = placeholder;
  rest_ = values;
  rest_help_ = help;
}

void CommandLine::accept_config() {
  accepts_config_ = true;
  add_option("config", "FILE", &config_file_, "YAML file with the configuration");
  add_flag(
      "print-config", &print_config_,
      "print every key with its value, where the value came from and what it means, then stop");
}

bool CommandLine::parse(const Arguments& arguments) {
  if (std::ranges::any_of(arguments, [](auto& a) { return a == "--help" || a == "-h"; })) {
    print_once(help());
    return false;
  }
  read(arguments);
  for (const Option& option : options_) {
    if (option.required && !option.given) {
      fail("--" + option.name + " " + option.placeholder + " is missing");
    }
  }
  check_json_file(json_file_);
  if (print_config_) print_once(describe_config(config_file_, overrides_));
  return !print_config_;
}

void CommandLine::fail(const std::string& message) const {
  throw UsageError(message + " (`pinnerformer " + command_ + " --help` lists the options)");
}

void CommandLine::read(const Arguments& arguments) {
  std::vector<std::string> names = {"--help"};
  for (const Option& option : options_) names.push_back("--" + option.name);
  const bool takes_keys = accepts_config_ || rest_placeholder_ == kSettings;
  const auto fail_unknown = [&](const std::string& word) {
    std::string option = option_called(word, names);
    const std::string key = takes_keys && option.empty() ? key_meant_by(word) : "";
    if (!key.empty())
      fail("unknown option '" + word + "'; settings are written key=value: " + key + "=VALUE");
    if (option.empty()) option = option_spelt(word, names);
    fail("unknown option '" + word + "'; " +
         (option.empty() ? "usage: " + usage() : "did you mean '" + option + "'?"));
  };
  std::vector<std::string> words;
  try {
    for (const po::option& found : split(arguments, options_)) {
      const auto option = std::ranges::find(options_, found.string_key, &Option::name);
      if (option != options_.end()) {
        set_option(*option, found.value);
      } else {
        words.insert(words.end(), found.value.begin(), found.value.end());
      }
      // In "--json --congif x" the parser takes the misspelt option for the value.
      const bool apart = found.original_tokens.size() > 1 && !found.value.empty();
      if (!apart || !found.value.front().starts_with("--")) continue;
      const std::string& next = found.value.front();
      if (std::ranges::find(names, next.substr(0, next.find('='))) == names.end())
        fail_unknown(next);
      fail("--" + found.string_key + ": expected a value behind it, found the option " + next);
    }
  } catch (const po::unknown_option& error) {
    fail_unknown(error.get_option_name());
  } catch (const po::error& error) {
    fail(error.what());
  }
  const auto misspelt = std::ranges::find_if(words, looks_like_option);
  if (misspelt != words.end()) fail_unknown(*misspelt);
  set_words(words);
}

void CommandLine::set_option(Option& option, const std::vector<std::string>& texts) const {
  if (const auto* flag = std::get_if<bool*>(&option.value)) {
    **flag = true;
    return;
  }
  if (is_path(option.placeholder) && is_from_home(texts.front()))
    fail("--" + option.name + " = " + not_expanded(texts.front()));
  auto* const* list = std::get_if<std::vector<std::string>*>(&option.value);
  const bool is_name = is_path(option.placeholder) || option.placeholder == "TIME";
  if (is_name && texts.front().empty())
    fail("--" + option.name + ": expected " + option.placeholder +
         ", found an empty text; was a variable of a script not set?");
  if (is_path(option.placeholder) && list == nullptr && texts.front() == "-")
    fail("--" + option.name + " -: expected a name, found -; --json /dev/stdout prints a result");
  if (option.given && list == nullptr) fail("--" + option.name + " is given twice");
  // The first --list replaces the default, further ones add to it.
  std::vector<std::string> earlier;
  if (option.given) earlier = **list;
  if (!assign_text(option.value, texts.front())) {
    fail("--" + option.name + " = " + texts.front() + ": expected " + type_name(option.value));
  }
  if (list != nullptr) (*list)->insert((*list)->begin(), earlier.begin(), earlier.end());
  option.given = true;
}

void CommandLine::set_words(const std::vector<std::string>& words) {
  size_t next = 0;
  if (rest_ != nullptr) rest_->clear();
  for (const std::string& word : words) {
    // A key has no slash: "build/day=2024-05-31" is a path.
    const bool setting = word.find('=') < word.find('/');
    if (is_from_home(word)) fail(not_expanded(word));
    if (accepts_config_ && setting) {
      overrides_.push_back(word);
    } else if (next < words_.size()) {
      *words_[next++].value = word;
    } else if (rest_ != nullptr && (setting || rest_placeholder_ != kSettings)) {
      rest_->push_back(word);
    } else {
      fail("unexpected word '" + word + "'" + hint_for(word));
    }
  }
  if (next < words_.size()) fail(words_[next].placeholder + " is missing");
}

// What a word without a place was probably meant to be.
std::string CommandLine::hint_for(const std::string& word) const {
  const bool takes_run =
      std::ranges::find(options_, std::string("run"), &Option::name) != options_.end();
  if (word.starts_with("\u2014") || word.starts_with("\u2013"))  // as text programs write --
    return "; an option begins with two hyphens, --, and not with a dash";
  if (accepts_config_ && (word.ends_with(".yaml") || word.ends_with(".yml")))
    return "; a configuration is given with --config " + word;
  if (takes_run && std::filesystem::is_directory(word))
    return "; a run is given with --run " + word;
  if (find_config_key(word) != nullptr)
    return "; a setting is written without blanks: " + word + "=VALUE";
  const bool takes_keys = accepts_config_ || rest_placeholder_ == kSettings;
  return takes_keys ? "; settings are written key=value" : "";
}

std::string CommandLine::usage() const {
  std::string line = "pinnerformer " + command_;
  for (const Word& word : words_) line += " " + word.placeholder;
  for (const Option& option : options_) {
    if (option.required) line += " --" + option.name + " " + option.placeholder;
  }
  line += " [options]";
  if (rest_ != nullptr) line += " [" + rest_placeholder_ + " ...]";
  if (accepts_config_) line += " [key=value ...]";
  return line;
}

std::string CommandLine::help() const {
  std::vector<std::pair<std::string, std::string>> rows;
  for (const Word& word : words_) rows.emplace_back(word.placeholder, word.help);
  if (rest_ != nullptr) rows.emplace_back(rest_placeholder_, rest_help_);
  if (accepts_config_) {
    rows.emplace_back("key=value",
                      "set one key, such as train.steps=200; --print-config lists all");
  }
  for (const Option& option : options_) {
    rows.emplace_back(
        "--" + option.name + (option.placeholder.empty() ? "" : " ") + option.placeholder,
        option.help);
  }
  rows.emplace_back("--help", "print this text");
  size_t width = 0;
  for (const auto& row : rows) width = std::max(width, row.first.size());
  std::string text = summary_ + "\n\nUsage: " + usage() + "\n\n";
  for (const auto& [name, help] : rows) {
    text += "  " + name + std::string(width + 2 - name.size(), ' ') + help + "\n";
  }
  return text + "\nExample:\n  " + example_ + "\n";
}

}  // namespace pinnerformer
