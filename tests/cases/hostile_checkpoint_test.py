"""Checkpoints that were made on purpose end in one clear message and exit code 65, in bounded time and memory.

Each case changes a copy of one small checkpoint. Where a case needs it, sizes and checksums in the manifest are
made right again, so that the changed file itself is read.
"""
import ctypes
import json
import os
import resource
import shutil
import struct
import subprocess
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "e2e"))
import numpy as np
from safetensors.numpy import load_file, save_file

from support import BINARY, ENVIRONMENT, ROOT, SmallRunTest, run

BAD_DATA = 65
MOST_MEMORY = 8 << 30  # of address space: LibTorch alone reserves some
MOST_SECONDS = 60
HUGE = 10 << 40  # bytes that a sparse file claims

XXHASH = ctypes.CDLL("libxxhash.so.0")
XXHASH.XXH3_64bits.restype = ctypes.c_uint64
XXHASH.XXH3_64bits.argtypes = [ctypes.c_char_p, ctypes.c_size_t]


def checksum(content):
    return f"{XXHASH.XXH3_64bits(content, len(content)):016x}"


def read_manifest(checkpoint):
    return json.loads((checkpoint / "MANIFEST.json").read_text())


def write_manifest(checkpoint, manifest):
    """Writes it with the right checksum of its own content, its last entry."""
    manifest.pop("checksum", None)
    text = json.dumps({**manifest, "checksum": "0" * 16})
    (checkpoint / "MANIFEST.json").write_text(text.replace("0" * 16, checksum(text.encode())))


def change(**entries):
    """A change of manifest entries."""
    return lambda checkpoint: write_manifest(checkpoint, {**read_manifest(checkpoint), **entries})


def change_files(edit):
    def apply(checkpoint):
        manifest = read_manifest(checkpoint)
        edit(manifest["files"])
        write_manifest(checkpoint, manifest)
    return apply


def sign(checkpoint, name):
    """Gives the manifest the size and checksum that the file has now."""
    content = (checkpoint / name).read_bytes()
    change_files(lambda files: files.update({name: {"bytes": len(content), "xxh3": checksum(content)}}))(checkpoint)


def manifest_text(text):
    return lambda checkpoint: (checkpoint / "MANIFEST.json").write_text(text)


def instead(name, make):
    """Another kind of file in place of `name`."""
    def apply(checkpoint):
        (checkpoint / name).unlink()
        make(checkpoint / name)
    return apply


def sparse(name, size):
    def apply(checkpoint):
        os.truncate(checkpoint / name, size)
        if name != "MANIFEST.json":
            change_files(lambda files: files[name].update(bytes=size))(checkpoint)
    return apply


def header(name, text, data=b""):
    """A safetensors file with this header."""
    def apply(checkpoint):
        (checkpoint / name).write_bytes(struct.pack("<Q", len(text)) + text + data)
        sign(checkpoint, name)
    return apply


def tensors(name, edit):
    def apply(checkpoint):
        found = load_file(checkpoint / name)
        edit(found)
        save_file(found, checkpoint / name)
        sign(checkpoint, name)
    return apply


def nan_weights(weights):
    weights["input.weight"][0, 0] = np.nan


def changed_row(row):
    """A file of changed rows that names a row the table does not have."""
    def apply(checkpoint):
        width = load_file(checkpoint / "item_table.safetensors")["rows"].shape[1]
        save_file({"row": np.array([row], "int64"), "rows": np.zeros((1, width), "float32"),
                   "updates": np.zeros(1, "int32"), "adagrad": np.zeros(1, "float32")},
                  checkpoint / "item_table_changes.safetensors")
        sign(checkpoint, "item_table_changes.safetensors")
    return apply


def move_file(old, new):
    return change_files(lambda files: files.update({new: files.pop(old)}))


MODEL, TRAINING = "model.safetensors", "training.safetensors"
INSPECT, TRAIN, EVALUATE = "checkpoint inspect", "train", "evaluate"

