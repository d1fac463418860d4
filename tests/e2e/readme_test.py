"""The commands of the README, as they stand there. A block after `<!-- tested -->` is run whole."""
import json
import os
import re
import shutil
import subprocess
import unittest

from support import BINARY, ENVIRONMENT, ROOT

INSTALLED = os.path.realpath(BINARY) == os.path.realpath(ROOT / "build/pinnerformer")


def shell(script, timeout=900):
    result = subprocess.run(["bash", "-euo", "pipefail", "-c", script], cwd=ROOT, env=ENVIRONMENT,
                            capture_output=True, text=True, timeout=timeout)
    if result.returncode != 0:
        raise AssertionError(f"{script}\nexit code {result.returncode}\n{result.stdout}\n{result.stderr}")
    return result.stdout


@unittest.skipUnless(INSTALLED, "the README speaks of build/pinnerformer, another build is under test")
class Readme(unittest.TestCase):
    def test_1_quick_start(self):
        output = shell("./launch/quickstart.sh")
        result = json.loads((ROOT / "build/quickstart/evaluate.json").read_text())
        recall = {row["method"]: row["recall@10"] for row in result["results"]}
        self.assertAlmostEqual(recall["popularity"], 0.0386, places=4)
        self.assertAlmostEqual(recall["mean_of_last"], 0.033, delta=0.002)
        self.assertIn("popularity_recency", recall, "the table names the strongest baseline")
        self.assertGreaterEqual(recall["model"], 0.052)
        self.assertLess(recall["model"], 0.07, "better than plausible: look for a leak")
        self.assertEqual(output.count("recommended:"), 3)
        self.assertIn("author", output)
        self.assertTrue((ROOT / "build/quickstart/vectors.h5").exists())

    def test_2_blocks(self):
        readme = (ROOT / "README.md").read_text()
        blocks = re.findall(r"<!-- tested -->\n```bash\n(.*?)```", readme, re.DOTALL)
        self.assertGreaterEqual(len(blocks), 2)
        for made in ("retail", "bare", "deeper"):
            shutil.rmtree(ROOT / "build" / made, ignore_errors=True)
        for block in blocks:
            shell(block)
        result = json.loads((ROOT / "build/retail/evaluate.json").read_text())
        self.assertEqual(result["positives"], 7948)

    def test_3_the_sample_of_the_architecture_page(self):
        page = (ROOT / "docs/architecture.md").read_text()
        block = re.search(r"<!-- sample: begin -->\n.*?`pinnerformer (explain [^`]*)`.*?```\n(.*?)```", page, re.DOTALL)
        self.assertIsNotNone(block, "docs/architecture.md has no sample")
        written, seen = block[2].split(), shell("build/pinnerformer " + block[1]).split()
        self.assertEqual(len(written), len(seen))
        for told, found in zip(written, seen):
            if re.fullmatch(r"-?\d+\.\d+(e[+-]\d+)?", told):  # rounding differs between processors
                self.assertAlmostEqual(float(told), float(found), delta=2e-3 * max(1, abs(float(told))), msg=told)
            else:
                self.assertEqual(told, found)


if __name__ == "__main__":
    unittest.main()
