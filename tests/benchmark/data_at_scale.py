#!/usr/bin/env python3
# The data path at full size, each figure beside the raw one of the same machine in the same run:
#   tests/benchmark/data_at_scale.py [--events 50000000] [--gib 4] [--items 1000000] [--seconds 10]
#                                    [--memory 2048] [--directory DIR] [--binary FILE]
# Writes events with a power law over users and items as Parquet and CSV.gz, imports both, writes
# synthetic datasets of a tenth and of the whole size, runs `bench data` on both, and prints a table.
# Needs about 30 GB of disk at full size and half an hour on two cores.
import argparse
import gzip
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

ROOT = Path(__file__).resolve().parents[2]
ACTIONS = np.array(["click", "like", "long_view", "repin"])
SURFACES = np.array(["feed", "related", "search"])
COLUMNS = "user=user,item=item,action=action,surface=surface,time=ts_ms:ms,duration=duration_ms:ms"
ROWS_AT_ONCE = 1_000_000
EVENT_BYTES = 20  # of a dataset
EVENTS_PER_USER = 400


def power_law(random, count, size):
    """Numbers below `count`, the k-th about as often as 1 / (k + 1)."""
    return np.minimum(np.exp(random.random(size) * np.log(count)).astype(np.int64), count - 1)


def event_batches(events, seed=1):
    random = np.random.default_rng(seed)
    users, items = max(events // 50, 10), max(events // 100, 10)
    for first in range(0, events, ROWS_AT_ONCE):
        size = min(ROWS_AT_ONCE, events - first)
        # A million of the events are one user's; the rest follow the power law, in no order.
        user = np.where(random.random(size) < 0.02, 0, power_law(random, users, size))
        yield pa.table({
            "user": user * 7919 + 11,
            "item": power_law(random, items, size) * 104729 + 3,
            "action": pa.array(ACTIONS[random.integers(0, len(ACTIONS), size)]),
            "surface": pa.array(SURFACES[random.integers(0, len(SURFACES), size)]),
            "ts_ms": random.integers(1_700_000_000_000, 1_707_000_000_000, size),
            "duration_ms": random.integers(0, 120_000, size),
        })


def write_parquet(path, events):
    writer = None
    for table in event_batches(events):
        writer = writer or pa.parquet.ParquetWriter(path, table.schema)
        writer.write_table(table)
    writer.close()


def write_csv_gz(path, events):
    with gzip.open(path, "wb", compresslevel=4) as file:
        for number, table in enumerate(event_batches(events)):
            pa.csv.write_csv(table, file, pa.csv.WriteOptions(include_header=number == 0,
                                                              quoting_style="none"))


def arrow_reads(path):
    """What Arrow alone needs on one thread to bring all columns of a file into memory."""
    if path.suffix == ".parquet":
        for batch in pa.parquet.ParquetFile(path).iter_batches(use_threads=False):
            batch.num_rows
        return
    options = pa.csv.ReadOptions(use_threads=False, block_size=4 << 20)
    text = pa.csv.ConvertOptions(column_types={name: pa.string() for name in (
        "user", "item", "action", "surface", "ts_ms", "duration_ms")})
    for batch in pa.csv.open_csv(path, read_options=options, convert_options=text):
        batch.num_rows


def timed(call):
    """Wall and CPU seconds of a call in this process."""
    wall, cpu = time.perf_counter(), time.process_time()
    call()
    return time.perf_counter() - wall, time.process_time() - cpu


def run(binary, *words):
    """Wall seconds, CPU seconds and the largest resident size in MiB of a run of the program."""
    start = time.perf_counter()
    process = subprocess.Popen([binary, *map(str, words)], stdout=subprocess.DEVNULL,
                               env={**os.environ, "OMP_NUM_THREADS": "1"})
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - start
    if status != 0:
        sys.exit(f"{words[0]} failed with status {status}")
    return wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def row(what, ours, raw, ratio):
    print(f"| {what} | {ours} | {raw} | {ratio} |", flush=True)


def import_events(binary, path, out, *more):
    return run(binary, "import", "--events", path, "--columns", COLUMNS, "--out", out, *more)


def import_row(binary, path, events, directory, memory):
    out = directory / "imported"
    wall, cpu, mib = import_events(binary, path, out, "--memory", memory)
    _, arrow_cpu = timed(lambda: arrow_reads(path))
    shutil.rmtree(out)
    row(f"import, {events / 1e6:g} M events, {''.join(path.suffixes)}",
        f"{events / cpu / 1e6:.2f} M events/s per core, {wall:.0f} s, {mib:.0f} MiB",
        f"Arrow reading alone {events / arrow_cpu / 1e6:.2f} M/s", f"{cpu / arrow_cpu:.2f} of its CPU time")


def open_row(binary, path, events, directory):
    """What it takes until the first read, for one file of users and for hundreds."""
    seconds, files = [], []
    for parts in (1, 500):
        out, result = directory / f"parts-{parts}", directory / "open.json"
        import_events(binary, path, out, "--part-events", max(events // parts, 1))
        files.append(len(list(out.glob("users-*.h5"))))
        run(binary, "bench", "data", f"data.path={out}", "--seconds", 1, "--json", result)
        seconds.append(json.loads(result.read_text())["open_seconds"])
        shutil.rmtree(out)
    row(f"open {events / 1e6:g} M events", f"{seconds[1]:.2f} s, {files[1]} files",
        f"{seconds[0]:.2f} s, {files[0]} file", f"{1000 * (seconds[1] - seconds[0]) / files[1]:.2f} ms per file")


def bench_rows(given, directory, gib):
    events = int(gib * 2**30 / EVENT_BYTES)
    dataset = directory / f"synth-{gib}"
    run(given.binary, "synth", "--users", events // EVENTS_PER_USER, "--events-per-user", EVENTS_PER_USER,
        "--items", given.items, "--topics", 200, "--vector-width", 256, "--out", dataset)
    result = directory / "bench.json"
    run(given.binary, "bench", "data", f"data.path={dataset}", "model.max_length=256",
        "split.users_percent=10", "train.global_batch_users=256", "--seconds", given.seconds, "--json", result)
    found = json.loads(result.read_text())
    blocks, windows, vectors = found["blocks"], found["windows"], found["vectors"]
    size = f"{gib:g} GiB"
    row(f"blocks of {blocks['block_users']} users, {size}", f"{blocks['gb_per_second']:.2f} GB/s",
        f"pread {blocks['raw_gb_per_second']:.2f} GB/s", f"{blocks['ratio']:.2f}")
    row(f"finished batches, M {windows['max_length']}, {size}",
        f"{windows['windows_per_core_second']:,.0f} windows/s per core", "bar 20,000",
        f"padding {100 * windows['padding']:.1f} %")
    work = found["work"]
    row(f"work of {work['ranks']} ranks, {size}", f"{work['largest_over_mean_tokens']:.3f} largest over mean tokens",
        "bar 1.05", f"padding {100 * work['padding']:.1f} %")
    row(f"gathered vectors, {vectors['width']} fp16, {size}", f"{vectors['gb_per_second']:.2f} GB/s",
        f"memcpy {vectors['raw_gb_per_second']:.2f} GB/s", f"{vectors['ratio']:.2f}")
    shutil.rmtree(dataset)
    return found["memory_mib"]["resident"], found["memory_mib"]["peak"]


def measure_import(given, directory):
    for name, write, events in (("events.parquet", write_parquet, given.events),
                                ("events.csv.gz", write_csv_gz, given.events // 5)):
        path = directory / name
        write(path, events)
        import_row(given.binary, path, events, directory, given.memory)
        if path.suffix == ".gz":
            open_row(given.binary, path, events, directory)
        path.unlink()


def measure_reading(given, directory):
    small = bench_rows(given, directory, given.gib / 10)
    large = bench_rows(given, directory, given.gib)
    for what, few, many in zip(("resident", "peak"), small, large):
        row(f"{what} memory of the loader", f"{many:.0f} MiB at {given.gib:g} GiB",
            f"{few:.0f} MiB at {given.gib / 10:g} GiB", f"{many / few:.3f}")


def main():
    words = argparse.ArgumentParser(description="The data path at full size.")
    words.add_argument("--events", type=int, default=50_000_000, help="events to import; 0: none")
    words.add_argument("--gib", type=float, default=4, help="size of the larger dataset; 0: none")
    words.add_argument("--items", type=int, default=1_000_000, help="items with vectors in the datasets to read")
    words.add_argument("--seconds", type=float, default=10, help="how long batches are taken")
    words.add_argument("--memory", default="2048", help="MiB the import may take")
    words.add_argument("--directory", type=Path, help="where the files go; removed at the end")
    words.add_argument("--binary", default=str(ROOT / "build/pinnerformer"))
    given = words.parse_args()
    directory = Path(tempfile.mkdtemp(prefix="pinnerformer-scale-", dir=given.directory))
    try:
        print("| what | ours | raw | ratio |\n|---|---|---|---|", flush=True)
        if given.events > 0:
            measure_import(given, directory)
        if given.gib > 0:
            measure_reading(given, directory)
    finally:
        shutil.rmtree(directory)


if __name__ == "__main__":
    main()
