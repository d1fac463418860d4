"""The paper's relations on open data: what is trained, how its settings are chosen, what is compared with what.

python3 experiments.py BUILD_DIR OUT_DIR [SET]... trains and evaluates, as many runs at a time as there are cores, each on
one thread. What OUT_DIR already holds is not done again, so that an interrupted call goes on.

Every objective trains once with each learning rate. Its rate is the one with the best validation; then the other seeds
follow. Every run is evaluated at its own best step. So no setting is chosen on test users.
"""
import concurrent.futures
import dataclasses
import json
import os
import pathlib
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
SEEDS = (1, 2, 3)
RATES = ("1e-3", "3e-3")
FREQUENCIES = ("once", "daily", "realtime")

# Next action and SASRec mask the pair's own positive alone. MovieLens-1M chose that for them on its validation users.
OWN_POSITIVE = "negatives.mask=own_positive"
METHODS = {
    "dense": (),
    "all_action": ("objective.name=all_action",),
    "next_action": ("objective.name=next_action", OWN_POSITIVE),
    "sasrec": ("objective.name=sasrec", OWN_POSITIVE),
    # Popularity is counted anew at every frequency: without it, only the vectors age.
    "dense_alone": ("model.prior_days=[]",),
    "sasrec_alone": ("objective.name=sasrec", OWN_POSITIVE, "model.prior_days=[]"),
}
# What a method is compared with where that is not the dense objective.
REFERENCES = {"sasrec_alone": "dense_alone"}

ONLY_IN_BATCH = ("negatives.in_batch=512", "negatives.random=0")
ONLY_RANDOM = ("negatives.in_batch=0", "negatives.random=1536")
NO_LOGQ = "negatives.logq=false"
# What the dense objective is changed by on KuaiRand-Pure, at its own rate.
CHANGES = {
    "mixed_no_logq": (NO_LOGQ,),
    "in_batch": ONLY_IN_BATCH,
    "in_batch_no_logq": (*ONLY_IN_BATCH, NO_LOGQ),
    "random": ONLY_RANDOM,
    "random_no_logq": (*ONLY_RANDOM, NO_LOGQ),
    **{f"without_{name}": (f"model.features.{name}=false",) for name in ("content", "time", "surface", "action", "duration")},
    "by_position": ("objective.window_anchor=position",),
    "item_table": ("item.table.placement=replicated", "item.table.dim=32"),
}


@dataclasses.dataclass(frozen=True)
class DataSet:
    name: str
    config: str
    steps: int  # at most: each run is evaluated at its best step
    words: tuple[str, ...] = ()
    baselines: str = "popularity,popularity_recency,mean_of_last,markov,item_to_item,ease"
    changes: tuple[str, ...] = ()


SETS = (
    DataSet("kuairand", "quickstart", 1000, changes=tuple(CHANGES)),
    DataSet("retail", "online_retail", 800),
    # Many short windows: each has few positives.
    DataSet("mathoverflow", "online_retail", 1000,
        ("positives.actions=a2q,c2a,c2q", "split.windows=6", "split.users_percent=40"),
        baselines="popularity,popularity_recency,mean_of_last,markov,item_to_item"),
    DataSet("synth", "quickstart", 2000,
        ("positives.actions=save", "split.users_percent=30", "split.window_days=14", "split.min_events=5",
         "model.max_length=64", "model.prior_days=[4,14]", "objective.window_days=14")),
)


def pinnerformer(build, log, *arguments):
    log.parent.mkdir(parents=True, exist_ok=True)
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    with log.open("a") as file:
        done = subprocess.run([build / "pinnerformer", *map(str, arguments)], cwd=ROOT, env=environment, stdout=file,
                              stderr=subprocess.STDOUT, check=False)
    if done.returncode:
        raise RuntimeError(f"pinnerformer {arguments[0]} ended with {done.returncode}; see {log}")


