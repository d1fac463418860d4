"""encoders_table.py DIRECTORY PAGE: the table of what encoders.sh has measured, between the marks of PAGE."""
import json
import statistics
import sys
from pathlib import Path

BEGIN, END = "<!-- encoders: begin -->", "<!-- encoders: end -->"
BLOCKS = ("transformer", "ligr", "hstu", "lru")


def read_json(path):
    return json.loads(path.read_text(encoding="utf-8"))


def lines_of(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def model_result(run):
    return next(row for row in read_json(run / "evaluate.json")["results"] if row["method"] == "model")


def share(value):
    return f"{value:.4f}".lstrip("0")


def interval(runs, metric):
    """The mean over seeds, and the widest 95 % interval over users of one seed."""
    results = [model_result(run) for run in runs]
    ends = [row["interval"][metric] for row in results]
    mean = statistics.fmean(row[metric] for row in results)
    return f"{share(mean)} ({share(min(low for low, _ in ends))}–{share(max(high for _, high in ends))})"


def cost(runs):
    """Milliseconds of a step for each user where the machine did least else, and the most memory of a run."""
    logs = [lines_of(run / "metrics.jsonl") for run in runs]
    steps = [line for log in logs for line in log if "step_ms" in line]
    ms = min(1000 / line["users_per_second"] for line in steps)
    return f"{ms:.2f}", f"{max(line['memory_mib'] for line in steps):.0f}"


def table(directory):
    rows = ["| `model.block` | R@10 | NDCG@10 | best step | weights | ms per user | MiB |", "|---|---|---|---|---|---|---|"]
    for block in BLOCKS:
        runs = sorted(path.parent for path in (directory / block).glob("*/evaluate.json"))
        steps = ", ".join(str(read_json(run / "evaluate.json")["step"]) for run in runs)
        weights = read_json(runs[0] / "checkpoint.json")["parameters"]
        ms, memory = cost(runs)
        rows.append(f"| {block} | {interval(runs, 'recall@10')} | {interval(runs, 'ndcg@10')} | {steps} | {weights:,} "
                    f"| {ms} | {memory} |")
        seeds = [run.name for run in runs]
    return "\n".join(rows) + f"\n\nSeeds: {', '.join(seeds)}."


def main(directory, page):
    text = page.read_text(encoding="utf-8")
    begin, end = text.index(BEGIN) + len(BEGIN), text.index(END)
    page.write_text(f"{text[:begin]}\n{table(directory)}\n{text[end:]}", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
