"""A clock that jumps a day ahead and back all the time (tests/support/clock_jumps.cc): a training takes no notice."""
import os
import subprocess
import sys
import unittest

from support import BINARY, ENVIRONMENT, ROOT, SmallRunTest, metrics, mpirun, run, same_weights

JUMPS = os.environ.get("PF_CLOCK_JUMPS", str(ROOT / "build/tests/libclock_jumps.so"))
STEPS = 120


class Clock(SmallRunTest):
    def test_the_clock_of_this_test_jumps(self):
        look = "import time; print(sorted({round((time.time() - start) / 86400) for _ in range(20) if not time.sleep(.02)}))"
        seen = subprocess.check_output([sys.executable, "-c", "import time; start = time.time(); " + look], text=True,
                                       env={**ENVIRONMENT, "LD_PRELOAD": JUMPS})
        self.assertEqual(len(seen.split(",")), 3, seen)

    def test_a_training_takes_no_notice(self):
        keys = [f"train.steps={STEPS}", "train.stop_after=1h", "comm.timeout_seconds=60", "checkpoint.every_steps=20"]
        run("train", *self.words("steady", *keys), ranks=2)
        words = [*mpirun(2), "-x", f"LD_PRELOAD={JUMPS}", BINARY, "train", *self.words("jumping", *keys)]
        done = subprocess.run(words, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, timeout=300)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertTrue(same_weights(self.directory / "steady", self.directory / "jumping", STEPS))
        records = metrics(self.directory / "jumping")
        self.assertEqual([record["step"] for record in records], list(range(5, STEPS + 1, 5)))
        for record in records:
            for key in ("step_ms", "data_wait_ms", "comm_wait_ms", "save_stall_ms"):
                self.assertTrue(0 <= record[key] < 60_000, f"{key} {record[key]}")
        self.assertNotIn("straggler", done.stderr)


if __name__ == "__main__":
    unittest.main()
