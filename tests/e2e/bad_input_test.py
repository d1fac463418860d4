"""Bad input ends in one message that says what, where and what to do, with the right exit code."""
import gzip
import unittest

import h5py
import numpy as np

from support import KUAIRAND, ROOT, ProgramTest, import_kuairand, run

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

    def refuse_train(self, code, *parts, keys=(), ranks=0, name="refused-run"):
        result = run("train", *self.keys(name, *keys), expect=code, ranks=ranks)
        for part in parts:
            self.assertIn(part, result.stderr)
        self.assertEqual(result.stderr.count("pinnerformer train:"), 1, result.stderr)

    def test_values_that_make_no_sense(self):
        """Each is refused before anything is read or written, naming the key and its value."""
        for word in ("model.hidden=0", "model.hidden=-64", "model.layers=0", "model.heads=-1", "model.output=0",
                     "model.max_length=-3", "train.steps=0", "train.global_batch_users=-8",
                     "objective.window_days=-28", "objective.max_labels=0",
                     "negatives.random=-1", "split.window_days=0", "split.windows=-1",
                     "evaluate.index_items=-1", "data.block_users=0", "optimizer.learning_rate=0"):
            key, value = word.split("=")
            self.refuse_train(CONFIG, f"{key} = {value} (command line): expected", keys=[word], name="untouched")
        self.refuse_train(CONFIG, "objective.window_days = 0", "objective.window_events = 0",
                          keys=["objective.window_days=0"], name="untouched")
        self.refuse_train(CONFIG, "model.heads = 7", "model.hidden = 64", keys=["model.heads=7"], name="untouched")
        self.refuse_train(CONFIG, "train.global_batch_users = 1", "negatives.random = 0",
                          keys=["train.global_batch_users=1", "negatives.random=0"], name="untouched")
        self.assertFalse((self.directory / "untouched").exists())

    def test_values_that_do_not_fit_the_data(self):
        for word in ("split.window_days=1000", "split.windows=400"):
            key, value = word.split("=")
            self.refuse_train(DATA, key, value, "start before the data begins", keys=[word])
        name = self.trained()
        items = run("evaluate", "--run", name, "evaluate.index_items=1000000", expect=DATA).stderr
        for part in ("evaluate.index_items = 1000000", "6361"):
            self.assertIn(part, items)

    def trained(self):
        """A run of two steps, made once."""
        directory = self.directory / "trained"
        if not directory.exists():
            run("train", *self.keys("trained", "train.steps=2", "checkpoint.every_steps=1"))
        return directory

    def with_other_vectors(self):
        """The same dataset but for the content vectors, made once."""
        directory = self.directory / "other-vectors"
        if not directory.exists():
            with h5py.File(KUAIRAND / "item_vectors.h5") as file:
                ids, values = file["item_id"][:], file["vector"][:]
            import_kuairand(directory, vectors=self.vectors("other.h5", ids, -values))
        return directory

    def test_checkpoint_of_another_model_or_of_other_vectors(self):
        name = self.trained()
        for word in ("model.hidden=32", "model.layers=1", "model.output=8"):
            for command in (["train", *self.keys("trained", "train.steps=2", word)],
                            ["evaluate", "--run", name, word],
                            ["embed", "--run", name, "--out", self.directory / "no.h5", word]):
                refused = run(*command, expect=CONFIG).stderr
                self.assertRegex(refused, word.replace("=", ".*"))
        other = f"data.path={self.with_other_vectors()}"
        self.assertIn("another dataset", run("train", *self.keys("trained", "train.steps=2", other),
                                             expect=DATA).stderr)
        for command in (["evaluate"], ["recommend", "--evaluation-users", 1],
                        ["embed", "--out", self.directory / "no.h5"]):
            refused = run(*command, "--run", name, other, expect=DATA).stderr
            self.assertIn("content vector of item", refused)
        self.assertFalse((self.directory / "no.h5").exists())

    def test_run_of_which_no_checkpoint_is_whole(self):
        keys = ["train.steps=2", "checkpoint.every_steps=1"]
        run("train", *self.keys("broken", *keys))
        checkpoints = self.directory / "broken/checkpoints"
        for path in checkpoints.glob("step-*/model.safetensors"):
            path.write_bytes(path.read_bytes()[:-1])
        refused = run("train", *self.keys("broken", *keys), expect=DATA).stderr
        for part in ("every checkpoint", "step-000000001/model.safetensors", "step-000000002", "fresh"):
            self.assertIn(part, refused)
        self.assertEqual(len(list(checkpoints.glob("step-*"))), 2, "they were left where they were")

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
        self.refuse_train(DATA, "--vectors", "item.table", keys=[
            f"data.path={out}", "positives.actions=click", "split.window_days=0.0001", "split.users_percent=0"])

    def test_command_line(self):
        self.assertIn("train", run("trian", expect=USAGE).stderr)
        for words in (["--steps", "4"], ["--steps=4"], ["--train.steps", "4"]):
            self.assertIn("train.steps=VALUE", run("train", *words, expect=USAGE).stderr)
        self.assertIn("--checkpoint", run("evaluate", expect=USAGE).stderr)
        self.assertIn("--users", run("recommend", "--run", ROOT, expect=USAGE).stderr)
        self.assertIn("nowhere", run("evaluate", "--run", "nowhere", expect=NO_INPUT).stderr)
        self.refuse_import(self.file("i.tsv", GOOD), USAGE, "--items FILE", more=("--item-columns", "id=item"))
        for words in (("--items-without-vector", "drop"), ("--vector-ids", "ids.txt")):
            self.refuse_import(self.file("i.tsv", GOOD), USAGE, "--vectors FILE", more=words)

    def test_slurm_job_that_writes_outside_its_run(self):
        launch = ("launch", "slurm", "--dry-run", f"data.path={self.directory}", "positives.actions=click",
                  "run.directory=/scratch/run", "checkpoint.mirror=/backup/jobs/run")
        self.assertIn("/backup/jobs:/backup/jobs", run(*launch, "--container", "pinnerformer.sif").stdout)
        self.assertIn("checkpoint.mirror", run(*launch, "--seeds", "1-3", expect=USAGE).stderr)


if __name__ == "__main__":
    unittest.main()
