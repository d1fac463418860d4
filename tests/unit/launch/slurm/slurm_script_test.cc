// Job scripts made from a configuration: bash reads them, and nothing of the template is left open.
#include "launch/slurm/slurm_script.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <iterator>

#include "tests/support/dataset_fixture.h"

namespace pinnerformer {
namespace {

using testing::HasSubstr;
using testing::Not;

SlurmJob some_job() {
  SlurmJob job;
  job.nodes = 3;
  job.ranks_per_node = 4;
  job.time = "01:30:00";
  job.program = "/opt/pf/pinnerformer";
  job.run_directory = "/scratch/it's mine/run";
  job.words = {"--config", "my file.yaml", "positives.actions=save,closeup>10"};
  job.sbatch = {"partition=gpu", "gpus-per-node=4"};
  return job;
}

TEST(SlurmScript, HoldsWhatTheJobSays) {
  for (const char* launcher : {"srun", "mpirun"}) {
    SlurmJob job = some_job();
    job.launcher = launcher;
    const std::string script = slurm_script(job);
    for (const char* line :
         {"#!/bin/bash\n", "\n#SBATCH --nodes=3\n", "\n#SBATCH --ntasks-per-node=4\n",
          "\n#SBATCH --partition=gpu\n", "\n#SBATCH --gpus-per-node=4\n",
          "\n#SBATCH --time=01:30:00\n", "\n#SBATCH --requeue\n", "\n#SBATCH --open-mode=append\n",
          "\nprogram=/opt/pf/pinnerformer\n", "\nrun='/scratch/it'\\''s mine/run'\n",
          "\nwords=(--config 'my file.yaml' 'positives.actions=save,closeup>10')\n"})
      EXPECT_THAT(script, HasSubstr(line)) << launcher;
    EXPECT_THAT(script, Not(HasSubstr("words=(\"$@\")"))) << "a place that was not filled in";
  }
  EXPECT_THAT(slurm_script(some_job()), HasSubstr("--kill-on-bad-exit=1"));
}

TEST(SlurmScript, AStartMayHaveFewerNodes) {
  SlurmJob job = some_job();
  job.least_nodes = 2;
  EXPECT_THAT(slurm_script(job), HasSubstr("\n#SBATCH --nodes=2-3\n"));
}

TEST(SlurmScript, BashReadsIt) {
  const TemporaryDirectory directory;
  for (const char* launcher : {"srun", "mpirun"}) {
    SlurmJob job = some_job();
    job.launcher = launcher;
    write_file(directory / launcher, slurm_script(job));
    EXPECT_EQ(std::system(("bash -n " + directory / launcher).c_str()), 0) << launcher;
  }
}

TEST(SlurmScript, WordsSurviveTheShell) {
  const TemporaryDirectory directory;
  for (const std::string word : {"plain", "", "two words", "it's", "$HOME `x` \\ \"q\"", "a;b&c|d",
                                 "*?[z]", "line\nbreak"}) {
    const std::string file = directory / "out";
    ASSERT_EQ(std::system(("printf %s " + shell_quoted(word) + " >" + file).c_str()), 0);
    std::ifstream in(file);
    EXPECT_EQ(std::string(std::istreambuf_iterator<char>(in), {}), word);
  }
}

}  // namespace
}  // namespace pinnerformer
