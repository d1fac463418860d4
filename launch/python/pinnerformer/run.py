"""A run directory of `pinnerformer train`: metrics, checkpoints and configuration."""
from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .errors import DataError
from .files import entry, read_json

CHECKPOINT_FORMAT = "pinnerformer-checkpoint"
MOST_CHECKPOINT_VERSION = 2


class Metrics:
    """metrics.jsonl as columns, one value per logged step, ascending; NaN where a step has no value.

        metrics = Metrics("build/quickstart/run")
        plt.plot(metrics["step"], metrics["loss"])

    A run that was killed logs some steps again: the last record of a step counts. A last line without an end
    is left out, since a training may be writing it.
    """

    def __init__(self, run: str | os.PathLike):
        path = Path(run) / "metrics.jsonl"
        if not path.is_file():
            raise FileNotFoundError(f"{path}: expected the metrics of a run, found no file")
        self.path = os.fspath(path)
        records: dict[int, dict[str, Any]] = {}
        with open(path, encoding="utf-8", errors="replace") as file:
            for number, line in enumerate(file, 1):
                if line.endswith("\n"):
                    record = self._record(line, number)
                    records.setdefault(record["step"], {}).update(record)
        ordered = [records[step] for step in sorted(records)]
        self._columns = {name: self._column(ordered, name)
                         for name in dict.fromkeys(name for record in ordered for name in record)}

    def _record(self, line: str, number: int) -> dict[str, Any]:
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{self.path}, line {number}: expected JSON ({error})") from error
        if not isinstance(record, dict):
            raise DataError(f"{self.path}, line {number}: expected an object, found {type(record).__name__}")
        entry(record, "step", int, f"{self.path}, line {number}")
        return record

    @staticmethod
    def _column(records: list[dict[str, Any]], name: str) -> np.ndarray:
        found = [record.get(name) for record in records]
        if all(isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1 << 63 for value in found):
            return np.array(found, dtype=np.int64)
        if all(value is None or isinstance(value, (int, float)) for value in found):
            return np.array([np.nan if value is None else value for value in found], dtype=np.float64)
        return np.array(found, dtype=object)

    @property
    def names(self) -> list[str]:
        return list(self._columns)

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self._columns:
            raise KeyError(f"{self.path}: no column {name!r}; there are {', '.join(self._columns)}")
        return self._columns[name]

    def __contains__(self, name: object) -> bool:
        return name in self._columns

    def __len__(self) -> int:
        return len(next(iter(self._columns.values()), ()))


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint whose manifest can be read and whose files are there with their sizes."""
    path: str
    step: int
    loss: float | None
    samples: int
    files: dict[str, int]  # name -> bytes


class Run:
    """A run directory.

        run = Run("build/quickstart/run")
        run.checkpoints[-1].path, run.configuration["model"]["hidden"], run.metrics["loss"]
    """

    def __init__(self, path: str | os.PathLike):
        self.path = os.fspath(path)
        if not (Path(path) / "config.yaml").is_file():
            raise FileNotFoundError(f"{path}: expected a run directory with config.yaml, found none")

    @property
    def metrics(self) -> Metrics:
        return Metrics(self.path)

    @property
    def configuration(self) -> dict[str, Any]:
        """The resolved configuration of the newest start, by section and key."""
        path = Path(self.path) / "config.yaml"
        return parse_configuration(path.read_text(encoding="utf-8"), os.fspath(path))

    @property
    def checkpoints(self) -> list[Checkpoint]:
        """By step, ascending. Directories without a whole manifest are no checkpoints."""
        folder = Path(self.path) / "checkpoints"
        names = [name for name in os.listdir(folder) if re.fullmatch(r"step-\d{9,}", name)] if folder.is_dir() else []
        found = [read_checkpoint(folder / name) for name in names]
        return sorted((one for one in found if one is not None), key=lambda one: one.step)

    @property
    def best_step(self) -> int | None:
        """The step of the best validation so far, of the newest manifest; None without validation."""
        newest = self.checkpoints[-1:]
        best = read_json(Path(newest[0].path) / "MANIFEST.json").get("best") if newest else None
        return best.get("step") if isinstance(best, dict) else None


def read_checkpoint(path: Path) -> Checkpoint | None:
    """None where the checkpoint is not whole. Throws DataError where a newer program wrote it."""
    try:
        manifest = read_json(path / "MANIFEST.json")
    except (FileNotFoundError, DataError):
        return None
    where = path / "MANIFEST.json"
    version = entry(manifest, "version", int, where)
    if manifest.get("format") != CHECKPOINT_FORMAT or version > MOST_CHECKPOINT_VERSION:
        raise DataError(f"{where}: expected format {CHECKPOINT_FORMAT}, version up to {MOST_CHECKPOINT_VERSION}; "
                        f"found {manifest.get('format')}, {version}")
    files = {name: entry(digest, "bytes", int, where) for name, digest in entry(manifest, "files", dict, where).items()}
    for name, size in files.items():
        file = path / Path(name).name
        if not file.is_file() or file.stat().st_size != size:
            return None
    return Checkpoint(os.fspath(path), entry(manifest, "step", int, where), manifest.get("loss"),
                      entry(manifest, "samples", int, where), files)


def parse_configuration(text: str, path: str) -> dict[str, Any]:
    """The configuration as the program writes it: `section:`, `  key: value`, `[a, b]`. Not all of YAML."""
    tree: dict[str, Any] = {}
    open_sections: list[tuple[int, dict[str, Any]]] = [(-1, tree)]
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        found = re.fullmatch(r"( *)([\w.]+):(?: (.*))?", line)
        if not found:
            raise DataError(f"{path}, line {number}: expected `key: value`, found {line!r:.80}")
        indent = len(found[1])
        while open_sections[-1][0] >= indent:
            open_sections.pop()
        section = open_sections[-1][1]
        if found[3] is None:
            section[found[2]] = {}
            open_sections.append((indent, section[found[2]]))
        else:
            section[found[2]] = _value(found[3].strip())
    return tree


def _value(text: str) -> Any:
    if text.startswith("[") and text.endswith("]"):
        inner = re.findall(r'"(?:[^"\\]|\\.)*"|[^,\s][^,]*', text[1:-1])
        return [_value(one.strip()) for one in inner]
    try:
        return json.loads(text)
    except ValueError:
        return text
