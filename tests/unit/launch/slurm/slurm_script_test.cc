// Job scripts made from a configuration: bash reads them, and nothing of the template is left open.
#include "launch/slurm/slurm_script.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>

#include "launch/cli/exit_code.h"
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

TEST(SlurmScript, OptionsOfTheUserComeLast) {
  SlurmJob job = some_job();
  job.sbatch = {"output=mine.log"};
  const std::string script = slurm_script(job);
  EXPECT_LT(script.find("#SBATCH --output=pinnerformer"), script.find("#SBATCH --output=mine.log"));
  EXPECT_THAT(script, HasSubstr("#SBATCH --output=mine.log\nset -uo pipefail\n"));
}

TEST(SlurmScript, AsksForWhatARankNeeds) {
  SlurmJob job = some_job();
  job.use = 2;
  job.cpus_per_rank = 8;
  job.gpus_per_node = 4;
  job.bind = "numa";
  job.after = "17";
  for (const char* launcher : {"srun", "mpirun"}) {
    job.launcher = launcher;
    const std::string script = slurm_script(job);
    for (const char* line :
         {"\n#SBATCH --cpus-per-task=8\n", "\n#SBATCH --gpus-per-node=4\n", "\nuse=2\n",
          "\n#SBATCH --no-kill\n", "\nbind=numa\n", "\n#SBATCH --dependency=afterok:17\n",
          "\n#SBATCH --kill-on-invalid-dep=yes\n"})
      EXPECT_THAT(script, HasSubstr(line)) << launcher;
  }
  job.use = 3;
  EXPECT_THAT(slurm_script(job), Not(HasSubstr("no-kill"))) << "without a spare node the job ends";
  for (const char* option : {"cpus-per-task", "array", "dependency", "no-kill"})
    EXPECT_THAT(slurm_script(some_job()), Not(HasSubstr("#SBATCH --" + std::string(option))));
}

TEST(SlurmScript, EverySeedHasARunOfItsOwn) {
  SlurmJob job = some_job();
  job.seeds = "1-3,7";
  const std::string script = slurm_script(job);
  const std::string run = "'/scratch/it'\\''s mine/run'/seed-\"$SLURM_ARRAY_TASK_ID\"";
  EXPECT_THAT(script, HasSubstr("\n#SBATCH --array=1-3,7\n"));
  EXPECT_THAT(script, HasSubstr("\nrun=" + run + "\n"));
  EXPECT_THAT(script, HasSubstr(" run.seed=\"$SLURM_ARRAY_TASK_ID\" run.directory=" + run + ")\n"));
}

TEST(SlurmScript, ContainersHoldTheProgram) {
  SlurmJob job = some_job();
  job.image = "images/pf 1.sif";
  job.seen = {"/data/it's"};
  const std::string script = slurm_script(job);
  for (const char* line : {"\nprogram=pinnerformer\n", "\nimage='images/pf 1.sif'\n",
                           "\nmounts=(\"$PWD:$PWD\" '/data/it'\\''s:/data/it'\\''s')\n"})
    EXPECT_THAT(script, HasSubstr(line));
}

TEST(SlurmScript, WhatSlurmWouldNotTakeIsRefused) {
  const auto refused = [](void (*change)(SlurmJob&)) {
    SlurmJob job = some_job();
    change(job);
    EXPECT_THROW(check(job), UsageError);
  };
  EXPECT_NO_THROW(check(some_job()));
  refused([](SlurmJob& job) { job.nodes = 0; });
  refused([](SlurmJob& job) { job.ranks_per_node = 0; });
  refused([](SlurmJob& job) { job.use = 4; });
  refused([](SlurmJob& job) { job.cpus_per_rank = -1; });
  refused([](SlurmJob& job) { job.gpus_per_node = -1; });
  refused([](SlurmJob& job) { job.seeds = "1-"; });
  refused([](SlurmJob& job) { job.seeds = "1\n#SBATCH --wrap=x"; });
  refused([](SlurmJob& job) {
    job.seeds = "1-3";
    job.sbatch = {"array=1-9"};
  });
  refused([](SlurmJob& job) { job.seeds = "5-1"; });
  refused([](SlurmJob& job) { job.seeds = "1-99999999999999999999"; });
  refused([](SlurmJob& job) { job.time = "1 hour"; });
  refused([](SlurmJob& job) { job.sbatch = {"nodes=7"}; });
  refused([](SlurmJob& job) { job.sbatch = {"comment=a\nb"}; });
  refused([](SlurmJob& job) { job.after = "17:18"; });
  refused([](SlurmJob& job) {
    job.launcher = "mpirun";
    job.image = "docker://pinnerformer";
  });
}

