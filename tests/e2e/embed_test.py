"""The nightly job: only users of the day are embedded, everybody else is taken over, nothing mixes."""
import json
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

import h5py
import numpy as np

from support import BINARY, ENVIRONMENT, ROOT, run

USAGE, DATA, NO_INPUT = 64, 65, 66
DAY = 86400
START = 1_700_000_000
TODAY = START + 30 * DAY  # what happens from here on, yesterday's job did not see
USERS, ITEMS, WIDTH = 1500, 80, 16
ACTIONS, SURFACES = ("buy", "click", "like"), ("home", "search")


def vector_of(item):
    return np.random.default_rng(item).standard_normal(WIDTH).astype("float16")


def events_before_today():
    """Rows (user, item, action, surface, time)."""
    draw = np.random.default_rng(0)
    for user in range(USERS):
        for _ in range(3 + user % 9):
            yield (f"u{user}", int(draw.integers(ITEMS)), ACTIONS[draw.integers(3)], SURFACES[draw.integers(2)],
                   int(START + draw.integers(30 * DAY - 10)))


def events_of_today():
    """40 known users and 10 new ones meet 5 new items; two users stand on either side of midnight."""
    for n in range(40):
        yield f"u{n * 7}", ITEMS + n % 5, "like", "home", TODAY + 60 + n
    for n in range(10):
        yield f"new{n}", n, "click", "search", TODAY + 600 + n
    yield "u1", 3, "click", "home", TODAY
    yield "u2", 3, "click", "home", TODAY - 1


ACTIVE = {f"u{n * 7}" for n in range(40)} | {f"new{n}" for n in range(10)} | {"u1"}


class Vectors:
    """What h5py reads from a file of `embed`, as docs/data_format.md shows."""

    def __init__(self, path):
        with h5py.File(path) as file:
            self.sets = {name: (file[name]["id"].asstr()[:] if name == "user" else file[name]["id"][:],
                                file[name]["vector"][:], dict(file[name].attrs)) for name in file if name != "checksum"}

    def ids(self, name):
        return list(self.sets[name][0])

    def by_id(self, name):
        ids, vectors, _ = self.sets[name]
        return dict(zip(ids, vectors))

    def versions(self):
        return {tuple(sorted(attributes.items())) for _, _, attributes in self.sets.values()}


