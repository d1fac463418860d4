"""The same kinds of trouble in every command that reads a run, a dataset or vectors, or writes something."""
import atexit
import fcntl
import functools
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

import h5py

from registry import CONFIG, DATA, IO, NO_INPUT, ROOT, USAGE, Box, case
from tables import DAY, NOON, text_table

OLDER, NEWEST = "step-000000010", "step-000000020"
MODEL = ["data.path=out", "positives.actions=click", "model.max_length=8", "model.hidden=16", "model.layers=1",
         "model.heads=2", "model.output=8", "model.item_hidden=16", "objective.window_days=5", "objective.positions=4",
         "item.table.placement=replicated", "item.table.dim=8", "negatives.in_batch=16", "negatives.random=16",
         "optimizer.warmup_steps=5", "split.users_percent=30", "split.window_days=5", "split.min_events=2",
         "train.steps=20", "train.global_batch_users=16", "checkpoint.every_steps=10", "evaluate.exclude_seen=false"]
TRAIN = ["train", *MODEL, "run.directory=run"]
EMBED, EVALUATE = ["embed", "--run", "run"], ["evaluate", "--run", "run", "evaluate.bootstrap=0"]
RECOMMEND = ["recommend", "--run", "run", "--evaluation-users", "1"]
VECTORS = ["vectors", "--dataset", "out", "--before", "2023-12-20", "--dimension", "8"]
IMPORT = ["import", "e.csv", "--columns", "user=user,item=item,action=action,time=time"]
SYNTH = ["synth", "--users", "20", "--items", "60"]


@functools.cache
def made(test):
    """A dataset, a run with two checkpoints, and what other commands make of it; made once."""
    box = Box(test, tempfile.mkdtemp(prefix="pinnerformer-commands-"))
    atexit.register(shutil.rmtree, box.directory, ignore_errors=True)
    rows = [(user, (user * 7 + n * n) % 40, "click" if n % 2 else "view", NOON + user * 60 + n * 3 * DAY)
            for user in range(60) for n in range(12)]
    box.write("e.csv", text_table(dict(zip(("user", "item", "action", "time"), zip(*rows))), b","))
    box.run(*IMPORT, "--out", "out")
    box.run(*TRAIN)
    box.run(*EMBED, "--out", "v.h5")
    box.run("index", "v.h5", "--out", "i.hnsw")
    box.run("export", "--run", "run", "--out", "export")
    box.run(*EVALUATE, "--json", "evaluation.json")
    return box.directory


def fill(box):
    shutil.copytree(made(type(box.test)()), box.directory, dirs_exist_ok=True)


def each(kind, commands, *forms):
    """Registers a function of (box, form, words) for every command of a table."""
    def register(function):
        for command, words in commands.items():
            @case(kind, command, *forms)
            def run(box, form, words=words):
                fill(box)
                function(box, form, words)
        return function
    return register


# --- times ---------------------------------------------------------------------------------------

@each("times in another unit", {"vectors": (["vectors", "--dataset", "out", "--out", "x.h5", "--before"], USAGE),
                                "embed": ([*EMBED, "--out", "x.h5", "--active-since"], USAGE),
                                "train": ([*TRAIN, "--dry-run"], CONFIG), "evaluate": (EVALUATE, CONFIG)},
      "milliseconds", "microseconds", "a date")
def another_unit(box, form, words):
    words, code = words
    time = {"milliseconds": NOON * 1000, "microseconds": NOON * 1_000_000, "a date": 20231220}[form]
    more = [time] if code == USAGE else [f"split.end={time}"]
    box.run(*words, *more, code=code, parts=(str(time), "2023-12-20" if form == "a date" else "after 2100"))
    box.test.assertFalse((box.directory / "x.h5").exists())


# --- which checkpoint ----------------------------------------------------------------------------

@each("the newest checkpoint is damaged", {"evaluate": EVALUATE, "embed": [*EMBED, "--out", "x.h5"],
                                           "export": ["export", "--run", "run", "--out", "x"],
                                           "recommend": RECOMMEND}, "run")
