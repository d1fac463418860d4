"""Datasets that were made on purpose: see hostile_hdf5.py."""
import os
from pathlib import Path

import h5py
import numpy as np
from hostile_hdf5 import (DATASET_KINDS, ITEMS, SECRET, USERS, attribute, change, instead, kind, low_level, patch, put,
                          strings_of, text_type)

# --- attributes ---------------------------------------------------------------------------------

@kind(DATASET_KINDS, "version", "expected one value")
def attribute_is_an_array(d):
    attribute(d / ITEMS, "version", np.full(4096, 0x4141414141414141, "int64"))


@kind(DATASET_KINDS, "version", "expected one value")
def attribute_of_a_users_file_is_an_array(d):
    attribute(d / USERS, "version", np.full(4096, 0x4141414141414141, "int64"))


@kind(DATASET_KINDS, "format", "expected one value")
def text_attribute_is_an_array(d):
    attribute(d / ITEMS, "format", np.array(["x" * 40] * 1000, dtype=object), dtype=h5py.string_dtype())


@kind(DATASET_KINDS, "fingerprint", "expected one value")
def attribute_is_empty(d):
    attribute(d / ITEMS, "fingerprint", h5py.Empty("S10"))


@kind(DATASET_KINDS, "version", "expected an integer", "string")
def number_is_a_text(d):
    attribute(d / ITEMS, "version", "1")


@kind(DATASET_KINDS, "fingerprint", "variable-length string")
def text_is_a_number(d):
    attribute(d / USERS, "fingerprint", 17)


@kind(DATASET_KINDS, "format", "variable-length string")
def text_has_a_fixed_length(d):
    attribute(d / ITEMS, "format", np.bytes_("pinnerformer-dataset"))


@kind(DATASET_KINDS, "version", "expected an integer")
def integer_of_64_bytes(d):
    wide = h5py.h5t.STD_I64LE.copy()
    wide.set_size(64)
    wide.set_precision(512)
    with h5py.File(d / ITEMS, "r+") as file:
        del file.attrs["version"]
        h5py.h5a.create(file.id, b"version", wide, h5py.h5s.create(h5py.h5s.SCALAR))


@kind(DATASET_KINDS, "version", "expected an integer")
def integer_is_a_compound(d):
    attribute(d / ITEMS, "version", np.zeros((), [("a", "i8"), ("b", "S900")]))


@kind(DATASET_KINDS, "first_time", "9999")
def time_attribute_overflows(d):
    attribute(d / ITEMS, "last_time", np.int64(2**63 - 1))
    attribute(d / ITEMS, "first_time", np.int64(-2**63))


@kind(DATASET_KINDS, "fingerprint", "is missing")
def attribute_is_missing(d):
    with h5py.File(d / USERS, "r+") as file:
        del file.attrs["fingerprint"]


# --- links and other files ----------------------------------------------------------------------

def other_file(d):
    with h5py.File(d.parent / "other.h5", "w") as file:
        file["names"] = [SECRET]
    return str(d.parent / "other.h5")


@kind(DATASET_KINDS, "link to another file")
def external_link(d):
    with h5py.File(d / ITEMS, "r+") as file:
        del file["vocabulary/action"]
        file["vocabulary/action"] = h5py.ExternalLink(other_file(d), "/names")


@kind(DATASET_KINDS, "link to another file")
def group_is_an_external_link(d):
    with h5py.File(d / USERS, "r+") as file:
        del file["user"]
        file["user"] = h5py.ExternalLink(other_file(d), "/")


@kind(DATASET_KINDS, "link to another name")
def soft_link(d):
    with h5py.File(d / ITEMS, "r+") as file:
        del file["vocabulary/surface"]
        file["vocabulary/surface"] = h5py.SoftLink("/vocabulary/action")


@kind(DATASET_KINDS, "link to another name")
def soft_link_to_itself(d):
    with h5py.File(d / ITEMS, "r+") as file:
        del file["item/id"]
        file["item/id"] = h5py.SoftLink("/item/id")