class Experiments:
    """Runs and results in one directory."""

    def __init__(self, build, out):
        self.build, self.out = build, out

    def run_directory(self, data, name, rate, seed):
        return self.out / "runs" / data.name / name / rate / str(seed)

    def train(self, data, name, rate, seed):
        run = self.run_directory(data, name, rate, seed)
        if not (run / "done").exists():
            words = METHODS[name] if name in METHODS else CHANGES[name]
            pinnerformer(self.build, run.parent / f"{seed}.log", "train", "--config", f"configs/{data.config}.yaml",
                         f"data.path={self.out / 'datasets' / data.name}", f"run.directory={run}", f"run.seed={seed}",
                         f"train.steps={data.steps}", f"optimizer.learning_rate={rate}", "split.validation_percent=10",
                         "validate.every_steps=100", "checkpoint.every_steps=1000000", "checkpoint.keep_last=1",
                         *data.words, *words)
            (run / "done").touch()

    def best_validation(self, data, name, rate, seed=1):
        """(recall@10, step) of the best validation of a run, the first of equal ones."""
        lines = (self.run_directory(data, name, rate, seed) / "metrics.jsonl").read_text().splitlines()
        found = [(record["validation"]["recall_at_10"], record["step"])
                 for record in map(json.loads, lines) if "validation" in record]
        return max(found, key=lambda one: one[0])

    def rate(self, data, name):
        """Changes of the dense objective keep its rate."""
        chosen = name if name in METHODS else "dense"
        return max(RATES, key=lambda rate: self.best_validation(data, chosen, rate)[0])

    def result(self, data, name):
        return self.out / "results" / data.name / f"{name}.json"

    def evaluate(self, data, name):
        """The seeds of a method together, beside those of its reference."""
        reference = REFERENCES.get(name, "dense")
        result = self.result(data, name)
        if result.exists():
            return
        runs = [(option, self.run_directory(data, method, self.rate(data, method), seed))
                for option, method in (("--run", name), ("--compare", reference)) for seed in SEEDS
                if option == "--run" or name != reference]
        frequencies = FREQUENCIES if name in METHODS else FREQUENCIES[:1]
        unfinished = result.with_suffix(".unfinished.json")
        pinnerformer(self.build, result.with_suffix(".log"), "evaluate", *(word for run in runs for word in run),
                     "--checkpoint", "best", "--json", unfinished, f"evaluate.frequency={','.join(frequencies)}",
                     f"evaluate.baselines={data.baselines if name == 'dense' else ''}")
        unfinished.rename(result)


def in_parallel(title, calls):
    with concurrent.futures.ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        start = time.monotonic()
        futures = [pool.submit(call, *words) for call, *words in calls]
        for number, future in enumerate(concurrent.futures.as_completed(futures), 1):
            if future.exception():
                pool.shutdown(cancel_futures=True)
            future.result()
            print(f"{title}: {number}/{len(futures)} after {time.monotonic() - start:.0f} s", flush=True)


def main():
    build, out = (pathlib.Path(word).resolve() for word in sys.argv[1:3])
    experiments = Experiments(build, out)
    unknown = set(sys.argv[3:]) - {data.name for data in SETS}
    if unknown:
        sys.exit(f"unknown data sets: {', '.join(unknown)}; expected some of {', '.join(data.name for data in SETS)}")
    for data in SETS:
        if sys.argv[3:] and data.name not in sys.argv[3:]:
            continue
        names = (*METHODS, *data.changes)
        in_parallel(f"{data.name}, rates", [(experiments.train, data, name, rate, 1) for name in METHODS for rate in RATES])
        in_parallel(f"{data.name}, seeds", [(experiments.train, data, name, experiments.rate(data, name), seed)
                                            for name in names for seed in SEEDS])
        in_parallel(f"{data.name}, evaluations", [(experiments.evaluate, data, name) for name in names])


if __name__ == "__main__":
    main()
