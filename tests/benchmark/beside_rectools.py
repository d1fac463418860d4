#!/usr/bin/env python3
# Sequence models of RecTools beside ours on one list of user-item pairs, in turns on the same cores:
#   tests/benchmark/beside_rectools.py PAIRS [--config configs/esasrec.yaml] [--epochs 40] [--chunk 5]
#       [--max-length 50] [--dropout 0.5] [--target 0.25] [--only ours,ligr,sasrec] [--cores 1]
#       [--directory DIR] [--json FILE] [key=value ...]
# PAIRS has "user item" lines in chronological order, with or without a header, also as .gz. Every method
# trains on all events of every user but the last, in chunks of epochs, and ranks all items that the user
# has not seen for the last one. The table has CPU seconds per epoch, CPU and wall seconds until HR@10 reaches
# --target, and the figures after the last epoch. RecTools is installed into DIR/environment; it takes
# LibTorch's Python package from .venv/.
import argparse
import gzip
import json
import math
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RECTOOLS = "rectools[torch]==0.19.0"
BATCH = 128
WIDTH, BLOCKS, HEADS, NEGATIVES, RATE = 64, 2, 2, 256, 1e-3  # of eSASRec


def environment(directory):
    """The Python of an environment with RecTools."""
    home = directory / "environment"
    if not (home / "ready").exists():
        subprocess.run([sys.executable, "-m", "venv", home], check=True)
        packages = next((ROOT / ".venv/lib").glob("python3*/site-packages")).resolve()
        own = next((home / "lib").glob("python3*/site-packages"))
        (own / "torch_of_the_project.pth").write_text(f"{packages}\n")
        subprocess.run([home / "bin/pip", "install", "--quiet", RECTOOLS], check=True)
        (home / "ready").touch()
    return home / "bin/python"


def read_pairs(path):
    """[(user, item)] in the order of the file."""
    with (gzip.open if path.suffix == ".gz" else open)(path, "rt", encoding="utf-8") as file:
        pairs = [tuple(line.split()[:2]) for line in file if line.strip()]
    return pairs[1:] if not pairs[0][0].isdigit() else pairs


def write_pairs(pairs, path):
    path.write_text("user\titem\n" + "".join(f"{user}\t{item}\n" for user, item in pairs))


def measured(call):
    """Wall and CPU seconds of a call, with those of the processes it waits for, and its result."""
    def cpu():
        uses = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        return sum(use.ru_utime + use.ru_stime for use in uses)
    wall, used = time.perf_counter(), cpu()
    result = call()
    return time.perf_counter() - wall, cpu() - used, result


