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


def make_debian(root):
    """A minimal Debian 12 in the folder `root`, from debootstrap's own mirror. False where that fails."""
    return subprocess.run(["debootstrap", "--variant=minbase", "bookworm", root],
                          stdout=subprocess.DEVNULL).returncode == 0


def inside_debian(root, *words, user="0:0"):
    """The command that runs these words in what make_debian() made. chroot alone leaves out /proc, from which the
    loader takes where a program lies, and /dev."""
    script = ('root=$1 user=$2; shift 2; mount --rbind /proc "$root/proc"; mount --rbind /dev "$root/dev"; '
              'exec chroot --userspec="$user" "$root" "$@"')
    return ["unshare", "--mount", "--propagation", "private", "bash", "-ec", script, "-", root, user, *words]


def metrics(run_directory):
    with open(Path(run_directory) / "metrics.jsonl") as lines:
        return [json.loads(line) for line in lines]


def children(parent):
    """Process ids whose parent this is, from /proc: a minimal system has no ps. In order of birth."""
    found = []
    for entry in os.listdir("/proc"):
        try:
            with open(f"/proc/{int(entry)}/stat") as file:
                if int(file.read().rsplit(")", 1)[1].split()[1]) == parent:
                    found.append(int(entry))
        except (ValueError, OSError):
            continue  # no process, or one that has just ended
    return sorted(found)


def same_weights(first, second, step):
    """Whether two runs have the same bits in their checkpoints of a step."""
    from safetensors.numpy import load_file
    for name in ("model", "training"):
        one, two = (load_file(Path(run) / f"checkpoints/step-{step:09d}/{name}.safetensors")
                    for run in (first, second))
        if one.keys() != two.keys() or any(one[key].tobytes() != two[key].tobytes() for key in one):
            return False
    return True


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


class SmallRunTest(unittest.TestCase):
    """A test class with a directory of its own and a small synthetic dataset; a step takes milliseconds."""

    @classmethod
    def setUpClass(cls):
        cls.directory = Path(tempfile.mkdtemp(prefix="pinnerformer-e2e-"))
        cls.addClassCleanup(shutil.rmtree, cls.directory, ignore_errors=True)
        cls.dataset = cls.directory / "dataset"
        run("synth", "--users", 600, "--items", 300, "--events-per-user", 20, "--out", cls.dataset)

    @classmethod
    def words(cls, name, *more):
        """A configuration with this test's data and run directory, as words."""
        return [str(word) for word in (
            f"data.path={cls.dataset}", "positives.actions=save", f"run.directory={cls.directory / name}", "model.max_length=16",
            "model.hidden=16", "model.layers=1", "model.heads=2", "model.output=16", "model.item_hidden=16",
            "objective.window_days=14", "objective.positions=4", "negatives.in_batch=64", "negatives.random=64",
            "optimizer.warmup_steps=10", "split.users_percent=10",
            "split.window_days=3", "train.global_batch_users=32", "train.log_every=5",
            "checkpoint.every_steps=50", *more)]
