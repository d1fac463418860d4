"""The notebook of the examples: its cells run one after another, as Jupyter would run them."""
import contextlib
import io
import json
import os
import unittest
from unittest import mock

from python_support import PACKAGE, need
from support import SmallRunTest, run

NOTEBOOK = PACKAGE / "examples/quickstart.ipynb"


def cells():
    return [cell for cell in json.loads(NOTEBOOK.read_text())["cells"] if cell["cell_type"] == "code"]


class Notebook(SmallRunTest):
    def test_it_is_stored_without_outputs(self):
        for cell in cells():
            self.assertEqual((cell["outputs"], cell["execution_count"]), ([], None), cell["source"])

    def test_its_cells_run(self):
        need("matplotlib")
        import matplotlib
        matplotlib.use("Agg")
        run("train", *self.words("run", "train.steps=60"))
        run("evaluate", "--run", self.directory / "run", "--json", self.directory / "evaluate.json")
        run("embed", "--run", self.directory / "run", "--out", self.directory / "vectors.h5")
        printed, names = io.StringIO(), {}
        with mock.patch.dict(os.environ, PF_FOLDER=str(self.directory)), contextlib.redirect_stdout(printed):
            for number, cell in enumerate(cells()):
                exec(compile("".join(cell["source"]), f"cell {number} of {NOTEBOOK.name}", "exec"), names)
        self.assertIn("600 users, 300 items", printed.getvalue())
        self.assertIn("checkpoints: [50, 60]", printed.getvalue())
        self.assertEqual(len(names["recommended"]), 5)
        self.assertFalse({one.id for one in names["recommended"]} & {event["item"] for event in names["events"]})
        self.assertEqual(len(matplotlib.pyplot.get_fignums()), 4)
        self.assertIn("model", names["recall"])
        names["dataset"].close()
        matplotlib.pyplot.close("all")


if __name__ == "__main__":
    unittest.main()