def older_checkpoint(box, form, words):
    os.truncate(box.directory / f"run/checkpoints/{NEWEST}/model.safetensors", 100)
    done = box.run(*words, "--json", "r.json", parts=("skipped a damaged checkpoint", NEWEST, OLDER))
    box.test.assertIn(f"{OLDER}, step 10", done.stdout)
    result = json.loads((box.directory / "r.json").read_text())
    result = result[0] if isinstance(result, list) else result
    box.test.assertEqual((result["step"], Path(result["checkpoint"]).name), (10, OLDER))
    if (box.directory / "x.h5").exists():
        with h5py.File(box.directory / "x.h5") as file:
            box.test.assertIn(10, [value for name in file for value in file[name].attrs.values()
                                   if not isinstance(value, (str, bytes))] + list(file.attrs.values()))


@each("names of checkpoints", {"evaluate": EVALUATE, "embed": [*EMBED, "--out", "x.h5"]}, "10", "step-10", OLDER)
def checkpoint_names(box, form, words):
    box.test.assertIn("step 10", box.run(*words, "--checkpoint", form).stdout)
    box.run(*words, "--checkpoint", "latest", code=USAGE, parts=("--checkpoint latest", "expected a step"))


@each("nothing to publish", {"embed": [*EMBED, "--out", "v.h5", "--active-since", "2030-01-01"],
                             "vectors": ["vectors", "--dataset", "out", "--before", "2000-01-01", "--out", "v.h5"]},
      "over a file")
def nothing_to_publish(box, form, words):
    before = (box.directory / "v.h5").read_bytes()
    box.run(*words, code=DATA)
    box.test.assertEqual((box.directory / "v.h5").read_bytes(), before)


# --- output --------------------------------------------------------------------------------------

FILES = {"embed": ([*EMBED, "--out"], ".h5"), "vectors": ([*VECTORS, "--out"], ".h5"),
         "index": (["index", "v.h5", "--out"], ".hnsw"), "report": (["report", "run", "--out"], ".html"),
         "bench machine": (["bench", "machine", "--out"], ".yaml")}
RESULTS = {"evaluate --json": ([*EVALUATE, "--json"], ".json"), "recommend --json": ([*RECOMMEND, "--json"], ".json"),
           "import --json": ([*IMPORT, "--out", "x", "--json"], ".json")}
DIRECTORIES = {"export": ["export", "--run", "run", "--out"], "import": [*IMPORT, "--out"], "synth": [*SYNTH, "--out"],
               "export --triton": ["export", "--run", "run", "--triton"]}


def in_the_way(box, form, name):
    path = box.directory / name
    if form == "pipe":
        os.mkfifo(path)
    elif form == "directory":
        path.mkdir()
    else:
        if form == "link":
            box.write("precious", "mine")
        path.symlink_to("precious")
    return path


@each("output over what is no file", FILES | RESULTS, "pipe", "directory", "link", "dangling link")
def no_file(box, form, words):
    words, ending = words
    if form == "pipe" and ending == ".json":
        return  # a result may go through a pipe
    path = in_the_way(box, form, "x" + ending)
    kind = path.lstat()
    box.run(*words, path.name, code=USAGE if ending == ".json" else IO, parts=(path.name, "regular file"))
    box.test.assertEqual(path.lstat().st_mode, kind.st_mode)
    box.test.assertFalse((box.directory / "x").exists(), "the work was done before the name was looked at")
    if form == "link":
        box.test.assertEqual((box.directory / "precious").read_text(), "mine")
    elif form == "dangling link":
        box.test.assertFalse((box.directory / "precious").exists())


@each("output over what is no directory", DIRECTORIES, "pipe", "file", "link to a file")
def no_directory(box, form, words):
    path = box.directory / "x"
    if form == "file":
        path.write_text("mine")
    else:
        in_the_way(box, {"link to a file": "link"}.get(form, form), "x")
    mode = path.lstat().st_mode
    done = box.run(*words, "x", code=IO if "--triton" in words else DATA)
    box.test.assertIn("x", done.stderr)
    box.test.assertEqual(path.lstat().st_mode, mode)
    if form != "pipe":
        box.test.assertEqual(path.read_text(), "mine")


