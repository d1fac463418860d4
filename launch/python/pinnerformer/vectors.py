"""Vector files of `pinnerformer embed`, and exact search for the nearest vectors."""
from __future__ import annotations

import os
from functools import cached_property
from typing import Any, Iterable, NamedTuple, Sequence

import h5py
import numpy as np

from .errors import DataError, InputError, VersionError
from .files import attribute, member, open_hdf5, values

FORMAT, FORMAT_VERSION = "pinnerformer-vectors", 2
ROWS_AT_ONCE = 1 << 16
Id = int | str


class Version(NamedTuple):
    """Vectors may be compared only where both parts are equal."""
    model: str
    content: str


class Neighbour(NamedTuple):
    id: Id
    score: float  # dot product, the model's score


def require_same_version(*holders: Any) -> None:
    """Throws VersionError unless all of them (vectors, exports, indexes) have one version."""
    for holder in holders[1:]:
        if holder.version != holders[0].version:
            raise VersionError(
                f"{holder.path} has model version {holder.version.model} and content version "
                f"{holder.version.content}; expected {holders[0].version.model} and "
                f"{holders[0].version.content} as {holders[0].path} has. Vectors of different models "
                "must not be compared: make them with one checkpoint")


class Ids:
    """External ids by row, and rows by id. A text such as "17" finds the integer 17."""

    def __init__(self, ids: np.ndarray):
        self.array = ids
        self.integers = ids.dtype.kind in "iu"

    @cached_property
    def _rows(self) -> dict[Id, int]:
        return {id: row for row, id in enumerate(self.array.tolist())}

    def find(self, id: object) -> int | None:
        if self.integers and isinstance(id, str):
            # Other spellings, as "007", are other ids.
            number = int(id) if id.lstrip("-").isdecimal() and len(id) <= 20 and id.isascii() else None
            id = number if number is not None and str(number) == id else None
        elif isinstance(id, np.generic):
            id = id.item()
        if isinstance(id, bool) or not isinstance(id, int if self.integers else str):
            return None
        return self._rows.get(id)

    def __getitem__(self, row: int) -> Id:
        value = self.array[row]
        return value.item() if isinstance(value, np.generic) else value

    def __len__(self) -> int:
        return len(self.array)


class VectorSet:
    """Vectors [n, D] by external id. `vectors` is float32, finite."""

    def __init__(self, path: str, ids: np.ndarray, vectors: np.ndarray, version: Version):
        if len(ids) != len(vectors):
            raise DataError(f"{path}: expected a vector for each of {len(ids)} ids, found {len(vectors)}")
        bad = next((first for first in range(0, len(vectors), ROWS_AT_ONCE)
                    if not np.isfinite(vectors[first:first + ROWS_AT_ONCE]).all()), None)
        if bad is not None:
            raise DataError(f"{path}: expected finite vectors, found NaN or infinity at or after row {bad}")
        self.path, self.version, self.vectors = path, version, vectors
        self.lookup = Ids(ids)

    @property
    def ids(self) -> np.ndarray:
        """[n], int64 or str, in the order of `vectors`."""
        return self.lookup.array

    @property
    def dimensions(self) -> int:
        return self.vectors.shape[1]

    def __len__(self) -> int:
        return len(self.vectors)

    def __contains__(self, id: object) -> bool:
        return self.lookup.find(id) is not None

    def __getitem__(self, id: Id) -> np.ndarray:
        """The vector of an id, [D]. Throws KeyError."""
        row = self.lookup.find(id)
        if row is None:
            raise KeyError(f"{self.path}: no vector of id {id!r}")
        return self.vectors[row]

    def nearest(self, vector: np.ndarray, k: int = 10, leave_out: Iterable[Id] = ()) -> list[Neighbour]:
        """The k ids of the largest dot product with `vector`, [D], best first; equal ones in the order of rows.

        Of several vectors, [K, D] or [K * D], the largest product counts. Exact: every vector is compared. Fewer than k
        where the set has fewer.
        """
        scores = (self.vectors @ query_vectors(vector, self.dimensions, self.path).T).max(axis=1)
        hidden = [row for row in map(self.lookup.find, leave_out) if row is not None]
        scores[hidden] = -np.inf
        k = min(checked_count(k), len(scores) - len(set(hidden)))
        if k <= 0:
            return []
        least = np.partition(scores, len(scores) - k)[len(scores) - k]
        rows = np.flatnonzero(scores >= least)
        best = rows[np.lexsort((rows, -scores[rows]))][:k].tolist()
        return [Neighbour(self.lookup[row], float(scores[row])) for row in best]

    def nearest_to(self, id: Id, k: int = 10) -> list[Neighbour]:
        """The nearest others of an id of this set."""
        return self.nearest(self[id], k, leave_out=[id])


