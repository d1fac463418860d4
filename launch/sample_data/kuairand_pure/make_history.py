#!/usr/bin/env python3
"""Writes history.parquet (user, item) beside this file from KuaiRand-Pure's untimed watch lists.

    python3 make_history.py RAW_DIRECTORY

RAW_DIRECTORY holds user_sequences.parquet: for each user the videos watched before the two weeks of events.tsv.gz, in
order, without times. Videos of events.tsv.gz get its numbers (from the pairs in item_vectors.h5), others 1,000,000 more
than their original id.
"""

import pathlib
import sys

import h5py
import numpy
import pyarrow
import pyarrow.parquet

HERE = pathlib.Path(__file__).resolve().parent
OTHERS_FROM = 1_000_000


def main():
    table = pyarrow.parquet.read_table(pathlib.Path(sys.argv[1]) / "user_sequences.parquet")
    with h5py.File(HERE / "item_vectors.h5") as file:
        item_of_video = dict(zip(file["video_id"][:].tolist(), file["item_id"][:].tolist()))
    watched = table["watch_seq"].combine_chunks()
    videos = watched.values.to_numpy()
    items = numpy.array([item_of_video.get(video, OTHERS_FROM + video) for video in videos.tolist()])
    lists = pyarrow.ListArray.from_arrays(watched.offsets, pyarrow.array(items, pyarrow.int32()))
    history = pyarrow.table({"user": table["user_id"].combine_chunks().cast(pyarrow.int32()), "item": lists})
    pyarrow.parquet.write_table(history, HERE / "history.parquet", compression="zstd", compression_level=19)


if __name__ == "__main__":
    main()
