#!/usr/bin/env python3
"""Puts named faults into a copy of the source and reports which tests notice them.

Each fault is a small edit at a seam: a place where an option is handed from one part to the next.
All edits are compiled into one scratch build. Each is switched on alone by the environment variable
PF_FAULT, so that one build serves all faults. A fault is caught where one of its tests fails.

  tests/mutations.py                 tries every fault (a build, then about a second per fault)
  tests/mutations.py no_eval ...     tries these faults alone
  tests/mutations.py --check         only checks that every edit still finds its place in the source
Options: --tree DIR, the scratch tree (default /tmp/pinnerformer-mutations); --build COMMAND, run
in it instead of its own cmake calls.
Exits 1 where a fault is not caught or an edit no longer fits. docs/testing.md says how to add one.
"""
import argparse
import os
import pathlib
import re
import shutil
import subprocess
import sys

from faults import FAULTS

ROOT = pathlib.Path(__file__).resolve().parents[1]
SWITCH = "fault_switch.h"
SWITCH_TEXT = """// Made by tests/mutations.py.
#pragma once
#include <cstdlib>
#include <string_view>
inline bool pf_fault(std::string_view name) {
  const char* active = std::getenv("PF_FAULT");
  return active != nullptr && name == active;
}
"""


def switched(fault):
    """The edit of one fault, with its switch."""
    return re.sub(r"\bFAULT\b", f'::pf_fault("{fault.name}")', fault.new)


def edited(root, faults):
    """{file: text} with all edits, and the names of the faults that found no place."""
    texts, stale = {}, []
    for fault in faults:
        path = root / fault.file
        text = texts.get(fault.file) or (path.read_text(encoding="utf-8") if path.exists() else "")
        if text.count(fault.old) != 1:
            stale.append(fault.name)
            continue
        texts[fault.file] = text.replace(fault.old, switched(fault))
    return texts, stale


def run(command, tree, **options):
    return subprocess.run(command, cwd=tree, check=False, **options)


def make_tree(tree):
    """A work tree of the current commit, with the edits of this one that are not committed."""
    if not (tree / ".git").exists():
        run(["git", "worktree", "add", "--detach", str(tree)], ROOT).check_returncode()
    commit = run(["git", "rev-parse", "HEAD"], ROOT, capture_output=True, text=True).stdout.strip()
    run(["git", "checkout", "--force", "--detach", "--quiet", commit], tree).check_returncode()
    if not (tree / ".venv").exists():
        (tree / ".venv").symlink_to((ROOT / ".venv").resolve())
    for name in run(["git", "ls-files", "--modified", "--others", "--exclude-standard"], ROOT,
                    capture_output=True, text=True).stdout.split():
        if (ROOT / name).is_file():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, tree / name)


def build(tree, command):
    if command:
        return run(["bash", "-c", command], tree).returncode == 0
    path = {"PATH": f"{tree}/.venv/bin:{os.environ['PATH']}"}
    if not (tree / "build/build.ninja").exists():
        run(["cmake", "--preset", "release"], tree, env=os.environ | path).check_returncode()
    return run(["cmake", "--build", "build", "--target", "unit_tests"], tree, env=os.environ | path).returncode == 0


def failing_tests(tree, tests, fault):
    """The names of the tests that fail with this fault switched on ("" for none)."""
    environment = os.environ | {"PF_FAULT": fault, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    try:
        result = run(["build/tests/unit_tests", f"--gtest_filter={tests}", "--gtest_brief=1"], tree,
                     env=environment, capture_output=True, text=True, errors="replace", timeout=300)
    except subprocess.TimeoutExpired:
        return ["timeout"]
    if " 0 tests from 0 test suites ran" in result.stdout:
        return ["no test of this name"]
    failed = re.findall(r"^\[  FAILED  \] (\w[\w./]*)(?:, where.*)? \(\d+ ms\)$", result.stdout, re.MULTILINE)
    return failed or ([] if result.returncode == 0 else [f"exit code {result.returncode}"])


def main():
    parser = argparse.ArgumentParser(description="Which tests notice which faults; see the file's docstring.")
    parser.add_argument("names", nargs="*")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--tree", type=pathlib.Path, default=pathlib.Path("/tmp/pinnerformer-mutations"))
    parser.add_argument("--build")
    options = parser.parse_args()
    unknown = set(options.names) - {fault.name for fault in FAULTS}
    if unknown:
        parser.error(f"no such fault: {', '.join(sorted(unknown))}")
    faults = [fault for fault in FAULTS if not options.names or fault.name in options.names]
    texts, stale = edited(ROOT, faults)
    for name in stale:
        print(f"{name}: the edit does not fit the source any more")
    if options.check or not texts:
        return 1 if stale else 0

    make_tree(options.tree)
    (options.tree / SWITCH).write_text(SWITCH_TEXT, encoding="utf-8")
    for name, text in texts.items():
        (options.tree / name).write_text(f'#include "{SWITCH}"\n{text}', encoding="utf-8")
    if not build(options.tree, options.build):
        print("the scratch tree does not build")
        return 1
    tried = [fault for fault in faults if fault.name not in stale]
    for tests in sorted({fault.tests for fault in tried}):
        if failing := failing_tests(options.tree, tests, ""):
            print(f"{tests} fails without a fault: {', '.join(failing)}")
            return 1
    missed = 0
    for fault in tried:
        failing = failing_tests(options.tree, fault.tests, fault.name)
        missed += not failing
        print(f"{fault.name:34} {'caught by ' + ', '.join(failing) if failing else 'NOT CAUGHT'}", flush=True)
    print(f"{len(tried) - missed} of {len(tried)} faults caught")
    return 1 if missed or stale else 0


if __name__ == "__main__":
    sys.exit(main())
