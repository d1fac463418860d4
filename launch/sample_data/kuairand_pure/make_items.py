#!/usr/bin/env python3
"""Writes items.tsv.gz (item, title, tag) beside this file from KuaiRand-Pure's raw tables.

    python3 make_items.py RAW_DIRECTORY

RAW_DIRECTORY holds video_features_basic_pure.csv.gz (attributes of each video) and log_*.csv.gz (the
logs of the 14 days). events.tsv.gz renumbers users and items from 1; users are numbered by the
alphabetical order of their original id, so a row of it and a row of the logs are the same event when
user, time, tab and play time agree. That gives the original video of every item.
"""

import csv
import gzip
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent


def read_table(path, delimiter):
    with gzip.open(path, "rt", newline="") as file:
        yield from csv.DictReader(file, delimiter=delimiter)


def videos_by_event(raw):
    """(user_id, time, tab, play time) as in the logs -> the set of videos of those events."""
    videos = {}
    for path in sorted(raw.glob("log_*.csv.gz")):
        for row in read_table(path, ","):
            event = (row["user_id"], row["time_ms"], "tab" + row["tab"], row["play_time_ms"])
            videos.setdefault(event, set()).add(row["video_id"])
    if not videos:
        sys.exit(f"make_items.py: no log_*.csv.gz in {raw}")
    return videos


def candidate_videos(raw):
    """Our item number -> the videos that agree with all of its events."""
    videos = videos_by_event(raw)
    users = sorted({event[0] for event in videos})
    candidates = {}
    for row in read_table(HERE / "events.tsv.gz", "\t"):
        event = (users[int(row["user"]) - 1], row["ts_ms"], row["surface"], row["duration_ms"])
        if event not in videos:
            sys.exit(f"make_items.py: no row of the raw logs agrees with event {row}")
        item = int(row["item"])
        candidates[item] = candidates.get(item, videos[event]) & videos[event]
    return candidates


def videos_of_items(raw):
    """Our item number -> original video_id. Stops where that is not one to one."""
    candidates = candidate_videos(raw)
    # A few items were only ever seen together with another one in the same millisecond: the other
    # one is known from elsewhere.
    taken = {next(iter(found)) for found in candidates.values() if len(found) == 1}
    candidates = {item: found if len(found) == 1 else found - taken
                  for item, found in sorted(candidates.items())}
    unclear = [item for item, found in candidates.items() if len(found) != 1]
    if unclear:
        sys.exit(f"make_items.py: items without exactly one matching video: {unclear[:10]}")
    videos = {item: next(iter(found)) for item, found in candidates.items()}
    if len(set(videos.values())) != len(videos):
        sys.exit("make_items.py: two items match the same video")
    return videos


def describe(video):
    """A readable title, and the first tag (-1: unknown)."""
    tag = video["tag"].split(",")[0]
    length = video["video_duration"]
    seconds = f"{round(float(length) / 1000)} s" if length else "unknown length"
    return f"tag {tag or 'unknown'} · {seconds} · author {video['author_id']}", tag or "-1"


def main():
    raw = pathlib.Path(sys.argv[1]) if len(sys.argv) == 2 else sys.exit(__doc__)
    features = {row["video_id"]: row
                for row in read_table(raw / "video_features_basic_pure.csv.gz", ",")}
    lines = ["item\ttitle\ttag"]
    for item, video in videos_of_items(raw).items():
        title, tag = describe(features[video])
        lines.append(f"{item}\t{title}\t{tag}")
    # No name and no time in the gzip header: the same input gives the same bytes.
    packed = gzip.compress(("\n".join(lines) + "\n").encode(), compresslevel=9, mtime=0)
    (HERE / "items.tsv.gz").write_bytes(packed)
    print(f"{len(lines) - 1} items, {len(packed)} bytes")


if __name__ == "__main__":
    main()
