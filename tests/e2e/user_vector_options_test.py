"""Label windows of events, several vectors of a user, vectors for a topic: from training to recommendations."""
import json
import unittest

import h5py
import numpy as np
import pyarrow.parquet

from support import SmallRunTest, metrics, run

USAGE, DATA, CONFIG = 64, 65, 78
FORMS = {"events": ["objective.window_events=6", "objective.window_days=0", "objective.window_anchor=position"],
         "three": ["model.user_vectors=3", "model.prior_days=[1, 7]", "split.users_percent=40", "split.window_days=14"],
         "topics": ["model.condition=topic", "model.condition_dropout=0.3"]}
STEPS = {"events": 8, "three": 20, "topics": 60}


class UserVectorOptions(SmallRunTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        for name in FORMS:
            run("train", *cls.words(name, *cls.keys(name)))
        cls.vectors, cls.index = cls.directory / "three.h5", cls.directory / "three.hnsw"
        cls.embedded = run("embed", "--run", cls.directory / "three", "--out", cls.vectors)
        cls.indexed = run("index", cls.vectors, "--out", cls.index, "--threads", 1).stdout
        with h5py.File(cls.vectors) as file:
            cls.user_ids, cls.item_ids = file["user/id"][:], file["item/id"][:]
            cls.items = file["item/vector"][:]
            cls.users = file["user/vector"][:].reshape(len(cls.user_ids), 3, cls.items.shape[1])
        with h5py.File(cls.dataset / "items.h5") as file:
            names = list(file["vocabulary/topic"].asstr())
            cls.topic_of = dict(zip(map(str, file["item/id"][:]), (names[topic] for topic in file["item/topic"][:])))

    @staticmethod
    def keys(name):
        return [f"train.steps={STEPS[name]}", "train.log_every=1", "model.dropout=0.2", "comm.backend=mpi", *FORMS[name]]

    def recommend(self, name, *words, **options):
        found = self.directory / "found.json"
        result = run("recommend", "--run", self.directory / name, "--json", found, *words, **options)
        return result.stderr if options.get("expect") else json.loads(found.read_text())

    def items_of(self, answer):
        return [entry["item"] for entry in answer["recommended"]]

    def test_losses_on_two_ranks_are_those_of_one(self):
        for name in FORMS:
            run("train", *self.words(f"{name}-two", *self.keys(name)), ranks=2)
            one, two = ([line["loss"] for line in metrics(self.directory / found)] for found in (name, f"{name}-two"))
            self.assertEqual(len(one), STEPS[name])
            np.testing.assert_allclose(one, two, rtol=1e-3, err_msg=name)
            self.assertLess(one[-1], one[0])

    def test_a_resumed_training_ends_with_the_same_bits(self):
        for name in ("events", "topics"):  # those with draws of their own
            shown = run("verify-resume", *self.words(f"{name}-verified", *self.keys(name), "train.steps=8"), "--steps", 4)
            self.assertIn("the same, bit by bit", shown.stdout)

    def test_evaluation_is_the_same_on_two_ranks(self):
        results = []
        for ranks in (0, 2):
            out = self.directory / f"evaluation-{ranks}.json"
            run("evaluate", "--run", self.directory / "three", "--json", out, "evaluate.frequency=[once, realtime]",
                "evaluate.baselines=[]", "comm.backend=mpi", ranks=ranks)
            results.append(json.loads(out.read_text())["results"])
        self.assertEqual(results[0], results[1])
        self.assertEqual([row["frequency"] for row in results[0]], ["once", "realtime"])
        self.assertGreater(results[0][0]["recall@50"], 0)

    # Several vectors
    def test_the_vectors_of_a_user_stand_one_after_the_other(self):
        self.assertIn("3 vectors of each of 600 users", self.embedded.stdout)
        np.testing.assert_allclose(np.linalg.norm(self.users[:, :, :16], axis=2), 1, atol=1e-5)
        np.testing.assert_array_equal(self.users[:, 0, 16:], self.users[:, 2, 16:], "the prior is that of the user")
        cosines = np.einsum("ukd,uld->ukl", self.users[:, :, :16], self.users[:, :, :16])
        self.assertLess(np.median(cosines[:, 0, 1]), 0.99, "the vectors of a user differ")

    def test_every_search_finds_the_largest_of_the_three_scores(self):
        rows = range(0, 600, 150)
        chosen = ["--users", ",".join(str(self.user_ids[row]) for row in rows), "--items", 8, "--repeats"]
        exact = self.recommend("three", *chosen, "--explain")
        for answer, row in zip(exact, rows):
            scores = (self.items @ self.users[row].T).max(axis=1)
            expected = np.sort(scores)[::-1][:8]
            np.testing.assert_allclose([entry["similarity"] for entry in answer["recommended"]], expected, atol=1e-5)
            self.assertLess((self.items @ self.users[row, 0]).max(), expected[0] + 1e-6)
            self.assertTrue(all("prior" in entry for entry in answer["recommended"]))
        for words in (["--vectors", self.vectors], ["--index", self.index]):
            self.assertEqual([self.items_of(answer) for answer in self.recommend("three", *chosen, *words)],
                             [self.items_of(answer) for answer in exact])
        self.assertTrue(any((self.items @ self.users[row, 0]).max() < (self.items @ self.users[row].T).max() - 1e-4
                            for row in rows), "the first vector alone would not do")

    def test_the_index_is_measured_with_each_vector(self):
        self.assertIn("recall@10", self.indexed)
        about = json.loads((self.directory / "three.hnsw.json").read_text())
        self.assertEqual(about["dimensions"], self.items.shape[1])
        self.assertIn("user vectors", json.dumps(about))

    def test_a_merged_file_keeps_the_users_of_the_day_before(self):
        merged = self.directory / "merged.h5"
        with h5py.File(next(self.dataset.glob("users-*.h5"))) as part:
            newest = int(np.sort(part["event/time"][:])[-200])
        run("embed", "--run", self.directory / "three", "--merge", self.vectors, "--active-since", newest, "--out", merged)
        with h5py.File(merged) as file:
            np.testing.assert_allclose(file["user/vector"][:], self.users.reshape(600, -1), atol=1e-5)

    def test_the_state_of_users_with_several_vectors(self):
        words = ["model.block=lru", "model.features.position=false", "model.user_vectors=2", "train.steps=4"]
        run("train", *self.words("states", *words))
        whole, plain = self.directory / "states.h5", self.directory / "plain.h5"
        run("embed", "--run", self.directory / "states", "--users", "--states", "--out", whole)
        run("embed", "--run", self.directory / "states", "--users", "--out", plain)
        run("embed", "--run", self.directory / "states", "--users", "--continue", whole, "--out", whole)
        with h5py.File(whole) as one, h5py.File(plain) as two:
            self.assertEqual(one["user/vector"].shape, (600, 32))
            np.testing.assert_allclose(one["user/vector"][:], two["user/vector"][:], atol=1e-5)

    # Topics
    def test_a_topic_brings_its_items(self):
        users = ",".join(str(user) for user in self.user_ids[:40])
        def listed(*words):
            answers = self.recommend("topics", "--users", users, "--repeats", "--items", 10, *words)
            self.assertEqual({answer.get("topic") for answer in answers}, {words[1] if words else None})
            return [self.topic_of[item] for answer in answers for item in self.items_of(answer)]
        topics, general = sorted(set(self.topic_of.values()))[:3], listed()
        with_topic = np.mean([listed("--topic", topic).count(topic) for topic in topics])
        without = np.mean([general.count(topic) for topic in topics])
        self.assertGreater(with_topic, 2 * without + 20, "of 400 items")

    def embed(self, name, *words, **options):
        out = self.directory / name
        result = run("embed", "--run", self.directory / "topics", "--out", out, *words, **options)
        return result.stderr if options.get("expect") else out

    def users_of(self, path, topic):
        with h5py.File(path) as file:
            self.assertEqual(file.attrs.get("topic"), topic)
            return file["user/vector"][:]

    def test_embedded_vectors_for_a_topic_are_those_that_recommend_uses(self):
        topic = sorted(set(self.topic_of.values()))[0]
        with h5py.File(self.embed("general.h5")) as file:
            items, general = file["item/vector"][:], file["user/vector"][:]
        self.assertGreater(np.abs(general - self.users_of(self.embed("art.h5", "--topic", topic), topic)).max(), 0.01)
        users = self.users_of(self.embed("users.h5", "--topic", topic, "--users"), topic)
        answers = self.recommend("topics", "--users", ",".join(map(str, self.user_ids[:5])), "--repeats", "--items", 3,
                                 "--topic", topic)
        for answer, user in zip(answers, users):
            np.testing.assert_allclose([entry["similarity"] for entry in answer["recommended"]],
                                       np.sort(items @ user)[::-1][:3], atol=1e-5)
        for ending in ("npy", "parquet"):
            self.embed(f"art.{ending}", "--topic", topic, "--users")
        np.testing.assert_allclose(np.load(self.directory / "art.npy"), users, atol=1e-6)
        self.assertEqual(json.loads((self.directory / "art.json").read_text())["topic"], topic)
        about = pyarrow.parquet.read_schema(self.directory / "art.parquet").metadata
        self.assertEqual(about[b"topic"].decode(), topic)

    def test_shards_and_merged_files_are_of_one_topic(self):
        topics = sorted(set(self.topic_of.values()))[:2]
        whole, report = self.embed("one.h5", "--topic", topics[0], "--users"), self.directory / "embed.json"
        users = self.users_of(whole, topics[0])
        run("embed", "--run", self.directory / "topics", "--topic", topics[0], "--users", "--shards", "comm.backend=mpi",
            "--out", self.directory / "shard.h5", "--json", report, ranks=2)
        self.assertEqual(json.loads(report.read_text())["topic"], topics[0])
        shards = [self.users_of(self.directory / f"shard-0000{rank}-of-00002.h5", topics[0]) for rank in (0, 1)]
        np.testing.assert_allclose(np.concatenate(shards), users, atol=1e-5)
        merge = ["--merge", whole, "--active-since", "2023-01-01", "--users"]
        np.testing.assert_allclose(self.users_of(self.embed("same.h5", *merge, "--topic", topics[0]), topics[0]), users, atol=1e-5)
        for words, wanted in ((["--topic", topics[1]], f"items of the topic '{topics[1]}'"), ([], "items of any topic")):
            refused = self.embed("other.h5", *merge, *words, expect=DATA)
            self.assertIn(f"{whole}: expected vectors of users for {wanted}, found vectors for items of the topic "
                          f"'{topics[0]}'", refused)
        self.assertFalse((self.directory / "other.h5").exists())

    def test_embed_refuses_a_topic_without_use(self):
        topic = next(iter(self.topic_of.values()))
        self.assertIn(f"--topic {topic}x: the model of", self.embed("x.h5", "--topic", topic + "x", expect=DATA))
        refused = run("embed", "--run", self.directory / "three", "--topic", topic, "--out", self.directory / "x.h5",
                      expect=CONFIG).stderr
        self.assertIn("--topic and model.condition = none", refused)
        for words, reason in ((["--items"], "--topic applies to users"),
                              (["--users", "--states"], "--topic excludes --states and --continue"),
                              (["--users", "--continue", self.vectors], "--topic excludes --states and --continue")):
            self.assertIn(reason, self.embed("x.h5", "--topic", topic, *words, expect=USAGE))

    def test_topics_that_are_not_there_are_refused(self):
        topic = next(iter(self.topic_of.values()))
        wrong = self.recommend("topics", "--users", self.user_ids[0], "--topic", topic + "x", expect=DATA)
        self.assertIn(f"--topic {topic}x: the model of", wrong)
        self.assertIn("did you mean '", wrong)
        wrong = self.recommend("three", "--users", self.user_ids[0], "--topic", topic, expect=CONFIG)
        self.assertIn("--topic and model.condition = none", wrong)
        table = self.directory / "events.csv"
        table.write_text("user,item,action,time\n" + "".join(
            f"{n % 40},{n % 7},save,{1_700_000_000 + 9000 * n}\n" for n in range(400)))
        bare = self.directory / "bare"
        run("import", "--events", table, "--columns", "user=user,item=item,action=action,time=time", "--out", bare)
        refused = run("train", *self.words("none", *self.keys("topics"), f"data.path={bare}",
                                           "item.table.placement=replicated"), expect=CONFIG)
        self.assertIn(f"model.condition = topic and data.path = {bare}: the dataset has no topics", refused.stderr)
        self.assertFalse((self.directory / "none/checkpoints").exists())

    # Contradictions
    def test_contradictions_name_both_keys(self):
        for words, keys in (
                (["objective.window_events=5"], ("objective.window_days = 14", "objective.window_events = 5")),
                (["objective.window_days=0"], ("objective.window_days = 0", "objective.window_events = 0")),
                (["objective.window_events=5", "objective.window_days=0", "objective.name=next_item"],
                 ("objective.name = next_item", "objective.window_events = 5")),
                (["model.user_vectors=2", "model.user_head=norm"], ("model.user_vectors = 2", "model.user_head = norm")),
                (["model.user_vectors=2", "model.user_head=residual"],
                 ("model.user_vectors = 2", "model.user_head = residual"))):
            refused = run("train", *self.words("none", *words), expect=CONFIG)
            for key in keys:
                self.assertIn(key, refused.stderr)

    def test_explain_shows_the_events_of_the_window(self):
        found = self.directory / "explain.json"
        words = self.words("explained", *self.keys("events"), "objective.name=all_action",
                           "objective.window_anchor=sequence_end", "train.steps=60")
        row = self.user_ids.tolist().index(0)
        run("explain", *words, "--user", 0, "--json", found)
        told = json.loads(found.read_text())
        with h5py.File(next(self.dataset.glob("users-*.h5"))) as part:
            begin, end = part["user/offset"][row:row + 2]
            times = part["event/time"][begin:end]
        newest = told["inputs"][-1]["event"]
        later = [event for event in range(len(times)) if times[event] > times[newest]][:6]
        self.assertTrue(told["labels"])
        self.assertLessEqual({label["event"] for label in told["labels"] if label["event"] in later}, set(later))
        self.assertLessEqual(max(label["event"] for label in told["labels"]), later[-1])


if __name__ == "__main__":
    unittest.main()
