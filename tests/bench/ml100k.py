"""MovieLens 100K, rating >= 4, by global time: the ranker on static and on as-of features.

Protocol: ``reclab.datasets.splits.movielens_rank``. 86 % of the test rows are of users whom
training has not seen. Static: user, film, age group, gender, occupation, year, genres, the last 20
liked films. As of: in addition running rates of user, film and user x genre, of ratings >= 4 and of
ratings = 5 (in the place of the long view), from ratings of strictly earlier seconds. Leak: the
same rates with the other ratings of the same second let in, as a store would that forgets that a
page's labels come after it: 76 % of the rows share user and second.
All settings were chosen on the validation rows; the test rows had no say.

Run: ``python -m tests.bench.ml100k``.
"""

import argparse
import gzip
import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np

from reclab.cascade.ranking.din import DIN, DINConfig
from reclab.cascade.ranking.features import FeatureBuilder, FeatureConfig
from reclab.cascade.ranking.training import Samples, TrainConfig, samples_of
from reclab.core.metrics import auc, mean_and_spread
from reclab.core.tables import Logs, Table
from reclab.core.types import Array
from reclab.datasets.splits import RankSplit, movielens_rank
from reclab.stores.forward_index import ForwardIndex
from reclab.stores.user_features import UserFeatures

SEEDS = (0, 1, 2)
STATIC = DINConfig(
    dim=32,
    attention=16,
    hidden=(16,),
    train=TrainConfig(
        epochs=16,
        batch_rows=1024,
        learning_rate=1e-3,
        weight_decay=3e-4,
        patience=4,
        negatives="exposed",
    ),
)
AS_OF = replace(
    STATIC, dim=16, hidden=(32,), train=replace(STATIC.train, epochs=6, weight_decay=1e-4)
)
"""chosen on the validation rows, mean AUC of 3 seeds: .7370; with hidden (64, 32) .7354, and .7364
with dim 8 or five times the decay; others with hidden (64, 32): DCN-v2 .7338, Wide & Deep .7336,
DeepFM .7328 (± .002 by seed)"""


def data_folder() -> Path | None:
    """The shared MovieLens folder, or ``None`` where it is absent."""
    root = os.environ.get("RECLAB_SHARED", Path(__file__).resolve().parents[3] / "shared")
    folder = Path(root) / "data" / "movielens_100k"
    return folder if folder.is_dir() else None


def with_profile(split: RankSplit) -> Logs:
    """The split's logs with the profile of its rows in the users table, and the films' years."""
    logs = split.logs
    users = {name: logs.users[name] for name in logs.users}
    for name in ("age", "gender", "occupation"):
        column = np.zeros(len(logs.users), np.int64)
        column[split.user_row] = getattr(split, name)
        users[name] = column
    items = logs.items.with_columns(year=years(logs.items["video_id"]))
    return replace(logs, users=Table(users), items=items)


def years(video_id: Array) -> Array:
    """(n,) year of release of each film, 0 = not known."""
    folder = data_folder()
    assert folder is not None
    with gzip.open(folder / "ml-100k.item.gz", "rt", encoding="utf-8") as file:
        rows = [line.split("\t") for line in file][1:]
    year = {int(row[0]): int(row[2]) for row in rows if row[2].isdigit()}
    return np.array([year.get(int(film), 0) for film in video_id])


def with_best(logs: Logs) -> Logs:
    """The same with rating = 5 in the place of the long view: numbers then know of two levels."""
    shown = logs.interactions
    return replace(logs, interactions=shown.with_columns(is_long_view=shown["rating"] == 5))


def one_task(rows: Samples) -> Samples:
    """The same rows with rating >= 4 as the only target."""
    return replace(rows, targets={"p_click": rows.targets["p_click"]})


def spread_seconds(logs: Logs) -> Logs:
    """The leak: rows of one second are told apart by 1 ms each, so that each sees the labels of
    those that stand before it in the file."""
    when = logs.interactions["time_ms"]
    new = np.flatnonzero(np.append(True, when[1:] != when[:-1]))
    place = np.arange(len(when)) - np.repeat(new, np.diff(np.append(new, len(when))))
    return replace(logs, interactions=logs.interactions.with_columns(time_ms=when + place))


def parts(logs: Logs, split: RankSplit, statistics: bool) -> tuple[FeatureBuilder, list[Samples]]:
    """Features, and the rows of train, validation and test."""
    index, users = ForwardIndex(logs.items), UserFeatures.build(logs)
    # the split has no hour: ratings come in bursts, and an hour would stand for a user
    config = FeatureConfig(with_statistics=statistics, with_context=False)
    until = int(logs.interactions["time_ms"][split.part == 1][0])
    features = FeatureBuilder(config).fit(logs, index, users, until)
    rows = [np.flatnonzero(split.part == part) for part in range(3)]
    return features, [samples_of(logs, features, STATIC.train, r) for r in rows]


def item_mean(split: RankSplit) -> float:
    """AUC on the test rows of a film's smoothed mean label in training."""
    train, test = split.part == 0, split.part == 2
    n = int(split.item_row.max()) + 1
    shown = np.bincount(split.item_row[train], minlength=n)
    liked = np.bincount(split.item_row[train], split.label[train], n)
    rate = (liked + 5 * split.label[train].mean()) / (shown + 5)
    return auc(split.label[test], rate[split.item_row[test]])


def aucs(
    features: FeatureBuilder, rows: list[Samples], config: DINConfig, seed: int
) -> tuple[float, float]:
    """AUC on validation and on test rows after training with one seed."""
    config = replace(config, train=replace(config.train, seed=seed))
    ranker = DIN(config).fit_samples(rows[0], features, valid=rows[1])
    scores: list[Array] = [ranker.score_features(r.features)["p_click"] for r in rows[1:]]
    valid, test = (
        auc(r.targets["p_click"] > 0.5, s) for r, s in zip(rows[1:], scores, strict=True)
    )
    return valid, test


def measure(seeds: tuple[int, ...] = SEEDS) -> dict[str, float]:
    """AUCs, test rows unless named otherwise: means over the seeds, and half ranges."""
    folder = data_folder()
    if folder is None:
        raise FileNotFoundError("shared/data/movielens_100k is absent")
    split = movielens_rank(folder)
    logs = with_profile(split)
    found = {"item_mean": item_mean(split)}
    cases = {
        "static": (logs, False, STATIC),
        "as_of": (with_best(logs), True, AS_OF),
        "leak": (with_best(spread_seconds(logs)), True, AS_OF),
    }
    for name, (table, statistics, config) in cases.items():
        features, rows = parts(table, split, statistics)
        rows = [one_task(part) for part in rows]
        valid, test = zip(*(aucs(features, rows, config, seed) for seed in seeds), strict=True)
        found[name], found[f"{name}_spread"] = mean_and_spread(np.array(test))
        found[f"{name}_valid"] = float(np.mean(valid))
    return found


def main() -> None:
    """Print the AUCs."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, default=len(SEEDS), help="how many seeds")
    print(json.dumps(measure(tuple(range(parser.parse_known_args()[0].seeds))), indent=1))


if __name__ == "__main__":
    main()
