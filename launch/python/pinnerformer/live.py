"""The newest model of an export directory, for a process that answers requests while exports are replaced."""
from __future__ import annotations

import logging
import os
import threading
from pathlib import Path
from typing import Any, Mapping, NamedTuple, Sequence

from .export import Event, Export
from .index import Index
from .vectors import Neighbour

log = logging.getLogger("pinnerformer")


class Served(NamedTuple):
    """One export and the index of its items, if there is one. Both are in memory: the files may be replaced."""
    export: Export
    index: Index | None

    def nearest(self, events: Sequence[Event], k: int = 10, repeats: bool = False) -> tuple[list[Neighbour], int, dict]:
        """The k items nearest to a user with these events, how many events were read, and those left out by kind.

        Without `repeats`, items of the user's own events are not among them. Throws InputError.
        """
        user = self.export.user_vectors([events])
        seen = () if repeats else {event["item"] for event in events}
        found = (self.index or self.export.items).nearest(user.vectors[0], k, leave_out=seen)
        return found, int(user.used[0]), user.ignored[0]

    def about(self) -> Mapping[str, Any]:
        return {"model_version": self.export.version.model, "content_version": self.export.version.content,
                "items": len(self.export.items), "search": "index" if self.index else "exact"}


def _load(export: Path, index: Path | None) -> Served:
    served = Served(Export(export).load(), Index(index).load() if index else None)
    if served.index and served.index.version != served.export.version:
        log.warning("%s is of another model than %s: all items are compared", index, export)
        return served._replace(index=None)
    if served.index:
        served.index.require_vectors_of(served.export.items)
    return served


class LiveModel:
    """Reads a new export within `check_seconds` of its publication; the one before is served until it is whole.

        live = LiveModel("build/serving/export", "build/serving/items.hnsw")
        with live:                # a thread follows the files until the block ends
            served = live.served  # keep it for the whole of a request
            served.nearest(events)

    Without an index, and with one of another model than the export's, all items are compared. Throws what Export and
    Index throw, at the start only: a later export that cannot be read is logged and not served.
    """

    def __init__(self, export: str | os.PathLike, index: str | os.PathLike | None = None, check_seconds: float = 5):
        self._paths, self._check_seconds = (Path(export), Path(index) if index else None), check_seconds
        self._stop = threading.Event()
        self._stamp, self.served = self._newest(), _load(*self._paths)

    def __enter__(self) -> "LiveModel":
        self._stop.clear()
        threading.Thread(target=self._follow, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()

    def _newest(self) -> tuple:
        export, index = self._paths
        files = [export / "export.json"] + ([Path(f"{index}.json")] if index else [])
        return tuple((file.stat().st_ino, file.stat().st_mtime_ns) for file in files)

    def _follow(self) -> None:
        while not self._stop.wait(self._check_seconds):
            model = self.served.export.version.model
            try:
                if (stamp := self._newest()) != self._stamp:
                    self.served, self._stamp = _load(*self._paths), stamp
                    log.info("now serving model %s", self.served.export.version.model)
            except Exception as error:  # half way between two exports: again, later; an ended thread would follow none
                log.warning("still serving model %s: %s", model, error)
