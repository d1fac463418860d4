"""Nothing assumes x86: a cross-compiler takes the program's sources for aarch64. Their headers do not depend on the
processor, so those of this machine serve; nothing is linked. Needs g++-aarch64-linux-gnu.

Without PF_SOAK the folders that need no LibTorch, by syntax; with it every folder, down to aarch64's instructions."""
import json
import os
import shlex
import shutil
import subprocess
import unittest
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from support import BINARY

COMPILER = "aarch64-linux-gnu-g++"
COMMANDS = Path(BINARY).parent / "compile_commands.json"
# What only this machine's compiler knows, or has made: the headers compiled ahead. Warnings are its business, too.
DROPPED = ("-Winvalid-pch", "-W", "-march")


def why_not():
    """Why this machine cannot run the test, or None."""
    if not shutil.which(COMPILER):
        return f"no {COMPILER}: apt-get install g++-aarch64-linux-gnu"
    return None if COMMANDS.exists() else "no build folder of CMake beside the program"


def units():
    """(file, words of its compilation) of the program's C++ sources, in a unity build several at a time."""
    for entry in json.loads(COMMANDS.read_text()):
        words = shlex.split(entry["command"])
        program = "/tests/" not in entry["file"] and "pch" not in entry["file"]
        if program and not entry["file"].endswith(".cu"):
            yield entry["file"], words[1:]


def for_aarch64(words, whole):
    kept, skip = [], False
    for word in words:
        if skip or word == "-include":  # followed by the header compiled ahead
            skip = not skip
        elif word == "-o" or word == "-c":
            skip = word == "-o"
        elif not word.startswith(DROPPED) or word.startswith("-Wl"):
            kept.append(word)
    # Behind the compiler's own: its C library is the one for aarch64.
    for folder in ("/usr/include", "/usr/include/x86_64-linux-gnu"):
        kept += ["-idirafter", folder]
    return [COMPILER, "-w", *kept, *(["-O0", "-c", "-o", "/dev/null"] if whole else ["-fsyntax-only"])]


@unittest.skipIf(why_not(), why_not())
class Aarch64(unittest.TestCase):
    def test_sources_compile(self):
        whole = bool(os.environ.get("PF_SOAK"))
        wanted = [(file, words) for file, words in units() if whole or not any("/torch/" in word for word in words)]
        self.assertGreater(len(wanted), 5)

        def compile_one(unit):
            return subprocess.run(for_aarch64(unit[1], whole), cwd=COMMANDS.parent, capture_output=True, text=True)

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for (file, _), done in zip(wanted, pool.map(compile_one, wanted)):
                with self.subTest(file=file):
                    self.assertEqual(done.returncode, 0, done.stderr[:3000])
        print(f"{len(wanted)} units compiled for aarch64")


if __name__ == "__main__":
    unittest.main()
