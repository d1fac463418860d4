"""Training on a real Slurm: a controller and two nodes on one machine, each in a network namespace of
its own (tests/slurm/cluster.sh). Needs root, network namespaces, munge and slurm-wlm."""
import os
import re
import shutil
import signal
import subprocess
import time
import unittest
from pathlib import Path

from support import BINARY, ENVIRONMENT, ROOT, SmallRunTest, metrics, run, same_weights

CLUSTER = ROOT / "tests/slurm/cluster.sh"


def why_not():
    """Why this machine cannot run the tests, or None."""
    if os.geteuid() != 0:
        return "needs root"
    missing = [name for name in ("slurmctld", "slurmd", "munged", "ip", "nsenter") if not shutil.which(name)]
    if missing:
        return f"missing: {' '.join(missing)}; apt-get install slurm-wlm munge iproute2"
    if subprocess.run(["unshare", "--net", "--mount", "true"], capture_output=True).returncode != 0:
        return "network namespaces are not available"
    if subprocess.run(["ip", "link", "show", "slurmbr"], capture_output=True).returncode == 0:
        return "another such cluster is up (the link slurmbr exists)"
    return None


@unittest.skipIf(why_not(), why_not())
class Slurm(SmallRunTest):
    STEPS = 1500

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.state = cls.directory / "cluster"
        cls.addClassCleanup(subprocess.run, [CLUSTER, "down", cls.state], capture_output=True)
        subprocess.run([CLUSTER, "up", cls.state], check=True)
        # Nodes reach each other by TCP over their one link.
        cls.environment = {**ENVIRONMENT, "OMPI_MCA_btl": "tcp,self,vader", "OMPI_MCA_btl_tcp_if_include": "eth0",
                           "OMPI_MCA_oob_tcp_if_include": "eth0", "OMPI_MCA_rmaps_base_oversubscribe": "1",
                           "PINNERFORMER": BINARY}

    def setUp(self):
        """What the test before has cancelled may still hold its node."""
        deadline = time.monotonic() + 60
        while self.controller("sinfo", "-h", "-o", "%D %t").strip() != "2 idle":
            self.assertLess(time.monotonic(), deadline, self.controller("sinfo"))
            time.sleep(0.5)

    @classmethod
    def controller(cls, *words, check=True):
        done = subprocess.run([CLUSTER, "run", cls.state, *map(str, words)], cwd=ROOT, env=cls.environment,
                              capture_output=True, text=True, timeout=120)
        if check and done.returncode != 0:
            raise AssertionError(f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done.stdout

    def submit(self, name, *words, launcher="srun", nodes=2, launch=(), options=()):
        """Submits what `pinnerformer launch slurm` makes; returns the job's number."""
        script = self.directory / f"{name}.sbatch"
        made = run("launch", "slurm", "--nodes", nodes, "--ranks-per-node", 2, "--launcher", launcher, "--dry-run",
                   *launch, "--sbatch", f"output={self.log_file(name)}", *self.words(name, f"train.steps={self.STEPS}", *words))
        script.write_text(made.stdout)
        out = self.controller("sbatch", f"--chdir={ROOT}", *options, script)
        return re.search(r"\d+", out)[0]

    def log_file(self, name):
        return self.directory / f"{name}.log"

    def log(self, name):
        return self.log_file(name).read_text() if self.log_file(name).exists() else ""

    def wait_for(self, name, condition, seconds):
        deadline = time.monotonic() + seconds
        while not condition():
            self.assertLess(time.monotonic(), deadline, self.log(name) + self.controller("squeue"))
            time.sleep(0.25)

    def state_of(self, job):
        return self.controller("squeue", "-h", "-j", job, "-o", "%T", check=False).strip()

    def steps_done(self, name):
        try:
            return max(record["step"] for record in metrics(self.directory / name))
        except (OSError, ValueError):
            return 0

    def test_time_limit_saves_and_requeues(self):
        job = self.submit("limited", "train.steps=1000000", options=["--time=1", "--signal=USR1@20"])
        self.wait_for("limited", lambda: "exit code 85" in self.log("limited"), 90)
        stopped = int(re.search(r"asked to stop: ending with step (\d+)", self.log("limited"))[1])
        again = f"resumed from {self.directory}/limited/checkpoints/step-{stopped:09d}"
        self.wait_for("limited", lambda: again in self.log("limited").partition("start 2 of job")[2], 60)
        self.controller("scancel", job)

    def test_stopped_then_a_link_is_lost_ends_with_the_same_weights(self):
        whole = self.submit("whole")
        self.wait_for("whole", lambda: self.state_of(whole) == "", 150)
        self.assertEqual(metrics(self.directory / "whole")[-1]["world_size"], 4)

        job = self.submit("lost", "comm.timeout_seconds=6")
        self.wait_for("lost", lambda: self.steps_done("lost") > 100, 60)
        self.controller("scancel", "--signal=USR1", job)  # to the ranks, as before a time limit
        self.wait_for("lost", lambda: "exit code 85" in self.log("lost"), 60)
        stopped = int(re.search(r"asked to stop: ending with step (\d+)", self.log("lost"))[1])
        # Back in the queue by itself; then a link is cut in the middle of a step.
        self.wait_for("lost", lambda: "start 2 of job" in self.log("lost"), 60)
        self.wait_for("lost", lambda: self.steps_done("lost") > stopped, 60)
        self.assertIn(f"resumed from {self.directory}/lost/checkpoints/step-{stopped:09d}", self.log("lost"))
        self.cut_the_link("lost")
        self.wait_for("lost", lambda: "start 3 of job" in self.log("lost"), 90)
        self.wait_for("lost", lambda: self.state_of(job) == "", 150)
        self.assertTrue(same_weights(self.directory / "whole", self.directory / "lost", self.STEPS), self.log("lost"))

    def cut_the_link(self, name):
        """The link of node n2 is down until the job has noticed; the deadline of a collective is 6 s."""
        began = time.monotonic()
        subprocess.run(["ip", "link", "set", "v-n2", "down"], check=True)
        try:
            self.wait_for(name, lambda: "the deadline is 6.0 s" in self.log(name), 40)
            noticed = time.monotonic() - began
            self.wait_for(name, lambda: "exit code 75" in self.log(name), 40)
        finally:
            subprocess.run(["ip", "link", "set", "v-n2", "up"], check=True)
        print(f"link cut: noticed after {noticed:.1f} s, the job ended with 75")

    def test_mpirun_passes_the_signal_on(self):
        job = self.submit("passed", launcher="mpirun")
        self.wait_for("passed", lambda: self.steps_done("passed") > 20, 90)
        self.controller("scancel", "--batch", "--signal=USR1", job)
        self.wait_for("passed", lambda: "exit code 85" in self.log("passed"), 60)
        self.assertIn("asked to stop", self.log("passed"))
        self.wait_for("passed", lambda: "resumed from" in self.log("passed"), 90)
        self.controller("scancel", job)

    def kill_a_rank(self, node):
        """As the system does when memory runs out."""
        pids = subprocess.check_output(["ip", "netns", "pids", node], text=True).split()
        ranks = [int(pid) for pid in pids if Path(f"/proc/{pid}/comm").read_text().strip() == "pinnerformer"]
        os.kill(max(ranks), signal.SIGKILL)

    def test_spare_node_replaces_one_that_fails(self):
        for launcher in ("srun", "mpirun"):
            with self.subTest(launcher=launcher):
                name = f"spare-{launcher}"
                job = self.submit(name, launcher=launcher, launch=["--use", 1])
                self.wait_for(name, lambda: self.steps_done(name) > 60, 60)
                self.assertIn(f"start 1 of job {job} on n1\n", self.log(name))
                self.kill_a_rank("n1")
                self.wait_for(name, lambda: f"start 2 of job {job} on n2\n" in self.log(name), 60)
                self.wait_for(name, lambda: "resumed from" in self.log(name), 60)
                self.assertEqual((self.directory / name / "slurm-failed-nodes").read_text(), "n1\n")
                self.controller("scancel", job)
                self.wait_for(name, lambda: self.state_of(job) == "", 60)

    def test_node_that_failed_twice_is_left_out(self):
        (self.directory / "unfit").mkdir()
        (self.directory / "unfit/slurm-failed-nodes").write_text("n1\n")
        first = self.submit("unfit", nodes=1)
        self.wait_for("unfit", lambda: self.steps_done("unfit") > 60, 60)
        self.kill_a_rank("n1")
        self.wait_for("unfit", lambda: "a new job without n1, which failed twice" in self.log("unfit"), 60)
        self.wait_for("unfit", lambda: re.search(r"start 1 of job \d+ on n2\n", self.log("unfit")), 60)
        self.wait_for("unfit", lambda: "resumed from" in self.log("unfit"), 60)
        second = re.search(r"start 1 of job (\d+) on n2\n", self.log("unfit"))[1]
        self.assertNotEqual(first, second)
        self.controller("scancel", second)

    def test_a_new_job_keeps_the_options_of_the_command_line(self):
        (self.directory / "given").mkdir()
        (self.directory / "given/slurm-failed-nodes").write_text("n1\n")
        # The new job writes the log that the file names, into the directory of the job.
        self.controller("env", f"PINNERFORMER={ROOT}/build/pinnerformer", "sbatch", f"--chdir={self.directory}",
                        f"--output={self.log_file('given')}", "--nodes=1", "--nodelist=n1",
                        "--ntasks-per-node=1", "--time=7", ROOT / "launch/slurm/srun.sbatch",
                        *self.words("given", f"train.steps={self.STEPS}"))
        self.wait_for("given", lambda: self.steps_done("given") > 60, 60)
        self.kill_a_rank("n1")
        self.wait_for("given", lambda: re.search(r"Submitted batch job (\d+)", self.log("given")), 60)
        second = re.search(r"Submitted batch job (\d+)", self.log("given"))[1]
        self.addCleanup(self.controller, "scancel", second, check=False)
        job = self.controller("scontrol", "show", "job", "-o", second)
        # A range while the job waits, a number once it runs.
        for part in ("TimeLimit=00:07:00", "NumNodes=1(-1)? ", "NumTasks=1 ", "ExcNodeList=n1 "):
            self.assertRegex(job, part)

    def test_seeds_wait_for_the_import(self):
        before = re.search(r"\d+", self.controller("sbatch", "--output=/dev/null", "--wrap", "sleep 4"))[0]
        job = self.submit("seeds", "train.steps=20", nodes=1, launch=["--seeds", "3,8", "--after", before,
                                                                      "--cpus-per-rank", 1])
        self.wait_for("seeds", lambda: "Dependency" in self.controller("squeue", "-h", "-j", job, "-o", "%r"), 10)
        self.wait_for("seeds", lambda: self.state_of(job) == "", 90)
        for seed in (3, 8):
            directory = self.directory / f"seeds/seed-{seed}"
            self.assertRegex((directory / "config.yaml").read_text(), rf"(?m)^  seed: {seed}\b")
            self.assertEqual(metrics(directory)[-1]["step"], 20)

    def test_three_starts_without_progress_are_enough(self):
        stuck = self.directory / "stuck"
        stuck.mkdir()
        (stuck / "slurm-starts").write_text("3 \n")
        script = run("launch", "slurm", "--nodes", 1, "--dry-run", *self.words("stuck")).stdout
        done = subprocess.run(["bash"], input=script, text=True, capture_output=True,
                              env={**ENVIRONMENT, "SLURM_RESTART_COUNT": "3", "SLURM_JOB_ID": "1"})
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn("three starts in a row", done.stderr)


class LostNode(SmallRunTest):
    """mpirun.sbatch with stand-ins for mpirun, which waits for a lost node's daemon as Open MPI does, and for Slurm."""

    TOOLS = {
        "mpirun": """echo 'not arrived: rank 1 on n1 last seen at step 4' >&2
echo 'mpirun: the job has been aborted' >&2
exec sleep 100""",
        "scontrol": """case $1 in
  show) if [[ $2 == hostnames ]]; then printf '%s\\n' n1 n2; else echo JobState=RUNNING; fi ;;
  requeue) kill -KILL $PPID ;;
esac"""}

    def test_mpirun_that_waits_for_a_lost_node_is_ended(self):
        tools = self.directory / "tools"
        tools.mkdir()
        for name, text in self.TOOLS.items():
            (tools / name).write_text(f"#!/bin/bash\n{text}\n")
            (tools / name).chmod(0o755)
        script = run("launch", "slurm", "--nodes", 2, "--launcher", "mpirun", "--dry-run", *self.words("waits")).stdout
        began = time.monotonic()
        done = subprocess.run(["bash"], input=script, text=True, capture_output=True, timeout=60,
                              env={**ENVIRONMENT, "PATH": f"{tools}:{os.environ['PATH']}", "GRACE": "1", "SLURM_JOB_ID": "1",
                                   "SLURM_JOB_NUM_NODES": "2", "SLURM_JOB_NODELIST": "n[1-2]"})
        self.assertLess(time.monotonic() - began, 50, "it waited for mpirun")
        self.assertIn("exit code 137: back into the queue", done.stdout + done.stderr)
        self.assertEqual((self.directory / "waits/slurm-failed-nodes").read_text(), "n1\n")


if __name__ == "__main__":
    unittest.main()
