"""A web service: the events of a user in, the nearest items out. It reads a new export without a failed request.

    pip install './launch/python[service]'
    python launch/python/examples/service.py --export build/quickstart/export --index build/quickstart/items.hnsw
    curl localhost:8000/recommend -d '{"items": 10, "events": [
        {"item": 17, "action": "click", "surface": "tab1", "time": 1650000000}]}'
"""
import argparse
import contextlib
import logging

import pinnerformer
import torch
import uvicorn
from fastapi import FastAPI, HTTPException, Request
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, Field, ValidationError

MOST_BYTES, MOST_EVENTS, MOST_ITEMS = 1 << 20, 10_000, 1000


class Event(BaseModel, strict=True, extra="forbid"):
    item: int | str
    action: str
    time: int | float
    surface: str | None = None
    duration: float | None = None


class Ask(BaseModel, strict=True, extra="forbid"):
    events: list[Event] = Field(min_length=1, max_length=MOST_EVENTS)
    items: int = Field(10, ge=1, le=MOST_ITEMS)
    repeats: bool = False  # also items of the user's own events


def answer(served: pinnerformer.Served, ask: Ask) -> dict:
    found, used, ignored = served.nearest([event.model_dump() for event in ask.events], ask.items, ask.repeats)
    return {"model_version": served.export.version.model, "used": used, "ignored": ignored,
            "recommended": [{"item": one.id, "similarity": one.score} for one in found]}


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


def application(live: pinnerformer.LiveModel) -> FastAPI:
    @contextlib.asynccontextmanager
    async def following(_: FastAPI):
        with live:
            yield

    app = FastAPI(title="pinnerformer", lifespan=following)

    @app.post("/recommend")
    async def recommend(request: Request) -> dict:
        try:
            return await run_in_threadpool(answer, live.served, await read_ask(request))
        except pinnerformer.InputError as error:
            raise HTTPException(422, str(error)) from error

    @app.get("/health")
    async def health() -> dict:
        return live.served.about()

    return app


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--export", required=True, help="directory of `pinnerformer export`")
    parser.add_argument("--index", help="file of `pinnerformer index`; without one all items are compared")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--check-seconds", type=float, default=5, help="how often to look for a new export")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(levelname)s: %(message)s")
    torch.set_num_threads(1)  # requests run side by side
    live = pinnerformer.LiveModel(options.export, options.index, options.check_seconds)
    uvicorn.run(application(live), host=options.host, port=options.port, limit_concurrency=256, access_log=False)
