"""Values that are easily read wrong: ids, text, vectors and times."""
import json

import h5py
import numpy
import pyarrow
import pyarrow.parquet

from registry import DATA, USAGE, case
from tables import (ALL, COLUMNS, DAY, GOOD, NOON, RIGHT, TEXT, import_table, item_ids, table, timelines,
                    write_table)


# --- ids and text --------------------------------------------------------------------------------

@case("NUL byte in an id", "import", *ALL)
def nul_byte(box, form):
    path = write_table(box, form, table(user=[b"a\0b", b"c"]))
    import_table(box, path.name, code=DATA, parts=(path.name, "row 1", "column 'user'", "NUL byte"))


@case("NUL byte in an item or action", "import", *ALL)
def nul_byte_elsewhere(box, form):
    path = write_table(box, form, table(item=[b"x", b"y\0"], action=[b"a", b"b\0"]))
    import_table(box, path.name, code=DATA, parts=("row 2", "column 'item'"))
    import_table(box, path.name, columns="user=user,item=user,time=time,action=action", code=DATA,
                 parts=("row 2", "column 'action'"))


@case("text that is not UTF-8", "import", "csv", "tsv", "parquet")
def not_utf8(box, form):
    for column in ("user", "item", "action"):
        changed = table(**{"action": [b"a", b"b"], column: [b"good", b"caf\xe9"]})
        path = write_table(box, form, changed)
        import_table(box, path.name, columns="user=user,item=item,time=time,action=action", code=DATA,
                     parts=("row 2", f"column '{column}'", "UTF-8", "\\xe9"))


@case("text that is not UTF-8", "import", "jsonl")
def not_utf8_json(box, form):
    path = write_table(box, form, table(user=[b"good", b"caf\xe9"]))
    import_table(box, path.name, code=DATA, parts=("line 2", "UTF-8"))


@case("titles and topics with NUL or wrong bytes", "import", "csv", "parquet")
def bad_titles(box, form):
    events = write_table(box, "csv", GOOD)
    for column, value in (("title", b"a\0b"), ("topic", b"\xff")):
        items = write_table(box, form, {"id": [10, 11], "title": [b"x", b"y"], "topic": [b"t", b"u"],
                                        column: [b"fine", value]}, name="items")
        import_table(box, events.name, more=["--items", items.name, "--item-columns",
                                             "id=id,title=title,topic=topic"],
                     code=DATA, parts=(items.name, "row 2", f"column '{column}'"))


@case("NaN for a title or topic that is not known", "import", "parquet")
def nan_topic(box, form):
    events = write_table(box, "csv", GOOD)
    items = write_table(box, form, {"id": [10, 11], "title": [1.5, float("nan")], "topic": [float("nan"), 3.0]}, name="items")
    import_table(box, events.name, more=["--items", items.name, "--item-columns", "id=id,title=title,topic=topic"])
    with h5py.File(box.directory / "out/items.h5") as file:
        box.test.assertEqual(file["item/title"].asstr()[:].tolist(), ["1.5", ""])
        box.test.assertEqual(file["item/topic"][:].tolist(), [-1, 0])
        box.test.assertEqual(file["vocabulary/topic"].asstr()[:].tolist(), ["3"])


@case("blanks around ids", "import", *ALL)
def blanks(box, form):
    path = write_table(box, form, table(user=[b" 1", b"2 "], item=[b"10 ", b"\t11" if form == "csv" else b" 11"],
                                        time=[f" {NOON}", f"{NOON + 1} "]))
    box.test.assertEqual(import_table(box, path.name), RIGHT)


@case("byte order mark", "import", "csv", "tsv", "jsonl")
def byte_order_mark(box, form):
    path = write_table(box, form, GOOD)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    box.test.assertEqual(import_table(box, path.name), RIGHT)


