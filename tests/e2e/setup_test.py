"""Set-up and configuration: what launch/setup.sh would install, how it asks for what it may not
install, and which LibTorch the build accepts. Nothing here installs or compiles."""

import os
import pathlib
import shutil
import subprocess
import tempfile
import time
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]

# A LibTorch that CMake can find and that has no code: enough to see how the build judges it.
TORCH_CONFIG = """
get_filename_component(TORCH_INSTALL_PREFIX "${{CMAKE_CURRENT_LIST_DIR}}/../../.." ABSOLUTE)
set(TORCH_CXX_FLAGS "{flags}")
add_library(torch INTERFACE IMPORTED)
set(TORCH_LIBRARIES torch)
"""


def run(command, **environment):
    return subprocess.run(command, cwd=ROOT, text=True, capture_output=True, timeout=120,
                          env={**os.environ, **environment})


class Scratch(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.path = pathlib.Path(directory.name)

    def fake_libtorch(self, flags=""):
        folder = self.path / "libtorch/share/cmake/Torch"
        folder.mkdir(parents=True)
        (folder / "TorchConfig.cmake").write_text(TORCH_CONFIG.format(flags=flags))
        return str(self.path / "libtorch")

    def fake_programs(self, **scripts):
        """A folder of small shell scripts, to stand in front of the real programs on PATH."""
        folder = self.path / "bin"
        folder.mkdir()
        for name, body in scripts.items():
            program = folder / name.replace("_", "-")
            program.write_text(f"#!/bin/sh\n{body}\n")
            program.chmod(0o755)
        return f"{folder}:{os.environ['PATH']}"


class SetupScript(Scratch):
    def test_second_call_does_nothing_and_is_fast(self):
        start = time.monotonic()
        result = run(["launch/setup.sh"])
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertRegex(result.stderr.splitlines()[-1], r"^setup: ready")
        self.assertNotIn("installing", result.stderr)
        self.assertLess(time.monotonic() - start, 15)

    def test_every_python_package_is_pinned_exactly(self):
        for line in (ROOT / "launch/requirements.txt").read_text().splitlines():
            if line and not line.startswith("#"):
                self.assertRegex(line, r"^[a-z0-9-]+==[0-9.]+$")

    def test_every_wheel_is_pinned_by_its_hash(self):
        lock = (ROOT / "launch/requirements.lock").read_text().splitlines()
        for line in lock:
            if line and not line.startswith("#"):
                self.assertRegex(line, r"^[a-z0-9-]+==[0-9.]+( --hash=sha256:[0-9a-f]{64})+$")
        packages = [line.split()[0] for line in lock if line]
        for line in (ROOT / "launch/requirements.txt").read_text().splitlines():
            if line and not line.startswith("#"):
                self.assertIn(line, packages, "run launch/lock_wheels.py")

    def test_libtorch_is_downloaded_only_without_an_own_one(self):
        wanted = run(["launch/setup.sh", "--dry-run"], CMAKE_PREFIX_PATH="").stdout.split()
        self.assertIn("torch==2.11.0", wanted)
        wanted = run(["launch/setup.sh", "--dry-run"],
                     CMAKE_PREFIX_PATH=f"/nowhere:{self.fake_libtorch()}").stdout
        self.assertIn("pyarrow==", wanted)
        self.assertNotIn("torch==", wanted)
        self.assertNotIn("nvidia", wanted)

    def test_compiler_wheels_only_without_a_cuda_13_toolkit(self):
        for release, wheels in (("13.0", False), ("12.8", True)):
            with self.subTest(release=release):
                nvcc = self.path / f"nvcc-{release}"
                nvcc.write_text(f"#!/bin/sh\necho 'Cuda compilation tools, release {release}, V'\n")
                nvcc.chmod(0o755)
                wanted = run(["launch/setup.sh", "--dry-run"], CUDACXX=str(nvcc),
                             CMAKE_PREFIX_PATH="").stdout
                self.assertEqual("nvidia-cuda-nvcc==" in wanted, wheels)

    def test_sudo_is_used_only_with_yes(self):
        calls = self.path / "calls"
        path = self.fake_programs(id="echo 1000", sudo=f'echo "$*" >> {calls}',
                                  dpkg_query="echo 'ii g++'; exit 1")
        result = run(["launch/setup.sh"], PATH=path)
        self.assertEqual(result.returncode, 1, result.stderr)
        self.assertFalse(calls.exists())
        self.assertIn("--yes", result.stderr)
        result = run(["launch/setup.sh", "--yes"], PATH=path)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertRegex(calls.read_text(), "apt-get -qq install -y .*make ccache")

    def check(self, expect, **environment):
        """Rows of `setup.sh --check`: name -> (state, finding)."""
        result = run(["launch/setup.sh", "--check"], **environment)
        self.assertEqual(result.returncode, expect, result.stdout + result.stderr)
        rows = [line.split(None, 2) for line in result.stdout.splitlines()]
        return {name: (state, finding) for state, name, finding in rows}

    def test_check_finds_this_machine_complete(self):
        rows = self.check(0)
        for name in ("compiler", "MPI", "python", "packages", "disk", ".venv"):
            self.assertEqual(rows[name][0], "ok", rows)

    def test_check_names_what_is_missing_and_installs_nothing(self):
        calls = self.path / "calls"
        path = self.fake_programs(gxx="echo 10.2.1", mpirun="exit 1", sudo=f'echo "$*" >> {calls}',
                                  apt_get=f'echo "$*" >> {calls}', dpkg_query="echo 'ii make'; exit 1")
        (self.path / "bin/gxx").rename(self.path / "bin/g++")
        rows = self.check(1, PATH=path)
        self.assertEqual(rows["compiler"], ("MISSING", "g++ 10.2.1; 11 or newer is needed"))
        self.assertEqual(rows["MPI"], ("MISSING", "no mpirun"))
        self.assertEqual(rows["packages"][0], "MISSING")
        self.assertIn("sudo apt-get install -y g++ ccache libopenmpi-dev", rows["packages"][1])
        self.assertEqual(rows["python"][0], "ok")
        self.assertFalse(calls.exists())

    def test_check_asks_the_compiler_on_another_linux(self):
        system = self.path / "os-release"
        system.write_text("ID=other\nVERSION_ID=3\n")
        folder = self.path / "bin"
        folder.mkdir()
        for name in ("bash", "awk", "sed", "grep", "head", "tail", "tr", "df", "cat", "uname", "dirname", "basename", "g++",
                     "mpirun", "env", "nproc", "printf", "readlink", "id", "cut", "sort", "python3", "h5cc"):
            (folder / name).symlink_to(shutil.which(name))
        rows = self.check(0, PATH=str(folder), OS_RELEASE=str(system))
        self.assertEqual(rows["system"][0], "note")
        self.assertIn("other 3", rows["system"][1])
        self.assertEqual(rows["headers"], ("ok", "all found by g++"))
        self.assertNotIn("packages", rows)

    def test_account_without_rights_is_told_the_command(self):
        path = self.fake_programs(id="echo 1000", sudo="exit 1",
                                  dpkg_query="echo 'ii g++'; exit 1")
        result = run(["launch/setup.sh"], PATH=path)
        self.assertEqual(result.returncode, 1)
        self.assertIn("sudo apt-get install -y make ccache libopenmpi-dev", result.stderr)
        self.assertNotIn("installing", result.stderr)


class LibtorchChoice(Scratch):
    def configure(self, *options, **environment):
        return run(["cmake", "-S", ".", "-B", self.path / "build", "-G", "Ninja", *options],
                   PATH=f"{ROOT}/.venv/bin:{os.environ['PATH']}", **environment)

    def test_old_abi_is_refused_in_plain_words(self):
        own = self.fake_libtorch(flags="-D_GLIBCXX_USE_CXX11_ABI=0")
        result = self.configure(CMAKE_PREFIX_PATH=own)
        self.assertNotEqual(result.returncode, 0)
        self.assertIn("C++ ABI mismatch", result.stderr)
        self.assertIn(own, result.stderr)

    def test_own_libtorch_without_cuda_turns_cuda_off(self):
        own = self.fake_libtorch()
        result = self.configure(CMAKE_PREFIX_PATH=own)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn(own, result.stdout)
        self.assertIn("This LibTorch has no CUDA", result.stdout)

    def test_missing_libtorch_names_the_remedy(self):
        result = self.configure(f"-DPF_VENV={self.path}", CMAKE_PREFIX_PATH="")
        self.assertNotEqual(result.returncode, 0)
        self.assertIn("Run ./launch/setup.sh", result.stderr)


if __name__ == "__main__":
    unittest.main()
