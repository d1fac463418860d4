// One entry per command of the program. A command returns an exit code or throws; main() turns an
// exception into one message and the exit code of its kind.
#pragma once
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

namespace pinnerformer {

// After sysexits.h, with two of our own.
enum ExitCode {
  kDone = 0,
  kDiffers = 1,      // `checkpoint diff` and `verify-resume`: what was compared is not the same
  kUsage = 64,       // wrong command line
  kBadData = 65,     // DataError
  kNoInput = 66,     // MissingInputError
  kBug = 70,         // anything else
  kIoFailed = 74,    // IoError
  kCommFailed = 75,  // CommError: worth a restart
  kBadConfig = 78,   // ConfigError
  kRequeue = 85,     // asked to stop, checkpoint written
};

// The command line is wrong (exit code 64).
struct UsageError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

using Arguments = std::vector<std::string>;

struct Command {
  std::string name;
  std::string summary;
  int (*run)(const Arguments& arguments);
};

// All commands, in the order `pinnerformer --help` shows them.
std::span<const Command> commands();

int command_import(const Arguments& arguments);
int command_synth(const Arguments& arguments);
int command_vectors(const Arguments& arguments);
int command_data(const Arguments& arguments);
int command_train(const Arguments& arguments);
int command_evaluate(const Arguments& arguments);
int command_embed(const Arguments& arguments);
int command_recommend(const Arguments& arguments);
int command_checkpoint(const Arguments& arguments);
int command_doctor(const Arguments& arguments);
int command_bench(const Arguments& arguments);
int command_verify_resume(const Arguments& arguments);
int command_launch(const Arguments& arguments);

}  // namespace pinnerformer