@case("whole numbers written as floats", "import", *ALL)
def whole_floats(box, form):
    values = {"parquet": ([1.0, 2.0], [10.0, 11.0]), "jsonl": ([1.0, 2.0], [10.0, 11.0])}.get(
        form, (["1.0", "2.0"], ["10.0", "11.0"]))
    path = write_table(box, form, table(user=values[0], item=values[1]))
    items = write_table(box, "csv", {"id": [10, 11], "title": ["a", "b"]}, name="items")
    more = ["--items", items.name, "--item-columns", "id=id,title=title"]
    box.test.assertEqual(import_table(box, path.name, more=more), RIGHT)
    box.test.assertEqual(item_ids(box.directory / "out"), [10, 11])


@case("versions such as 1.0 and 1.5 as ids", "import", *TEXT)
def versions(box, form):
    path = write_table(box, form, table(user=["1.0", "1.5"], item=["2.0", "2.x"]))
    box.test.assertEqual(import_table(box, path.name),
                         {"1.0": [("2.0", NOON)], "1.5": [("2.x", NOON + 1)]})


@case("fractions as ids", "import", "parquet")
def fractions(box, form):
    path = write_table(box, form, table(user=[1.0, 2.5]))
    import_table(box, path.name, code=DATA, parts=("row 2", "found '2.5'", "cast"))


@case("ids as floats that may have been rounded", "import", "half", "float", "double")
def rounded_float_ids(box, form):
    dtype, exact = {"half": ("f2", 2**11), "float": ("f4", 2**24), "double": ("f8", 2**53)}[form]
    for column in ("user", "item"):
        path = write_table(box, "parquet", table(**{column: numpy.array([1, exact - 1], dtype)}))
        found = import_table(box, path.name, out=f"{column}-exact")
        ids = list(found) if column == "user" else [item for events in found.values() for item, _ in events]
        box.test.assertEqual(sorted(ids), [1, exact - 1])
        path = write_table(box, "parquet", table(**{column: numpy.array([1, exact], dtype)}))
        import_table(box, path.name, code=DATA, out="no", parts=("row 2", column, str(exact), "are rounded", "int64"))
    lists = table(user=numpy.array([1, exact], dtype), item=[[10], [11]])  # other columns repeat their value
    import_table(box, write_table(box, "parquet", lists).name, code=DATA, out="no", parts=(str(exact), "are rounded"))


@case("long ids that a spreadsheet has shortened", "import", "csv", "tsv")
def shortened_ids(box, form):
    ids = ["9.88E+15", "9.88E+15", "1e+05", "x", "1.5E+1", "2.5E-10", "1.7E9", "7E+", "7E+3x"]
    for column in ("user", "item"):
        path = write_table(box, form, {"user": range(len(ids)), "item": range(len(ids)), "time": [NOON] * len(ids),
                                       column: ids})
        done = box.run("import", path.name, "--columns", COLUMNS, "--out", column)
        box.test.assertIn(f"2 ids of {column}s are written like '9.88E+15': a spreadsheet", done.stderr)
    done = box.run("import", write_table(box, form, table(user=["x", "y"])).name, "--out", "plain")
    box.test.assertEqual(done.stderr, "")


@case("unsigned ids from 2^63 on", "import", *ALL)
def unsigned(box, form):
    large = 2**64 - 1
    users = pyarrow.array([1, large], pyarrow.uint64()) if form == "parquet" else [1, large]
    path = write_table(box, form, table(user=users))
    box.test.assertEqual(import_table(box, path.name), {"1": [(10, NOON)], str(large): [(11, NOON + 1)]})


@case("the report says what ids are", "import", "csv")
def report_of_ids(box, form):
    path = write_table(box, form, table(item=["10", "B7"]))
    items = write_table(box, "csv", {"id": [10, 99, 98, 97], "title": list("abcd")}, name="items")
    done = box.run("import", path.name, "--columns", "user=user,item=item,time=time", "--items", items.name,
                   "--item-columns", "id=id,title=title", "--out", "out", "--json", "r.json")
    report = json.loads((box.directory / "r.json").read_text())
    box.test.assertEqual((report["user_ids"], report["item_ids"], report["items_only_in_attributes"]),
                         ("integers", "text", 3))
    box.test.assertIn("3 of 5 items are in --items only", done.stderr)


