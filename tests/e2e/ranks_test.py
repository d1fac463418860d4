"""Jobs that are not what they seem are refused before the first step; `doctor` says how things stand."""
import json
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

from support import BINARY, ENVIRONMENT, ROOT, mpirun, run


class Ranks(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.directory = Path(tempfile.mkdtemp(prefix="pinnerformer-ranks-"))
        cls.addClassCleanup(shutil.rmtree, cls.directory, ignore_errors=True)
        cls.dataset = cls.directory / "dataset"
        for name, users in (("dataset", 120), ("other", 121)):
            run("synth", "--users", users, "--items", 100, "--events-per-user", 20,
                "--out", cls.directory / name)

    def keys(self, name, *more):
        return ["--config", ROOT / "configs/quickstart.yaml", f"data.path={self.dataset}",
                f"run.directory={self.directory / name}", "positives.actions=save", "train.steps=2",
                "comm.backend=mpi", "train.global_batch_users=16", *more]

    def one_rank_differs(self, name, *more, program=BINARY):
        """Two ranks of one job, of which the second is given other words or is another program."""
        first = ["-n", "1", BINARY, "train", *self.keys(name)]
        second = ["-n", "1", program, "train", *self.keys(name, *more)]
        words = [str(word) for word in ["mpirun", "--oversubscribe", *first, ":", *second]]
        return subprocess.run(words, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, timeout=300)

    def test_a_rank_with_another_configuration_is_refused(self):
        result = self.one_rank_differs("config", "optimizer.learning_rate=0.5")
        self.assertEqual(result.returncode, 78, result.stderr)
        self.assertIn("do not agree on the configuration: rank 1 differ", result.stderr)
        self.assertIn("learning_rate: 0.5", result.stderr)
        self.assertEqual(result.stderr.count("do not agree"), 1, "one rank speaks for all")
        self.assertFalse((self.directory / "config/checkpoints").exists())

    def test_a_rank_with_another_dataset_is_refused(self):
        shutil.move(self.directory / "dataset", self.directory / "one")
        self.addCleanup(shutil.move, self.directory / "one", self.directory / "dataset")
        # The same path, but another dataset behind it: two nodes with disks of their own.
        program = ('import os, sys; n = os.environ["OMPI_COMM_WORLD_RANK"]; os.chdir(sys.argv[1] + "/node" + n); '
                   'os.execv(sys.argv[2], sys.argv[2:])')
        for node, source in (("node0", "one"), ("node1", "other")):
            (self.directory / node).mkdir()
            (self.directory / node / "data").symlink_to(self.directory / source)
        keys = self.keys("dataset-differs", "data.path=data")
        words = mpirun(2) + ["python3", "-c", program, str(self.directory), BINARY, "train", *map(str, keys)]
        result = subprocess.run(words, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, timeout=300)
        self.assertEqual(result.returncode, 78, result.stderr)
        self.assertIn("do not agree on the dataset: rank 1 differ", result.stderr)

    def test_a_rank_of_another_build_is_refused(self):
        other = self.directory / "pinnerformer-of-another-build"
        shutil.copy2(BINARY, other)
        with open(other, "ab") as file:
            file.write(b"\0")
        result = self.one_rank_differs("build", program=other)
        self.assertEqual(result.returncode, 78, result.stderr)
        self.assertIn("do not agree on the build: rank 1 differ", result.stderr)
        self.assertIn("Start every rank with the same program", result.stderr)
        self.assertEqual(result.stderr.count("do not agree"), 1, "one rank speaks for all")
        self.assertFalse((self.directory / "build/checkpoints").exists())

    def test_singletons_are_refused(self):
        # What srun without the right PMI plugin makes of two tasks.
        environment = {**ENVIRONMENT, "SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "2"}
        for command in (["train", *self.keys("single")], ["doctor", "comm.backend=mpi"]):
            result = subprocess.run([BINARY, *map(str, command)], cwd=ROOT, env=environment,
                                    capture_output=True, text=True, timeout=300)
            self.assertEqual(result.returncode, 75, result.stderr)
            self.assertIn("started 2 processes, but MPI sees a job of 1 rank", result.stdout + result.stderr)
            self.assertIn("srun --mpi=pmix", result.stdout + result.stderr)

    def test_doctor_finds_a_healthy_job_healthy(self):
        answer = self.directory / "doctor.json"
        shown = run("doctor", f"data.path={self.dataset}", f"run.directory={self.directory}",
                    "comm.backend=mpi", "--json", answer, ranks=2)
        result = json.loads(answer.read_text())
        self.assertTrue(result["healthy"])
        self.assertEqual(result["ranks"], 2)
        self.assertEqual([timing["bytes"] for timing in result["all_reduce"]], [8, 1 << 20, 64 << 20])
        for timing in result["all_reduce"]:
            self.assertTrue(timing["correct"])
            self.assertGreater(timing["us_median"], 0)
        checks = {check["name"]: check for check in result["checks"]}
        self.assertEqual(checks["job"]["finding"], "one job of 2 rank(s)")
        for name in ("hosts", "MPI", "LibTorch", "HDF5", "HDF5 file locks", "room for checkpoints",
                     "slowest pair", "network of NCCL", "GPU", "cores", "network cards", "durable writes", "inodes",
                     "cores of a host", "clocks", "matrix product", "copy"):
            self.assertIn(name, checks)
            self.assertNotEqual(checks[name]["health"], "FAILED", checks[name])
            self.assertIn(checks[name]["finding"], shown.stdout)
        self.assertEqual(shown.stdout.count("HDF5 file locks"), 1, "one table, from one rank")

    def test_doctor_fails_where_a_path_cannot_be_used(self):
        shown = run("doctor", f"data.path={self.directory / 'nowhere'}", expect=75)
        self.assertIn("FAILED", shown.stdout)
        self.assertIn("nowhere/items.h5", shown.stdout)

    def test_doctor_reports_missing_gpus_in_its_table(self):
        import torch
        if torch.cuda.is_available():
            self.skipTest("this machine has a GPU")
        answer = self.directory / "no-gpu.json"
        shown = run("doctor", f"data.path={self.dataset}", f"run.directory={self.directory}",
                    "comm.backend=nccl", "--json", answer, ranks=2, expect=75)
        self.assertRegex(shown.stdout, r"(?m)^GPU +FAILED +none, and comm.backend=nccl needs one")
        self.assertEqual(shown.stdout.count("FAILED"), 1, shown.stdout)
        result = json.loads(answer.read_text())
        self.assertFalse(result["healthy"])
        checks = {check["name"]: check for check in result["checks"]}
        self.assertEqual(checks["GPU"]["health"], "FAILED")
        self.assertEqual(checks["HDF5 file locks"]["health"], "ok", "the other rows are still there")

    def test_benchmarks_print_json(self):
        shown = run("bench", "allreduce", "--bytes", 4096, "--repetitions", 3, "comm.backend=mpi", ranks=2)
        result = json.loads(shown.stdout)
        self.assertEqual((result["benchmark"], result["ranks"]), ("allreduce", 2))
        self.assertTrue(result["results"][0]["correct"])
        self.assertGreater(result["results"][0]["mpi_allreduce_us_median"], 0)
        shape = ["model.max_length=16", "model.hidden=32", "model.layers=1", "model.heads=2",
                 "train.global_batch_users=8", "negatives.random=64", "negatives.in_batch=16"]
        answer = self.directory / "step.json"
        run("bench", "step", "--steps", 3, "--json", answer, "comm.backend=mpi", *shape, ranks=2)
        result = json.loads(answer.read_text())
        for key in ("users_per_second", "step_ms_median", "step_ms_p95"):
            self.assertGreater(result[key], 0)
        self.assertEqual(result["shape"]["hidden"], 32)
        self.assertEqual(result["shape"]["mean_window"], 16, "a step of short windows is no step of this shape")
        self.assertIn("did you mean 'step'", run("bench", "stepp", expect=64).stderr)


if __name__ == "__main__":
    unittest.main()
