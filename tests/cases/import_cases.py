"""Reading events: ids, times and text that are easily read wrong, and the forms that tables have."""
import decimal
import json
import os
import decimal

import h5py
import numpy
import pyarrow
import pyarrow.parquet

from registry import DATA, NO_INPUT, USAGE, case
from tables import (ALL, COMPRESSORS, DAY, NOON, TEXT, import_table, item_ids, text_table, timelines, write_table)

GOOD = {"user": [1, 2], "item": [10, 11], "time": [NOON, NOON + 1]}
RIGHT = {1: [(10, NOON)], 2: [(11, NOON + 1)]}


def table(**changed):
    return {**GOOD, **changed}


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


@case("times out of range", "import", *ALL)
def times_out_of_range(box, form):
    for value, parts in ((-1, ("a time since 1970", "--bad-times drop")), (0, ("before 1980",)),
                         (-2208988800, ("since 1970",)), (4102444800, ("before 2100",)),
                         (2**63 - 1, ("before 2100",)), (-2**63, ("since 1970",))):
        path = write_table(box, form, table(time=[NOON, value]))
        import_table(box, path.name, code=DATA, parts=("row 2", str(value), *parts))
        box.test.assertEqual(import_table(box, path.name, more=["--bad-times", "drop", "--overwrite"]),
                             {1: [(10, NOON)]})
    path = write_table(box, form, table(time=[NOON, 0]))
    done = box.run("import", path.name, "--bad-times", "keep", "--out", "kept")
    box.test.assertIn("1 rows have a time before 1980", done.stderr)
    box.test.assertEqual(timelines(box.directory / "kept")[2], [(11, 0)])


@case("timestamps at the ends of int64", "import", "parquet")
def timestamps_at_the_ends(box, form):
    for unit in ("s", "ms", "us", "ns"):
        for value in (-2**63 + 1, 2**63 - 1):
            path = write_table(box, form, table(time=pyarrow.array([NOON * 10**{"s": 0, "ms": 3, "us": 6, "ns": 9}[unit],
                                                                    value], pyarrow.timestamp(unit))))
            import_table(box, path.name, code=DATA, parts=("row 2", "time"))


@case("ISO times: UTC offsets and nanoseconds", "import", *TEXT)
def iso_times(box, form):
    for written in ("2023-11-14T22:13:20Z", "2023-11-14T22:13:20+00:00", "2023-11-14T22:13:20.123456789Z",
                    "2023-11-14 22:13:20.5", "2023-11-14T22:13:20.123456789+0000"):
        path = write_table(box, form, table(time=[written, written]))
        box.test.assertEqual(import_table(box, path.name, columns="user=user,item=item,time=time:iso",
                                          more=["--overwrite"])[1], [(10, NOON)], written)
    path = write_table(box, form, table(time=["2023-11-14T22:13:20+02:00"] * 2))
    import_table(box, path.name, columns="user=user,item=item,time=time:iso", out="no", code=DATA,
                 parts=("row 1", "+02:00", "offset", "UTC"))


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


# --- columns -------------------------------------------------------------------------------------

@case("one column for two roles", "import", *ALL)
def column_twice(box, form):
    path = write_table(box, form, table(event=["click", "buy"]))
    import_table(box, path.name, columns="user=user,item=item,time=time,action=event,surface=event")
    with h5py.File(box.directory / "out/items.h5") as file:
        for name in ("action", "surface"):
            box.test.assertEqual(file[f"vocabulary/{name}"].asstr()[:].tolist(), ["buy", "click"])


@case("one column for two roles of --items", "import", "csv", "parquet")
def item_column_twice(box, form):
    events = write_table(box, "csv", GOOD)
    items = write_table(box, form, {"item": [10, 11], "name": ["x", "y"]}, name="items")
    for columns, out in (("id=item,title=item", "a"), ("id=item,title=name,topic=name", "b")):
        import_table(box, events.name, out=out, more=["--items", items.name, "--item-columns", columns])


