#include "launch/commands/train_summary.h"

#include <array>
#include <cstdio>

#include "launch/slurm/slurm_script.h"
#include "trainer/checkpoint/checkpoint_list.h"
#include "trainer/monitor/console.h"

namespace pinnerformer {
namespace {

std::string steps_text(const TrainOutcome& outcome) {
  const bool beyond = outcome.step > outcome.total_steps;  // train.steps was lowered afterwards
  return std::to_string(outcome.step) +
         (beyond ? " steps, more than train.steps=" + std::to_string(outcome.total_steps) + ", "
                 : " of " + std::to_string(outcome.total_steps) + " steps, ") +
         std::to_string(outcome.step - outcome.first_step) + " of them now in " +
         clock_text(outcome.seconds) + "\n";
}

std::string best_text(const TrainOutcome& outcome) {
  if (outcome.best_step < 0) return "";
  std::array<char, 64> text{};
  std::snprintf(text.data(), text.size(), "best validation: R@10 %.4f at step %lld, ",
                outcome.best_recall_at_10, static_cast<long long>(outcome.best_step));
  return text.data() + checkpoint_path(outcome.run + "/checkpoints", outcome.best_step) + "\n";
}

}  // namespace

std::string train_summary(const TrainOutcome& outcome) {
  if (!outcome.done)
    return "stopped: " + steps_text(outcome) + best_text(outcome) +
           "next:    start the same command again, which goes on from step " +
           std::to_string(outcome.step) + "\n";
  const std::string run = shell_quoted(outcome.run);
  const std::string of_run = " --run " + run + (outcome.best_step < 0 ? "" : " --checkpoint best");
  return "done: " + steps_text(outcome) + best_text(outcome) + "next: pinnerformer evaluate" +
         of_run + "\n      pinnerformer embed" + of_run + " --out " +
         shell_quoted(outcome.run + "/vectors.h5") + "\n";
}

}  // namespace pinnerformer
