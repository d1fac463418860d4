"""Several files, pipes and devices, what an import says of its input, and files made to take all memory."""
import datetime
import json
import os
from pathlib import Path

import h5py
import numpy
import pyarrow
import pyarrow.parquet

from registry import DATA, NO_INPUT, USAGE, case
from tables import (ALL, COMPRESSORS, DAY, GOOD, NOON, RIGHT, import_table, table, text_table, timelines,
                    write_table)


def same_events(box, name, *more, columns="user=user,item=item,time=time", out="out"):
    box.test.assertEqual(import_table(box, name, columns=columns, more=more, out=out), RIGHT)


# --- several files -------------------------------------------------------------------------------

def log_of_days(box, form, folder="log"):
    for day, (user, item, time) in enumerate(zip(*GOOD.values())):
        path = box.directory / f"{folder}/dt=2024-05-0{day + 1}/part-0.{form}"
        path.parent.mkdir(parents=True)
        write_table(box, form, {"user": [user], "item": [item], "time": [time]}, name=f"{folder}/dt=2024-05-0{day + 1}/part-0")
    box.write(f"{folder}/_SUCCESS", "")
    box.write(f"{folder}/.part.crc", "x")


@case("words, patterns and directories", "import", *ALL)
def many_files(box, form):
    log_of_days(box, form)
    same_events(box, "log")
    same_events(box, "log/*", out="pattern")
    same_events(box, f"log/*/*.{form}", out="deep")
    box.run(shell=f"$PF import --events log/dt=*/*.{form} --columns user=user,item=item,time=time --out shell")
    box.test.assertEqual(timelines(box.directory / "shell"), RIGHT)
    box.run(shell=f"$PF import log/dt=*/*.{form} --columns user=user,item=item,time=time --out words")
    box.test.assertEqual(timelines(box.directory / "words"), RIGHT)


@case("parts without rows, as Spark writes them", "import", *ALL)
def empty_parts(box, form):
    log_of_days(box, form)
    empty = f"log/dt=2024-05-03/part-0.{form}"
    (box.directory / empty).parent.mkdir()
    box.write(empty, "")
    same_events(box, "log")
    same_events(box, "log/*/part-*", out="pattern")
    import_table(box, empty, out="alone", code=DATA, parts=(empty, "is empty"))


@case("key=value folders as columns", "import", *ALL)
def folder_columns(box, form):
    log_of_days(box, form)
    box.test.assertEqual(import_table(box, "log", columns="user=user,item=item,time=dt:iso,surface=dt"),
                         {1: [(10, 1714521600)], 2: [(11, 1714521600 + DAY)]})


@case("a table with deleted rows in its folder", "import", "Delta Lake", "Hudi", "Iceberg")
def table_with_log(box, form):
    log = {"Delta Lake": "_delta_log/0.json", "Hudi": ".hoodie/hoodie.properties",
           "Iceberg": "metadata/v1.metadata.json"}[form]
    box.write(f"lake/table/{log}", "{}")
    (box.directory / "lake/table/day=1").mkdir()
    file = Path("lake/table/day=1/part.parquet")
    write_table(box, "parquet", GOOD).rename(box.directory / file)
    for word in ("lake", "lake/table", "lake/table/", "lake/table/day=1", "lake/table/day=1/*.parquet"):
        import_table(box, word, code=DATA, out="no",
                     parts=("lake/table", log.split("/")[0], "deleted", "name the files that count"))
    same_events(box, str(file))
    if form == "Iceberg":
        (box.directory / "lake/table" / log).rename(box.directory / "lake/table/metadata/day.metadata.json")
        same_events(box, str(file.parent), out="again")


@case("folders to skip below a pattern", "import", "pattern", "asked for")
def skipped_folders(box, form):
    for folder, item in (("d1", 10), ("_temporary", 11), (".hidden", 12)):
        box.write(f"log/{folder}/part.csv", f"user,item,time\n1,{item},{NOON}\n")
    pattern, item = {"pattern": ("log/*/*.csv", 10), "asked for": ("./log/_temp*/*.csv", 11)}[form]
    box.test.assertEqual(import_table(box, pattern), {1: [(item, NOON)]})