@case("--items of which no event names one", "import", "csv")
def items_of_no_event(box, form):
    path = write_table(box, form, {"user": range(50), "item": range(50), "time": [NOON] * 50})
    items = write_table(box, form, {"id": [1001, 1002], "title": ["a", "b"]}, name="items")
    done = box.run("import", path.name, "--items", items.name, "--item-columns", "id=id,title=title", "--out", "out")
    box.test.assertIn("2 of 52 items are in --items only", done.stderr)


@case("a word for nothing as an id", "import", *ALL)
def word_for_nothing(box, form):
    users = [*map(str, range(40)), "NULL"]
    path = write_table(box, form, {"user": users, "item": ["a", "b", *["c"] * 39], "time": [NOON] * 41})
    done = box.run("import", path.name, "--out", "out")
    box.test.assertIn("'NULL' is taken for the id of one user: 1 of 41 ids are no integers", done.stderr)
    box.test.assertNotIn("one item", done.stderr)
    done = box.run("import", path.name, "--missing", "user=NULL", "--out", "without")
    box.test.assertEqual(done.stderr, "")
    box.test.assertEqual(timelines(box.directory / "without")[0], [("a", NOON)])
    path = write_table(box, form, table(item=["b7", "nan"]))
    done = box.run("import", path.name, "--out", "item")
    box.test.assertIn("'nan' is taken for the id of one item; if it is none, --missing item=nan", done.stderr)


@case("a header that comes again", "import", "csv", "tsv")
def second_header(box, form):
    rows = {"user": ["a", "user", "b"], "item": ["x", "item", "y"], "time": [str(NOON), "time", str(NOON + 1)]}
    path = write_table(box, form, rows)
    import_table(box, path.name, code=DATA, out="no", parts=("row 2", "found 'time'", "does the header come again?"))
    untimed = ["import", path.name, "--untimed", "--columns", "user=user,item=item"]
    done = box.run(*untimed, "--out", "out")
    for role in ("user", "item"):
        box.test.assertIn(f"'{role}' is taken for the id of one {role}; the column has this name", done.stderr)
    done = box.run(*untimed, "--missing", "user=user", "--out", "without")
    box.test.assertEqual((done.stderr, sorted(timelines(box.directory / "without"))), ("", ["a", "b"]))


@case("byte order mark and blanks in --vector-ids", "import", "npy")
def vector_ids(box, form):
    path = write_table(box, "csv", GOOD)
    numpy.save(box.directory / "v.npy", numpy.ones((3, 2), "f4"))
    more = ["--vectors", "v.npy", "--vector-ids", "ids.txt"]
    box.write("ids.txt", b"\xef\xbb\xbf10\r\n 11 \n12\n")
    import_table(box, path.name, more=more)
    box.test.assertEqual(item_ids(box.directory / "out"), [10, 11, 12])
    box.write("ids.txt", b"10\n\n12\n")
    import_table(box, path.name, more=more, out="no", code=DATA, parts=("ids.txt, line 2", "an item id"))
    box.write("ids.txt", b"10\na\0\n12\n")
    import_table(box, path.name, more=more, out="no", code=DATA, parts=("ids.txt, line 2", "NUL"))


@case("a vector that float16 rounds to zero", "import", "hdf5")
def vector_of_nothing(box, form):
    path = write_table(box, "csv", GOOD)
    with h5py.File(box.directory / "v.h5", "w") as file:
        file["item_id"], file["vector"] = [10, 11], numpy.array([[1e-9, -1e-9], [1, 2]], "f4")
    box.run("import", path.name, "--vectors", "v.h5", "--out", "out", "--json", "r.json")
    box.test.assertEqual(json.loads((box.directory / "r.json").read_text())["items_without_vector"], 1)


