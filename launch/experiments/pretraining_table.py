"""pretraining_table.py DIRECTORY PAGE: what pretraining.sh has measured, as a table between the marks of PAGE."""
import json
import statistics
import sys
from pathlib import Path

from page_table import share, write_table

STEPS = (100, 200, 300, 500, 700, 1000)
NAMES = {
    "no_table": ("no item rows", ""),
    "full": ("rows from random values", ".05"),
    "slow": ("rows from random values", ".005"),
    "pretrained": ("`item.table.pretrain_steps=500`", ".05"),
    "from_rows_full": ("the same rows by `--init-from`", ".05"),
    "from_rows_slow": ("the same rows by `--init-from`", ".005"),
    "from_rows_frozen": ("the same rows by `--init-from`", "frozen"),
}


def validations(run):
    lines = (json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines())
    return {line["step"]: line["validation"]["recall_at_10"] for line in lines if "validation" in line}


def row(directory, name):
    curves = [validations(path.parent) for path in sorted(directory.glob("*/done"))]
    means = {step: statistics.fmean(curve[step] for curve in curves) for step in curves[0]}
    cells = [*NAMES[name], *(share(means[step]) for step in STEPS), share(max(means.values()))]
    return f"| {' | '.join(cells)} |"


def table(directory):
    header = ["what the rows begin with", "rate of the rows", *(f"step {step:,}" for step in STEPS), "best step's"]
    lines = [f"| {' | '.join(header)} |", "|---" * len(header) + "|"]
    return "\n".join(lines + [row(directory / name, name) for name in NAMES])


if __name__ == "__main__":
    write_table(Path(sys.argv[2]), "pretraining", table(Path(sys.argv[1])))
