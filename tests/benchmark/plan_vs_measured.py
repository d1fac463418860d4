#!/usr/bin/env python3
"""What `plan` foresees beside what is measured, on this machine: the time of a step for several configurations
and the gain from one rank to two. Every round measures the machine and then each step, so that whatever else the
machine does meets both; each figure is the median over the rounds. Nothing else should run meanwhile.

  tests/benchmark/plan_vs_measured.py                 about ten minutes
  tests/benchmark/plan_vs_measured.py --rounds 1 --steps 3 --names base

Ends with 1 where a step is off by more than 25 % or the scaling by more than 15 %."""
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/e2e"))

from plan_test import BASE, CONFIGURATIONS, SCALING_BAR, STEP_BAR, STEP_SHAPE  # noqa: E402
from support import run  # noqa: E402


def answer(directory, *words, ranks=0):
    file = directory / "answer.json"
    run(*words, "--json", file, ranks=ranks)
    return json.loads(file.read_text())


def measure_once(directory, names, scaled, steps):
    """{(name, ranks): (planned, measured)} in milliseconds. A plan is made from the machine of the same moment."""
    found = {}
    for ranks in (1, 2):
        machine = directory / f"machine-{ranks}.yaml"
        launched = 0 if ranks == 1 else ranks
        for name in names if ranks == 1 else [scaled]:
            run("bench", "machine", "--out", machine, "--rounds", 9, "--directory", directory, ranks=launched)
            words = [*BASE, *CONFIGURATIONS[name]]
            planned = answer(directory, "plan", *words, *STEP_SHAPE, "--machine", machine, "--ranks", ranks)["step_ms"]
            measured = answer(directory, "bench", "step", *words, "--steps", steps, ranks=launched)["step_ms_median"]
            found[name, ranks] = planned, measured
    return found


def median_of(rounds, key):
    return [statistics.median(found[key][i] for found in rounds) for i in (0, 1)]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=7)
    parser.add_argument("--names", nargs="+", default=["base", "wide", "long", "gated"], choices=CONFIGURATIONS)
    parser.add_argument("--scaled", default="wide", choices=CONFIGURATIONS, help="what is measured on two ranks, too")
    options = parser.parse_args()
    names = list(dict.fromkeys([*options.names, options.scaled]))
    with tempfile.TemporaryDirectory() as directory:
        rounds = []
        for number in range(options.rounds):
            rounds.append(measure_once(Path(directory), names, options.scaled, options.steps))
            print(f"round {number + 1} of {options.rounds} done, load {os.getloadavg()[0]:.1f}", file=sys.stderr, flush=True)
    good = True
    print(f"{'configuration':14} {'ranks':>5} {'planned ms':>11} {'measured ms':>12} {'planned / measured':>19}")
    for name, ranks in rounds[0]:
        planned, measured = median_of(rounds, (name, ranks))
        print(f"{name:14} {ranks:5} {planned:11.1f} {measured:12.1f} {planned / measured:19.2f}")
        good &= max(planned / measured, measured / planned) < STEP_BAR
    one, two = (median_of(rounds, (options.scaled, ranks)) for ranks in (1, 2))
    planned, measured = one[0] / two[0], one[1] / two[1]
    print(f"{options.scaled}, 1 -> 2 ranks: planned {planned:.2f} times as fast, measured {measured:.2f}, "
          f"ratio {planned / measured:.2f}")
    good &= max(planned / measured, measured / planned) < SCALING_BAR
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
