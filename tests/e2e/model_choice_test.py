"""Which checkpoint a result comes from: every result names it, and an older one is never used in silence."""
import fcntl
import json
import shutil
import unittest

import h5py

from support import SmallRunTest, run

USAGE, DATA, NO_INPUT, IO, CONFIG = 64, 65, 66, 74, 78


class ModelChoice(SmallRunTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        run("train", *cls.words("run", "train.steps=20", "checkpoint.every_steps=10", "checkpoint.keep_last=3"))
        cls.run_directory = cls.directory / "run"
        cls.checkpoints = cls.run_directory / "checkpoints"

    def result(self, *words):
        answer = self.directory / "answer.json"
        shown = run(*words, "--json", answer)
        return shown, json.loads(answer.read_text())

    def assert_source(self, found, step, run_directory=None):
        run_directory = run_directory or self.run_directory
        self.assertEqual(found["step"], step)
        self.assertEqual(found["run"], str(run_directory))
        self.assertEqual(found["checkpoint"], f"{run_directory}/checkpoints/step-{step:09d}")

    def test_every_result_names_run_step_and_checkpoint(self):
        for words in (["evaluate"], ["embed", "--out", self.directory / "v.h5"],
                      ["recommend", "--evaluation-users", 1]):
            shown, found = self.result(*words, "--run", self.run_directory)
            self.assert_source(found[0] if isinstance(found, list) else found, 20)
            self.assertIn(f"checkpoint {self.checkpoints}/step-000000020, step 20\n", shown.stdout)

        with h5py.File(self.directory / "v.h5") as file:
            self.assert_source(dict(file.attrs), 20)

    def test_a_checkpoint_is_chosen_by_its_step_or_its_directory(self):
        _, found = self.result("evaluate", "--run", self.run_directory, "--checkpoint", 10)
        self.assert_source(found, 10)
        _, found = self.result("evaluate", "--checkpoint", f"{self.checkpoints}/step-000000010/")
        self.assert_source(found, 10)
        refused = run("evaluate", "--run", self.run_directory, "--checkpoint", 15, expect=NO_INPUT)
        self.assertIn("step-000000015 does not exist; the run has:", refused.stderr)
        self.assertIn("step-000000020", refused.stderr)

    def test_a_damaged_newest_checkpoint_is_reported(self):
        damaged = self.directory / "damaged"
        shutil.copytree(self.run_directory, damaged)
        with open(damaged / "checkpoints/step-000000020/model.safetensors", "r+b") as file:
            file.truncate(100)
        for words in (["evaluate"], ["embed", "--out", self.directory / "older.h5"],
                      ["recommend", "--evaluation-users", 1]):
            shown, found = self.result(*words, "--run", damaged)
            self.assert_source(found[0] if isinstance(found, list) else found, 10, damaged)
            self.assertIn("skipped a damaged checkpoint: ", shown.stderr)
            self.assertRegex(shown.stderr, r"step-000000020.*has 100 bytes.*; using .*step-000000010")

    def test_a_run_and_a_checkpoint_that_are_mixed_up_are_told_apart(self):
        refused = run("evaluate", "--run", self.checkpoints / "step-000000020", expect=USAGE)
        self.assertIn("is a checkpoint: use --checkpoint", refused.stderr)
        refused = run("evaluate", "--run", self.checkpoints, expect=USAGE)
        self.assertIn("is a directory of checkpoints", refused.stderr)
        refused = run("evaluate", "--checkpoint", self.run_directory, expect=USAGE)
        self.assertIn("is a run directory: use --run", refused.stderr)

    def test_a_file_is_never_replaced_by_one_without_users(self):
        out = self.directory / "kept.h5"
        run("embed", "--run", self.run_directory, "--out", out)
        for time, code, text in (("1703400000000", USAGE, "after 2100: is it in milliseconds?"),
                                 ("2099-01-01", DATA, "no user of "), ("20240101", USAGE, "2024-01-01")):
            refused = run("embed", "--run", self.run_directory, "--out", out, "--active-since", time, expect=code)
            self.assertIn(text, refused.stderr)
            with h5py.File(out) as file:
                self.assertEqual(len(file["user/id"]), 600)
        refused = run("vectors", "--dataset", self.dataset, "--before", "1703030400000", "--out",
                      self.directory / "c.h5", expect=USAGE)
        self.assertIn("--before 1703030400000 is after 2100", refused.stderr)
        refused = run("embed", "--run", self.run_directory, "--out", self.directory / "v.csv", expect=USAGE)
        self.assertIn("the file is HDF5, not .csv", refused.stderr)

    def test_absurd_sizes_are_refused_before_anything_is_allocated(self):
        for word, key in (("model.hidden=1000000", "model.hidden"), ("model.layers=1000000000", "model.layers"),
                          ("train.global_batch_users=1000000000", "train.global_batch_users")):
            refused = run("train", *self.words("absurd", word), expect=CONFIG)
            self.assertIn(f"of memory, of which {key} takes", refused.stderr)
        refused = run("train", *self.words("absurd", "train.global_batch_users=9223372036854775807"), expect=CONFIG)
        self.assertIn("at most 1000000000", refused.stderr)
        self.assertFalse((self.directory / "absurd").exists())

    def test_runs_that_differ_in_their_paths_alone_are_the_same(self):
        run("train", *self.words("again", "train.steps=20", "checkpoint.every_steps=10"))
        shown = run("checkpoint", "diff", self.checkpoints / "step-000000020",
                    self.directory / "again/checkpoints/step-000000020", expect=0)
        self.assertIn("the same, bit by bit", shown.stdout)

    def test_the_lock_is_the_owners_alone(self):
        self.assertEqual((self.run_directory / "lock").stat().st_mode & 0o077, 0)

    def test_a_second_job_is_refused_without_a_warning_about_slow_ranks(self):
        with open(self.run_directory / "lock") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            refused = run("train", *self.words("run", "train.steps=30", "comm.straggler_seconds=2"), ranks=2,
                          expect=IO)
        self.assertIn("is in use by another training", refused.stderr)
        self.assertNotIn("straggler", refused.stderr)

    def test_a_path_that_is_too_long_is_found_at_the_start(self):
        words = [word for word in self.words("long") if not word.startswith("run.directory")]
        path = str(self.directory / "/".join(["x" * 100] * 40))
        refused = run("train", *words, f"run.directory={path}", expect=CONFIG)
        self.assertIn("run.directory: the path has", refused.stderr)

    def test_version_is_understood_without_dashes(self):
        self.assertEqual(run("version").stdout, run("--version").stdout)


if __name__ == "__main__":
    unittest.main()
