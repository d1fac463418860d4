"""Reads what the pinnerformer program writes. NumPy and h5py are enough; exports need PyTorch, indexes hnswlib.

    import pinnerformer
    dataset = pinnerformer.Dataset("build/quickstart/dataset")
    export = pinnerformer.Export("build/quickstart/export")
    vectors = export.user_vectors([dataset.timeline(10270).events()]).vectors
    print(export.items.nearest(vectors[0], 10))
"""
from .dataset import Dataset, Timeline
from .errors import DataError, InputError, MissingPackage, PinnerformerError, VersionError
from .export import Export, UserStates, UserVectors
from .index import Index
from .live import LiveModel, Served
from .run import Checkpoint, Metrics, Run
from .vectors import Neighbour, Vectors, VectorSet, Version, require_same_version

__all__ = ["Checkpoint", "DataError", "Dataset", "Export", "Index", "InputError", "LiveModel", "Metrics",
           "MissingPackage", "Neighbour", "PinnerformerError", "Run", "Served", "Timeline", "UserStates", "UserVectors",
           "Vectors", "VectorSet", "Version", "VersionError", "require_same_version"]
