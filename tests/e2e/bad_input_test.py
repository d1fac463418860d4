"""Bad input ends in one message that says what, where and what to do, with the right exit code."""
import gzip
import unittest

import h5py
import numpy as np

from support import ROOT, ProgramTest, run

USAGE, DATA, NO_INPUT, CONFIG = 64, 65, 66, 78
HEADER = "user\titem\taction\tsurface\ttime\n"
GOOD = HEADER + "1\t10\tclick\thome\t1700000000\n1\t11\tclick\thome\t1700000100\n"
COLUMNS = "user=user,item=item,action=action,surface=surface,time=time:s"


class BadInput(ProgramTest):
    def file(self, name, text):
        path = self.directory / name
        with (gzip.open if name.endswith(".gz") else open)(path, "wt") as file:
            file.write(text)
        return path

    def vectors(self, name, ids, values):
        path = self.directory / name
        with h5py.File(path, "w") as file:
            file["item_id"], file["vector"] = np.array(ids), np.array(values, dtype="float16")
        return path

    def refuse_import(self, events, code, *parts, more=(), columns=COLUMNS):
        out = self.directory / "refused"
        result = run("import", "--events", events, "--columns", columns, "--out", out, *more, expect=code)
        for part in parts:
            self.assertIn(part, result.stderr)
        self.assertFalse(out.exists(), "a refused import left something behind")
        self.assertEqual(len(result.stderr.strip().splitlines()), 1, result.stderr)

    def test_missing_file(self):
        self.refuse_import(self.directory / "none.tsv", NO_INPUT, "none.tsv")

    def test_empty_file(self):
        self.refuse_import(self.file("empty.tsv", ""), DATA, "empty.tsv", "empty")

    def test_header_without_the_column(self):
        self.refuse_import(self.file("a.tsv", GOOD), DATA, "a.tsv", "'tme'", "time",
                           columns=COLUMNS.replace("time=time", "time=tme"))

    def test_text_where_a_number_belongs(self):
        bad = GOOD + "2\t10\tclick\thome\tyesterday\n"
        for name in ("text.tsv", "text.tsv.gz"):
            self.refuse_import(self.file(name, bad), DATA, name, "row 3", "time", "yesterday")

    def test_time_before_1970(self):
        self.refuse_import(self.file("old.tsv", GOOD + "2\t10\tclick\thome\t-5\n"), DATA, "-5", "1970")

    def test_milliseconds_promised_as_seconds(self):
        bad = GOOD + "2\t10\tclick\thome\t1700000000000\n"
        self.refuse_import(self.file("ms.tsv", bad), DATA, "1700000000000", ":ms")

    def test_vectors(self):
        events = self.file("b.tsv", GOOD)
        nan = self.vectors("nan.h5", [10, 11], [[1, 0], [np.nan, 1]])
        self.refuse_import(events, DATA, "nan.h5", "11", more=["--vectors", nan])
        only_one = self.vectors("one.h5", [10], [[1, 0]])
        self.refuse_import(events, DATA, "1 ", "vector",
                           more=["--vectors", only_one, "--items-without-vector", "error"])
        out = self.directory / "kept"
        kept = run("import", "--events", events, "--columns", COLUMNS, "--out", out, "--vectors", only_one)
        self.assertRegex(kept.stdout, r"items without vector +1")

    def test_directory_that_holds_a_dataset(self):
        events = self.file("c.tsv", GOOD)
        out = self.directory / "twice"
        words = ["import", "--events", events, "--columns", COLUMNS, "--out", out]
        run(*words)
        before = sorted((path.name, path.stat().st_mtime_ns) for path in out.iterdir())
        self.assertIn("--overwrite", run(*words, expect=USAGE).stderr)
        self.assertEqual(before, sorted((p.name, p.stat().st_mtime_ns) for p in out.iterdir()))
        run(*words, "--overwrite")
        (out / "notes.txt").write_text("mine")
        self.assertIn("notes.txt", run(*words, "--overwrite", expect=DATA).stderr)
        self.assertEqual((out / "notes.txt").read_text(), "mine")

    def refuse_train(self, code, *parts, keys=(), ranks=0):
        result = run("train", *self.keys("refused-run", *keys), expect=code, ranks=ranks)
        for part in parts:
            self.assertIn(part, result.stderr)
        self.assertEqual(result.stderr.count("pinnerformer train:"), 1, result.stderr)

    def test_configuration(self):
        self.refuse_train(CONFIG, "model.hiden", "model.hidden", keys=["model.hiden=3"], ranks=2)
        self.refuse_train(CONFIG, "train.steps", "many", "whole number", keys=["train.steps=many"])
        self.refuse_train(CONFIG, "model.heads", "5", "model.hidden", "64", keys=["model.heads=5"])
        self.refuse_train(CONFIG, "positives.actions", keys=["positives.actions=[]"])
        self.refuse_train(CONFIG, "negatives.in_batch", keys=["negatives.in_batch=0", "negatives.random=0"])
        missing = run("train", "--config", "nowhere.yaml", expect=NO_INPUT)
        self.assertIn("nowhere.yaml", missing.stderr)

    def test_data_that_cannot_be_trained_on(self):
        self.refuse_train(DATA, "clik", "click", keys=["positives.actions=clik"])
        self.refuse_train(DATA, "positive", keys=["positives.actions=hate", "positives.surfaces=tab14"])
        self.refuse_train(NO_INPUT, "/nowhere", keys=["data.path=/nowhere"], ranks=2)
        out = self.directory / "bare"
        run("import", "--events", self.file("d.tsv", GOOD), "--columns", COLUMNS, "--out", out)
        self.refuse_train(DATA, "--vectors", keys=[f"data.path={out}", "positives.actions=click"])

    def test_command_line(self):
        self.assertIn("train", run("trian", expect=USAGE).stderr)
        self.assertIn("--checkpoint", run("evaluate", expect=USAGE).stderr)
        self.assertIn("--users", run("recommend", "--run", ROOT, expect=USAGE).stderr)
        self.assertIn("nowhere", run("evaluate", "--run", "nowhere", expect=NO_INPUT).stderr)


if __name__ == "__main__":
    unittest.main()
