"""What happens to a job when one of its ranks fails: it always ends, in time, with the right code.

Without arguments a sample of the faults, for every change. With PF_SOAK_TRIALS=N (the tier `soak`
sets 200) N trials at random points; PF_SOAK_SEED repeats a run.
"""
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest
import uuid
from pathlib import Path

from support import BINARY, ENVIRONMENT, ROOT, mpirun, run

LIBRARY = os.environ.get("PF_RANK_FAULTS", str(ROOT / "build/tests/librank_faults.so"))
MPI_TESTS = os.environ.get("PF_MPI_TESTS", str(ROOT / "build/tests/mpi_tests"))
DEADLINE = 4      # comm.timeout_seconds, also before the first step
GRACE = 10        # a job is gone so long after the deadline, at the latest
COMM_FAILED = 75
# Gives the program in its arguments a full pipe, which nobody reads, as standard output and error.
BLOCKED_OUTPUT = """
import os, sys
reader, writer = os.pipe()
os.set_blocking(writer, False)
try:
    while True:
        os.write(writer, b"x")
except BlockingIOError:
    pass
os.set_blocking(writer, True)
os.set_inheritable(reader, True)
os.dup2(writer, 1)
os.dup2(writer, 2)
os.execv(sys.argv[1], sys.argv[1:])
"""
# Kind of fault -> exit codes that tell the truth about it. mpirun reports signals as 128 + n and
# makes 1 of an early exit with 0; 70 is what an exception nobody expects ends with.
EXPECTED = {
    "kill": {128 + signal.SIGKILL},
    "segv": {128 + signal.SIGSEGV},
    "exit": {1},
    "throw": {70},
    "error": {COMM_FAILED},
    "stop": {COMM_FAILED},
    "stop-after": {COMM_FAILED},
    "stop-save": {COMM_FAILED},
    # Done to MPI below our own code, so that MPI itself mixes up bytes and may crash on them.
    "skip": {COMM_FAILED, 70, 128 + signal.SIGABRT, 128 + signal.SIGSEGV},
    "size": {COMM_FAILED, 70, 128 + signal.SIGABRT, 128 + signal.SIGSEGV},
    "slow": {0},
}


