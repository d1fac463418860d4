// From an exception to what the user sees: one message and an exit code.
#pragma once
#include <exception>
#include <string>

namespace pinnerformer {

struct Failure {
  int exit_code = 0;
  std::string message;
  // True for errors of the command line and the configuration, which all ranks share: one rank
  // reports them.
  bool same_on_every_rank = false;
};

[[nodiscard]] Failure describe_failure(const std::exception_ptr& exception);

// Writes "pinnerformer train: [rank 3] message" to stderr, the rank only under a launcher. Rank 0
// reports first; the others report only what rank 0 did not.
void report_failure(const std::string& program, const Failure& failure);

}  // namespace pinnerformer
