"""`cmake --install`: the program runs from a prefix that has moved, where neither the checkout nor the
build exists; and the Debian package of the program says what it needs."""
import os
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

from support import BINARY, ENVIRONMENT, ROOT, inside_debian, make_debian

BUILD = Path(BINARY).parent
CMAKE = ROOT / ".venv/bin/cmake"

# Hides the checkout but for its .venv, then runs the command.
ALONE = """set -e
mount --bind "$1/.venv" "$2"
mount -t tmpfs none "$1"
mkdir "$1/.venv"
mount --bind "$2" "$1/.venv"
cd "$3"
shift 3
exec "$@"
"""

QUICK_START = """cd /root
share=/usr/share/pinnerformer
pinnerformer synth --users 600 --items 300 --events-per-user 20 --out dataset
mpirun --oversubscribe -n 2 pinnerformer train --config $share/configs/quickstart.yaml data.path=dataset \\
    positives.actions=save train.steps=5 train.global_batch_users=16 run.directory=run
pinnerformer recommend --run run --evaluation-users 1
"""


def why_not():
    """Why this machine cannot run the tests, or None."""
    if not CMAKE.exists() or not (BUILD / "cmake_install.cmake").exists():
        return "no build folder of CMake beside the program"
    if subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode != 0:
        return "mount namespaces are not available: needs root"
    return None


