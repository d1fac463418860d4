"""An export directory of `pinnerformer export`: vectors of users from their raw events, with PyTorch."""
from __future__ import annotations

import difflib
import math
import os
from functools import cached_property
from pathlib import Path
from typing import Any, Mapping, NamedTuple, Sequence

import numpy as np

from .errors import DataError, InputError, MissingPackage, VersionError
from .files import entry, member, open_hdf5, read_json, values
from .vectors import FORMAT as VECTORS_FORMAT
from .vectors import FORMAT_VERSION as VECTORS_VERSION
from .vectors import VectorSet, Version, read_set

FORMAT, FORMAT_VERSION = "pinnerformer export", 1
PREPROCESSING_FORMAT, PREPROCESSING_VERSION = "pinnerformer preprocessing", 1
FILES = ("user_tower.pt", "item_tower.pt", "items.h5", "preprocessing.json")
INPUTS = ["content", "id_rows", "action", "surface", "time", "duration", "length"]
ON_UNKNOWN = ("ignore", "refuse")
UNKNOWN_NAME = "unknown"   # of an event without surface, in a dataset
YEAR_2100 = 4_102_444_800  # seconds: what is later was meant in a smaller unit
USERS_AT_ONCE = 64
Event = Mapping[str, Any]


class UserVectors(NamedTuple):
    vectors: np.ndarray          # float32 [B, D], or [B, K, D] of a model with model.user_vectors = K above 1
    used: np.ndarray             # int64 [B], events that the model has read
    ignored: list[dict[str, int]]  # per user, events left out: {"item": n, "action": n, "surface": n}


class UserStates(NamedTuple):
    """The past of users as go_on() gives it and takes it again: keep both arrays."""
    memory: np.ndarray  # float32 [B, W]; W = 2 * model.hidden * model.layers
    time: np.ndarray    # int64 [B], seconds of the newest event that was read; -1: none


class _History(NamedTuple):
    """What is left of a user's events, oldest first; each array [n], n of at least 1."""
    item: np.ndarray
    action: np.ndarray
    surface: np.ndarray
    time: np.ndarray
    duration: np.ndarray
    ignored: dict[str, int]

    def part(self, first: int, count: int) -> "_History":
        return _History(*(column[first:first + count] for column in self[:-1]), self.ignored)


def _torch():
    try:
        import torch
    except ImportError as error:
        raise MissingPackage("user vectors need PyTorch; run: pip install torch") from error
    return torch


def seconds_of(value: Any, where: str) -> int:
    """A time in seconds since 1970. Refuses what can only be milliseconds, microseconds or nanoseconds."""
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)) \
            or isinstance(value, (float, np.floating)) and not math.isfinite(value):
        raise InputError(f"{where}: time: expected seconds since 1970 as a number, found {value!r:.40}")
    if value >= YEAR_2100:
        unit = next((name for name, scale in (("milliseconds", 1e3), ("microseconds", 1e6), ("nanoseconds", 1e9))
                     if value < YEAR_2100 * scale), "no time")
        raise InputError(f"{where}: time: expected seconds since 1970, found {value!r:.40}: these look like {unit}")
    if value < 0:
        raise InputError(f"{where}: time: expected seconds since 1970, found {value!r:.40}")
    return int(value)


def duration_of(value: Any, absent: float, where: str) -> float:
    """Seconds; None and NaN are unknown."""
    if value is None:
        return absent
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise InputError(f"{where}: duration: expected seconds or None, found {value!r:.40}")
    if value != value:
        return absent
    if not 0 <= value <= np.finfo(np.float32).max:
        raise InputError(f"{where}: duration: expected 0 seconds or more, found {value!r:.40}")
    return float(value)


