"""Opening files that may be missing, damaged or of another kind."""
from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from .errors import DataError

MOST_JSON_BYTES = 256 << 20


def open_hdf5(path: str | os.PathLike, form: str, version: int) -> h5py.File:
    """The file, whose attributes must name this format and version."""
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path}: expected a {form} file, found none")
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise DataError(f"{path}: expected HDF5, found something else or a damaged file ({error})") from error
    try:
        found = file.attrs.get("format"), file.attrs.get("version")
        if isinstance(found[0], bytes):
            found = found[0].decode("utf-8", "replace"), found[1]
        if found[0] != form or found[1] != version:
            raise DataError(f"{path}: expected format {form}, version {version}; found {found[0]}, {found[1]}")
    except BaseException:
        file.close()
        raise
    return file


def member(file: h5py.File, name: str, kinds: str, dimensions: int) -> h5py.Dataset:
    """A dataset whose numbers are of one of these NumPy kinds ("O": strings)."""
    found = file.get(name)
    if not isinstance(found, h5py.Dataset):
        raise DataError(f"{file.filename}: expected a dataset {name}, found none")
    if found.dtype.kind not in kinds or found.ndim != dimensions:
        raise DataError(f"{file.filename}: {name}: expected {dimensions} dimensions of kind {kinds}, "
                        f"found {found.dtype} {found.shape}")
    return found


def attribute(holder: Any, name: str, path: str) -> str:
    """A text attribute of an HDF5 file or group."""
    value = holder.attrs.get(name)
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if not isinstance(value, str):
        raise DataError(f"{path}: expected a text attribute {name}, found {value!r}")
    return value


def values(dataset: h5py.Dataset, first: int = 0, end: int | None = None) -> np.ndarray:
    """Rows [first, end): numbers as they are, strings as an array of str."""
    try:
        return (dataset.asstr()[first:end] if dataset.dtype.kind == "O" else dataset[first:end])
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{dataset.file.filename}: {dataset.name} cannot be read ({error})") from error


def read_json(path: str | os.PathLike, form: str | None = None, version: int | None = None) -> dict[str, Any]:
    """An object, of this "format" and "version" where they are given."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: expected {form or 'JSON'}, found no file")
    if path.stat().st_size > MOST_JSON_BYTES:
        raise DataError(f"{path}: expected at most {MOST_JSON_BYTES} bytes, found {path.stat().st_size}")
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: expected JSON, found something else ({error})") from error
    if not isinstance(found, dict):
        raise DataError(f"{path}: expected an object, found {type(found).__name__}")
    if form is not None and (found.get("format") != form or found.get("version") != version):
        raise DataError(f"{path}: expected format {form}, version {version}; "
                        f"found {found.get('format')}, {found.get('version')}")
    return found


def entry(holder: dict[str, Any], name: str, kind: type, path: object) -> Any:
    """holder[name], which must be of this type; True and False are no numbers."""
    if not isinstance(holder, dict):
        raise DataError(f"{path}: expected an object, found {holder!r:.80}")
    found = holder.get(name)
    if not isinstance(found, kind) or isinstance(found, bool) and kind is not bool:
        raise DataError(f"{path}: {name}: expected {kind.__name__}, found {found!r}")
    return found