TEST(SlurmScript, AStartMayHaveFewerNodes) {
  SlurmJob job = some_job();
  job.least_nodes = 2;
  EXPECT_THAT(slurm_script(job), HasSubstr("\n#SBATCH --nodes=2-3\n"));
}

TEST(SlurmScript, ValuesWithBlanksAreQuoted) {
  SlurmJob job = some_job();
  job.sbatch = {"comment=two words", "exclusive"};
  EXPECT_NO_THROW(check(job));
  const std::string script = slurm_script(job);
  EXPECT_THAT(script, HasSubstr("\n#SBATCH --comment=\"two words\"\n#SBATCH --exclusive\n"));
  EXPECT_THAT(script, HasSubstr("\ngiven=\n")) << "all its options are in it";
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

// What the script gives the launcher, whose place a script takes that prints its words.
std::string words_for_launcher(const std::string& launcher, const std::string& environment) {
  const TemporaryDirectory directory;
  const std::string print = "#!/bin/bash\nprintf '%s\\n' \"$*\" >" + (directory / "words") + "\n";
  for (const char* name : {"srun", "mpirun"}) {
    write_file(directory / name, print);
    std::filesystem::permissions(directory / name, std::filesystem::perms::owner_all);
  }
  SlurmJob job = some_job();
  job.launcher = launcher;
  job.run_directory = directory / "run";
  write_file(directory / "script", slurm_script(job));
  const std::string command = "env -u SLURM_CPUS_PER_TASK PATH=" + directory.path() +
                              ":$PATH SLURM_JOB_ID=1 SLURM_JOB_NODELIST=n " + environment +
                              " bash " + (directory / "script") + " >" + (directory / "said") +
                              " 2>&1";
  EXPECT_EQ(std::system(command.c_str()), 0) << launcher << environment;
  std::ostringstream text;
  text << std::ifstream(directory / "words").rdbuf() << std::ifstream(directory / "said").rdbuf();
  return text.str();
}

TEST(SlurmScript, ARankGetsTheCoresThatItsTaskHas) {
  EXPECT_THAT(words_for_launcher("srun", "SLURM_CPUS_PER_TASK=8"),
              HasSubstr("--cpus-per-task=8 --cpu-bind=cores --distribution=block:block"));
  EXPECT_THAT(words_for_launcher("mpirun", "SLURM_CPUS_PER_TASK=8"),
              HasSubstr("--map-by slot:PE=8 --bind-to core"));
  EXPECT_THAT(words_for_launcher("mpirun", "A=1"), HasSubstr("--bind-to none"));
  EXPECT_THAT(words_for_launcher("srun", "A=1"), Not(HasSubstr("--cpu-bind")));
}

TEST(SlurmScript, AGpuThatOneCoreWouldStarveIsNamed) {
  for (const char* launcher : {"srun", "mpirun"}) {
    EXPECT_THAT(words_for_launcher(launcher, "SLURM_GPUS_ON_NODE=4"),
                HasSubstr("give sbatch --cpus-per-task=8"));
    EXPECT_THAT(words_for_launcher(launcher, "SLURM_GPUS_ON_NODE=4 SLURM_CPUS_PER_TASK=8"),
                Not(HasSubstr("starve")));
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
