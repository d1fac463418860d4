"""A small run with an export and an index, which several test files use."""
import numpy as np

from python_support import need
from support import SmallRunTest, run

import pinnerformer


class ExportedRunTest(SmallRunTest):
    """`export` and `vectors` are of the newest checkpoint of a run of 60 steps, `older` is the export of step 30."""
    MORE = ()  # words of the configuration

    @classmethod
    def setUpClass(cls):
        need("torch")
        super().setUpClass()
        cls.run_directory, cls.export, cls.older = (cls.directory / name for name in ("run", "export", "older"))
        cls.vectors = cls.directory / "vectors.h5"
        run("train", *cls.words("run", "train.steps=60", "checkpoint.every_steps=30", *cls.MORE))
        run("export", "--run", cls.run_directory, "--out", cls.export)
        run("export", "--run", cls.run_directory, "--checkpoint", "30", "--out", cls.older)
        run("embed", "--run", cls.run_directory, "--out", cls.vectors)

    @classmethod
    def index(cls):
        """An index of the items of `export`; skips without hnswlib."""
        need("hnswlib")
        path = cls.directory / "items.hnsw"
        if not path.exists():
            run("index", cls.export / "items.h5", "--out", path)
        return path

    def users(self, count):
        """The first users of the dataset, with their events."""
        with pinnerformer.Dataset(self.dataset) as dataset:
            return [(one.user, one.events()) for one, _ in zip(dataset, range(count))]

    def require_vectors_of_embed(self):
        """The export's vectors of all users from their raw events are those of `embed`."""
        export, stored = pinnerformer.Export(self.export), pinnerformer.Vectors(self.vectors)
        pinnerformer.require_same_version(export, stored)
        users = self.users(600)
        made = export.user_vectors([events for _, events in users], on_unknown="refuse")
        np.testing.assert_allclose(made.vectors, np.stack([stored.users[user] for user, _ in users]), atol=2e-5)
        np.testing.assert_allclose(export.items.vectors, stored.items.vectors, atol=1e-6)
        self.assertEqual(made.used.tolist(), [min(len(events), export.max_length) for _, events in users])