@case("two columns of one name", "import", "csv", "tsv", "jsonl", "parquet")
def two_of_one_name(box, form):
    if form == "jsonl":
        path = box.write("e.jsonl", f'{{"user":1,"item":10,"user":2,"time":{NOON}}}\n')
        return import_table(box, path.name, code=DATA, parts=("line 1", "'user' comes twice"))
    if form == "parquet":
        path = box.directory / "e.parquet"
        pyarrow.parquet.write_table(pyarrow.table([[1], [2], [10], [NOON]], names=["user", "user", "item", "time"]), path)
    else:
        mark = {"csv": ",", "tsv": "\t"}[form]
        path = box.write(f"e.{form}", mark.join(["user", "user", "item", "time"]) + "\n" +
                         mark.join(map(str, [1, 2, 10, NOON])) + "\n")
    import_table(box, path.name, code=DATA, parts=(path.name, "2 columns 'user'", "rename"))


@case("types without a number or text of their own", "import", "parquet")
def odd_types(box, form):
    ids = [pyarrow.array([decimal.Decimal("1"), decimal.Decimal("2")], pyarrow.decimal128(20, 0)),
           pyarrow.array([1, 2], pyarrow.int32()).dictionary_encode(), pyarrow.array([1.0, 2.0], pyarrow.float16())]
    days = pyarrow.array([19_000, 19_001], pyarrow.date32())
    flags = pyarrow.array([True, False])
    for users in ids:
        path = write_table(box, form, {"user": users, "item": pyarrow.array(["a", "b"], pyarrow.string_view()),
                                       "time": days, "action": flags, "surface": pyarrow.nulls(2)})
        found = import_table(box, path.name, columns="user=user,item=item,time=time,action=action,surface=surface",
                             more=["--overwrite"])
        box.test.assertEqual(found, {1: [("a", 19_000 * DAY)], 2: [("b", 19_001 * DAY)]})
    with h5py.File(box.directory / "out/items.h5") as file:
        box.test.assertEqual(file["vocabulary/action"].asstr()[:].tolist(), ["false", "true"])
        box.test.assertEqual(file["vocabulary/surface"].asstr()[:].tolist(), ["unknown"])


@case("null where a value belongs", "import", "jsonl", "parquet")
def nulls(box, form):
    path = write_table(box, form, table(item=[10, None]))
    import_table(box, path.name, code=DATA, parts=("row 2", "column 'item'", "--missing item="))
    box.test.assertEqual(import_table(box, path.name, more=["--missing", "item="]), {1: [(10, NOON)]})


@case("columns that are missing", "import", *ALL)
def suggested_mapping(box, form):
    path = write_table(box, form, {"uid": [1], "movie_id": [2], "ts": [NOON * 1000]})
    import_table(box, path.name, code=DATA, parts=("no column 'user'", "uid, movie_id, ts",
                                                   "--columns user=uid,item=movie_id,time=ts"))


@case("--describe", "import", *ALL)
def describe(box, form):
    path = write_table(box, form, {"uid": [1, 2], "movie_id": [7, 8], "ts": [NOON * 1000, NOON * 1000 + 1]})
    done = box.run("import", "--describe", "--events", path.name)
    for part in ("uid", "movie_id", "7 | 8", f"--columns user=uid,item=movie_id,time=ts:ms"):
        box.test.assertIn(part, done.stdout)
    box.test.assertEqual([entry.name for entry in box.directory.iterdir()], [path.name])


@case("a list of items as one text", "import", "tsv")
def typed_list(box, form):
    path = box.write("a.inter", f"session_id:token\titem_id_list:token_seq\ttimestamp:float\n1\t4 5 6\t{NOON}.0\n")
    import_table(box, path.name, columns="user=session_id,item=item_id_list,time=timestamp", code=DATA,
                 parts=("item_id_list:token_seq", "list per row"))


@case("a list of items as one text", "import", "csv")
def plain_list(box, form):
    path = write_table(box, form, {"user": range(200), "item": [f"{i} {i + 1}" for i in range(200)],
                                   "time": [NOON + i for i in range(200)]})
    done = box.run("import", path.name, "--out", "out")
    box.test.assertIn("nearly every row has an item of its own", done.stderr)


# --- forms ---------------------------------------------------------------------------------------

def same_events(box, name, *more, columns="user=user,item=item,time=time", out="out"):
    box.test.assertEqual(import_table(box, name, columns=columns, more=more, out=out), RIGHT)


