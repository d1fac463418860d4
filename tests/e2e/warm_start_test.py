"""A training that begins with the weights and item rows of another one, on the dataset of the next day."""
import json
import random
import unittest

import h5py
import numpy as np
from safetensors.numpy import load_file

from support import SmallRunTest, metrics, run

TABLE = ["item.table.placement=replicated", "item.table.dim=8"]
# One step that changes nothing to speak of: what the run began with is in its checkpoint.
STILL = ["train.steps=1", "optimizer.learning_rate=1e-12", "item.table.learning_rate=1e-12",
         "optimizer.warmup_steps=0"]


def write_events(path, items, actions):
    """Users who keep to one of ten kinds of items."""
    draw = random.Random(7)
    with open(path, "w") as file:
        file.write("user,item,action,time\n")
        for user in range(300):
            taste = user % 10
            for event in range(20):
                item = items[(taste + 10 * draw.randrange(len(items) // 10)) % len(items)]
                file.write(f"{user},{item},{draw.choice(actions)},{1_600_000_000 + 43_200 * event + user}\n")


class WarmStart(SmallRunTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.yesterday, cls.today = cls.directory / "yesterday-data", cls.directory / "today-data"
        old = [f"item{i:03}" for i in range(100)]
        new = [f"added{i:03}" for i in range(20)] + old[10:]
        for directory, items, actions in ((cls.yesterday, old, ["save", "view"]),
                                          (cls.today, new, ["hide", "view", "save"])):
            events = directory.with_suffix(".csv")
            write_events(events, items, actions)
            run("import", "--events", events, "--columns", "user=user,item=item,action=action,time=time",
                "--out", directory)
        cls.run_yesterday = cls.directory / "yesterday"
        run("train", *cls.words("yesterday", f"data.path={cls.yesterday}", *TABLE, "train.steps=60",
                                "optimizer.learning_rate=0.01"))

    def train(self, name, *more, **options):
        return run("train", *self.words(name, f"data.path={self.today}", *TABLE, *more), **options)

    def files(self, name, step):
        checkpoint = self.directory / f"{name}/checkpoints/step-{step:09d}"
        return (load_file(checkpoint / "model.safetensors"), load_file(checkpoint / "item_table.safetensors"),
                json.loads((checkpoint / "MANIFEST.json").read_text()))

    def test_weights_and_rows_by_item_and_the_rest_as_a_fresh_run(self):
        log = self.train("warm", "--init-from", self.run_yesterday, *STILL).stdout
        self.train("fresh", *STILL)
        old_model, old_table, old_manifest = self.files("yesterday", 60)
        model, table, manifest = self.files("warm", 1)
        fresh_model, fresh_table, fresh_manifest = self.files("fresh", 1)
        trained = {int(h): i for i, h in enumerate(old_table["id_hash"]) if old_table["updates"][i] > 0}
        known = [int(h) in trained for h in table["id_hash"]]
        self.assertGreater(sum(known), 80)
        self.assertGreaterEqual(known.count(False), 20)
        self.assertFalse(np.array_equal(table["id_hash"][:50], old_table["id_hash"][:50]), "other rows")
        for row, (item, is_known) in enumerate(zip(table["id_hash"], known)):
            source = old_table["rows"][trained[int(item)]] if is_known else fresh_table["rows"][row]
            np.testing.assert_allclose(table["rows"][row], source, atol=1e-6)
        np.testing.assert_allclose(table["rows"][-1], old_table["rows"][-1], atol=1e-6)
        self.assertTrue(all(table["updates"][:-1][known] >= 1))
        self.assertIn(f"{sum(known)} of its item rows", log)
        warm, fresh = (metrics(self.directory / name)[-1]["loss"] for name in ("warm", "fresh"))
        self.assertLess(warm, fresh - 0.1, "what was learned helps")
        for name, weight in model.items():
            if name != "action.weight":
                np.testing.assert_allclose(weight, old_model[name], atol=1e-6, err_msg=name)
        order = [json.loads((self.directory / f"{run_}/checkpoints/step-{step:09d}/data.json").read_text())["actions"]
                 for run_, step in (("yesterday", 60), ("warm", 1))]
        self.assertNotEqual(*order)
        for row, action in enumerate(order[1]):
            source = (old_model["action.weight"][order[0].index(action)] if action in order[0]
                      else fresh_model["action.weight"][row])
            np.testing.assert_allclose(model["action.weight"][row], source, atol=1e-6, err_msg=action)
        self.assertEqual(manifest["initial_weights"], {
            "checkpoint": str(self.run_yesterday / "checkpoints/step-000000060"), "step": 60,
            "model": old_manifest["files"]["model.safetensors"]["xxh3"]})
        self.assertIsNone(fresh_manifest["initial_weights"])
        shown = run("checkpoint", "inspect", self.directory / "warm/checkpoints/step-000000001").stdout
        self.assertIn(f"began with    the weights of {self.run_yesterday}", shown)

    def test_any_ranks_begin_alike_and_a_restart_goes_on(self):
        words = ["--init-from", self.run_yesterday / "60", "train.steps=10", "item.table.pretrain_steps=5"]
        self.train("one", *words)
        self.train("two", *words, "item.table.placement=row_sharded", "train.steps=5", ranks=2)
        again = self.train("two", *words, "item.table.placement=row_sharded", ranks=2).stdout
        self.assertIn("resumed from", again)
        self.assertNotIn("begins with", again)
        self.assertEqual(len(list((self.directory / "two/checkpoints").iterdir())), 2, "no step 0")
        for one, two in zip(metrics(self.directory / "one"), metrics(self.directory / "two")):
            self.assertAlmostEqual(one["loss"], two["loss"], delta=1e-3)
        self.assertEqual(self.files("two", 10)[2]["initial_weights"]["step"], 60, "still known after a restart")

    def test_dry_run_checks_the_weights_and_writes_nothing(self):
        self.train("dry", "--init-from", self.run_yesterday, "--dry-run")
        self.train("dry", "--init-from", self.run_yesterday, "--dry-run", "model.layers=2", expect=78)
        self.assertFalse((self.directory / "dry").exists())

    def test_ids_that_became_strings_keep_their_rows(self):
        """One new id that is no integer makes all ids of a dataset strings, whose hashes are others."""
        numbers, strings = self.directory / "numbers", self.directory / "strings"
        columns = ["--columns", "user=user,item=item,action=action,time=time"]
        write_events(self.directory / "numbers.csv", range(100), ["save", "view"])
        run("import", "--events", self.directory / "numbers.csv", *columns, "--out", numbers)
        with open(self.directory / "numbers.csv", "a") as file:
            file.write("7,x99,save,1600000001\n")
        run("import", "--events", self.directory / "numbers.csv", *columns, "--out", strings)

        def item_vectors(data):
            out = self.directory / (data.name + ".h5")
            result = self.directory / (data.name + ".json")
            run("embed", "--run", self.directory / "numbers-run", f"data.path={data}", "--out", out, "--json", result)
            with h5py.File(out) as file:
                ids = [one.decode() if isinstance(one, bytes) else str(one) for one in file["item/id"]]
                return dict(zip(ids, file["item/vector"][:])), json.loads(result.read_text())

        run("train", *self.words("numbers-run", f"data.path={numbers}", *TABLE, "train.steps=20"))
        expected, counts = item_vectors(numbers)
        found, after = item_vectors(strings)
        self.assertEqual(set(found) - set(expected), {"x99"})
        self.assertEqual(after["unknown_items"], counts["unknown_items"] + 1)
        for item, vector in expected.items():
            np.testing.assert_array_equal(found[item], vector, err_msg=item)
        log = run("train", *self.words("strings-run", f"data.path={strings}", *TABLE, *STILL),
                  "--init-from", self.directory / "numbers-run").stdout
        self.assertIn("items without one: 1 new", log)
        buckets = [*TABLE, "item.table.hash_buckets=64", *STILL]
        run("train", *self.words("numbers-buckets", f"data.path={numbers}", *buckets))
        message = run("train", *self.words("strings-buckets", f"data.path={strings}", *buckets),
                      "--init-from", self.directory / "numbers-buckets", expect=65).stderr
        self.assertIn("are of type string", message)

    def test_what_does_not_fit_is_refused(self):
        def refused(code, *words):
            return self.train("refused", *words, expect=code).stderr
        given = ["--init-from", self.run_yesterday]
        message = refused(78, *given, "model.hidden=32", "item.table.dim=4", "objective.max_labels=3")
        self.assertIn("model.hidden: 32 here, 16 there", message)
        self.assertIn("item.table.dim: 4 here, 8 there", message)
        self.assertNotIn("objective.max_labels", message)
        self.assertIn("item.table.placement", refused(78, *given, f"data.path={self.dataset}", "item.table.placement=none"))
        self.assertIn("content vectors", refused(65, *given, f"data.path={self.dataset}"))
        self.assertIn("no directory", refused(66, "--init-from", self.directory / "nowhere"))
        self.assertIn("give one of them", refused(64, *given, "--resume", self.run_yesterday / "60"))
        empty = self.directory / "empty"
        (empty / "checkpoints").mkdir(parents=True)
        self.assertIn("nor a run with a whole checkpoint", refused(65, "--init-from", empty))


if __name__ == "__main__":
    unittest.main()
