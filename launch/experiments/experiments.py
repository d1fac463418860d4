"""The experiments behind docs/results.md: what is trained and evaluated, and doing it.

python3 experiments.py BUILD_DIR OUT_DIR trains and evaluates every experiment with every seed, as many at a time as
there are cores, each on one thread. What OUT_DIR already holds is not done again, so that an interrupted run goes on.
"""

import concurrent.futures
import dataclasses
import os
import pathlib
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
SEEDS = (1, 2, 3)
EVERY_FREQUENCY = "evaluate.frequency=once,daily,realtime"


@dataclasses.dataclass(frozen=True)
class Experiment:
    group: str  # which table it belongs to: kuairand, retail, retail_repeats, synth
    name: str
    dataset: str  # directory below OUT_DIR/datasets
    config: str
    words: tuple[str, ...] = ()  # key=value words of the training
    evaluation: tuple[str, ...] = ("evaluate.baselines=",)  # and of the evaluation
    after: str = ""  # instead of training: the run of this experiment, evaluated in another way
    seeds: tuple[int, ...] = SEEDS

    def run(self, out: pathlib.Path, seed: int) -> pathlib.Path:
        return out / "runs" / self.group / (self.after or self.name) / str(seed)

    def result(self, out: pathlib.Path, seed: int) -> pathlib.Path:
        return out / "results" / self.group / self.name / f"{seed}.json"


def kuairand(name, *words, dataset="kuairand", evaluation=("evaluate.baselines=",)):
    return Experiment("kuairand", name, dataset, "quickstart", words, evaluation)


def retail(name, *words, dataset="retail_cooccurrence", evaluation=("evaluate.baselines=", EVERY_FREQUENCY)):
    return Experiment("retail", name, dataset, "online_retail", words, evaluation)


BASELINES = "evaluate.baselines=random,popularity,mean_of_last,pinnersage_5,pinnersage_20"
ONLY_IN_BATCH = ("negatives.in_batch=512", "negatives.random=0")
ONLY_RANDOM = ("negatives.in_batch=0", "negatives.random=1536")
NO_LOGQ = "negatives.logq=false"
ID_TABLE = ("item.table.placement=replicated", "item.table.dim=32")

KUAIRAND = (
    kuairand("dense", evaluation=(BASELINES, EVERY_FREQUENCY)),
    kuairand("sasrec", "objective.name=sasrec", evaluation=("evaluate.baselines=", EVERY_FREQUENCY)),
    kuairand("next_action", "objective.name=next_action"),
    kuairand("all_action", "objective.name=all_action"),
    kuairand("dense_by_position", "objective.window_anchor=position"),
    kuairand("mixed_no_logq", NO_LOGQ),
    kuairand("in_batch", *ONLY_IN_BATCH),
    kuairand("in_batch_1000_steps", *ONLY_IN_BATCH, "train.steps=1000"),
    kuairand("in_batch_no_logq", *ONLY_IN_BATCH, NO_LOGQ),
    kuairand("random", *ONLY_RANDOM),
    kuairand("random_no_logq", *ONLY_RANDOM, NO_LOGQ),
    kuairand("random_64", "negatives.in_batch=0", "negatives.random=64"),
    kuairand("mixed_64", "negatives.in_batch=32", "negatives.random=32"),
    *(kuairand(f"without_{feature}", f"model.features.{feature}=false")
      for feature in ("content", "time", "surface", "action", "duration", "position")),
    kuairand("id_table", *ID_TABLE),
    kuairand("id_table_only", *ID_TABLE, dataset="kuairand_bare"),
    kuairand("vectors", dataset="kuairand_vectors"),
)