WRONG_ENDINGS = {"embed": ([*EMBED, "--out"], "x.csv"), "embed --users": ([*EMBED, "--users", "--out"], "x.pq"), "vectors": ([*VECTORS, "--out"], "x.npy"),
                 "index": (["index", "v.h5", "--out"], "x.json"), "report": (["report", "run", "--out"], "x.pdf"),
                 "export": (["export", "--run", "run", "--out"], "x.onnx"), "import": ([*IMPORT, "--out"], "x.h5"),
                 "synth": ([*SYNTH, "--out"], "x.parquet"), "evaluate": ([*EVALUATE, "--json"], "x.csv"),
                 "bench machine": (["bench", "machine", "--out"], "x.json")}


@each("an ending of another format", WRONG_ENDINGS, "output")
def wrong_ending(box, form, words):
    words, name = words
    before = sorted(box.directory.iterdir())
    box.run(*words, name, code=USAGE, parts=(name,))
    box.test.assertEqual(sorted(box.directory.iterdir()), before)


@each("no room", {"embed": [*EMBED, "--out", "x.h5"], "vectors": [*VECTORS, "--out", "x.h5"],
                  "index": ["index", "v.h5", "--out", "x.hnsw"], "report": ["report", "run", "--out", "x.html"],
                  "export": ["export", "--run", "run", "--out", "x"], "import": [*IMPORT, "--out", "x"],
                  "synth": [*SYNTH, "--out", "x"], "export --triton": ["export", "--run", "run", "--triton", "x"]},
      "limit of a file's size")
def no_room(box, form, words):
    done = box.run(shell=f"ulimit -f 1; exec $PF {' '.join(words)}", code=IO)
    box.test.assertNotIn("errno", done.stderr)
    box.test.assertFalse((box.directory / words[-1]).exists())


# --- names ---------------------------------------------------------------------------------------

HOME = {"embed": [[*EMBED, "--out", "~/x.h5"], ["embed", "--run", "~/run", "--out", "x.h5"],
                  [*EMBED, "--out", "x.h5", "--merge", "~/v.h5"], [*EMBED, "--out", "x.h5", "--projector", "~/p"]],
        "index": [["index", "~/v.h5", "--out", "x.hnsw"], ["index", "v.h5", "--out", "~/x.hnsw"]],
        "export": [["export", "--run", "run", "--out", "~/x"], ["export", "--run", "run", "--triton", "~/x"]],
        "evaluate": [[*EVALUATE, "--json=~/r.json"], [*EVALUATE, "data.path=~/out"]],
        "recommend": [[*RECOMMEND, "--vectors", "~/v.h5"], [*RECOMMEND, "--index", "~/i.hnsw"]],
        "report": [["report", "~/run", "--out", "x.html"], ["report", "run", "--out=~/x.html"]],
        "import": [[*IMPORT, "--out", "~/x"], ["import", "~/e.csv", "--out", "x"], [*IMPORT, "--items", "~/i.csv"]],
        "vectors": [["vectors", "--dataset", "~/out", "--before", "2023-12-20"], [*VECTORS, "--out", "~/x.h5"]],
        "checkpoint": [["checkpoint", "copy", "run", "~/x"], ["checkpoint", "verify", "~/run"]],
        "data": [["data", "inspect", "~/out"]], "synth": [["synth", "--out", "~/x"]],
        "plan": [["plan", "--ranks", "2", "--machine", "~/m.yaml"]], "doctor": [["doctor", "data.path=~/out"]],
        "train": [["train", *MODEL, "run.directory=~/run"], [*TRAIN, "data.path=~/out"], [*TRAIN, "--config", "~/c.yaml"],
                  [*TRAIN, "checkpoint.mirror=~/m"], [*TRAIN, "metrics.prometheus_file=~/m"],
                  [*TRAIN, "--init-from", "~/run"]],
        "launch slurm": [["launch", "slurm", "--dry-run", "run.directory=~/run"]]}