@case("other delimiters", "import", ";", "|", "::", "space", "tab")
def delimiters(box, form):
    mark = {"space": "  ", "tab": "\t"}.get(form, form).encode()
    path = box.write("e.csv", text_table(GOOD, mark))
    same_events(box, path.name, "--delimiter", form)
    hint = import_table(box, path.name, out="no", code=DATA, parts=("--delimiter",)).stderr
    box.test.assertIn(f"--delimiter '{form}'" if len(form) < 3 else f"--delimiter {form}", hint)


@case("no header", "import", "csv", "tsv", "space")
def no_header(box, form):
    mark = {"csv": ",", "tsv": "\t", "space": " "}[form]
    rows = "".join(mark.join(map(str, row)) + "\n" for row in zip(*GOOD.values()))
    path = box.write("u.data", rows)
    words = ["--format", "csv", "--delimiter", "space"] if form == "space" else ["--format", form]
    for number, more in enumerate(([], ["--no-header"])):
        same_events(box, path.name, *words, *more, columns="user=0,item=1,time=2", out=f"out{number}")
    import_table(box, path.name, out="no", more=words, code=DATA, parts=("--no-header", "user=0,item=1"))
    import_table(box, path.name, out="no", code=DATA, parts=("u.data", "--format"))


@case("numbers as names and as data", "import", "csv")
def header_of_numbers(box, form):
    path = box.write("e.csv", f"0,1,2\n1,10,{NOON}\n2,11,{NOON + 1}\n")
    columns = "user=0,item=1,time=2"
    import_table(box, path.name, columns=columns, code=DATA, parts=("--no-header", "--header"))
    same_events(box, path.name, "--header", columns=columns)


@case("one user per line", "import", "text")
def user_lines(box, form):
    path = box.write("lines.txt", "7 1 2 3\n8 4\n")
    box.test.assertEqual(import_table(box, path.name, columns="user=user,item=item",
                                      more=["--untimed", "--format", "user-lines"]),
                         {7: [(1, 0), (2, 1), (3, 2)], 8: [(4, 3)]})
    import_table(box, path.name, columns="user=user,item=item", more=["--untimed", "--format", "tsv"], out="no",
                 code=DATA, parts=("--format user-lines",))
    box.write("lines.txt", "7 1 2 3\n8\n")
    import_table(box, path.name, columns="user=user,item=item", more=["--untimed", "--format", "user-lines"],
                 out="no", code=DATA, parts=("line 2",))


@case("typed headers", "import", "tsv")
def typed_headers(box, form):
    path = box.write("a.inter", f"user_id:token\titem_id:token\ttimestamp:float\n1\t10\t{NOON}.0\n2\t11\t{NOON + 1}\n")
    same_events(box, path.name, columns="user=user_id,item=item_id,time=timestamp")
    same_events(box, path.name, columns="user=user_id:token,item=item_id:token,time=timestamp:float", out="typed")


@case("lists of objects", "import", "jsonl")
def nested_json(box, form):
    box.write("s.jsonl", '{"session":1,"events":[{"aid":10,"ts":%d,"type":"click"},{"aid":11,"ts":%d,"type":"buy"}]}\n'
                         '{"session":2,"events":[]}\n\n{"session":3,"events":[{"aid":10,"ts":%d,"type":null}]}\n' %
              (NOON * 1000, NOON * 1000 + 1000, NOON * 1000))
    box.test.assertEqual(import_table(box, "s.jsonl", columns="user=session,item=aid,action=type,time=ts:ms"),
                         {1: [(10, NOON), (11, NOON + 1)], 3: [(10, NOON)]})
    import_table(box, "s.jsonl", columns="user=session,item=events.aid,time=events.ts:ms", out="path")
    box.write("bad.jsonl", '{"user":1,"item":10,"time":5}\n{"user":\n')
    import_table(box, "bad.jsonl", out="no", code=DATA, parts=("bad.jsonl, line 2",))
    box.write("list.json", '[{"user":1}]\n')
    import_table(box, "list.json", out="no", code=DATA, parts=("line 1", "jq"))


@case("lists of values", "import", "jsonl", "parquet")
def lists_of_values(box, form):
    path = write_table(box, form, {"user": [1, 2], "item": [[10, 11], [12]]})
    box.test.assertEqual(import_table(box, path.name, columns="user=user,item=item", more=["--untimed"]),
                         {1: [(10, 0), (11, 1)], 2: [(12, 2)]})


