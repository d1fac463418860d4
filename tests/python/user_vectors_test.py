"""User vectors from raw events: those of the program, and a clear refusal of events that would give wrong ones."""
import json
import shutil
import tempfile
import unittest
from pathlib import Path

import numpy as np

from export_support import ExportedRunTest
from support import run

import pinnerformer
from pinnerformer.export import seconds_of

TIME = 1_700_000_000


class ContentModel(ExportedRunTest):
    def copy(self, source):
        target = Path(tempfile.mkdtemp(dir=self.directory)) / "copy"
        self.addCleanup(shutil.rmtree, target.parent)
        return Path(shutil.copytree(source, target))

    def test_vectors_are_those_of_embed(self):
        self.require_vectors_of_embed()

    def test_users_do_not_depend_on_their_company(self):
        export = pinnerformer.Export(self.export)
        histories = [events for _, events in self.users(70)]
        together = export.user_vectors(histories).vectors
        for i in (0, 63, 69):
            np.testing.assert_allclose(export.user_vectors([histories[i]]).vectors[0], together[i], atol=2e-5)
        self.assertEqual(export.user_vectors([]).vectors.shape, (0, 16))

    def test_the_newest_events_are_read_in_any_order(self):
        export = pinnerformer.Export(self.export)
        events = max((events for _, events in self.users(600)), key=len)
        self.assertGreater(len(events), export.max_length)
        vector = export.user_vectors([events]).vectors
        distinct = list({event["time"]: event for event in events}.values())
        np.testing.assert_array_equal(export.user_vectors([events[-16:]]).vectors, vector)
        np.testing.assert_array_equal(export.user_vectors([distinct[::-1]]).vectors,
                                      export.user_vectors([distinct]).vectors)
        self.assertGreater(np.abs(export.user_vectors([events[:16]]).vectors - vector).max(), 1e-3)

    def test_unknown_items_actions_and_surfaces(self):
        export = pinnerformer.Export(self.export)
        _, events = self.users(1)[0]
        strange = [{**events[-1], "item": 10 ** 9}, {**events[-1], "item": True}, {**events[-1], "action": "teleport"},
                   {**events[-1], "surface": "moon"}, {**events[-1], "action": ["save"]}]
        made = export.user_vectors([events + strange])
        self.assertEqual(made.ignored, [{"item": 2, "action": 2, "surface": 1}])
        np.testing.assert_array_equal(made.vectors, export.user_vectors([events]).vectors)
        for event, name in zip(strange, ("item", "item", "action", "surface", "action")):
            with self.assertRaisesRegex(pinnerformer.InputError, f"user 0 of the call, event 1: {name}: .* is not known"):
                export.user_vectors([[events[0], event]], on_unknown="refuse")
            with self.assertRaisesRegex(pinnerformer.InputError, "expected an event that the model knows, found none"):
                export.user_vectors([[event]])
        with self.assertRaisesRegex(pinnerformer.InputError, "on_unknown: expected one of"):
            export.user_vectors([events], on_unknown="drop")

    def test_ids_as_text_are_the_same_ids(self):
        export = pinnerformer.Export(self.export)
        _, events = self.users(1)[0]
        texts = [{**event, "item": str(event["item"])} for event in events]
        np.testing.assert_array_equal(export.user_vectors([texts]).vectors, export.user_vectors([events]).vectors)

    def test_events_that_would_give_a_wrong_vector_are_refused(self):
        export = pinnerformer.Export(self.export)
        _, events = self.users(1)[0]
        for change, told in (({"time": TIME * 1000}, "these look like milliseconds"),
                             ({"time": TIME * 10 ** 6}, "these look like microseconds"),
                             ({"time": TIME * 10 ** 9}, "these look like nanoseconds"),
                             ({"time": 10 ** 40}, "no time"), ({"time": -1}, "expected seconds"),
                             ({"time": "2024-05-31"}, "expected seconds"), ({"time": True}, "expected seconds"),
                             ({"time": float("nan")}, "expected seconds"), ({"time": float("inf")}, "expected seconds"),
                             ({"time": None}, "expected seconds"), ({"duration": -1}, "duration: expected 0 seconds"),
                             ({"duration": float("inf")}, "duration"), ({"duration": "long"}, "duration")):
            with self.assertRaisesRegex(pinnerformer.InputError, told, msg=str(change)):
                export.user_vectors([[{**events[0], **change}]])
        for event in ({}, {"item": 1, "time": TIME}, None, 7, "save"):
            with self.assertRaisesRegex(pinnerformer.InputError, "expected an object with item, action and time"):
                export.user_vectors([[event]])
        self.assertEqual(seconds_of(np.int64(TIME), ""), seconds_of(TIME + 0.9, ""))

    def test_unknown_durations(self):
        export = pinnerformer.Export(self.export)
        _, events = self.users(1)[0]
        vectors = [export.user_vectors([[{**event, "duration": duration} for event in events]]).vectors
                   for duration in (None, float("nan"), 600.0)]
        np.testing.assert_array_equal(vectors[0], vectors[1])
        self.assertGreater(np.abs(vectors[0] - vectors[2]).max(), 1e-4)

    def test_files_of_two_exports_are_refused(self):
        for name in ("user_tower.pt", "items.h5", "preprocessing.json"):
            mixed = self.copy(self.export)
            shutil.copyfile(self.older / name, mixed / name)
            about = json.loads((mixed / "export.json").read_text())  # equal sizes are common, here always
            about["files"][name]["bytes"] = (mixed / name).stat().st_size
            (mixed / "export.json").write_text(json.dumps(about))
            with self.assertRaisesRegex(pinnerformer.VersionError, f"{name}: expected model version"):
                pinnerformer.Export(mixed).load()
        with self.assertRaisesRegex(pinnerformer.VersionError, "must not be compared"):
            pinnerformer.require_same_version(pinnerformer.Export(self.older), pinnerformer.Vectors(self.vectors))

    def test_damaged_files_are_refused(self):
        short = self.copy(self.export)
        with open(short / "user_tower.pt", "r+b") as file:
            file.truncate(100)
        with self.assertRaisesRegex(pinnerformer.DataError, "user_tower.pt: expected .* bytes as export.json says, found 100"):
            pinnerformer.Export(short)
        (short / "user_tower.pt").unlink()
        with self.assertRaisesRegex(FileNotFoundError, "user_tower.pt: expected as a file of the export"):
            pinnerformer.Export(short)
        for text in ("", "[]", "{", '{"format": "pinnerformer export", "version": 2}', "[" * 100_000):
            (short / "export.json").write_text(text)
            with self.assertRaisesRegex(pinnerformer.DataError, "export.json: expected"):
                pinnerformer.Export(short)
        odd = self.copy(self.export)
        about = json.loads((odd / "export.json").read_text())
        (odd / "export.json").write_text(json.dumps({**about, "files": {name: 5 for name in about["files"]}}))
        with self.assertRaisesRegex(pinnerformer.DataError, "export.json: .*: expected an object, found 5"):
            pinnerformer.Export(odd)
        wrong = self.copy(self.export)
        (wrong / "user_tower.pt").write_bytes(bytes((self.export / "user_tower.pt").stat().st_size))
        with self.assertRaisesRegex(pinnerformer.DataError, "user_tower.pt: expected a tower of an export"):
            pinnerformer.Export(wrong).load()

    # Index
    def test_the_index_finds_what_exact_search_finds(self):
        export, index = pinnerformer.Export(self.export), pinnerformer.Index(self.index())
        pinnerformer.require_same_version(export, index)
        self.assertEqual(index.ids.tolist(), export.items.ids.tolist())
        equal = total = 0
        for vector in export.user_vectors([events for _, events in self.users(50)]).vectors:
            hidden = [one.id for one in export.items.nearest(vector, 5)]
            exact, found = (holder.nearest(vector, 10, leave_out=hidden) for holder in (export.items, index))
            self.assertEqual(len(found), 10)
            self.assertFalse(set(hidden) & {one.id for one in found})
            equal += len(set(one.id for one in exact) & set(one.id for one in found))
            total += 10
            for one in found:
                self.assertAlmostEqual(one.score, float(export.items[one.id] @ vector), places=5)
        self.assertGreaterEqual(equal / total, 0.95)
        self.assertEqual(len(index.nearest(vector, 1000)), 300)

    def test_an_index_of_another_model_or_size_is_refused(self):
        with self.assertRaisesRegex(pinnerformer.VersionError, "must not be compared"):
            pinnerformer.require_same_version(pinnerformer.Export(self.older), pinnerformer.Index(self.index()))
        folder = Path(tempfile.mkdtemp(dir=self.directory))
        for file in self.directory.glob("items.hnsw*"):
            shutil.copyfile(file, folder / file.name)
        with open(folder / "items.hnsw", "ab") as file:
            file.write(b"more")
        with self.assertRaisesRegex(pinnerformer.DataError, "items.hnsw: expected .* bytes as items.hnsw.json says"):
            pinnerformer.Index(folder / "items.hnsw")
        (folder / "items.hnsw").unlink()
        with self.assertRaisesRegex(FileNotFoundError, "expected as a file of an index, found none"):
            pinnerformer.Index(folder / "items.hnsw")


    def test_an_index_whose_files_do_not_belong_together_is_refused(self):
        export, path = pinnerformer.Export(self.export), Path(tempfile.mkdtemp(dir=self.directory)) / "items.hnsw"
        pinnerformer.Index(self.index()).require_vectors_of(export.items)
        run("index", self.older / "items.h5", "--out", path)
        described = Path(f"{path}.json")
        about = json.loads(described.read_text())
        described.write_text(json.dumps({**about, "model_version": export.version.model}))
        mixed = pinnerformer.Index(path)
        pinnerformer.require_same_version(mixed, export)
        with self.assertRaisesRegex(pinnerformer.VersionError, "items.hnsw: expected the vectors of .*, found others"):
            mixed.require_vectors_of(export.items)


    def test_models_without_topics_or_states_say_so(self):
        export, (_, events) = pinnerformer.Export(self.export), self.users(1)[0]
        self.assertEqual(export.topics, {})
        with self.assertRaisesRegex(pinnerformer.InputError, "topic 'art': .* was trained without topics"):
            export.user_vectors([events], topic="art")
        with self.assertRaisesRegex(pinnerformer.InputError, "found model.block = transformer with model.user_head = mlp"):
            export.go_on([events])


