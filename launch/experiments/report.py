"""Tables, relations and the plot of docs/results.md from what experiments.py left.

python3 report.py OUT_DIR TIMES_FILE replaces the part of docs/results.md between the two marker lines, and
docs/staleness.svg. TIMES_FILE holds the wall time of each stage.
"""

import json
import math
import pathlib
import statistics
import sys
import time

import experiments

ROOT = experiments.ROOT
DOCUMENT = ROOT / "docs/results.md"
PLOT = ROOT / "docs/staleness.svg"
BEGIN = "<!-- begin: written by launch/experiments/paper_relations.sh -->"
END = "<!-- end -->"


class Results:
    """Every metric of every experiment, as the list of its values by seed."""

    def __init__(self, out: pathlib.Path):
        self.out = out

    def entries(self, group, name, method="model", frequency="once"):
        found = []
        for experiment in experiments.EXPERIMENTS:
            if (experiment.group, experiment.name) != (group, name):
                continue
            for seed in experiment.seeds:
                rows = json.loads(experiment.result(self.out, seed).read_text())["results"]
                found += [row for row in rows if (row["method"], row["frequency"]) == (method, frequency)]
        return found

    def values(self, group, name, metric="recall@10", **where):
        return [row[metric] for row in self.entries(group, name, **where)]

    def mean(self, *args, **where):
        return statistics.fmean(self.values(*args, **where))

    def noise(self, *args, **where):
        """Standard error of the mean over seeds; of one seed, over users."""
        values = self.values(*args, **where)
        if len(values) > 1:
            return statistics.stdev(values) / math.sqrt(len(values))
        metric = args[2] if len(args) > 2 else "recall@10"
        return self.entries(*args[:2], **where)[0]["stderr"][metric]


def number(value):
    return f"{value:.4f}".removeprefix("0")


def cell(values):
    """Mean over seeds with the range; one figure where all seeds agree."""
    text = number(statistics.fmean(values))
    low, high = number(min(values)), number(max(values))
    return text if low == high else f"{text} ({low}–{high})"


