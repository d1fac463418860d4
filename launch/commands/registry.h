// One entry per command of the program. A command returns an exit code or throws; main() turns an
// exception into one message and the exit code of its kind.
#pragma once
#include <span>
#include <string>

#include "launch/cli/exit_code.h"

namespace pinnerformer {

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
int command_semantic_ids(const Arguments& arguments);
int command_data(const Arguments& arguments);
int command_train(const Arguments& arguments);
int command_explain(const Arguments& arguments);
int command_evaluate(const Arguments& arguments);
int command_embed(const Arguments& arguments);
int command_export(const Arguments& arguments);
int command_index(const Arguments& arguments);
int command_recommend(const Arguments& arguments);
int command_report(const Arguments& arguments);
int command_checkpoint(const Arguments& arguments);
int command_doctor(const Arguments& arguments);
int command_bench(const Arguments& arguments);
int command_verify_resume(const Arguments& arguments);
int command_plan(const Arguments& arguments);
int command_launch(const Arguments& arguments);

}  // namespace pinnerformer
