"""The Python package against files that the program has written."""
import json
import re
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

import h5py
import numpy as np

from python_support import PACKAGE, ROOT
from support import SmallRunTest, run

import pinnerformer


class VersionTest(unittest.TestCase):
    def test_is_that_of_the_program_and_of_the_changelog(self):
        program, = re.findall(r"project\(pinnerformer VERSION (\S+)", (ROOT / "CMakeLists.txt").read_text())
        package, = re.findall(r'(?m)^version = "(.*)"$', (PACKAGE / "pyproject.toml").read_text())
        newest = re.search(r"(?m)^## (\S+),", (ROOT / "CHANGELOG.md").read_text())[1]
        self.assertEqual((package, newest), (program, program))


class PackageTest(SmallRunTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.run_directory = cls.directory / "run"
        run("train", *cls.words("run", "train.steps=100", "split.validation_percent=10", "validate.every_steps=50"))
        cls.vectors = cls.directory / "vectors.h5"
        run("embed", "--run", cls.run_directory, "--out", cls.vectors)

    def copy(self, source):
        """A copy of a file or directory in a directory that ends with the test."""
        folder = Path(tempfile.mkdtemp(dir=self.directory))
        self.addCleanup(shutil.rmtree, folder, ignore_errors=True)
        target = folder / Path(source).name
        (shutil.copytree if Path(source).is_dir() else shutil.copyfile)(source, target)
        return target

    # Dataset
    def test_the_numbers_are_those_of_inspect(self):
        told = self.directory / "inspect.json"
        run("data", "inspect", self.dataset, "--json", told)
        told = json.loads(told.read_text())
        with pinnerformer.Dataset(self.dataset) as dataset:
            self.assertEqual((dataset.users, dataset.events, len(dataset.items)),
                             (told["users"], told["events"], told["items"]))
            timelines = list(dataset)
            self.assertEqual(len(timelines), len(dataset))
            self.assertEqual(sum(map(len, timelines)), dataset.events)
            self.assertEqual(min(one.time[0] for one in timelines), dataset.first_time)
            self.assertEqual(max(one.time[-1] for one in timelines), dataset.last_time)
            self.assertEqual(dataset.content.shape, (300, 64))

    def test_a_timeline_by_id_is_that_of_the_file(self):
        with h5py.File(next(self.dataset.glob("users-*.h5"))) as part, pinnerformer.Dataset(self.dataset) as dataset:
            for row in (0, 17, 599):
                begin, end = part["user/offset"][row:row + 2]
                timeline = dataset.timeline(int(part["user/id"][row]))
                self.assertEqual(timeline.item.tolist(), part["event/item"][begin:end].tolist())
                self.assertEqual(timeline.time.tolist(), part["event/time"][begin:end].tolist())
                event = timeline.events()[0]
                self.assertEqual(event["action"], dataset.actions[int(part["event/action"][begin])])
                self.assertEqual(event["item"], dataset.items[part["event/item"][begin]])
            with self.assertRaisesRegex(KeyError, "no user 10000000"):
                dataset.timeline(10_000_000)

    def test_string_ids_titles_and_several_parts(self):
        table = self.directory / "events.csv"
        table.write_text("user,item,action,time\n" + "".join(
            f"user-{n % 50:03},item-{n % 7},{'view' if n % 3 else 'like'},{1_700_000_000 + n}\n" for n in range(500)))
        titles = self.directory / "titles.csv"
        titles.write_text("id,title\n" + "".join(f"item-{n},Größe {n}\n" for n in range(7)))
        made = self.directory / "strings"
        run("import", "--events", table, "--columns", "user=user,item=item,action=action,time=time:s",
            "--items", titles, "--item-columns", "id=id,title=title", "--part-events", 200, "--out", made)
        self.assertEqual(len(list(made.glob("users-*"))), 3)
        with pinnerformer.Dataset(made) as dataset:
            self.assertEqual(sorted(one.user for one in dataset), [f"user-{n:03}" for n in range(50)])
            found = dataset.timeline("user-042")
            self.assertEqual(found.time.tolist(), [1_700_000_042 + 50 * n for n in range(10)])
            self.assertEqual([event["item"] for event in found.events()], [f"item-{(42 + 50 * n) % 7}" for n in range(10)])
            self.assertIsNone(found.events()[0]["duration"])
            self.assertEqual(dataset.title("item-3"), "Größe 3")
            self.assertEqual(dataset.title("nothing"), "")

    def test_other_files_are_refused(self):
        with self.assertRaisesRegex(FileNotFoundError, "items.h5: expected a pinnerformer-dataset file"):
            pinnerformer.Dataset(self.directory / "nowhere")
        other = self.copy(self.dataset)
        shutil.copyfile(self.vectors, other / "items.h5")
        with self.assertRaisesRegex(pinnerformer.DataError, "expected format pinnerformer-dataset, version 1; "
                                                              "found pinnerformer-vectors, 2"):
            pinnerformer.Dataset(other)
        (other / "items.h5").write_bytes(b"text")
        with self.assertRaisesRegex(pinnerformer.DataError, "items.h5: expected HDF5"):
            pinnerformer.Dataset(other)

    def test_a_file_without_the_group_of_a_set_is_refused(self):
        with h5py.File(self.vectors) as file:
            with self.assertRaisesRegex(pinnerformer.DataError, "expected a group /topic, found none"):
                pinnerformer.vectors.read_set(file, "topic")

    def test_a_users_file_of_another_dataset_is_refused(self):
        other = self.copy(self.dataset)
        with h5py.File(next(other.glob("users-*.h5")), "r+") as file:
            file.attrs["fingerprint"] = "0" * 16
        with self.assertRaisesRegex(pinnerformer.DataError, "expected fingerprint .* belongs to another dataset"):
            next(iter(pinnerformer.Dataset(other)))

    def test_an_index_outside_of_its_table_is_refused(self):
        other = self.copy(self.dataset)
        with h5py.File(next(other.glob("users-*.h5")), "r+") as file:
            file["event/item"][3] = 300
        with self.assertRaisesRegex(pinnerformer.DataError, "/event/item: expected indices below 300, found .* to 300"):
            list(pinnerformer.Dataset(other))

    # Vectors
    def test_nearest_items_are_those_of_recommend(self):
        vectors = pinnerformer.Vectors(self.vectors)
        user = int(vectors.users.ids[5])
        told = self.directory / "recommend.json"
        run("recommend", "--run", self.run_directory, "--users", user, "--items", 10, "--repeats", "--json", told)
        told = json.loads(told.read_text())[0]["recommended"]
        found = vectors.nearest(vectors.users[user], 10)
        self.assertEqual([str(one.id) for one in found], [one["item"] for one in told])
        np.testing.assert_allclose([one.score for one in found], [one["similarity"] for one in told], atol=1e-5)

    def test_of_several_vectors_of_a_user_the_largest_product_counts(self):
        run("train", *self.words("several", "train.steps=10", "model.user_vectors=3"))
        file, told = self.directory / "several.h5", self.directory / "several.json"
        run("embed", "--run", self.directory / "several", "--out", file)
        run("export", "--run", self.directory / "several", "--out", self.directory / "several-export")
        vectors, export = pinnerformer.Vectors(file), pinnerformer.Export(self.directory / "several-export")
        user = int(vectors.users.ids[5])
        run("recommend", "--run", self.directory / "several", "--users", user, "--items", 10, "--repeats", "--json", told)
        expected = [entry["item"] for entry in json.loads(told.read_text())[0]["recommended"]]
        with pinnerformer.Dataset(self.dataset) as dataset:
            made = export.user_vectors([dataset.timeline(user).events()]).vectors
        self.assertEqual(made.shape, (1, 3, 16))
        np.testing.assert_allclose(made.reshape(48), vectors.users[user], atol=1e-5)
        for query in (vectors.users[user], made[0]):
            self.assertEqual([str(one.id) for one in vectors.items.nearest(query, 10)], expected)
        self.assertEqual(export.user_vectors([]).vectors.shape, (0, 3, 16))
        with self.assertRaisesRegex(pinnerformer.InputError, "16 finite numbers .* found shape \\(3, 15\\)"):
            vectors.items.nearest(made[0][:, :15])

    def test_left_out_items_never_come_back_and_ends_are_kept(self):
        items = pinnerformer.Vectors(self.vectors).items
        query = items.vectors[0]
        everything = items.nearest(query, 1000)
        self.assertEqual(len(everything), 300)
        hidden = [one.id for one in everything[:4]]
        self.assertEqual(items.nearest(query, 296, leave_out=hidden + hidden + [10 ** 9]), everything[4:])
        self.assertEqual(items.nearest(query, 3, leave_out=items.ids.tolist()), [])
        self.assertNotIn(items.ids[7], [one.id for one in items.nearest_to(int(items.ids[7]), 299)])
        with self.assertRaisesRegex(pinnerformer.InputError, "16 finite numbers .* found shape \\(15,\\)"):
            items.nearest(query[:15])
        with self.assertRaisesRegex(pinnerformer.InputError, "finite"):
            items.nearest(query * np.nan)
        for k in (0, -1, True, 2.5):
            with self.assertRaisesRegex(pinnerformer.InputError, "number of neighbours"):
                items.nearest(query, k)

    def test_equal_scores_come_in_the_order_of_rows(self):
        made = pinnerformer.VectorSet("made", np.arange(9), np.ones((9, 2), np.float32), pinnerformer.Version("a", "b"))
        self.assertEqual([one.id for one in made.nearest(np.ones(2), 4)], [0, 1, 2, 3])

    def test_ids_as_text(self):
        items = pinnerformer.Vectors(self.vectors).items
        self.assertIn(str(items.ids[3]), items)
        for id in (f"0{items.ids[3]}", "-0", "", "x", True, None, 1.0, "9" * 40, "²"):
            self.assertNotIn(id, items, id)

    def test_a_mix_of_versions_is_refused(self):
        other = self.copy(self.vectors)
        with h5py.File(other, "r+") as file:
            file["user"].attrs["model_version"] = "0" * 16
        with self.assertRaisesRegex(pinnerformer.VersionError, "has model version .* Vectors of different models"):
            pinnerformer.Vectors(other)

    def test_numbers_that_are_not_finite_are_refused(self):
        other = self.copy(self.vectors)
        with h5py.File(other, "r+") as file:
            file["item/vector"][299, 15] = np.nan
        with self.assertRaisesRegex(pinnerformer.DataError, "expected finite vectors"):
            pinnerformer.Vectors(other)

    def test_one_set_alone(self):
        users = self.directory / "users.h5"
        run("embed", "--run", self.run_directory, "--users", "--out", users)
        with self.assertRaisesRegex(pinnerformer.DataError, "expected /item, found only /user"):
            pinnerformer.Vectors(users).items

    # Metrics and Run
    def test_metrics_are_columns(self):
        metrics = pinnerformer.Metrics(self.run_directory)
        lines = [json.loads(line) for line in (self.run_directory / "metrics.jsonl").read_text().splitlines()]
        steps = sorted({line["step"] for line in lines})
        self.assertEqual(metrics["step"].tolist(), steps)
        self.assertEqual(metrics["step"].dtype, np.int64)
        by_step = {line["step"]: line["loss"] for line in lines if "loss" in line}
        self.assertEqual(metrics["loss"][metrics["step"] == 50].tolist(), [by_step[50]])
        self.assertTrue(np.isfinite(metrics["users_per_second"]).any())
        with self.assertRaisesRegex(KeyError, "no column 'lost'; there are step, "):
            metrics["lost"]

    def test_a_line_without_end_is_left_out_and_a_repeated_step_counts_once(self):
        other = self.copy(self.run_directory)
        before = pinnerformer.Metrics(self.run_directory)
        with open(other / "metrics.jsonl", "a") as file:
            file.write('{"step":100,"loss":7.5}\n{"step":105,"lo')
        after = pinnerformer.Metrics(other)
        self.assertEqual(after["step"].tolist(), before["step"].tolist())
        self.assertEqual(after["loss"][-1], 7.5)
        with open(other / "metrics.jsonl", "a") as file:
            file.write('ss\n')
        with self.assertRaisesRegex(pinnerformer.DataError, "metrics.jsonl, line .*: expected JSON"):
            pinnerformer.Metrics(other)

    def test_checkpoints_and_configuration(self):
        found = pinnerformer.Run(self.run_directory)
        self.assertEqual([one.step for one in found.checkpoints], [50, 100])
        self.assertIn("model.safetensors", found.checkpoints[0].files)
        self.assertEqual(found.configuration["model"]["hidden"], 16)
        self.assertEqual(found.configuration["positives"]["actions"], ["save"])
        self.assertEqual(found.configuration["run"]["directory"], str(self.run_directory))
        self.assertIs(found.configuration["model"]["features"]["content"], True)
        self.assertEqual(found.configuration["split"]["end"], "")

    def test_a_checkpoint_with_a_short_file_is_none(self):
        other = self.copy(self.run_directory)
        with open(other / "checkpoints/step-000000100/model.safetensors", "r+b") as file:
            file.truncate(10)
        self.assertEqual([one.step for one in pinnerformer.Run(other).checkpoints], [50])
        with self.assertRaisesRegex(FileNotFoundError, "expected a run directory"):
            pinnerformer.Run(self.directory)


class InstallTest(unittest.TestCase):
    def test_pip_installs_it(self):
        with tempfile.TemporaryDirectory() as scratch:
            source, target = Path(scratch) / "source", Path(scratch) / "target"
            shutil.copytree(PACKAGE, source)  # pip builds in the folder
            subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
                            "--no-build-isolation", "--no-deps", "--target", target, source], check=True)
            shown = subprocess.run([sys.executable, "-c", "import pinnerformer; print(pinnerformer.__file__)"],
                                   env={"PYTHONPATH": str(target)}, cwd=scratch, capture_output=True, text=True,
                                   check=True).stdout
            self.assertTrue(shown.startswith(str(target)), shown)
            self.assertTrue((target / "pinnerformer/py.typed").exists())


if __name__ == "__main__":
    unittest.main()
