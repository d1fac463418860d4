"""Files of `embed` and files for `import --vectors` that were made on purpose: see hostile_hdf5.py."""
import os

import h5py
import numpy as np
from hostile_hdf5 import (IMPORT_KINDS, VECTOR_KINDS, attribute, change, instead, kind, low_level, patch, put, sign,
                          strings_of)

# --- files of `embed` ---------------------------------------------------------------------------

@kind(VECTOR_KINDS, "format", "expected one value")
def vector_format_is_an_array(f):
    attribute(f, "format", np.array(["pinnerformer-vectors"] * 1000, dtype=object), dtype=h5py.string_dtype())


@kind(VECTOR_KINDS, "version", "expected one value")
def vector_version_is_an_array(f):
    attribute(f, "version", np.full(4096, 0x4141414141414141, "int64"))


@kind(VECTOR_KINDS, "model_version", "expected one value")
def model_version_is_an_array(f):
    with h5py.File(f, "r+") as file:
        for group in ("user", "item"):
            file[group].attrs.create("model_version", np.array(["x"] * 1000, dtype=object),
                                     dtype=h5py.string_dtype())


def both(f, name, edit):
    for group in ("/user/", "/item/"):
        edit(f, group + name)


@kind(VECTOR_KINDS, "checksum")
def flipped_bits(f):
    def flip(path, name):
        with h5py.File(path, "r") as file:
            offset = file[name].id.get_offset()
        patch(path, offset + 5, b"\x01\x02")
    both(f, "vector", flip)


@kind(VECTOR_KINDS, "finite")
def vectors_hold_nan(f):
    both(f, "vector", lambda path, name: change(path, name, lambda v: v.__setitem__((slice(None), 0), np.nan)))


@kind(VECTOR_KINDS, "finite")
def vectors_hold_infinity(f):
    both(f, "vector", lambda path, name: change(path, name, lambda v: v.__setitem__((slice(None), 0), np.inf)))


def of_width(f, name, width):
    with h5py.File(f, "r+") as file:
        rows = len(file[name])
        del file[name]
        file[name] = np.zeros((rows, width), "float32")
        sign(file, name)


@kind(VECTOR_KINDS, "numbers, as the model makes")
def vectors_of_another_width(f):
    both(f, "vector", lambda path, name: of_width(path, name, 3))


@kind(VECTOR_KINDS, "no numbers")
def vectors_of_no_width(f):
    both(f, "vector", lambda path, name: of_width(path, name, 0))


@kind(VECTOR_KINDS, "contiguous")
def chunked_vectors(f):
    both(f, "vector", lambda path, name: put(path, name, np.zeros((4, 16), "float32"), chunks=(1, 16)))


@kind(VECTOR_KINDS, "were ever written")
def chunked_vectors_of_a_terabyte(f):
    both(f, "vector", lambda path, name: put(path, name, None, shape=(1 << 34, 16), dtype="float32",
                                             chunks=(1, 16)))


@kind(VECTOR_KINDS, "never written")
def unwritten_vectors(f):
    both(f, "vector", lambda path, name: low_level(path, name, h5py.h5t.IEEE_F32LE, (1 << 34, 16)))


@kind(VECTOR_KINDS, "link to another file")
def vectors_are_a_link(f):
    with h5py.File(f, "r+") as file:
        for group in ("user", "item"):
            del file[group + "/vector"]
            file[group + "/vector"] = h5py.ExternalLink(str(f), "/other")


@kind(VECTOR_KINDS, "blocks, found")
def vector_checksums_too_many(f):
    both(f, "vector", lambda path, name: put(path, "checksum" + name, np.zeros(9, "uint64")))


@kind(VECTOR_KINDS, "ids, as there are vectors")
def more_vectors_than_ids(f):
    both(f, "vector", lambda path, name: put(path, name, np.zeros((7000, 16), "float32")))


@kind(VECTOR_KINDS, "compound")
def vector_ids_are_compound(f):
    both(f, "id", lambda path, name: put(path, name, np.zeros(3, [("a", "i8"), ("b", "S900")])))


@kind(VECTOR_KINDS, "external storage")
def vector_ids_in_external_storage(f):
    both(f, "id", lambda path, name: low_level(path, name, strings_of(8), (2,), external=(b"/etc/passwd", 0, 16)))


@kind(VECTOR_KINDS, "not a regular file")
def vector_file_is_a_pipe(f):
    instead(f, os.mkfifo)


# --- files for import --vectors -----------------------------------------------------------------

def vector_file(f, ids=3, **vector):
    with h5py.File(f, "w") as file:
        file["item_id"] = np.arange(ids)
        file.create_dataset("vector", **vector)


@kind(IMPORT_KINDS, "were ever written")
def a_terabyte_of_unwritten_chunks(f):
    vector_file(f, shape=(1 << 34, 16), dtype="float32", chunks=(1, 16))


@kind(IMPORT_KINDS, "numbers")
def one_vector_of_a_billion_numbers(f):
    vector_file(f, 1, shape=(1, 1 << 30), dtype="float32", chunks=(1, 1 << 12), compression=9)


@kind(IMPORT_KINDS, "compressed")
def compressed_zeros(f):
    vector_file(f, 1 << 16, shape=(1 << 16, 1 << 11), dtype="float32", chunks=(1 << 12, 1 << 11), compression=9)
    with h5py.File(f, "r+") as file:
        for first in range(0, 1 << 16, 1 << 12):
            file["vector"][first:first + (1 << 12)] = 0


@kind(IMPORT_KINDS, "numbers")
def vectors_without_numbers_to_import(f):
    vector_file(f, shape=(3, 0), dtype="float32")


@kind(IMPORT_KINDS, "compound")
def compound_vectors(f):
    vector_file(f, data=np.zeros((3, 4), [("a", "f4"), ("b", "f4")]))


@kind(IMPORT_KINDS, "external storage")
def external_vectors(f):
    vector_file(f, data=np.zeros((3, 4), "f4"))
    low_level(f, "vector", h5py.h5t.IEEE_F32LE, (3, 4), external=(b"/etc/passwd", 0, 48))


@kind(IMPORT_KINDS, "link to another name")
def linked_ids(f):
    vector_file(f, data=np.zeros((3, 4), "f4"))
    with h5py.File(f, "r+") as file:
        file.move("item_id", "real")
        file["item_id"] = h5py.SoftLink("/real")


@kind(IMPORT_KINDS, "finite", "number")
def infinite_vectors(f):
    vector_file(f, data=np.full((3, 4), np.inf, "f4"))