def processes_with(token):
    """Ids of live processes that were started with this word in their environment."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            if token.encode() in (entry / "environ").read_bytes():
                state = (entry / "stat").read_text().rsplit(")", 1)[1].split()[0]
                if state != "Z":
                    found.append(int(entry.name))
        except OSError:
            continue
    return found


def blocked_in_write(pid):
    """True where the main thread of a process waits in write() to standard output or error."""
    try:
        return Path(f"/proc/{pid}/syscall").read_text().split()[:2] in (["1", "0x1"], ["1", "0x2"])
    except OSError:
        return False


class Trial:
    """One job with one fault."""

    def __init__(self, dataset, directory, rank, kind, place, ranks=2, steps=40, prefix=()):
        self.name = f"rank {rank} of {ranks}, {kind} at {place}"
        self.kind = kind
        self.token = f"PF_TRIAL_{uuid.uuid4().hex}"
        self.directory = Path(directory) / self.token
        self.directory.mkdir()
        self.fault_log = self.directory / "fault"
        environment = {**ENVIRONMENT, "PF_FAULT": f"{rank} {kind} {place}",
                       "PF_FAULT_LOG": str(self.fault_log), self.token: "1"}
        words = mpirun(ranks)
        for name in ("PF_FAULT", "PF_FAULT_LOG", self.token):
            words += ["-x", name]
        words += ["-x", f"LD_PRELOAD={LIBRARY}", *prefix, BINARY, "train",
                  "--config", str(ROOT / "configs/quickstart.yaml"), f"data.path={dataset}",
                  f"run.directory={self.directory / 'run'}", "positives.actions=save",
                  "model.max_length=16", "model.hidden=32", "model.layers=1", "model.heads=2",
                  "train.global_batch_users=32", "negatives.random=64", "negatives.in_batch=64",
                  f"train.steps={steps}", "checkpoint.every_steps=10", "train.log_every=5",
                  "comm.backend=mpi", "comm.straggler_seconds=2",
                  f"comm.timeout_seconds={DEADLINE if kind != 'slow' else 60}",
                  f"comm.first_timeout_seconds={DEADLINE if kind != 'slow' else 60}"]
        self.output = open(self.directory / "output", "w+")
        self.job = subprocess.Popen(words, cwd=ROOT, env=environment, stdout=self.output,
                                    stderr=subprocess.STDOUT)

    def text(self):
        self.output.seek(0)
        return self.output.read()

    def finish(self):
        """Waits for the end and returns what was not as promised, "" for nothing."""
        try:
            # Start-up is no part of the promise: LibTorch may take long to load on a busy machine.
            code = self.job.wait(timeout=120 + DEADLINE + GRACE)
        except subprocess.TimeoutExpired:
            self.end_all()
            return f"{self.name}: never ended\n{self.text()}"
        ended = time.time()
        happened = self.fault_log.exists() and float(self.fault_log.read_text() or 0)
        # The launcher may be gone before the last of its ranks.
        while (left := processes_with(self.token)) and time.time() < (happened or ended) + DEADLINE + GRACE:
            time.sleep(0.1)
        problems = []
        if not happened:
            if code != 0:
                problems.append(f"the fault was never reached and the code is {code}")
        elif code not in EXPECTED[self.kind]:
            problems.append(f"exit code {code}, expected {sorted(EXPECTED[self.kind])}")
        if happened and self.kind != "slow" and ended - happened > DEADLINE + GRACE:
            problems.append(f"ended {ended - happened:.1f} s after the fault")
        if left:
            problems.append(f"processes left behind: {left}")
            self.end_all()
        return f"{self.name}: {'; '.join(problems)}\n{self.text()}" if problems else ""

    def end_all(self):
        for pid in [*processes_with(self.token), self.job.pid]:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.job.wait()


class Faults(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.directory = Path(tempfile.mkdtemp(prefix="pinnerformer-faults-"))
        cls.addClassCleanup(shutil.rmtree, cls.directory, ignore_errors=True)
        cls.dataset = cls.directory / "dataset"
        run("synth", "--users", 200, "--items", 100, "--events-per-user", 20, "--out", cls.dataset)

    def trial(self, *where, **more):
        trial = Trial(self.dataset, self.directory, *where, **more)
        self.addCleanup(trial.output.close)
        problem = trial.finish()
        if problem:
            self.fail(problem)
        self.assertTrue(trial.fault_log.exists(), f"the fault never happened\n{trial.text()}")
        return trial.text()


class Sample(Faults):
    """One of each that differ in what ends the job."""

    def test_a_killed_rank(self):
        self.trial(1, "kill", 170)

    def test_a_crash(self):
        self.trial(1, "segv", 170)

    def test_an_exception_nobody_expects(self):
        self.trial(1, "throw", 170)

    def test_an_early_exit_with_zero_is_not_success(self):
        self.trial(0, "exit", 170)

    def test_a_frozen_rank_is_named(self):
        text = self.trial(1, "stop", 170)
        self.assertIn("not arrived: rank 1 on ", text)
        self.assertIn("silent for", text)
        self.assertIn("comm.timeout_seconds", text)

    def test_a_rank_frozen_while_it_computes(self):
        self.trial(1, "stop-after", 170)

    def test_a_coordinator_frozen_while_saving_is_named(self):
        text = self.trial(0, "stop-save", 3)
        self.assertIn("not arrived: rank 0, silent for", text)

    def test_ranks_of_different_programs_are_told_apart(self):
        for name, found in (("AnotherSize", "all ranks have arrived and are alive"),
                            ("LeftOut", "is in another collective, 'loss'"),
                            ("OtherOrder", "is in another collective, 'second'")):
            job = subprocess.run([*mpirun(2), MPI_TESTS, "--gtest_also_run_disabled_tests",
                                  f"--gtest_filter=CollectiveMismatch.DISABLED_{name}"],
                                 env={**ENVIRONMENT, "PF_TEST_RANKS": "2"}, capture_output=True, text=True,
                                 timeout=120)
            self.assertEqual(job.returncode, COMM_FAILED, job.stderr)
            told = [found, "do not run the same program"]  # by the wait, or sooner by comparing notes
            self.assertTrue(any(text in job.stderr for text in told), job.stderr)

    def test_a_slow_rank_is_reported_and_waited_for(self):
        text = self.trial(1, "slow", 100)
        self.assertIn("straggler: rank 1 on ", text)
        self.assertIn("step 40/40", text)

    def test_ranks_with_blocked_output_outlive_no_frozen_launcher(self):
        trial = Trial(self.dataset, self.directory, 0, "none", 0, steps=10**6,
                      prefix=(sys.executable, "-c", BLOCKED_OUTPUT))
        self.addCleanup(trial.output.close)
        self.addCleanup(trial.end_all)
        begin = time.monotonic()
        while not any(map(blocked_in_write, processes_with(trial.token))):
            self.assertIsNone(trial.job.poll(), trial.text())
            self.assertLess(time.monotonic() - begin, 120, "no rank ever wrote")
            time.sleep(0.1)
        os.kill(trial.job.pid, signal.SIGSTOP)
        end = time.monotonic() + DEADLINE + GRACE
        while (left := set(processes_with(trial.token)) - {trial.job.pid}) and time.monotonic() < end:
            time.sleep(0.1)
        self.assertEqual(left, set(), "ranks wait for a reader of their output")

    def test_ranks_outlive_no_launcher(self):
        trial = Trial(self.dataset, self.directory, 0, "slow", 10**9, steps=10**6)
        self.addCleanup(trial.output.close)
        while "step 5/" not in trial.text():
            self.assertIsNone(trial.job.poll(), trial.text())
            time.sleep(0.1)
        trial.job.kill()
        trial.job.wait()
        end = time.monotonic() + DEADLINE + GRACE
        while processes_with(trial.token) and time.monotonic() < end:
            time.sleep(0.1)
        left = processes_with(trial.token)
        trial.end_all()
        self.assertEqual(left, [], "ranks go on without their launcher")


@unittest.skipUnless(os.environ.get("PF_SOAK_TRIALS"), "the tier `soak` runs the whole count")
class Soak(Faults):
    def test_any_fault_at_any_point(self):
        seed = int(os.environ.get("PF_SOAK_SEED", time.time_ns() % 10**6))
        trials = int(os.environ["PF_SOAK_TRIALS"])
        draw = random.Random(seed)
        kinds = list(EXPECTED)
        problems, reached = [], 0
        for number in range(trials):
            kind = kinds[number % len(kinds)]
            ranks = draw.choice((2, 2, 3))
            rank = 0 if kind == "stop-save" else draw.randrange(ranks)
            place = draw.randint(1, {"stop-save": 30, "slow": 120}.get(kind, 300))
            trial = Trial(self.dataset, self.directory, rank, kind, place, ranks=ranks)
            problem = trial.finish()
            reached += trial.fault_log.exists()
            trial.output.close()
            print(f"{number + 1}/{trials} {trial.name}: {problem or 'as promised'}", flush=True)
            if problem:
                problems.append(problem)
            shutil.rmtree(trial.directory, ignore_errors=True)
        print(f"seed {seed}: {trials} trials, {reached} faults, {len(problems)} not as promised")
        self.assertEqual(problems, [])


if __name__ == "__main__":
    unittest.main()
