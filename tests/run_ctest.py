#!/usr/bin/env python3
"""Runs CTest and ends with a list of the tests that skipped themselves or needed a second try.

run_ctest.py CTEST DIRECTORY [OPTIONS FOR CTEST...]

Some tests start and kill real jobs within seconds; on a busy machine one may fail for lack of time.
Up to MOST_RETRIES failed tests run again, alone. More failures are no accident: nothing is repeated.
Exits with CTest's code.
"""
import pathlib
import re
import subprocess
import sys

MOST_RETRIES = 2


def run(ctest, directory, *options):
    return subprocess.run([ctest, "--test-dir", directory, *options], check=False).returncode


def failed_tests(directory):
    log = pathlib.Path(directory) / "Testing/Temporary/LastTestsFailed.log"
    return [line.split(":", 1)[1] for line in log.read_text(encoding="utf-8").splitlines()]


def skipped_tests(directory):
    """Lines "NAME: REASON", which the test programs print for CTest's log."""
    log = pathlib.Path(directory) / "Testing/Temporary/LastTest.log"
    text = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
    return sorted(set(re.findall(r"^skipped: (.*)", text, re.MULTILINE)))


def print_list(heading, lines):
    if lines:
        print(f"\n{heading}:", *lines, sep="\n  ", flush=True)


def main():
    ctest, directory, *options = sys.argv[1:]
    code = run(ctest, directory, "--output-on-failure", "--no-tests=error", *options)
    skipped = skipped_tests(directory)
    retried = failed_tests(directory) if code else []
    if 0 < len(retried) <= MOST_RETRIES:
        code = run(ctest, directory, "--output-on-failure", "--rerun-failed")
    print_list("Skipped", skipped)
    if len(retried) > MOST_RETRIES:
        print_list(f"Failed, and more than {MOST_RETRIES}, so without a second try", retried)
    else:
        print_list("Needed a second try", retried)
    return code


if __name__ == "__main__":
    sys.exit(main())
