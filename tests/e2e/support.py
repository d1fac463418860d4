"""What the end-to-end tests share: running the program as a user does, alone or under mpirun."""
import json
import os
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BINARY = os.environ.get("PF_BINARY", str(ROOT / "build/pinnerformer"))
KUAIRAND = ROOT / "launch/sample_data/kuairand_pure"
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE",
               "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}


def mpirun(ranks):
    return [] if ranks == 0 else ["mpirun", "--oversubscribe", "-n", str(ranks)]


def run(*words, ranks=0, expect=0, timeout=600):
    """Runs the program; fails with its whole output unless the exit code is `expect`."""
    command = mpirun(ranks) + [BINARY, *map(str, words)]
    result = subprocess.run(command, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True,
                            timeout=timeout)
    if result.returncode != expect:
        raise AssertionError(f"{' '.join(command)}\nexit code {result.returncode}, expected {expect}\n"
                             f"{result.stdout}\n{result.stderr}")
    return result


def import_kuairand(directory, *more, vectors=KUAIRAND / "item_vectors.h5"):
    run("import", "--events", KUAIRAND / "events.tsv.gz", "--columns",
        "user=user,item=item,action=action,surface=surface,time=ts_ms:ms,duration=duration_ms:ms",
        "--missing", "surface=-,duration=-1", "--keep-duplicates", "--items", KUAIRAND / "items.tsv.gz",
        "--item-columns", "id=item,title=title,topic=tag",
        "--vectors", vectors, "--out", directory, *more)


def metrics(run_directory):
    with open(Path(run_directory) / "metrics.jsonl") as lines:
        return [json.loads(line) for line in lines]


class ProgramTest(unittest.TestCase):
    """A test class with a directory of its own and the KuaiRand sample imported into it once."""

    @classmethod
    def setUpClass(cls):
        cls.directory = Path(tempfile.mkdtemp(prefix="pinnerformer-e2e-"))
        cls.addClassCleanup(shutil.rmtree, cls.directory, ignore_errors=True)
        cls.dataset = cls.directory / "dataset"
        import_kuairand(cls.dataset)

    def keys(self, name, *more):
        """Words of the quick start's configuration with this test's data and run directory."""
        return ["--config", ROOT / "configs/quickstart.yaml", f"data.path={self.dataset}",
                f"run.directory={self.directory / name}", *more]
