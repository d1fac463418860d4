"""`plan` against what trainings on this machine take, and what it refuses."""
import json
import os
import subprocess
import sys
import unittest

from support import ROOT, SmallRunTest, metrics, run

STEP_BAR, SCALING_BAR, MEMORY_BAR = 1.25, 1.15, 0.10
STEP_SHAPE = ["--items", 20000, "--content-width", 256, "--users", 10000]  # of `bench step`, which has no dataset
BASE = ["model.max_length=64", "model.hidden=128", "model.layers=2", "model.heads=4", "model.output=64",
        "model.item_hidden=128", "objective.positions=16", "negatives.in_batch=512", "negatives.random=512",
        "train.global_batch_users=64", "optimizer.warmup_steps=2", "positives.actions=save"]
CONFIGURATIONS = {
    "base": [],
    "wide": ["model.hidden=384", "model.heads=6", "model.layers=4", "train.global_batch_users=32"],
    "long": ["model.max_length=128", "train.global_batch_users=128"],
    "rows": ["item.table.placement=replicated", "item.table.dim=256", "item.table.optimizer=lazy_adam"],
    "gated": ["model.block=ligr", "model.layers=4", "train.global_batch_users=96"],
    "hstu": ["model.block=hstu", "model.layers=4", "train.global_batch_users=96"],
    "lru": ["model.block=lru", "model.features.position=false", "model.layers=4", "train.global_batch_users=96"],
}


class PlanTest(SmallRunTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.full = cls.directory / "full"
        run("synth", "--users", 800, "--items", 60000, "--events-per-user", 512, "--vector-width", 256,
            "--out", cls.full)
        cls.machine = cls.directory / "machine.yaml"
        run("bench", "machine", "--out", cls.machine, "--rounds", 9, "--directory", cls.directory)

    def words(self, name):
        return [*BASE, *CONFIGURATIONS[name], f"data.path={self.full}", "objective.sample_end=latest"]

    def plan(self, *words, ranks=1, expect=0):
        answer = self.directory / "plan.json"
        result = run("plan", *words, "--ranks", ranks, "--json", answer, expect=expect)
        return json.loads(answer.read_text()) if expect == 0 else result.stderr

    def peak_bytes(self, name):
        """The largest resident memory of a training of six steps with a checkpoint. A step's memory is kept
        for a minute, so that it is still there when the record is made."""
        run("train", *self.words(name), f"run.directory={self.directory / name}", "train.steps=6",
            "train.log_every=1", "checkpoint.every_steps=3", "metrics.tensorboard=false")
        return max(line["memory_mib"] for line in metrics(self.directory / name)) * 2**20

    def test_memory_of_every_configuration(self):
        off = {}
        for name in CONFIGURATIONS:
            plan = self.plan(*self.words(name), "--machine", self.machine)
            measured = self.peak_bytes(name)
            off[name] = plan["memory_bytes"] / measured - 1
            print(f"memory {name}: planned {plan['memory_bytes'] / 2**20:.0f} MiB, "
                  f"measured {measured / 2**20:.0f} MiB, {off[name]:+.1%}")
        for name, error in off.items():
            self.assertLess(abs(error), MEMORY_BAR, name)

    def test_windows_that_end_late_are_whole(self):
        words = ["--users", 100, "--items", 100, "--events-per-user", 128, "--content-width", 8, "model.max_length=128",
                 "objective.sample_end="]
        late, uniform = (self.plan(*words[:-1], words[-1] + end)["memory"][4] for end in ("latest", "uniform"))
        self.assertEqual(late["part"], "activations")
        self.assertGreater(late["value"], 1.5 * uniform["value"], "on average half of 128 events lie before a uniform end")

    @unittest.skipUnless(os.environ.get("PF_TIMING") == "1", "needs a machine that nobody else uses: set PF_TIMING=1")
    def test_time_of_a_step_and_of_two_ranks(self):
        done = subprocess.run([sys.executable, ROOT / "tests/benchmark/plan_vs_measured.py"], capture_output=True, text=True)
        print(done.stdout)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_what_it_prints_and_refuses(self):
        words = ["--config", ROOT / "configs/two_nodes.yaml"]
        shown = run("plan", *words, "--ranks", 16, "--nodes", 2, "--gpu", "h200").stdout
        for text in ("memory of rank 0", "step of the slowest rank", "efficiency", "  1024 ", "limits"):
            self.assertIn(text, shown)
        self.assertIn("3 x (10 H^2 a block and event", run("plan", *words, "--ranks", 2, "model.block=hstu").stdout)
        self.assertIn("--ranks is from 1", self.plan(*words, ranks=0, expect=64))
        self.assertIn("unknown machine 'h20'", self.plan(*words, "--gpu", "h20", ranks=2, expect=64))
        self.assertIn("give one of them", self.plan(*words, "--gpu", "cpu", "--machine", "x", ranks=2, expect=64))
        self.assertIn("does not exist", self.plan(*words, "--machine", "nowhere.yaml", ranks=2, expect=66))
        self.assertIn("fewer users in a step", self.plan(*words, "train.global_batch_users=4", ranks=8, expect=78))
        message = self.plan(*words, "model.hidden=4096", "model.layers=48", "train.global_batch_users=65536",
                            "train.precision=fp32", "--gpu", "a100", ranks=8, expect=78)
        self.assertIn("The largest part is 'activations'", message)
        self.assertIn("train.gradient_accumulation_steps", message)


if __name__ == "__main__":
    unittest.main()