class Export:
    """The model of an export. Files of different exports are refused with VersionError.

        export = Export("build/quickstart/export")
        export.user_vectors([[{"item": 17, "action": "click", "surface": "feed", "time": 1717171717}]]).vectors

    Throws FileNotFoundError, DataError. May be used by several threads at once.
    """

    def __init__(self, path: str | os.PathLike):
        self.path = os.fspath(path)
        folder = Path(path)
        self.manifest = read_json(folder / "export.json", FORMAT, FORMAT_VERSION)
        self.version = Version(*(entry(self.manifest, name, str, folder / "export.json")
                                 for name in ("model_version", "content_version")))
        self._require_files(folder)
        self._read_preprocessing(folder / "preprocessing.json")
        self._read_items(folder / "items.h5")

    def _require_files(self, folder: Path) -> None:
        files = entry(self.manifest, "files", dict, folder / "export.json")
        for name in FILES:
            if not (folder / name).is_file():
                raise FileNotFoundError(f"{folder / name}: expected as a file of the export, found none")
            size = entry(files.get(name, {}), "bytes", int, f"{folder / 'export.json'}: {name}")
            if (found := (folder / name).stat().st_size) != size:
                raise DataError(f"{folder / name}: expected {size} bytes as export.json says, found {found}: "
                                "the file is damaged or of another export. Copy the export again")

    def _require_version(self, found: Version, path: object) -> None:
        if found != self.version:
            raise VersionError(f"{path}: expected model version {self.version.model} and content version "
                               f"{self.version.content} as export.json says, found {found.model} and "
                               f"{found.content}: take all files from one export")

    def _read_preprocessing(self, path: Path) -> None:
        rules = read_json(path, PREPROCESSING_FORMAT, PREPROCESSING_VERSION)
        self._require_version(Version(*(entry(rules, name, str, path)
                                        for name in ("model_version", "content_version"))), path)
        self.max_length: int = entry(rules, "max_length", int, path)
        self.actions: dict[str, int] = entry(rules, "actions", dict, path)
        self.surfaces: dict[str, int] = entry(rules, "surfaces", dict, path)
        several = rules.get("user_vectors", 1)  # exports of older programs do not say
        if isinstance(several, bool) or not isinstance(several, int) or several < 1:
            raise DataError(f"{path}: user_vectors: expected 1 or more, found {several!r:.40}")
        self._vectors = () if several == 1 else (several,)
        self.topics: dict[str, int] = entry({"topics": {}, **rules}, "topics", dict, path)  # of model.condition=topic
        self._absent_duration = float(entry(rules, "absent_duration", int, path))
        self._widths = [entry(entry(rules, name, dict, path), "width", int, path) for name in ("content", "id_rows")]
        inputs = [one.get("name") for one in entry(rules, "inputs", list, path) if isinstance(one, dict)]
        if inputs != INPUTS:
            raise DataError(f"{path}: inputs: expected {INPUTS}, found {inputs}")
        if self.max_length < 1 or min(self._widths) < 0:
            raise DataError(f"{path}: expected max_length of 1 or more, found {self.max_length}")

    def _read_items(self, path: Path) -> None:
        with open_hdf5(path, VECTORS_FORMAT, VECTORS_VERSION) as file:
            self.items: VectorSet = read_set(file, "item")  # final vectors [I, D] by id
            self._require_version(self.items.version, path)
            self._content, self._id_rows = (
                values(member(file, f"item/{name}", "f", 2)) if width else np.zeros((len(self.items), 0), np.float32)
                for name, width in zip(("content", "id_rows"), self._widths))
        for name, rows, width in (("content", self._content, self._widths[0]),
                                  ("id_rows", self._id_rows, self._widths[1])):
            if rows.shape != (len(self.items), width):
                raise DataError(f"{path}: /item/{name}: expected shape {(len(self.items), width)}, found {rows.shape}")

    @cached_property
    def _user_tower(self):
        torch = _torch()
        path = Path(self.path) / "user_tower.pt"
        try:
            tower = torch.jit.load(str(path), map_location="cpu").eval()
            version = Version(tower.model_version, tower.content_version)
        except (RuntimeError, AttributeError) as error:
            raise DataError(f"{path}: expected a tower of an export, found something else "
                            f"({str(error).splitlines()[0]:.120})") from error
        self._require_version(version, path)
        return tower

    def load(self) -> "Export":
        """Loads the tower now and not at the first call. Returns the export itself."""
        self._user_tower
        return self

    def user_vectors(self, events: Sequence[Sequence[Event]], on_unknown: str = "ignore",
                     topic: str | None = None) -> UserVectors:
        """Vectors [B, D] or [B, K, D] of B users from their events, in any order: those of one time keep theirs.

        An event is {"item": id, "action": name, "surface": name, "time": seconds, "duration": seconds or None};
        surface and duration may be absent. Of more than max_length events the newest are read. Events whose item,
        action or surface the model does not know are left out and counted, or refused with on_unknown="refuse".
        With `topic`, one of `topics`, the vectors are those for items of this topic (model.condition=topic).
        Throws InputError where an event cannot be read, a user has no known event, or the model does not know the topic.
        """
        more = () if topic is None else (self._topic(topic),)
        histories = self._histories(events, on_unknown)
        vectors = self._no_vectors(len(histories))
        for first in range(0, len(histories), USERS_AT_ONCE):
            part = histories[first:first + USERS_AT_ONCE]
            vectors[first:first + len(part)], = self._run(part, "for_topic" if more else "forward",
                                                          *(np.full(len(part), index) for index in more))
        return self._answer(vectors, histories)

    def go_on(self, events: Sequence[Sequence[Event]], states: UserStates | None = None,
              on_unknown: str = "ignore") -> tuple[UserVectors, UserStates]:
        """Vectors as of user_vectors() from new events alone, and the states to give to the next call.

        `states` are those of the call before, of the same B users in the same order; None: no user has one. An event at or
        before the time of its user's state was read already: it is left out and counted as "old". Of a user without a
        state the newest max_length events are read, after that every one. For models of model.block=lru whose
        user_head is not residual; time and memory do not grow with what was read before.
        Throws InputError as user_vectors() does, also where a user has no new event (keep vector and state), where the
        states have another shape than [B, W] and [B], and for other models.
        """
        width = self._state_width
        memory, time = self._checked_states(states, len(events), width)
        histories = self._histories(events, on_unknown, time)
        vectors = self._no_vectors(len(histories))
        for first in range(0, max((len(one.item) for one in histories), default=0), self.max_length):
            left = [i for i, one in enumerate(histories) if len(one.item) > first]
            for block in (left[i:i + USERS_AT_ONCE] for i in range(0, len(left), USERS_AT_ONCE)):
                part = [histories[i].part(first, self.max_length) for i in block]
                vectors[block], memory[block], time[block] = self._run(part, "go_on", memory[block], time[block])
        return self._answer(vectors, histories), UserStates(memory, time)

    @cached_property
    def _state_width(self) -> int:
        path = Path(self.path) / "model.json"
        options = entry(read_json(path), "options", dict, path)
        if not hasattr(self._user_tower, "go_on"):
            raise InputError(f"{self.path}: expected a model that keeps states, found model.block = {options.get('block')} "
                             f"with model.user_head = {options.get('user_head')}; train with model.block=lru and "
                             "another user head than residual, or use user_vectors()")
        return 2 * entry(options, "hidden", int, path) * entry(options, "layers", int, path)

    def _checked_states(self, states: UserStates | None, users: int, width: int) -> UserStates:
        """Copies, which may be written to."""
        if states is None:
            return UserStates(np.zeros((users, width), np.float32), np.full(users, -1, np.int64))
        memory, time = np.array(states[0], dtype=np.float32), np.array(states[1], dtype=np.int64)
        if memory.shape != (users, width) or time.shape != (users,):
            raise InputError(f"states: expected memory of shape {(users, width)} and time of shape {(users,)}, as the call "
                             f"before gave them for these users; found {memory.shape} and {time.shape}")
        if not np.isfinite(memory).all():
            raise InputError("states: expected finite numbers, found NaN or infinity")
        return UserStates(memory, time)

    def _topic(self, topic: str) -> int:
        if not self.topics:
            raise InputError(f"topic {topic!r:.80}: {self.path} was trained without topics; train with "
                             "model.condition=topic, or leave the topic out")
        if isinstance(topic, str) and topic in self.topics:
            return self.topics[topic]
        near = difflib.get_close_matches(str(topic), self.topics, 1, 0)
        raise InputError(f"topic {topic!r:.80}: {self.path} knows {len(self.topics)} topics and not this one; "
                         f"did you mean {near[0]!r:.80}?")

    def _no_vectors(self, users: int) -> np.ndarray:
        return np.zeros((users, *self._vectors, self.items.dimensions), np.float32)

    def _answer(self, vectors: np.ndarray, histories: list[_History]) -> UserVectors:
        return UserVectors(vectors, np.array([len(one.item) for one in histories], dtype=np.int64),
                           [one.ignored for one in histories])

    def _histories(self, events: Sequence[Sequence[Event]], on_unknown: str,
                   after: np.ndarray | None = None) -> list[_History]:
        if on_unknown not in ON_UNKNOWN:
            raise InputError(f"on_unknown: expected one of {ON_UNKNOWN}, found {on_unknown!r}")
        return [self._history(one, on_unknown == "refuse", f"user {i} of the call", None if after is None else int(after[i]))
                for i, one in enumerate(events)]

    def _history(self, events: Sequence[Event], refuse: bool, user: str, after: int | None) -> _History:
        """`after`: the time of the user's state, -1 without one; None where no states are read."""
        ignored = {"item": 0, "action": 0, "surface": 0} | ({} if after is None else {"old": 0})
        rows = []
        for i, event in enumerate(events):
            where = f"{user}, event {i}"
            if not isinstance(event, Mapping) or not {"item", "action", "time"} <= event.keys():
                raise InputError(f"{where}: expected an object with item, action and time, found {event!r:.80}")
            time = seconds_of(event["time"], where)  # whole; the order of events goes by the fraction, too
            duration = duration_of(event.get("duration"), self._absent_duration, where)
            found = {"item": self.items.lookup.find(event["item"]), "action": self._index("action", event),
                     "surface": self._index("surface", event)}
            unknown = next((name for name, row in found.items() if row is None), None)
            if after is not None and time <= after:
                ignored["old"] += 1
            elif unknown is None:
                rows.append((event["time"], time, found["item"], found["action"], found["surface"], duration))
            elif refuse:
                raise InputError(f"{where}: {unknown}: {event.get(unknown)!r:.80} is not known to the model")
            else:
                ignored[unknown] += 1
        if not rows:
            hint = ("; an event without surface has the surface 'unknown', which the model does not know"
                    if ignored["surface"] and UNKNOWN_NAME not in self.surfaces else "")
            raise InputError(f"{user}: expected an event that the model knows, found none; left out: {ignored}{hint}")
        rows.sort(key=lambda row: row[0])
        _, *columns = zip(*(rows if after is not None and after >= 0 else rows[-self.max_length:]))
        times, items, actions, surfaces = (np.array(column, dtype=np.int64) for column in columns[:4])
        return _History(items, actions, surfaces, times, np.array(columns[4], dtype=np.float32), ignored)

    def _index(self, kind: str, event: Event) -> int | None:
        names = self.actions if kind == "action" else self.surfaces
        name = event.get(kind)
        return names.get(UNKNOWN_NAME if name is None else name) if isinstance(name, (str, type(None))) else None

    def _run(self, histories: list[_History], method: str, *more: np.ndarray) -> list[np.ndarray]:
        """What a method of the tower gives for a few users, vectors [b, D] or [b, K, D] first.

        Histories are padded to the longest, on the right; `more` are the inputs that the method has beside them.
        """
        torch = _torch()
        length = np.array([len(one.item) for one in histories])
        shape = (len(histories), int(length.max()))
        content, id_rows = (np.zeros((*shape, width), np.float32) for width in self._widths)
        action, surface, time = (np.zeros(shape, np.int64) for _ in range(3))
        duration = np.full(shape, self._absent_duration, np.float32)
        for i, one in enumerate(histories):
            n = len(one.item)
            content[i, :n], id_rows[i, :n] = self._content[one.item], self._id_rows[one.item]
            action[i, :n], surface[i, :n], time[i, :n], duration[i, :n] = (one.action, one.surface, one.time,
                                                                           one.duration)
        with torch.inference_mode():
            inputs = (content, id_rows, action, surface, time, duration, length.astype(np.int64), *more)
            results = getattr(self._user_tower, method)(*map(torch.from_numpy, inputs))
        found = [one.numpy() for one in (results if isinstance(results, tuple) else (results,))]
        if found[0].shape != (len(histories), *self._vectors, self.items.dimensions):
            raise DataError(f"{self.path}/user_tower.pt: expected vectors of {self.items.dimensions} numbers as "
                            f"items.h5 has, found shape {found[0].shape}")
        return found
