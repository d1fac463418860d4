// The table of commands.
#include "launch/commands/registry.h"

#include <array>

namespace pinnerformer {

std::span<const Command> commands() {
  static const std::array table = {
      Command{"import", "turn event tables and item vectors into a dataset", command_import},
      Command{"synth", "write a dataset with a known structure", command_synth},
      Command{"vectors", "make item vectors from co-occurrence", command_vectors},
      Command{"semantic-ids", "give items codes of their content vectors", command_semantic_ids},
      Command{"data", "inspect or validate a dataset", command_data},
      Command{"train", "train a model; resumes by itself", command_train},
      Command{"explain", "follow one user's sample through one training step", command_explain},
      Command{"evaluate", "measure a checkpoint against baselines", command_evaluate},
      Command{"embed", "write the vectors of users and items", command_embed},
      Command{"export", "write a model as files for serving systems", command_export},
      Command{"index", "build an index of item vectors for fast search", command_index},
      Command{"recommend", "list the nearest items of given users", command_recommend},
      Command{"report", "write one page about runs, their evaluations and examples",
              command_report},
      Command{"checkpoint", "inspect, verify, compare, copy or remove checkpoints",
              command_checkpoint},
      Command{"verify-resume", "prove that a resumed training ends with the same bits",
              command_verify_resume},
      Command{"plan", "memory, speed and scaling of a training, before it is started",
              command_plan},
      Command{"launch", "start a training under Slurm", command_launch},
      Command{"doctor", "check whether a training started like this would work", command_doctor},
      Command{"bench", "measure parts of the program against the limits of the machine",
              command_bench},
  };
  return table;
}

}  // namespace pinnerformer