RETAIL = (
    retail("dense", evaluation=("evaluate.baselines=random,popularity,personal_popularity,mean_of_last,pinnersage_5",
                                EVERY_FREQUENCY)),
    retail("all_action", "objective.name=all_action"),
    retail("sasrec", "objective.name=sasrec"),
    retail("next_action", "objective.name=next_action"),
    retail("titles_dense", dataset="retail_titles"),
    retail("titles_sasrec", "objective.name=sasrec", dataset="retail_titles"),
    # How far the model can be brought above the baselines.
    *(retail(name, *words, dataset=dataset, evaluation=("evaluate.baselines=",)) for name, dataset, words in (
        ("longer", "retail_cooccurrence", ("train.steps=3000",)),
        ("recent_windows", "retail_cooccurrence", ("objective.recent_days=28",)),
        ("output_256", "retail_cooccurrence", ("model.output=256",)),
        ("id_table", "retail_cooccurrence", ID_TABLE),
        ("popularity_feature", "retail_popularity", ()),
        ("popularity_recent", "retail_popularity", ("objective.recent_days=28",)))),
    # With repeats allowed, a user's own favourites are what must be beaten.
    Experiment("retail_repeats", "dense", "retail_cooccurrence", "online_retail",
               ("positives.first_only=false",),
               ("evaluate.baselines=popularity,personal_popularity", "evaluate.exclude_seen=false")),
)

# Lasting interests, one-topic sessions, exploration and slow drift (pinnerformer synth), at a short budget and at a
# longer one: the dense objective learns more slowly.
SYNTH_WORDS = ("positives.actions=save", "split.users_percent=30", "split.window_days=14", "split.min_events=5",
               "model.max_length=64", "objective.window_days=14", "checkpoint.every_steps=1000")


def synth(name, *words):
    return Experiment("synth", name, "synth", "quickstart", SYNTH_WORDS + words,
                      ("evaluate.baselines=popularity,mean_of_last", EVERY_FREQUENCY), seeds=(1,))


SYNTH = (
    synth("dense", "train.steps=2000"),
    synth("sasrec", "train.steps=2000", "objective.name=sasrec"),
    synth("dense_short", "train.steps=500"),
    synth("sasrec_short", "train.steps=500", "objective.name=sasrec"),
)

EXPERIMENTS = KUAIRAND + RETAIL + SYNTH


def pinnerformer(build: pathlib.Path, log: pathlib.Path, *arguments: object) -> None:
    log.parent.mkdir(parents=True, exist_ok=True)
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    with log.open("a") as file:
        done = subprocess.run([build / "pinnerformer", *map(str, arguments)], cwd=ROOT, env=environment, stdout=file,
                              stderr=subprocess.STDOUT, check=False)
    if done.returncode:
        raise RuntimeError(f"pinnerformer {arguments[0]} ended with {done.returncode}; see {log}")


def carry_out(build: pathlib.Path, out: pathlib.Path, experiment: Experiment, seed: int) -> float:
    """Trains and evaluates. Seconds of wall time."""
    start = time.monotonic()
    run, result = experiment.run(out, seed), experiment.result(out, seed)
    if result.exists():
        return 0
    result.parent.mkdir(parents=True, exist_ok=True)
    log = result.with_suffix(".log")
    if not experiment.after:
        pinnerformer(build, log, "train", "--config", f"configs/{experiment.config}.yaml", f"run.directory={run}",
                     f"data.path={out / 'datasets' / experiment.dataset}", f"run.seed={seed}",
                     "checkpoint.keep_last=1", *experiment.words)
    unfinished = result.with_suffix(".unfinished")
    pinnerformer(build, log, "evaluate", "--run", run, "--json", unfinished, *experiment.evaluation)
    unfinished.rename(result)
    return time.monotonic() - start


def main() -> None:
    build, out = (pathlib.Path(word).resolve() for word in sys.argv[1:3])
    wanted = sys.argv[3:]  # groups; all when empty
    jobs = [(experiment, seed) for experiment in EXPERIMENTS for seed in experiment.seeds
            if not wanted or experiment.group in wanted]
    jobs.sort(key=lambda job: bool(job[0].after))  # what is evaluated in another way must have been trained
    workers = len(os.sched_getaffinity(0))
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        futures = {pool.submit(carry_out, build, out, *job): job for job in jobs}
        for number, future in enumerate(concurrent.futures.as_completed(futures), 1):
            experiment, seed = futures[future]
            print(f"{number}/{len(jobs)}  {experiment.group}/{experiment.name} seed {seed}: {future.result():.0f} s",
                  flush=True)


if __name__ == "__main__":
    main()
