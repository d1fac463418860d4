"""Checkpoints kept in order: pruned, copied, mirrored to a second directory, and resumed from there."""
import json
import os
import shutil
import subprocess
import unittest

from support import BINARY, ENVIRONMENT, ROOT, SmallRunTest, run, same_weights

FAULTS = os.environ.get("PF_FAULTS", str(ROOT / "build/tests/libfault_injection.so"))
NO_SPACE = 5  # kNoSpace in tests/support/fault_injection.h


def steps(directory):
    return [int(path.name[5:]) for path in sorted(directory.glob("step-*")) if path.name[5:].isdigit()]


class CheckpointUpkeep(SmallRunTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.mirror = cls.directory / "mirror"
        log = run("train", *cls.run_words("run", cls.mirror)).stdout
        assert f"copied {cls.directory}/run/checkpoints/step-000000040" in log, log

    @classmethod
    def run_words(cls, name, mirror, *more):
        return cls.words(name, "train.steps=40", "checkpoint.every_steps=10", "checkpoint.keep_last=3",
                         f"checkpoint.mirror={mirror}", "item.table.placement=replicated",
                         "item.table.dim=8", *more)

    def copy_of_run(self, name):
        """A run of its own with the mirror beside it; both name this run."""
        shutil.copytree(self.directory / "run", self.directory / name)
        return self.directory / name

    def assert_newest_copies(self, newest):
        """No more than the run keeps. Of several that wait for a slow disk the newest alone is copied."""
        copies = steps(self.mirror)
        self.assertEqual(copies[-1], newest)
        self.assertLessEqual(len(copies), 3, copies)

    def test_a_lost_run_directory_is_resumed_from_the_mirror_exactly(self):
        words = self.run_words("run", self.mirror, "train.steps=60")
        shutil.copytree(self.directory / "run", self.directory / "kept-run")
        shutil.copytree(self.mirror, self.directory / "kept-mirror")
        self.assert_newest_copies(40)
        run("train", *words)
        shutil.move(self.directory / "run", self.directory / "unbroken")
        shutil.rmtree(self.mirror)
        shutil.move(self.directory / "kept-mirror", self.mirror)  # the run directory is lost
        self.assertIn("exists: give a fresh", run("train", *words, "--resume", "never", expect=64).stderr)
        log = run("train", *words).stdout
        self.assertIn(f"copied back from checkpoint.mirror: {self.mirror}/step-000000040", log)
        self.assertTrue(same_weights(self.directory / "unbroken", self.directory / "run", 60))
        self.assert_newest_copies(60)
        self.assertEqual(run("checkpoint", "verify", self.mirror).stdout.count(": whole"), len(steps(self.mirror)))
        shutil.rmtree(self.directory / "run")
        shutil.move(self.directory / "kept-run", self.directory / "run")

    def test_another_runs_mirror_is_refused(self):
        message = run("train", *self.run_words("another", self.mirror), expect=78).stderr
        self.assertIn("give every run a mirror of its own", message)
        self.assertEqual((self.mirror / "run_directory").read_text(), f"{self.directory / 'run'}\n")
        own = self.directory / "own/checkpoints"
        self.assertIn("lies in the run directory", run("train", *self.run_words("own", own), expect=78).stderr)

    def test_the_run_of_a_mirror_may_be_named_by_another_path(self):
        run("train", *self.run_words("run", self.mirror), f"run.directory={self.directory}/run/")

    def test_training_goes_on_while_the_mirror_has_no_space(self):
        mirror = self.directory / "no-space"
        mirror.mkdir()
        environment = {**ENVIRONMENT, "LD_PRELOAD": FAULTS, "PF_FAULT": f"{NO_SPACE}:0:1000000:{mirror}"}
        result = subprocess.run([BINARY, "train", *self.run_words("full-run", mirror)], cwd=ROOT,
                                env=environment, capture_output=True, text=True, timeout=300)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("there is no copy of", result.stdout)
        self.assertEqual(steps(self.directory / "full-run/checkpoints"), [20, 30, 40])
        self.assertEqual(list(mirror.iterdir()), [], "nothing half written stays")

    def test_copy_verifies_and_prune_keeps_the_last_whole_one(self):
        first, second = self.copy_of_run("first"), self.directory / "second"
        answer = self.directory / "copy.json"
        shown = run("checkpoint", "copy", first, first / "20", second, "--json", answer).stdout
        self.assertIn("step-000000040: copied to", shown)
        self.assertEqual(steps(second), [20, 40])
        self.assertEqual(len(json.loads(answer.read_text())), 2)
        run("checkpoint", "verify", second / "step-000000040")
        with open(first / "checkpoints/step-000000040/model.safetensors", "r+b") as file:
            file.seek(-1, os.SEEK_END)
            file.write(b"\x55")
        self.assertIn("damaged", run("checkpoint", "copy", first / "40", self.directory / "third", expect=65).stderr)
        self.assertEqual(steps(self.directory / "third"), [])
        would = run("checkpoint", "prune", first, "--keep-last", 1, "--dry-run").stdout
        self.assertIn("step-000000020: would be removed", would)
        self.assertEqual(steps(first / "checkpoints"), [20, 30, 40])
        run("checkpoint", "prune", first, second, "--keep-last", 1)
        self.assertEqual(steps(first / "checkpoints"), [30, 40], "40 is damaged: 30 is the last good one")
        self.assertEqual(steps(second), [40])
        self.assertIn("wants two directories", run("checkpoint", "copy", first, expect=64).stderr)
        run("checkpoint", "prune", first, "--keep-last", 0, expect=64)
        run("checkpoint", "copy", first / "30", self.directory / "fourth", "--dry-run", expect=64)
        self.assertFalse((self.directory / "fourth").exists())


if __name__ == "__main__":
    unittest.main()
