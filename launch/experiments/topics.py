"""Lists for a topic: what `recommend --topic` ranks by, beside the general list filtered to the topic.

    topics.py EXPORT DATASET USERS_PERCENT WINDOW_DAYS ACTION,ACTION,...

EXPORT is that of a model with model.condition=topic and without model.prior_days (its counts would know the
window). Held-out users and positives are those of `evaluate` with one window at the end, at least three events
before and positives.first_only=true. For each positive the items of its topic are ranked, without those that
the user had before and without the user's other positives.
"""
import json
import sys
from pathlib import Path

import h5py
import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "python"))
from held_out import bootstrap, interval, place  # noqa: E402
from pinnerformer import Dataset  # noqa: E402

DAY, TOP, FETCHED, LEAST_EVENTS = 86400, 10, 100, 3


class Towers:
    def __init__(self, export):
        self.tower = torch.jit.load(str(export / "user_tower.pt"))
        rules = json.loads((export / "preprocessing.json").read_text())
        self.most, self.names = rules["max_length"], [rules["actions"], rules["surfaces"]]
        with h5py.File(export / "items.h5") as file:
            item = file["item"]
            self.items = item["vector"][:]
            rows = len(self.items)
            self.content, self.id_rows = (torch.from_numpy(item[name][:].astype(np.float32)) if name in item
                                          else torch.zeros(rows, 0) for name in ("content", "id_rows"))

    def vectors(self, timeline, count, topics):
        """Of the first `count` events: the general vector, then one for each topic. [1 + topics, D]"""
        part = slice(max(0, count - self.most), count)
        item = torch.from_numpy(timeline.item[part].astype(np.int64))
        action, surface = (torch.tensor([names[known[index]] for index in column[part]])
                           for names, known, column in zip(self.names, (timeline.dataset.actions, timeline.dataset.surfaces),
                                                           (timeline.action, timeline.surface)))
        one = [self.content[item], self.id_rows[item], action, surface, torch.from_numpy(timeline.time[part].astype(np.int64)),
               torch.from_numpy(timeline.duration[part].astype(np.float32)), torch.tensor(len(item))]
        inputs = [value.expand(1 + len(topics), *value.shape).contiguous() for value in one]
        with torch.inference_mode():
            return self.tower.for_topic(*inputs, torch.tensor([-1, *topics])).numpy()


def positives_of(timeline, begin, actions):
    """Rows of items whose first event is a positive of the window."""
    first = {}
    for item, action, time in zip(timeline.item.tolist(), timeline.action.tolist(), timeline.time.tolist()):
        first.setdefault(item, (time, action))
    return [item for item, (time, action) in first.items() if time > begin and timeline.dataset.actions[action] in actions]


def measures(towers, timeline, begin, actions, topic_of):
    """By positive, of the general vector and of the topic's: whether it is among the best of its topic, whether it
    still is where only the FETCHED best items of all topics are looked at, and the topic's share of the best TOP."""
    count = int((timeline.time <= begin).sum())
    positives = [item for item in positives_of(timeline, begin, actions) if topic_of[item] >= 0]
    if count < LEAST_EVENTS or not positives:
        return []
    topics = sorted({int(topic_of[item]) for item in positives})
    scores = towers.vectors(timeline, count, topics) @ towers.items.T
    scores[:, sorted(set(timeline.item[:count].tolist()))] = -np.inf
    shares = [(topic_of[np.argpartition(-row, TOP)[:TOP]], row) for row in scores]
    rows = []
    for item in positives:
        topic, found = int(topic_of[item]), []
        others = [other for other in positives if other != item]
        for listed, row in (shares[0], shares[1 + topics.index(topic)]):
            rivals = row > row[item]
            rivals[others] = False
            hit = (rivals & (topic_of == topic)).sum() < TOP
            found.append((float(hit), float(hit and rivals.sum() < FETCHED), float((listed == topic).mean())))
        rows.append(found)
    return rows


def main(export, dataset, percent, days, actions):
    dataset, towers = Dataset(dataset), Towers(Path(export))
    begin = dataset.last_time - round(float(days) * DAY)
    users = [rows for timeline in dataset if place(int(timeline.user)) < int(percent)
             if (rows := measures(towers, timeline, begin, actions.split(","), dataset.item_topics))]
    sums = np.array([np.sum(rows, axis=0) for rows in users])  # [U, general or topic, measure]
    counts = np.array([len(rows) for rows in users])
    draws = bootstrap(sums, counts)
    names = (f"recall@{TOP} within the topic", f"the same of the best {FETCHED} of all topics",
             f"the topic's share of the best {TOP} of all topics")
    for measure, name in enumerate(names):
        general, topic = sums[:, :, measure].sum(0) / counts.sum()
        print(f"{name}: general {general:.4f}, for the topic {topic:.4f}, difference {topic - general:+.4f} "
              f"({interval(draws[:, 1, measure] - draws[:, 0, measure])}); {counts.sum()} positives of {len(users)} users")


if __name__ == "__main__":
    if len(sys.argv) != 6:
        sys.exit(__doc__)
    main(*sys.argv[1:])
