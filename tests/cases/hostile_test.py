"""HDF5 files that were made on purpose end in one clear message, in bounded time and memory, for every reader.

The kinds are in hostile_*_kinds.py. A kind goes through `data validate` and one other command in turn; PF_SOAK=1
takes all of them. `hostile_test.py --table` prints the table of docs/security.md.
"""
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import unittest
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "e2e"))
import h5py
import hostile_dataset_kinds  # noqa: F401: fills the tables
import hostile_hdf5 as hostile
import hostile_vector_kinds  # noqa: F401
import numpy as np

from support import BINARY, ENVIRONMENT, ROOT, run

BAD_DATA = 65
MOST_MEMORY = 8 << 30  # of address space: LibTorch alone reserves some
MOST_SECONDS = 120  # a machine that others use is slow
SOAK = os.environ.get("PF_SOAK") == "1"
SEEDS = range(2000 if SOAK else 20)

MODEL = ["positives.actions=click", "model.max_length=8", "model.hidden=16", "model.layers=1", "model.heads=2",
         "model.output=16", "model.item_hidden=16", "objective.window_days=14", "objective.positions=4",
         "negatives.in_batch=16", "negatives.random=16", 
         "optimizer.warmup_steps=1", "split.users_percent=20", "split.window_days=3", "split.min_events=2",
         "train.global_batch_users=16", "train.steps=2", "checkpoint.every_steps=2", "train.log_every=1"]

# Commands that read a dataset; D is the dataset, C a checkpoint, O a place for output.
DATASET_READERS = {
    "data validate": ["data", "validate", "D"],
    "data inspect": ["data", "inspect", "D"],
    "train --dry-run": ["train", "--dry-run", *MODEL, "data.path=D", "run.directory=O.run"],
    "evaluate": ["evaluate", "--checkpoint", "C", "data.path=D"],
    "embed": ["embed", "--checkpoint", "C", "data.path=D", "--out", "O.h5"],
    "recommend": ["recommend", "--checkpoint", "C", "data.path=D", "--evaluation-users", "1", "--history", "1"],
    "vectors": ["vectors", "--dataset", "D", "--before", "2024-03-01", "--min-users", "1", "--dimension", "4",
                "--out", "O.h5"],
}
# Commands that read a file F of `embed`.
VECTOR_READERS = {
    "embed --merge": ["embed", "--checkpoint", "C", "--active-since", "2024-01-25", "--merge", "F", "--out", "O.h5"],
    "recommend --vectors": ["recommend", "--checkpoint", "C", "--evaluation-users", "1", "--history", "1",
                            "--vectors", "F"],
    "index": ["index", "F", "--least-recall", "0", "--out", "O.hnsw"],
}
TAKEN = {("vectors of another width", "index")}  # an index is of any width: it is asked with a model later
# What only the reading of all content finds; other commands may work with what they read of it.
FOUND_BY_READING = {"times at the end of int64", "item beyond the table", "negative action"}


def limit_memory():
    if "ASAN_OPTIONS" not in os.environ:  # it reserves terabytes of addresses
        resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, MOST_MEMORY))


def write_events(path):
    random = np.random.default_rng(1)
    rows = ["user,item,action,time"]
    for user in range(60):
        for _ in range(12):
            rows.append(f"u{user},i{random.integers(40)},{random.choice(['click', 'view'])},"
                        f"{1704067200 + int(random.integers(30 * 86400))}")
    path.write_text("\n".join(rows) + "\n")


def write_items(directory):
    (directory / "items.csv").write_text(
        "item,title,topic\n" + "".join(f"i{i},title {i},t{i % 3}\n" for i in range(40)))
    with h5py.File(directory / "vectors.h5", "w") as file:
        file["item_id"] = [f"i{i}" for i in range(40)]
        file["vector"] = np.random.default_rng(2).normal(size=(40, 8)).astype("float32")


