"""evaluate with several runs: seeds of one configuration together, and two configurations over the same users."""
import json
import unittest

from support import SmallRunTest, run

DATA, CONFIG = 65, 78


class Compare(SmallRunTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        for name, more in (("one", ["run.seed=1"]), ("two", ["run.seed=2"]), ("wide", ["model.hidden=24"]),
                           ("other_users", ["split.users_percent=20"])):
            run("train", *cls.words(name, "train.steps=20", *more))

    def evaluate(self, *words):
        answer = self.directory / "answer.json"
        shown = run("evaluate", *words, "evaluate.bootstrap=100", "evaluate.baselines=popularity", "--json", answer)
        return shown.stdout, json.loads(answer.read_text())

    def test_seeds_are_averaged_and_compared(self):
        one, two, wide = (self.directory / name for name in ("one", "two", "wide"))
        alone = [self.evaluate("--run", name)[1]["results"][0]["recall@50"] for name in (one, two)]
        shown, found = self.evaluate("--run", one, "--run", two, "--compare", wide)
        model, compared, popularity = found["results"]
        self.assertEqual([model["method"], compared["method"], popularity["method"]],
                         ["model", "compared", "popularity"])
        self.assertAlmostEqual(model["recall@50"], sum(alone) / 2, places=12)
        self.assertEqual([model["runs"], compared["runs"]], [2, 1])
        self.assertEqual([source["run"] for source in found["runs"]], [str(one), str(two)])
        self.assertEqual(found["compared"][0]["run"], str(wide))
        self.assertNotIn("difference", model)
        for row in (compared, popularity):
            difference = row["difference"]["recall@50"]
            self.assertEqual(row["difference"]["to"], "model")
            self.assertAlmostEqual(difference["value"], row["recall@50"] - model["recall@50"], places=12)
            low, high = difference["interval"]
            self.assertLessEqual(low, high)
            expected = "holds" if high < 0 else "does not hold" if low > 0 else "cannot be told"
            self.assertEqual(difference["reference_is_better"], expected)
        self.assertIn("model > compared: ", shown)
        self.assertIn("model: mean over 2 runs", shown)

    def test_runs_that_do_not_belong_together_are_refused(self):
        one = self.directory / "one"
        seeds = run("evaluate", "--run", one, "--run", self.directory / "wide", expect=CONFIG)
        self.assertIn("model.hidden: 16 here, 24 there", seeds.stderr)
        cases = run("evaluate", "--run", one, "--compare", self.directory / "other_users", expect=CONFIG)
        self.assertIn("split.users_percent: 10 here, 20 there", cases.stderr)
        checkpoint = next((one / "checkpoints").glob("step-*"))
        alone = run("evaluate", "--checkpoint", checkpoint, "--compare", one, expect=64)
        self.assertIn("--compare needs --run DIR", alone.stderr)


if __name__ == "__main__":
    unittest.main()