@unittest.skipIf(why_not(), why_not())
class Install(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.directory = Path(tempfile.mkdtemp(prefix="pinnerformer-install-"))
        cls.addClassCleanup(shutil.rmtree, cls.directory, ignore_errors=True)
        first = cls.directory / "first"
        subprocess.run([CMAKE, "--install", BUILD, "--prefix", first], check=True, stdout=subprocess.DEVNULL)
        cls.prefix = cls.directory / "moved"
        first.rename(cls.prefix)
        cls.venv = cls.directory / "venv"
        cls.work = cls.directory / "work"
        for folder in (cls.venv, cls.work):
            folder.mkdir()

    def alone(self, *words):
        """Runs the installed program without the checkout; returns its output."""
        done = subprocess.run(["unshare", "--mount", "--propagation", "private", "bash", "-c", ALONE, "-", ROOT, self.venv,
                               self.work, *map(str, words)],
                              env=ENVIRONMENT, capture_output=True, text=True, timeout=300)
        self.assertEqual(done.returncode, 0, f"{words}\n{done.stdout}\n{done.stderr}")
        return done.stdout

    def test_first_steps_of_the_quick_start_without_the_checkout(self):
        program, share = self.prefix / "bin/pinnerformer", self.prefix / "share/pinnerformer"
        data = share / "sample_data/kuairand_pure"
        self.alone("test", "!", "-e", ROOT / "README.md")
        self.assertIn("pinnerformer 0.", self.alone(program, "--version"))
        self.alone(program, "import", "--events", data / "events.tsv.gz", "--columns",
                   "user=user,item=item,action=action,surface=surface,time=ts_ms:ms,duration=duration_ms:ms",
                   "--missing", "surface=-,duration=-1", "--keep-duplicates",
                   "--items", data / "items.tsv.gz", "--item-columns", "id=item,title=title,topic=tag",
                   "--vectors", data / "item_vectors.h5", "--out", "build/quickstart/dataset")
        quickstart = share / "configs/quickstart.yaml"
        self.alone("mpirun", "--oversubscribe", "-n", 2, program, "train", "--config", quickstart, "train.steps=5")
        self.alone(program, "recommend", "--run", "build/quickstart/run", "--evaluation-users", 1)
        script = self.alone(program, "launch", "slurm", "--dry-run", "--config", quickstart)
        self.assertIn(f"program={program}", script, "a job starts the installed program")

    def test_the_program_looks_for_nothing_outside_the_prefix_and_the_system(self):
        libraries = self.alone("ldd", self.prefix / "bin/pinnerformer")
        self.assertNotIn("not found", libraries)
        for line in libraries.splitlines():
            if "=> /" in line:
                self.assertRegex(line, rf"=> ({self.prefix}|/lib|/usr/lib)/", "a library of the build")

    def test_what_a_user_reads_is_installed(self):
        for name in ("share/pinnerformer/configs/pinnerformer.yaml", "share/pinnerformer/slurm/srun.sbatch",
                     "share/pinnerformer/kubernetes/mpijob.yaml", "share/pinnerformer/container/Dockerfile",
                     "share/pinnerformer/python/pyproject.toml", "share/doc/pinnerformer/operations.md",
                     "share/doc/pinnerformer/copyright"):
            self.assertTrue((self.prefix / name).is_file(), name)
        leftovers = [path for path in self.prefix.rglob("*") if path.name in ("__pycache__", "CMakeLists.txt")
                     or path.suffix in (".cc", ".h") and "lib" not in path.relative_to(self.prefix).parts]
        self.assertEqual(leftovers, [])


def make_packages(directory, *options):
    """The Debian packages of the build, below a directory."""
    done = subprocess.run([CMAKE.with_name("cpack"), "--config", BUILD / "CPackConfig.cmake", "-B", directory, *options],
                          capture_output=True, text=True)
    if done.returncode != 0:
        raise AssertionError(done.stdout + done.stderr)
    return sorted(directory.glob("*.deb"))


@unittest.skipIf(why_not(), why_not())
@unittest.skipUnless(shutil.which("dpkg-deb"), "missing: dpkg-deb")
class DebianPackage(unittest.TestCase):
    def test_package_of_the_program_names_what_it_needs(self):
        directory = Path(tempfile.mkdtemp(prefix="pinnerformer-deb-"))
        self.addCleanup(shutil.rmtree, directory, ignore_errors=True)
        package, = make_packages(directory, "-D", "CPACK_COMPONENTS_ALL=program")
        fields = dict(line.split(": ", 1) for line in subprocess.check_output(
            ["dpkg-deb", "-f", package], text=True).splitlines() if ": " in line)
        self.assertEqual(fields["Package"], "pinnerformer")
        for needed in ("pinnerformer-libraries (>= ", "openmpi-bin"):
            self.assertIn(needed, fields["Depends"])
        if shutil.which("dpkg-shlibdeps"):
            for needed in ("libyaml-cpp", "libhdf5", "libopenmpi", "libjemalloc2"):
                self.assertIn(needed, fields["Depends"])
        self.assertLess(package.stat().st_size, 30 << 20, "the libraries are a package of their own")
        listing = subprocess.check_output(["dpkg-deb", "-c", package], text=True)
        self.assertIn("./usr/bin/pinnerformer", listing)
        self.assertNotIn("libtorch", listing)


@unittest.skipUnless(os.environ.get("PF_SOAK"), "installs 4 GB twice: tier soak")
@unittest.skipUnless(shutil.which("debootstrap") and os.geteuid() == 0, "needs root and debootstrap")
class CleanMachine(unittest.TestCase):
    """Both packages in a Debian made for the test, which has neither compiler nor Python nor wheels."""

    def test_packages_install_and_train(self):
        directory = Path(tempfile.mkdtemp(prefix="pinnerformer-clean-"))
        self.addCleanup(shutil.rmtree, directory, ignore_errors=True)
        root = directory / "root"
        if not make_debian(root):
            self.skipTest("debootstrap could not make a Debian")
        packages = make_packages(directory, "-D", "CPACK_DEBIAN_COMPRESSION_TYPE=none")
        self.assertEqual(len(packages), 2)
        for package in packages:
            package.rename(root / "root" / package.name)
        install = "cd /root && apt-get install -qq -y --no-install-recommends ./*.deb"
        subprocess.run(inside_debian(root, "bash", "-ec", install), check=True, stdout=subprocess.DEVNULL,
                       env={**ENVIRONMENT, "DEBIAN_FRONTEND": "noninteractive"})
        done = subprocess.run(inside_debian(root, "bash", "-ec", QUICK_START), env=ENVIRONMENT, capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)


if __name__ == "__main__":
    unittest.main()