@case("ids of vectors from 2^63 on", "import", "hdf5")
def unsigned_vector_ids(box, form):
    path = write_table(box, "csv", table(item=[10, 2**64 - 1]))
    for ids in (numpy.array([10, 2**64 - 1], "u8"), numpy.array([10, 2**63], ">u8")):
        with h5py.File(box.directory / "v.h5", "w") as file:
            file["item_id"], file["vector"] = ids, numpy.ones((2, 2), "f4")
        import_table(box, path.name, more=["--vectors", "v.h5"], out="no", code=DATA,
                     parts=("v.h5", "row 2", "below 2^63", "store ids as strings"))
    with h5py.File(box.directory / "v.h5", "w") as file:
        file["item_id"], file["vector"] = [b"10", str(2**64 - 1).encode()], numpy.ones((2, 2), "f4")
    import_table(box, path.name, more=["--vectors", "v.h5"])
    box.test.assertEqual(item_ids(box.directory / "out"), ["10", str(2**64 - 1)])


@case("ids of another form in --vector-ids", "import", "npy")
def foreign_vector_ids(box, form):
    path = write_table(box, "csv", GOOD)
    numpy.save(box.directory / "v.npy", numpy.ones((2, 2), "f4"))
    box.write("ids.txt", "10,a\n11,b\n")
    done = box.run("import", path.name, "--vectors", "v.npy", "--vector-ids", "ids.txt", "--out", "out")
    box.test.assertIn("no event names one of the 2 items of --vectors", done.stderr)
    with h5py.File(box.directory / "v.h5", "w") as file:
        file["item_id"], file["vector"] = [10, 11], numpy.ones((2, 2), "f4")
    import_table(box, path.name, more=["--vectors", "v.h5", "--vector-ids", "ids.txt"], out="no", code=DATA,
                 parts=("v.h5 holds the ids", "--vector-ids goes with a .npy"))
    box.run("import", path.name, "--missing", "surface=-", "--out", "no", code=USAGE, parts=("--columns surface=COLUMN",))


@case("vectors under other names", "import", "hdf5", "parquet")
def other_names(box, form):
    path = write_table(box, "csv", GOOD)
    target = box.directory / {"hdf5": "v.h5", "parquet": "v.parquet"}[form]
    if form == "hdf5":
        with h5py.File(target, "w") as file:
            file["ids"], file["embeddings"] = [10, 11], numpy.ones((2, 2), "f4")
    else:
        pyarrow.parquet.write_table(pyarrow.table({"ids": [10, 11], "embeddings": [[1.0, 1], [1.0, 1]]}), target)
    more = ["--vectors", target.name]
    import_table(box, path.name, more=more, out="no", code=DATA, parts=("--vector-columns id=NAME,vector=NAME",))
    import_table(box, path.name, more=[*more, "--vector-columns", "id=ids,vector=embeddings"])


@case("lists of ids beside vectors", "import", "parquet")
def lists_of_vector_ids(box, form):
    path = write_table(box, "csv", GOOD)
    for ids in ([[10], []], [[10, 11], [12]]):
        pyarrow.parquet.write_table(pyarrow.table({"item_id": ids, "vector": [[1.0, 2.0], [3.0, 4.0]]}),
                                    box.directory / "v.parquet")
        import_table(box, path.name, more=["--vectors", "v.parquet"], code=DATA,
                     parts=("v.parquet, column 'item_id'", "one id per vector: 2 vectors"))


@case("null in a vector", "import", "parquet")
def null_in_vector(box, form):
    path = write_table(box, "csv", GOOD)
    lists = pyarrow.array([[1.0, 2.0], [3.0, None]], pyarrow.list_(pyarrow.float32()))
    pyarrow.parquet.write_table(pyarrow.table({"item_id": [10, 11], "vector": lists}), box.directory / "v.parquet")
    import_table(box, path.name, more=["--vectors", "v.parquet"], code=DATA,
                 parts=("v.parquet", "column 'vector'", "row 2", "element 1 is null"))