# Kind, what is changed, commands, words of the message.
CASES = [
    ("manifest without files", lambda c: write_manifest(c, {k: v for k, v in read_manifest(c).items() if k != "files"}),
     [INSPECT, EVALUATE, TRAIN], ["files"]),
    ("files is null", change(files=None), [INSPECT], ["files", "null"]),
    ("no file named", change(files={}), [EVALUATE, TRAIN], ["does not name model.safetensors"]),
    ("without the model file", change_files(lambda files: files.pop(MODEL)), [EVALUATE, TRAIN], ["does not name"]),
    ("absolute name", move_file("data.json", "/etc/passwd"), [INSPECT], ["/etc/passwd", "beside the manifest"]),
    ("name in another folder", move_file("data.json", "../other"), [INSPECT], ["../other"]),
    ("control character in a name", move_file("data.json", "a\x1b[2J"), [INSPECT], ["beside the manifest"]),
    ("negative position", change(epoch_consumed=-8), [INSPECT, TRAIN], ["epoch_consumed", "-8"]),
    ("huge position", change(epoch_consumed=2**63), [INSPECT, TRAIN], ["epoch_consumed"]),
    ("impossible position", change(epoch_consumed=10**9), [TRAIN], ["1000000000"]),
    ("wrong position", change(epoch_consumed=1), [TRAIN], ["epoch_consumed 1"]),
    ("position is a fraction", change(epoch_consumed=1.5), [INSPECT], ["1.5"]),
    ("step is a text", change(step="4"), [INSPECT], ["step"]),
    ("step beyond 2^53", change(step=2**62), [INSPECT], ["step"]),
    ("version is a list", change(version=[2]), [INSPECT], ["version"]),
    ("size is negative", change_files(lambda files: files[MODEL].update(bytes=-1)), [INSPECT], ["bytes"]),
    ("manifest is no JSON", manifest_text("{"), [INSPECT, EVALUATE], ["not JSON"]),
    ("manifest is nested deeply", manifest_text("[" * 1_000_000), [INSPECT], ["nested"]),
    ("manifest is very long", sparse("MANIFEST.json", 300 << 20), [INSPECT], ["expected at most"]),
    ("manifest is a pipe", instead("MANIFEST.json", os.mkfifo), [INSPECT, EVALUATE, TRAIN], ["not a regular file"]),
    ("manifest is endless", instead("MANIFEST.json", lambda p: p.symlink_to("/dev/zero")), [INSPECT, TRAIN],
     ["not a regular file"]),
    ("model is a pipe", instead(MODEL, os.mkfifo), [INSPECT, EVALUATE], ["model.safetensors", "not a regular file"]),
    ("model is endless", instead(MODEL, lambda p: p.symlink_to("/dev/zero")), [INSPECT], ["not a regular file"]),
    ("configuration is a pipe", instead("config.yaml", os.mkfifo), [INSPECT], ["config.yaml", "not a regular file"]),
    ("model claims terabytes", sparse(MODEL, HUGE), [INSPECT, EVALUATE], [str(HUGE), "expected at most"]),
    ("header is nested deeply", header(MODEL, b"[" * 40_000_000), [INSPECT], ["model.safetensors", "header"]),
    ("short header is nested deeply", header(MODEL, b"[" * 4_000_000), [INSPECT], ["nested"]),
    ("tensors share their data",
     header(TRAINING, json.dumps({f"t{i}": {"dtype": "U8", "shape": [1 << 20], "data_offsets": [0, 1 << 20]}
                                  for i in range(30_000)}).encode(), bytes(1 << 20)), [INSPECT, TRAIN], ["begins"]),
    ("shape overflows",
     header(MODEL, b'{"a": {"dtype": "F32", "shape": [9007199254740992, 4096], "data_offsets": [0, 0]}}'),
     [INSPECT], ["shape"]),
    ("state without counts", tensors(TRAINING, lambda state: state.pop("positive_counts")), [TRAIN],
     ["positive_counts"]),
    ("counts of another shape", tensors(TRAINING, lambda s: s.update({"positive_counts": np.zeros((3, 8), "int32")})),
     [TRAIN], ["positive_counts", "[3, 8]"]),
    ("negative counts", tensors(TRAINING, lambda s: s["positive_counts"].__isub__(5)), [TRAIN], ["negative counts"]),
    ("state without moments", tensors(TRAINING, lambda s: s.pop("adam.steps")), [TRAIN], ["adam.steps"]),
    ("weights hold NaN", tensors(MODEL, nan_weights), [EVALUATE, TRAIN], ["input.weight", "NaN"]),
    ("weight of another type", tensors(MODEL, lambda w: w.update({"input.bias": w["input.bias"].astype("float64")})),
     [EVALUATE], ["input.bias"]),
    ("row beyond the table", changed_row(1 << 40), [INSPECT, EVALUATE, TRAIN], ["rows that the table does not have"]),
    ("negative row", changed_row(-1), [EVALUATE], ["rows that the table does not have"]),
    ("table without its state", lambda c: ((c / "item_table_training.safetensors").unlink(), change_files(
        lambda files: files.pop("item_table_training.safetensors"))(c)), [INSPECT], ["item_table_training"]),
]


