#include "launch/slurm/slurm_script.h"

#include <stdexcept>

#include "launch/slurm/slurm_templates.h"

namespace pinnerformer {
namespace {

// Replaces the one line that starts with `beginning`.
void set_line(std::string& script, const std::string& beginning, const std::string& line) {
  const size_t begin = script.find("\n" + beginning) + 1;
  if (begin == 0) throw std::logic_error("the script has no line " + beginning);
  script.replace(begin, script.find('\n', begin) - begin, line);
}

}  // namespace

std::string shell_quoted(const std::string& word) {
  const std::string plain =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+=./,:@%";
  if (!word.empty() && word.find_first_not_of(plain) == std::string::npos) return word;
  std::string quoted = "'";
  for (const char c : word) quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return quoted + "'";
}

std::string slurm_script(const SlurmJob& job) {
  std::string script = job.launcher == "srun" ? kSrunTemplate : kMpirunTemplate;
  const std::string least = job.least_nodes > 0 ? std::to_string(job.least_nodes) + "-" : "";
  set_line(script, "#SBATCH --nodes=", "#SBATCH --nodes=" + least + std::to_string(job.nodes));
  std::string tasks = "#SBATCH --ntasks-per-node=" + std::to_string(job.ranks_per_node);
  for (const std::string& option : job.sbatch) tasks += "\n#SBATCH --" + option;
  set_line(script, "#SBATCH --ntasks-per-node=", tasks);
  set_line(script, "#SBATCH --time=", "#SBATCH --time=" + job.time);
  set_line(script, "program=", "program=" + shell_quoted(job.program));
  std::string words = "words=(";
  for (const std::string& word : job.words) {
    if (words.back() != '(') words += ' ';
    words += shell_quoted(word);
  }
  set_line(script, "words=", words + ")");
  set_line(script, "run=", "run=" + shell_quoted(job.run_directory));
  return script;
}

}  // namespace pinnerformer