def query_vectors(vector: np.ndarray, dimensions: int, path: object) -> np.ndarray:
    """Finite float32 vectors [K, D] of this width, given as [D], [K, D] or one after the other; or InputError."""
    try:
        query = np.asarray(vector, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise InputError(f"expected a vector of {dimensions} numbers, found {vector!r:.80}") from error
    one_after_the_other = query.ndim == 1 and query.size % dimensions == 0
    if query.size == 0 or not (one_after_the_other or query.ndim == 2 and query.shape[1] == dimensions) \
            or not np.isfinite(query).all():
        raise InputError(f"expected a vector of {dimensions} finite numbers as {path} has, found shape {query.shape}")
    return query.reshape(-1, dimensions)


def checked_count(k: int) -> int:
    if isinstance(k, bool) or not isinstance(k, (int, np.integer)) or k < 1:
        raise InputError(f"expected a number of neighbours of 1 or more, found {k!r}")
    return int(k)


def read_set(file: h5py.File, name: str) -> VectorSet:
    """/user or /item of a vector file, read into memory."""
    path = file.filename
    if not isinstance(file.get(name), h5py.Group):
        raise DataError(f"{path}: expected a group /{name}, found none")
    version = Version(*(attribute(file[name], key, f"{path}: /{name}")
                        for key in ("model_version", "content_version")))
    ids = values(member(file, f"{name}/id", "iO", 1))
    return VectorSet(path, ids, values(member(file, f"{name}/vector", "f", 2)).astype(np.float32, copy=False), version)


class Vectors:
    """A file of `pinnerformer embed`. Throws DataError where it is none, VersionError where its sets differ.

        vectors = Vectors("vectors.h5")
        vectors.items.ids, vectors.items.vectors      # [I], [I, D]
        vectors.nearest(vectors.users["u17"], 10)
    """

    def __init__(self, path: str | os.PathLike):
        self.path = os.fspath(path)
        with open_hdf5(path, FORMAT, FORMAT_VERSION) as file:
            self._has = {name for name in ("user", "item") if name in file}
            if not self._has:
                raise DataError(f"{path}: expected /user or /item, found neither")
            self.version = Version(*(attribute(file[sorted(self._has)[0]], key, self.path)
                                     for key in ("model_version", "content_version")))
            sets = {name: read_set(file, name) for name in self._has}
            self.step = int(file.attrs.get("step", -1))
        require_same_version(*sets.values())
        self._sets = sets

    def _set(self, name: str, option: str) -> VectorSet:
        if name not in self._sets:
            raise DataError(f"{self.path}: expected /{name}, found only /{sorted(self._has)[0]}; "
                            f"run `pinnerformer embed` without --{option}")
        return self._sets[name]

    @property
    def items(self) -> VectorSet:
        return self._set("item", "users")

    @property
    def users(self) -> VectorSet:
        return self._set("user", "items")

    def nearest(self, vector: np.ndarray, k: int = 10, leave_out: Sequence[Id] = ()) -> list[Neighbour]:
        """The k nearest items of a user's vector, [D], best first."""
        return self.items.nearest(vector, k, leave_out)
