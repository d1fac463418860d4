"""Damage met in mid-training ends all ranks together, with one exit code, and a killed import leaves
nothing that is taken for a dataset."""
import os
import re
import shutil
import signal
import subprocess
import time
import unittest

import h5py
import numpy as np

from support import BINARY, ENVIRONMENT, ROOT, ProgramTest, metrics, mpirun, run

FAULTS = os.environ.get("PF_FAULTS", str(ROOT / "build/tests/libfault_injection.so"))
READ_ERROR = 9  # enum Fault in tests/support/fault_injection.h
DATA, IO = 65, 74
PART = "users-00000-of-00001.h5"


class DataFaults(ProgramTest):
    def damaged(self, name, change):
        """A copy of the dataset with `change` applied to its users file."""
        path = self.directory / name
        shutil.copytree(self.dataset, path)
        with h5py.File(path / PART, "r+") as file:
            change(file)
        return path

    def train(self, name, dataset, *more, ranks=2, expect=0):
        return run("train", *self.keys(name), f"data.path={dataset}", "train.steps=60", *more,
                   ranks=ranks, expect=expect, timeout=120)

    def test_flipped_byte_stops_all_ranks_with_its_place(self):
        def flip(file):
            file["event/time"][5] += 1
        result = self.train("flipped", self.damaged("flip", flip), expect=DATA)
        for part in (PART, "/event/time", "rows 0 to", "checksum"):
            self.assertIn(part, result.stderr)
        self.assertEqual(result.stderr.count("checksum"), 1, "one rank speaks for all")

    def test_bad_block_is_skipped_and_counted_where_that_is_wanted(self):
        def spoil(file):
            file["event/item"][3000::40000] = -7  # in some of the blocks, whoever is held out
        result = self.train("skipped", self.damaged("spoilt", spoil), "data.on_bad_block=skip",
                            "data.verify_checksums=false", "train.log_every=1")
        self.assertRegex(result.stdout, r"skipped \d+ users of bad blocks; the first: rank \d: .*no such item -7")
        self.assertGreater(sum(line["skipped_users"] for line in metrics(self.directory / "skipped")), 0)

    def started(self, name, dataset):
        """A long training with two ranks that has taken a few steps."""
        words = [*self.keys(name), f"data.path={dataset}", "train.steps=1000000", "train.log_every=1",
                 "optimizer.warmup_steps=1000"]
        process = subprocess.Popen(mpirun(2) + [BINARY, "train", *map(str, words)], cwd=ROOT,
                                   env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                                   text=True)
        self.addCleanup(process.kill)
        log = self.directory / name / "metrics.jsonl"
        for _ in range(600):
            if log.exists() and log.read_text().count("\n") > 3:
                return process
            time.sleep(0.1)
        self.fail("the training did not start")

    def test_files_cut_short_in_mid_training(self):
        for file, code, text in ((PART, DATA, "cut short while in use"),
                                 ("items.h5", IO, "mapped file")):
            dataset = self.directory / f"short-{file}"
            shutil.copytree(self.dataset, dataset)
            process = self.started(f"run-{file}", dataset)
            os.truncate(dataset / file, 4096)
            _, errors = process.communicate(timeout=60)
            self.assertEqual(process.returncode, code, errors)
            self.assertIn(text, errors)
            self.assertIn(str(dataset / file), errors)

    def test_failing_disk_of_one_rank_ends_all(self):
        users = self.dataset / PART
        # Small blocks, so that they are read step by step: opening the file takes the first of the
        # 600 reads. The popularity prior would read all users before the first step.
        words = [BINARY, "train", *map(str, self.keys(
            "failing", "train.steps=2000", "train.log_every=1", "data.block_users=16",
            "model.prior_days=[]"))]
        faults = ["env", f"LD_PRELOAD={FAULTS}", f"PF_FAULT={READ_ERROR}:600:1000000:{users}"]
        ended = subprocess.run([*mpirun(1), *words, ":", "-n", "1", *faults, *words], cwd=ROOT,
                               env=ENVIRONMENT, capture_output=True, text=True, timeout=120)
        self.assertEqual(ended.returncode, IO, ended.stderr)
        self.assertRegex(ended.stderr, rf"rank 1: .*{re.escape(str(users))}: Input/output error "
                                       r"\(dataset /event/\w+, rows \d+ to \d+\)")
        self.assertEqual(ended.stderr.count("Input/output error"), 1, "one rank speaks for all")
        self.assertGreater(len(metrics(self.directory / "failing")), 0, "it failed before the first step")

    def test_killed_import_leaves_no_dataset_and_the_next_one_cleans_up(self):
        out = self.directory / "killed" / "dataset"
        out.parent.mkdir()
        sample = ROOT / "launch/sample_data/kuairand_pure"
        words = ["import", "--events", sample / "events.tsv.gz", "--columns", "user=user,item=item,time=ts_ms:ms",
                 "--out", out]
        seen = set()
        for delay in np.linspace(0.05, 1.5, 12):
            process = subprocess.Popen([BINARY, *map(str, words)], cwd=ROOT, env=ENVIRONMENT,
                                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            time.sleep(delay)
            process.send_signal(signal.SIGKILL)
            process.wait()
            seen.update(path.name.split("-")[0] for path in out.parent.iterdir())
            if out.exists():  # it was done
                run("data", "validate", out)
                shutil.rmtree(out)
        self.assertIn("dataset.tmp", seen, "no import was killed at work")
        run(*words)
        self.assertEqual([path.name for path in out.parent.iterdir()], ["dataset"])
        run("data", "validate", out)


if __name__ == "__main__":
    unittest.main()
