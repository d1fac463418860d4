"""The tables of docs/encoders.md, of what encoders.sh has measured.

encoders_table.py DIRECTORY PAGE            writes them between the marks of PAGE
encoders_table.py --best-rate DIRECTORY     prints the learning rate whose run was best by validation
"""
import argparse
import json
import math
from pathlib import Path

from page_table import share, write_table

SETS = {"kuairand": "KuaiRand-Pure", "mathoverflow": "MathOverflow", "toys": "Amazon Toys",
        "movielens": "MovieLens-1M"}
BLOCKS = ("transformer", "ligr", "hstu", "lru")
UNTIMED_BLOCKS = ("transformer", "hstu")
HEADER = ("| set | `model.block` | R@10 | more than `transformer` | NDCG@10 | CPU ms per user | MiB | weights | rate "
          "| best steps |",
          "|---|---|---|---|---|---|---|---|---|---|")
UNTIMED_HEADER = ("| set | `model.block` | R@10 with times | without | what times add |", "|---|---|---|---|---|")


def read_json(path):
    return json.loads(path.read_text(encoding="utf-8"))


def lines_of(run):
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]


def best_validation(run):
    return max(line["validation"]["recall_at_10"] for line in lines_of(run) if "validation" in line)


def best_rate(directory):
    """Of the runs with the first seed, the only ones there when encoders.sh asks; the smallest of equals."""
    runs = {path.parent for path in directory.glob("*/*/cpu_seconds")}
    return max(runs, key=lambda run: (best_validation(run), -float(run.parent.name))).parent.name


def signed(value):
    text = f"{value:+.4f}".replace("0.", ".", 1)
    return "+.0000" if text == "-.0000" else text


def with_interval(row, metric):
    low, high = row["interval"][metric]
    return f"{share(row[metric])} ({share(low)}–{share(high)})"


def method(evaluation, name):
    return next(row for row in evaluation["results"] if row["method"] == name)


def lead(evaluation):
    """What the model has more than the one it is compared with; evaluate.json has it the other way round."""
    difference = method(evaluation, "compared")["difference"]["recall@10"]
    low, high = difference["interval"]
    return f"{signed(-difference['value'])} ({signed(-high)} to {signed(-low)})"


def cpu_ms_per_user(runs):
    """Processor time of whole trainings, start and validations included, for each user of a step."""
    seconds = sum(float(word) for run in runs for word in (run / "cpu_seconds").read_text(encoding="utf-8").split())
    users = sum(read_json(newest_checkpoint(run) / "MANIFEST.json")["samples"] for run in runs)
    return f"{1000 * seconds / users:.2f}"


def newest_checkpoint(run):
    return max((run / "checkpoints").glob("step-*"))


def memory(runs):
    return f"{max(line['memory_mib'] for run in runs for line in lines_of(run)):.0f}"


def weights(run):
    """Of the model, without item rows: the numbers in model.safetensors, whose header is JSON behind its length."""
    with open(newest_checkpoint(run) / "model.safetensors", "rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    header.pop("__metadata__", None)
    return f"{sum(math.prod(tensor['shape']) for tensor in header.values()):,}"


def runs_of(here):
    rate = (here / "rate").read_text(encoding="utf-8").strip()
    return sorted(path.parent for path in (here / rate).glob("*/cpu_seconds"))


def best_steps(evaluation):
    return ", ".join(str(run["step"]) for run in evaluation.get("runs", [evaluation]))


def row(here, name):
    evaluation, runs = read_json(here / "evaluate.json"), runs_of(here)
    model = method(evaluation, "model")
    more = "" if here.name == "transformer" else lead(evaluation)
    cells = (name, here.name, with_interval(model, "recall@10"), more, with_interval(model, "ndcg@10"),
             cpu_ms_per_user(runs), memory(runs), weights(runs[0]), runs[0].parent.name, best_steps(evaluation))
    return f"| {' | '.join(cells)} |"


def rows_of(directory, name):
    if (directory / "left_out").exists():
        reason = (directory / "left_out").read_text(encoding="utf-8").strip()
        return [f"| {name} | left out: {reason} |{' |' * (HEADER[1].count('|') - 3)}"]
    return [row(directory / block, name) if (directory / block / "evaluate.json").exists()
            else f"| {name} | {block} | not run |{' |' * (HEADER[1].count('|') - 4)}" for block in BLOCKS]


def sizes(directory, name):
    """What a set is, for the line below the table; nothing of a set that is left out."""
    if (directory / "left_out").exists():
        return []
    found = read_json(directory / BLOCKS[0] / "evaluate.json")
    seeds = len(runs_of(directory / BLOCKS[0]))
    of_what = f"{found['positives']:,} positives of {found['users']:,} users among {found['index_items']:,} items"
    return [f"{name}: {of_what}, {seeds} seed{'s' if seeds > 1 else ''}."]


def untimed_row(here, block, name):
    evaluation = read_json(here / f"{block}-untimed" / "evaluate.json")
    compared = method(evaluation, "compared")
    difference = compared["difference"]["recall@10"]
    low, high = difference["interval"]
    return (f"| {name} | {block} | {share(compared['recall@10'])} | {share(method(evaluation, 'model')['recall@10'])} "
            f"| {signed(difference['value'])} ({signed(low)} to {signed(high)}) |")


def tables(directory):
    lines = list(HEADER)
    for folder, name in SETS.items():
        lines += rows_of(directory / folder, name)
    notes = [line for folder, name in SETS.items() for line in sizes(directory / folder, name)]
    lines += ["", *notes, "", *UNTIMED_HEADER]
    for folder, name in SETS.items():
        here = directory / folder
        lines += [untimed_row(here, block, name) for block in UNTIMED_BLOCKS if (here / f"{block}-untimed").exists()]
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("page", type=Path, nargs="?")
    parser.add_argument("--best-rate", action="store_true")
    words = parser.parse_args()
    if words.best_rate:
        print(best_rate(words.directory))
    else:
        write_table(words.page, "encoders", tables(words.directory))


if __name__ == "__main__":
    main()
