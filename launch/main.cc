// Picks the command, runs it and turns an exception into one message and one exit code.
#include <torch/version.h>

#include <algorithm>
#include <array>
#include <exception>
#include <iostream>
#include <string>
#include <vector>

#include "comm/mpi/mpi_runtime.h"
#include "dataloader/base/errors.h"
#include "dataloader/base/nearest_name.h"
#include "launch/cli/cli.h"
#include "launch/cli/launcher_rank.h"
#include "launch/cli/version.h"
#include "launch/commands/registry.h"
#include "launch/job/failure.h"
#include "launch/job/mapped_file_fault.h"

namespace pinnerformer {
namespace {

std::string help() {
  size_t width = 0;
  for (const Command& command : commands()) width = std::max(width, command.name.size());
  std::string text =
      "pinnerformer trains and serves PinnerFormer user representations.\n\n"
      "Usage: pinnerformer COMMAND [options]\n\n";
  for (const Command& command : commands()) {
    text += "  " + command.name + std::string(width + 2 - command.name.size(), ' ') +
            command.summary + "\n";
  }
  return text +
         "\n`pinnerformer COMMAND --help` shows a command's options with an example.\n"
         "`pinnerformer --version` shows what this program was built from.\n";
}

const Command& find_command(const std::string& name) {
  std::vector<std::string> names;
  for (const Command& command : commands()) names.push_back(command.name);
  const std::array<std::string, 2> options = {"--help", "--version"};
  if (name.starts_with("-"))
    throw UsageError("unknown option '" + name + "'; did you mean '" +
                     nearest_name(name.starts_with("--") ? name : "-" + name, options) + "'?");
  require_known("command", name, names);
  return *std::ranges::find(commands(), name, &Command::name);
}

// What a command prints is its result; a full disk may have taken it. A training has its result in
// the run directory.
void require_printed(const std::string& program) {
  std::cout.flush();
  if (!std::cout && !program.ends_with(" train"))
    throw IoError("cannot write to standard output: is its disk full, or was it closed?");
}

// `program` becomes "pinnerformer train", the name under which failures are reported.
int run(const Arguments& words, std::string& program) {
  if (words.empty()) throw UsageError("no command given; `pinnerformer --help` lists them");
  if (words[0] == "help" && words.size() > 1) return find_command(words[1]).run({"--help"});
  if (words[0] == "--help" || words[0] == "-h" || words[0] == "help") {
    print_once(help());
    return kDone;
  }
  if (words[0] == "--version" || words[0] == "version") {
    print_once(std::string("pinnerformer ") + program_version() + ", LibTorch " TORCH_VERSION "\n");
    return kDone;
  }
  const Command& command = find_command(words[0]);
  program += " " + command.name;
  return command.run(Arguments(words.begin() + 1, words.end()));
}

}  // namespace
}  // namespace pinnerformer

int main(int argc, char** argv) {
  std::string program = "pinnerformer";
  pinnerformer::report_mapped_file_faults();
  pinnerformer::report_library_faults();
  pinnerformer::report_file_size_limits();
  try {
    const int code = pinnerformer::run({argv + 1, argv + argc}, program);
    pinnerformer::require_printed(program);
    return code;
  } catch (...) {
    const auto failure = pinnerformer::describe_failure(std::current_exception());
    pinnerformer::report_failure(program, failure);
    pinnerformer::MpiRuntime::abort_if_running(failure.exit_code);
    return failure.exit_code;
  }
}