@case("one file named twice", "import", "word", "pattern", "directory", "link")
def named_twice(box, form):
    write_table(box, "csv", GOOD)
    (box.directory / "link.csv").symlink_to("e.csv")
    words = {"word": ["e.csv", "./e.csv"], "pattern": ["e*.csv", "e.csv"], "directory": [".", "e.csv"],
             "link": ["e.csv", "link.csv"]}[form]
    for more in ([], ["--keep-duplicates"]):
        import_table(box, *words, more=more, code=DATA, parts=("twice", "leave one out"))


@case("names that match nothing", "import", "csv")
def no_files(box, form):
    (box.directory / "empty").mkdir()
    import_table(box, "none-*.csv", code=NO_INPUT, parts=("no file matches",))
    import_table(box, "empty", code=NO_INPUT, parts=("holds no file",))
    import_table(box, "none.csv", code=NO_INPUT, parts=("none.csv",))
    import_table(box, "log/**/*.csv", code=DATA, parts=("found **", "a directory stands for all files below it"))
    box.run("import", "--out", "out", code=USAGE, parts=("--events",))


@case("pipes", "import", *ALL)
def pipes(box, form):
    path = write_table(box, form, GOOD)
    data, columns = path.read_bytes(), "--columns user=user,item=item,time=time"
    same = lambda out: box.test.assertEqual(timelines(box.directory / out), RIGHT)
    box.run("import", "--events", "-", "--format", form, "--out", "dash", stdin=data)
    same("dash")
    box.run("import", "--events", "/dev/stdin", "--format", form, "--out", "stdin", stdin=data)
    same("stdin")
    box.run(shell=f"$PF import --format {form} {columns} --out sub --events <(cat {path.name})")
    same("sub")
    box.test.assertEqual([entry.name for entry in box.directory.iterdir() if "tmp" in entry.name], [])


@case("text ids through a pipe", "import", "csv")
def pipe_read_twice(box, form):
    data = text_table(table(user=["1", "anna"]), b",")
    box.run("import", "--events", "-", "--format", "csv", "--out", "out", stdin=data)
    box.test.assertEqual(timelines(box.directory / "out"), {"1": [(10, NOON)], "anna": [(11, NOON + 1)]})


@case("pipes and devices with a name of their own", "import", "events", "items", "vectors", "vector-ids")
def fifos(box, form):
    path = write_table(box, "csv", GOOD)
    numpy.save(box.directory / "v.npy", numpy.ones((2, 2), "f4"))
    for name in ("pipe.csv", "pipe.npy"):
        os.mkfifo(box.directory / name)
    words = {"events": ["pipe.csv"], "items": [path.name, "--items", "pipe.csv", "--item-columns", "id=id"],
             "vectors": [path.name, "--vectors", "pipe.npy"],
             "vector-ids": [path.name, "--vectors", "v.npy", "--vector-ids", "pipe.csv"]}[form]
    box.run("import", "--out", "out", *words, code=DATA, parts=("regular file", "pipe"))
    device = ["/dev/zero" if word.startswith("pipe") else word for word in words]
    box.run("import", "--out", "out", "--format", "csv", *device, code=DATA, parts=("/dev/zero", "device"))


# --- made on purpose -----------------------------------------------------------------------------

@case("one user beyond --memory", "import", "parquet")
def parquet_bomb(box, form):
    rows = 12_000_000
    batch = pyarrow.table({"user": pyarrow.array(numpy.zeros(rows, "i8")), "item": pyarrow.array(numpy.zeros(rows, "i8")),
                           "time": pyarrow.array(numpy.full(rows, NOON))})
    pyarrow.parquet.write_table(batch, box.directory / "e.parquet", compression="zstd")
    box.test.assertLess((box.directory / "e.parquet").stat().st_size, 1 << 20)
    import_table(box, "e.parquet", more=["--memory", "1024"], code=DATA, parts=("12000000 events", "--memory"))


# --- what an import says of its input -----------------------------------------------------------

