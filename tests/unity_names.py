"""Names that clash when the files of one folder are compiled as one (PF_UNITY).

The build of single files does not see such clashes, so check_layers.py looks for them. It reads the
text between `namespace {` and `}  // namespace`, where clang-format leaves definitions at column 0.
"""
import collections
import re

REGION = re.compile(r"^namespace \{$(.*?)^\}  // namespace$", re.MULTILINE | re.DOTALL)
TYPE = re.compile(r"^(?:struct|class|enum class|enum) (\w+)\b[^;]*\{", re.MULTILINE)
ALIAS = re.compile(r"^(?:using|namespace) (\w+) = ([^;]+);", re.MULTILINE)
VALUE = re.compile(r"^(?!using|namespace|return|template|struct|class|enum)[\w:<>,&*][\w:<>,&* ]*?[ &*](\w+)(?:\[\w*\])?(?: =|;|\{)",
                   re.MULTILINE)
FUNCTION = re.compile(r"^(?!TEST|using|namespace|INSTANTIATE)[\w:<>,&*\[][\w:<>,&* \[\]]*?[ &*](\w+)\(([^)]*)\)",
                      re.MULTILINE)


def types_of(parameters):
    """"const Row& row, int n = 1" -> "const Row&, int": two functions differ by types, not by names."""
    words = re.sub(r"\s+", " ", parameters).split(",")
    return ",".join(re.sub(r"[ ]*\w+$", "", word.split("=")[0].strip()) for word in words)


def names_of(text):
    """(name, what makes it different from others of that name) of each definition in the regions.

    Two of one name clash unless both are functions of different parameters, or equal aliases.
    """
    for region in REGION.findall(text):
        for name in TYPE.findall(region) + VALUE.findall(region):
            yield name, None
        for name, meaning in ALIAS.findall(region):
            yield name, "= " + meaning
        for name, parameters in FUNCTION.findall(region):
            yield name, types_of(parameters)


def clashes(paths):
    """A line for each name that two of these files, all of one folder, define."""
    seen = collections.defaultdict(dict)  # name -> {file: its variants}
    for path in paths:
        for name, variant in names_of(path.read_text(encoding="utf-8")):
            seen[name].setdefault(path.name, set()).add(variant)
    for name, files in seen.items():
        for first, second in zip(list(files), list(files)[1:]):
            one, other = files[first], files[second]
            equal_aliases = one == other and all(v and v.startswith("= ") for v in one)
            overloads = not any(v is None or v.startswith("= ") for v in one | other) and not one & other
            if not equal_aliases and not overloads:
                yield f"{path.parent.name}: {first} and {second} both define {name}: rename one"