def limit_memory():
    if "ASAN_OPTIONS" not in os.environ:  # it reserves terabytes of addresses
        resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, MOST_MEMORY))


class HostileCheckpoint(SmallRunTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        run("train", *cls.words("whole", "train.steps=4", "checkpoint.every_steps=4", *cls.table()))

    @staticmethod
    def table():
        return ["item.table.placement=replicated", "item.table.dim=8"]

    def copy_of_run(self, name):
        copy = self.directory / name
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(self.directory / "whole", copy)
        return copy, copy / "checkpoints/step-000000004"

    def command(self, command, run_directory, checkpoint):
        if command == TRAIN:
            return ["train", *self.words(run_directory.name, "train.steps=6", "checkpoint.every_steps=4",
                                         *self.table())]
        if command == EVALUATE:
            return ["evaluate", "--checkpoint", str(checkpoint)]
        return [*command.split(), str(checkpoint)]

    def refuse(self, words, parts):
        result = subprocess.run([BINARY, *words], cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True,
                                timeout=MOST_SECONDS, preexec_fn=limit_memory)
        self.assertEqual(result.returncode, BAD_DATA, f"{words}\n{result.stdout}{result.stderr}")
        for part in parts:
            self.assertIn(part, result.stderr)
        self.assertEqual(result.stderr.count(f"pinnerformer {words[0]}:"), 1, result.stderr)
        self.assertLess(len(result.stderr), 2000)
        self.assertNotIn("\x1b", result.stderr)

    def test_every_kind_is_refused_by_every_command(self):
        for kind, apply, commands, parts in CASES:
            for command in commands:
                with self.subTest(kind=kind, command=command):
                    run_directory, checkpoint = self.copy_of_run("changed")
                    apply(checkpoint)
                    self.refuse(self.command(command, run_directory, checkpoint), parts)

    def test_an_unchanged_copy_is_accepted(self):
        """The generators' own manifest, with the right sizes and checksums, is a good one."""
        run_directory, checkpoint = self.copy_of_run("unchanged")
        sign(checkpoint, MODEL)
        for command in (INSPECT, EVALUATE, TRAIN):
            run(*self.command(command, run_directory, checkpoint))

    def test_a_missing_checkpoint_is_no_input(self):
        missing = self.directory / "whole/checkpoints/step-000000099"
        run("checkpoint", "inspect", missing, expect=66)
        run("evaluate", "--checkpoint", missing, expect=66)


if __name__ == "__main__":
    unittest.main()
