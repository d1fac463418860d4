"""A training that loses ranks goes on with those there are: 4, then 3, 2 and 4 again, on the same samples."""
import json
import os
import signal
import subprocess
import time
import unittest

from support import BINARY, ENVIRONMENT, ROOT, SmallRunTest, children, metrics, mpirun, run

STEPS = 120


class Elastic(SmallRunTest):
    def train_words(self, name):
        return self.words(name, f"train.steps={STEPS}", "checkpoint.every_steps=10", "train.log_every=1",
                          "item.table.placement=row_sharded", "item.table.dim=8", "comm.timeout_seconds=20",
                          "comm.first_timeout_seconds=60")

    def ranks_of(self, launcher):
        """Process ids of the ranks of an mpirun."""
        return [pid for pid in children(launcher.pid)
                if os.path.realpath(f"/proc/{pid}/exe") == os.path.realpath(BINARY)]

    def steps_of(self, name):
        path = self.directory / name / "metrics.jsonl"
        return len(path.read_text().splitlines()) if path.exists() else 0

    def train_and_kill_a_rank(self, name, ranks, after):
        """Kills the last rank once the run has recorded `after` steps."""
        with open(self.directory / "log", "w") as log:
            job = subprocess.Popen([*mpirun(ranks), BINARY, "train", *self.train_words(name)], cwd=ROOT,
                                   env=ENVIRONMENT, stdout=log, stderr=log)
            end = time.monotonic() + 120
            while self.steps_of(name) < after:
                self.assertLess(time.monotonic(), end)
                self.assertIsNone(job.poll(), (self.directory / "log").read_text())
                time.sleep(0.01)
            os.kill(self.ranks_of(job)[-1], signal.SIGKILL)
            self.assertNotEqual(job.wait(timeout=120), 0)

    def test_from_4_over_3_and_2_to_4_ranks(self):
        run("train", *self.train_words("unbroken"), ranks=1)
        for ranks, after in ((4, 25), (3, 50), (2, 75)):
            self.train_and_kill_a_rank("elastic", ranks, after)
        log = run("train", *self.train_words("elastic"), ranks=4).stdout
        self.assertIn("resumed from", log)
        one, many = metrics(self.directory / "unbroken"), metrics(self.directory / "elastic")
        self.assertEqual([line["step"] for line in many], list(range(1, STEPS + 1)), "every step once")
        consumed = [json.loads((self.directory / name / f"checkpoints/step-{STEPS:09d}/MANIFEST.json").read_text())
                    for name in ("unbroken", "elastic")]
        for key in ("samples", "epoch", "epoch_consumed"):
            self.assertEqual(consumed[0][key], consumed[1][key], "every user of every epoch once")
        for a, b in zip(one, many):
            self.assertAlmostEqual(a["loss"], b["loss"], delta=1e-3, msg=f"step {a['step']}")

    def test_fewer_ranks_than_asked_for_wait_for_more(self):
        words = [*self.train_words("waiting"), "--least-ranks", 3]
        message = run("train", *words, ranks=2, expect=75).stderr
        self.assertIn("2 ranks are here, --least-ranks asks for 3", message)
        self.assertFalse((self.directory / "waiting/checkpoints").exists())
        run("train", *words, "--dry-run", ranks=3)
        run("train", *self.train_words("waiting"), "--least-ranks", 0, expect=64)


if __name__ == "__main__":
    unittest.main()