@case("vectors under a wrong ending", "import", "npy", "hdf5", "parquet")
def vectors_by_content(box, form):
    path = write_table(box, "csv", GOOD)
    target = box.directory / "vectors.bin"
    if form == "npy":
        with open(target, "wb") as file:
            numpy.save(file, numpy.ones((2, 2), "f4"))
    elif form == "hdf5":
        with h5py.File(target, "w") as file:
            file["item_id"], file["vector"] = [10, 11], numpy.ones((2, 2), "f4")
    else:
        pyarrow.parquet.write_table(pyarrow.table({"item_id": [10, 11], "vector": [[1.0, 1], [1.0, 1]]}), target)
    box.write("ids.txt", "10\n11\n")
    box.test.assertEqual(import_table(box, path.name, more=["--vectors", "vectors.bin"] +
                                      (["--vector-ids", "ids.txt"] if form == "npy" else [])), RIGHT)


@case("integers in vectors", "import", "npy", "parquet")
def integer_vectors(box, form):
    path = write_table(box, "csv", GOOD)
    box.write("ids.txt", "10\n11\n")
    more = ["--vectors", f"v.{form}", *(["--vector-ids", "ids.txt"] if form == "npy" else [])]
    types = ("i4", "i8") if form == "npy" else ("i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8")
    for number, kind in enumerate(types):
        def write(vectors):
            vectors = numpy.array(vectors, kind)
            if form == "npy":
                numpy.save(box.directory / "v.npy", vectors)
            else:
                lists = pyarrow.array(list(vectors), pyarrow.list_(pyarrow.from_numpy_dtype(vectors.dtype)))
                pyarrow.parquet.write_table(pyarrow.table({"item_id": [10, 11], "vector": lists}), box.directory / "v.parquet")
        least = 0 if kind[0] == "u" else -3
        write([[1, 2], [least, 100]])
        import_table(box, path.name, more=more, out=f"out{number}")
        with h5py.File(box.directory / f"out{number}/items.h5") as file:
            box.test.assertEqual(file["item/vector"][:2].tolist(), [[1, 2], [least, 100]], kind)
        if kind[1] in "48":
            write([[1, 2], [2**24 + 1, 100]])
            import_table(box, path.name, more=more, out="no", code=DATA,
                         parts=(f"v.{form}", "row 2", "that float32 holds exactly, found 16777217", "as floats"))


@case("a version of .npy that does not exist", "import", "npy")
def npy_version(box, form):
    path = write_table(box, "csv", GOOD)
    numpy.save(box.directory / "v.npy", numpy.ones((2, 2), "f4"))
    stored = bytearray((box.directory / "v.npy").read_bytes())
    stored[6] = 9
    box.write("v.npy", bytes(stored))
    box.write("ids.txt", "10\n11\n")
    import_table(box, path.name, more=["--vectors", "v.npy", "--vector-ids", "ids.txt"], code=DATA,
                 parts=("v.npy", "version", "9.0"))


# --- times ---------------------------------------------------------------------------------------

@case("times that the file has rounded", "import", "parquet")
def rounded_float_times(box, form):
    for unit, factor in (("s", 1), ("ms", 1000)):
        path = write_table(box, form, table(time=numpy.array([NOON * factor, (NOON + 1) * factor], "f4")))
        import_table(box, path.name, columns=f"user=user,item=item,time=time:{unit}", code=DATA, out="no",
                     parts=("row 1", "'time'", "a time to the second", "int64"))
    for unit, factor in (("s", 1), ("ms", 10**3), ("us", 10**6), ("ns", 10**9)):
        path = write_table(box, form, table(time=numpy.array([NOON * factor, (NOON + 1) * factor], "f8")))
        box.test.assertEqual(import_table(box, path.name, columns=f"user=user,item=item,time=time:{unit}",
                                          out=unit), RIGHT)


