"""Training as a user sees it: the same on any number of ranks, and not to be lost by kill -9."""
import json
import os
import signal
import subprocess
import time
import unittest

from safetensors.numpy import load_file

from support import BINARY, ENVIRONMENT, ROOT, ProgramTest, children, metrics, mpirun, run


class Training(ProgramTest):
    def evaluate(self, name, ranks=0):
        """The result without the paths that name the run."""
        file = self.directory / f"{name}-{ranks}.json"
        run("evaluate", "--run", self.directory / name, "--json", file, ranks=ranks)
        result = json.loads(file.read_text())
        self.assertEqual(result.pop("run"), str(self.directory / name))
        self.assertTrue(result.pop("checkpoint").startswith(str(self.directory / name)))
        return result

    def test_any_number_of_ranks_prints_the_same_losses(self):
        losses = {}
        for ranks in (0, 1, 2, 3):
            name = f"ranks{ranks}"
            run("train", *self.keys(name, "train.steps=20", "train.log_every=1",
                                    "checkpoint.every_steps=1000"), ranks=ranks)
            losses[ranks] = [record["loss"] for record in metrics(self.directory / name)]
            self.assertEqual(len(losses[ranks]), 20)
        for ranks in (1, 2, 3):
            for alone, together in zip(losses[0], losses[ranks]):
                self.assertLess(abs(alone - together), 1e-4 * abs(alone), (ranks, alone, together))

    def kill_after_a_checkpoint(self, name, *more):
        checkpoints = self.directory / name / "checkpoints"
        command = mpirun(2) + [BINARY, "train", *map(str, self.keys(name, *more))]
        with open(self.directory / f"{name}.log", "w") as log:
            job = subprocess.Popen(command, cwd=ROOT, env=ENVIRONMENT, stdout=log, stderr=log,
                                   start_new_session=True)
        deadline = time.monotonic() + 300
        while not list(checkpoints.glob("step-" + 9 * "?" + "/MANIFEST.json")):
            self.assertIsNone(job.poll(), (self.directory / f"{name}.log").read_text())
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.02)
        for pid in children(job.pid):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.assertNotEqual(job.wait(timeout=60), 0)

    def test_a_killed_run_goes_on_and_ends_with_the_same_model(self):
        steps = ["train.steps=120", "checkpoint.every_steps=40", "train.log_every=20"]
        run("train", *self.keys("whole", *steps), ranks=2)
        self.kill_after_a_checkpoint("killed", *steps)
        resumed = run("train", *self.keys("killed", *steps), ranks=2)
        self.assertIn("resumed from", resumed.stdout)

        whole = load_file(self.directory / "whole/checkpoints/step-000000120/model.safetensors")
        killed = load_file(self.directory / "killed/checkpoints/step-000000120/model.safetensors")
        self.assertEqual(whole.keys(), killed.keys())
        for name, tensor in whole.items():
            self.assertTrue((tensor == killed[name]).all(), f"{name} differs after the resume")
        self.assertEqual([record["step"] for record in metrics(self.directory / "killed")],
                         [20, 40, 60, 80, 100, 120])
        self.assertEqual(self.evaluate("whole"), self.evaluate("killed"))

    def test_bfloat16_trains(self):
        run("train", *self.keys("bf16", "train.steps=30", "train.precision=bf16_always"), ranks=2)
        losses = [record["loss"] for record in metrics(self.directory / "bf16")]
        self.assertLess(losses[-1], losses[0])

    def test_a_finished_run_can_be_used(self):
        run("train", *self.keys("used", "train.steps=60", "optimizer.warmup_steps=10"), ranks=2)
        alone, together = self.evaluate("used"), self.evaluate("used", ranks=2)
        self.assertEqual(alone, together)
        self.assertEqual((alone["users"], alone["positives"], alone["index_items"]), (3731, 7972, 6361))
        by_method = {row["method"]: row for row in alone["results"]}
        self.assertAlmostEqual(by_method["popularity"]["recall@10"], 0.0386, places=4)
        self.assertAlmostEqual(by_method["mean_of_last"]["recall@10"], 0.032, delta=0.002)
        self.assertGreater(by_method["model"]["recall@10"], 0.02)

        vectors = self.directory / "vectors.h5"
        run("embed", "--run", self.directory / "used", "--out", vectors)
        import h5py
        with h5py.File(vectors) as file:
            self.assertEqual(file["item/vector"].shape, (6361, 64 + 2))  # two columns of the prior
            self.assertEqual(file["user/vector"].shape, (25156, 64 + 2))
            self.assertEqual(file["user/id"].shape, (25156,))
            norms = (file["user/vector"][:, :64] ** 2).sum(axis=1)
        self.assertLess(abs(norms - 1).max(), 1e-5)

        answer = self.directory / "answer.json"
        shown = run("recommend", "--run", self.directory / "used", "--evaluation-users", 2, "--json", answer)
        users = json.loads(answer.read_text())
        self.assertEqual([len(user["recommended"]) for user in users], [5, 5])
        self.assertIn("author", users[0]["recommended"][0]["title"])
        self.assertIn(users[0]["recommended"][0]["title"], shown.stdout)

        inspected = run("checkpoint", "inspect",
                        self.directory / "used/checkpoints/step-000000060")
        self.assertIn("step          60", inspected.stdout)

    def test_leave_one_out_shows_the_metrics_of_the_literature(self):
        run("train", *self.keys("one-out", "split.protocol=leave_one_out", "split.users_percent=5", "train.steps=2",
                                "model.prior_days=[]"))
        result = self.directory / "one-out.json"
        shown = run("evaluate", "--run", self.directory / "one-out", "--json", result,
                    "evaluate.baselines=popularity").stdout
        row = json.loads(result.read_text())["results"][1]
        self.assertNotEqual(row["ndcg@10"], row["recall@50"])
        self.assertRegex(shown, r"HR@10 +NDCG@10")
        self.assertRegex(shown, rf"popularity +once +{row['hr@10']:.4f} ± \S+ +{row['ndcg@10']:.4f} ")

    def test_another_dataset_or_model_is_refused(self):
        keys = ["train.steps=2", "checkpoint.every_steps=1"]
        run("train", *self.keys("refused", *keys))
        stored = (self.directory / "refused/config.yaml").read_text()
        # None of these shows in a shape alone; each would quietly make another model of the run.
        for change in ("model.hidden=32", "model.layers=1", "model.heads=2", "run.seed=9",
                       "split.users_percent=0", "objective.name=sasrec", "negatives.logq_form=per_part"):
            refused = run("train", *self.keys("refused", *keys, "train.steps=3", change), expect=78)
            self.assertIn(change.split("=")[0] + ":", refused.stderr)
        self.assertEqual(stored, (self.directory / "refused/config.yaml").read_text())
        for change in ("model.layers=1", "split.users_percent=80", "split.windows=2"):
            leak = run("evaluate", "--run", self.directory / "refused", change, expect=78)
            self.assertIn(change.split("=")[0] + ":", leak.stderr)
        run("train", *self.keys("refused", *keys, "train.steps=3", "checkpoint.keep_last=5"))
        missing = run("train", *self.keys("none", "data.path=/nowhere"), ranks=2, expect=66)
        self.assertEqual(missing.stderr.count("/nowhere"), 1, missing.stderr)

    def test_a_dry_run_takes_a_step_and_writes_nothing(self):
        before = sorted(self.directory.iterdir())
        for ranks in (0, 2):
            shown = run("train", "--dry-run", *self.keys("dry"), ranks=ranks)
            lines = shown.stdout.splitlines()
            said = [line for line in lines if line.startswith("dry run:")]
            self.assertEqual(len(said), 1, "one line, from one rank")
            self.assertRegex(said[0], rf"^dry run: works on {max(ranks, 1)} rank\(s\), rank 0 on \S+: "
                             r"[1-9]\d* parameters, no item table, first step \d+ ms, memory [1-9]\d* MiB")
            self.assertRegex(shown.stdout, r"(?m)^training: [1-9]\d* users, .* have a label")
            self.assertEqual(len(set(lines)), len(lines), "each line from one rank")
        self.assertEqual(before, sorted(self.directory.iterdir()))
        answer = self.directory / "dry.json"
        run("train", "--dry-run", "--json", answer, *self.keys("dry", "item.table.placement=replicated"))
        result = json.loads(answer.read_text())
        self.assertEqual((result["dry_run"], result["ranks"]), (True, 1))
        self.assertGreater(result["item_rows"], 0)
        self.assertGreater(result["held_out_users"], 3731)  # as many have a positive in the window
        self.assertGreater(result["training_users"], result["held_out_users"])
        self.assertGreater(result["step_ms"], 0)
        for code, change in ((78, "model.heads=3"), (78, "model.layerz=1"), (66, "data.path=/nowhere")):
            refused = run("train", "--dry-run", *self.keys("dry", change), expect=code)
            self.assertEqual(refused.stdout, "")
            self.assertIn(change.split("=")[0 if code == 78 else 1], refused.stderr)
        self.assertFalse((self.directory / "dry").exists())

    def test_two_trainings_never_share_a_run_directory(self):
        words = [BINARY, "train", *map(str, self.keys("shared", "train.steps=100000"))]
        first = subprocess.Popen(words, cwd=ROOT, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True)
        try:
            while not first.stdout.readline().startswith("step "):
                self.assertIsNone(first.poll(), "the training has ended")
            for ranks in (0, 2):
                second = run("train", *self.keys("shared", "train.steps=100000"), ranks=ranks, expect=74)
                self.assertIn("in use", second.stderr)
                self.assertNotIn("straggler", second.stdout + second.stderr)
        finally:
            first.kill()
            first.communicate()
        threads = run("train", *self.keys("shared", "comm.backend=threads"), ranks=2, expect=78)
        self.assertIn("comm.backend", threads.stderr)

    def test_saving_does_not_distort_the_step_time(self):
        run("train", *self.keys("pace", "train.steps=40", "train.log_every=20", "checkpoint.every_steps=19"))
        for record in metrics(self.directory / "pace"):
            implied = 1000 * 64 / record["step_ms"]
            self.assertLess(abs(record["users_per_second"] - implied), 0.05 * implied)
            self.assertGreater(record["step_ms"], record["data_wait_ms"] + record["comm_wait_ms"])

    def test_a_damaged_checkpoint_is_skipped_and_said_so(self):
        keys = ["train.steps=3", "checkpoint.every_steps=1", "checkpoint.keep_last=3"]
        run("train", *self.keys("damaged", *keys))
        newest = self.directory / "damaged/checkpoints/step-000000003/model.safetensors"
        content = bytearray(newest.read_bytes())
        content[len(content) // 2] ^= 1
        newest.write_bytes(content)
        again = run("train", *self.keys("damaged", *keys, "train.steps=4"))
        self.assertIn("skipped a checkpoint", again.stdout)
        self.assertIn("step-000000002", again.stdout)


if __name__ == "__main__":
    unittest.main()
