"""From events without vectors to a dataset with vectors, by the commands that the documentation shows."""
import json
import re
import shutil
import unittest

import h5py
import numpy as np
import pyarrow
import pyarrow.parquet

from support import KUAIRAND, ROOT, ProgramTest, metrics, run

USAGE, DATA, NO_INPUT = 64, 65, 66
BEFORE = "2022-05-01"


class Vectors(ProgramTest):
    def bare_dataset(self, name):
        out = self.directory / name
        run("import", "--events", KUAIRAND / "events.tsv.gz", "--columns",
            "user=user,item=item,action=action,surface=surface,time=ts_ms:ms,duration=duration_ms:ms",
            "--missing", "surface=-,duration=-1", "--keep-duplicates", "--items", KUAIRAND / "items.tsv.gz",
            "--item-columns", "id=item,title=title,topic=tag", "--out", out)
        return out

    def fingerprint(self, dataset):
        with h5py.File(dataset / "items.h5") as file:
            return file.attrs["fingerprint"]

    def test_two_commands_make_a_dataset_with_vectors(self):
        dataset = self.bare_dataset("bare")
        refused = run("train", *self.keys("run", f"data.path={dataset}"), expect=DATA)
        self.assertIn("pinnerformer vectors --into", refused.stderr)
        vectors, result = self.directory / "v.h5", self.directory / "v.json"
        made = run("vectors", "--dataset", dataset, "--before", BEFORE, "--out", vectors, "--into", dataset,
                   "--json", result)
        self.assertIn("64 numbers", made.stdout)
        report = json.loads(result.read_text())
        self.assertEqual(report["items"], report["items_attached"])
        self.assertGreater(report["events_kept_out"], 1000)
        run("data", "validate", dataset)

        with h5py.File(vectors) as file:
            self.assertIn("2022-05-01T00:00:00Z", file.attrs["recipe"])
            ids, values = file["item_id"][:], file["vector"][:]
        self.assertEqual(values.dtype, np.float16)
        self.assertLess(abs(np.linalg.norm(values.astype("f4"), axis=1) - 1).max(), 2e-3)
        with h5py.File(dataset / "items.h5") as file:
            rows = np.searchsorted(file["item/id"][:], ids)
            self.assertTrue((file["item/vector"][:][rows] == values).all())
        # The import of the file makes the same dataset.
        run("import", "--events", KUAIRAND / "events.tsv.gz", "--columns",
            "user=user,item=item,action=action,surface=surface,time=ts_ms:ms,duration=duration_ms:ms",
            "--missing", "surface=-,duration=-1", "--keep-duplicates", "--items", KUAIRAND / "items.tsv.gz",
            "--item-columns", "id=item,title=title,topic=tag", "--vectors", vectors,
            "--out", self.directory / "imported")
        self.assertEqual(self.fingerprint(dataset), self.fingerprint(self.directory / "imported"))
        run("train", *self.keys("run", f"data.path={dataset}", "train.steps=5"))
        self.assertTrue(metrics(self.directory / "run"))

    def test_a_configuration_says_what_may_be_seen(self):
        keys = ["--config", ROOT / "configs/quickstart.yaml", f"data.path={self.dataset}"]
        result = self.directory / "c.json"
        run("vectors", *keys, "--out", self.directory / "c.h5", "--json", result)
        report = json.loads(result.read_text())
        with h5py.File(self.dataset / "items.h5") as file:
            self.assertEqual(report["before"], int(file.attrs["last_time"]) - 4 * 86400 + 1)
        for words, days in ((["objective.recent_days=2"], 2), (["--hold-back-days", 3], 3),
                            (["objective.recent_days=2", "--hold-back-days", 0], 0)):
            run("vectors", *keys, *words, "--out", self.directory / "c.h5", "--json", result)
            self.assertEqual(json.loads(result.read_text())["before"], report["before"] - days * 86400, words)
        refused = run("vectors", "--dataset", self.dataset, "--before", BEFORE, "--hold-back-days", 1, "--out",
                      self.directory / "c.h5", expect=USAGE)
        self.assertIn("give an earlier --before", refused.stderr)
        run("vectors", *keys, "split.protocol=leave_one_out", "model.prior_days=[]", "split.users_percent=0", "--out",
            self.directory / "l.h5", "--json", result)
        report = json.loads(result.read_text())
        self.assertGreater(report["events_kept_out"], 40000)  # two events of each of 25,156 users
        with h5py.File(self.directory / "l.h5") as file:
            self.assertIn("without the last 2", file.attrs["recipe"])

    def test_an_untimed_history_of_lists(self):
        # Two groups of videos that are watched together; the catalogue's names are numbers.
        rng = np.random.default_rng(1)
        users = [f"u{i}" for i in range(200)]
        lists = [(rng.permutation(20)[:8] * 2 + i % 2 + 1).tolist() for i in range(200)] + [[], None]
        history = self.directory / "history.parquet"
        pyarrow.parquet.write_table(pyarrow.table({"user_id": [*users, "e", "n"], "watched": lists}),
                                    history, row_group_size=64)
        out = self.directory / "history"
        run("import", "--events", history, "--columns", "user=user_id,item=watched", "--untimed", "--out", out)
        with h5py.File(out / "items.h5") as items, h5py.File(out / "users-00000-of-00001.h5") as part:
            row = list(part["user/id"].asstr()[:]).index("u3")
            start, end = part["user/offset"][row:row + 2]
            self.assertEqual(items["item/id"][:][part["event/item"][start:end]].tolist(), lists[3])
            self.assertEqual(len(part["event/item"]), 1600)
            self.assertEqual(sorted(part["event/time"][:].tolist()), list(range(1600)))
        target = self.directory / "with-history"
        shutil.copytree(self.dataset, target)
        done = run("vectors", "--dataset", out, "--before", BEFORE, "--dimension", 2, "--into", target,
                   "--out", self.directory / "h.h5")
        self.assertIn("40 items of", done.stdout)
        with h5py.File(self.directory / "h.h5") as file:
            values, odd = file["vector"][:].astype("f4"), file["item_id"][:] % 2 == 1
        self.assertGreater((values[odd] @ values[odd].T).min(), 0.9)
        self.assertLess((values[odd] @ values[~odd].T).max(), 0.5)
        run("data", "validate", target)

    def test_lists_of_different_lengths_are_refused(self):
        path = self.directory / "lists.parquet"
        pyarrow.parquet.write_table(pyarrow.table({"user": [1], "item": [[1, 2]], "action": [["a"]]}), path)
        error = run("import", "--events", path, "--columns", "user=user,item=item,action=action", "--untimed",
                    "--out", self.directory / "never", expect=DATA).stderr
        self.assertIn("'action'", error)

    def refuse(self, code, *words, parts):
        before = sorted(path.name for path in self.directory.iterdir())
        error = run("vectors", *words, expect=code).stderr
        for part in parts:
            self.assertIn(part, error)
        self.assertEqual(len(error.strip().splitlines()), 1, error)
        self.assertEqual(sorted(path.name for path in self.directory.iterdir()), before)

    def test_bad_input(self):
        out = ["--out", self.directory / "bad.h5"]
        here = ["--dataset", self.dataset, "--before", BEFORE]
        self.refuse(USAGE, *out, "--before", BEFORE, parts=["--dataset"])
        self.refuse(USAGE, *out, "--dataset", self.dataset, parts=["--before"])
        self.refuse(USAGE, *here, parts=["--out", "--into"])
        self.refuse(USAGE, *here, *out, "split.window_days=3", parts=["--before"])
        self.refuse(USAGE, *out, "--dataset", self.dataset, "--before", "soon", parts=["soon", "2024-05-31"])
        self.refuse(USAGE, *here, *out, "--dimension", 0, parts=["--dimension", "0"])
        self.refuse(USAGE, *here, *out, "--max-items-per-user", 1, parts=["--max-items-per-user"])
        self.refuse(USAGE, *here, *out, "--smoothing", 2, parts=["--smoothing", "2"])
        self.refuse(NO_INPUT, *out, "--dataset", KUAIRAND, "--before", BEFORE, parts=["not a dataset"])
        self.refuse(NO_INPUT, *here, "--into", "/nowhere", parts=["/nowhere"])
        self.refuse(DATA, *out, "--dataset", self.dataset, "--before", "2020-01-01",
                    parts=["2020-01-01T00:00:00Z", "2022-04-"])
        self.refuse(DATA, *here, *out, "--dimension", 7000, parts=["7000", "items"])
        self.refuse(DATA, *here, *out, "--actions", "clik", parts=["--actions: the dataset has no", "clik", "click"])
        self.refuse(DATA, *here, *out, "--actions", "click>x", parts=["--actions: expected"])
        self.refuse(USAGE, *here, *out, "--dimensions", 3, parts=["--dimension"])

    def test_help_shows_an_example_that_parses(self):
        text = run("vectors", "--help").stdout
        self.assertRegex(text, r"Example:\n  pinnerformer vectors ")
        for option in ("--before", "--into", "--max-items-per-user", "--memory-mib", "--json"):
            self.assertIn(option, text)
        self.assertIsNone(re.search(r"--\w+ \(required\)", text))


if __name__ == "__main__":
    unittest.main()
