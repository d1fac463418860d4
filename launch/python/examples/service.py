"""A web service: the events of a user in, the nearest items out. It reads a new export without a failed request.

    pip install './launch/python[service]'
    python launch/python/examples/service.py --export build/quickstart/export --index build/quickstart/items.hnsw
    curl localhost:8000/recommend -d '{"items": 10, "events": [{"item": 17, "action": "click", "time": 1650000000}]}'

Without an index, and with one of another model than the export's, it compares all items.
"""
import argparse
import contextlib
import logging
import threading
from pathlib import Path
from typing import NamedTuple

import pinnerformer
import torch
import uvicorn
from fastapi import FastAPI, HTTPException, Request
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, ConfigDict, Field, ValidationError

MOST_BYTES, MOST_EVENTS, MOST_ITEMS = 1 << 20, 10_000, 1000
log = logging.getLogger("uvicorn.error")


class Event(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")
    item: int | str
    action: str
    time: int | float
    surface: str | None = None
    duration: float | None = None


class Ask(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")
    events: list[Event] = Field(min_length=1, max_length=MOST_EVENTS)
    items: int = Field(10, ge=1, le=MOST_ITEMS)
    repeats: bool = False  # also items of the user's own events


class Model(NamedTuple):
    export: pinnerformer.Export
    index: pinnerformer.Index | None

    def answer(self, ask: Ask) -> dict:
        events = [event.model_dump() for event in ask.events]
        user = self.export.user_vectors([events])
        seen = () if ask.repeats else {event["item"] for event in events}
        found = (self.index or self.export.items).nearest(user.vectors[0], ask.items, leave_out=seen)
        return {"model_version": self.export.version.model, "used": int(user.used[0]), "ignored": user.ignored[0],
                "recommended": [{"item": one.id, "similarity": one.score} for one in found]}


def load(export: Path, index: Path | None) -> Model:
    """Everything is in memory afterwards: the files may be replaced."""
    model = Model(pinnerformer.Export(export).load(), pinnerformer.Index(index).load() if index else None)
    if model.index and model.index.version != model.export.version:
        log.warning("%s is of another model than %s: all items are compared", index, export)
        return model._replace(index=None)
    if model.index:
        model.index.require_vectors_of(model.export.items)
    return model


class Service:
    """Holds the newest model that could be loaded. A request keeps the one it began with."""

    def __init__(self, export: Path, index: Path | None, check_seconds: float):
        self.paths, self.check_seconds = (export, index), check_seconds
        self.stamp, self.model = self.newest(), load(export, index)

    def newest(self) -> tuple:
        files = [self.paths[0] / "export.json"] + ([Path(f"{self.paths[1]}.json")] if self.paths[1] else [])
        return tuple((file.stat().st_ino, file.stat().st_mtime_ns) for file in files)

    def follow(self, stop: threading.Event) -> None:
        while not stop.wait(self.check_seconds):
            try:
                if (stamp := self.newest()) != self.stamp:
                    self.model, self.stamp = load(*self.paths), stamp
                    log.info("now serving model %s", self.model.export.version.model)
            except Exception as error:  # half way between two exports: again, later; an ended thread would follow none
                log.warning("still serving model %s: %s", self.model.export.version.model, error)


async def read_ask(request: Request) -> Ask:
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > MOST_BYTES:
            raise HTTPException(413, f"expected at most {MOST_BYTES} bytes")
    try:
        return Ask.model_validate_json(body)
    except ValidationError as error:
        raise HTTPException(422, error.errors(include_input=False, include_url=False, include_context=False)) from error


def application(service: Service) -> FastAPI:
    @contextlib.asynccontextmanager
    async def following(_: FastAPI):
        stop = threading.Event()
        threading.Thread(target=service.follow, args=(stop,), daemon=True).start()
        yield
        stop.set()

    app = FastAPI(title="pinnerformer", lifespan=following)

    @app.post("/recommend")
    async def recommend(request: Request) -> dict:
        ask, model = await read_ask(request), service.model
        try:
            return await run_in_threadpool(model.answer, ask)
        except pinnerformer.InputError as error:
            raise HTTPException(422, str(error)) from error

    @app.get("/health")
    async def health() -> dict:
        model = service.model
        return {"model_version": model.export.version.model, "content_version": model.export.version.content,
                "items": len(model.export.items), "search": "index" if model.index else "exact"}

    return app


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--export", type=Path, required=True, help="directory of `pinnerformer export`")
    parser.add_argument("--index", type=Path, help="file of `pinnerformer index`")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--check-seconds", type=float, default=5, help="how often to look for a new export")
    options = parser.parse_args()
    torch.set_num_threads(1)  # requests run side by side
    app = application(Service(options.export, options.index, options.check_seconds))
    uvicorn.run(app, host=options.host, port=options.port, limit_concurrency=256, access_log=False)


if __name__ == "__main__":
    main()