@each("~ that no shell has expanded", HOME, "paths")
def from_home(box, form, lines):
    for words in lines:
        with box.test.subTest(" ".join(words)):
            settings = any("=~" in word and not word.startswith("-") for word in words)
            box.run(*words, code=CONFIG if settings else USAGE, parts=("~", "write the whole path"))
            box.test.assertFalse((box.directory / "~").exists())


@case("variables that no shell has expanded", "train", "c.yaml", "key", "option")
def from_variable(box, form):
    box.write("c.yaml", 'run:\n  directory: "$HOME/run"\n')
    words, code = {"c.yaml": (["--config", "c.yaml"], CONFIG), "key": (["data.path=${DATA}/x"], CONFIG),
                   "option": (["--json", "$HOME/x.json"], USAGE)}[form]
    box.run("train", *words, code=code, parts=("variable", "not expanded", "write the whole path"))
    box.test.assertFalse((box.directory / "$HOME").exists())


# Words of the command line, and what the message must hold.
HINTS = [
    (["evaluate", "--run", f"run/checkpoints/{NEWEST}"], USAGE, f"--checkpoint run/checkpoints/{NEWEST}"),
    (["evaluate", "--checkpoint", "run"], USAGE, "--run run"),
    (["evaluate", "run"], USAGE, "--run run"),
    (["evaluate", "--run", "e.csv"], USAGE, "--run e.csv is a file"),
    (["evaluate", "--run", "out"], DATA, "out/checkpoints: expected a run directory"),
    (["evaluate", "--checkpoint", f"run/checkpoints/{NEWEST}/model.safetensors"], USAGE, "model.safetensors is a file"),
    ([*EMBED, "--out", "out/items.h5"], USAGE, "replace a file of a dataset"),
    ([*VECTORS, "--out", "out/users-00000-of-00001.h5"], USAGE, "replace a file of a dataset"),
    (["evaluate", "\u2014run", "run"], USAGE, "two hyphens"),
    (["recommend", "--run", "run", "--k", "5"], USAGE, "'--items'"),
    (["evaluate", "--run", "run", "--json", "-"], USAGE, "/dev/stdout"),
    (["embed", "--run", "run", "--out", "x.h5", "--projector", "e.csv"], USAGE, "expected a directory, found a file"),
    (["embed", "--run", "run", "--out", "-"], USAGE, "found -"),
    (["embed", "--run", "run", "--out", "x.h5", "--merge", ""], USAGE, "--merge: expected FILE, found an empty text"),
    (["embed", "--run", "run", "--out", "x.h5", "--active-since", ""], USAGE, "expected TIME, found an empty text"),
    (["embed", "--run", "", "--checkpoint", "10", "--out", "x.h5"], USAGE, "--run: expected DIR"),
    (["evaluate", "--run", "run", "--run", "./run"], USAGE, "the same weights"),
    ([*TRAIN, "--resume", "run", "run.directory=fresh"], USAGE, "run is no checkpoint"),
    (["explain", "--user", "1"], NO_INPUT, "data.path=DIR"),
    (["data", "inspect", "out/items.h5"], NO_INPUT, "the dataset is the directory out"),
    (["data", "inspect", "e.csv"], NO_INPUT, "e.csv is a file"),
    (["evaluate", "--run", "--json", "x.json"], USAGE, "--run: expected a value behind it, found the option --json"),
    (["embed", "run", "--out", "x.h5"], USAGE, "--run run"),
    (["evaluate", "--model", "run"], USAGE, "'--run'"),
    (["train", "lr=1e-3"], CONFIG, "optimizer.learning_rate"),
    (["train", "--batch-size", "8"], USAGE, "train.global_batch_users=VALUE"),
    (["train", "c.yaml"], USAGE, "--config c.yaml"),
    (["train", "train.steps", "=", "5"], USAGE, "train.steps=VALUE"),
    (["import", "--sep", ";", "e.csv"], USAGE, "'--delimiter'"),
    (["import", "--delim", ";", "e.csv"], USAGE, "'--delimiter'"),
    (["import", "--input", "e.csv"], USAGE, "'--events'"),
    (["checkpoint", "run"], USAGE, "inspect, verify, diff"),
    (["eval", "--run", "run"], USAGE, "'evaluate'"),
    (["-v"], USAGE, "'--version'"),
    (["--verison"], USAGE, "'--version'"),
]


