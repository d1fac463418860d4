#!/usr/bin/env python3
"""Latency and throughput of launch/python/examples/service.py, beside the same model called in a loop.

    tests/optional.sh
    .venv-optional/bin/python3 tests/benchmark/service_load.py --dataset build/quickstart/dataset \\
        --export build/quickstart/export --index build/quickstart/items.hnsw

Each client sends one request after another: real timelines of the dataset, ten items asked for. Client and service
share this machine, so that the figures are a lower bound of what the service does alone.
"""
import argparse
import asyncio
import json
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "python"))
import python_support  # noqa: F401 (it sets the path)
from service_process import ServiceProcess

import httpx
import numpy as np
import torch

import pinnerformer

ITEMS = 10
WARM_UP = 50


def requests_of(dataset, count):
    """Events of the first users of the dataset, which is shuffled."""
    with pinnerformer.Dataset(dataset) as opened:
        return [timeline.events() for timeline, _ in zip(opened, range(count))]


def row(name, seconds, wall):
    milliseconds = np.percentile(np.array(seconds) * 1000, [50, 99])
    print(f"| {name} | {milliseconds[0]:.1f} | {milliseconds[1]:.1f} | {len(seconds) / wall:.0f} |", flush=True)


def in_a_loop(export, search, histories):
    seconds = []
    for number, events in enumerate(histories[:WARM_UP] + histories):
        start = time.perf_counter()
        vector = export.user_vectors([events]).vectors[0]
        search.nearest(vector, ITEMS, leave_out={event["item"] for event in events})
        if number >= WARM_UP:
            seconds.append(time.perf_counter() - start)
    row("in a loop, no service", seconds, sum(seconds))


async def under_load(url, histories, clients):
    bodies = [json.dumps({"events": events, "items": ITEMS}) for events in histories]
    seconds = []

    async def client(session, mine):
        for body in mine:
            start = time.perf_counter()
            answer = await session.post(url, content=body)
            seconds.append(time.perf_counter() - start)
            if answer.status_code != 200:
                sys.exit(f"{url}: expected 200, found {answer.status_code}: {answer.text:.200}")

    async with httpx.AsyncClient(timeout=60) as session:
        await client(session, bodies[:WARM_UP])
        seconds.clear()
        start = time.perf_counter()
        await asyncio.gather(*(client(session, bodies[n::clients]) for n in range(clients)))
        row(f"service, {clients} client{'s' if clients > 1 else ''}", seconds, time.perf_counter() - start)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--export", required=True)
    parser.add_argument("--index")
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 4, 16])
    options = parser.parse_args()
    torch.set_num_threads(1)
    histories = requests_of(options.dataset, options.requests)
    export = pinnerformer.Export(options.export).load()
    search = pinnerformer.Index(options.index).load() if options.index else export.items
    print(f"{len(histories)} requests, {len(export.items)} items of {export.items.dimensions} numbers, "
          f"{'index' if options.index else 'exact search'}\n")
    print("| what | p50, ms | p99, ms | requests per second |\n|---|---|---|---|")
    in_a_loop(export, search, histories)
    with ServiceProcess(options.export, options.index) as service:
        for clients in options.clients:
            asyncio.run(under_load(service.url + "/recommend", histories, clients))


if __name__ == "__main__":
    main()