class TopicModel(ExportedRunTest):
    MORE = ("model.condition=topic", "model.condition_dropout=0.3", "model.user_vectors=2")

    def test_vectors_for_a_topic_are_those_of_embed(self):
        export, users = pinnerformer.Export(self.export), self.users(70)
        histories = [events for _, events in users]
        general = export.user_vectors(histories)
        self.assertEqual(general.vectors.shape[1], 2)
        for topic in sorted(export.topics)[:2]:
            path = self.directory / "topic.h5"
            run("embed", "--run", self.run_directory, "--users", "--topic", topic, "--out", path)
            stored, made = pinnerformer.Vectors(path).users, export.user_vectors(histories, topic=topic)
            np.testing.assert_allclose(made.vectors.reshape(70, -1), np.stack([stored[user] for user, _ in users]), atol=2e-5)
            self.assertGreater(np.abs(made.vectors - general.vectors).max(), 1e-2)
            self.assertEqual(made.used.tolist(), general.used.tolist())
        self.assertEqual(export.user_vectors([], topic=topic).vectors.shape, (0, 2, 16))

    def test_an_unknown_topic_is_refused(self):
        export, (_, events) = pinnerformer.Export(self.export), self.users(1)[0]
        topic = sorted(export.topics)[1]
        with self.assertRaisesRegex(pinnerformer.InputError, f"topic '{topic}x': .* not this one; did you mean '{topic}'"):
            export.user_vectors([events], topic=topic + "x")
        for wrong in ("", 3, ["art"]):
            with self.assertRaisesRegex(pinnerformer.InputError, "not this one; did you mean"):
                export.user_vectors([events], topic=wrong)