@case("words that people type", "all commands", "hints")
def hints(box, form):
    fill(box)
    for words, code, part in HINTS:
        with box.test.subTest(" ".join(words)):
            box.run(*words, code=code, parts=(part,))
    box.test.assertEqual(box.run("help", "train").stdout, box.run("train", "--help").stdout)
    box.run("help", "tran", code=USAGE, parts=("'train'",))
    for words in (["version"], ["--version"]):
        box.test.assertIn("pinnerformer ", box.run(*words).stdout)


@each("standard output on a full disk", {"recommend": RECOMMEND, "data inspect": ["data", "inspect", "out"],
                                         "help": ["help", "train"], "version": ["--version"]}, "/dev/full")
def full_output(box, form, words):
    box.run(shell=f"exec $PF {' '.join(words)} > {form}", code=IO, parts=("standard output",))


@case("a run in the directory of a dataset", "train", "directory")
def run_over_dataset(box, form):
    fill(box)
    box.run("train", *MODEL, "run.directory=out", code=CONFIG, parts=("run.directory", "out", "dataset"))
    box.run("data", "validate", "out")


@case("a run within another run", "train", "checkpoint", "below a checkpoint", "directory of checkpoints")
def run_in_run(box, form):
    fill(box)
    name = {"checkpoint": f"run/checkpoints/{NEWEST}", "below a checkpoint": f"run/checkpoints/{NEWEST}/new",
            "directory of checkpoints": "run/checkpoints/"}[form]
    before = sorted((box.directory / "run").rglob("*"))
    box.run("train", *MODEL, f"run.directory={name}", code=CONFIG, parts=("run.directory", name, "above"))
    box.test.assertEqual(sorted((box.directory / "run").rglob("*")), before)


@case("fewer users than a block has", "bench data", "data.block_users")
def small_dataset(box, form):
    fill(box)
    shown = box.run("bench", "data", "data.path=out", "--seconds", "0.1", f"{form}=4096").stdout
    box.test.assertEqual(json.loads(shown)["blocks"]["blocks"], 1)


