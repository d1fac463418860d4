"""embed --continue: vectors from stored states and new events alone are those of the whole timelines."""
import json
import random
import shutil
import tempfile
import unittest
from pathlib import Path

import h5py
import numpy as np

from support import run

USAGE, DATA, CONFIG = 64, 65, 78
START, DAY, DAYS, USERS, ITEMS = 1_700_000_000, 86400, 30, 90, 40
TODAY = START + 20 * DAY


def events():
    """(user, item, action, surface, time): times differ, and some users come before or after TODAY alone."""
    draw, rows = random.Random(3), []
    for user in range(USERS):
        first, last = ((0, 20 * DAY), (20 * DAY, DAYS * DAY), (0, DAYS * DAY))[user % 3]
        for time in sorted(draw.sample(range(first, last), 4 + user % 20)):
            rows.append((f"u{user}", f"i{draw.randrange(ITEMS)}", "buy", "home", START + time))
    return rows


class States(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.directory = Path(tempfile.mkdtemp(prefix="pinnerformer-states-"))
        cls.addClassCleanup(shutil.rmtree, cls.directory, ignore_errors=True)
        for name, keep in (("all", lambda time: True), ("yesterday", lambda time: time < TODAY),
                           ("today", lambda time: time >= TODAY)):
            lines = ["\t".join(map(str, row)) for row in events() if keep(row[4])]
            table = cls.directory / f"{name}.tsv"
            table.write_text("user\titem\taction\tsurface\ttime\n" + "\n".join(lines) + "\n")
            run("import", "--events", table, "--columns", "user=user,item=item,action=action,surface=surface,time=time",
                "--out", cls.directory / name)
        cls.train("lru", "model.block=lru", "model.features.position=false")
        cls.embed("expected", "all", "--states")
        cls.embed("before", "yesterday", "--states")
        cls.embed("after", "today", "--continue", cls.directory / "before.h5")

    @classmethod
    def train(cls, name, *words):
        run("train", f"data.path={cls.directory / 'all'}", f"run.directory={cls.directory / name}",
            "positives.actions=buy", "split.users_percent=10", "split.window_days=3", "objective.window_days=7",
            "item.table.placement=replicated", "item.table.dim=8", "item.table.unknown_rate=0", "model.max_length=32",
            "model.hidden=16", "model.layers=2", "model.heads=2", "model.output=16", "model.item_hidden=16",
            "negatives.in_batch=16", "negatives.random=16", "train.steps=10", "train.global_batch_users=16", *words)

    @classmethod
    def embed(cls, out, data, *words, ranks=0, expect=0):
        return run("embed", "--run", cls.directory / "lru", f"data.path={cls.directory / data}", "--out",
                   cls.directory / f"{out}.h5", "--users", *words, ranks=ranks, expect=expect)

    def sets(self, name):
        """Vectors and states by user."""
        with h5py.File(self.directory / f"{name}.h5") as file:
            np.testing.assert_array_equal(file["user/id"][:], file["state/id"][:])
            ids = [user.decode() for user in file["user/id"][:]]
            return dict(zip(ids, file["user/vector"][:])), dict(zip(ids, file["state/vector"][:]))

    def test_going_on_gives_the_vectors_of_the_whole_timelines(self):
        (expected, expected_states), (found, states) = self.sets("expected"), self.sets("after")
        self.assertEqual(len(expected), USERS)
        self.assertEqual(found.keys(), expected.keys())
        for user in expected:
            np.testing.assert_allclose(found[user], expected[user], rtol=0, atol=1e-4, err_msg=user)
            np.testing.assert_allclose(states[user], expected_states[user], rtol=1e-4, atol=1e-4, err_msg=user)
        moved = [user for user, vector in self.sets("before")[0].items() if abs(vector - found[user]).max() > 1e-3]
        self.assertEqual(len(moved), USERS // 3, "users with events before and after")

    def test_states_change_no_vector(self):
        self.embed("plain", "all")
        with h5py.File(self.directory / "plain.h5") as file:
            for user, vector in zip(file["user/id"][:], file["user/vector"][:]):
                np.testing.assert_allclose(vector, self.sets("expected")[0][user.decode()], rtol=0, atol=1e-5)

    def test_users_without_new_events_keep_their_bits(self):
        (before, _), (after, _) = self.sets("before"), self.sets("after")
        for user in range(0, USERS, 3):
            self.assertEqual(before[f"u{user}"].tobytes(), after[f"u{user}"].tobytes())
        self.embed("again", "today", "--continue", self.directory / "after.h5")
        self.assertEqual({user: vector.tobytes() for user, vector in self.sets("again")[0].items()},
                         {user: vector.tobytes() for user, vector in after.items()})

    def test_two_ranks_write_the_same_file(self):
        self.embed("two", "today", "--continue", self.directory / "before.h5", "comm.backend=mpi", ranks=2)
        for one, two in zip(self.sets("after"), self.sets("two")):
            for user in one:
                np.testing.assert_allclose(one[user], two[user], rtol=0, atol=1e-6)

    def test_what_cannot_be_continued_is_refused(self):
        refused = self.embed("none", "today", "--continue", self.directory / "before.h5", "--merge",
                             self.directory / "before.h5", expect=USAGE)
        self.assertIn("--continue and --merge exclude each other", refused.stderr)
        self.embed("stateless", "yesterday")
        refused = self.embed("none", "today", "--continue", self.directory / "stateless.h5", expect=DATA)
        self.assertIn("has no states: `pinnerformer embed` writes them with --states", refused.stderr)
        merged = ["--merge", self.directory / "before.h5", "--active-since", "2023-12-04"]
        refused = self.embed("none", "all", *merged, "--states", expect=USAGE)
        self.assertIn("--states and --merge exclude each other", refused.stderr)
        refused = self.embed("none", "all", *merged, expect=DATA)
        self.assertIn("the file has states, which would be lost", refused.stderr)
        for name, words, key in (("attention", [], "model.block = transformer"),
                                 ("residual", ["model.block=lru", "model.features.position=false",
                                               "model.user_head=residual"], "model.user_head = residual")):
            self.train(name, *words, "train.steps=1")
            refused = run("embed", "--run", self.directory / name, "--out", self.directory / "none.h5", "--states",
                          expect=CONFIG)
            self.assertIn(f"--states and {key}", refused.stderr)
        self.assertFalse((self.directory / "none.h5").exists())

    def test_popularity_needs_the_events_of_its_days(self):
        """`today` has ten days of events."""
        prior = ["model.block=lru", "model.features.position=false", "train.steps=1"]
        self.train("short", *prior, "model.prior_days=[4]")
        self.train("long", *prior, "model.prior_days=[4,14]")
        for name, code in (("short", 0), ("long", DATA)):
            words = ["--run", self.directory / name, "--out", self.directory / f"{name}.h5", "--users"]
            run("embed", *words, f"data.path={self.directory / 'yesterday'}", "--states")
            result = run("embed", *words, f"data.path={self.directory / 'today'}", "--continue",
                         self.directory / f"{name}.h5", expect=code)
        self.assertIn("model.prior_days counts how often items were a positive in the last 14", result.stderr)


if __name__ == "__main__":
    unittest.main()
