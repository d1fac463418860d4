#!/usr/bin/env python3
# The architecture as a test: who may include whom, where third-party headers stop, how long a file
# may be, and that docs/architecture.md names only what exists.
# Usage: check_layers.py [ROOT]; prints every violation and exits 1 where there is one.
import pathlib
import re
import sys

FOLDERS = ("comm", "dataloader", "trainer", "configs", "launch", "tests")
CODE = (".h", ".cc", ".cu", ".cuh")
MOST_LINES = 500

# What a folder may include of ours: (pattern of the included path, reason it gives to a violator).
OURS = {
    "comm": (r"comm/", "comm knows ranks and tensors, nothing of ours"),
    "dataloader": (r"dataloader/", "dataloader knows rank and world size as two integers"),
    "trainer": (r"(trainer|comm|dataloader)/", "trainer stands on comm and dataloader"),
    "configs": (
        r"configs/|(comm|dataloader|trainer)/options\.h$",
        "configs knows the option structs only",
    ),
    "launch": (r"(launch|configs|trainer|dataloader|comm)/", "nothing includes tests"),
    "tests": (r"", ""),
}

# Where third-party headers stop. tests may include all of them.
THIRD_PARTY = [
    (r"mpi\.h$", ("comm",)),
    (r"nccl\.h$", ("comm",)),
    (r"hdf5(_hl)?\.h$|H5\w*\.h$", ("dataloader",)),
    (r"(arrow|parquet)/", ("dataloader",)),
    (r"yaml-cpp/", ("configs",)),
    (r"boost/", ("configs", "launch")),
]

# Where the environment may be read.
READS_ENVIRONMENT = ("configs", "launch", "tests")


def files_of(root, endings):
    for folder in FOLDERS:
        for path in sorted((root / folder).rglob("*")):
            if path.is_file() and path.suffix in endings:
                yield folder, path


def includes_of(text):
    """(line number, included path, whether in quotes) of every include."""
    pattern = re.compile(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"]+)[>"]', re.MULTILINE)
    for match in pattern.finditer(text):
        yield text.count("\n", 0, match.start()) + 1, match[2], match[1] == '"'


def check_include(folder, where, included, quoted):
    first = included.split("/")[0]
    if first in FOLDERS:
        allowed, reason = OURS[folder]
        if not re.match(allowed, included):
            yield f'{where}: "{included}" must not be included from {folder}/: {reason}'
    elif quoted:
        yield f'{where}: "{included}": write our includes from the root, others in <>'
    for pattern, homes in THIRD_PARTY:
        if re.match(pattern, included) and folder not in homes + ("tests",):
            yield f"{where}: <{included}> belongs in {' and '.join(homes)} only"


def check_code(root):
    hdf5_users = set()
    for folder, path in files_of(root, CODE):
        name = path.relative_to(root)
        text = path.read_text(encoding="utf-8")
        explained_by_header = path.suffix not in (".h", ".cuh") and path.with_suffix(".h").exists()
        if not explained_by_header and not text.startswith("//"):
            yield f"{name}:1: a file opens with one to four lines that say what it is"
        for line, included, quoted in includes_of(text):
            yield from check_include(folder, f"{name}:{line}", included, quoted)
            if re.match(THIRD_PARTY[2][0], included) and folder == "dataloader":
                hdf5_users.add(str(name.with_suffix("")))
        if folder not in READS_ENVIRONMENT and re.search(r"\bgetenv\s*\(", text):
            yield f"{name}: environment variables are read in configs/ and launch/ only"
    if len(hdf5_users) > 1:
        yield f"hdf5.h belongs in one pair of files, found in {', '.join(sorted(hdf5_users))}"


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


def check_architecture_page(root):
    page = root / "docs" / "architecture.md"
    if not page.exists():
        return
    named = re.compile(r"(?<![\w./-])((?:%s|docs|cmake)/[\w./*-]*(?:\{[^}\s]*\})?[\w./*-]*)" % "|".join(FOLDERS))
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        for match in named.finditer(line):
            for path in expand(match[1].rstrip(".,;:")):
                if not any(root.glob(path.rstrip("/"))):
                    yield f"docs/architecture.md:{number}: names {path}, which does not exist"


def main():
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parents[1])
    violations = [*check_code(root), *check_lengths(root), *check_architecture_page(root)]
    print("\n".join(violations) or "the layers hold")
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
