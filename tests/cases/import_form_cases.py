"""Forms that tables have: columns, delimiters, nesting, compression."""
import datetime
import decimal
import io
import json
import lzma
import tarfile
import zipfile

import h5py
import numpy
import pyarrow
import pyarrow.parquet

from registry import DATA, USAGE, case
from tables import (ALL, COMPRESSORS, DAY, GOOD, NOON, RIGHT, TEXT, import_table, json_table, table, text_table,
                    write_table)


# --- columns -------------------------------------------------------------------------------------

@case("one column for two roles", "import", *ALL)
def column_twice(box, form):
    path = write_table(box, form, table(event=["click", "buy"]))
    import_table(box, path.name, columns="user=user,item=item,time=time,action=event,surface=event")
    with h5py.File(box.directory / "out/items.h5") as file:
        for name in ("action", "surface"):
            box.test.assertEqual(file[f"vocabulary/{name}"].asstr()[:].tolist(), ["buy", "click"])


@case("two columns for one role", "import", "columns", "item-columns", "vector-columns")
def role_twice(box, form):
    path = write_table(box, "csv", GOOD)
    more = {"columns": ["--columns", "user=user,user=item"], "item-columns": ["--items", path.name, "--item-columns", "id=item,id=user"],
            "vector-columns": ["--vectors", path.name, "--vector-columns", "id=item,id=user"]}[form]
    box.run("import", path.name, *more, "--out", "out", code=USAGE, parts=("expected one column of", "found two", "user", "item"))


@case("one column for two roles of --items", "import", "csv", "parquet")
def item_column_twice(box, form):
    events = write_table(box, "csv", GOOD)
    items = write_table(box, form, {"item": [10, 11], "name": ["x", "y"]}, name="items")
    for columns, out in (("id=item,title=item", "a"), ("id=item,title=name,topic=name", "b")):
        import_table(box, events.name, out=out, more=["--items", items.name, "--item-columns", columns])


@case("--items of another form than the events", "import", "csv", "tsv", "jsonl", "parquet")
def items_of_another_form(box, form):
    rows = "".join("::".join(map(str, row)) + "\n" for row in zip(*GOOD.values()))
    box.write("ratings.dat", rows)
    items = write_table(box, form, {"id": [10, 11], "title": ["x", "y"]}, name="items")
    more = ["--format", "csv", "--delimiter", "::", "--no-header", "--items"]
    columns = "user=0,item=1,time=2"
    found = import_table(box, "ratings.dat", columns=columns, more=[*more, items.name, "--item-columns", "id=id,title=title"])
    box.test.assertEqual(found, RIGHT)
    box.write("items.csv.gz", COMPRESSORS["gzip"](b"id;title\n10;x\n11;y\n"))
    box.write("e.csv", text_table(GOOD, b";"))
    found = import_table(box, "e.csv", out="semicolons", more=["--delimiter", ";", "--items", "items.csv.gz",
                                                              "--item-columns", "id=id,title=title"])
    box.test.assertEqual(found, RIGHT)
    box.write("movies.dat", "10::x\n11::y\n")
    import_table(box, "ratings.dat", columns=columns, out="dat",
                 more=[*more, "movies.dat", "--item-columns", "id=0,title=1"])
    for out in ("out", "dat"):
        with h5py.File(box.directory / out / "items.h5") as file:
            box.test.assertEqual(file["item/title"].asstr()[:].tolist(), ["x", "y"])


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


@case("a thousand columns", "import", *ALL)
def thousand_columns(box, form):
    others = {f"column_{number}": ["x", "y"] for number in range(1000)}
    for name, columns in (("first", GOOD | others), ("last", others | GOOD)):
        path = write_table(box, form, columns, name=name)
        box.test.assertEqual(import_table(box, path.name, out=f"out-{name}"), RIGHT)


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


