"""Ending a training on purpose: by a signal to any rank at any moment, by a time limit; nothing is lost."""
import json
import os
import random
import signal
import subprocess
import time
import unittest
from pathlib import Path

from support import BINARY, ENVIRONMENT, ROOT, SmallRunTest, children, metrics, mpirun, run, same_weights

FAULTS = os.environ.get("PF_FAULTS", str(ROOT / "build/tests/libfault_injection.so"))
SLOW = 8  # enum Fault in tests/support/fault_injection.h
NO_SPACE = 5
USR1, TERM = signal.SIGUSR1, signal.SIGTERM


def handles(pid, which):
    """Whether the process has installed its handler; before that a signal simply ends it."""
    try:
        caught = Path(f"/proc/{pid}/status").read_text().split("SigCgt:")[1].split()[0]
    except (OSError, IndexError):
        return False
    return bool(int(caught, 16) >> (which - 1) & 1)


class Stop(SmallRunTest):
    STEPS = 400

    def start(self, name, *more, ranks=2, environment=None):
        words = mpirun(ranks) + [BINARY, "train", *self.words(name, f"train.steps={self.STEPS}", *more)]
        log = open(self.directory / f"{name}.log", "a")
        self.addCleanup(log.close)
        job = subprocess.Popen(words, cwd=ROOT, env={**ENVIRONMENT, **(environment or {})}, stdout=log,
                               stderr=log, start_new_session=True)
        self.addCleanup(self.end, job)
        return job

    @staticmethod
    def end(job):
        if job.poll() is None:
            os.killpg(job.pid, signal.SIGKILL)
            job.wait()

    def log(self, name):
        return (self.directory / f"{name}.log").read_text()

    def ranks_of(self, job, count=2):
        """The ranks of the job, once all of them handle signals."""
        def ready():
            found = [pid for pid in children(job.pid) if handles(pid, USR1)] if job.poll() is None else []
            return found if len(found) == count else None
        return self.wait_for(ready, job)

    def wait_for(self, condition, job, seconds=120):
        deadline = time.monotonic() + seconds
        while not (found := condition()):
            self.assertIsNone(job.poll(), "the job ended too early")
            self.assertLess(time.monotonic(), deadline, "waited for too long")
            time.sleep(0.005)
        return found

    def steps_done(self, name):
        try:
            return max((record["step"] for record in metrics(self.directory / name)), default=0)
        except (OSError, json.JSONDecodeError):
            return 0

    def checkpoints(self, name):
        return sorted(int(path.name[5:]) for path in (self.directory / name / "checkpoints").glob("step-?????????"))

    def assert_stopped(self, name, job):
        self.assertEqual(job.wait(timeout=120), 85, self.log(name))
        steps = self.checkpoints(name)
        self.assertLess(steps[-1], self.STEPS)
        run("checkpoint", "verify", self.directory / name)
        return steps[-1]

    def finish(self, name, ranks=2, expected="whole"):
        run("train", *self.words(name, f"train.steps={self.STEPS}"), ranks=ranks)
        self.assertTrue(same_weights(self.directory / expected, self.directory / name, self.STEPS))

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        run("train", *cls.words("whole", f"train.steps={cls.STEPS}"), ranks=2)

    def test_any_rank_at_any_moment(self):
        moments = random.Random(5)
        for i, (which, target) in enumerate([(USR1, "mpirun"), (TERM, 0), (TERM, 1), (USR1, 1)]):
            with self.subTest(signal=which.name, target=target):
                name = f"any{i}"
                job = self.start(name)
                ranks = self.ranks_of(job)
                reach = moments.randrange(1, self.STEPS // 2)
                self.wait_for(lambda: self.steps_done(name) >= reach, job)
                time.sleep(moments.random() / 50)
                os.kill(job.pid if target == "mpirun" else ranks[target], which)
                self.assertGreaterEqual(self.assert_stopped(name, job), reach)
                self.assertEqual(self.log(name).count("asked to stop"), 1)
                self.finish(name)

    def test_ctrl_c_saves_and_a_second_one_ends_at_once(self):
        job = self.start("ctrl-c", ranks=0)
        self.wait_for(lambda: self.steps_done("ctrl-c") >= 10, job)
        os.kill(job.pid, signal.SIGINT)
        self.assert_stopped("ctrl-c", job)

        checkpoints = self.directory / "twice/checkpoints"
        job = self.start("twice", "checkpoint.every_steps=10", ranks=0, environment={
            "LD_PRELOAD": FAULTS, "PF_FAULT": f"{SLOW}:0:1000000:{checkpoints}"})
        self.wait_for(lambda: list(checkpoints.glob("*.partial-*")), job)
        os.kill(job.pid, signal.SIGINT)
        self.wait_for(lambda: not handles(job.pid, signal.SIGINT), job)
        os.kill(job.pid, signal.SIGINT)
        self.assertEqual(job.wait(timeout=5), -signal.SIGINT, self.log("twice"))

    def test_before_the_first_step(self):
        job = self.start("early")
        os.kill(self.ranks_of(job)[0], TERM)
        self.assertLessEqual(self.assert_stopped("early", job), 1)
        self.finish("early")

    def test_while_waiting_for_data(self):
        job = self.start("data", "data.prefetch_batches=1", environment={
            "LD_PRELOAD": FAULTS, "PF_FAULT": f"{SLOW}:60:1000000:{self.dataset}"})
        ranks = self.ranks_of(job)
        time.sleep(2)
        os.kill(ranks[1], USR1)
        self.assert_stopped("data", job)
        self.finish("data")

    def test_during_a_save_and_more_than_once(self):
        checkpoints = self.directory / "saving/checkpoints"
        job = self.start("saving", "checkpoint.every_steps=10", environment={
            "LD_PRELOAD": FAULTS, "PF_FAULT": f"{SLOW}:0:1000000:{checkpoints}"})
        ranks = self.ranks_of(job)
        self.wait_for(lambda: list(checkpoints.glob("*.partial-*")), job)
        for _ in range(5):
            for pid in ranks:
                os.kill(pid, USR1)
                os.kill(pid, TERM)
            time.sleep(0.1)
        last = self.assert_stopped("saving", job)
        self.assertEqual(self.checkpoints("saving"), [10, last] if last > 10 else [10])
        self.finish("saving")

    def test_time_limit(self):
        for name, limit, environment in (
                ("limit", ["train.stop_after=6s"], {}),
                ("job", [], {"SLURM_JOB_END_TIME": str(int(time.time()) + 7)})):
            began = time.monotonic()
            job = self.start(name, "train.steps=1000000", *limit, environment=environment)
            self.assertEqual(job.wait(timeout=60), 85, self.log(name))
            self.assertLess(time.monotonic() - began, 30)
            run("checkpoint", "verify", self.directory / name)

    def test_sigterm_to_mpirun_keeps_a_whole_checkpoint(self):
        """Open MPI kills the ranks about one second after it has passed SIGTERM on."""
        job = self.start("second")
        self.ranks_of(job)
        # Saves end behind the steps.
        self.wait_for(lambda: self.steps_done("second") >= 60 and self.checkpoints("second"), job)
        before = self.checkpoints("second")[-1]
        os.kill(job.pid, TERM)
        self.assertNotEqual(job.wait(timeout=60), 0)
        self.assertGreaterEqual(self.checkpoints("second")[-1], before)
        run("checkpoint", "verify", self.directory / "second")
        self.finish("second")

    def test_evaluation_ends_at_once_and_leaves_nothing_half_done(self):
        result = self.directory / "result.json"
        job = subprocess.Popen(mpirun(2) + [BINARY, "evaluate", "--run", str(self.directory / "whole"),
                                            "evaluate.bootstrap=20000000", "--json", str(result)],
                               cwd=ROOT, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(3)
        os.kill(job.pid, TERM)
        self.assertNotEqual(job.wait(timeout=60), 0)
        self.assertFalse(result.exists())
        run("checkpoint", "verify", self.directory / "whole")

    def test_full_disk(self):
        checkpoints = self.directory / "full/checkpoints"
        run("train", *self.words("full", f"train.steps={self.STEPS}", "train.stop_after=1s"), expect=85, ranks=2)
        kept = self.checkpoints("full")
        job = self.start("full", environment={
            "LD_PRELOAD": FAULTS, "PF_FAULT": f"{NO_SPACE}:12:1000000:{checkpoints}"})
        self.assertEqual(job.wait(timeout=120), 74, self.log("full"))
        self.assertIn("No space left", self.log("full"))
        self.assertIn(str(checkpoints / "step-"), self.log("full"))
        self.assertEqual(self.checkpoints("full"), kept)
        run("checkpoint", "verify", self.directory / "full")
        self.finish("full")


if __name__ == "__main__":
    unittest.main()
