"""Recall among the items that are new in each window, by the vectors of several runs.

    new_items.py DIRECTORY WINDOW_DAYS FIRST_PLACE END_PLACE NAME NAME ...

DIRECTORY is that of semantic_ids.sh: the dataset `dataset`, its events before the windows `past`, and in
NAME/SEED the vectors users.h5 (made of `past`) and items.h5. Users are those who have a vector, whose hash is
in FIRST_PLACE to END_PLACE - 1, and who have five events before; a positive is a user's first event on an item that had no event of
anybody before the window, and asking is none. It is ranked among the items that are new in its window.
The differences are to the first NAME, over the same users.
"""
import sys
from pathlib import Path

import h5py
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "python"))
from held_out import bootstrap, interval, place  # noqa: E402
from pinnerformer import Dataset  # noqa: E402

DAY, LEAST_EVENTS, LAST = 86400, 5, 20
TOPS = (10, 50)


def first_times(dataset):
    """[I], of the first event of each item."""
    first = np.full(len(dataset.items), np.iinfo(np.int64).max)
    for timeline in dataset:
        np.minimum.at(first, timeline.item, timeline.time)
    return first


def cases(dataset, begin, days, users):
    """[(user, rows of the last items before, [(row of a positive, window)])]."""
    first, found = first_times(dataset), []
    window_of = np.where(first > begin, (first - begin - 1) // (days * DAY), -1)
    for timeline in dataset:
        before = int((timeline.time <= begin).sum())
        if before < LEAST_EVENTS or int(timeline.user) not in users:
            continue
        own = {}
        for item, action in zip(timeline.item[before:].tolist(), timeline.action[before:].tolist()):
            own.setdefault(item, dataset.actions[action])
        positives = [(item, window_of[item]) for item, action in own.items() if action != "ask" and window_of[item] >= 0]
        if positives:
            found.append((int(timeline.user), timeline.item[before - LAST if before > LAST else 0:before], positives))
    return found, window_of


def hits(vector, items, positives, window_of):
    """[positives, TOPS]: whether it is among the best. The user's other positives of the window are no rivals."""
    scores, result = items @ vector, []
    for item, window in positives:
        rivals = window_of == window
        rivals[[other for other, _ in positives]] = False
        ahead = (scores[rivals] > scores[item]).sum() + 0.5 * (scores[rivals] == scores[item]).sum()
        result.append([ahead < top for top in TOPS])
    return np.array(result, float)


def users_of(path):
    with h5py.File(path) as file:
        return set(file["user/id"][:].tolist())


def of_run(run, all_cases, window_of):
    """[U, TOPS], sums over the positives of a user."""
    with h5py.File(run / "users.h5") as users, h5py.File(run / "items.h5") as items:
        rows = {int(user): row for row, user in enumerate(users["user/id"][:])}
        vectors, items = users["user/vector"][:], items["item/vector"][:]
    return np.array([hits(vectors[rows[user]], items, positives, window_of).sum(0) for user, _, positives in all_cases])


def of_content(dataset, all_cases, window_of):
    """The same by the mean of the content vectors of a user's last items."""
    content = dataset.content[:].astype(np.float32)
    content /= np.maximum(np.linalg.norm(content, axis=1, keepdims=True), 1e-6)
    return np.array([hits(content[last].mean(0), content, positives, window_of).sum(0) for _, last, positives in all_cases])


def main(directory, days, first_place, end_place, *names):
    directory, dataset = Path(directory), Dataset(Path(directory) / "dataset")
    with Dataset(directory / "past") as past:
        begin = past.last_time
    users = set.intersection(*(users_of(path) for name in names for path in (directory / name).glob("*/users.h5")))
    users = {user for user in users if int(first_place) <= place(user) < int(end_place)}
    found, window_of = cases(dataset, begin, int(days), users)
    counts = np.array([len(positives) for _, _, positives in found])
    sizes = np.bincount(window_of[window_of >= 0])
    print(f"{counts.sum()} positives of {len(counts)} users; {sizes.min()} to {sizes.max()} new items in a window")
    base = None
    for name in (*names, "mean"):
        runs = [of_content(dataset, found, window_of)] if name == "mean" else [
            of_run(run.parent, found, window_of) for run in sorted((directory / name).glob("*/users.h5"))]
        draws = bootstrap(np.mean(runs, axis=0), counts)
        base = draws if base is None else base
        for i, top in enumerate(TOPS):
            values = [run[:, i].sum() / counts.sum() for run in runs]
            print(f"{name:14} R@{top} {np.mean(values):.4f} ({', '.join(f'{value:.4f}' for value in values)}), "
                  f"difference {np.mean(draws[:, i] - base[:, i]):+.4f} ({interval(draws[:, i] - base[:, i])})")


if __name__ == "__main__":
    if len(sys.argv) < 6:
        sys.exit(__doc__)
    main(*sys.argv[1:])
