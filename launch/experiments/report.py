"""The tables of docs/results.md from what experiments.py left.

python3 report.py OUT_DIR replaces the part of docs/results.md between the two marker lines.
"""
import json
import os
import pathlib
import sys
import time

from experiments import FREQUENCIES, METHODS, ROOT, SEEDS, SETS, Experiments

DOCUMENT = ROOT / "docs/results.md"
BEGIN = "<!-- begin: written by launch/experiments/paper_relations.sh -->"
END = "<!-- end -->"

TITLES = {
    "kuairand": ("KuaiRand-Pure", "`configs/quickstart.yaml`, the shipped vectors"),
    "retail": ("Online Retail", "`configs/online_retail.yaml`, vectors by `pinnerformer vectors`"),
    "mathoverflow": ("MathOverflow", "`configs/online_retail.yaml positives.actions=a2q,c2a,c2q split.windows=6 "
                                     "split.users_percent=40`, vectors by `pinnerformer vectors`"),
    "synth": ("Synthetic", "`pinnerformer synth --users 20000 --items 8000 --exploration 0.5`: lasting interests, one-topic "
                           "sessions, slow drift"),
}
METHOD_NAMES = {"dense": "**dense all action**", "all_action": "all action", "next_action": "next action", "sasrec": "SASRec",
                "dense_alone": "dense, `model.prior_days=[]`", "sasrec_alone": "SASRec, `model.prior_days=[]`"}
BASELINE_NAMES = {"popularity_recency": "`popularity_recency`", "ease": "EASE", "popularity": "popularity",
                  "item_to_item": "item to item (cosine)", "mean_of_last": "mean of the last 20 vectors",
                  "markov": "first-order Markov counts"}
CHANGE_NAMES = {
    "mixed_no_logq": "mixed negatives without logQ", "in_batch": "in-batch negatives", "in_batch_no_logq": "in-batch without logQ",
    "random": "random negatives", "random_no_logq": "random without logQ", "without_content": "without content vectors in the events",
    "without_time": "without time", "without_surface": "without surface", "without_action": "without action",
    "without_duration": "without duration", "by_position": "`objective.window_anchor=position`",
    "item_table": "with item rows of width 32"}


def number(value, sign=""):
    return f"{value:{sign}.4f}".replace("0.", ".", 1)


def table(head, rows):
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *rows)) + "\n"


def interval(difference, negate=False):
    """"-.0041 (-.0070 to -.0012)". `negate`: of the other direction."""
    low, high = difference["interval"]
    value = difference["value"]
    if negate:
        value, low, high = -value, -high, -low
    return f"{number(value, '+')} ({number(low, '+')} to {number(high, '+')})"


def verdict(difference, reference_above):
    """What the interval says of "the reference is above"; turned around where the claim is that it is below."""
    said = difference["reference_is_better"]
    if said == "cannot be told" or reference_above:
        return said
    return "holds" if said == "does not hold" else "does not hold"


class Report:
    def __init__(self, out):
        self.experiments = Experiments(None, out)

    def entries(self, data, name):
        return json.loads(self.experiments.result(data, name).read_text())

    def row(self, data, name, method, frequency):
        return next((row for row in self.entries(data, name)["results"]
                     if (row["method"], row["frequency"]) == (method, frequency)), None)

    def figure(self, data, name, method, frequency):
        row = self.row(data, name, method, frequency)
        return "" if row is None else f"{number(row['recall@10'])} ± {number(row['stderr']['recall@10'])}"

    def methods(self, data):
        rows = []
        for name in METHODS:
            steps = [self.experiments.best_validation(data, name, self.experiments.rate(data, name), seed)[1] for seed in SEEDS]
            rows.append([METHOD_NAMES[name], *(self.figure(data, name, "model", frequency) for frequency in FREQUENCIES),
                         f"{self.experiments.rate(data, name)}; {', '.join(map(str, steps))}"])
        for name in data.baselines.split(","):
            rows.append([BASELINE_NAMES[name], *(self.figure(data, "dense", name, frequency) for frequency in FREQUENCIES), ""])
        return table(["R@10", *FREQUENCIES, "rate; steps"], rows)

    def relations(self, data):
        """The difference of a row in a file is to the first method at the same frequency, or to its first row."""
        rows = []
        for name, paper in (("sasrec", ".229 > .198"), ("next_action", ".229 > .186"), ("all_action", ".229 > .224")):
            for frequency in FREQUENCIES:
                found = self.row(data, name, "compared", frequency)["difference"]["recall@10"]
                rows.append([f"{frequency}: dense > {METHOD_NAMES[name]}", paper if frequency == "once" else "",
                             interval(found), verdict(found, reference_above=False)])
        for frequency in FREQUENCIES:
            found = self.row(data, "sasrec_alone", "compared", frequency)["difference"]["recall@10"]
            rows.append([f"{frequency}: dense > SASRec, both without the prior", "", interval(found),
                         verdict(found, reference_above=False)])
        for name, paper in (("dense_alone", ".264 > .229"), ("sasrec_alone", ".251 > .198")):
            found = self.row(data, name, "model", "realtime")["difference"]["recall@10"]
            rows.append([f"{METHOD_NAMES[name].strip('*')}: realtime > once", paper, interval(found),
                         verdict(found, reference_above=False)])
        for name in data.baselines.split(","):
            found = self.row(data, "dense", name, "once")["difference"]["recall@10"]
            rows.append([f"once: dense > {BASELINE_NAMES[name]}", "", interval(found, negate=True), verdict(found, reference_above=True)])
        return table(["relation", "paper", "difference here (95 %)", ""], rows)

    def changes(self, data):
        rows = [["dense, mixed negatives with logQ", self.figure(data, "dense", "model", "once"), ""]]
        for name in data.changes:
            found = self.row(data, name, "compared", "once")["difference"]["recall@10"]
            rows.append([CHANGE_NAMES[name], self.figure(data, name, "model", "once"), interval(found, negate=True)])
        return table(["R@10, `once`", "", "difference to dense (95 %)"], rows)

    def part(self, data):
        title, source = TITLES[data.name]
        found = self.entries(data, "dense")
        text = (f"### {title}: objectives\n\n{source}; {found['positives']:,} positives of {found['users']:,} users, "
                f"{found['index_items']:,} items, {data.steps:,} steps at most.\n\n{self.methods(data)}\n{self.relations(data)}")
        return text + ("\nWhat the dense objective is changed by:\n\n" + self.changes(data) if data.changes else "")


def machine():
    model = next(line.split(":", 1)[1].strip() for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines()
                 if line.startswith("model name"))
    return f"{len(os.sched_getaffinity(0))} cores of {model}"


def main():
    report = Report(pathlib.Path(sys.argv[1]).resolve())
    text = "\n".join([
        "## The paper's relations on open data\n",
        f"`./launch/experiments/paper_relations.sh`, {machine()}, {time.strftime('%Y-%m-%d')}. Three seeds; ± is one standard error "
        "over users and seeds, intervals are of a paired bootstrap over both. Learning rate and step are chosen on 10 % "
        "validation users. Next action and SASRec mask the pair's own positive alone. The paper's figures are of its own data.\n",
        *(report.part(data) for data in SETS if report.experiments.result(data, "dense").exists())])
    before, rest = DOCUMENT.read_text().split(BEGIN)
    DOCUMENT.write_text(f"{before}{BEGIN}\n{text}\n{END}{rest.split(END)[1]}")


if __name__ == "__main__":
    main()
