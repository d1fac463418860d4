"""Runs the cases of `import`: inputs that people have, or that somebody made on purpose. commands_test.py runs those of
the other commands.

Rows are added in modules named *_cases.py beside this file. `cases_test.py --table` prints the table of all."""
import importlib
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import registry  # noqa: E402

TABLE = "--table" in sys.argv
for module in sorted(Path(__file__).parent.glob("*_cases.py" if TABLE else "import_*_cases.py")):
    importlib.import_module(module.stem)

Cases = registry.tests_of_cases()
Documented = registry.tests_of_documented_counts("text, JSON, Parquet, gzip tables")

if __name__ == "__main__":
    if TABLE:
        registry.print_table()
    else:
        unittest.main()
