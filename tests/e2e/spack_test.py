"""The recipes for Spack, without Spack: they are run with stand-ins for its modules, which record what the recipes
say, and that is held against the build. Whether Spack can build them, only Spack can tell."""
import contextlib
import re
import sys
import types
import unittest

from support import ROOT

REPOSITORY = ROOT / "launch/spack/spack_repo/pinnerformer"
# What the build looks for (cmake/Dependencies.cmake) and the package of Spack that has it.
NEEDED = {"Torch": "py-torch", "NCCL_LIBRARY": "nccl", "ARROW_LIBRARY": "arrow", "PARQUET_LIBRARY": "arrow", "MPI": "mpi",
          "HDF5": "hdf5", "OpenSSL": "openssl", "yaml-cpp": "yaml-cpp", "Boost": "boost", "nlohmann_json": "nlohmann-json",
          "XXHASH_LIBRARY": "xxhash", "HNSWLIB_INCLUDE_DIR": "hnswlib", "JEMALLOC_LIBRARY": "jemalloc"}
SPEC = re.compile(r"(?P<name>[a-z][a-z0-9-]*)?(?P<version>@[\d.]+:?[\d.]*)?(?: ?[+~][a-z_]+)*")


class Recorder:
    """Stands for `spack.package`: keeps the arguments of every directive."""

    def __init__(self):
        self.said, self.conditions = [], []

    def directive(self, name):
        def record(*words, **options):
            when = [*self.conditions, *([options["when"]] if "when" in options else [])]
            self.said.append((name, words, {**options, "when": when}))
        return record

    @contextlib.contextmanager
    def when(self, condition):
        self.conditions.append(condition)
        yield
        self.conditions.pop()

    def of(self, name):
        return [(words, options) for said, words, options in self.said if said == name]


class Package:
    def define(self, name, value):
        return f"-D{name}={value}"

    def define_from_variant(self, name, variant):
        return f"-D{name}=variant {variant}"


def load(name):
    """(recorder, class) of a recipe."""
    recorder = Recorder()
    package = types.ModuleType("spack.package")
    for directive in ("version", "variant", "depends_on", "generator", "conflicts"):
        setattr(package, directive, recorder.directive(directive))
    package.when = recorder.when
    modules = {"spack": types.ModuleType("spack"), "spack.package": package}
    for path, attribute in (("cmake", "CMakePackage"), ("cuda", "CudaPackage")):
        module = types.ModuleType(f"spack_repo.builtin.build_systems.{path}")
        setattr(module, attribute, type(attribute, (Package,), {}))
        modules[module.__name__] = module
    for parent in ("spack_repo", "spack_repo.builtin", "spack_repo.builtin.build_systems"):
        modules[parent] = types.ModuleType(parent)
    before = {key: sys.modules.get(key) for key in modules}
    sys.modules.update(modules)
    names = {}
    try:
        exec(compile((REPOSITORY / f"packages/{name}/package.py").read_text(), name, "exec"), names)
    finally:
        for key, module in before.items():
            sys.modules.pop(key) if module is None else sys.modules.update({key: module})
    return recorder, names[name.capitalize()]


class Spack(unittest.TestCase):
    def setUp(self):
        self.recorder, self.recipe = load("pinnerformer")
        self.dependencies = [words[0] for words, _ in self.recorder.of("depends_on")]

    def test_repository_has_the_form_of_spack_1(self):
        text = (REPOSITORY / "repo.yaml").read_text()
        self.assertRegex(text, rf"(?m)^  namespace: {REPOSITORY.name}$")
        self.assertRegex(text, r"(?m)^  api: v2\.\d+$")
        self.assertEqual(REPOSITORY.parent.name, "spack_repo")

    def test_version_is_that_of_the_project(self):
        project, = re.findall(r"project\(pinnerformer VERSION (\S+)", (ROOT / "CMakeLists.txt").read_text())
        self.assertEqual([words[0] for words, _ in self.recorder.of("version")], [project])

    def test_every_dependency_of_the_build_is_one_of_the_recipe(self):
        cmake = (ROOT / "cmake/Dependencies.cmake").read_text()
        looked_for = set(re.findall(r"find_(?:package|library)\((\S+)", cmake)) | {"HNSWLIB_INCLUDE_DIR"}
        self.assertEqual(looked_for, set(NEEDED), "a new dependency: name its package here and in the recipe")
        named = {SPEC.match(spec)["name"] for spec in self.dependencies}
        self.assertLessEqual(set(NEEDED.values()), named)

    def test_minimum_versions_are_those_of_the_build(self):
        least, = re.findall(r"cmake_minimum_required\(VERSION ([\d.]+?)\.\.\.", (ROOT / "CMakeLists.txt").read_text())
        self.assertIn(f"cmake@{least}:", self.dependencies)
        torch, = re.findall(r"(?m)^torch==(\d+\.\d+)", (ROOT / "launch/requirements.txt").read_text())
        self.assertIn(f"py-torch@{torch}:", self.dependencies)

    def test_specs_and_conditions_can_be_read(self):
        variants = {words[0] for words, _ in self.recorder.of("variant")}
        for words, options in self.recorder.of("depends_on"):
            self.assertTrue(SPEC.fullmatch(words[0]), words)
            for condition in options["when"]:
                self.assertIn(condition.lstrip("+~"), variants, words)

    def test_options_exist_in_the_build(self):
        build = (ROOT / "CMakeLists.txt").read_text() + (ROOT / "cmake/Dependencies.cmake").read_text()
        for argument in self.recipe().cmake_args():
            name = re.match(r"-D(\w+)=", argument)[1]
            self.assertRegex(build, rf"(option|set)\({name} ", argument)

    def test_what_spack_does_not_have_is_beside_it(self):
        recorder, recipe = load("hnswlib")
        version, = re.findall(r"(?m)^hnswlib==(\S+)$", (ROOT / "tests/requirements-optional.txt").read_text())
        self.assertEqual(recorder.of("version")[0][0], (version,), "the version that the tests compare with")
        self.assertTrue(recipe.git.startswith("https://"))


if __name__ == "__main__":
    unittest.main()
