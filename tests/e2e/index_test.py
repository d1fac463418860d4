"""The index of item vectors: built, measured, read by others, and used by `recommend`."""
import hashlib
import json
import shutil
import sys
import unittest

import h5py
import numpy as np

from support import ROOT, SmallRunTest, run

USAGE, DATA, NO_INPUT = 64, 65, 66
OPTIONAL = ROOT / f".venv-optional/lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages"


def write_vectors(path, items, ids=None, users=None, model="m"):
    """A vector file as docs/data_format.md describes it, without the optional checksums."""
    ids = np.arange(len(items)) if ids is None else np.array(ids, dtype=h5py.string_dtype())
    with h5py.File(path, "w") as file:
        file.attrs["format"], file.attrs["version"] = "pinnerformer-vectors", np.int64(2)
        sets = {"item": (ids, items)} | ({} if users is None else {"user": (np.arange(len(users)), users)})
        for name, (names, vectors) in sets.items():
            group = file.create_group(name)
            group["id"] = names
            group.create_dataset("vector", data=np.asarray(vectors, "float32"))
            group.attrs["model_version"], group.attrs["content_version"] = model, "c"
    return path


class Index(SmallRunTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        run("train", *cls.words("run", "train.steps=30"))
        cls.vectors = cls.directory / "vectors.h5"
        run("embed", "--run", cls.directory / "run", "--out", cls.vectors)
        cls.items = cls.directory / "items.hnsw"
        cls.shown = run("index", cls.vectors, "--out", cls.items, "--threads", 1).stdout
        with h5py.File(cls.vectors) as file:
            cls.item_ids, cls.item_vectors = file["item/id"][:], file["item/vector"][:]
            cls.user_ids, cls.user_vectors = file["user/id"][:], file["user/vector"][:]
            cls.versions = dict(file["item"].attrs)

    def recommend(self, *more, **options):
        summary = self.directory / "recommend.json"
        result = run("recommend", "--run", self.directory / "run", "--json", summary, *more, **options)
        return result.stderr if options.get("expect") else (result.stdout, json.loads(summary.read_text()))

    def refused(self, *words, code=DATA):
        self.assertEqual(list(self.directory.glob("refused*")), [])
        text = run("index", *words, "--out", self.directory / "refused.hnsw", expect=code).stderr
        self.assertEqual(list(self.directory.glob("refused*")), [])
        self.assertNotIn("bug", text)
        return text

    def test_the_description_says_what_was_made(self):
        found = json.loads((self.directory / "items.hnsw.json").read_text())
        self.assertEqual((found["format"], found["version"]), ("pinnerformer item index", 1))
        self.assertEqual((found["rows"], found["dimensions"], found["id_type"]), (*self.item_vectors.shape, "integer"))
        self.assertEqual({name: found[name] for name in self.versions}, self.versions)
        self.assertEqual(found["recall_query_kind"], "user vectors")
        self.assertGreaterEqual(found["recall_at_10"], .95)
        self.assertIn(f"recall@10 {found['recall_at_10']:.6g}", self.shown)
        self.assertEqual(found["index_file"]["bytes"], self.items.stat().st_size)
        np.testing.assert_array_equal(np.load(self.directory / "items.hnsw.ids.npy"), self.item_ids)

    def test_one_thread_builds_the_same_index(self):
        again = self.directory / "again.hnsw"
        run("index", self.vectors, "--out", again, "--threads", 1)
        self.assertEqual(*(hashlib.sha256(path.read_bytes()).digest() for path in (self.items, again)))

    def test_the_python_package_reads_it(self):
        sys.path.append(str(OPTIONAL))
        self.addCleanup(sys.path.remove, str(OPTIONAL))
        try:
            import hnswlib
        except ImportError:
            self.skipTest("the Python package hnswlib is not installed; tests/optional.sh installs it")
        index = hnswlib.Index(space="ip", dim=self.item_vectors.shape[1])
        index.load_index(str(self.items))
        index.set_ef(200)
        rows, distances = index.knn_query(self.user_vectors[:50], k=5)
        scores = self.user_vectors[:50] @ self.item_vectors.T
        np.testing.assert_allclose(1 - distances, np.take_along_axis(scores, rows.astype(int), 1), atol=1e-5)
        exact = -np.sort(-scores, axis=1)[:, :5]
        self.assertGreater(np.mean(1 - distances >= exact[:, -1:] - 1e-5), .98)

    def test_recommend_finds_what_a_comparison_with_all_finds(self):
        users = ",".join(map(str, self.user_ids[:40]))
        for more in ([], ["--repeats"], ["--items", 290], ["--explain"]):
            exact, found = (self.recommend("--users", users, *more, *how)[1] for how in ([], ["--index", self.items]))
            same = total = 0
            for one, other in zip(exact, found, strict=True):
                self.assertEqual({**one, "recommended": 0}, {**other, "recommended": 0})
                names = [{entry["item"]: entry for entry in answer["recommended"]} for answer in (one, other)]
                self.assertEqual(len(one["recommended"]), len(other["recommended"]))
                self.assertEqual(len(names[1]), len(other["recommended"]))
                same += len(names[0].keys() & names[1].keys())
                total += len(names[0])
                for item in names[0].keys() & names[1].keys():
                    self.assertAlmostEqual(names[0][item]["similarity"], names[1][item]["similarity"], places=5)
                    self.assertEqual(names[0][item].get("nearest_event", {}).get("time"),
                                     names[1][item].get("nearest_event", {}).get("time"))
            self.assertGreaterEqual(same / total, .98)

    def test_explain_names_the_nearest_event(self):
        text, (answer,) = self.recommend("--users", self.user_ids[0], "--explain", "--history", 1000)
        vectors = dict(zip(map(str, self.item_ids), self.item_vectors))
        unit = {item: vector / np.linalg.norm(vector) for item, vector in vectors.items()}
        own = {event["item"] for event in answer["last"]}
        self.assertEqual(len(answer["last"]), answer["events"])
        for entry in answer["recommended"]:
            reason = entry["nearest_event"]
            best = max(unit[entry["item"]] @ unit[item] for item in own)
            self.assertIn(reason["item"], own)
            self.assertAlmostEqual(reason["cosine"], best, places=4)
            self.assertAlmostEqual(unit[entry["item"]] @ unit[reason["item"]], best, places=4)
            last = [event for event in answer["last"] if event["item"] == reason["item"]][-1]
            self.assertEqual(reason["action"], last["action"])
            self.assertIn(f"nearest event: {reason['time']}  {reason['action']}", text)
            self.assertNotIn("prior", entry)

    def test_explain_shows_the_share_of_the_prior(self):
        run("train", *self.words("prior", "train.steps=2", "model.prior_days=7,28"))
        vectors = self.directory / "prior.h5"
        run("embed", "--run", self.directory / "prior", "--out", vectors)
        summary = self.directory / "prior.json"
        run("index", vectors, "--out", self.directory / "prior.hnsw", "--least-recall", 0)
        with h5py.File(vectors) as file:
            user, item = (dict(zip(map(str, file[name]["id"][:]), file[name]["vector"][:])) for name in ("user", "item"))
        chosen = str(self.user_ids[0])
        for how in ([], ["--vectors", vectors], ["--index", self.directory / "prior.hnsw"]):
            text = run("recommend", "--run", self.directory / "prior", "--users", chosen, "--explain",
                       "--json", summary, *how).stdout
            answer, = json.loads(summary.read_text())
            for entry in answer["recommended"]:
                parts = user[chosen] * item[entry["item"]]
                self.assertAlmostEqual(entry["similarity"], parts.sum(), places=4)
                self.assertAlmostEqual(entry["prior"], parts[16:].sum(), places=4)
                whole = abs(parts[16:].sum()) + abs(parts[:16].sum())
                self.assertAlmostEqual(entry["prior_share"], abs(parts[16:].sum()) / whole, places=4)
                self.assertIn(f"{round(100 * entry['prior_share'])} % of the score", text)

    def test_an_index_of_another_model_is_refused(self):
        run("train", *self.words("other", "train.steps=2"))
        words = ["recommend", "--run", self.directory / "other", "--users", self.user_ids[0], "--index", self.items]
        self.assertIn("model version", run(*words, expect=DATA).stderr)
        self.assertIn("exclude each other", self.recommend("--users", 1, "--index", self.items, "--vectors",
                                                           self.vectors, expect=USAGE))

    def copy(self, name):
        for ending in ("", ".json", ".ids.npy"):
            shutil.copy(f"{self.items}{ending}", self.directory / f"{name}{ending}")
        return self.directory / name

    def describe(self, index, **changes):
        path = index.parent / (index.name + ".json")
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    def test_damaged_and_lying_files_are_refused(self):
        words = ["--users", self.user_ids[0], "--index"]
        index = self.copy("short.hnsw")
        index.write_bytes(index.read_bytes()[:-1])
        self.assertIn("is damaged or was replaced", self.recommend(*words, index, expect=DATA))
        index = self.copy("flip.hnsw")
        content = bytearray(index.read_bytes())
        content[len(content) // 2] ^= 1
        index.write_bytes(content)
        self.assertIn("is damaged or was replaced", self.recommend(*words, index, expect=DATA))
        index = self.copy("ids.hnsw")
        np.save(self.directory / "ids.hnsw.ids.npy", self.item_ids[::-1])
        self.assertIn("is damaged or was replaced", self.recommend(*words, index, expect=DATA))
        for changes, part in (({"rows": len(self.item_ids) * 2}, "expected 600 ids"), ({"dimensions": 8}, "damaged"),
                              ({"m": 16}, "damaged"), ({"rows": -1}, '"rows" is -1'), ({"version": 9}, "version 1"),
                              ({"ef": "x"}, '"ef" is "x"'), ({"format": "x"}, "describes no item index"),
                              ({"id_type": "uuid"}, "id_type"), ({"index_file": 3}, "index_file"),
                              ({"model_version": "x"}, "`pinnerformer index` again")):
            index = self.copy("lies.hnsw")
            self.describe(index, **changes)
            self.assertIn(part, self.recommend(*words, index, expect=DATA), changes)
        narrow = write_vectors(self.directory / "narrow.h5", np.eye(len(self.item_ids), 8))
        run("index", narrow, "--least-recall", 0, "--out", self.directory / "narrow.hnsw")
        self.describe(self.directory / "narrow.hnsw", **{name: str(self.versions[name])
                                                         for name in ("model_version", "content_version")})
        self.assertIn("numbers, as the model makes, found 8",
                      self.recommend(*words, self.directory / "narrow.hnsw", expect=DATA))
        (self.directory / "lies.hnsw.json").write_text("[" * 100000)
        self.assertIn("levels deep", self.recommend(*words, index, expect=DATA))
        self.assertIn("none.hnsw.json", self.recommend(*words, self.directory / "none.hnsw", expect=NO_INPUT))

    def test_low_recall_is_refused(self):
        draw = np.random.default_rng(0)
        vectors = write_vectors(self.directory / "hard.h5", draw.standard_normal((4000, 64)))
        bad = ["--m", 2, "--ef-construction", 2, "--ef", 1]
        text = self.refused(vectors, *bad)
        for part in ("recall@10 is 0.", "item vectors with noise", "--least-recall", "Raise --ef"):
            self.assertIn(part, text)
        run("index", vectors, *bad, "--least-recall", 0, "--out", self.directory / "poor.hnsw")

    def test_string_ids_stand_in_a_text_file(self):
        vectors = write_vectors(self.directory / "names.h5", np.eye(5), ["a", "b c", "é", "", "z"], users=np.eye(5)[:2])
        shown = run("index", vectors, "--out", self.directory / "names.hnsw", "--queries", 7).stdout
        self.assertIn("over 2 user vectors", shown)
        self.assertEqual((self.directory / "names.hnsw.ids.txt").read_text(), "a\nb c\né\n\nz\n")
        lines = write_vectors(self.directory / "lines.h5", np.eye(2), ["a", "b\nc"])
        self.assertIn("line end", self.refused(lines))

    def test_bad_vectors_are_refused(self):
        for number in (np.nan, np.inf):
            bad = np.ones((5, 3))
            bad[3, 1] = number
            self.assertIn("finite", self.refused(write_vectors(self.directory / "bad.h5", bad)))
        self.assertIn("no item", self.refused(write_vectors(self.directory / "empty.h5", np.ones((0, 3)))))
        self.assertIn("expected vectors of 3", self.refused(write_vectors(
            self.directory / "widths.h5", np.ones((5, 3)), users=np.ones((5, 4)))))
        self.assertIn("no vector file", self.refused(self.dataset / "items.h5"))
        self.assertIn("HDF5", self.refused(self.items))
        self.refused(self.directory / "none.h5", code=NO_INPUT)
        for words, part in ((["--m", 1], "--m 1"), (["--ef", 0], "--ef 0"), (["--ef-construction", 3], "32 to"),
                            (["--least-recall", 1.5], "--least-recall"), (["--threads", -1], "--threads"),
                            (["--queries", 0], "--queries")):
            self.assertIn(part, self.refused(self.vectors, *words, code=USAGE))


if __name__ == "__main__":
    unittest.main()
