"""A trace of training steps: its form, the phases and collectives in it, and what it leaves alone."""
import json
import unittest

from support import SmallRunTest, metrics, run, same_weights

PROFILED = 3


class Profile(SmallRunTest):
    """Two ranks, ten steps; of three a trace is written."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        words = ["train.steps=10", "train.log_every=1", "metrics.peak_tflops=0.001"]
        cls.result = run("train", *cls.words("traced", *words), "--profile", PROFILED, ranks=2)
        run("train", *cls.words("plain", *words[:2]), ranks=2)
        cls.traces = [json.loads((cls.directory / f"traced/profile/rank-{rank}.json").read_text())
                      for rank in range(2)]

    def spans(self, rank):
        return [event for event in self.traces[rank]["traceEvents"] if event.get("ph") == "X"]

    def test_every_span_has_what_a_viewer_reads(self):
        for rank in range(2):
            spans = self.spans(rank)
            self.assertGreater(len(spans), 100)
            for span in spans:
                self.assertTrue({"name", "ts", "dur", "pid", "tid"} <= span.keys(), span)
                self.assertGreaterEqual(span["dur"], 0)

    def test_phases_and_collectives_have_their_names(self):
        for rank in range(2):
            names = [span["name"] for span in self.spans(rank)]
            for phase in ("wait for data", "forward", "backward", "optimizer"):
                self.assertIn(names.count(phase), (PROFILED, PROFILED + 1), f"{phase}: {set(names)}")
            for collective in ("positives", "negative pool", "gradient bucket 0"):
                self.assertIn(f"collective: {collective}", names)
            self.assertTrue(any(name.startswith("aten::") for name in names), "operators")

    def test_the_log_says_where_the_trace_is(self):
        self.assertIn("traced/profile/rank-0.json", self.result.stdout)
        self.assertIn(f"a trace of {PROFILED} step(s)", self.result.stdout)

    def test_a_trace_changes_no_bit(self):
        self.assertTrue(same_weights(self.directory / "traced", self.directory / "plain", 10))

    def test_mfu_needs_a_peak(self):
        for record in metrics(self.directory / "traced"):
            self.assertGreater(record["mfu"], 0)
            self.assertNotIn("gpu_memory_mib", record)
        self.assertNotIn("mfu", metrics(self.directory / "plain")[0])

    def test_too_short_a_run_says_so(self):
        result = run("train", *self.words("short", "train.steps=2"), "--profile", 1)
        self.assertIn("no step was profiled", result.stdout)
        self.assertFalse((self.directory / "short/profile").exists())

    def test_a_number_below_zero_is_refused(self):
        self.assertIn("--profile", run("train", *self.words("bad"), "--profile", -1, expect=64).stderr)

    def test_the_plan_of_a_step_costs_the_same_in_large_jobs(self):
        path = self.directory / "plan.json"
        words = ["negatives.in_batch=128", "negatives.random=256", "model.max_length=32", "objective.positions=8",
                 "train.global_batch_users=64", "item.table.placement=none"]
        run("bench", "plan", "--ranks", "8,128,1024", "--steps", 40, "--json", path, *words)
        few, more, many = json.loads(path.read_text())["results"]
        self.assertEqual([few["ranks"], more["ranks"], many["ranks"]], [8, 128, 1024])
        self.assertLess(many["cpu_ms_median"], 2.5 * few["cpu_ms_median"] + 0.1)
        # Five numbers of each rank; the rest is the pool's.
        for cost in (few, more, many):
            self.assertLess(cost["bytes_received"], 40 * cost["ranks"] + 24 * 128 + 1)
        self.assertIn("--ranks", run("bench", "plan", "--ranks", "0", expect=64).stderr)


if __name__ == "__main__":
    unittest.main()
