"""Learned item rows as a user meets them: trained on ranks, evaluated, embedded, inspected."""
import json
import unittest

import h5py
import numpy as np
from safetensors.numpy import load_file

from support import KUAIRAND, ProgramTest, metrics, run

TABLE = ["item.table.placement=row_sharded", "item.table.dim=16"]


class ItemTable(ProgramTest):
    def steps(self, name, *more):
        return self.keys(name, "train.steps=40", "checkpoint.every_steps=20", "train.log_every=10",
                         *TABLE, *more)

    def test_train_evaluate_embed_inspect(self):
        run("train", *self.steps("table"), ranks=2)
        checkpoint = self.directory / "table/checkpoints/step-000000040"
        table = load_file(checkpoint / "item_table.safetensors")
        self.assertEqual(table["rows"].shape, (6362, 16))
        trained = (table["updates"][:-1] > 0).sum()
        self.assertGreater(trained, 5000)

        inspected = self.directory / "inspect.json"
        shown = run("checkpoint", "inspect", checkpoint, "--json", inspected).stdout
        self.assertIn("item table    6361 rows of 16 for 6361 items, 0 hash collisions", shown)
        summary = json.loads(inspected.read_text())["item_table"]
        self.assertEqual(summary["trained_rows"], trained)
        norms = np.linalg.norm(table["rows"][:-1][table["updates"][:-1] > 0], axis=1)
        self.assertAlmostEqual(summary["mean_norm"], float(norms.mean()), places=4)

        results = []
        for ranks in (0, 2):
            result = self.directory / f"evaluate{ranks}.json"
            run("evaluate", "--run", self.directory / "table", "--json", result, ranks=ranks)
            results.append(json.loads(result.read_text()))
        self.assertEqual(results[0], results[1])
        self.assertEqual(results[0]["unknown_items"], 6361 - trained)
        model = next(row for row in results[0]["results"] if row["method"] == "model")
        self.assertGreater(model["recall@10"], 0.01)

        vectors = self.directory / "vectors.h5"
        answer = self.directory / "embed.json"
        shown = run("embed", "--run", self.directory / "table", "--out", vectors, "--json", answer)
        self.assertIn("read the unknown row", shown.stdout)
        self.assertEqual(json.loads(answer.read_text())["unknown_items"], 6361 - trained)
        with h5py.File(vectors) as file:
            items = file["item/vector"][:]
        self.assertEqual(items.shape, (6361, 64 + 2), "output and two columns of the popularity prior")
        run("recommend", "--run", self.directory / "table", "--evaluation-users", 1)

    def test_goes_on_in_the_other_placement_and_refuses_another_table(self):
        run("train", *self.steps("moved"), ranks=2)
        moved = run("train", *self.steps("moved", "item.table.placement=replicated", "train.steps=60"),
                    ranks=3)
        self.assertIn("resumed from", moved.stdout)
        for change in ("item.table.dim=8", "item.table.placement=none",
                       "item.table.hash_buckets=100", "item.table.optimizer=lazy_adam"):
            refused = run("train", *self.steps("moved", "train.steps=80", change),
                          expect=65 if "placement" in change else 78)
            self.assertIn("item.table", refused.stderr)

    def test_rows_alone_train_without_vectors_and_before_the_model(self):
        bare = self.directory / "bare"
        run("import", "--events", KUAIRAND / "events.tsv.gz", "--columns",
            "user=user,item=item,action=action,surface=surface,time=ts_ms:ms,duration=duration_ms:ms",
            "--missing", "surface=-,duration=-1", "--keep-duplicates", "--out", bare)
        keys = self.steps("alone", f"data.path={bare}", "negatives.logq=false")
        trained = run("train", *keys, "item.table.pretrain_steps=20", ranks=2)
        self.assertIn("item rows alone: step 20 of 20", trained.stdout)
        losses = [record["loss"] for record in metrics(self.directory / "alone")]
        self.assertLess(losses[-1], losses[0])
        run("evaluate", "--run", self.directory / "alone", "evaluate.baselines=popularity")
        refused = run("train", *self.keys("none", f"data.path={bare}", "train.steps=2"), expect=65)
        self.assertIn("item.table.placement", refused.stderr)

    def test_hash_collisions_are_counted(self):
        trained = run("train", *self.steps("hashed", "item.table.hash_buckets=1000"))
        self.assertIn("of 6361 items share their row", trained.stdout)
        answer = self.directory / "hashed.json"
        run("checkpoint", "inspect", self.directory / "hashed/checkpoints/step-000000040", "--json", answer)
        summary = json.loads(answer.read_text())["item_table"]
        self.assertEqual(summary["rows"], 1000)
        self.assertGreaterEqual(summary["hash_collisions"], 5361)
        self.assertLess(summary["hash_collisions"], 6361)


if __name__ == "__main__":
    unittest.main()
