"""How HDF5 files are made that somebody could make on purpose. The kinds are in hostile_*_kinds.py.

A function of DATASET_KINDS changes a copy of a good dataset directory, one of VECTOR_KINDS a copy of a file of
`embed`, one of IMPORT_KINDS writes a file for `import --vectors`. Beside it stand words, one of which is in the
message. Checksums are made right again where the change would otherwise be found by them.
"""
import ctypes
import os

import h5py
import numpy as np

XXHASH = ctypes.CDLL("libxxhash.so.0")
XXHASH.XXH3_64bits.restype = ctypes.c_uint64
XXHASH.XXH3_64bits.argtypes = [ctypes.c_char_p, ctypes.c_size_t]
BLOCK = 4 << 20

ITEMS, USERS = "items.h5", "users-00000-of-00001.h5"
SECRET = "content of a private file"  # no command may ever show it

DATASET_KINDS, VECTOR_KINDS, IMPORT_KINDS = [], [], []  # (name, function, words of the message)


def kind(table, *words):
    def register(function):
        table.append((function.__name__.replace("_", " "), function, words))
        return function
    return register


def checksums(content):
    return np.array([XXHASH.XXH3_64bits(content[i:i + BLOCK], len(content[i:i + BLOCK]))
                     for i in range(0, len(content), BLOCK)], "uint64")


def sign(file, name):
    """Gives a dataset the checksum of its content."""
    del file["checksum" + name]
    file["checksum" + name] = checksums(file[name][...].tobytes())


def put(path, name, values, **options):
    """Replaces a dataset. `values` may be None: then `options` say what is created."""
    with h5py.File(path, "r+") as file:
        del file[name]
        return file.create_dataset(name, data=values, **options).id.get_offset()


def change(path, name, edit):
    """Edits the values of a numeric dataset where they lie, with the right checksum."""
    with h5py.File(path, "r+") as file:
        values = file[name][...]
        edit(values)
        file[name][...] = values
        sign(file, name)


def attribute(path, name, value, **options):
    with h5py.File(path, "r+") as file:
        file.attrs.create(name, value, **options)


def patch(path, offset, content):
    with open(path, "r+b") as file:
        file.seek(offset)
        file.write(content)


def low_level(path, name, type_id, shape, layout=None, external=None):
    """A dataset by HDF5's own interface: never written, of any type."""
    with h5py.File(path, "r+") as file:
        if name in file:
            del file[name]
        create = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        if layout is not None:
            create.set_layout(layout)
        if external is not None:
            create.set_external(*external)
        links = h5py.h5p.create(h5py.h5p.LINK_CREATE)
        links.set_create_intermediate_group(True)
        space = h5py.h5s.create_simple(shape) if isinstance(shape, tuple) else h5py.h5s.create(shape)
        h5py.h5d.create(file.id, name.encode(), type_id, space, create, links)


def strings_of(width):
    type_id = h5py.h5t.C_S1.copy()
    type_id.set_size(width)
    return type_id


def text_type():
    return h5py.h5t.py_create(h5py.string_dtype(), logical=True)


def instead(path, make):
    path.unlink()
    make(path)


ENDS = (0, 1, 2**31, 2**63, 2**64 - 1)


def damage(path, seed):
    """Changes a few bytes, or eight at once to a number at an end of its range: lengths and addresses too."""
    random = np.random.default_rng(seed)
    content = bytearray(path.read_bytes())
    for _ in range(random.integers(1, 6)):
        at = int(random.integers(0, len(content) - 8))
        content[at] = int(random.integers(0, 256))
        if random.random() < 0.3:
            at &= ~7
            content[at:at + 8] = ENDS[random.integers(len(ENDS))].to_bytes(8, "little")
    path.write_bytes(content)
