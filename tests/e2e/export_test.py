"""An export gives the vectors of `embed` without this program: TorchScript, plain PyTorch, Triton's schema."""
import importlib.util
import json
import shutil
import sys
import unittest
from pathlib import Path

import h5py
import numpy as np

from support import ROOT, SmallRunTest, run

try:
    import torch
except ImportError:  # where LibTorch is one of the user's own
    torch = None

# Of tests/optional.sh; last, so that .venv's own packages come first.
sys.path.append(str(ROOT / f".venv-optional/lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages"))

DATA, USAGE, NO_INPUT = 65, 64, 66
FILES = {"user_tower.pt", "item_tower.pt", "model.safetensors", "model.json", "preprocessing.json", "items.h5",
         "README.md", "export.json"}
# Forms of the model that differ in as much as two runs can.
FORMS = {"paper": [],
         "rows": ["item.table.placement=replicated", "item.table.dim=16", "item.tower=tied", "model.similarity=dot",
                  "model.block=ligr", "model.user_head=residual", "model.prior_days=[1, 7]", "model.layers=2",
                  "model.features.duration=false", "item.semantic_ids=true"],
         "hstu": ["model.block=hstu", "model.layers=2", "item.tower=residual"],
         "lru": ["model.block=lru", "model.features.position=false", "model.layers=2", "model.user_head=norm"],
         "several": ["model.user_vectors=3", "model.condition=topic", "model.prior_days=[1, 7]"]}


