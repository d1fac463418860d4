"""An index of `pinnerformer index`: approximate search for the nearest vectors, with hnswlib."""
from __future__ import annotations

import os
from functools import cached_property
from pathlib import Path
from typing import Iterable

import numpy as np

from .errors import DataError, MissingPackage, VersionError
from .files import entry, read_json
from .vectors import Id, Ids, Neighbour, VectorSet, Version, checked_count, query_vectors

FORMAT, FORMAT_VERSION = "pinnerformer item index", 1
SAMPLE, TOLERANCE = 256, 1e-3


class Index:
    """items.hnsw with its description items.hnsw.json and its ids beside it.

        index = Index("items.hnsw")
        require_same_version(index, export)
        index.nearest(export.user_vectors([events]).vectors[0], 10)

    Only sizes and versions are checked: hnswlib believes what a file says, so open files of your own only.
    Throws FileNotFoundError, DataError, MissingPackage. May be searched by several threads at once.
    """

    def __init__(self, path: str | os.PathLike):
        self.path = os.fspath(path)
        described = Path(self.path + ".json")
        about = read_json(described, FORMAT, FORMAT_VERSION)
        self.version = Version(*(entry(about, name, str, described) for name in ("model_version", "content_version")))
        self.dimensions: int = entry(about, "dimensions", int, described)
        self.rows: int = entry(about, "rows", int, described)
        self.ef: int = entry(about, "ef", int, described)
        self.recall: float = entry(about, "recall_at_10", float, described)  # against exact search
        self._require_size(Path(self.path), about, "index_file", described)
        self._lookup = Ids(self._read_ids(entry(about, "id_type", str, described), about, described))
        if len(self._lookup) != self.rows:
            raise DataError(f"{path}: expected {self.rows} ids, found {len(self._lookup)}")

    @staticmethod
    def _require_size(file: Path, about: dict, name: str, described: Path) -> None:
        size = entry(entry(about, name, dict, described), "bytes", int, f"{described}: {name}")
        if not file.is_file():
            raise FileNotFoundError(f"{file}: expected as a file of an index, found none")
        if (found := file.stat().st_size) != size:
            raise DataError(f"{file}: expected {size} bytes as {described.name} says, found {found}: "
                            "copy all files of the index again")

    def _read_ids(self, kind: str, about: dict, described: Path) -> np.ndarray:
        path = Path(self.path + (".ids.txt" if kind == "string" else ".ids.npy"))
        self._require_size(path, about, "id_file", described)
        try:
            if kind == "string":
                return np.array(path.read_bytes().decode("utf-8").split("\n")[:-1], dtype=object)
            ids = np.load(path, allow_pickle=False)
        except (ValueError, OSError, EOFError) as error:
            raise DataError(f"{path}: expected the ids of an index ({error})") from error
        if ids.dtype != np.int64 or ids.ndim != 1:
            raise DataError(f"{path}: expected int64 [n], found {ids.dtype} {ids.shape}")
        return ids

    @cached_property
    def _graph(self):
        try:
            import hnswlib
        except ImportError as error:
            raise MissingPackage("an index needs hnswlib; run: pip install hnswlib") from error
        graph = hnswlib.Index(space="ip", dim=self.dimensions)
        try:
            graph.load_index(self.path)
        except RuntimeError as error:
            raise DataError(f"{self.path}: expected a graph of hnswlib, found something else ({error})") from error
        if graph.get_current_count() != self.rows:
            raise DataError(f"{self.path}: expected {self.rows} vectors, found {graph.get_current_count()}")
        graph.set_ef(self.ef)
        graph.set_num_threads(1)
        return graph

    def load(self) -> "Index":
        """Reads the file now and not at the first search. Returns the index itself."""
        self._graph
        return self

    def require_vectors_of(self, items: VectorSet) -> None:
        """Throws VersionError unless a sample of the index's vectors are those of `items`, which it was made from.

        The files of an index are replaced one after the other: equal versions do not show that they belong together.
        """
        rows = np.linspace(0, self.rows - 1, min(self.rows, SAMPLE)).astype(np.int64)
        if self.dimensions != items.dimensions or not np.array_equal(self.ids, items.ids) or not np.allclose(
                self._graph.get_items(rows), items.vectors[rows], rtol=0, atol=TOLERANCE):
            raise VersionError(f"{self.path}: expected the vectors of {items.path}, found others: the index is of other "
                               "vectors, or is being replaced. Run `pinnerformer index` again if this lasts")

    @property
    def ids(self) -> np.ndarray:
        """[rows], int64 or str."""
        return self._lookup.array

    def __len__(self) -> int:
        return self.rows

    def nearest(self, vector: np.ndarray, k: int = 10, leave_out: Iterable[Id] = ()) -> list[Neighbour]:
        """About the k ids of the largest dot product with `vector`, [D], best first; equal ones by row.

        Of several vectors, [K, D] or [K * D], the largest product counts.
        """
        queries = query_vectors(vector, self.dimensions, self.path)
        hidden = {row for row in map(self._lookup.find, leave_out) if row is not None}
        k = min(checked_count(k), self.rows - len(hidden))
        if k <= 0:
            return []
        scores: dict[int, float] = {}
        for query in queries:
            for score, row in self._search(query, k + len(hidden)):
                scores[row] = max(score, scores.get(row, score))
        best = sorted(((score, row) for row, score in scores.items() if row not in hidden),
                      key=lambda one: (-one[0], one[1]))[:k]
        return [Neighbour(self._lookup[row], score) for score, row in best]

    def _search(self, query: np.ndarray, count: int) -> list[tuple[float, int]]:
        """(score, row) of about the nearest; compares all where the graph does not reach so many."""
        try:
            rows, distances = self._graph.knn_query(query, k=count)
        except RuntimeError:  # hnswlib cannot return fewer
            vectors = np.asarray(self._graph.get_items(np.arange(self.rows)), dtype=np.float32)
            return [(float(score), row) for row, score in enumerate(vectors @ query)]
        return [(1.0 - float(distance), int(row)) for row, distance in zip(rows[0], distances[0])]
