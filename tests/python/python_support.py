"""What the tests of the Python package share: the package's folder and the optional packages on the path."""
import importlib
import site
import sys
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "launch/python"
sys.path[:0] = [str(PACKAGE), str(ROOT / "tests/e2e")]

OPTIONAL = ROOT / f".venv-optional/lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages"


def need(*modules):
    """Skips the test or class unless these optional packages can be imported."""
    if OPTIONAL.is_dir():
        site.addsitedir(str(OPTIONAL))
    for module in modules:
        try:
            importlib.import_module(module)
        except ImportError as error:
            raise unittest.SkipTest(f"{error}: run tests/optional.sh") from error