@case("checkpoints of a run in use", "checkpoint prune", "run", "checkpoints", "slash")
def prune_in_use(box, form):
    fill(box)
    path = {"run": "run", "checkpoints": "run/checkpoints", "slash": "run/checkpoints/"}[form]
    with open(box.directory / "run/lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        box.run("checkpoint", "prune", path, "--keep-last", "1", code=IO, parts=("run is in use",))
    box.test.assertTrue((box.directory / f"run/checkpoints/{OLDER}").exists())
    box.run("checkpoint", "prune", path, "--keep-last", "1")
    box.test.assertEqual([path.name for path in (box.directory / "run/checkpoints").iterdir()], [NEWEST])


@case("a result over what the command writes", "embed", "--json")
def json_over_own_vectors(box, form):
    fill(box)
    words = [*EMBED, "--items", "--out", "x.npy"]
    for name in ("x.json", "./x.json", "out/../x.json"):
        box.run(*words, form, name, code=USAGE, parts=(name, "--out writes x.json"))
    box.run(*words, form, "other.json")
    box.test.assertIn("xxh3", (box.directory / "x.json").read_text())
    box.run(*EMBED, "--items", "--out", "x.parquet", form, "y.json")


@case("a result over what the command writes", "index", "--json")
def json_over_own_index(box, form):
    fill(box)
    for name in ("new.hnsw", "new"):
        box.run("index", "v.h5", "--out", name, form, f"{name}.json", code=USAGE, parts=(f"--out writes {name}.json",))
    box.test.assertEqual(list(box.directory.glob("new*")), [])


@case("a result over what the command writes", "export", "--json")
def json_over_own_export(box, form):
    fill(box)
    box.run("export", "--run", "run", "--out", "x", form, "x/export.json", code=USAGE, parts=("--out writes x,",))
    box.run("export", "--run", "run", "--out", "x", form, "export.json")
    box.run("export", "--verify", "x", form, "export.json")


@case("a result over a description", "evaluate", "--json")
def json_over_description(box, form):
    fill(box)
    box.run(*EMBED, "--items", "--out", "x.npy")
    for name in (f"run/checkpoints/{NEWEST}/MANIFEST.json", f"run/checkpoints/{NEWEST}/data.json", "i.hnsw.json",
                 "export/export.json", "x.json"):
        before = (box.directory / name).read_bytes()
        box.run(*EVALUATE, form, name, code=USAGE, parts=(name, "the description of"))
        box.test.assertEqual((box.directory / name).read_bytes(), before)


@case("a mirror that does not protect its copies", "train", "checkpoint.mirror")
def mirror_at_risk(box, form):
    fill(box)
    (box.directory / "link").symlink_to("run")
    for mirror in ("run", "run/", "run/checkpoints", "run/copies", "./run/../run/copies", "link/copies"):
        box.run(*TRAIN, f"{form}={mirror}", code=CONFIG, parts=(form, "lies in the run directory", "another disk"))
    box.run(*TRAIN, f"{form}=out", code=CONFIG, parts=(form, "holds a dataset"))
    box.test.assertEqual(list(box.directory.glob("out/step-*")), [])
    box.run(*TRAIN, f"{form}=run2", "--dry-run")  # a name that begins like the run's


@case("a mirror that is a file", "train", "checkpoint.mirror")
def mirror_is_file(box, form):
    fill(box)
    box.run("train", *MODEL, "run.directory=new", f"{form}=e.csv", code=CONFIG, parts=(form, "e.csv is a file"))


@case("no user has as many events", "recommend", "--history")
def no_example_user(box, form):
    fill(box)
    box.run("recommend", "--run", "run", "--evaluation-users", "1", form, "100", code=DATA,
            parts=("no held-out user of out has 100 events", "--history"))


@case("a blank in a run directory", "launch slurm", "srun.sbatch", "mpirun.sbatch")
def blank_in_run_directory(box, form):
    line = next(line for line in (ROOT / "launch/slurm" / form).read_text().splitlines() if line.startswith("run=$("))
    for name in ("my run", "a # b", "plain"):
        box.write("script", f'program=$PF; words=("run.directory={name}" data.path=x)\n{line}\nprintf %s "$run"\n')
        box.test.assertEqual(box.run(shell="bash script").stdout, name)


@case("control characters in an id", "recommend", "--users")
def control_characters(box, form):
    fill(box)
    box.run("recommend", "--run", "run", "--users", "\x1b[31m", code=DATA, parts=("\\x1b[31m",))


@case("items that the model has never seen", "recommend", "data.path")
def unseen_items(box, form):
    fill(box)
    lines = (box.directory / "e.csv").read_text().splitlines()
    box.write("other.csv", "\n".join([lines[0], *(line.replace(",", ",99", 1) for line in lines[1:])]))
    box.run("import", "other.csv", *IMPORT[2:], "--out", "other")
    note = "40 of 40 items have no learned row of their own"
    box.test.assertIn(note, box.run(*RECOMMEND, "data.path=other").stdout)
    box.test.assertNotIn(note, box.run(*RECOMMEND).stdout)


@case("a dataset that is not there", "plan", "data.path")
def plan_without_data(box, form):
    fill(box)
    plan = ["plan", "--ranks", "2", *MODEL]
    box.run(*plan, "data.path=ouT", parts=("data.path = ouT does not exist", "is assumed"))
    box.test.assertEqual(box.run(*plan).stderr, "")