@case("a last line without an end", "import", *TEXT, "space")
def last_line(box, form):
    mark = {"csv": b",", "tsv": b"\t", "space": b" "}.get(form)
    table_of = {"jsonl": json_table}.get(form, lambda columns: text_table(columns, mark))
    words = {"space": ["--format", "csv", "--delimiter", "space"]}.get(form, ["--format", form])
    box.write("e.txt", table_of(GOOD)[:-1])
    same_events(box, "e.txt", *words)
    box.write("empty.txt", "\n\n")
    if form == "jsonl":
        return
    import_table(box, "empty.txt", more=words, out="no", code=DATA, parts=("empty.txt is empty",))
    box.write("names.txt", mark.join([b"user", b"item", b"time"]))
    import_table(box, "names.txt", more=words, out="no", code=DATA, parts=("names.txt: no events, only a header",))
    box.write("row.txt", mark.join([b"1", b"10", str(NOON).encode()]))
    found = import_table(box, "row.txt", columns="user=0,item=1,time=2", more=words, out="row")
    box.test.assertEqual(found, {1: [(10, NOON)]})


@case("numbers as names and as data", "import", "csv")
def header_of_numbers(box, form):
    path = box.write("e.csv", f"0,1,2\n1,10,{NOON}\n2,11,{NOON + 1}\n")
    columns = "user=0,item=1,time=2"
    import_table(box, path.name, columns=columns, code=DATA, parts=("--no-header", "--header"))
    same_events(box, path.name, "--header", columns=columns)


@case("numbers for columns that have names", "import", "csv", "tsv", "space")
def numbers_over_header(box, form):
    mark = {"csv": b",", "tsv": b"\t", "space": b" "}[form]
    path = box.write("e.csv", text_table(GOOD, mark))
    words = {"csv": [], "tsv": ["--format", "tsv"], "space": ["--delimiter", "space"]}[form]
    for columns, more in (("user=0,item=1,time=2", []), ("user=0,item=1", ["--untimed"])):
        import_table(box, path.name, columns=columns, more=words + more, code=DATA,
                     parts=("the first row looks like names: user, item, time", "--no-header"))
    found = import_table(box, path.name, columns="user=0,item=1", more=words + ["--untimed", "--no-header"])
    box.test.assertEqual(found, {"user": [("item", 0)], "1": [("10", 1)], "2": [("11", 2)]})


@case("numbers for text columns that have names", "import", "csv")
def numbers_over_header_of_texts(box, form):
    """No cell below looks like a number: the names alone say that the first row is a header."""
    path = box.write("e.csv", "reviewerID,asin\nann,b01\nbob,b02\n")
    import_table(box, path.name, columns="user=0,item=1", more=["--untimed"], code=DATA,
                 parts=("the first row looks like names: reviewerID, asin", "--no-header"))
    box.write("e.csv", "ann,b01\nbob,b02\n")
    found = import_table(box, path.name, columns="user=0,item=1", more=["--untimed"])
    box.test.assertEqual(found, {"ann": [("b01", 0)], "bob": [("b02", 1)]})


@case("one user per line", "import", "text")
def user_lines(box, form):
    path = box.write("lines.txt", "7 1 2 3\n8 4\n")
    box.test.assertEqual(import_table(box, path.name, columns="user=user,item=item",
                                      more=["--untimed", "--format", "user-lines"]),
                         {7: [(1, 0), (2, 1), (3, 2)], 8: [(4, 3)]})
    import_table(box, path.name, columns="user=user,item=item", more=["--untimed", "--format", "tsv"], out="no",
                 code=DATA, parts=("--format user-lines",))
    box.test.assertIn("--columns user=user,item=item --untimed",
                      box.run("import", "--describe", path.name, "--format", "user-lines").stdout)
    import_table(box, path.name, columns="user=user,item=item", more=["--format", "user-lines"], out="no",
                 code=DATA, parts=("no column 'time'", "--untimed"))
    import_table(box, path.name, columns="user=0,item=1", more=["--untimed", "--format", "tsv"], out="no",
                 code=DATA, parts=("--delimiter space",))
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
    import_table(box, "bad.jsonl", out="no", code=DATA,
                 parts=("bad.jsonl, line 2", "one JSON object per line, as jq -c"))
    box.write("list.json", '[{"user":1}]\n')
    import_table(box, "list.json", out="no", code=DATA, parts=("line 1", "jq"))
    box.write("lines.csv", '{"user":1,"item":10,"time":5}\n')
    import_table(box, "lines.csv", out="no", code=DATA, parts=("this looks like JSON lines: --format jsonl",))


