"""Paths that every command meets: too long, pipes and devices, another kind of directory, nothing at all."""
import os
import sys

from command_cases import EMBED, NEWEST, OLDER, RECOMMEND, SYNTH, each, fill
from registry import CONFIG, DATA, IO, NO_INPUT, case


@case("a path that is too long", "all commands", "path", "name")
def long_path(box, form):
    path = {"path": "x/" * 2500 + "y", "name": "z" * 300}[form]
    for words in (["data", "inspect", path], ["checkpoint", "verify", path], ["evaluate", "--run", path],
                  ["export", "--verify", path], ["train", "--config", path], [*SYNTH, "--out", path]):
        with box.test.subTest(words[0]):
            box.run(*words, code=IO, parts=("is too long: " + path[:80] + "...", "at most 4095 characters, names 255"))


@case("a working directory whose path is too long", "all commands", "--version", "data", "train")
def long_working_directory(box, form):
    words = {"--version": ["--version"], "data": ["data", "inspect", "x"], "train": ["train", "run.directory=run"]}[form]
    box.write("deep.py", "import os, sys\n"
                         "for _ in range(41):\n"
                         "    os.mkdir('d' * 100)\n"
                         "    os.chdir('d' * 100)\n"
                         "os.execv(os.environ['PF'], ['pinnerformer', *sys.argv[1:]])\n")
    box.run(shell=f"exec {sys.executable} deep.py {' '.join(words)}", code=CONFIG,
            parts=("the path of the working directory has more characters than the system's limit of 4095",))


# --- checkpoints beside other things ---------------------------------------------------------------

@case("a copy of a checkpoint into something else", "checkpoint copy", "dataset", "run", "checkpoint", "export")
def copy_into_something_else(box, form):
    fill(box)
    target = {"dataset": "out", "run": "run", "checkpoint": f"run/checkpoints/{OLDER}", "export": "export"}[form]
    before = sorted((box.directory / target).rglob("*"))
    box.run("checkpoint", "copy", "run", target, code=DATA,
            parts=(f"checkpoint copy: {target} is a{'n' * (form == 'export')} {form}", "expected a directory that is empty"))
    box.test.assertEqual(sorted((box.directory / target).rglob("*")), before)
    box.run("checkpoint", "copy", "run", "backup")
    box.run("checkpoint", "copy", f"run/checkpoints/{OLDER}", "backup")
    box.test.assertEqual(sorted(path.name for path in (box.directory / "backup").iterdir()), [OLDER, NEWEST])


@case("what is no checkpoint", "checkpoint", "verify", "inspect", "diff")
def no_checkpoint(box, form):
    fill(box)
    for path, kind, command in (("out", "a dataset", "data validate out"), ("export", "an export", "export --verify export")):
        words = ["checkpoint", form, path] + (["run/500"] if form == "diff" else [])
        done = box.run(*words, code=DATA, parts=(f"{path} is {kind}, not a checkpoint", f"use `pinnerformer {command}`"))
        box.test.assertNotIn("DAMAGED", done.stdout)


# --- pipes and devices in place of input -----------------------------------------------------------

INPUT = {"train": [["train", "--config", "P"]], "recommend": [[*RECOMMEND, "--vectors", "P"]],
         "embed": [[*EMBED, "--out", "x.h5", "--active-since", "2023-12-01", "--merge", "P"]],
         "index": [["index", "P", "--out", "x.hnsw"]],
         "export": [["export", "--run", "run", "--out", "x", "--evaluation", "P"]],
         "report": [["report", "run", "--out", "x.html", "--evaluation", "P"],
                    ["report", "run", "--out", "x.html", "--recommendations", "P"]],
         "plan": [["plan", "--ranks", "2", "--machine", "P"]]}


@each("pipes and devices in place of a file", INPUT, "pipe", "device")
def special_input(box, form, lines):
    os.mkfifo(box.directory / "pipe")
    name = {"pipe": "pipe", "device": "/dev/zero"}[form]
    for words in lines:
        with box.test.subTest(" ".join(words)):
            words = [name if word == "P" else word for word in words]
            code = CONFIG if words[0] in ("train", "plan") else DATA
            box.run(*words, code=code, parts=(name, "regular file"))


@case("a part of the run is a pipe", "evaluate", "MANIFEST.json", "config.yaml", "model.safetensors", "data.json")
def pipe_in_checkpoint(box, form):
    fill(box)
    for step in (OLDER, NEWEST):
        path = box.directory / f"run/checkpoints/{step}" / form
        path.unlink()
        os.mkfifo(path)
    box.run("checkpoint", "inspect", f"run/checkpoints/{NEWEST}", code=DATA)


@case("a part of the index is a pipe", "recommend", "i.hnsw", "i.hnsw.json", "i.hnsw.ids.npy")
def pipe_in_index(box, form):
    fill(box)
    (box.directory / form).unlink()
    os.mkfifo(box.directory / form)
    box.run(*RECOMMEND, "--index", "i.hnsw", code=DATA, parts=(form, "regular file"))


@case("what is not there", "all commands", "input")
def missing(box, form):
    fill(box)
    for words in (["evaluate", "--run", "none"], ["data", "inspect", "none"], ["index", "none.h5", "--out", "x.hnsw"],
                  ["report", "none", "--out", "x.html"], ["train", "--config", "none.yaml"],
                  [*RECOMMEND, "--index", "none.hnsw"], [*RECOMMEND, "--vectors", "none.h5"],
                  ["export", "--verify", "none"], ["checkpoint", "inspect", "none"]):
        with box.test.subTest(" ".join(words)):
            box.run(*words, code=NO_INPUT, parts=("none",))
