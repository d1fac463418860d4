// The command line that all commands share: --help, --json FILE and, where a command asks for it,
// --config FILE, --print-config and key=value words.
//
//   std::string out;
//   int64_t users = 1000;
//   CommandLine cli("synth", "Writes a dataset.", "pinnerformer synth --out build/synth");
//   cli.add_required("out", "DIR", &out, "directory to create");
//   cli.add_option("users", "N", &users, "number of users");
//   if (!cli.parse(arguments)) return kDone;
#pragma once
#include <span>
#include <string>
#include <vector>

#include "configs/run_config.h"
#include "configs/typed_value.h"
#include "launch/cli/exit_code.h"

namespace pinnerformer {

// Throws UsageError naming the nearest of `known`, or all where none is near, unless `word` is
// among them. `kind` says what it is: "command", "frequency".
void require_known(const std::string& kind, const std::string& word,
                   std::span<const std::string> known);

// Declares options by binding them to variables, which must outlive parse(). What a variable holds
// when it is bound is the option's default and stands in the help.
class CommandLine {
 public:
  // `example` is one whole command line that works.
  CommandLine(std::string command, std::string summary, std::string example);

  void add_flag(const std::string& name, bool* value, const std::string& help);
  // `name` without dashes. A list may be given as "a,b" and more than once; others only once.
  void add_option(const std::string& name, const std::string& placeholder, ValueRef value,
                  const std::string& help);
  void add_required(const std::string& name, const std::string& placeholder, ValueRef value,
                    const std::string& help);
  // The next word without dashes; must be there.
  void add_word(const std::string& placeholder, std::string* value, const std::string& help);
  // All words behind those of add_word(); may be none.
  void add_words(const std::string& placeholder, std::vector<std::string>* values,
                 const std::string& help);
  // Takes --config, --print-config and key=value words.
  void accept_config();

  // Stores the values. False where --help or --print-config was asked for and has been printed:
  // the command has nothing left to do. Throws UsageError, and ConfigError for --print-config.
  [[nodiscard]] bool parse(const Arguments& arguments);

  [[nodiscard]] const std::string& json_file() const { return json_file_; }      // "" for none
  [[nodiscard]] const std::string& config_file() const { return config_file_; }  // "" for none
  [[nodiscard]] const std::vector<std::string>& overrides() const { return overrides_; }
  // Defaults <- --config <- key=value words. Throws ConfigError.
  [[nodiscard]] RunConfig config() const { return load_config(config_file_, overrides_); }
  // What --help prints.
  [[nodiscard]] std::string help() const;

 private:
  struct Option {
    std::string name;
    std::string placeholder;
    ValueRef value;
    std::string help;
    bool required = false;
    bool given = false;
  };
  struct Word {
    std::string placeholder;
    std::string* value;
    std::string help;
  };

  [[noreturn]] void fail(const std::string& message) const;
  [[nodiscard]] std::string usage() const;
  void set_option(Option& option, const std::vector<std::string>& texts) const;
  void set_words(const std::vector<std::string>& words);
  [[nodiscard]] std::string hint_for(const std::string& word) const;
  void read(const Arguments& arguments);

  std::string command_;
  std::string summary_;
  std::string example_;
  std::vector<Option> options_;
  std::vector<Word> words_;
  std::string rest_placeholder_;
  std::string rest_help_;
  std::vector<std::string>* rest_ = nullptr;
  bool accepts_config_ = false;
  bool print_config_ = false;
  std::string json_file_;
  std::string config_file_;
  std::vector<std::string> overrides_;
};

}  // namespace pinnerformer
