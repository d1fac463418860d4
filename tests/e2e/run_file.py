"""Runs one file of end-to-end tests for CTest: run_file.py FILE.

Prints "skipped: NAME: REASON" for every test that skipped itself. Exits with 0 (passed), 1 (failed)
or 77, which CTest shows as "Skipped": every test skipped itself.
"""
import sys
import unittest
from pathlib import Path


def main():
    file = Path(sys.argv[1]).resolve()
    sys.path.insert(0, str(file.parent))
    suite = unittest.defaultTestLoader.loadTestsFromName(file.stem)
    result = unittest.TextTestRunner(verbosity=2).run(suite)
    for test, reason in result.skipped:
        print(f"skipped: {test.id()}: {reason}")
    if not result.wasSuccessful() or suite.countTestCases() == 0:
        return 1
    return 77 if len(result.skipped) >= result.testsRun else 0


if __name__ == "__main__":
    sys.exit(main())
