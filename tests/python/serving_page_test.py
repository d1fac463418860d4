"""The commands of docs/serving.md, as they stand there: a block after `<!-- tested -->` is run whole."""
import json
import os
import re
import shutil
import subprocess
import unittest

from python_support import PACKAGE, ROOT, need
from support import BINARY, ENVIRONMENT

import pinnerformer

INSTALLED = os.path.realpath(BINARY) == os.path.realpath(ROOT / "build/pinnerformer")
MADE = ROOT / "build/serving"
PIP = re.compile(r"^pip install .*\n", re.MULTILINE)


def shell(script, python):
    """Blocks of Python run with the packages of tests/optional.sh instead of a `pip install`, which package_test.py does."""
    environment = dict(ENVIRONMENT)
    if python:
        script = PIP.sub("", script)
        environment.update(PYTHONPATH=str(PACKAGE), PATH=f"{ROOT / '.venv-optional/bin'}:{os.environ['PATH']}")
    result = subprocess.run(["bash", "-euo", "pipefail", "-c", script], cwd=ROOT, env=environment,
                            capture_output=True, text=True, timeout=600)
    if result.returncode != 0:
        raise AssertionError(f"{script}\nexit code {result.returncode}\n{result.stdout}\n{result.stderr}")
    return result.stdout


@unittest.skipUnless(INSTALLED, "the page speaks of build/pinnerformer, another build is under test")
class ServingPage(unittest.TestCase):
    def test_the_way_from_events_to_a_service(self):
        need("torch", "fastapi", "uvicorn", "hnswlib")
        page = (ROOT / "docs/serving.md").read_text()
        blocks = re.findall(r"<!-- tested(: python)? -->\n```bash\n(.*?)```", page, re.DOTALL)
        self.assertEqual(len(blocks), page.count("```bash"), "a block of commands that no test runs")
        shutil.rmtree(MADE, ignore_errors=True)
        self.addCleanup(shutil.rmtree, MADE, ignore_errors=True)
        printed, versions = [], []
        for python, block in blocks:
            printed.append(shell(block, bool(python)))
            if (MADE / "export").exists():
                versions.append(pinnerformer.Export(MADE / "export").version)
        looked = next(text for (python, block), text in zip(blocks, printed) if python and "EOF" in block)
        self.assertEqual(len(looked.splitlines()), 5)
        answer = json.loads((MADE / "answer.json").read_text())
        self.assertEqual((answer["used"], len(answer["recommended"])), (2, 5))
        self.assertEqual(answer["model_version"], versions[0].model)
        self.assertEqual(len(set(versions)), 2, "step 6 serves another model")
        self.assertEqual(versions[-1], versions[0])
        pinnerformer.require_same_version(pinnerformer.Export(MADE / "export"), pinnerformer.Index(MADE / "items.hnsw"),
                                          pinnerformer.Vectors(MADE / "vectors.h5"))
        recall = {row["method"]: row["recall@10"] for row in json.loads((MADE / "evaluate.json").read_text())["results"]}
        self.assertGreater(recall["model"], recall["popularity"])


if __name__ == "__main__":
    unittest.main()
