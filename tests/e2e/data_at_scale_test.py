"""The benchmark of the data path at a small size: every row of its table is there, memory is bounded."""
import re
import subprocess
import sys
import unittest

from support import BINARY, ENVIRONMENT, ROOT

IMPORT_MIB = 1024  # the least that `import --memory` takes
SIZES = ("0.002 GiB", "0.02 GiB")
ROWS = ["import, 0.2 M events, .parquet", "import, 0.04 M events, .csv.gz", "open 0.04 M events",
        *(f"{what}, {size}" for size in SIZES for what in
          ("blocks of 256 users", "finished batches, M 256", "work of 2 ranks", "gathered vectors, 256 fp16")),
        "resident memory of the loader", "peak memory of the loader"]


class DataAtScale(unittest.TestCase):
    def test_every_row_is_printed_and_the_import_stays_within_its_memory(self):
        words = ["--events", 200_000, "--gib", 0.02, "--items", 20_000, "--seconds", 1,
                 "--memory", IMPORT_MIB, "--binary", BINARY]
        done = subprocess.run([sys.executable, ROOT / "tests/benchmark/data_at_scale.py", *map(str, words)],
                              env=ENVIRONMENT, capture_output=True, text=True, timeout=300)
        self.assertEqual(done.returncode, 0, done.stderr)
        table = [line.strip("| ").split(" | ") for line in done.stdout.splitlines()][2:]
        rows = {cells[0]: cells[1:] for cells in table}
        self.assertCountEqual(rows, ROWS)
        for what, cells in rows.items():
            self.assertEqual(len(cells), 3, what)
            for cell in cells:
                self.assertRegex(cell, r"\d", what)
            if what.startswith("import"):
                self.assertLess(float(re.search(r"(\d+) MiB", cells[0])[1]), IMPORT_MIB, what)


if __name__ == "__main__":
    unittest.main()