@case("compressed files, under any name", "import", *COMPRESSORS)
def compressed(box, form):
    data = COMPRESSORS[form](text_table(GOOD, b","))
    ending = {"gzip": ".gz", "bzip2": ".bz2", "zstd": ".zst", "brotli": ".br", "lz4": ".lz4"}[form]
    box.write("e.csv" + ending, data)
    same_events(box, "e.csv" + ending)
    if form == "brotli":  # it has no magic bytes
        return
    box.write("wrong.csv", data)
    same_events(box, "wrong.csv", out="wrong")
    box.write("cut.csv" + ending, data[:len(data) // 2])
    import_table(box, "cut.csv" + ending, out="no", code=DATA, parts=("cut.csv",))


@case("plain text named as compressed", "import", "csv")
def not_compressed(box, form):
    box.write("e.csv.gz", text_table(GOOD, b","))
    same_events(box, "e.csv.gz")


@case("Parquet and text under each other's names", "import", "parquet", "csv")
def wrong_ending(box, form):
    if form == "parquet":
        write_table(box, form, GOOD).rename(box.directory / "e.csv")
        same_events(box, "e.csv")
        import_table(box, "e.csv", more=["--format", "csv"], out="no", code=DATA, parts=("is a Parquet file",))
    else:
        box.write("e.parquet", text_table(GOOD, b","))
        import_table(box, "e.parquet", code=DATA, parts=("expected a Parquet file", "--format csv"))
        same_events(box, "e.parquet", "--format", "csv")


@case("kinds of files that are no tables", "import", "utf-16", "zip", "xz", "npy", "hdf5", "tar")
def foreign_files(box, form):
    import io, lzma, tarfile, zipfile
    text = text_table(GOOD, b",")
    sink = io.BytesIO()
    if form == "utf-16":
        sink.write(text.decode().encode("utf-16"))
    elif form == "zip":
        with zipfile.ZipFile(sink, "w") as archive:
            archive.writestr("e.csv", text)
    elif form == "xz":
        sink.write(lzma.compress(text))
    elif form == "npy":
        numpy.save(sink, numpy.ones(3))
    elif form == "hdf5":
        with h5py.File(sink, "w") as file:
            file["x"] = [1]
    else:
        with tarfile.open(fileobj=sink, mode="w") as archive:
            archive.addfile(tarfile.TarInfo("e.csv"), io.BytesIO())
    box.write("e.csv", sink.getvalue())
    word = {"utf-16": "UTF-16", "zip": "ZIP", "xz": "xz", "npy": "NumPy", "hdf5": "HDF5", "tar": "tar"}[form]
    import_table(box, "e.csv", code=DATA, parts=("e.csv: expected text", word))


@case("a quote that does not end", "import", "csv")
def open_quote(box, form):
    line = f"1,10,{NOON}\n"
    text = "user,item,time\n" + line * 1000 + f'1,"10,{NOON}\n' + line * 600_000
    box.write("e.csv.gz", COMPRESSORS["gzip"](text.encode()))
    import_table(box, "e.csv.gz", code=DATA, parts=("row 1001", "quote that does not end"))


@case("rows of another width", "import", "csv", "tsv", "space")
def ragged(box, form):
    mark = {"csv": ",", "tsv": "\t", "space": " "}[form]
    rows = [["user", "item", "time"], ["1", "10", str(NOON)], ["1", "10"]]
    box.write("e.csv", "".join(mark.join(row) + "\n" for row in rows))
    more = {"csv": [], "tsv": ["--format", "tsv"], "space": ["--delimiter", "space"]}[form]
    import_table(box, "e.csv", more=more, code=DATA, parts=("e.csv", "Row #3"))


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


@case("key=value folders as columns", "import", *ALL)
def folder_columns(box, form):
    log_of_days(box, form)
    box.test.assertEqual(import_table(box, "log", columns="user=user,item=item,time=dt:iso,surface=dt"),
                         {1: [(10, 1714521600)], 2: [(11, 1714521600 + DAY)]})


@case("names that match nothing", "import", "csv")
def no_files(box, form):
    (box.directory / "empty").mkdir()
    import_table(box, "none-*.csv", code=NO_INPUT, parts=("no file matches",))
    import_table(box, "empty", code=NO_INPUT, parts=("holds no file",))
    import_table(box, "none.csv", code=NO_INPUT, parts=("none.csv",))
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