def secret_file(d):
    path = d.parent / "secret.txt"
    path.write_text(SECRET + "\n" * 64)
    return os.fsencode(path)


@kind(DATASET_KINDS, "external storage")
def names_in_external_storage(d):
    low_level(d / ITEMS, "vocabulary/action", strings_of(32), (2,), external=(secret_file(d), 0, 64))


@kind(DATASET_KINDS, "external storage")
def titles_of_the_password_file(d):
    with h5py.File(d / ITEMS, "r") as file:
        count = len(file["item/id"])
    low_level(d / ITEMS, "item/title", strings_of(8), (count,), external=(b"/etc/passwd", 0, 8 * count))


@kind(DATASET_KINDS, "external storage")
def numbers_in_external_storage(d):
    with h5py.File(d / USERS, "r") as file:
        count = len(file["event/time"])
    low_level(d / USERS, "event/time", h5py.h5t.STD_I64LE, (count,),
              external=(secret_file(d), 0, 8 * count))


@kind(DATASET_KINDS, "virtual dataset")
def virtual_dataset(d):
    layout = h5py.VirtualLayout((1,), h5py.string_dtype())
    layout[:] = h5py.VirtualSource(other_file(d), "names", (1,), dtype=h5py.string_dtype())
    with h5py.File(d / ITEMS, "r+") as file:
        del file["vocabulary/action"]
        file.create_virtual_dataset("vocabulary/action", layout)


# --- claims without content ---------------------------------------------------------------------

@kind(DATASET_KINDS, "never written")
def unwritten_strings_of_a_megabyte(d):
    low_level(d / ITEMS, "item/title", strings_of(1 << 20), (65536,))


@kind(DATASET_KINDS, "strings of at most")
def strings_of_two_gigabytes(d):
    low_level(d / ITEMS, "item/id", strings_of((1 << 31) - 1), (4,))


@kind(DATASET_KINDS, "never written")
def a_trillion_unwritten_strings(d):
    low_level(d / ITEMS, "vocabulary/action", text_type(), (1 << 40,))


@kind(DATASET_KINDS, "more bytes than a file can have")
def shape_overflows(d):
    put(d / USERS, "user/id", None, shape=(1 << 50,), dtype="S1000000", chunks=(1,))


@kind(DATASET_KINDS, "never written")
def unwritten_numbers(d):
    low_level(d / ITEMS, "part/users", h5py.h5t.STD_I64LE, (1 << 40,))


@kind(DATASET_KINDS, "were ever written")
def chunked_strings_mostly_unwritten(d):
    with h5py.File(d / ITEMS, "r+") as file:
        del file["item/title"]
        made = file.create_dataset("item/title", (1 << 24,), "S1000", chunks=(16,))
        made[:16] = b"x"


@kind(DATASET_KINDS, "compressed")
def compressed_strings_that_are_nothing_but_zeros(d):
    with h5py.File(d / ITEMS, "r+") as file:
        del file["item/title"]
        made = file.create_dataset("item/title", (1 << 18,), "S1000", chunks=(1 << 14,), compression=9)
        for first in range(0, 1 << 18, 1 << 14):
            made[first:first + (1 << 14)] = np.zeros(1 << 14, "S1000")


@kind(DATASET_KINDS, "chunks of at most")
def chunk_of_two_gigabytes(d):
    with h5py.File(d / ITEMS, "r+") as file:
        del file["item/title"]
        file.create_dataset("item/title", (1 << 21,), "S1000", chunks=(1 << 21,), compression=1)


@kind(DATASET_KINDS, "the same content many times")
def one_string_named_again_and_again(d):
    """65,536 titles that are one megabyte of the file."""
    titles = np.array(["x" * (1 << 20)] + [""] * 65535, dtype=object)
    offset = put(d / ITEMS, "item/title", titles, dtype=h5py.string_dtype())
    with open(d / ITEMS, "rb") as file:
        file.seek(offset)
        reference = file.read(16)
    patch(d / ITEMS, offset, reference * 65536)


