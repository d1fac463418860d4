#!/usr/bin/env python3
# The architecture as a test: who may include whom, where third-party headers stop, how long a file
# may be, that names do not clash in a unity build, and that docs/architecture.md names only what
# exists and holds the table of arrows.
# The arrows are the USES lists of pf_library() in the CMakeLists.txt of the folders.
# Usage: check_layers.py [ROOT]; prints every violation and exits 1 where there is one.
#        check_layers.py --table [ROOT]; prints the table for docs/architecture.md.
import collections
import pathlib
import re
import sys

import unity_names

FOLDERS = ("comm", "dataloader", "trainer", "configs", "launch", "tests")
CODE = (".h", ".cc", ".cu", ".cuh")
MOST_LINES = 500

# These headers hold plain option structs and may be included from everywhere.
OPTIONS = ("comm/options.h", "dataloader/options.h", "trainer/options.h")

# Where third-party headers stop. tests may include all of them.
THIRD_PARTY = [
    (r"mpi\.h$", ("comm/mpi", "comm")),
    (r"nccl\.h$", ("comm/nccl", "comm")),
    (r"hdf5(_hl)?\.h$|H5\w*\.h$", ("dataloader/hdf5",)),
    (r"(arrow|parquet)/", ("dataloader/import", "dataloader/formats", "dataloader/base")),
    (r"hnswlib/", ("launch/index",)),
    (r"yaml-cpp/", ("configs",)),
    (r"boost/", ("launch/cli", "trainer/monitor")),
    (r"openssl/", ("comm/watchdog",)),
]

# Where the environment may be read.
READS_ENVIRONMENT = ("configs", "launch", "tests")


def files_of(root, endings):
    for folder in FOLDERS:
        for path in sorted((root / folder).rglob("*")):
            if path.is_file() and str(path).endswith(endings):
                yield folder, path


def includes_of(text):
    """(line number, included path, whether in quotes) of every include."""
    pattern = re.compile(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"]+)[>"]', re.MULTILINE)
    for match in pattern.finditer(text):
        yield text.count("\n", 0, match.start()) + 1, match[2], match[1] == '"'


def read_arrows(root):
    """{sub-folder: (sub-folders it may include, whether LibTorch is kept out of it)}."""
    arrows = {}
    for folder in FOLDERS[:-1]:
        text = re.sub(r"#.*", "", (root / folder / "CMakeLists.txt").read_text(encoding="utf-8"))
        for name, rest in re.findall(r"pf_library\(([\w/]+)([^)]*)\)", text):
            uses = re.search(r"USES((?:\s+[a-z][\w/]*)*)", rest)
            arrows[name] = (uses[1].split() if uses else [], "WITHOUT_TORCH" in rest)
    return arrows


def check_include(arrows, folder, where, included, quoted):
    home = included.rpartition("/")[0]
    if included.split("/")[0] in FOLDERS:
        known = folder in arrows and home != folder and included not in OPTIONS
        if known and home not in arrows[folder][0]:
            yield f'{where}: "{included}" must not be included from {folder}: see its pf_library()'
        if home.startswith("tests") and not folder.startswith("tests"):
            yield f'{where}: "{included}": nothing includes tests'
    elif quoted:
        yield f'{where}: "{included}": write our includes from the root, others in <>'
    for pattern, homes in THIRD_PARTY:
        if re.match(pattern, included) and folder not in homes and not folder.startswith("tests"):
            yield f"{where}: <{included}> belongs in {' and '.join(homes)} only"


def check_arrows(arrows):
    """The arrows are no circle, and name what exists."""
    done, under_way = set(), []

    def visit(name):
        if name in done:
            return
        if name in under_way:
            yield f"a circle of folders: {' -> '.join([*under_way[under_way.index(name):], name])}"
            return
        if name not in arrows:
            yield f"{under_way[-1]} uses {name}, which is no pf_library()"
            return
        under_way.append(name)
        for used in arrows[name][0]:
            yield from visit(used)
        done.add(under_way.pop())

    for name in arrows:
        yield from visit(name)


def check_without_torch(root, arrows):
    """Parsing LibTorch takes 15 s: folders marked WITHOUT_TORCH never reach it."""
    reaches = {}

    def find(name):
        if name not in reaches:
            reaches[name] = None  # while it is looked at
            for _, included, quoted in includes_of((root / name).read_text(encoding="utf-8")):
                if re.match(r"(torch|ATen|c10/core)/", included):
                    reaches[name] = f"<{included}>"
                elif quoted and (root / included).exists() and find(included):
                    reaches[name] = f"{included}: {reaches[included]}"
                if reaches[name]:
                    break
        return reaches[name]

    for folder, (_, without_torch) in arrows.items():
        for path in sorted((root / folder).glob("*")) if without_torch else ():
            name = str(path.relative_to(root))
            if path.suffix in CODE and find(name):
                yield f"{name} includes LibTorch through {find(name)}, but {folder} is WITHOUT_TORCH"