def load_python_file(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def triton_schema():
    """The generated schema of a model's configuration; importing tritonclient itself would need gRPC."""
    found = importlib.util.find_spec("tritonclient")
    if found is None or importlib.util.find_spec("google.protobuf") is None:
        raise unittest.SkipTest("tritonclient and protobuf are not installed: run tests/optional.sh")
    return load_python_file(Path(found.submodule_search_locations[0]) / "grpc/model_config_pb2.py")


class Export(SmallRunTest):
    @classmethod
    def setUpClass(cls):
        if torch is None:
            raise unittest.SkipTest("PyTorch is not installed in .venv: LibTorch is one of the user's own")
        super().setUpClass()
        torch.set_num_threads(1)
        run("semantic-ids", "--into", cls.dataset, "--levels", 2, "--codes", 16)
        for name, words in FORMS.items():
            run("train", *cls.words(name, "train.steps=4", "checkpoint.every_steps=2", *words))
            run("export", "--run", cls.directory / name, "--out", cls.directory / f"{name}-export",
                "--triton", cls.directory / f"{name}-triton")
            run("embed", "--run", cls.directory / name, "--out", cls.directory / f"{name}.h5")

    def export(self, form):
        return self.directory / f"{form}-export"

    def copy(self, form, name):
        target = self.directory / name
        shutil.copytree(self.export(form), target)
        return target

    def item_inputs(self, form):
        """content [I, C] and id_rows [I, E] of all items, width 0 where the model has none."""
        with h5py.File(self.export(form) / "items.h5") as file:
            item = file["item"]
            return [torch.from_numpy(item[name][:].astype("float32")) if name in item
                    else torch.zeros(len(item["id"]), 0) for name in ("content", "id_rows")]

    def batch(self, form, users=64):
        """The inputs of the user tower for the first users of the dataset, and their ids."""
        most = json.loads((self.export(form) / "preprocessing.json").read_text())["max_length"]
        content, id_rows = self.item_inputs(form)
        with h5py.File(next(self.dataset.glob("users-*.h5"))) as part:
            offset = part["user/offset"][:users + 1]
            spans = [(max(begin, end - most), end) for begin, end in zip(offset[:-1], offset[1:])]
            columns = {name: part[f"event/{name}"][:] for name in ("item", "action", "surface", "time", "duration")}
            ids = part["user/id"][:users]
        length = torch.tensor([end - begin for begin, end in spans])
        def padded(name, kind):
            rows = torch.zeros(users, int(length.max()), dtype=kind)
            for row, (begin, end) in enumerate(spans):
                rows[row, :end - begin] = torch.from_numpy(columns[name][begin:end]).to(kind)
            return rows
        item = padded("item", torch.int64)
        return [content[item], id_rows[item], padded("action", torch.int64), padded("surface", torch.int64),
                padded("time", torch.int64), padded("duration", torch.float32), length], ids

    def refused(self, *words, code=DATA):
        result = run("export", *words, expect=code)
        self.assertEqual(list(self.directory.glob("*.tmp-*")), [])
        return result.stderr

    def test_towers_give_the_vectors_of_embed(self):
        for form in FORMS:
            with self.subTest(form), h5py.File(self.directory / f"{form}.h5") as embedded:
                inputs, ids = self.batch(form)
                self.assertGreater(len(set(inputs[6].tolist())), 1, "users of different lengths")
                np.testing.assert_array_equal(embedded["user/id"][:len(ids)], ids)
                vectors = torch.jit.load(self.export(form) / "user_tower.pt")(*inputs)
                expected = embedded["user/vector"][:len(ids)].reshape(vectors.shape)
                scale = max(1, abs(expected).max())
                np.testing.assert_allclose(vectors.numpy(), expected, rtol=0, atol=1e-5 * scale)
                with h5py.File(self.export(form) / "items.h5") as stored:
                    np.testing.assert_array_equal(stored["item/vector"][:], embedded["item/vector"][:])
                    np.testing.assert_array_equal(stored["item/id"][:], embedded["item/id"][:])
                    self.assertEqual(dict(stored["item"].attrs), dict(embedded["item"].attrs))
                items = torch.jit.load(self.export(form) / "item_tower.pt")(*self.item_inputs(form)).numpy()
                expected = embedded["item/vector"][:, :items.shape[1]]
                np.testing.assert_allclose(items, expected, rtol=0, atol=1e-5 * max(1, abs(expected).max()))

    def test_plain_model_is_the_towers(self):
        sys.path.insert(0, str(ROOT / "docs"))  # plain_model.py imports plain_encoders.py
        self.addCleanup(sys.path.remove, str(ROOT / "docs"))
        plain = load_python_file(ROOT / "docs/plain_model.py").PlainModel
        for form in FORMS:
            with self.subTest(form), torch.no_grad():
                model, (inputs, _) = plain(self.export(form)), self.batch(form)
                vectors = torch.jit.load(self.export(form) / "user_tower.pt")(*inputs)
                scale = max(1, float(vectors.abs().max()))
                torch.testing.assert_close(model.user(*inputs), vectors, rtol=0, atol=1e-5 * scale)
                if form == "several":
                    topics = torch.arange(len(vectors)) % 7 - 1
                    tower = torch.jit.load(self.export(form) / "user_tower.pt")
                    torch.testing.assert_close(model.user(*inputs, topics), tower.for_topic(*inputs, topics), rtol=0,
                                               atol=1e-5 * scale)
                items = torch.jit.load(self.export(form) / "item_tower.pt")(*self.item_inputs(form))
                scale = max(1, float(items.abs().max()))
                torch.testing.assert_close(model.item(*self.item_inputs(form)), items, rtol=0, atol=1e-5 * scale)

    def test_a_row_does_not_depend_on_its_batch_or_its_padding(self):
        tower = torch.jit.load(self.export("paper") / "user_tower.pt")
        inputs, _ = self.batch("paper", users=8)
        together = tower(*inputs)
        for row in range(8):
            length = int(inputs[6][row])
            alone = tower(*[column[row:row + 1, :length] for column in inputs[:6]], inputs[6][row:row + 1])
            torch.testing.assert_close(alone[0], together[row], rtol=0, atol=1e-6)

    def test_the_directory_and_its_versions(self):
        for form in FORMS:
            with self.subTest(form):
                export = self.export(form)
                self.assertEqual({path.name for path in export.iterdir()}, FILES)
                manifest = json.loads((export / "export.json").read_text())
                self.assertEqual((manifest["format"], manifest["version"], manifest["step"]),
                                 ("pinnerformer export", 1, 4))
                self.assertEqual(set(manifest["files"]), FILES - {"export.json"})
                for name, entry in manifest["files"].items():
                    self.assertEqual((export / name).stat().st_size, entry["bytes"], name)
                versions = {key: manifest[key] for key in ("model_version", "content_version")}
                with h5py.File(export / "items.h5") as file:
                    self.assertEqual(dict(file["item"].attrs), versions)
                for name in ("model.json", "preprocessing.json"):
                    content = json.loads((export / name).read_text())
                    self.assertEqual({key: content[key] for key in versions}, versions)
                for name in ("user_tower.pt", "item_tower.pt"):
                    extra = dict.fromkeys(versions, "")
                    tower = torch.jit.load(export / name, _extra_files=extra)
                    self.assertEqual({key: value.decode() for key, value in extra.items()}, versions)
                    self.assertEqual({key: getattr(tower, key) for key in versions}, versions)
                self.assertIn(manifest["model_version"], (export / "README.md").read_text())
                run("export", "--verify", export)

    def test_preprocessing_names_actions_surfaces_and_inputs(self):
        content = json.loads((self.export("rows") / "preprocessing.json").read_text())
        with h5py.File(self.dataset / "items.h5") as items:
            for key, name in (("actions", "action"), ("surfaces", "surface")):
                names = list(items[f"vocabulary/{name}"].asstr())
                self.assertEqual(content[key], {text: index for index, text in enumerate(names)})
        tower = torch.jit.load(self.export("rows") / "user_tower.pt")
        arguments = [argument.name for argument in tower.forward.schema.arguments[1:]]
        self.assertEqual([entry["name"] for entry in content["inputs"]], arguments)
        with h5py.File(self.export("rows") / "items.h5") as file:
            self.assertEqual(content["id_rows"]["width"], file["item/id_rows"].shape[1])
            self.assertEqual(file["item/unknown_id_row"].shape, (1, content["id_rows"]["width"]))
            self.assertEqual(content["dimensions"], file["item/vector"].shape[1])
        self.assertEqual(content["user_vectors"], 1)
        self.assertNotIn("topics", content)
        several = json.loads((self.export("several") / "preprocessing.json").read_text())
        self.assertEqual(several["user_vectors"], 3)
        with h5py.File(self.dataset / "items.h5") as items:
            names = list(items["vocabulary/topic"].asstr())
        self.assertEqual(several["topics"], {text: index for index, text in enumerate(names)})

    def test_the_model_card_has_the_figures_of_an_evaluation(self):
        result, out = self.directory / "evaluation.json", self.directory / "with-figures"
        run("evaluate", "--run", self.directory / "paper", "--json", result, "evaluate.bootstrap=0")
        run("export", "--run", self.directory / "paper", "--out", out, "--evaluation", result)
        card = (out / "README.md").read_text()
        recall = json.loads(result.read_text())["results"][0]["recall@10"]
        self.assertIn(f"| model | once | {recall:.6g} |", card)
        for heading in ("## Model", "## Data", "## Split", "## Metrics", "## Limits", "## Use"):
            self.assertIn(heading, card)
        message = self.refused("--run", self.directory / "rows", "--out", self.directory / "other",
                               "--evaluation", result)
        self.assertIn("is the evaluation of", message)
        figures = json.loads(result.read_text())
        for key, value, says in (("users", "x", "users"), ("results", [5], "an entry of results")):
            result.write_text(json.dumps({**figures, key: value}))
            self.assertIn(says, self.refused("--run", self.directory / "paper", "--out", self.directory / "other",
                                             "--evaluation", result))
        result.write_text(json.dumps({**figures, "results": [{**figures["results"][0], "method": 5}]}))
        run("export", "--run", self.directory / "paper", "--out", out, "--overwrite", "--evaluation", result)
        self.assertIn("| - | once |", (out / "README.md").read_text())

    def test_an_older_checkpoint_is_another_version(self):
        out = self.directory / "older"
        run("export", "--run", self.directory / "paper", "--checkpoint", 2, "--out", out)
        older, newer = (json.loads((path / "export.json").read_text()) for path in (out, self.export("paper")))
        self.assertEqual((older["step"], older["content_version"]), (2, newer["content_version"]))
        self.assertNotEqual(older["model_version"], newer["model_version"])

    def test_what_is_in_the_way_is_left_alone(self):
        out = self.directory / "foreign"
        out.mkdir()
        (out / "notes.txt").write_text("mine")
        words = ("--run", self.directory / "paper", "--out")
        self.assertIn("is not an export", self.refused(*words, out))
        self.assertIn("is not an export", self.refused(*words, out, "--overwrite"))
        self.assertEqual((out / "notes.txt").read_text(), "mine")
        again = self.copy("rows", "again")
        self.assertIn("--overwrite replaces it", self.refused(*words, again))
        # The place is looked at before the model: what is in the way is all that is said.
        self.assertIn("--overwrite replaces it", self.refused("--run", self.directory / "none", "--out", again))
        (again / "index.bin").write_text("mine")
        self.assertIn("index.bin", self.refused(*words, again, "--overwrite"))
        (again / "index.bin").unlink()
        run("export", *words, again, "--overwrite")
        self.assertEqual({path.name for path in again.iterdir()}, FILES)
        self.assertEqual((again / "user_tower.pt").read_bytes(), (self.export("paper") / "user_tower.pt").read_bytes())

    def test_mixed_and_damaged_exports_are_found(self):
        for name in ("items.h5", "user_tower.pt", "item_tower.pt"):
            mixed = self.copy("paper", f"mixed-{name}")
            shutil.copy(self.export("rows") / name, mixed / name)
            message = self.refused("--verify", mixed)
            self.assertIn("must not be mixed", message)
            self.assertIn(name, message)
        damaged = self.copy("paper", "damaged")
        weights = bytearray((damaged / "model.safetensors").read_bytes())
        weights[-1] ^= 1
        (damaged / "model.safetensors").write_bytes(weights)
        self.assertIn("model.safetensors", self.refused("--verify", damaged))
        (damaged / "export.json").write_text("[1]")
        self.assertIn("export.json", self.refused("--verify", damaged))
        (damaged / "export.json").unlink()
        self.refused("--verify", damaged, code=NO_INPUT)

    def test_bad_command_lines(self):
        paper, out = self.directory / "paper", self.directory / "never"
        self.refused("--run", paper, code=USAGE)
        self.refused("--verify", self.export("paper"), "--out", out, code=USAGE)
        self.refused("--run", paper, "--triton", out, "--overwrite", code=USAGE)
        empty = self.directory / "empty-run"
        (empty / "checkpoints").mkdir(parents=True)
        self.assertIn("no valid checkpoint", self.refused("--run", empty, "--out", out))
        self.refused("--run", self.directory / "none", "--out", out, code=NO_INPUT)
        self.refused("--run", paper, "--out", out, "--evaluation", self.directory / "none.json", code=NO_INPUT)
        self.assertFalse(out.exists())

    # Triton's PyTorch backend passes tensors by the names of forward's arguments, in their order.

    def read_config(self, path):
        from google.protobuf import text_format
        return text_format.Parse(path.read_text(), triton_schema().ModelConfig())

    def inputs_of(self, config, request, schema):
        """Tensors for `request` (name -> array) as the backend makes them, [batch, dims...]."""
        kinds = {schema.TYPE_FP32: torch.float32, schema.TYPE_INT64: torch.int64}
        tensors = {}
        for entry in config.input:
            tensor = request[entry.name]
            self.assertEqual(tensor.dtype, kinds[entry.data_type], entry.name)
            self.assertEqual(tensor.dim(), 1 + len(entry.dims), entry.name)
            for size, declared in zip(tensor.shape[1:], entry.dims):
                self.assertIn(declared, (-1, size), entry.name)
            tensors[entry.name] = tensor
        return tensors

    def test_triton_configuration_fits_the_schema_and_the_model(self):
        schema = triton_schema()
        for form in FORMS:
            for name in ("user_tower", "item_tower"):
                model = self.directory / f"{form}-triton" / name
                config = self.read_config(model / "config.pbtxt")
                self.assertEqual((config.name, config.backend, config.platform), (name, "pytorch", "pytorch_libtorch"))
                self.assertGreater(config.max_batch_size, 0)
                self.assertTrue(config.HasField("dynamic_batching"))
                self.assertEqual(config.instance_group[0].kind, schema.ModelInstanceGroup.KIND_AUTO)
                tower = torch.jit.load(model / "1/model.pt")
                arguments = [argument.name for argument in tower.forward.schema.arguments[1:]]
                self.assertEqual([entry.name for entry in config.input], arguments)
                for entry in (*config.input, *config.output):
                    self.assertTrue(entry.dims and all(size == -1 or size > 0 for size in entry.dims), entry)

    def test_a_triton_request_gives_the_vectors_of_the_export(self):
        schema = triton_schema()
        for form in FORMS:
            model = self.directory / f"{form}-triton/user_tower"
            config, tower = self.read_config(model / "config.pbtxt"), torch.jit.load(model / "1/model.pt")
            inputs, _ = self.batch(form, users=5)
            names = [entry.name for entry in config.input]
            request = dict(zip(names, inputs))
            request["length"] = request["length"][:, None]
            vectors = tower(*self.inputs_of(config, request, schema).values())
            self.assertEqual(list(vectors.shape), [5, *config.output[0].dims])
            expected = torch.jit.load(self.export(form) / "user_tower.pt")(*inputs)
            torch.testing.assert_close(vectors, expected, rtol=0, atol=0)

    def test_the_triton_warm_up_runs(self):
        schema = triton_schema()
        kinds = {schema.TYPE_FP32: torch.float32, schema.TYPE_INT64: torch.int64}
        for form in FORMS:
            for name in ("user_tower", "item_tower"):
                model = self.directory / f"{form}-triton" / name
                config, tower = self.read_config(model / "config.pbtxt"), torch.jit.load(model / "1/model.pt")
                sample = config.model_warmup[0]
                if name == "user_tower":  # a later model may read fewer events than this one
                    self.assertEqual(list(sample.inputs["time"].dims), [1])
                request = {}
                for entry in config.input:
                    value = sample.inputs[entry.name]
                    tensor = torch.zeros([sample.batch_size, *value.dims], dtype=kinds[value.data_type])
                    if value.input_data_file:
                        content = (model / "warmup" / value.input_data_file).read_bytes()
                        self.assertEqual(len(content), tensor.nbytes)
                        tensor = torch.frombuffer(bytearray(content), dtype=tensor.dtype).view(tensor.shape)
                    request[entry.name] = tensor
                for _ in range(sample.count):
                    tower(*self.inputs_of(config, request, schema).values())

    def test_triton_versions_are_added_and_none_is_replaced(self):
        repository = self.directory / "versions"
        shutil.copytree(self.directory / "paper-triton", repository)
        config = repository / "user_tower/config.pbtxt"
        config.write_text(config.read_text().replace("max_batch_size: 256", "max_batch_size: 8"))
        before = {path: path.read_bytes() for path in repository.rglob("*") if path.is_file()}
        (repository / "item_tower/7").mkdir()
        run("export", "--run", self.directory / "paper", "--checkpoint", 2, "--triton", repository)
        for path, content in before.items():
            self.assertEqual(path.read_bytes(), content, path)
        for name in ("user_tower", "item_tower"):
            new = repository / name / "8/model.pt"
            self.assertNotEqual(new.read_bytes(), (repository / name / "1/model.pt").read_bytes())
            self.assertEqual([path.name for path in (repository / name).iterdir() if "tmp" in path.name], [])
        message = self.refused("--run", self.directory / "rows", "--triton", repository)
        self.assertIn("declares other inputs or outputs", message)
        self.assertFalse((repository / "user_tower/9").exists())


if __name__ == "__main__":
    sys.exit(unittest.main())
