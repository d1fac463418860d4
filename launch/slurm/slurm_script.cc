#include "launch/slurm/slurm_script.h"

#include <algorithm>
#include <array>
#include <optional>
#include <ranges>
#include <stdexcept>

#include "dataloader/base/digits.h"
#include "launch/cli/exit_code.h"
#include "launch/slurm/slurm_templates.h"

namespace pinnerformer {
namespace {

// "24:00:00", "1-12", "90", "UNLIMITED"
bool is_time_limit(const std::string& text) {
  if (text == "UNLIMITED" || text == "INFINITE") return true;
  return !text.empty() && text.find_first_not_of("0123456789:-") == std::string::npos &&
         has_digits_only(text.substr(0, 1)) && has_digits_only(text.substr(text.size() - 1));
}

// sbatch cuts a line at blanks and takes what follows a # for a comment.
std::string quoted_option(const std::string& option) {
  const size_t value = option.find('=') + 1;
  if (value == 0 || option.find_first_of(" \t#") == std::string::npos) return option;
  return option.substr(0, value) + '"' + option.substr(value) + '"';
}

void check_sbatch(const std::string& option) {
  constexpr std::array kOwn = {"nodes=", "N=", "ntasks=", "n=", "ntasks-per-node=", "time=", "t="};
  for (const char* own : kOwn)
    if (option.starts_with(own))
      throw UsageError("--sbatch " + option +
                       ": give it by --nodes, --ranks-per-node or --time instead");
  const std::string name = option.substr(0, option.find('='));
  if (name.find_first_of(" \t#") != std::string::npos ||
      option.find_first_of("\"'\\\n") != std::string::npos)
    throw UsageError("--sbatch " + option +
                     ": expected OPTION or OPTION=VALUE, without quotes and backslashes");
}

// Nothing where it is no number or a large one.
std::optional<int64_t> array_index(std::string_view text) {
  constexpr size_t kMostDigits = 9;
  if (!has_digits_only(text) || text.size() > kMostDigits) return std::nullopt;
  return std::stoll(std::string(text));
}

// "1-5", "1,4,7", "0,2-3"
bool is_list_of_ranges(std::string_view text) {
  for (const auto piece : std::views::split(text, ',')) {
    const std::string_view range(piece.begin(), piece.end());
    const size_t dash = range.find('-');
    const std::optional<int64_t> first = array_index(range.substr(0, dash));
    if (!first) return false;
    if (dash == std::string_view::npos) continue;
    const std::optional<int64_t> last = array_index(range.substr(dash + 1));
    if (!last || *last < *first) return false;
  }
  return true;
}

// Replaces the one line that starts with `beginning`.
void set_line(std::string& script, const std::string& beginning, const std::string& line) {
  const size_t begin = script.find("\n" + beginning) + 1;
  if (begin == 0) throw std::logic_error("the script has no line " + beginning);
  script.replace(begin, script.find('\n', begin) - begin, line);
}

// Bash's name for the seed of this element of a job array.
constexpr const char* kSeed = "\"$SLURM_ARRAY_TASK_ID\"";

// What the job asks Slurm for, beside nodes and time.
std::string requested(const SlurmJob& job) {
  std::string lines = "#SBATCH --ntasks-per-node=" + std::to_string(job.ranks_per_node);
  const auto add = [&lines](const std::string& option) { lines += "\n#SBATCH --" + option; };
  if (job.cpus_per_rank > 0) add("cpus-per-task=" + std::to_string(job.cpus_per_rank));
  if (job.gpus_per_node > 0) add("gpus-per-node=" + std::to_string(job.gpus_per_node));
  // A lost node ends the ranks on it, not the job, which has another.
  if (job.use > 0 && job.use < job.nodes) add("no-kill");
  if (!job.seeds.empty()) add("array=" + job.seeds);
  if (!job.after.empty()) {
    add("dependency=afterok:" + job.after);
    add("kill-on-invalid-dep=yes");
  }
  return lines;
}

std::string run_directory(const SlurmJob& job) {
  const std::string directory = shell_quoted(job.run_directory);
  return job.seeds.empty() ? directory : directory + "/seed-" + kSeed;
}

std::string trained_words(const SlurmJob& job) {
  std::string words;
  for (const std::string& word : job.words)
    words += (words.empty() ? "" : " ") + shell_quoted(word);
  if (job.seeds.empty()) return words;
  return words + " run.seed=" + kSeed + " run.directory=" + run_directory(job);
}

std::string mounts(const SlurmJob& job) {
  std::string text = "\"$PWD:$PWD\"";
  for (const std::string& path : job.seen) text += " " + shell_quoted(path + ":" + path);
  return text;
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

void check(const SlurmJob& job) {
  if (job.nodes < 1 || job.ranks_per_node < 1)
    throw UsageError("--nodes and --ranks-per-node must be at least 1");
  if (job.use < 0 || job.use > job.nodes)
    throw UsageError("--use is " + std::to_string(job.use) + ", but it counts nodes of the job's " +
                     std::to_string(job.nodes));
  if (job.cpus_per_rank < 0 || job.gpus_per_node < 0)
    throw UsageError("--cpus-per-rank and --gpus-per-node must not be negative");
  if (!job.seeds.empty() && !is_list_of_ranges(job.seeds))
    throw UsageError("--seeds is '" + job.seeds +
                     "', expected numbers and ascending ranges: 1-5 or 1,4,7");
  if (!is_time_limit(job.time))
    throw UsageError("--time is '" + job.time +
                     "', expected minutes, HH:MM:SS or DAYS-HH:MM:SS, as sbatch takes them");
  for (const std::string& option : job.sbatch) check_sbatch(option);
  // sbatch would take the second one, and the seeds are the elements of the first.
  if (!job.seeds.empty() && std::ranges::any_of(job.sbatch, [](const std::string& option) {
        return option.starts_with("array") || option.starts_with("a=");
      }))
    throw UsageError("--seeds makes the job array: leave --sbatch array= out");
  if (!job.after.empty() && !has_digits_only(job.after))
    throw UsageError("--after is '" + job.after + "', expected the number of a Slurm job");
  if (job.launcher == "mpirun" && !job.image.empty() && !job.image.ends_with(".sif"))
    throw UsageError("--container " + job.image +
                     " is no .sif file: images of pyxis need --launcher srun");
}

std::string slurm_script(const SlurmJob& job) {
  std::string script = job.launcher == "srun" ? kSrunTemplate : kMpirunTemplate;
  const std::string least = job.least_nodes > 0 ? std::to_string(job.least_nodes) + "-" : "";
  set_line(script, "#SBATCH --nodes=", "#SBATCH --nodes=" + least + std::to_string(job.nodes));
  set_line(script, "#SBATCH --ntasks-per-node=", requested(job));
  // Behind all others: sbatch takes the last of two equal options.
  std::string further;
  for (const std::string& option : job.sbatch)
    further += "#SBATCH --" + quoted_option(option) + "\n";
  set_line(script, "set -uo", further + "set -uo pipefail");
  set_line(script, "#SBATCH --time=", "#SBATCH --time=" + job.time);
  set_line(script,
           "program=", "program=" + shell_quoted(job.image.empty() ? job.program : "pinnerformer"));
  set_line(script, "words=", "words=(" + trained_words(job) + ")");
  set_line(script, "run=", "run=" + run_directory(job));
  set_line(script, "given=", "given=");
  if (job.use > 0) set_line(script, "use=", "use=" + std::to_string(job.use));
  set_line(script, "bind=", "bind=" + job.bind);
  set_line(script, "image=", "image=" + (job.image.empty() ? "" : shell_quoted(job.image)));
  set_line(script, "mounts=", "mounts=(" + mounts(job) + ")");
  return script;
}

}  // namespace pinnerformer