class Embed(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.directory = Path(tempfile.mkdtemp(prefix="pinnerformer-e2e-"))
        cls.addClassCleanup(shutil.rmtree, cls.directory, ignore_errors=True)
        before, today = list(events_before_today()), list(events_of_today())
        cls.yesterday = cls.import_rows("yesterday", before, ITEMS)
        cls.today = cls.import_rows("today", before + today, ITEMS + 5)
        cls.run_directory = cls.train("run", 3)
        cls.old = cls.embed("old.h5", cls.yesterday)

    @classmethod
    def import_rows(cls, name, rows, items, vector=vector_of):
        table = cls.directory / f"{name}.tsv"
        table.write_text("user\titem\taction\tsurface\ttime\n" +
                         "".join("\t".join(map(str, row)) + "\n" for row in rows))
        vectors = cls.directory / f"{name}-vectors.h5"
        with h5py.File(vectors, "w") as file:
            file["item_id"] = np.arange(items)
            file["vector"] = np.stack([vector(item) for item in range(items)])
        out = cls.directory / name
        run("import", "--events", table, "--columns",
            "user=user,item=item,action=action,surface=surface,time=time:s", "--vectors", vectors, "--out", out)
        return out

    @classmethod
    def train(cls, name, steps, *more, ranks=0):
        run("train", f"data.path={cls.yesterday}", f"run.directory={cls.directory / name}",
            "positives.actions=buy,click", "model.hidden=16", "model.heads=2", "model.layers=2",
            "model.max_length=8", "model.output=8", "model.item_hidden=16", "negatives.in_batch=32",
            "negatives.random=32", "split.window_days=2", f"train.steps={steps}", "train.global_batch_users=16",
            *more, ranks=ranks)
        return cls.directory / name

    @classmethod
    def words(cls, out, dataset, *more, trained="run"):
        return ["embed", "--run", cls.directory / trained, "--out", cls.directory / out,
                f"data.path={dataset}", "evaluate.batch_users=64", *more]

    @classmethod
    def embed(cls, out, dataset, *more, trained="run", **options):
        run(*cls.words(out, dataset, *more, trained=trained), **options)
        return cls.directory / out

    def refused(self, *words, code=DATA):
        self.assertFalse((self.directory / "refused.h5").exists())
        result = run(*words, expect=code)
        self.assertFalse((self.directory / "refused.h5").exists())
        self.assertEqual(list(self.directory.glob("*.tmp-*")), [])
        return result.stderr

    def test_any_number_of_ranks_writes_the_same_file(self):
        for name, more in (("all", []), ("merged", ["--active-since", TODAY, "--merge", self.old])):
            files = [self.embed(f"{name}{ranks}.h5", self.today, *more, ranks=ranks).read_bytes()
                     for ranks in (0, 1, 2, 3)]
            for file in files[1:]:
                self.assertEqual(files[0], file)

    def test_incremental_equals_full(self):
        summary = self.directory / "summary.json"
        merged = Vectors(self.embed("incremental.h5", self.today, "--active-since", TODAY, "--merge", self.old,
                                    "--json", summary, ranks=2))
        full, old = Vectors(self.embed("full.h5", self.today)), Vectors(self.old)
        self.assertEqual(merged.ids("user"), full.ids("user"))
        self.assertEqual(len(merged.ids("user")), USERS + 10)
        self.assertEqual(merged.versions(), full.versions())
        self.assertEqual(len(merged.versions()), 1)
        merged_users, full_users, old_users = (file.by_id("user") for file in (merged, full, old))
        changed = set()
        for user, vector in merged_users.items():
            if user in ACTIVE:
                np.testing.assert_allclose(vector, full_users[user], rtol=0, atol=1e-6)
                changed.add(user) if user not in old_users or (vector != old_users[user]).any() else None
            else:
                np.testing.assert_array_equal(vector, old_users[user])  # bit for bit
                if user != "u2":  # one second too early: it keeps yesterday's vector
                    np.testing.assert_allclose(vector, full_users[user], rtol=0, atol=1e-6)
        self.assertEqual(changed, ACTIVE)
        self.assertGreater(abs(merged_users["u2"] - full_users["u2"]).max(), 1e-4)
        np.testing.assert_array_equal(merged.sets["item"][1], full.sets["item"][1])
        self.assertEqual(merged.ids("item"), list(range(ITEMS + 5)))
        norms = np.linalg.norm(merged.sets["item"][1], axis=1)
        np.testing.assert_allclose(norms, 1, atol=1e-5)
        written = json.loads(summary.read_text())
        self.assertEqual((written["users"], written["users_embedded"], written["items"]),
                         (USERS + 10, len(ACTIVE), ITEMS + 5))

    def test_active_since_without_a_merge_writes_the_active_alone(self):
        for since in (TODAY, "2023-12-14T22:13:20Z"):
            alone = Vectors(self.embed("alone.h5", self.today, "--active-since", since))
            self.assertEqual(set(alone.ids("user")), ACTIVE)

    def test_dataset_of_recent_events_only(self):
        """Its vocabularies are smaller: names must decide. Users it does not have are taken over."""
        recent = list(events_of_today())
        small = self.import_rows("recent", recent, ITEMS + 5)
        padded = self.import_rows("padded", recent + [("x", 0, "buy", "home", START)], ITEMS + 5)
        with h5py.File(small / "items.h5") as file:
            self.assertEqual(list(file["vocabulary/action"].asstr()), ["click", "like"])
        merged = Vectors(self.embed("recent.h5", small, "--active-since", TODAY, "--merge", self.old))
        whole = Vectors(self.embed("padded.h5", padded)).by_id("user")
        self.assertEqual(set(merged.ids("user")), set(Vectors(self.old).ids("user")) | ACTIVE)
        for user in ACTIVE:
            np.testing.assert_allclose(merged.by_id("user")[user], whole[user], rtol=0, atol=1e-6)

    def test_merging_into_the_file_itself(self):
        nightly = self.directory / "nightly.h5"
        shutil.copy(self.old, nightly)
        self.embed("nightly.h5", self.today, "--active-since", TODAY, "--merge", nightly)
        expected = self.embed("apart.h5", self.today, "--active-since", TODAY, "--merge", self.old)
        self.assertEqual(nightly.read_bytes(), expected.read_bytes())

    def test_a_killed_job_leaves_yesterdays_file(self):
        nightly = self.directory / "killed" / "nightly.h5"
        nightly.parent.mkdir()
        shutil.copy(self.old, nightly)
        words = self.words("killed/nightly.h5", self.today, "--merge", nightly, "evaluate.batch_users=1")
        job = subprocess.Popen([BINARY, *map(str, words)], cwd=ROOT, env=ENVIRONMENT, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 120
        while not list(nightly.parent.glob("nightly.h5.tmp-*")):
            self.assertIsNone(job.poll())
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.001)
        job.kill()
        self.assertEqual(job.wait(), -signal.SIGKILL, "the job was faster than the kill")
        self.assertEqual(nightly.read_bytes(), self.old.read_bytes())
        self.embed("killed/nightly.h5", self.today, "--active-since", TODAY, "--merge", nightly)

    def test_users_or_items_alone(self):
        users = self.embed("users.h5", self.today, "--users", "--active-since", TODAY, "--merge", self.old)
        items = self.embed("items.h5", self.today, "--items", ranks=2)
        self.assertEqual((set(Vectors(users).sets), set(Vectors(items).sets)), ({"user"}, {"item"}))
        self.embed("again.h5", self.today, "--active-since", TODAY, "--merge", users)
        self.assertIn("has no user vectors", self.refused(*self.words("refused.h5", self.today, "--merge", items)))

    def test_new_items_read_the_unknown_row(self):
        self.train("rows", 3, "item.table.placement=row_sharded", "item.table.dim=8", ranks=2)
        summary = self.directory / "rows.json"
        files = []
        for ranks in (0, 2):
            words = self.words(f"rows{ranks}.h5", self.today, "--items", "--json", summary, trained="rows")
            shown = run(*words, ranks=ranks).stdout
            found = re.search(rf"of {ITEMS + 5} items .* unknown row: 5 were not in the training dataset, "
                              r"(\d+) were in no step", shown)
            self.assertTrue(found, shown)
            self.assertEqual(json.loads(summary.read_text())["unknown_items"], 5 + int(found[1]))
            files.append(self.directory / f"rows{ranks}.h5")
        self.assertEqual(files[0].read_bytes(), files[1].read_bytes())
        later = Vectors(files[0]).by_id("item")
        before = Vectors(self.embed("rows-before.h5", self.yesterday, "--items", trained="rows")).by_id("item")
        self.assertEqual(set(later) - set(before), set(range(ITEMS, ITEMS + 5)))
        for item, vector in before.items():
            np.testing.assert_allclose(vector, later[item], rtol=0, atol=1e-6)

    def test_vectors_of_other_versions_are_refused(self):
        self.train("other", 4)
        words = ["--active-since", TODAY, "--merge", self.old]
        text = self.refused(*self.words("refused.h5", self.today, *words, trained="other"))
        self.assertIn("model version", text)
        self.assertIn("old.h5", text)
        content = self.directory / "content.h5"
        shutil.copy(self.old, content)
        with h5py.File(content, "r+") as file:
            file["user"].attrs["content_version"] = "another"
        text = self.refused(*self.words("refused.h5", self.today, "--merge", content))
        self.assertIn("content version another", text)
        encoder = self.import_rows("encoder", list(events_before_today()), ITEMS, lambda item: vector_of(item + 1000))
        self.assertIn("content vector of item", self.refused(*self.words("refused.h5", encoder, *words)))
        self.assertIn("no vector file", self.refused(
            *self.words("refused.h5", self.today, "--merge", self.yesterday / "items.h5")))

    def test_names_the_model_does_not_know_are_refused(self):
        share = self.import_rows("share", [("u1", 1, "share", "home", TODAY)], ITEMS)
        text = self.refused(*self.words("refused.h5", share))
        for part in ("action 'share'", "buy, click, like"):
            self.assertIn(part, text)
        feed = self.import_rows("feed", [("u1", 1, "buy", "feed", TODAY)], ITEMS)
        self.assertIn("surface 'feed'", self.refused(*self.words("refused.h5", feed)))

    def test_recommend_reads_the_item_vectors(self):
        items = self.embed("index.h5", self.today, "--items")
        words = ["recommend", "--run", self.run_directory, f"data.path={self.today}", "--users", "new3,u1"]
        self.assertEqual(run(*words).stdout, run(*words, "--vectors", items).stdout)
        self.train("third", 2)
        words[2] = self.directory / "third"
        self.assertIn("model version", run(*words, "--vectors", items, expect=DATA).stderr)
        words[2] = self.run_directory
        self.assertIn("other items", run(*words, "--vectors", self.old, expect=DATA).stderr)

    def test_command_line(self):
        for more, part in ((["--active-since", "yesterday"], "--active-since yesterday"),
                           (["--users", "--items"], "exclude each other"),
                           (["--items", "--merge", self.old], "--items leaves users out")):
            self.assertIn(part, self.refused(*self.words("refused.h5", self.today, *more), code=USAGE))
        none = self.words("refused.h5", self.today, "--merge", self.directory / "none.h5")
        self.assertIn("none.h5", self.refused(*none, code=NO_INPUT))

    def test_checkpoint_without_data_json(self):
        """One of an older program serves its own dataset only."""
        older = self.directory / "older"
        shutil.copytree(self.run_directory, older)
        checkpoint = next((older / "checkpoints").iterdir())
        (checkpoint / "data.json").unlink()
        manifest = json.loads((checkpoint / "MANIFEST.json").read_text())
        del manifest["files"]["data.json"], manifest["checksum"]
        manifest["version"] = 1
        (checkpoint / "MANIFEST.json").write_text(json.dumps(manifest))
        run(*self.words("same.h5", self.yesterday, trained="older"))
        # The files differ in the path of the run alone.
        same, old = Vectors(self.directory / "same.h5"), Vectors(self.old)
        self.assertEqual(same.versions(), old.versions())
        for name in ("user", "item"):
            self.assertEqual(same.ids(name), old.ids(name))
            self.assertEqual(same.sets[name][1].tobytes(), old.sets[name][1].tobytes())
        self.assertIn("data.json", self.refused(*self.words("refused.h5", self.today, trained="older")))

    def test_the_documented_lines_read_it(self):
        section = (ROOT / "docs/data_format.md").read_text().split("## Vector files")[1]
        lines = re.search(r"```python\n(.*?)```", section, re.S)[1]
        shown = subprocess.run([sys.executable, "-c", lines.replace("vectors.h5", str(self.old))],
                               capture_output=True, text=True, check=True).stdout
        self.assertRegex(shown, r"^b'u\d+' \[(\d+ *){10}\]")

    def test_formats_hold_the_same_vectors(self):
        import pyarrow.parquet
        whole = Vectors(self.embed("whole.h5", self.today))
        for group in ("user", "item"):
            ids, vectors, versions = whole.sets[group]
            table = pyarrow.parquet.read_table(self.embed(f"{group}.parquet", self.today, f"--{group}s", ranks=2))
            self.assertEqual(table.column("id").to_pylist(), list(ids))
            np.testing.assert_array_equal(np.array(table.column("vector").to_pylist(), "float32"), vectors)
            self.assertEqual(str(table.schema.field("vector").type),
                             f"fixed_size_list<element: float not null>[{vectors.shape[1]}]")
            metadata = {name.decode(): value.decode() for name, value in table.schema.metadata.items()}
            self.assertEqual({**metadata, **versions, "set": group, "step": "3"}, metadata)
            stored = self.embed(f"{group}.npy", self.today, f"--{group}s", "--dtype", "float16", ranks=2)
            np.testing.assert_array_equal(np.load(stored), vectors.astype("float16"))
            description = json.loads((self.directory / f"{group}.json").read_text())
            self.assertEqual({**description, **versions, "set": group, "rows": len(ids)}, description)
        names = (self.directory / "user.ids.txt").read_text().splitlines()
        self.assertEqual(names, whole.ids("user"))
        np.testing.assert_array_equal(np.load(self.directory / "item.ids.npy"), whole.ids("item"))

    def test_float16_is_read_by_every_command(self):
        half = self.embed("half.h5", self.yesterday, "--dtype", "float16")
        with h5py.File(half) as file:
            self.assertEqual(file["user/vector"].dtype, "float16")
            np.testing.assert_array_equal(file["user/vector"][:], Vectors(self.old).sets["user"][1].astype("float16"))
        merged = Vectors(self.embed("half-merged.h5", self.today, "--active-since", TODAY, "--merge", half))
        self.assertEqual(merged.by_id("user")["u3"].tobytes(),
                         Vectors(half).by_id("user")["u3"].astype("float32").tobytes())
        run("recommend", "--run", self.run_directory, f"data.path={self.yesterday}", "--users", "u1", "--vectors", half)

    def test_shards_are_parts_of_the_whole(self):
        import pyarrow.parquet
        whole = Vectors(self.embed("whole.h5", self.today))
        for ranks in (0, 3):
            shards = max(1, ranks)
            self.embed("shards/v.h5", self.today, "--shards", ranks=ranks)
            parts = [Vectors(self.directory / f"shards/v-{n:05}-of-{shards:05}.h5") for n in range(shards)]
            for group in ("user", "item"):
                self.assertEqual([one for part in parts for one in part.ids(group)], whole.ids(group))
                np.testing.assert_allclose(np.concatenate([part.sets[group][1] for part in parts]),
                                           whole.sets[group][1], rtol=0, atol=1e-6)
                sizes = [len(part.ids(group)) for part in parts]
                self.assertLessEqual(max(sizes) - min(sizes), 1)
            self.assertEqual({version for part in parts for version in part.versions()}, whole.versions())
        self.assertEqual(len(list((self.directory / "shards").iterdir())), 4)
        self.embed("shards/a.parquet", self.today, "--shards", "--users", "--active-since", TODAY, ranks=2)
        tables = [pyarrow.parquet.read_table(self.directory / f"shards/a-{n:05}-of-00002.parquet") for n in range(2)]
        self.assertEqual({one for table in tables for one in table.column("id").to_pylist()}, ACTIVE)
        self.embed("shards/i.npy", self.today, "--shards", "--items", ranks=2)
        rows = [np.load(self.directory / f"shards/i-{n:05}-of-00002.npy") for n in range(2)]
        np.testing.assert_allclose(np.concatenate(rows), whole.sets["item"][1], rtol=0, atol=1e-6)

    def test_a_rank_that_fails_publishes_no_shard(self):
        (self.directory / "half-way").mkdir()
        (self.directory / "half-way/v-00001-of-00002.h5").mkdir()  # rank 1 cannot write here
        run(*self.words("half-way/v.h5", self.today, "--shards"), ranks=2, expect=74)
        self.assertEqual([path.name for path in (self.directory / "half-way").glob("v-*.h5")],
                         ["v-00001-of-00002.h5"])

    def test_formats_that_contradict_are_refused(self):
        for name, more, part in (("refused.parquet", [], "add --users or --items"),
                                 ("refused.npy", ["--users", "--format", "parquet"], "give the file the ending .parquet"),
                                 ("refused.parquet", ["--format", "h5"], "give the file the ending .h5"),
                                 ("refused.h5", ["--users", "--format", "npy"], "give the file the ending .npy"),
                                 ("refused.csv", [], "the file is HDF5, not .csv"),
                                 ("refused.h5", ["--format", "parqet"], "did you mean 'parquet'"),
                                 ("refused.h5", ["--dtype", "float64"], "did you mean 'float"),
                                 ("refused.h5", ["--shards", "--merge", self.old], "--shards and --merge exclude"),
                                 ("refused.npy", ["--users", "--merge", self.old], "--merge works on HDF5 files"),
                                 ("refused.npy", ["--users", "--projector", "p"], "--projector reads one HDF5 file"),
                                 ("refused.h5", ["--shards", "--projector", "p"], "--projector reads one HDF5 file")):
            self.assertIn(part, self.refused(*self.words(name, self.today, *more), code=USAGE))
            self.assertEqual(list(self.directory.glob("refused*")), [])

    def test_print_config_shows_the_stored_configuration(self):
        for command in (["evaluate"], ["embed", "--out", self.directory / "refused.h5"], ["recommend"]):
            shown = run(*command, "--run", self.run_directory, "--print-config", "evaluate.mean_last=3").stdout
            self.assertRegex(shown, r"hidden: +16 .*config.yaml")
            self.assertRegex(shown, r"mean_last: +3 .*command line")


if __name__ == "__main__":
    unittest.main()
