"""The same small table in every format, and what came of it."""
import bz2
import gzip
import json
from pathlib import Path

import h5py
import pyarrow
import pyarrow.parquet

TEXT = ("csv", "tsv", "jsonl")
ALL = (*TEXT, "parquet")
COLUMNS = "user=user,item=item,time=time"
DAY = 86_400
NOON = 1_700_000_000  # 2023-11-14T22:13:20Z

GOOD = {"user": [1, 2], "item": [10, 11], "time": [NOON, NOON + 1]}
RIGHT = {1: [(10, NOON)], 2: [(11, NOON + 1)]}  # its timelines


def table(**changed):
    """GOOD with other or further columns."""
    return {**GOOD, **changed}


def encode(value):
    return value if isinstance(value, bytes) else str(value).encode()


def text_table(columns, separator):
    rows = [list(columns), *zip(*columns.values())]
    return b"".join(separator.join(map(encode, row)) + b"\n" for row in rows)


def json_value(value):
    if isinstance(value, bytes):
        return b'"' + value.replace(b"\0", b"\\u0000") + b'"'
    return json.dumps(value).encode()


def json_table(columns):
    rows = zip(*columns.values())
    return b"".join(b"{" + b",".join(json_value(name) + b":" + json_value(value)
                                     for name, value in zip(columns, row)) + b"}\n" for row in rows)


def write_table(box, form, columns, name="e"):
    """`columns` are lists of text, numbers or bytes by name; bytes are written as they are."""
    if form == "parquet":
        path = box.directory / f"{name}.parquet"
        pyarrow.parquet.write_table(pyarrow.table(columns), path)
        return path
    content = json_table(columns) if form == "jsonl" else text_table(columns, {"csv": b",", "tsv": b"\t"}[form])
    return box.write(f"{name}.{form}", content)


COMPRESSORS = {"gzip": gzip.compress, "bzip2": bz2.compress,
               "zstd": lambda data: pyarrow.compress(data, codec="zstd", asbytes=True),
               "brotli": lambda data: pyarrow.compress(data, codec="brotli", asbytes=True)}


def lz4_frame(data):
    sink = pyarrow.BufferOutputStream()
    with pyarrow.CompressedOutputStream(sink, "lz4") as stream:
        stream.write(data)
    return sink.getvalue().to_pybytes()


COMPRESSORS["lz4"] = lz4_frame


def plain(values):
    return [value.decode() if isinstance(value, bytes) else int(value) for value in values]


def item_ids(dataset):
    with h5py.File(Path(dataset) / "items.h5") as file:
        return plain(file["item/id"][:])


def timelines(dataset):
    """{user: [(item, time), ...]} of a dataset."""
    items, found = item_ids(dataset), {}
    for path in sorted(Path(dataset).glob("users-*.h5")):
        with h5py.File(path) as file:
            offset = file["user/offset"][:]
            rows = list(zip([items[row] for row in file["event/item"][:]], file["event/time"][:].tolist()))
            for place, user in enumerate(plain(file["user/id"][:])):
                found[user] = rows[offset[place]:offset[place + 1]]
    return found


def import_table(box, *files, columns=COLUMNS, out="out", more=(), **run):
    """Imports and returns the timelines, or the finished process where it is refused."""
    done = box.run("import", "--events", *files, "--columns", columns, "--out", out, *more, **run)
    return done if run.get("code") else timelines(box.directory / out)