@kind(DATASET_KINDS, "without holes")
def sparse_file(d):
    os.truncate(d / ITEMS, 10 << 40)


@kind(DATASET_KINDS)
def sparse_file_full_of_claims(d):
    """A file of ten terabytes that are a hole, and a dataset that lies in it."""
    with h5py.File(d / USERS, "r+") as file:
        del file["event/time"]
        create = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        create.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
        create.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
        h5py.h5d.create(file.id, b"event/time", h5py.h5t.STD_I64LE, h5py.h5s.create_simple((1 << 40,)), create)


# --- shapes and types ---------------------------------------------------------------------------

@kind(DATASET_KINDS, "dimensions")
def scalar_dataset(d):
    low_level(d / USERS, "event/item", h5py.h5t.STD_I32LE, h5py.h5s.SCALAR)


@kind(DATASET_KINDS, "dimensions")
def null_dataset(d):
    low_level(d / ITEMS, "item/id", text_type(), h5py.h5s.NULL)


@kind(DATASET_KINDS, "one dimension")
def names_are_a_matrix(d):
    put(d / ITEMS, "vocabulary/action", np.array([["a", "b"]], dtype=object), dtype=h5py.string_dtype())


@kind(DATASET_KINDS, "dimensions")
def thirty_two_dimensions(d):
    low_level(d / USERS, "event/time", h5py.h5t.STD_I64LE, (1,) * 32)


@kind(DATASET_KINDS, "compound")
def ids_are_compound(d):
    put(d / ITEMS, "item/id", np.zeros(3, [("a", "i8"), ("b", "S900")]))


@kind(DATASET_KINDS, "references")
def ids_are_references(d):
    low_level(d / ITEMS, "item/id", h5py.h5t.STD_REF_OBJ, (3,))


@kind(DATASET_KINDS, "lists of variable length")
def ids_are_lists(d):
    put(d / USERS, "user/id", None, shape=(3,), dtype=h5py.vlen_dtype("int64"))


@kind(DATASET_KINDS, "array type")
def actions_are_arrays(d):
    put(d / USERS, "event/action", None, shape=(3,), dtype=np.dtype(("i2", (1000,))))


@kind(DATASET_KINDS, "enumeration")
def actions_are_booleans(d):
    put(d / USERS, "event/action", np.zeros(3, bool))


@kind(DATASET_KINDS, "expected")
def integers_of_24_bits(d):
    odd = h5py.h5t.STD_I32LE.copy()
    odd.set_precision(24)
    odd.set_offset(4)
    low_level(d / USERS, "event/item", odd, (3,))


@kind(DATASET_KINDS, "int64", "another type")
def big_endian_numbers(d):
    put(d / USERS, "event/time", np.zeros(3, ">i8"))


@kind(DATASET_KINDS, "contiguous")
def chunked_numbers(d):
    with h5py.File(d / USERS, "r") as file:
        values = file["event/time"][...]
    put(d / USERS, "event/time", values, chunks=(2,))


@kind(DATASET_KINDS, "contiguous")
def compressed_numbers(d):
    put(d / USERS, "event/item", np.zeros(4096, "i4"), chunks=(4096,), compression=9)


@kind(DATASET_KINDS, "expected a dataset")
def group_in_place_of_a_dataset(d):
    with h5py.File(d / ITEMS, "r+") as file:
        del file["item/id"]
        file.create_group("item/id")


@kind(DATASET_KINDS)
def dataset_in_place_of_a_group(d):
    with h5py.File(d / ITEMS, "r+") as file:
        del file["vocabulary"]
        file["vocabulary"] = np.arange(4)


@kind(DATASET_KINDS, "expected a dataset")
def type_in_place_of_a_dataset(d):
    with h5py.File(d / USERS, "r+") as file:
        del file["event/surface"]
        file["event/surface"] = np.dtype("i2")


