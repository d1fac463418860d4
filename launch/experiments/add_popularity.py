"""Item vectors with one more number, how popular an item was of late: add_popularity.py DATASET DAYS OUT.h5.

Counts the events of the DAYS days before the first evaluation window of configs/online_retail.yaml (two windows of 14
days at the end of the data), so that nothing of what is evaluated enters. The number is log(1 + count), at most 1.
"""

import pathlib
import sys

import h5py
import numpy

EVALUATED_SECONDS = 28 * 86400


def main():
    dataset, days, out = pathlib.Path(sys.argv[1]), float(sys.argv[2]), sys.argv[3]
    with h5py.File(dataset / "items.h5") as items:
        ids, vectors = items["item/id"][:], items["item/vector"][:].astype(numpy.float32)
    parts = [h5py.File(path) for path in sorted(dataset.glob("users-*.h5"))]
    time = numpy.concatenate([part["event/time"][:] for part in parts])
    item = numpy.concatenate([part["event/item"][:] for part in parts])
    end = time.max() - EVALUATED_SECONDS
    recent = item[(time <= end) & (time > end - days * 86400)]
    popularity = numpy.log1p(numpy.bincount(recent, minlength=len(ids)))
    norm = numpy.linalg.norm(vectors, axis=1, keepdims=True)
    unit = vectors / numpy.maximum(norm, 1e-12)
    with h5py.File(out, "w") as file:
        file["item_id"] = ids
        file["vector"] = numpy.hstack([unit, popularity[:, None] / popularity.max()]).astype(numpy.float16)


if __name__ == "__main__":
    main()