@case("times that the file has rounded", "import", *TEXT)
def shortened_times(box, form):
    columns = "user=user,item=item,time=time:ms"
    for written in ("1.70E+12", "1.7e+12", "2E+12", "1.70000000000E+12"):
        path = write_table(box, form, table(time=[str(NOON * 1000), written]))
        import_table(box, path.name, columns=columns, code=DATA, out="no",
                     parts=("row 2", written, "a time with all its digits", "whole numbers"))
    path = write_table(box, form, table(time=["1.7E12", "1.700000001000E+12"]))  # the first as Java writes it
    box.test.assertEqual(import_table(box, path.name, columns=columns), RIGHT)


@case("dates written as numbers", "import", *ALL)
def dates_as_numbers(box, form):
    path = write_table(box, form, table(time=[20240501, 20240502]))
    import_table(box, path.name, code=DATA, parts=("2 of 2 rows", "before 1980", "row 1", "20240501", "time=time:iso"))
    box.test.assertEqual(import_table(box, path.name, columns="user=user,item=item,time=time:iso"),
                         {1: [(10, 1714521600)], 2: [(11, 1714521600 + DAY)]})
    path = write_table(box, form, table(time=[511, 829]))
    import_table(box, path.name, code=DATA, parts=("before 1980", "1970-01-01T00:08:31Z"), out="no")


@case("two units in one column", "import", *ALL)
def mixed_units(box, form):
    path = write_table(box, form, table(time=[NOON * 1000, NOON]))
    import_table(box, path.name, columns="user=user,item=item,time=time:ms", code=DATA,
                 parts=("1 of 2 rows", "row 2", f"'{NOON}'", "--bad-times"))
    import_table(box, path.name, code=DATA, parts=("row 1", "before 2100", "milliseconds"))
    box.test.assertEqual(import_table(box, path.name, columns="user=user,item=item,time=time:ms",
                                      more=["--bad-times", "drop"]), {1: [(10, NOON)]})


@case("units of time", "import", *ALL)
def units(box, form):
    for unit, digits in (("s", 0), ("ms", 3), ("us", 6), ("ns", 9)):
        times = [(NOON + row) * 10**digits + (10**digits - 1 if digits else 0) for row in range(2)]
        path = write_table(box, form, table(time=times))
        columns = f"user=user,item=item,time=time:{unit}"
        box.test.assertEqual(import_table(box, path.name, columns=columns, more=["--overwrite"]), RIGHT, unit)
        described = box.run("import", "--describe", path.name).stdout
        box.test.assertIn(f"time=time:{unit}", described)
        if unit != "s":
            import_table(box, path.name, out="no", code=DATA, parts=("before 2100", f":{unit} "))


@case("most times in another unit, dropped", "import", *ALL)
def dropped_times(box, form):
    path = write_table(box, form, {"user": [1] * 5, "item": [10] * 5, "time": [NOON] + [NOON * 1000 + i for i in range(4)]})
    done = box.run("import", path.name, "--bad-times", "drop", "--out", "out")
    box.test.assertIn("4 of 5 rows were dropped for a time before 1980 or from 2100 on", done.stderr)
    path = write_table(box, form, table(time=[NOON * 1000] * 2))
    import_table(box, path.name, more=["--bad-times", "drop"], out="no", code=DATA, parts=("is its unit right?",))


@case("times out of range", "import", *ALL)
def times_out_of_range(box, form):
    for value, parts in ((-1, ("a time since 1970", "--bad-times drop")), (0, ("before 1980",)),
                         (-2208988800, ("since 1970",)), (4102444800, ("before 2100",)),
                         (2**63 - 1, ("before 2100",)), (-2**63, ("since 1970",))):
        path = write_table(box, form, table(time=[NOON, value]))
        import_table(box, path.name, out="no", code=DATA, parts=("row 2", str(value), *parts))
        box.test.assertEqual(import_table(box, path.name, more=["--bad-times", "drop", "--overwrite"]),
                             {1: [(10, NOON)]})
    path = write_table(box, form, table(time=[NOON, 0]))
    done = box.run("import", path.name, "--bad-times", "keep", "--out", "kept")
    box.test.assertIn("1 rows have a time before 1980", done.stderr)
    box.test.assertEqual(timelines(box.directory / "kept")[2], [(11, 0)])