# --- values -------------------------------------------------------------------------------------

@kind(DATASET_KINDS, "/item/vector", "1 to 65536")
def vectors_without_numbers(d):
    with h5py.File(d / ITEMS, "r") as file:
        count = len(file["item/id"])
    low_level(d / ITEMS, "item/vector", h5py.h5t.IEEE_F32LE, (count, 0))


@kind(DATASET_KINDS, "/event/time", "9999", "fingerprint")
def times_at_the_end_of_int64(d):
    change(d / USERS, "/event/time", lambda times: times.__setitem__(slice(None), 2**63 - 1))


@kind(DATASET_KINDS, "no such item", "fingerprint")
def item_beyond_the_table(d):
    change(d / USERS, "/event/item", lambda items: items.__setitem__(slice(None), 2**31 - 1))


@kind(DATASET_KINDS, "no such action", "fingerprint")
def negative_action(d):
    change(d / USERS, "/event/action", lambda actions: actions.__setitem__(slice(None), -1))


@kind(DATASET_KINDS, "ascending numbers")
def offsets_run_back(d):
    change(d / USERS, "/user/offset", lambda offsets: offsets.__setitem__(1, 2**62))


@kind(DATASET_KINDS, "/user/offset")
def negative_offsets(d):
    change(d / USERS, "/user/offset", lambda offsets: offsets.__setitem__(0, -2**63))


@kind(DATASET_KINDS, "does not belong")
def negative_numbers_of_users(d):
    with h5py.File(d / ITEMS, "r+") as file:
        file["part/users"][...] = -1


@kind(DATASET_KINDS, "/part")
def no_parts(d):
    for name in ("users", "events", "fingerprint"):
        put(d / ITEMS, f"part/{name}", np.zeros(0, "uint64" if name == "fingerprint" else "int64"))


@kind(DATASET_KINDS, "users files")
def a_million_parts(d):
    for name in ("users", "events", "fingerprint"):
        put(d / ITEMS, f"part/{name}", np.ones(1 << 20, "uint64" if name == "fingerprint" else "int64"))


@kind(DATASET_KINDS, "blocks, found")
def checksums_too_many(d):
    put(d / USERS, "checksum/event/time", np.zeros(100, "uint64"))


@kind(DATASET_KINDS, "UTF-8", "\\xff")
def names_are_no_utf8(d):
    put(d / ITEMS, "vocabulary/action", np.array([b"\xff\xfe", b"b"]))


@kind(DATASET_KINDS, "ascending order")
def names_change_places(d):
    """Positives would be another action."""
    with h5py.File(d / ITEMS, "r") as file:
        names = file["vocabulary/action"][...]
    put(d / ITEMS, "vocabulary/action", names[::-1].copy(), dtype=h5py.string_dtype())


# --- the file itself ----------------------------------------------------------------------------

@kind(DATASET_KINDS, "not a regular file")
def items_file_is_a_pipe(d):
    instead(d / ITEMS, os.mkfifo)


@kind(DATASET_KINDS, "not a regular file")
def users_file_is_a_pipe(d):
    instead(d / USERS, os.mkfifo)


@kind(DATASET_KINDS, "not a regular file")
def items_file_is_endless(d):
    instead(d / ITEMS, lambda path: path.symlink_to("/dev/zero"))


@kind(DATASET_KINDS, "not a regular file")
def users_file_is_a_directory(d):
    instead(d / USERS, Path.mkdir)


@kind(DATASET_KINDS, "expected an HDF5 file")
def file_is_empty(d):
    instead(d / USERS, Path.touch)


@kind(DATASET_KINDS)
def file_is_cut_short(d):
    os.truncate(d / ITEMS, os.path.getsize(d / ITEMS) // 2)


@kind(DATASET_KINDS, "expected an HDF5 file")
def superblock_and_nothing_else(d):
    (d / ITEMS).write_bytes(b"\x89HDF\r\n\x1a\n" + b"\xff" * 4096)