@case("a field that late rows have", "import", "jsonl")
def late_field(box, form):
    rows = [{"user": 1, "item": item, "time": NOON + item} for item in range(1500)]
    rows[1400]["action"] = "buy"
    box.write("e.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    columns = "user=user,item=item,time=time,action=action"
    box.test.assertEqual(len(import_table(box, "e.jsonl", columns=columns)[1]), 1500)
    with h5py.File(box.directory / "out/items.h5") as file:
        box.test.assertEqual(file["vocabulary/action"].asstr()[:].tolist(), ["buy", "unknown"])
    import_table(box, "e.jsonl", columns=columns + ",surface=page", out="no", code=DATA,
                 parts=("no column 'page'", "user, item, time, action"))


@case("one name in two objects", "import", "jsonl")
def ambiguous_name(box, form):
    box.write("e.jsonl", '{"user":{"id":1},"item":{"id":10},"time":%d}\n' % NOON)
    import_table(box, "e.jsonl", columns="user=id,item=item.id,time=time", code=DATA,
                 parts=("2 columns 'id'", "name one of user.id, item.id"))
    found = import_table(box, "e.jsonl", columns="user=user.id,item=item.id,time=time")
    box.test.assertEqual(found, {1: [(10, NOON)]})


@case("lists of values", "import", "jsonl", "parquet")
def lists_of_values(box, form):
    path = write_table(box, form, {"user": [1, 2, 3, 4], "item": [[10, 11], [12], None, []]})
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


@case("endings in capital letters", "import", "csv", "tsv", "jsonl", "parquet")
def capital_endings(box, form):
    name = f"E.{form.upper()}"
    write_table(box, form, GOOD).rename(box.directory / name)
    same_events(box, name)
    if form != "parquet":
        box.write(f"{name}.GZ", COMPRESSORS["gzip"]((box.directory / name).read_bytes()))
        same_events(box, f"{name}.GZ", out="compressed")


@case("a frame to be skipped in front", "import", "zstd")
def skippable_frame(box, form):
    box.write("e.csv.zst", b"\x50\x2a\x4d\x18\4\0\0\0abcd" + COMPRESSORS[form](text_table(GOOD, b",")))
    same_events(box, "e.csv.zst")


@case("what a download left in place of the file", "import", "csv", "jsonl", "parquet")
def pointer_or_page(box, form):
    for content, part in (("version https://git-lfs.github.com/spec/v1\noid sha256:aa\nsize 12\n", "git lfs pull"),
                          ("<!DOCTYPE html><html><body>404</body></html>\n", "an HTML page")):
        box.write(f"e.{form}", content)
        import_table(box, f"e.{form}", code=DATA, parts=(f"e.{form}", part))


@case("blanks around names of columns", "import", "csv", "tsv", "parquet")
def blanks_around_names(box, form):
    path = write_table(box, form, {" user": [1, 2], "item ": [10, 11], " time ": [NOON, NOON + 1]})
    same_events(box, path.name)


@case("Parquet that is compressed as a whole", "import", "gzip", "zstd")
def compressed_parquet(box, form):
    data = write_table(box, "parquet", GOOD).read_bytes()
    for name in ("e.parquet.gz", "e.parquet"):
        box.write(name, COMPRESSORS[form](data))
        import_table(box, name, code=DATA, parts=(name, "compressed as a whole; unpack it"))


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


@case("kinds of files that are no tables", "import", "utf-16", "zip", "xz", "lzma", "lz4 -l", "npy", "hdf5", "tar")
def foreign_files(box, form):
    text = text_table(GOOD, b",")
    sink = io.BytesIO()
    if form == "utf-16":
        sink.write(text.decode().encode("utf-16"))
    elif form == "zip":
        with zipfile.ZipFile(sink, "w") as archive:
            archive.writestr("e.csv", text)
    elif form == "xz":
        sink.write(lzma.compress(text))
    elif form == "lzma":
        sink.write(lzma.compress(text, format=lzma.FORMAT_ALONE))
    elif form == "lz4 -l":
        sink.write(b"\x02\x21\x4c\x18" + text)
    elif form == "npy":
        numpy.save(sink, numpy.ones(3))
    elif form == "hdf5":
        with h5py.File(sink, "w") as file:
            file["x"] = [1]
    else:
        with tarfile.open(fileobj=sink, mode="w") as archive:
            archive.addfile(tarfile.TarInfo("e.csv"), io.BytesIO())
    box.write("e.csv", sink.getvalue())
    word = {"utf-16": "UTF-16", "zip": "ZIP", "xz": "xz", "lzma": "lzma", "lz4 -l": "LZ4", "npy": "NumPy", "hdf5": "HDF5", "tar": "tar"}[form]
    import_table(box, "e.csv", code=DATA, parts=("e.csv: expected text", word))


@case("a quote that does not end", "import", "csv")
def open_quote(box, form):
    line = f"1,10,{NOON}\n"
    text = "user,item,time\n" + line * 1000 + f'1,"10,{NOON}\n' + line * 600_000
    box.write("e.csv.gz", COMPRESSORS["gzip"](text.encode()))
    import_table(box, "e.csv.gz", code=DATA, parts=("line 1002", "quote that does not end"))


@case("stray quotes", "import", "last column", "--escape", "--items", "two of them", "behind a blank", "in order")
def stray_quotes(box, form):
    """A reader that follows them joins rows, or leaves them out, without a word."""
    row = "{0},{1},%d,a title\n" % NOON
    lines = ["user,item,time,title\n"] + [row.format(user, user % 7) for user in range(20)]
    lines[3] = lines[3].replace("a title", '"a title')
    if form == "two of them":
        lines[18] = lines[18].replace("a title", '"a title')
    box.write("e.csv", "".join(lines))
    box.write("good.csv", text_table(GOOD, b","))
    box.write("items.csv", 'id,title\n10,"Tools\n11,x\n')
    if form == "--items":
        import_table(box, "good.csv", more=["--items", "items.csv", "--item-columns", "id=id,title=title"], code=DATA,
                     parts=("items.csv", "opens in line 2"))
    elif form == "behind a blank":
        box.write("e.csv", f'user,item,time\n1,10,{NOON}\n2, "11",{NOON}\n')
        import_table(box, "e.csv", code=DATA, parts=("e.csv", "blank before a quote in line 3"))
    elif form == "in order":
        box.write("e.csv", f'user,item,time,title\n1,10,{NOON},"Tools, ""big""" \n1,11,{NOON + 1},"two\nlines"\n')
        box.test.assertEqual(import_table(box, "e.csv"), {1: [(10, NOON), (11, NOON + 1)]})
    else:
        more = ["--escape", "\\"] if form == "--escape" else []
        end = ("line 19", "opens in line 4") if form == "two of them" else ("end of the file", "opens in line 4")
        import_table(box, "e.csv", more=more, code=DATA, parts=("e.csv", *end))


@case("MySQL's NULL beside an escape character", "import", "csv", "tsv")
def null_behind_escape(box, form):
    mark = {"csv": ",", "tsv": "\t"}[form]
    rows = [["1", "10", str(NOON), "\\N"], ["\\N", "11", str(NOON), "b"], ["1", "12", str(NOON + 1), "x\\Ny"]]
    box.write("e." + form, "".join(mark.join(row) + "\n" for row in rows))
    more = ["--no-header", "--escape", "\\", "--missing", "user=\\N", "--missing", "action=\\N"]
    found = import_table(box, "e." + form, columns="user=0,item=1,time=2,action=3", more=more)
    box.test.assertEqual(found, {1: [(10, NOON), (12, NOON + 1)]})
    with h5py.File(box.directory / "out/items.h5") as file:
        box.test.assertEqual(file["vocabulary/action"].asstr()[:].tolist(), ["unknown", "xNy"])


@case("an object in place of a list of one", "import", "an object", "a key twice")
def lone_object(box, form):
    event = {"item": 9, "time": NOON}
    records = [{"user": 1, "e": [{**event, "action": "buy"}, event]}, {"user": 5, "e": event}]
    text = "".join(json.dumps(record) + "\n" for record in records)
    if form == "a key twice":
        box.write("e.jsonl", f'{{"user":1,"item":[1,2],"item":[],"time":{NOON}}}\n')
        import_table(box, "e.jsonl", code=DATA, parts=("line 1", "'item' comes twice"))
        return
    box.write("e.jsonl", text)
    found = import_table(box, "e.jsonl", columns="user=user,item=e.item,time=e.time,action=e.action", more=["--keep-duplicates"])
    box.test.assertEqual({user: len(events) for user, events in found.items()}, {1: 2, 5: 1})


@case("times as Parquet wrote them before 2016", "import", "in range", "beyond 2262")
def int96_times(box, form):
    year = 2567 if form == "beyond 2262" else 2023
    times = pyarrow.array([datetime.datetime(year, 11, 14, 22, 13, 20)] * 2, pyarrow.timestamp("us"))
    pyarrow.parquet.write_table(pyarrow.table({"user": [1, 1], "item": [10, 11], "time": times}), box.directory / "e.parquet",
                                use_deprecated_int96_timestamps=True)
    if form == "in range":
        box.test.assertEqual(import_table(box, "e.parquet"), {1: [(10, NOON), (11, NOON)]})
    else:
        import_table(box, "e.parquet", code=DATA, parts=("row 1", "expected a time before 2100"))


@case("NaN marked as missing", "import", "as an empty value", "by its name")
def nan_is_missing(box, form):
    pyarrow.parquet.write_table(pyarrow.table({"user": [1, 1], "item": [10, numpy.nan], "time": [NOON, NOON]}), box.directory / "e.parquet")
    import_table(box, "e.parquet", code=DATA, parts=("row 2", "--missing item="))
    more = ["--missing", "item=" + ("" if form == "as an empty value" else "nan")]
    box.test.assertEqual(import_table(box, "e.parquet", more=more), {1: [(10, NOON)]})


@case("rows of another width", "import", "csv", "tsv", "space")
def ragged(box, form):
    mark = {"csv": ",", "tsv": "\t", "space": " "}[form]
    rows = [["user", "item", "time"], ["1", "10", str(NOON)], ["1", "10"]]
    box.write("e.csv", "".join(mark.join(row) + "\n" for row in rows))
    more = {"csv": [], "tsv": ["--format", "tsv"], "space": ["--delimiter", "space"]}[form]
    import_table(box, "e.csv", more=more, code=DATA, parts=("e.csv", "Row #3"))


@case("a backslash before quotes", "import", "in the value", "at its end", "at the end of a read", "--escape", "none")
def escaped_quotes(box, form):
    """As Spark and MySQL write them. Without --escape a reader would drop the quotes."""
    values = {"in the value": 'a\\"b', "at its end": 'a\\"', "at the end of a read": 'a\\"b', "--escape": 'a\\"b,\\"', "none": 'a""b\\'}
    # The backslash is the last byte of the first 4 MiB, which is what the reader takes at once.
    fill = (4 << 20) - len("user,item,time\n") - len('1,"a\\') if form == "at the end of a read" else 0
    box.write("e.csv", "user,item,time\n" + "\n" * fill + f'1,"{values[form]}",{NOON}\n1,"c,d",{NOON + 1}\n')
    if form == "none":
        found = import_table(box, "e.csv")
        assert found == {1: [('a"b\\', NOON), ("c,d", NOON + 1)]}, found
    elif form == "--escape":
        found = import_table(box, "e.csv", more=("--escape", "\\"))
        assert found == {1: [('a"b,"', NOON), ("c,d", NOON + 1)]}, found
        import_table(box, "e.csv", more=("--escape", "\\\\"), code=USAGE, parts=("--escape: expected one character",))
    else:
        line = "" if form == "at its end" else f"line {2 + fill}"
        import_table(box, "e.csv", code=DATA, parts=("e.csv", line, "--escape '\\'"))
