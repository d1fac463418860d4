"""launch/container: what can be said of the images without a registry. In the tier soak the commands of
the image that runs the program are run in a Debian made for the test."""
import os
import re
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

from support import BINARY, ENVIRONMENT, ROOT, inside_debian, make_debian

CONTAINER = ROOT / "launch/container"
CMAKE = ROOT / ".venv/bin/cmake"
OPTIONAL = ROOT / ".venv-optional/bin"


def instructions(dockerfile):
    """(word, rest) of every instruction; lines that end with a backslash are joined."""
    text = re.sub(r"\\\n", " ", "".join(line for line in dockerfile.read_text().splitlines(keepends=True)
                                        if not line.startswith("#")))
    return [tuple(line.split(None, 1)) for line in text.splitlines() if line.strip()]


def stages(lines):
    """{stage: its instructions}"""
    found, name = {}, None
    for word, rest in lines:
        if word == "FROM":
            name = rest.split(" AS ")[1]
        found.setdefault(name, []).append((word, rest))
    return found


class Dockerfile(unittest.TestCase):
    def setUp(self):
        self.lines = instructions(CONTAINER / "Dockerfile")
        self.stages = stages(self.lines)

    def test_linter_has_nothing_to_say(self):
        hadolint = shutil.which("hadolint", path=f"{OPTIONAL}:{os.environ['PATH']}")
        if not hadolint:
            self.skipTest("no hadolint: tests/optional.sh installs it")
        done = subprocess.run([hadolint, CONTAINER / "Dockerfile"], capture_output=True, text=True)
        self.assertEqual((done.returncode, done.stdout + done.stderr), (0, ""))

    def test_base_has_a_version_that_both_recipes_share(self):
        base, = [rest.partition("=")[2] for word, rest in self.stages[None] if word == "ARG"]
        self.assertRegex(base, r"^debian:\d+\.\d+-slim$|@sha256:[0-9a-f]{64}$")
        recipe = (CONTAINER / "pinnerformer.def").read_text()
        self.assertEqual(set(re.findall(r"(?m)^From: (.*)$", recipe)), {base})

    def test_program_runs_as_a_user_without_rights(self):
        user = [rest for word, rest in self.stages["runtime"] if word == "USER"][-1]
        number = user.split(":")[0]
        self.assertGreater(int(number), 0)
        self.assertIn(f"useradd --uid {number}", (CONTAINER / "runtime.sh").read_text())

    def test_sources_come_after_packages(self):
        """A change of the sources must not repeat the installation of the wheels."""
        words = [f"{word} {rest}" for word, rest in self.stages["build"]]
        prepare = next(i for i, line in enumerate(words) if line.startswith("RUN") and "prepare.sh" in line)
        self.assertGreater(words.index("COPY . ."), prepare)

    def test_everything_copied_exists_and_is_enough_for_the_setup(self):
        copied = set()
        for word, rest in self.lines:
            if word == "COPY" and "--from" not in rest:
                *sources, _ = rest.split()
                for source in sources:
                    self.assertTrue((ROOT / source).exists(), source)
                    copied.add(source)
        # What setup.sh reads, so that the layer is complete before the sources come.
        for name in re.findall(r"launch/[a-z_]+\.(?:sh|txt|lock)", (ROOT / "launch/setup.sh").read_text()):
            if name != "launch/lock_wheels.py":
                self.assertIn(name, copied | {"launch/setup.sh"})

    def test_recipe_of_apptainer_copies_what_exists(self):
        recipe = (CONTAINER / "pinnerformer.def").read_text()
        section, = re.findall(r"(?ms)^%files\n(    CMakeLists.*?)\n\n", recipe)
        for line in section.splitlines():
            for source in line.split()[:-1]:
                self.assertTrue((ROOT / source).exists(), source)
        for script in re.findall(r"launch/\S+\.sh", recipe):
            self.assertTrue((ROOT / script).exists(), script)

    def test_packages_of_the_image_are_those_the_program_loads(self):
        """Every library of the distribution that the program names is of a package in runtime.sh, or of one they need."""
        if not shutil.which("dpkg-query") or "bookworm" not in Path("/etc/os-release").read_text():
            self.skipTest("not Debian 12, whose packages the image has")
        installed = (CONTAINER / "runtime.sh").read_text()
        dynamic = subprocess.check_output(["readelf", "-d", BINARY], text=True)
        for library in re.findall(r"NEEDED.*\[(.*)\]", dynamic):
            for folder in ("/usr/lib", "/lib"):
                file = Path(f"{folder}/x86_64-linux-gnu/{library}")
                owner = subprocess.run(["dpkg-query", "-S", file], capture_output=True, text=True).stdout.partition(":")[0]
                if owner and owner not in ("libc6", "libstdc++6", "libgcc-s1"):
                    self.assertIn(owner, installed, library)


