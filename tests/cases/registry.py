"""The table of cases: each is a kind of trouble, in one command, in one format, with the right answer.

A module *_cases.py registers functions with @case; cases_test.py runs them all. A function gets a Box: a
directory of its own in which it writes inputs and runs the program."""
import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BINARY = os.environ.get("PF_BINARY", str(ROOT / "build/pinnerformer"))
USAGE, DATA, NO_INPUT, IO, CONFIG = 64, 65, 66, 74, 78
SECONDS = 120  # no case may take longer
MEMORY_BYTES = 8 << 30  # of address space: LibTorch alone maps some
# AddressSanitizer reserves terabytes of addresses; its option hard_rss_limit_mb limits the memory.
LIMIT = "" if "ASAN_OPTIONS" in os.environ else f"ulimit -v {MEMORY_BYTES >> 10}; "

CASES = []  # (kind, command, format, function)


def case(kind, command, *formats):
    """Registers a function as one case per format; it is called with the Box and the format."""
    def register(function):
        for form in formats:
            CASES.append((kind, command, form, function))
        return function
    return register


def tests_of_documented_counts(row):
    """docs/security.md has, in the row of the table that begins with these words, how many kinds and cases there are."""
    class Documented(unittest.TestCase):
        def test_security_md_has_the_counts(self):
            counts = f"{len({kind for kind, *_ in CASES})} kinds, {len(CASES)} cases"
            self.assertIn(f"| {row} | {counts}", (ROOT / "docs/security.md").read_text())
    return Documented


class Box:
    """A directory, and the program run in it."""

    def __init__(self, test, directory):
        self.test, self.directory = test, Path(directory)

    def write(self, name, content):
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    def run(self, *words, code=0, parts=(), stdin=None, shell=None):
        """Runs the program; the exit code must be `code` and stderr must hold all `parts`. A refusal is one
        line. `shell` is a command line for bash instead, in which $PF is the program."""
        command = ["bash", "-c", shell] if shell else [BINARY, *map(str, words)]
        done = subprocess.run(
            ["bash", "-c", LIMIT + 'exec "$@"', "bash", *command],
            cwd=self.directory, env={**os.environ, "PF": BINARY, "OMP_NUM_THREADS": "1"}, input=stdin,
            stdin=None if stdin is not None else subprocess.DEVNULL, capture_output=True,
            timeout=SECONDS)
        done.stdout, done.stderr = (text.decode("utf-8", "backslashreplace")
                                    for text in (done.stdout, done.stderr))
        self.test.assertEqual(done.returncode, code, f"{words or shell}\n{done.stdout}\n{done.stderr}")
        for part in parts:
            self.test.assertIn(part, done.stderr)
        if code:
            self.test.assertEqual(len(done.stderr.strip().splitlines()), 1, done.stderr)
            left = [path.name for path in self.directory.iterdir() if ".tmp-" in path.name]
            self.test.assertEqual(left, [], "a refused command left something behind")
        return done


def tests_of_cases():
    """A TestCase with one method per case."""
    methods = {}
    for kind, command, form, function in CASES:
        def method(self, function=function, form=form):
            with tempfile.TemporaryDirectory(prefix="pinnerformer-case-") as directory:
                function(Box(self, directory), form)
        form_name = form if form.isascii() and any(map(str.isalnum, form)) else f"U+{ord(form[0]):04X}"
        words = "_".join("".join(c if c.isalnum() else " " for c in f"{command} {form_name} {kind}").split())
        assert f"test_{words}" not in methods, f"two cases are called {words}"
        method.__doc__ = f"{command}, {form}: {kind}"
        methods[f"test_{words}"] = method
    return type("Cases", (unittest.TestCase,), methods)


def print_table(file=sys.stdout):
    """Kinds by command, with the formats of each."""
    rows = {}
    for kind, command, form, _ in CASES:
        rows.setdefault((kind, command), []).append(form)
    print("| kind | command | formats |\n|---|---|---|", file=file)
    for (kind, command), forms in sorted(rows.items()):
        print(f"| {kind} | `{command}` | {', '.join(forms)} |", file=file)
