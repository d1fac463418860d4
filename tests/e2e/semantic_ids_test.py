"""item.semantic_ids: codes are made by a command, learned, and found again by evaluation, vectors and export."""
import json
import shutil
import unittest

import h5py
import numpy as np

from support import SmallRunTest, metrics, run, same_weights

USAGE, DATA, CONFIG = 64, 65, 78
KEYS = ["item.semantic_ids=true", "train.steps=30", "train.log_every=1", "comm.backend=mpi"]


class SemanticIds(SmallRunTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.plain = cls.directory / "plain"
        shutil.copytree(cls.dataset, cls.plain)
        told = cls.directory / "told.json"
        cls.shown = run("semantic-ids", "--into", cls.dataset, "--levels", 2, "--codes", 16, "--json", told).stdout
        cls.told = json.loads(told.read_text())
        run("train", *cls.words("run", *KEYS))

    def later(self, name):
        """A dataset of the same items without codes."""
        later = self.directory / name
        shutil.copytree(self.plain, later)
        return later

    def codes(self, dataset):
        with h5py.File(dataset / "items.h5") as file:
            return file["item/semantic_id"][:], file["semantic_id/codebook"][:]

    def embed(self, dataset, **options):
        out = self.directory / "embedded.h5"
        result = run("embed", "--run", self.directory / "run", f"data.path={dataset}", "--out", out, **options)
        if options.get("expect"):
            return result.stderr
        with h5py.File(out) as file:
            return file["item/vector"][:], file["user/vector"][:]

    def test_the_command_says_what_it_made(self):
        codes, books = self.codes(self.dataset)
        self.assertEqual((codes.shape, books.shape), ((300, 2), (32, 64)))
        self.assertTrue(((codes >= 0) & (codes < 16)).all())
        self.assertEqual((self.told["coded"], self.told["levels"], self.told["codes"]), (300, 2, 16))
        self.assertEqual(self.told["distinct"], len(np.unique(codes, axis=0)))
        self.assertIn(f"300 of 300 items have 2 codes, of 16 at each level; {self.told['distinct']} different", self.shown)
        with h5py.File(self.dataset / "items.h5") as file:
            vectors = file["item/vector"][:].astype("float32")
        rest = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        for level, share in enumerate(self.told["left"]):
            rest -= books[16 * level + codes[:, level]]
            self.assertAlmostEqual((rest ** 2).sum(axis=1).mean(), share, places=4)
        self.assertLess(self.told["left"][1], self.told["left"][0])
        run("data", "validate", self.dataset)
        self.assertIn("2 codes of an item, 16 different ones", run("data", "inspect", self.dataset).stdout)

    def test_losses_on_two_ranks_are_those_of_one_and_a_resume_is_exact(self):
        run("train", *self.words("two", *KEYS), ranks=2)
        one, two = ([line["loss"] for line in metrics(self.directory / name)] for name in ("run", "two"))
        np.testing.assert_allclose(one, two, rtol=1e-4)
        shown = run("verify-resume", *self.words("verified", *KEYS, "train.steps=8"), "--steps", 4)
        self.assertIn("the same, bit by bit", shown.stdout)

    def test_codes_that_are_not_read_change_no_bit(self):
        for name, dataset in (("with", self.dataset), ("without", self.plain)):
            run("train", *self.words(name, f"data.path={dataset}", "train.steps=6", "checkpoint.every_steps=6"))
        self.assertTrue(same_weights(self.directory / "with", self.directory / "without", 6))

    def test_codes_are_learned_and_the_export_has_them(self):
        out = self.directory / "export"
        run("export", "--run", self.directory / "run", "--out", out)
        run("export", "--verify", out)
        items, _ = self.embed(self.dataset)
        with h5py.File(out / "items.h5") as file:
            np.testing.assert_array_equal(file["item/vector"][:], items)
            sums = file["item/id_rows"][:]
        widths = json.loads((out / "model.json").read_text())["widths"]
        self.assertEqual((widths["id_rows"], widths["code_sums"]), (16, 16))
        self.assertEqual(sums.shape, (300, 16))
        self.assertGreater(abs(sums).max(), 1e-3)
        codes, _ = self.codes(self.dataset)
        same = [(i, j) for i in range(300) for j in range(i) if (codes[i] == codes[j]).all()]
        self.assertTrue(same)
        for i, j in same[:5]:
            np.testing.assert_allclose(sums[i], sums[j], atol=1e-6)

    def test_every_command_reads_the_codes(self):
        evaluated, found = self.directory / "evaluated.json", self.directory / "found.json"
        run("evaluate", "--run", self.directory / "run", "evaluate.baselines=[]", "--json", evaluated)
        self.assertGreater(json.loads(evaluated.read_text())["results"][0]["recall@50"], 0)
        with h5py.File(self.dataset / "items.h5") as file:
            ids = file["item/id"][:]
        items, users = self.embed(self.dataset)
        with h5py.File(self.directory / "embedded.h5") as file:
            user = file["user/id"][0]
        run("recommend", "--run", self.directory / "run", "--users", user, "--items", 5, "--repeats", "--json", found)
        recommended = [entry["item"] for entry in json.loads(found.read_text())[0]["recommended"]]
        self.assertEqual(recommended, [str(ids[row]) for row in np.argsort(-(items @ users[0]))[:5]])
        run("index", self.directory / "embedded.h5", "--out", self.directory / "items.hnsw", "--threads", 1)

    def test_a_later_dataset_takes_the_codebooks_of_the_training_data(self):
        later, expected = self.later("later"), self.embed(self.dataset)
        refused = self.embed(later, expect=DATA)
        self.assertIn(f"the codebooks of the semantic ids in {later} are none", refused)
        self.assertIn(f"--into {later} --codebooks-of DIR", refused)
        run("semantic-ids", "--into", later, "--levels", 2, "--codes", 16, "--seed", 5)
        self.embed(later, expect=DATA)
        run("semantic-ids", "--into", later, "--codebooks-of", self.dataset)
        np.testing.assert_array_equal(self.codes(later)[0], self.codes(self.dataset)[0])
        for found, one in zip(self.embed(later), expected):
            np.testing.assert_array_equal(found, one)

    def test_a_warm_start_takes_the_rows_of_the_codes_and_nothing_without_them(self):
        still = ["--init-from", self.directory / "run", "train.steps=1", "optimizer.learning_rate=1e-12",
                 "optimizer.warmup_steps=0"]
        run("train", *self.words("warm", "item.semantic_ids=true"), *still)
        from safetensors.numpy import load_file
        rows = [load_file(self.directory / f"{name}/checkpoints/step-{step:09d}/model.safetensors")["item_code.weight"]
                for name, step in (("run", 30), ("warm", 1))]
        np.testing.assert_allclose(rows[1], rows[0], atol=1e-9)
        refused = run("train", *self.words("cold"), *still, expect=CONFIG)
        self.assertIn("item.semantic_ids: false here, true there", refused.stderr)
        later = self.later("warm-later")
        run("semantic-ids", "--into", later, "--levels", 2, "--codes", 16, "--seed", 5)
        refused = run("train", *self.words("other", "item.semantic_ids=true", f"data.path={later}"), *still, expect=DATA)
        self.assertIn("the codebooks of the semantic ids in", refused.stderr)

    def test_what_replaces_the_vectors_says_that_the_codes_are_gone(self):
        coded = self.later("coded")
        run("semantic-ids", "--into", coded, "--codebooks-of", self.dataset)
        said = run("vectors", "--dataset", coded, "--before", "2099-01-01", "--dimension", 8, "--into", coded).stderr
        self.assertIn(f"note: the semantic ids of {coded} were codes of the vectors before and are gone", said)
        with h5py.File(coded / "items.h5") as file:
            self.assertNotIn("semantic_id", file)
        said = run("vectors", "--dataset", coded, "--before", "2099-01-01", "--dimension", 8, "--into", coded).stderr
        self.assertNotIn("semantic ids", said)

    def test_what_is_missing_is_named(self):
        refused = run("train", *self.words("none", *KEYS, f"data.path={self.plain}"), expect=CONFIG)
        self.assertIn(f"item.semantic_ids = true and data.path = {self.plain}", refused.stderr)
        self.assertFalse((self.directory / "none/checkpoints").exists())
        bare, events = self.directory / "bare", self.directory / "events.csv"
        events.write_text("user,item,time\n" + "".join(f"{n % 40},{n % 7},{1_700_000_000 + 9000 * n}\n" for n in range(400)))
        run("import", "--events", events, "--columns", "user=user,item=item,time=time", "--out", bare)
        for words, code, message in (
                (["--into", bare], DATA, "has no item vectors to make codes of"),
                (["--into", self.plain, "--codebooks-of", self.plain], DATA, "it has no semantic ids"),
                (["--into", self.plain, "--codes", 301], DATA, "301 codes for 300 items"),
                (["--into", self.plain, "--levels", 0], USAGE, "--levels 0: expected 1 to 16"),
                (["--into", self.plain, "--codebooks-of", self.dataset, "--codes", 9], USAGE, "leave out --levels")):
            self.assertIn(message, run("semantic-ids", *words, expect=code).stderr)
        with h5py.File(self.plain / "items.h5") as file:
            self.assertNotIn("semantic_id", file)
        self.assertEqual(list(self.directory.glob("*.tmp-*")), [])


if __name__ == "__main__":
    unittest.main()