class HostileHdf5(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.directory = Path(tempfile.mkdtemp(prefix="pinnerformer-e2e-"))
        cls.addClassCleanup(shutil.rmtree, cls.directory, ignore_errors=True)
        write_events(cls.directory / "events.csv")
        write_items(cls.directory)
        cls.dataset = cls.directory / "dataset"
        cls.import_words = ["import", "--events", cls.directory / "events.csv",
                            "--columns", "user=user,item=item,action=action,time=time"]
        run(*cls.import_words, "--items", cls.directory / "items.csv",
            "--item-columns", "id=item,title=title,topic=topic",
            "--vectors", cls.directory / "vectors.h5", "--out", cls.dataset)
        run("train", *MODEL, f"data.path={cls.dataset}", f"run.directory={cls.directory}/run")
        cls.checkpoint = cls.directory / "run/checkpoints/step-000000002"
        cls.vectors = cls.directory / "embedded.h5"
        run("embed", "--checkpoint", cls.checkpoint, "--out", cls.vectors)

    def place(self, name):
        """A new folder for one case."""
        place = self.directory / "cases" / name.replace("/", "-").replace(" ", "-")
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        return place

    def command(self, words, place, dataset=None, file=None):
        names = {"D": dataset, "F": file, "C": self.checkpoint, "data.path=D": f"data.path={dataset}",
                 "O.h5": place / "out.h5", "O.hnsw": place / "out.hnsw", "run.directory=O.run": f"run.directory={place}/run"}
        return [str(names.get(word, word)) for word in words]

    def start(self, words):
        try:
            done = subprocess.run([BINARY, *words], cwd=ROOT, env=ENVIRONMENT, capture_output=True,
                                  stdin=subprocess.DEVNULL, timeout=MOST_SECONDS, preexec_fn=limit_memory)
        except subprocess.TimeoutExpired:
            self.fail(f"{words} took more than {MOST_SECONDS} s")
        return done.returncode, (done.stdout + done.stderr).decode("utf-8", "backslashreplace")

    def refuse(self, name, reader, place, words, parts):
        """One message with the right code; no word of another file; nothing left behind."""
        code, output = self.start(words)
        where = f"{name}, {reader}: exit code {code}\n{output[-2000:]}"
        self.assertEqual(code, BAD_DATA, where)
        self.assertTrue(any(part in output for part in parts) if parts else True, where)
        for private in (hostile.SECRET, "root:"):
            self.assertNotIn(private, output, where)
        self.assertNotIn("\x1b", output, where)
        self.assertLess(len(output), 4000, where)
        self.assertEqual(list(place.glob("*.tmp-*")), [], where)

    def each(self, cases):
        """Runs cases (name, function) a few at a time; every failure is reported."""
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            jobs = [(name, pool.submit(case)) for name, case in cases]
        for name, job in jobs:
            with self.subTest(name):
                job.result()

    def dataset_cases(self):
        others = [reader for reader in DATASET_READERS if reader != "data validate"]
        for number, (name, make, parts) in enumerate(hostile.DATASET_KINDS):
            chosen = list(DATASET_READERS) if SOAK else ["data validate", others[number % len(others)]]
            if name in FOUND_BY_READING and not SOAK:
                chosen = ["data validate", "data inspect"]
            if name in FOUND_BY_READING and SOAK:
                chosen = ["data validate", "data inspect", "evaluate"]
            yield name, make, parts, chosen

    def test_every_kind_of_dataset(self):
        def case(name, make, parts, readers):
            place = self.place(name)
            shutil.copytree(self.dataset, place / "dataset")
            make(place / "dataset")
            for reader in readers:
                words = self.command(DATASET_READERS[reader], place, dataset=place / "dataset")
                self.refuse(name, reader, place, words, parts)
        self.each([(name, lambda c=(name, make, parts, readers): case(*c))
                   for name, make, parts, readers in self.dataset_cases()])

    def test_every_kind_of_vector_file(self):
        def case(name, make, parts):
            place = self.place(name)
            shutil.copy(self.vectors, place / "vectors.h5")
            make(place / "vectors.h5")
            for reader, words in VECTOR_READERS.items():
                if (name, reader) in TAKEN:
                    continue
                self.refuse(name, reader, place, self.command(words, place, file=place / "vectors.h5"), parts)
        self.each([(name, lambda c=(name, make, parts): case(*c)) for name, make, parts in hostile.VECTOR_KINDS])

    def test_every_kind_of_vectors_to_import(self):
        def case(name, make, parts):
            place = self.place(name)
            make(place / "vectors.h5")
            words = [*self.import_words, "--vectors", place / "vectors.h5", "--out", place / "dataset"]
            self.refuse(name, "import --vectors", place, [*map(str, words)], parts)
        self.each([(name, lambda c=(name, make, parts): case(*c)) for name, make, parts in hostile.IMPORT_KINDS])

    def test_random_damage_is_no_crash(self):
        """The content may still be good; a signal or a bug is neither."""
        def case(seed):
            place = self.place(f"damage {seed}")
            shutil.copytree(self.dataset, place / "dataset")
            hostile.damage(place / "dataset" / (hostile.ITEMS if seed % 2 else hostile.USERS), seed)
            code, output = self.start(["data", "validate", str(place / "dataset")])
            self.assertIn(code, (0, BAD_DATA), f"seed {seed}: exit code {code}\n{output}")
            shutil.rmtree(place)
        self.each([(f"seed {seed}", lambda s=seed: case(s)) for seed in SEEDS])

    def test_unchanged_copies_are_accepted(self):
        place = self.place("unchanged")
        for words in DATASET_READERS.values():
            run(*self.command(words, place, dataset=self.dataset))
        for words in VECTOR_READERS.values():
            run(*self.command(words, place, file=self.vectors))
        hostile.change(self.dataset / hostile.USERS, "/event/time", lambda times: None)  # signed again
        run("data", "validate", self.dataset)

    def test_vector_files_of_earlier_versions_are_read_with_a_note(self):
        old = self.place("old") / "vectors.h5"
        shutil.copy(self.vectors, old)
        with h5py.File(old, "r+") as file:
            del file["checksum"]
        for words in VECTOR_READERS.values():
            self.assertIn("has no checksums", run(*self.command(words, old.parent, file=old)).stderr)

    def test_control_characters_are_shown_escaped(self):
        place = self.place("control")
        shutil.copytree(self.dataset, place / "dataset")
        with h5py.File(place / "dataset" / hostile.ITEMS, "r+") as file:
            count = len(file["item/title"])
            del file["item/title"]
            file.create_dataset("item/title", data=["a\x1b[2J\x07\u202e"] * count, dtype=h5py.string_dtype())
        words = self.command(DATASET_READERS["recommend"], place, dataset=place / "dataset")
        output = run(*words).stdout
        self.assertIn("a\\x1b[2J\\x07\\xe2\\x80\\xae", output)
        self.assertNotIn("\x1b", output)

    def test_a_full_disk_or_limit_is_an_error_and_no_signal(self):
        """`ulimit -f`: every write behind 8 KiB fails."""
        place = self.place("limit")
        for words in (["synth", "--users", "50", "--items", "50", "--out", str(place / "synth")],
                      ["embed", "--checkpoint", str(self.checkpoint), "--out", str(place / "out.h5")]):
            done = subprocess.run(["bash", "-c", 'ulimit -f 8; exec "$@"', "bash", BINARY, *words], cwd=ROOT,
                                  env=ENVIRONMENT, capture_output=True, text=True, timeout=MOST_SECONDS)
            self.assertEqual(done.returncode, 74, done.stderr)
            self.assertEqual([p.name for p in place.iterdir() if ".tmp-" in p.name], [], done.stderr)


def print_table():
    readers = {"dataset": list(DATASET_READERS), "vector file": list(VECTOR_READERS),
               "vectors to import": ["import --vectors"]}
    for what, table in (("dataset", hostile.DATASET_KINDS), ("vector file", hostile.VECTOR_KINDS),
                        ("vectors to import", hostile.IMPORT_KINDS)):
        print(f"{what}: {len(table)} kinds, read by {', '.join(readers[what])}")
        for name, _, parts in table:
            print(f"  {name}: {' / '.join(parts)}")


if __name__ == "__main__":
    if "--table" in sys.argv:
        print_table()
    else:
        unittest.main()
