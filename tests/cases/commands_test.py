"""Runs the cases of all commands but `import`: see command_cases.py and path_cases.py."""
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import command_cases  # noqa: E402, F401: registers them
import path_cases  # noqa: E402, F401
import registry  # noqa: E402

Commands = registry.tests_of_cases()
Documented = registry.tests_of_documented_counts("command lines, outputs, runs")

if __name__ == "__main__":
    unittest.main()