@case("vectors of zeros", "import", "drop", "error", "keep")
def zero_vectors(box, form):
    vectors = numpy.array([[1, 2], [1e-9, 0]], "f4")  # the second rounds to zero
    with h5py.File(box.directory / "v.h5", "w") as file:
        file["item_id"], file["vector"] = [10, 11], vectors
    box.write("e.csv", text_table(GOOD, b","))
    more = ["--vectors", "v.h5", "--items-without-vector", form, "--json", "r.json"]
    if form == "error":
        import_table(box, "e.csv", more=more, code=DATA, parts=("1 items have no vector, for example 11",))
        return
    box.test.assertEqual(import_table(box, "e.csv", more=more), RIGHT if form == "keep" else {1: RIGHT[1]})
    report = json.loads((box.directory / "r.json").read_text())
    expected = {"keep": (2, 1, 0), "drop": (1, 0, 1)}[form]
    box.test.assertEqual((report["items"], report["items_without_vector"], report["dropped_without_vector"]), expected)


@case("rows without elements", "import", "jsonl", "parquet")
def empty_lists(box, form):
    rows = [{"user": 1, "item": [10], "time": NOON}, {"user": 2, "item": [11], "time": NOON + 1},
            {"user": 3, "item": [], "time": NOON}, {"user": 4, "item": None, "time": NOON}]
    if form == "jsonl":
        box.write("e.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    else:
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), box.directory / "e.parquet")
    box.test.assertEqual(import_table(box, f"e.{form}", more=["--json", "r.json"]), RIGHT)
    report = json.loads((box.directory / "r.json").read_text())
    box.test.assertEqual((report["rows_read"], report["empty_rows"]), (2, 2))


@case("an optional key that one file lacks", "import", "jsonl")
def absent_key(box, form):
    box.write("e/1.jsonl", "".join('{"user":1,"item":%d,"time":%d}\n' % (item, NOON + item) for item in range(10, 13)))
    box.write("e/2.jsonl", '{"user":2,"item":11,"time":%d,"page":"feed","length":2.5}\n' % (NOON + 1))
    columns = "user=user,item=item,time=time,surface=page,duration=length"
    import_table(box, "e", columns=columns, more=["--json", "r.json"])
    report = json.loads((box.directory / "r.json").read_text())
    box.test.assertEqual(report["surfaces"], {"feed": 1, "unknown": 3})
    box.test.assertEqual((report["events"], report["unknown_durations"]), (4, 3))
    box.test.assertIn("1 file has no key 'page', which other files have (e/1.jsonl)", str(report["warnings"]))
    for wrong in (columns + ",action=pgae", "user=user,item=page,time=time"):  # in no file; not optional
        import_table(box, "e", columns=wrong, out="no", code=DATA, parts=("e/1.jsonl: there is no column 'p",))


@case("a file beside the events without a column", "import", "items", "vectors")
def other_file_without_column(box, form):
    path = write_table(box, "csv", table())
    box.write("i.csv", "key,title\n10,ten\n")
    pyarrow.parquet.write_table(pyarrow.table({"key": [10], "vector": [[1.0, 2.0]]}), box.directory / "v.parquet")
    other = {"items": "i.csv", "vectors": "v.parquet"}[form]
    option = {"items": "--item-columns", "vectors": "--vector-columns"}[form]
    done = import_table(box, path.name, out="no", code=DATA, more=[f"--{form}", other],
                        parts=(f"{other}: there is no column 'item_id'" if form == "vectors" else f"{other}: there is no column",
                               "key", f"{option} id=NAME"))
    box.test.assertNotIn("--describe", done.stderr)


@case("rows of other lengths than the first line", "import", "decimal commas", "comment", "excel")
def uneven_rows(box, form):
    text, hint = {"decimal commas": ("user;item;time;length\n1;10;%d;1,5\n" % NOON, "--delimiter ';'"),
                  "excel": ("sep=,\nuser,item,time\n1,10,%d\n" % NOON, "meant for Excel: remove"),
                  "comment": ("# an export\nuser,item,time\n1,10,%d\n" % NOON, "looks like a comment: remove")}[form]
    box.write("e.csv", text)
    import_table(box, "e.csv", out="no", code=DATA, parts=("e.csv", "Row #2", hint))


