// From an exception to what the user sees: one message and an exit code.
#pragma once
#include <exception>
#include <string>

namespace pinnerformer {

struct Failure {
  int exit_code = 0;
  std::string message;
  // The command line and the configuration are the same on all ranks, and so is what is wrong with
  // them: one rank says it for all.
  bool same_on_every_rank = false;
};

[[nodiscard]] Failure describe_failure(const std::exception_ptr& exception);

// Writes "pinnerformer train: [rank 3] message" to stderr, the rank only under a launcher. Rank 0
// goes first; the others write only what rank 0 did not fail with too.
void report_failure(const std::string& program, const Failure& failure);

}  // namespace pinnerformer
