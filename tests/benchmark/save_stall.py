#!/usr/bin/env python3
"""What the saves of a large item table cost a training: what a step waits for a save (its stall), what the steps
lose while a save is written beside them, and the share of the time at the default `checkpoint.every_steps`.
Two trainings take turns over the rounds, one with saves and one without.

  tests/benchmark/save_stall.py                         a table of 1 GiB, two ranks, row_sharded: about five minutes
  tests/benchmark/save_stall.py --gib 0.05 --steps 12   a try

The bar: a save holds the steps for at most 1 % of the time between two saves. Ends with 1 where it does not hold."""
import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/e2e"))

from plan_test import BASE  # noqa: E402
from support import metrics, run  # noqa: E402

BAR = 0.01
DIM = 256
KEYS = [*BASE, f"item.table.dim={DIM}", "train.log_every=1", "checkpoint.keep_last=1", "metrics.tensorboard=false"]


def default_interval():
    printed = run("train", *KEYS, "data.path=none", "--print-config").stdout
    return int(re.search(r"(?m)^  every_steps: (\d+)", printed.partition("checkpoint:")[2])[1])


def train(directory, options, every):
    words = [*KEYS, f"data.path={directory / 'data'}", f"run.directory={directory / 'run'}", f"train.steps={options.steps}",
             f"checkpoint.every_steps={every}", f"item.table.placement={options.placement}",
             f"item.table.hash_buckets={int(options.gib * 2**30 / (4 * DIM))}", *options.keys]
    run("train", *words, "--resume", "never", ranks=options.ranks if options.ranks > 1 else 0, timeout=3600)
    records = metrics(directory / "run")[2:]  # the first steps load and allocate
    size = sum(file.stat().st_size for file in sorted((directory / "run/checkpoints").glob("step-*"))[-1].iterdir())
    subprocess.run(["rm", "-rf", directory / "run"], check=True)
    return records, size


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gib", type=float, default=1, help="rows of the table")
    parser.add_argument("--placement", default="row_sharded", choices=("row_sharded", "replicated"))
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--steps", type=int, default=240)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("keys", nargs="*", metavar="KEY=VALUE", help="another configuration: a model of the usual size")
    parser.add_argument("--directory", type=Path, help="where to save: the disk that is measured")
    options = parser.parse_args()
    interval, every = default_interval(), max(4, options.steps // 4)
    with_saves, without, stalls, size = [], [], [], 0
    with tempfile.TemporaryDirectory(dir=options.directory) as name:
        directory = Path(name)
        run("synth", "--users", 2000, "--items", 60000, "--events-per-user", 128, "--vector-width", 64,
            "--out", directory / "data")
        for number in range(options.rounds):
            records, size = train(directory, options, every)
            with_saves += [record["step_ms"] for record in records]
            # A save comes after the record of its step: its stall is in the next one.
            stalls += [record["save_stall_ms"] for record in records if record["step"] % every == 1]
            records, _ = train(directory, options, options.steps)
            without += [record["step_ms"] for record in records]
            print(f"round {number + 1} of {options.rounds} done, load {os.getloadavg()[0]:.1f}", file=sys.stderr, flush=True)
    # Means, because a save slows the steps beside it alone.
    lost = (statistics.mean(with_saves) - statistics.mean(without)) * every
    step, stall = statistics.median(without), statistics.median(stalls)
    share = stall / (interval * step + stall)
    print(f"checkpoint of {size / 2**30:.2f} GiB, {options.placement}, {options.ranks} ranks\n"
          f"step without saves {step:.1f} ms (median), {statistics.mean(without):.1f} ms (mean)\n"
          f"step with a save every {every} {statistics.median(with_saves):.1f} ms (median), "
          f"{statistics.mean(with_saves):.1f} ms (mean): a save costs the steps beside it {lost:.0f} ms\n"
          f"stall of a save {stall:.1f} ms (median of {len(stalls)}; {min(stalls):.1f} to {max(stalls):.1f})\n"
          f"at the default interval of {interval} steps: stall {100 * share:.2f} % of the time (bar {100 * BAR:.0f} %), "
          f"with the slower steps {100 * (stall + max(lost, 0)) / (interval * step):.2f} %")
    return 0 if share <= BAR else 1


if __name__ == "__main__":
    sys.exit(main())
