"""A run that the first version stored, with keys that have other names today, is used and continued.

stored_runs/version_0.tar.gz holds a small dataset and a run of 8 steps with learned item rows,
written before stored configurations had a version. The expected numbers are that version's own."""
import json
import shutil
import subprocess
import tarfile
import tempfile
import unittest
from pathlib import Path

import h5py

from support import BINARY, ENVIRONMENT, metrics

ARCHIVE = Path(__file__).with_name("stored_runs") / "version_0.tar.gz"
# What the run was trained with, in the names of today.
WORDS = """data.path=dataset run.directory=run positives.actions=save,view split.users_percent=40
    split.window_days=10 model.max_length=8 model.hidden=8 model.layers=1 model.heads=2 model.output=8
    model.item_hidden=16 model.action_dim=4 model.surface_dim=4 objective.window_days=10
    objective.positions=4 negatives.in_batch=16 negatives.random=16
    train.steps=12 train.global_batch_users=8 train.log_every=4 checkpoint.every_steps=4
    train.gradient_accumulation_steps=2 comm.reduce_dtype=bf16 item.table.placement=row_sharded
    item.table.dim=4 item.table.unknown_rate=0 optimizer.warmup_steps=2""".split()


class StoredRun(unittest.TestCase):
    def setUp(self):
        self.directory = Path(tempfile.mkdtemp(prefix="pinnerformer-e2e-"))
        self.addCleanup(shutil.rmtree, self.directory, ignore_errors=True)
        with tarfile.open(ARCHIVE) as archive:
            archive.extractall(self.directory)

    def run_here(self, *words, expect=0):
        result = subprocess.run([BINARY, *words], cwd=self.directory, env=ENVIRONMENT,
                                capture_output=True, text=True, timeout=300)
        self.assertEqual(result.returncode, expect, result.stdout + result.stderr)
        return result

    def test_is_evaluated_and_embedded(self):
        self.run_here("evaluate", "--run", "run", "--json", "result.json")
        result = json.loads((self.directory / "result.json").read_text())
        self.assertEqual((result["positives"], result["excluded_positives"]), (41, 10))
        self.assertAlmostEqual(result["results"][0]["recall@10"], 11 / 41, places=6)
        self.run_here("embed", "--run", "run", "--out", "vectors.h5")
        with h5py.File(self.directory / "vectors.h5") as file:
            self.assertEqual(file["item/vector"].shape, (60, 8))
        self.run_here("checkpoint", "inspect", "run/checkpoints/step-000000008")

    def test_print_config_shows_the_names_of_today(self):
        shown = self.run_here("evaluate", "--run", "run", "--print-config").stdout
        self.assertRegex(shown, r"(?m)^  gradient_accumulation_steps: 2 ")
        self.assertRegex(shown, r"(?m)^  reduce_dtype: bf16 ")

    def test_goes_on(self):
        self.run_here("train", *WORDS)
        last = metrics(self.directory / "run")[-1]
        self.assertEqual(last["step"], 12)
        # The program that made the run corrected log Q with sketches, which gave 4.95167.
        self.assertAlmostEqual(last["loss"], 5.29979, places=3)
        self.assertIn("version: 1\n", (self.directory / "run/config.yaml").read_text())

    def test_a_former_name_from_a_user_names_the_one_of_today(self):
        refused = self.run_here("train", "--config", "run/config.yaml", expect=78)
        self.assertIn("'item.id_table' (run/config.yaml:40): it is now called 'item.table'", refused.stderr)


if __name__ == "__main__":
    unittest.main()
