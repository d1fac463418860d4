"""Runs the table of cases: inputs that people have, or that somebody made on purpose.

Rows are added in modules named *_cases.py beside this file. `cases_test.py --table` prints the table."""
import importlib
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import registry  # noqa: E402

for module in sorted(Path(__file__).parent.glob("*_cases.py")):
    importlib.import_module(module.stem)

Cases = registry.tests_of_cases()

if __name__ == "__main__":
    if "--table" in sys.argv:
        registry.print_table()
    else:
        unittest.main()