@case("dates in a column of another name", "import", "csv", "folder", "parquet")
def dates_by_value(box, form):
    if form == "csv":
        box.write("e.csv", "customer_id,article_id,t_dat\n1,10,2023-11-14\n")
    elif form == "folder":
        box.write("e.csv/t_dat=2023-11-14/1.csv", "customer_id,article_id\n1,10\n")
    else:
        columns = {"customer_id": [1], "article_id": [10], "t_dat": [datetime.date(2023, 11, 14)]}
        pyarrow.parquet.write_table(pyarrow.table(columns), box.directory / "e.csv")
    mapping = "user=customer_id,item=article_id,time=t_dat" + ("" if form == "parquet" else ":iso")
    shown = box.run("import", "--describe", "e.csv").stdout
    box.test.assertIn(f"--columns {mapping}\n", shown)
    box.test.assertEqual(import_table(box, "e.csv", columns=mapping), {1: [(10, NOON // DAY * DAY)]})


@case("a column that cannot be read", "import", "duration", "time64", "struct")
def unread_column(box, form):
    kinds = {"duration": pyarrow.array([1, 2], pyarrow.duration("us")), "time64": pyarrow.array([1, 2], pyarrow.time64("us")),
             "struct": pyarrow.array([{"x": 1}, {"x": 2}])}
    pyarrow.parquet.write_table(pyarrow.table(table(other=kinds[form])), box.directory / "e.parquet")
    shown = box.run("import", "--describe", "e.parquet").stdout
    for part in ("item (int64): 10 | 11\n", "other (" + form, "--columns user=user,item=item,time=time:s\n"):
        box.test.assertIn(part, shown)
    box.test.assertEqual(import_table(box, "e.parquet"), RIGHT)


@case("timestamps as names", "import", "date", "timestamp")
def timestamps_as_names(box, form):
    values = pyarrow.array([datetime.datetime(2023, 11, 14, 5, 6, 7, 8)] * 2, pyarrow.timestamp("us"))
    if form == "date":
        values = values.cast(pyarrow.date32(), safe=False)
    pyarrow.parquet.write_table(pyarrow.table(table(surface=values)), box.directory / "e.parquet")
    import_table(box, "e.parquet", columns="user=user,item=item,time=time,surface=surface", more=["--json", "r.json"])
    found = json.loads((box.directory / "r.json").read_text())["surfaces"]
    expected = "2023-11-14T00:00:00Z" if form == "date" else "2023-11-14T05:06:07.000008Z"
    box.test.assertIn(expected, json.dumps(found))


# --- without bound --------------------------------------------------------------------------------

@case("values that expand without bound", "import", "parquet")
def wide_values(box, form):
    values = pyarrow.array(["x" * (1 << 20)] * 4000).dictionary_encode()
    pyarrow.parquet.write_table(pyarrow.table({"user": values, "item": [1] * 4000, "time": [NOON] * 4000}),
                                box.directory / "e.parquet", store_schema=False)
    import_table(box, "e.parquet", code=DATA, parts=("e.parquet", "needs more than 512 MiB"))


@case("one line without end", "import", "csv", "jsonl", "space")
def endless_line(box, form):
    box.write("e.csv.gz", COMPRESSORS["gzip"](b"user,item,time\n" + b"1" * (40 << 20)))
    more = {"csv": [], "jsonl": ["--format", "jsonl"], "space": ["--delimiter", "space"]}[form]
    if form == "jsonl":
        box.write("e.csv.gz", COMPRESSORS["gzip"](b'{"user":"' + b"1" * (40 << 20)))
    import_table(box, "e.csv.gz", more=more, code=DATA, parts=("e.csv.gz", "longer than"))


@case("deep nesting", "import", "jsonl")
def deep_nesting(box, form):
    box.write("e.jsonl", '{"user":' + "[" * 1_000_000)
    import_table(box, "e.jsonl", code=DATA, parts=("line 1", "64 levels"))
