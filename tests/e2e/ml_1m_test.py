"""The check against the literature, shortened: MovieLens-1M where PF_ML_1M names its file."""
import json
import os
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

from support import ENVIRONMENT, ROOT

FILE = os.environ.get("PF_ML_1M", "")


@unittest.skipUnless(Path(FILE).is_file(),
                     "PF_ML_1M names no file: MovieLens-1M may not be shipped with this project")
class MovieLens(unittest.TestCase):
    def test_learns_more_than_popularity_in_a_few_minutes(self):
        directory = Path(tempfile.mkdtemp(prefix="pinnerformer-ml-1m-"))
        self.addCleanup(shutil.rmtree, directory, ignore_errors=True)
        subprocess.run([ROOT / "launch/experiments/ml_1m.sh", FILE, directory, "model.max_length=50",
                        "negatives.random=512", "train.steps=1000", "checkpoint.every_steps=1000",
                        "validate.every_steps=1000"],
                       env=ENVIRONMENT, check=True, capture_output=True, text=True)
        result = json.loads((directory / "evaluate.json").read_text())
        self.assertEqual(result["protocol"], "leave_one_out")
        self.assertEqual((result["users"], result["index_items"]), (6040, 3416))
        hits = {row["method"]: row["hr@10"] for row in result["results"]}
        # Popularity reaches .036 on this file.
        self.assertAlmostEqual(hits["popularity"], 0.036, delta=0.004)
        self.assertGreater(hits["model"], hits["popularity"])


if __name__ == "__main__":
    unittest.main()