@unittest.skipUnless(os.environ.get("PF_SOAK"), "makes a Debian and copies 4 GB into it: tier soak")
@unittest.skipUnless(shutil.which("debootstrap") and os.geteuid() == 0, "needs root and debootstrap")
class Image(unittest.TestCase):
    def test_commands_of_the_running_image(self):
        """RUN and COPY of the last stage, in order, then the entry point as the image's user."""
        directory = Path(tempfile.mkdtemp(prefix="pinnerformer-image-"))
        self.addCleanup(shutil.rmtree, directory, ignore_errors=True)
        root = directory / "root"
        if not make_debian(root):
            self.skipTest("debootstrap could not make a Debian")
        steps = stages(instructions(CONTAINER / "Dockerfile"))["runtime"]
        for word, rest in steps:
            if word == "RUN":
                subprocess.run(inside_debian(root, "/bin/bash", "-euo", "pipefail", "-c", rest), check=True)
            elif word == "COPY" and "--from=build" in rest:
                for component in ("program", "libraries"):
                    subprocess.run([CMAKE, "--install", ROOT / "build", "--prefix", root / "opt/pinnerformer",
                                    "--component", component], check=True, stdout=subprocess.DEVNULL)
            elif word == "COPY":
                source, target = rest.split()
                place = root / target.lstrip("/")
                shutil.copy(ROOT / source, place / Path(source).name if target.endswith("/") else place)
        user, = [rest for word, rest in steps if word == "USER"]

        def inside(*words):
            return subprocess.run(inside_debian(root, *words, user=user), capture_output=True, text=True,
                                  env={**ENVIRONMENT, "PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"})

        for words in (["pinnerformer", "--version"], ["pinnerformer-restart", "/work/run", "pinnerformer", "--version"]):
            done = inside(*words)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        # Without the keys that a job mounts it says only that.
        self.assertRegex(inside("/usr/sbin/sshd", "-t", "-f", "/etc/ssh/sshd_pinnerformer.conf").stderr,
                         "no hostkeys available|Unable to load host key")
        self.check_without_a_driver(inside)

    def check_without_a_driver(self, inside):
        """The container was started without the host's driver: the CPU computes, and NCCL is refused."""
        shown = inside("pinnerformer", "doctor", "comm.backend=mpi")
        self.assertEqual(shown.returncode, 0, shown.stdout + shown.stderr)
        self.assertRegex(shown.stdout, r"(?m)^GPU +note +none: the CPU computes")
        made = inside("pinnerformer", "synth", "--users", "100", "--items", "50", "--events-per-user", "20", "--out", "/tmp/data")
        self.assertEqual(made.returncode, 0, made.stderr)
        refused = inside("pinnerformer", "train", "data.path=/tmp/data", "positives.actions=save", "run.directory=/tmp/run",
                         "comm.backend=nccl", "train.global_batch_users=8")
        self.assertEqual(refused.returncode, 78, refused.stderr)


if __name__ == "__main__":
    unittest.main()
