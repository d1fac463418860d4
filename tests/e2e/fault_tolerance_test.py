"""A training that is killed, stopped and resumed ends with the bits of one that never was. With
PF_SOAK=1 (tests/run.sh --tier soak) at the counts the project promises, else at a sample of them."""
import itertools
import json
import os
import random
import signal
import subprocess
import time
import unittest

from support import BINARY, ENVIRONMENT, ROOT, SmallRunTest, children, metrics, mpirun, run, same_weights

SOAK = "PF_SOAK" in os.environ
KILL_POINTS = 200 if SOAK else 3
KILLS_OF_ONE_RUN = 100 if SOAK else 4
LONG_RUN = 100_000 if SOAK else 2_000
SAVES = 200 if SOAK else 20


class FaultTolerance(SmallRunTest):
    def start(self, name, *more, ranks=2):
        job = subprocess.Popen(mpirun(ranks) + [BINARY, "train", *self.words(name, *more)], cwd=ROOT,
                               env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                               start_new_session=True)
        self.addCleanup(lambda: job.poll() is None and os.killpg(job.pid, signal.SIGKILL))
        return job

    def last_step(self, name):
        """The last step that the run has logged so far; 0 where there is none."""
        try:
            text = (self.directory / name / "metrics.jsonl").read_text()
        except OSError:  # not there yet
            return 0
        whole_lines = text.splitlines()[:text.count("\n")]  # the last one may be being written
        return json.loads(whole_lines[-1])["step"] if whole_lines else 0

    def kill_a_rank(self, job, chance):
        """Kills one rank of a job. False where the job has no rank any more."""
        ranks = children(job.pid)
        if not ranks:
            return False
        try:
            os.kill(chance.choice(ranks), signal.SIGKILL)
        except ProcessLookupError:
            return False
        self.assertNotEqual(job.wait(timeout=60), 0)
        return True

    @staticmethod
    def wait_until(job, reached):
        """Returns when `reached()` holds, or when the job has ended."""
        while job.poll() is None and not reached():
            time.sleep(0.01)

    def test_killed_at_random_points(self):
        words = ["train.steps=200", "checkpoint.every_steps=20"]
        began = time.monotonic()
        run("train", *self.words("whole", *words), ranks=2)
        duration = time.monotonic() - began
        chance = random.Random(1)
        killed = 0
        while killed < KILL_POINTS:
            name = f"killed{killed}"
            job = self.start(name, *words)
            self.wait_until(job, lambda: children(job.pid))
            deadline = time.monotonic() + chance.random() * duration
            self.wait_until(job, lambda: time.monotonic() >= deadline)
            killed += self.kill_a_rank(job, chance)
            job.wait(timeout=600)
            run("train", *self.words(name, *words), ranks=2)
            self.assertTrue(same_weights(self.directory / "whole", self.directory / name, 200), name)
            subprocess.run(["rm", "-r", self.directory / name], check=True)
        print(f"{killed} runs killed at random points: all ended with the same bits")

    def test_one_run_killed_again_and_again(self):
        steps = 400 * KILLS_OF_ONE_RUN
        words = [f"train.steps={steps}", "checkpoint.every_steps=20", "train.log_every=5"]
        run("train", *self.words("steady", *words), ranks=2, timeout=3600)
        chance = random.Random(2)
        for _ in range(KILLS_OF_ONE_RUN):
            # By progress, not by time: a job that starts slowly is killed as often as a fast one.
            goal = self.last_step("shaken") + chance.randrange(5, 200)
            job = self.start("shaken", *words)
            self.wait_until(job, lambda: self.last_step("shaken") >= goal)
            self.assertTrue(self.kill_a_rank(job, chance), f"ended before step {goal}")
        run("train", *self.words("shaken", *words), ranks=2, timeout=3600)
        self.assertTrue(same_weights(self.directory / "steady", self.directory / "shaken", steps))
        print(f"one run killed {KILLS_OF_ONE_RUN} times: same bits after {steps} steps")

    def test_memory_and_descriptors_stay_flat(self):
        words = [f"train.steps={LONG_RUN}", f"checkpoint.every_steps={LONG_RUN // SAVES}",
                 f"train.log_every={LONG_RUN // 100}"]
        job = self.start("long", *words)
        descriptors = []
        while job.poll() is None:
            try:
                rank = children(job.pid)[0]
                descriptors.append(len(os.listdir(f"/proc/{rank}/fd")))
            except (IndexError, OSError):
                pass
            time.sleep(0.2)
        self.assertEqual(job.returncode, 0)
        memory = [record["memory_mib"] for record in metrics(self.directory / "long")]
        settled, end = max(memory[20:40]), max(memory[-20:])
        self.assertLess(end, settled * 1.01, memory)
        middle = descriptors[len(descriptors) // 4:-len(descriptors) // 4]
        self.assertLessEqual(max(middle[len(middle) // 2:]), max(middle[:len(middle) // 2]) * 1.01 + 3)
        print(f"{LONG_RUN} steps, {SAVES} saves: {settled:.1f} -> {end:.1f} MiB, "
              f"{max(middle)} descriptors")

    def test_resumed_on_other_numbers_of_ranks(self):
        steps = 200
        words = [f"train.steps={steps}", "train.log_every=1", "checkpoint.every_steps=1000"]
        run("train", *self.words("four", *words), ranks=4)
        for ranks, until in ((4, 50), (2, 100), (3, 150), (1, steps)):
            job = self.start("changing", *words, ranks=ranks)
            if until < steps:
                self.wait_until(job, lambda: self.last_step("changing") >= until)
                job.send_signal(signal.SIGUSR1)
            self.assertIn(job.wait(timeout=120), (85, 0))
        whole, changing = (metrics(self.directory / name) for name in ("four", "changing"))
        self.assertEqual([record["step"] for record in changing], list(range(1, steps + 1)))
        self.assertGreater(len({record["world_size"] for record in changing}), 2)
        for one, other in zip(whole, changing):
            self.assertLess(abs(one["loss"] - other["loss"]), 1e-3 * abs(one["loss"]), (one, other))
            self.assertEqual(one["epoch"], other["epoch"])

    def test_verify_resume(self):
        cases = list(itertools.product(("next_action", "sasrec", "all_action", "dense_all_action"),
                                       ("fp32", "bf16_always"), ("none", "replicated", "row_sharded")))
        for objective, precision, placement in cases if SOAK else cases[::5]:
            words = [f"objective.name={objective}", f"train.precision={precision}",
                     f"item.table.placement={placement}", "item.table.dim=8",
                     f"checkpoint.mirror={self.directory / 'unused-mirror'}"]
            with self.subTest(words=words):
                done = run("verify-resume", *self.words("unused", *words), "--steps", 15, ranks=2)
                self.assertIn("the same, bit by bit", done.stdout)
        for name in ("unused", "unused-mirror"):
            self.assertFalse((self.directory / name).exists(), "the run itself is left alone")

    def test_diff_names_what_differs(self):
        run("train", *self.words("one", "train.steps=10", "checkpoint.every_steps=5"))
        run("train", *self.words("two", "train.steps=10", "optimizer.learning_rate=0.01"))
        one, two = (self.directory / name / "checkpoints/step-000000010" for name in ("one", "two"))
        self.assertIn("the same", run("checkpoint", "diff", one, one).stdout)
        differs = run("checkpoint", "diff", one, two, expect=1).stdout
        self.assertIn("optimizer.learning_rate: 0.001 here, 0.01 there", differs)
        self.assertRegex(differs, r"input.weight: \d+ of \d+ elements, largest difference")
        older = run("checkpoint", "diff", one.parent / "step-000000005", one, expect=1).stdout
        self.assertIn("step: 5 and 10", older)
        for name in ("one", "two"):
            self.assertIn("whole", run("checkpoint", "verify", self.directory / name).stdout)
        model = one / "model.safetensors"
        content = bytearray(model.read_bytes())
        content[-1] ^= 1
        model.write_bytes(content)
        damaged = run("checkpoint", "verify", self.directory / "one", two, expect=65)
        self.assertIn("model.safetensors is damaged", damaged.stdout)
        self.assertIn("step-000000010", damaged.stderr)

    def test_resume_option(self):
        words = ["train.steps=20", "checkpoint.every_steps=10"]
        run("train", *self.words("first", *words), "--resume", "never")
        again = run("train", *self.words("first", *words), "--resume", "never", expect=64)
        self.assertIn("step-000000020", again.stderr)
        middle = self.directory / "first/checkpoints/step-000000010"
        fork = run("train", *self.words("fork", *words), "--resume", middle)
        self.assertIn(f"resumed from {middle}", fork.stdout)
        self.assertTrue(same_weights(self.directory / "first", self.directory / "fork", 20))
        back = run("train", *self.words("first", *words), "--resume", middle, expect=65)
        self.assertIn("not the newest", back.stderr)
        missing = run("train", *self.words("other", *words), "--resume", "/nowhere", expect=66)
        self.assertIn("/nowhere", missing.stderr)


if __name__ == "__main__":
    unittest.main()