class RecurrentModel(ExportedRunTest):
    MORE = ("model.block=lru", "model.features.position=false")

    def longest(self):
        """Two users of more events than max_length, whose times differ."""
        histories = sorted((list({event["time"]: event for event in events}.values()) for _, events in self.users(600)),
                           key=len)
        return histories[-2:]

    def test_parts_give_the_vectors_of_the_whole(self):
        export = pinnerformer.Export(self.export)
        most = export.max_length
        histories = [events[-most:] for events in self.longest()]
        whole, states = export.go_on(histories), None
        np.testing.assert_allclose(whole[0].vectors, export.user_vectors(histories).vectors, atol=1e-5)
        for first, end in ((0, 5), (5, 6), (6, most)):
            made, states = export.go_on([events[first:end] for events in histories], states)
            self.assertEqual(made.used.tolist(), [end - first] * 2)
        np.testing.assert_allclose(made.vectors, whole[0].vectors, atol=1e-4)
        np.testing.assert_allclose(states.memory, whole[1].memory, atol=1e-4)
        self.assertEqual(states.time.tolist(), [events[-1]["time"] for events in histories])
        self.assertGreater(np.abs(export.go_on([events[6:] for events in histories])[0].vectors - made.vectors).max(), 1e-3)

    def test_users_differ_in_what_they_have_read(self):
        export, (one, two) = pinnerformer.Export(self.export), self.longest()
        first, states = export.go_on([one[:3], two[:1]])
        kept = states.memory.copy(), states.time.copy()
        made, moved = export.go_on([one, two], states)  # whole histories: what was read is left out
        self.assertEqual([ignored["old"] for ignored in made.ignored], [3, 1])
        self.assertEqual(made.used.tolist(), [len(one) - 3, len(two) - 1])
        self.assertGreater(len(one) - 3, export.max_length, "in more than one part")
        for before, after in zip(kept, states):
            np.testing.assert_array_equal(before, after, "states are not written to")
        for i, (events, read) in enumerate(((one, 3), (two, 1))):
            alone, state = export.go_on([events[read:]], pinnerformer.UserStates(states.memory[i:i + 1], states.time[i:i + 1]))
            np.testing.assert_allclose(alone.vectors[0], made.vectors[i], atol=1e-5)
            np.testing.assert_allclose(state.memory[0], moved.memory[i], atol=1e-4)
        self.assertEqual(export.go_on([one])[0].used.tolist(), [export.max_length], "without a state: the newest")

    def test_states_that_do_not_fit_are_refused(self):
        export, (one, two) = pinnerformer.Export(self.export), self.longest()
        _, states = export.go_on([one, two])
        with self.assertRaisesRegex(pinnerformer.InputError, "user 0 of the call: expected an event .* 'old': "):
            export.go_on([one, two], states)
        later = [{**one[-1], "time": one[-1]["time"] + 60}]
        for wrong in (states, pinnerformer.UserStates(states.memory[:1, 1:], states.time[:1])):
            with self.assertRaisesRegex(pinnerformer.InputError, r"states: expected memory of shape \(1, "):
                export.go_on([later], wrong)
        with self.assertRaisesRegex(pinnerformer.InputError, "states: expected finite numbers"):
            export.go_on([later], pinnerformer.UserStates(states.memory[:1] * np.nan, states.time[:1]))


class TableAndPrior(ExportedRunTest):
    """Learned item rows, and popularity columns behind the vectors."""
    MORE = ("item.table.placement=replicated", "item.table.dim=8", "model.prior_days=[7,28]")

    def test_vectors_are_those_of_embed(self):
        self.require_vectors_of_embed()
        self.assertEqual(pinnerformer.Export(self.export).items.dimensions, 18)


if __name__ == "__main__":
    unittest.main()
