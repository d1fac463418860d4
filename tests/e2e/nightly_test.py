"""The nightly example over three synthetic days, with a failure in each of its steps."""
import fcntl
import json
import os
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

from support import BINARY, ENVIRONMENT, ROOT, SmallRunTest

NIGHTLY = ROOT / "launch/examples/nightly.sh"
SLURM = ROOT / "launch/examples/nightly_slurm.sh"
COMMANDS = {"import": "synth", "train": "train", "evaluate": "evaluate", "embed": "embed", "index": "index"}
DAYS = {"2024-06-01": 200, "2024-06-02": 220, "2024-06-03": 240}  # users; the items stay


class Nightly(unittest.TestCase):
    def setUp(self):
        self.directory = Path(tempfile.mkdtemp(prefix="pinnerformer-e2e-"))
        self.addCleanup(shutil.rmtree, self.directory, ignore_errors=True)
        self.root = self.directory / "nights"
        SmallRunTest.directory, SmallRunTest.dataset = self.directory, "unused"
        words = [word for word in SmallRunTest.words("unused") if not word.startswith(("data.path", "run.dir"))]
        self.config = self.directory / "night.yaml"
        lines = subprocess.run([BINARY, "train", *words, "data.path=x", "run.directory=x", "train.steps=15",
                                "checkpoint.every_steps=10",
                                "item.table.placement=replicated", "item.table.dim=8", "evaluate.bootstrap=0",
                                "--print-config"], capture_output=True, text=True, check=True, env=ENVIRONMENT)
        self.config.write_text(lines.stdout)
        # Stands for the program, and fails at the command that FAIL names.
        self.program = self.directory / "program"
        self.program.write_text(f'#!/bin/bash\n[[ $1 != "${{FAIL:-}}" ]] || exit 74\nexec {BINARY} "$@"\n')
        self.program.chmod(0o755)

    def words(self, day):
        return [str(self.root), day, str(self.config), "--", "synth", "--items", "200", "--events-per-user", "20",
                "--users", str(DAYS[day])]

    def night(self, day, expect=0, **environment):
        result = subprocess.run([NIGHTLY, *self.words(day)], capture_output=True, text=True, cwd=ROOT, timeout=300,
                                env={**ENVIRONMENT, "PINNERFORMER": str(self.program), **environment})
        self.assertEqual(result.returncode, expect, result.stdout + result.stderr)
        return result.stdout

    def published(self):
        return (self.root / "current").resolve().name

    def test_three_nights_and_a_failure_in_every_step(self):
        (self.directory / "disk").mkdir()
        self.root.symlink_to("disk")
        first, second, third = DAYS
        for command in COMMANDS.values():
            log = self.night(first, expect=74, FAIL=command)
            self.assertIn("failed with exit code 74", log)
            self.assertFalse((self.root / "current").exists(), command)
        self.night(first)
        self.assertEqual(self.published(), first)

        for command in COMMANDS.values():
            self.night(second, expect=74, FAIL=command)
            self.assertEqual(self.published(), first, command)
        self.assertIn("items.hnsw is missing", self.night(second, expect=66, STEPS="publish"))
        self.assertEqual(self.published(), first)
        log = self.night(second)
        self.assertEqual(self.published(), second)
        self.assertIn("train: done before", log)
        manifest = json.loads((self.root / second / "run/checkpoints/step-000000015/MANIFEST.json").read_text())
        self.assertIn(f"{first}/run/checkpoints", manifest["initial_weights"]["checkpoint"])
        for path in ("dataset", "vectors.h5", "items.hnsw", "evaluation.json"):
            self.assertTrue((self.root / "current" / path).exists(), path)

        # The next night begins with the checkpoint whose vectors are published, be it the newest or not.
        evaluation = self.root / second / "evaluation.json"
        good = evaluation.read_text()
        earlier = sorted((self.root / second / "run/checkpoints").iterdir())[0]
        self.assertNotEqual(earlier.name, "step-000000015")
        evaluation.write_text(json.dumps({**json.loads(good), "checkpoint": str(earlier)}))
        self.night(third, STEPS="import train")
        evaluation.write_text(good)
        manifest = json.loads((self.root / third / "run/checkpoints/step-000000015/MANIFEST.json").read_text())
        self.assertTrue(manifest["initial_weights"]["checkpoint"].endswith(f"{second}/run/checkpoints/{earlier.name}"))
        for step in ("evaluate", "embed"):  # the run has validated nothing
            self.assertIn(step + " failed", self.night(third, expect=64, CHECKPOINT="best", STEPS=step))

        results = json.loads(good)
        next(row for row in results["results"] if row["method"] == "model")["recall@10"] = 1
        evaluation.write_text(json.dumps(results))
        self.assertIn("worse by more than 0.05", self.night(third, expect=1))
        self.assertEqual(self.published(), second, "a worse model is not published")
        evaluation.write_text(good)
        self.night(third, WORSE="1", KEEP_DAYS="1")
        self.assertEqual(self.published(), third)
        self.assertFalse((self.root / first).exists(), "older than the days that are kept")
        self.assertTrue((self.root / second).exists())
        self.assertIn("is 2024-06-03, a later day", self.night(second, expect=65))
        self.night(first, expect=65)
        self.assertFalse((self.root / first).exists(), "a day that is refused leaves nothing")
        self.assertEqual(self.published(), third)

    def test_two_jobs_at_once_and_wrong_words(self):
        self.root.mkdir()
        with open(self.root / "lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self.assertIn("another night's job", self.night("2024-06-01", expect=75))
        result = subprocess.run([NIGHTLY, self.root], capture_output=True, text=True)
        self.assertEqual(result.returncode, 64)
        self.assertIn("launch/examples/nightly.sh DIR DAY CONFIG", result.stderr)

    def test_the_chain_of_slurm_jobs_is_the_same_night(self):
        """A double of sbatch runs each job at once and refuses one whose dependency is not the job before."""
        sbatch = self.directory / "bin/sbatch"
        sbatch.parent.mkdir()
        sbatch.write_text(f'''#!/bin/bash
echo "$*" >> {self.directory}/jobs
last=$(cat {self.directory}/last 2>/dev/null || echo 100)
for word; do [[ $word != --dependency=* || $word == "--dependency=afterok:$last" ]] || exit 1; done
bash -c "${{@: -1}}" >> {self.directory}/log 2>&1 || exit 1
echo $((last + 1)) | tee {self.directory}/last
''')
        sbatch.chmod(0o755)
        environment = {**ENVIRONMENT, "PINNERFORMER": str(self.program), "TRAIN_OPTIONS": "--nodes=2 --exclusive",
                       "PATH": f"{sbatch.parent}:{os.environ['PATH']}"}
        result = subprocess.run([SLURM, *self.words("2024-06-01")], capture_output=True, text=True, cwd=ROOT,
                                timeout=300, env=environment)
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
        jobs = (self.directory / "jobs").read_text().splitlines()
        self.assertEqual(len(jobs), 6)
        self.assertEqual([("--nodes=2 --exclusive" in job) for job in jobs], [False, True] + 4 * [False])
        self.assertEqual([("--dependency" in job) for job in jobs], [False] + 5 * [True])
        self.assertEqual(self.published(), "2024-06-01")


if __name__ == "__main__":
    unittest.main()
