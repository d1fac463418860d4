"""The dataset directory of `pinnerformer import`. Timelines are read when they are asked for."""
from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Iterator

import h5py
import numpy as np

from .errors import DataError
from .files import attribute, member, open_hdf5, values
from .vectors import Id, Ids

FORMAT, FORMAT_VERSION = "pinnerformer-dataset", 1
USERS_AT_ONCE = 1024
COLUMNS = {"item": "i", "action": "i", "surface": "i", "time": "i", "duration": "f"}


@dataclass(frozen=True, eq=False)
class Timeline:
    """The events of a user, oldest first; every array is [n]."""
    user: Id
    item: np.ndarray      # int32, rows of Dataset.items
    action: np.ndarray    # int16, index into Dataset.actions
    surface: np.ndarray   # int16, index into Dataset.surfaces
    time: np.ndarray      # int64, seconds since 1970, UTC
    duration: np.ndarray  # float32, seconds; NaN is unknown
    dataset: "Dataset"

    def __len__(self) -> int:
        return len(self.item)

    def events(self) -> list[dict[str, Any]]:
        """The events with names and ids, as Export.user_vectors() takes them."""
        names = self.dataset
        return [{"item": names.items[item], "action": names.actions[action], "surface": names.surfaces[surface],
                 "time": time, "duration": None if np.isnan(duration) else float(duration)}
                for item, action, surface, time, duration in zip(
                    self.item.tolist(), self.action.tolist(), self.surface.tolist(), self.time.tolist(),
                    self.duration)]


class _Part:
    """One users file, open."""

    def __init__(self, file: h5py.File, users: int, events: int, fingerprint: int):
        found = attribute(file, "fingerprint", file.filename)
        if found != f"{fingerprint:016x}":
            raise DataError(f"{file.filename}: expected fingerprint {fingerprint:016x} as items.h5 says, found "
                            f"{found}: it belongs to another dataset. Copy the whole directory again")
        self.ids = member(file, "user/id", "iO", 1)
        self.offset = values(member(file, "user/offset", "i", 1))
        self.columns = {name: member(file, f"event/{name}", kind, 1) for name, kind in COLUMNS.items()}
        lengths = {len(column) for column in self.columns.values()}
        if (len(self.ids), len(self.offset), lengths) != (users, users + 1, {events}):
            raise DataError(f"{file.filename}: expected {users} users and {events} events, found "
                            f"{len(self.ids)} and {sorted(lengths)}")
        if self.offset[0] != 0 or self.offset[-1] != events or (np.diff(self.offset) < 0).any():
            raise DataError(f"{file.filename}: /user/offset: expected ascending offsets from 0 to {events}")


class Dataset:
    """Items and vocabularies are read at once, content vectors and timelines on demand.

        for timeline in Dataset("build/quickstart/dataset"):
            print(timeline.user, len(timeline))

    Not for several threads at once: h5py is not. Users come in the order of the dataset, which is a shuffle.
    """

    def __init__(self, path: str | os.PathLike):
        self.path = os.fspath(path)
        self._items_file = open_hdf5(Path(path) / "items.h5", FORMAT, FORMAT_VERSION)
        file = self._items_file
        self.items = Ids(values(member(file, "item/id", "iO", 1)))  # external id by row
        self.actions, self.surfaces, self.topics = (self._strings(f"vocabulary/{name}")
                                                    for name in ("action", "surface", "topic"))
        self.first_time, self.last_time = (int(file.attrs.get(name, 0)) for name in ("first_time", "last_time"))
        self._part_users, self._part_events, self._part_fingerprint = (
            values(member(file, f"part/{name}", "iu", 1)) for name in ("users", "events", "fingerprint"))
        if not len(self._part_users) == len(self._part_events) == len(self._part_fingerprint):
            raise DataError(f"{file.filename}: /part: expected lists of one length")
        self._parts: dict[int, _Part] = {}

    def _strings(self, name: str) -> list[str]:
        return values(member(self._items_file, name, "O", 1)).tolist() if name in self._items_file else []

    @property
    def users(self) -> int:
        return int(self._part_users.sum())

    @property
    def events(self) -> int:
        return int(self._part_events.sum())

    @property
    def content(self) -> h5py.Dataset | None:
        """Content vectors [I, C], float16 or float32, read by slicing; None without."""
        return self._items_file["item/vector"] if "item/vector" in self._items_file else None

    @cached_property
    def titles(self) -> list[str]:
        """[I], "" is unknown; empty where the dataset has none."""
        return self._strings("item/title")

    @cached_property
    def item_topics(self) -> np.ndarray | None:
        """[I], int32 index into `topics`, -1 is unknown; None without."""
        file = self._items_file
        return values(member(file, "item/topic", "i", 1)) if "item/topic" in file else None

    @cached_property
    def semantic_ids(self) -> np.ndarray | None:
        """[I, L], int32 codes of the content vectors, -1 of an item without a vector; None without."""
        file = self._items_file
        return values(member(file, "item/semantic_id", "i", 2)) if "item/semantic_id" in file else None

    def title(self, item: Id) -> str:
        """Title of an item by its id; "" where there is none."""
        row = self.items.find(item)
        return self.titles[row] if row is not None and self.titles else ""

    def _part(self, number: int) -> _Part:
        if number not in self._parts:
            name = f"users-{number:05d}-of-{len(self._part_users):05d}.h5"
            self._parts[number] = _Part(
                open_hdf5(Path(self.path) / name, FORMAT, FORMAT_VERSION), int(self._part_users[number]),
                int(self._part_events[number]), int(self._part_fingerprint[number]))
        return self._parts[number]

    @cached_property
    def user_ids(self) -> Ids:
        """External ids of all users, in the order of the dataset. Reads them all."""
        return Ids(np.concatenate([values(self._part(number).ids) for number in range(len(self._part_users))]))

    def timeline(self, user: Id) -> Timeline:
        """All events of a user. Throws KeyError where there is none. The first call reads all ids."""
        row = self.user_ids.find(user)
        if row is None:
            raise KeyError(f"{self.path}: no user {user!r}")
        number = int(np.searchsorted(np.cumsum(self._part_users), row, side="right"))
        first = row - int(self._part_users[:number].sum())
        return next(self._read(self._part(number), first, first + 1))

    def __len__(self) -> int:
        return self.users

    def __iter__(self) -> Iterator[Timeline]:
        for number, users in enumerate(self._part_users.tolist()):
            for first in range(0, users, USERS_AT_ONCE):
                yield from self._read(self._part(number), first, min(first + USERS_AT_ONCE, users))

    def _read(self, part: _Part, first: int, end: int) -> Iterator[Timeline]:
        begin, stop = part.offset[first], part.offset[end]
        columns = {name: values(column, begin, stop) for name, column in part.columns.items()}
        for name, size in (("item", len(self.items)), ("action", len(self.actions)), ("surface", len(self.surfaces))):
            if len(columns[name]) and not 0 <= columns[name].min() <= columns[name].max() < size:
                raise DataError(f"{part.ids.file.filename}: /event/{name}: expected indices below {size}, found "
                                f"{columns[name].min()} to {columns[name].max()}")
        ids = Ids(values(part.ids, first, end))
        for i in range(end - first):
            span = slice(part.offset[first + i] - begin, part.offset[first + i + 1] - begin)
            yield Timeline(user=ids[i], dataset=self, **{name: column[span] for name, column in columns.items()})

    def close(self) -> None:
        for part in self._parts.values():
            part.ids.file.close()
        self._parts.clear()
        self._items_file.close()

    def __enter__(self) -> "Dataset":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