@case("timestamps at the ends of int64", "import", "parquet")
def timestamps_at_the_ends(box, form):
    for unit, digits in (("ms", 3), ("us", 6), ("ns", 9)):  # Parquet has no seconds
        for value in (-2**63 + 1, 2**63 - 1):
            times = pyarrow.array([NOON * 10**digits, value], pyarrow.timestamp(unit))
            path = write_table(box, form, table(time=times))
            import_table(box, path.name, code=DATA, parts=("row 2", "time"))


@case("ISO times: UTC offsets and nanoseconds", "import", *TEXT)
def iso_times(box, form):
    for written in ("2023-11-14T22:13:20Z", "2023-11-14T22:13:20+00:00", "2023-11-14T22:13:20.123456789Z",
                    "2023-11-14 22:13:20.5", "2023-11-14T22:13:20.123456789+0000", "2023-11-14 22:13:20.123+00",
                    "2023-11-14 22:13:20 UTC", "2023-11-14 22:13:20 +0000", "20231114221320", "20231114T221320Z",
                    "2023/11/14 22:13:20", "2023-11-15T00:13:20+02:00", "2023-11-14 14:43:20.5 -0730", "2023-11-15 00:13:20+02"):
        path = write_table(box, form, table(time=[written, written]))
        box.test.assertEqual(import_table(box, path.name, columns="user=user,item=item,time=time:iso",
                                          more=["--overwrite"])[1], [(10, NOON)], written)
    for unclear in ("14/11/2023 22:13", "11-14-2023", "2023-11-14 22:13:20 CET", "2023-11-14T22:13:20+25:00", "2023-02-30"):
        path = write_table(box, form, table(time=[unclear] * 2))
        import_table(box, path.name, columns="user=user,item=item,time=time:iso", out="no", code=DATA,
                     parts=("row 1", unclear, "2024-05-31T23:59:59+02:00"))


@case("real repeats on one day", "import", *TEXT)
def day_resolution(box, form):
    path = write_table(box, form, {"user": [1, 1, 1], "item": [10, 10, 11],
                                   "time": ["2023-11-14", "2023-11-14", "2023-11-15"]})
    columns = "user=user,item=item,time=time:iso"
    done = box.run("import", path.name, "--columns", columns, "--out", "out")
    box.test.assertIn("whole days", done.stderr)
    box.test.assertIn("--keep-duplicates", done.stderr)
    box.test.assertRegex(done.stdout, "duplicate events +1 dropped")
    done = box.run("import", path.name, "--columns", columns, "--keep-duplicates", "--out", "kept")
    box.test.assertEqual(done.stderr, "")
    box.test.assertRegex(done.stdout, "duplicate events +1 kept")


@case("many duplicates", "import", "csv")
def many_duplicates(box, form):
    rows = [NOON + i // 2 for i in range(40)]
    path = write_table(box, form, {"user": [1] * 40, "item": [10] * 40, "time": rows})
    done = box.run("import", path.name, "--out", "out")
    box.test.assertIn("20 of 40 rows were dropped as duplicates; --keep-duplicates", done.stderr)


@case("one event in the far future", "import", *ALL)
def late_event(box, form):
    times = [NOON + i for i in range(3000)]
    path = write_table(box, form, {"user": [i % 9 for i in range(3000)], "item": [i % 7 for i in range(3000)],
                                   "time": times[:-1] + [NOON + 4000 * DAY]})
    done = box.run("import", path.name, "--out", "out")
    box.test.assertIn("1 event lies at or after 2034-10-27", done.stderr)
    box.test.assertIn("split.end", done.stderr)
    path = write_table(box, form, {"user": [1] * 3000, "item": [i % 7 for i in range(3000)], "time": times})
    box.test.assertEqual(box.run("import", path.name, "--out", "even").stderr, "")