def check_code(root, arrows):
    used = {name: set() for name in arrows}
    for top, path in files_of(root, CODE):
        name = path.relative_to(root)
        folder = str(name.parent)
        text = path.read_text(encoding="utf-8")
        if top != "tests" and folder not in arrows and folder != "launch":
            yield f"{name}: {folder} has no pf_library()"
        explained_by_header = path.suffix not in (".h", ".cuh") and path.with_suffix(".h").exists()
        if not explained_by_header and not text.startswith("//"):
            yield f"{name}:1: a file opens with one to four lines that say what it is"
        for line, included, quoted in includes_of(text):
            yield from check_include(arrows, folder, f"{name}:{line}", included, quoted)
            if folder in arrows:
                used[folder].add(included.rpartition("/")[0])
        if top not in READS_ENVIRONMENT and re.search(r"\bgetenv\s*\(", text):
            yield f"{name}: environment variables are read in configs/ and launch/ only"
    for folder, (uses, _) in arrows.items():
        for unused in set(uses) - used[folder]:
            yield f"{folder} lists {unused} in USES, but includes nothing of it"


def table_of(arrows):
    lines = ["| sub-folder | may include |", "|---|---|"]
    for name, (uses, without_torch) in arrows.items():
        lines.append(f"| `{name}`{' (no LibTorch)' if without_torch else ''} | "
                     f"{', '.join(uses) or '-'} |")
    return "\n".join(lines)


def check_suites(root):
    """CTest selects the tests of a file by its name: a suite named otherwise would never run."""
    for _, path in files_of(root, ("_test.cc",)):
        start = "".join(word.capitalize() for word in path.stem.removesuffix("_test").split("_"))
        text = path.read_text(encoding="utf-8")
        for suite in re.findall(r"^(?:TYPED_)?TEST(?:_F|_P)?\((\w+)", text, re.MULTILINE):
            if not suite.startswith(start):
                yield f"{path.relative_to(root)}: suite {suite} must start with {start}"


def check_unity_names(root):
    folders = collections.defaultdict(list)
    for _, path in files_of(root, (".cc",)):
        folders[path.parent].append(path)
    for paths in folders.values():
        yield from unity_names.clashes(paths)


def check_type_names(root):
    """A type of one name in two headers breaks the one-definition rule: the linker mixes their functions."""
    places = collections.defaultdict(set)
    for folder, path in files_of(root, (".h",)):
        if folder == "tests":
            continue
        text = unity_names.REGION.sub("", path.read_text(encoding="utf-8"))
        for name in re.findall(r"^(?:struct|class|enum class) (\w+)(?: final)?(?: : [^;{]*)? \{", text, re.MULTILINE):
            places[name].add(str(path.relative_to(root)))
    for name, paths in places.items():
        if len(paths) > 1:
            yield f"{name} is defined in {' and in '.join(sorted(paths))}; types need names of their own"


def check_lengths(root):
    for _, path in files_of(root, CODE + (".py", ".sh")):
        lines = len(path.read_text(encoding="utf-8").splitlines())
        if lines > MOST_LINES:
            yield f"{path.relative_to(root)}: {lines} lines; split it before {MOST_LINES}"


def expand(path):
    """"a/b.{h,cc}" -> a/b.h, a/b.cc."""
    match = re.search(r"\{([^}]*)\}", path)
    if not match:
        return [path]
    return [path[: match.start()] + part.strip() + path[match.end() :] for part in match[1].split(",")]


def check_architecture_page(root, arrows):
    page = root / "docs" / "architecture.md"
    if not page.exists():
        return
    if table_of(arrows) not in page.read_text(encoding="utf-8"):
        yield "docs/architecture.md: the table of arrows is out of date; check_layers.py --table prints it"
    named = re.compile(r"(?<![\w./-])((?:%s|docs|cmake)/[\w./*-]*(?:\{[^}\s]*\})?[\w./*-]*)" % "|".join(FOLDERS))
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        for match in named.finditer(line):
            for path in expand(match[1].rstrip(".,;:")):
                if not any(root.glob(path.rstrip("/"))):
                    yield f"docs/architecture.md:{number}: names {path}, which does not exist"


def main():
    words = [word for word in sys.argv[1:] if word != "--table"]
    root = pathlib.Path(words[0] if words else pathlib.Path(__file__).parents[1])
    arrows = read_arrows(root)
    if "--table" in sys.argv:
        print(table_of(arrows))
        return 0
    violations = [
        *check_arrows(arrows),
        *check_without_torch(root, arrows),
        *check_code(root, arrows),
        *check_suites(root),
        *check_unity_names(root),
        *check_type_names(root),
        *check_lengths(root),
        *check_architecture_page(root, arrows),
    ]
    print("\n".join(violations) or "the layers hold")
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