class Ours:
    """Every chunk is a call of the program, which resumes the run: its start and save count."""

    def __init__(self, given, directory, users):
        self.given, self.directory = given, directory
        self.binary = ROOT / "build/pinnerformer"
        self.steps_per_epoch = math.ceil(users / BATCH)
        self.run("import", "--events", directory / "pairs.tsv", "--columns", "user=user,item=item", "--untimed",
                 "--overwrite", "--out", directory / "dataset")
        self.words = [f"data.path={directory / 'dataset'}", f"run.directory={directory / 'ours'}",
                      "split.leave_out=1", "split.validation_percent=0", "validate.every_steps=0",
                      f"train.global_batch_users={BATCH}", f"model.max_length={given.max_length}",
                      f"model.dropout={given.dropout}", "checkpoint.every_steps=1000000",
                      # A rate that falls until the last step would reach zero in every chunk.
                      "optimizer.schedule=constant", *given.more]

    def run(self, *words):
        done = subprocess.run([self.binary, *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True, env={**os.environ, "OMP_NUM_THREADS": str(self.given.cores)})
        if done.returncode:
            sys.exit(f"{words[0]} failed with status {done.returncode}:\n{done.stdout}")

    def train(self, epochs):
        self.run("train", "--config", self.given.config, *self.words, f"train.steps={epochs * self.steps_per_epoch}")

    def evaluate(self):
        path = self.directory / "ours.json"
        self.run("evaluate", "--run", self.directory / "ours", "--json", path, "evaluate.baselines=[]")
        row = json.loads(path.read_text())["results"][0]
        return row["hr@10"], row["ndcg@10"]


class RecTools:
    """One process per method that trains on and answers when asked."""

    def __init__(self, given, directory, layers):
        words = [environment(directory), __file__, str(directory / "pairs.tsv"), "--worker", layers,
                 "--max-length", given.max_length, "--dropout", given.dropout, "--cores", given.cores]
        self.process = subprocess.Popen([*map(str, words)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.epochs = 0

    def ask(self, **question):
        print(json.dumps(question), file=self.process.stdin, flush=True)
        for line in self.process.stdout:
            if line.startswith("{"):
                return json.loads(line)
        sys.exit("RecTools ended early; its messages are above")

    def train(self, epochs):
        answer = self.ask(train=epochs - self.epochs)
        self.epochs = epochs
        return answer["cpu"]

    def evaluate(self):
        answer = self.ask(evaluate=True)
        return answer["hr"], answer["ndcg"]


def worker(given):
    """Inside RecTools' environment: a line of JSON asks for epochs or for the figures."""
    import pandas as pd
    import torch
    from rectools import Columns
    from rectools.dataset import Dataset
    from rectools.models import SASRecModel
    from rectools.models.nn.transformers.ligr import LiGRLayers
    from rectools.models.nn.transformers.sasrec import SASRecTransformerLayers

    torch.set_num_threads(given.cores)
    table = pd.read_csv(given.pairs, sep="\t", names=[Columns.User, Columns.Item], header=0)
    table[Columns.Weight] = 1.0
    # The file has no times: its order stands in for them.
    table[Columns.Datetime] = pd.Timestamp("2000-01-01") + pd.to_timedelta(range(len(table)), unit="s")
    last = table.groupby(Columns.User).tail(1)
    dataset = Dataset.construct(table.drop(last.index))
    model = SASRecModel(
        n_blocks=BLOCKS, n_heads=HEADS, n_factors=WIDTH, dropout_rate=given.dropout, session_max_len=given.max_length,
        loss="sampled_softmax", n_negatives=NEGATIVES, lr=RATE, batch_size=BATCH, epochs=given.epochs,
        transformer_layers_type=LiGRLayers if given.worker == "ligr" else SASRecTransformerLayers,
        deterministic=False, recommend_torch_device="cpu", recommend_batch_size=256)

    def figures():
        known = dataset.user_id_map.external_ids
        users = last[Columns.User][last[Columns.User].isin(known)].to_numpy()
        top = model.recommend(users, dataset, k=10, filter_viewed=True)
        hits = top.merge(last[[Columns.User, Columns.Item]], on=[Columns.User, Columns.Item])
        return {"hr": len(hits) / len(last), "ndcg": float(sum(1 / math.log2(1 + rank) for rank in hits[Columns.Rank])) / len(last)}

    for line in sys.stdin:
        question = json.loads(line)
        if "train" in question:
            start = time.process_time()
            model.fit_partial(dataset, question["train"], question["train"])
            answer = {"cpu": time.process_time() - start}
        else:
            answer = figures()
        print(json.dumps(answer), flush=True)


def summary(name, curve, target):
    """The row of a method from [(epoch, wall, CPU, HR@10, NDCG@10)], both times from the start."""
    epoch, _, cpu, hit, ndcg = curve[-1]
    reached = next(((wall, used) for _, wall, used, rate, _ in curve if rate >= target), None)
    return {"method": name, "cpu_seconds_per_epoch": cpu / epoch, "seconds_to_target": reached and reached[0],
            "cpu_seconds_to_target": reached and reached[1], "hr@10": hit, "ndcg@10": ndcg, "curve": curve}


def compare(given):
    directory = given.directory.resolve()
    directory.mkdir(parents=True, exist_ok=True)
    pairs = read_pairs(given.pairs)
    write_pairs(pairs, directory / "pairs.tsv")
    methods = {name: Ours(given, directory, len({user for user, _ in pairs})) if name == "ours" else
               RecTools(given, directory, name) for name in given.only.split(",")}
    curves = {name: [] for name in methods}
    for epoch in range(given.chunk, given.epochs + 1, given.chunk):
        for name, method in methods.items():
            wall, cpu, inside = measured(lambda: method.train(epoch))
            before = curves[name][-1][1:3] if curves[name] else (0, 0)
            hit, ndcg = method.evaluate()
            curves[name].append((epoch, before[0] + wall, before[1] + (inside or cpu), hit, ndcg))
            print(f"{name}: epoch {epoch}, {curves[name][-1][2]:.0f} CPU s, HR@10 {hit:.4f}, NDCG@10 {ndcg:.4f}", flush=True)
    rows = [summary(name, curve, given.target) for name, curve in curves.items()]
    print(f"\n| method | CPU s per epoch | CPU s (wall s) to HR@10 {given.target:g} | HR@10 | NDCG@10 |\n|---|---|---|---|---|")
    for row in rows:
        cpu, wall = row["cpu_seconds_to_target"], row["seconds_to_target"]
        reached = f"{cpu:.0f} ({wall:.0f})" if cpu else "not reached"
        print(f"| {row['method']} | {row['cpu_seconds_per_epoch']:.1f} | {reached} | {row['hr@10']:.4f} | {row['ndcg@10']:.4f} |")
    if given.json:
        given.json.write_text(json.dumps(rows, indent=1) + "\n")


def main():
    parser = argparse.ArgumentParser(description="RecTools beside ours; see the head of the file.")
    parser.add_argument("pairs", type=Path)
    parser.add_argument("--config", type=Path, default=ROOT / "configs/esasrec.yaml")
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--chunk", type=int, default=5)
    parser.add_argument("--max-length", type=int, default=50)
    parser.add_argument("--dropout", type=float, default=0.5)
    parser.add_argument("--target", type=float, default=0.25)
    parser.add_argument("--only", default="ours,ligr,sasrec")
    parser.add_argument("--cores", type=int, default=1)
    parser.add_argument("--directory", type=Path, default=ROOT / "build/beside_rectools")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--worker", choices=["ligr", "sasrec"], help=argparse.SUPPRESS)
    parser.add_argument("more", nargs="*")
    given = parser.parse_intermixed_args()
    worker(given) if given.worker else compare(given)


if __name__ == "__main__":
    main()
