"""The import as a user runs it: real files of every format in, h5py out, exit codes on bad input."""
import glob
import gzip
import json
import os
import re
import resource
import subprocess
import tempfile
import unittest

import h5py
import numpy
import pyarrow
import pyarrow.parquet

BINARY = os.environ["PF_BINARY"]
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
ROWS = [  # user, item, action, surface, time in ms, duration in ms
    (7, 30, "save", "home", 5_000, 1_500),
    (7, 10, "view", "-", 1_000, -1),
    (9, 20, "view", "search", 2_000, 250),
    (9, 20, "view", "search", 2_000, 250),
    (11, 10, "view", "home", 3_000, -1),
]
COLUMNS = "user=user,item=item,action=action,surface=surface,time=ts_ms:ms,duration=duration_ms:ms"
NAMES = ["user", "item", "action", "surface", "ts_ms", "duration_ms"]


def text(rows, separator):
    return "\n".join(separator.join(map(str, row)) for row in [NAMES, *rows]) + "\n"


class DataFormatTest(unittest.TestCase):
    def setUp(self):
        self.holder = tempfile.TemporaryDirectory()
        self.addCleanup(self.holder.cleanup)

    def path(self, name):
        return os.path.join(self.holder.name, name)

    def write(self, name, content):
        opener = gzip.open if name.endswith(".gz") else open
        with opener(self.path(name), "wt") as file:
            file.write(content)
        return self.path(name)

    def run_import(self, events, *more, out="out", code=0, **process):
        command = [BINARY, "import", "--events", events, "--columns", COLUMNS,
                   "--missing", "surface=-,duration=-1", "--bad-times", "keep", "--out", self.path(out),
                   "--json", self.path("report.json"), *more]
        done = subprocess.run(command, capture_output=True, text=True, **process)
        self.assertEqual(done.returncode, code, done.stderr)
        if code:
            return done.stderr
        with open(self.path("report.json")) as file:
            return json.load(file)

    def fingerprint(self, out):
        with h5py.File(os.path.join(self.path(out), "items.h5")) as file:
            return file.attrs["fingerprint"]

    def parquet(self, name, rows=ROWS):
        columns = {name: list(values) for name, values in zip(NAMES, zip(*rows))}
        pyarrow.parquet.write_table(pyarrow.table(columns), self.path(name), row_group_size=2)
        return self.path(name)

    def test_every_event_format_gives_the_same_dataset(self):
        report = self.run_import(self.write("a.tsv", text(ROWS, "\t")), out="tsv")
        self.assertEqual((report["users"], report["events"], report["duplicates"]), (3, 4, 1))
        self.run_import(self.write("a.csv", text(ROWS, ",")), out="csv")
        self.run_import(self.write("a.csv.gz", text(ROWS, ",")), out="csv_gz")
        self.run_import(self.write("a.tsv.gz", text(ROWS, "\t")), out="tsv_gz")
        self.run_import(self.parquet("a.parquet"), out="parquet")
        for out in ["csv", "csv_gz", "tsv_gz", "parquet"]:
            self.assertEqual(self.fingerprint(out), self.fingerprint("tsv"), out)

    def test_parquet_timestamps_nulls_and_dictionaries(self):
        table = pyarrow.table({
            "user": pyarrow.array(["b", "a", "a"]).dictionary_encode(),
            "item": pyarrow.array([3, 2, 1], pyarrow.uint16()),
            "action": ["x", None, "x"],
            "surface": [1, 2, 2],
            "ts_ms": pyarrow.array([10**18, 10**18 + 999, 10**18 - 1], pyarrow.timestamp("ns")),
            "duration_ms": [500.0, None, float("nan")],
        })
        pyarrow.parquet.write_table(table, self.path("t.parquet"))
        report = self.run_import(self.path("t.parquet"))
        self.assertEqual(report["actions"], {"unknown": 1, "x": 2})
        self.assertEqual(report["surfaces"], {"1": 1, "2": 2})
        self.assertEqual(report["first_time"], 10**9 - 1)
        part = h5py.File(glob.glob(self.path("out/users-*.h5"))[0])
        self.assertEqual(sorted(part["user/id"].asstr()[:]), ["a", "b"])
        self.assertEqual(int(numpy.isnan(part["event/duration"][:]).sum()), 2)

    def test_documented_reader_and_types(self):
        self.run_import(self.write("a.tsv", text(ROWS, "\t")), out="dataset")
        with open(os.path.join(ROOT, "docs", "data_format.md")) as file:
            code = re.search(r"```python\n(.*?)```", file.read(), re.S).group(1)
        done = subprocess.run(["python3", "-c", code], cwd=self.holder.name, check=True,
                              capture_output=True, text=True, env=dict(
                                  os.environ, PATH=os.path.dirname(os.sys.executable) + ":" +
                                  os.environ["PATH"]))
        self.assertRegex(done.stdout, r"^(7 \[10 30\] \[1 5\]|9 \[20\] \[2\]|11 \[10\] \[3\])")
        part = h5py.File(glob.glob(self.path("dataset/users-*.h5"))[0])
        types = {name: part["event"][name].dtype.name for name in part["event"]}
        self.assertEqual(types, {"item": "int32", "action": "int16", "surface": "int16",
                                 "time": "int64", "duration": "float32"})
        self.assertEqual(part.attrs["format"], "pinnerformer-dataset")
        self.assertIsNone(part["event/item"].chunks)

    def vectors_of(self, out):
        with h5py.File(os.path.join(self.path(out), "items.h5")) as file:
            self.assertEqual(file["item/vector"].dtype, numpy.float16)
            return dict(zip(file["item/id"][:].tolist(), file["item/vector"][:].tolist()))

    def test_every_vector_format_gives_the_same_vectors(self):
        events = self.write("a.tsv", text(ROWS, "\t"))
        ids, values = [20, 99, 10], numpy.array([[1, 2], [0.5, -3], [4, 5]], numpy.float32)
        with h5py.File(self.path("v.h5"), "w") as file:
            file["item_id"] = ids
            file.create_dataset("vector", data=values, chunks=(2, 2), compression="gzip")
        numpy.save(self.path("v.npy"), values.astype(numpy.float64))
        numpy.save(self.path("ids.npy"), numpy.array(ids))
        flat = pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(values.ravel()), 2)
        pyarrow.parquet.write_table(pyarrow.table({"item_id": ids, "emb": flat}),
                                    self.path("v.parquet"))
        expected = {10: [4, 5], 20: [1, 2], 30: [0, 0], 99: [0.5, -3]}
        report = self.run_import(events, "--vectors", self.path("v.h5"), out="h5")
        self.assertEqual(report["items_without_vector"], 1)
        self.assertEqual(report["items_only_in_vectors"], 1)
        self.run_import(events, "--vectors", self.path("v.npy"), "--vector-ids",
                        self.path("ids.npy"), out="npy")
        self.run_import(events, "--vectors", self.path("v.parquet"), "--vector-columns",
                        "vector=emb", out="parquet")
        for out in ["h5", "npy", "parquet"]:
            self.assertEqual(self.vectors_of(out), expected, out)

    def test_vectors_of_mixed_width_are_bad_data(self):
        lists = pyarrow.table({"item_id": [10, 20], "vector": [[1.0, 2.0], [3.0]]})
        pyarrow.parquet.write_table(lists, self.path("v.parquet"))
        error = self.run_import(self.write("a.tsv", text(ROWS, "\t")), "--vectors",
                                self.path("v.parquet"), code=65)
        self.assertIn("row 2: expected 2 numbers, as in the first row, found 1", error)

    def test_exit_codes(self):
        events = self.write("a.tsv", text(ROWS, "\t"))
        self.run_import(self.path("none.tsv"), code=66)
        self.run_import(self.write("bad.tsv", text([(1, 1, "a", "s", "x", 1)], "\t")), code=65)
        self.run_import(events, "--format", "xlsx", code=64)
        self.run_import(events)
        self.assertIn("--overwrite", self.run_import(events, code=64))
        self.run_import(events, "--overwrite")

    def test_no_room_is_an_io_error_and_leaves_nothing(self):
        events = self.write("a.tsv", text([(i, i, "a", "s", i, 1) for i in range(60_000)], "\t"))

        def limit_files():
            resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))

        error = self.run_import(events, code=74, preexec_fn=limit_files, restore_signals=False)
        self.assertIn("limit on file sizes", error)
        self.assertEqual([name for name in os.listdir(self.holder.name) if "out" in name], [])

    def test_inspect_and_validate(self):
        self.run_import(self.write("a.tsv", text(ROWS, "\t")))
        done = subprocess.run([BINARY, "data", "inspect", self.path("out"), "--json",
                               self.path("inspect.json")], capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("1970-01-01T00:00:01Z to 1970-01-01T00:00:05Z", done.stdout)
        with open(self.path("inspect.json")) as file:
            summary = json.load(file)
        self.assertEqual((summary["users"], summary["events"]), (3, 4))
        self.assertEqual(subprocess.run([BINARY, "data", "validate", self.path("out")],
                                        capture_output=True).returncode, 0)
        part = glob.glob(self.path("out/users-*.h5"))[0]
        with h5py.File(part) as file:
            offset = file["event/time"].id.get_offset()
        with open(part, "r+b") as file:
            file.seek(offset)
            file.write(b"\x7f")
        done = subprocess.run([BINARY, "data", "validate", self.path("out")], capture_output=True,
                              text=True)
        self.assertEqual(done.returncode, 65)
        self.assertIn("/event/time", done.stderr)

    def test_validate_sees_a_changed_name(self):
        self.run_import(self.write("a.tsv", text(ROWS, "\t")))
        with h5py.File(self.path("out/items.h5"), "r+") as file:
            file["vocabulary/action"][0] = "buy"
        done = subprocess.run([BINARY, "data", "validate", self.path("out")], capture_output=True,
                              text=True)
        self.assertEqual(done.returncode, 65)
        self.assertIn("ids, names or shapes were changed", done.stderr)

    def test_shipped_sample_data(self):
        folder = os.path.join(ROOT, "launch", "sample_data", "kuairand_pure")
        report = self.run_import(os.path.join(folder, "events.tsv.gz"), "--vectors",
                                 os.path.join(folder, "item_vectors.h5"), "--items",
                                 os.path.join(folder, "items.tsv.gz"), "--item-columns",
                                 "id=item,title=title,topic=tag")
        self.assertEqual((report["users"], report["rows_read"]), (25_156, 228_329))
        self.assertEqual(report["events"] + report["duplicates"], 228_329)
        self.assertEqual(report["vector_width"], 64)


if __name__ == "__main__":
    unittest.main()