def table(head, rows):
    lines = ["| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *rows)]
    return "\n".join(lines) + "\n"


def metric_rows(results, group, rows):
    """Rows of (label, experiment, where): R@10, R@50, P90 coverage."""
    table_rows = []
    for label, name, where in rows:
        metrics = ("recall@10", "recall@50", "p90_coverage@10")
        values = [results.values(group, name, metric, **where) for metric in metrics]
        table_rows.append([label, cell(values[0]), cell(values[1]), number(statistics.fmean(values[2]))])
    return table(["", "R@10", "R@50", "P90 coverage@10"], table_rows)


def staleness_rows(results, group, rows):
    """Rows of (label, experiment): R@10 at each frequency and what is lost from realtime to the others."""
    table_rows = []
    for label, name in rows:
        values = {f: results.values(group, name, frequency=f) for f in ("once", "daily", "realtime")}
        means = {f: statistics.fmean(v) for f, v in values.items()}
        lost = [f"{100 * (1 - means[f] / means['realtime']):.0f} %" for f in ("daily", "once")]
        table_rows.append([label, *(cell(values[f]) for f in ("once", "daily", "realtime")), *lost])
    return table(["R@10", "once", "daily", "realtime", "lost: realtime to daily", "realtime to once"], table_rows)


class Relations:
    """Statements of the paper beside what is measured here."""

    def __init__(self, results):
        self.results = results
        self.rows = []

    def above(self, statement, paper, group, better, worse, metric="recall@10", **where):
        """`better` and `worse` are experiments, or (experiment, where)."""
        sides = []
        for side in (better, worse):
            name, more = side if isinstance(side, tuple) else (side, {})
            sides.append((group, name, metric, where | more))
        (high, high_noise), (low, low_noise) = (
            (self.results.mean(g, n, m, **w), self.results.noise(g, n, m, **w)) for g, n, m, w in sides)
        noise = 2 * math.hypot(high_noise, low_noise)
        verdict = "holds" if high - low > noise else "**does not hold**" if low - high > noise else "within noise"
        self.rows.append([statement, paper, f"{number(high)} against {number(low)}", f"± {number(noise)}", verdict])

    def less_lost(self, statement, paper, group, keeps, loses, start, end):
        def lost(name):
            return 1 - (self.results.mean(group, name, frequency=end) / self.results.mean(group, name, frequency=start))
        # A share of two figures has no noise of its own here.
        verdict = ("as in the paper" if lost(keeps) < lost(loses) else "other than in the paper") + ", no interval"
        self.rows.append([statement, paper, f"{100 * lost(keeps):.0f} % against {100 * lost(loses):.0f} %", "", verdict])

    def text(self):
        return table(["relation", "paper", "here", "noise", ""], self.rows)


def kuairand_part(results):
    once = {}
    return "\n".join([
        "### KuaiRand-Pure\n",
        "3,731 held-out users, 7,972 positives, all 6,361 items; `configs/quickstart.yaml` and the words named. One "
        "standard error over users is about .003 of R@10.\n",
        metric_rows(results, "kuairand", [
            ("next action", "next_action", once), ("SASRec (sampled softmax)", "sasrec", once),
            ("all action", "all_action", once), ("**dense all action**", "dense", once),
            ("dense, `objective.window_anchor=position`", "dense_by_position", once)]),
        "An item table, and vectors made by `pinnerformer vectors` from the untimed history before the two weeks:\n",
        metric_rows(results, "kuairand", [
            ("given vectors", "dense", once), ("`pinnerformer vectors`", "vectors", once),
            ("given vectors and an item table of width 32", "id_table", once), ("item table alone", "id_table_only", once)]),
        staleness_rows(results, "kuairand", [("SASRec", "sasrec"), ("dense all action", "dense")]),
        metric_rows(results, "kuairand", [
            ("in-batch, no logQ", "in_batch_no_logq", once), ("in-batch, logQ", "in_batch", once),
            ("in-batch, logQ, 1,000 steps", "in_batch_1000_steps", once),
            ("random, no logQ", "random_no_logq", once), ("random, logQ", "random", once),
            ("mixed, no logQ", "mixed_no_logq", once), ("**mixed, logQ**", "dense", once),
            ("random, pool of 64", "random_64", once), ("mixed, pool of 64", "mixed_64", once)]),
        metric_rows(results, "kuairand", [
            ("all features", "dense", once),
            *((f"without {f}", f"without_{f}", once)
              for f in ("content", "time", "surface", "action", "duration", "position"))]),
        metric_rows(results, "kuairand", [
            ("**model** (dense)", "dense", once),
            *((label, "dense", {"method": method}) for label, method in (
                ("popularity of the last four days", "popularity"), ("mean of the last 20 vectors", "mean_of_last"),
                ("PinnerSage, 5 clusters, oracle", "pinnersage_5"),
                ("PinnerSage, 20 clusters, oracle", "pinnersage_20"), ("random", "random")))]),
    ])


def retail_part(results):
    return "\n".join([
        "### Online Retail: how embeddings age\n",
        "434 user-windows of 14 days before Christmas, 7,948 first purchases, all 3,676 articles; "
        "`configs/online_retail.yaml`; item vectors from co-occurrence before the evaluation (`pinnerformer vectors`), "
        "or sentence vectors of the titles.\n",
        "![Share of the realtime recall that is left when vectors are recomputed daily or once](staleness.svg)\n",
        staleness_rows(results, "retail", [
            ("SASRec", "sasrec"), ("next action", "next_action"), ("all action", "all_action"),
            ("**dense all action**", "dense"), ("SASRec, titles", "titles_sasrec"),
            ("dense all action, titles", "titles_dense")]),
        metric_rows(results, "retail", [
            ("**model** (dense, co-occurrence)", "dense", {}),
            *((label, "dense", {"method": method}) for label, method in (
                ("popularity of the last 14 days", "popularity"),
                ("the user's own favourites", "personal_popularity"),
                ("mean of the last 20 vectors", "mean_of_last"), ("PinnerSage, 5 clusters, oracle", "pinnersage_5"),
                ("random", "random")))]),
        "What brings the model up (dense all action, `once`):\n",
        metric_rows(results, "retail", [(label, name, {}) for label, name in (
            ("as above", "dense"), ("3,000 steps instead of 1,000", "longer"),
            ("samples of the last 28 days only", "recent_windows"), ("output of 256", "output_256"),
            ("an item table of width 32", "id_table"), ("recent popularity as a feature of items", "popularity_feature"),
            ("both: popularity, last 28 days", "popularity_recent"))]),
        "With repeats allowed (`positives.first_only=false evaluate.exclude_seen=false`):\n",
        metric_rows(results, "retail_repeats", [(label, "dense", {"method": method}) for label, method in (
            ("model", "model"), ("popularity of the last 14 days", "popularity"),
            ("the user's own favourites", "personal_popularity"))]),
    ])


def synth_part(results):
    return "\n".join([
        "### Synthetic: interests that last\n",
        "`pinnerformer synth --users 4000 --items 8000`: lasting interests, one-topic sessions, exploration, slow drift.\n",
        staleness_rows(results, "synth", [
            ("SASRec, 500 steps", "sasrec_short"), ("dense all action, 500 steps", "dense_short"),
            ("SASRec, 2,000 steps", "sasrec"), ("dense all action, 2,000 steps", "dense")]),
        metric_rows(results, "synth", [(label, "dense", {"method": method}) for label, method in (
            ("popularity", "popularity"), ("mean of the last 20 vectors", "mean_of_last"))]),
    ])


def relations_part(results):
    relations = Relations(results)
    k = "kuairand"
    relations.above("dense all action > SASRec", ".229 > .198", k, "dense", "sasrec")
    relations.above("dense all action > next action", ".229 > .186", k, "dense", "next_action")
    relations.above("dense all action > all action", ".229 > .224", k, "dense", "all_action")
    relations.above("mixed with logQ > mixed without", ".229 > .138", k, "dense", "mixed_no_logq")
    relations.above("in-batch with logQ > in-batch without", ".167 > .071", k, "in_batch", "in_batch_no_logq")
    relations.above("mixed > in-batch, both with logQ", ".229 > .167", k, "dense", "in_batch")
    relations.above("mixed > random, both with logQ", ".229 > .139", k, "dense", "random")
    relations.above("the same with a pool of 64", "", k, "mixed_64", "random_64")
    relations.above("random with logQ > random without", ".139 ≈ .136", k, "random", "random_no_logq")
    for feature, paper in (("content", ".142"), ("time", ".210"), ("surface", ".224"), ("action", ".226"),
                           ("duration", ".226"), ("position", ".228")):
        relations.above(f"all features > without {feature}", f".229 > {paper}", k, "dense", f"without_{feature}")
    relations.above("dense: realtime > daily", ".264 > .243", k, ("dense", {"frequency": "realtime"}),
                    ("dense", {"frequency": "daily"}))
    relations.above("item table beside the vectors > vectors alone", "", k, "id_table", "dense")
    relations.above("vectors > item table alone", "", k, "dense", "id_table_only")
    r = "retail"
    relations.above("Online Retail, `once`: dense > SASRec", ".229 > .198", r, "dense", "sasrec")
    relations.above("Online Retail, `once`: dense > all action", ".229 > .224", r, "dense", "all_action")
    relations.above("Online Retail: SASRec realtime > daily", ".251 > .216", r, ("sasrec", {"frequency": "realtime"}),
                    ("sasrec", {"frequency": "daily"}))
    relations.less_lost("Online Retail: dense loses less from realtime to once", "13 % against 21 %", r, "dense",
                        "sasrec", "realtime", "once")
    relations.less_lost("Online Retail: dense loses less from realtime to daily", "8 % against 14 %", r, "dense",
                        "sasrec", "realtime", "daily")
    relations.above("synthetic, `daily`: dense > SASRec", ".243 > .216", "synth", ("dense", {"frequency": "daily"}),
                    ("sasrec", {"frequency": "daily"}))
    relations.less_lost("synthetic: dense loses less from realtime to daily", "8 % against 14 %", "synth", "dense",
                        "sasrec", "realtime", "daily")
    return ("### Relations of the paper\n\n\"Noise\" is two standard errors of the difference between means of three "
            "seeds (synthetic: of one seed, over users). R@10 unless said.\n\n" + relations.text())


def plot(results):
    """Share of the realtime R@10 that is left at each frequency, by objective."""
    width, height, left, top, bottom = 560, 300, 52, 24, 40
    frequencies = ("realtime", "daily", "once")
    lines = (("dense all action", "dense", "#c0392b"), ("all action", "all_action", "#d68910"),
             ("next action", "next_action", "#7f8c8d"), ("SASRec", "sasrec", "#2471a3"))

    def x(i):
        return left + 20 + i * (width - left - 190) / 2

    def y(share):
        return top + (1 - share) * (height - top - bottom)

    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
             'font-family="sans-serif" font-size="12">', f'<rect width="{width}" height="{height}" fill="white"/>']
    for percent in range(0, 101, 25):
        parts.append(f'<line x1="{left}" x2="{width - 150}" y1="{y(percent / 100):.1f}" y2="{y(percent / 100):.1f}" '
                     'stroke="#ddd"/>')
        parts.append(f'<text x="{left - 6}" y="{y(percent / 100) + 4:.1f}" text-anchor="end">{percent} %</text>')
    for i, frequency in enumerate(frequencies):
        parts.append(f'<text x="{x(i):.1f}" y="{height - 16}" text-anchor="middle">{frequency}</text>')
    labels = []
    for label, name, colour in lines:
        means = [results.mean("retail", name, frequency=f) for f in frequencies]
        points = [(x(i), y(mean / means[0])) for i, mean in enumerate(means)]
        path = " ".join(f"{a:.1f},{b:.1f}" for a, b in points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{a:.1f}" cy="{b:.1f}" r="3" fill="{colour}"/>' for a, b in points]
        labels.append([points[-1][1], label, colour])
    labels.sort()
    for above, below in zip(labels, labels[1:]):  # labels keep a line's height apart
        below[0] = max(below[0], above[0] + 14)
    for place, label, colour in labels:
        parts.append(f'<text x="{x(2) + 10:.1f}" y="{place + 4:.1f}" fill="{colour}">{label}</text>')
    parts.append(f'<text x="{left}" y="14">Online Retail: share of the realtime R@10 that is left</text>')
    PLOT.write_text("\n".join([*parts, "</svg>"]) + "\n")


def machine():
    model = next(line.split(":", 1)[1].strip() for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines()
                 if line.startswith("model name"))
    return f"{len(experiments.os.sched_getaffinity(0))} cores of {model}"


def main():
    out, times = map(pathlib.Path, sys.argv[1:3])
    results = Results(out)
    text = "\n".join([
        "## The paper's relations on open data\n",
        f"`./launch/experiments/paper_relations.sh`, {machine()}, {time.strftime('%Y-%m-%d')}. Means of three seeds, "
        "range in brackets (synthetic: one seed); every run one process of one thread, two at a time.\n",
        kuairand_part(results), retail_part(results), synth_part(results), relations_part(results),
        "Time per stage:\n", "```\n" + times.read_text().strip("\n") + "\n```"])
    before, rest = DOCUMENT.read_text().split(BEGIN)
    after = rest.split(END)[1]
    DOCUMENT.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}")
    plot(results)


if __name__ == "__main__":
    main()
