"""Every kind of block trains to the same model on any number of ranks, resumes exactly, and is evaluated."""
import json
import unittest

import numpy as np

from support import SmallRunTest, metrics, run

USAGE, CONFIG = 64, 78
KINDS = {"hstu": ["model.block=hstu"], "lru": ["model.block=lru", "model.features.position=false"]}


class Encoders(SmallRunTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        for name in KINDS:
            run("train", *cls.words(name, *cls.keys(name)))

    @staticmethod
    def keys(name):
        return ["train.steps=8", "checkpoint.every_steps=4", "model.layers=2", "model.dropout=0.2",
                "train.log_every=1", "comm.backend=mpi", *KINDS[name]]

    def test_losses_on_two_ranks_are_those_of_one(self):
        for name in KINDS:
            run("train", *self.words(f"{name}-two", *self.keys(name)), ranks=2)
            one, two = ([line["loss"] for line in metrics(self.directory / found)] for found in (name, f"{name}-two"))
            self.assertEqual(len(one), 8)
            self.assertLess(one[-1], one[0])
            np.testing.assert_allclose(one, two, rtol=1e-4, err_msg=name)

    def test_a_resumed_training_ends_with_the_same_bits(self):
        for name in KINDS:
            shown = run("verify-resume", *self.words(f"{name}-verified", *self.keys(name)), "--steps", 4)
            self.assertIn("the same, bit by bit", shown.stdout)

    def test_evaluation_runs_for_every_frequency(self):
        for name in KINDS:
            out = self.directory / f"{name}.json"
            run("evaluate", "--run", self.directory / name, "--json", out, "evaluate.frequency=[once, realtime]")
            frequencies = [row["frequency"] for row in json.loads(out.read_text())["results"] if row["method"] == "model"]
            self.assertEqual(frequencies, ["once", "realtime"])

    def test_the_benchmark_measures_every_length(self):
        for name in KINDS:
            shown = run("bench", "encoder", "--longest", 256, "--repetitions", 1, "model.hidden=16", *KINDS[name])
            results = json.loads(shown.stdout)["results"]
            self.assertEqual([(row["length"], row["users"]) for row in results], [(64, 256), (256, 64)])
            for row in results:
                self.assertGreater(row["ms"], 0)
                self.assertEqual("recurrence" in row, name == "lru")
                self.assertEqual("state" in row, name == "lru")
            if name == "lru":
                self.assertEqual([row["state"]["bytes"] for row in results], [2 * 16 * 4] * 2, "whatever the length")
                self.assertGreater(min(row["state"]["us_per_event"] for row in results), 0)
        self.assertIn("--longest at least that", run("bench", "encoder", "--longest", 5, expect=USAGE).stderr)

    def test_a_block_that_contradicts_a_feature_names_both_keys(self):
        refused = run("train", *self.words("none", "model.block=lru"), expect=CONFIG)
        for word in ("model.block = lru", "model.features.position = true"):
            self.assertIn(word, refused.stderr)
        self.assertFalse((self.directory / "none").exists())


if __name__ == "__main__":
    unittest.main()
