"""MovieLens 100K, each user's last film: retrieval channels ranked over the whole catalogue.

Protocol: ``reclab.datasets.splits.movielens_leave_last_out``: learn from every rating before each
user's last one, all counting as positives; rank all films that the user has not rated. The
settings below were chosen on each user's rating before the last (``measure(tuning=True)``); the
tests had no say in them.

Run: ``python -m tests.bench.ml_loo [--tuning]``.
"""

import argparse
import json
import os
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from reclab.cascade.batch import Batch
from reclab.cascade.ranking.features import FeatureBuilder, FeatureConfig
from reclab.cascade.ranking.training import TrainConfig
from reclab.cascade.retrieval import (
    ALSChannel,
    ALSConfig,
    ItemCFChannel,
    ItemCFConfig,
    PopularChannel,
    PopularConfig,
    SequentialChannel,
    SequentialConfig,
    SwingChannel,
    SwingConfig,
)
from reclab.cascade.retrieval.two_tower import TwoTowerChannel, TwoTowerConfig
from reclab.datasets.splits import LastOut, movielens_leave_last_out
from reclab.stores.forward_index import ForwardIndex
from reclab.stores.user_features import UserFeatures

FOREVER = float("inf")
WHOLE = {"neighbours": 400, "length": 1000}  # the longest history is 736 films
COSINE = ItemCFConfig(
    **WHOLE, position_decay=0.97, window=1000, gap_hours=FOREVER, fresh_hours=FOREVER
)
RECENT = ItemCFConfig(
    **WHOLE,
    position_decay=0.85,
    window=10,
    gap_hours=24.0,
    fresh_hours=FOREVER,
    backward=0.5,
)
SWING = SwingConfig(
    **WHOLE, position_decay=0.8, weigh_users=False, users_per_item=200, items_per_user=1000
)
ALS = ALSConfig(dim=64, alpha=1.0, ridge=10.0, position_decay=0.95)
SEQUENTIAL = SequentialConfig(
    dim=48,
    length=50,
    dropout=0.3,
    n_drawn=0,  # the next items of 16 sequences are most of the catalogue
    train=TrainConfig(epochs=12, batch_rows=16, learning_rate=3e-3, patience=4, max_rows=200_000),
)
TWO_TOWER = TwoTowerConfig(
    dim=48,
    n_drawn=512,
    temperature=0.2,
    train=TrainConfig(
        epochs=4, batch_rows=512, learning_rate=3e-3, patience=2, negatives="exposed"
    ),
)
SEEDS = (0, 1, 2)
EVEN = replace(ALS, position_decay=1.0)  # every like counts the same, as in the paper


def folder() -> Path:
    """Where the shared data lie; see datasets/README.md."""
    root = os.environ.get("RECLAB_SHARED", str(Path(__file__).parents[3] / "shared"))
    return Path(root) / "data" / "movielens_100k"


def batch_of(tests: LastOut, time_ms: int) -> Batch:
    """One request a user, whose history is all that the user has rated."""
    n = len(tests)
    starts = np.append(0, np.cumsum((tests.history >= 0).sum(1)))
    return Batch(
        requests=(),
        user_row=np.arange(n),
        time_ms=np.full(n, time_ms),
        network=np.zeros(n, np.int8),
        history=tests.history,
        seen_starts=starts,
        seen_rows=tests.history[tests.history >= 0],
    )


def measure_one(channel: Any, tests: LastOut, k: int = 10) -> dict[str, float]:
    """HR@10, NDCG@10 and the seconds of the fit."""
    index, end = ForwardIndex(tests.train.items), int(tests.train.interactions["time_ms"][-1]) + 1
    reads: Any = index
    if isinstance(channel, TwoTowerChannel):
        users = UserFeatures.build(tests.train)
        # without counters: those of a user's last film lie beyond all that training saw
        static = FeatureBuilder(FeatureConfig(with_statistics=False))
        reads = static.fit(tests.train, index, users, end)
    began = time.perf_counter()
    channel.fit(tests.train, reads, end)
    fit_s = time.perf_counter() - began
    knows_none = channel.name in ("popular", "two_tower")  # of what the user has rated
    spare = tests.history.shape[1] if knows_none else 0
    hit_rate, ndcg = tests.scores(channel.retrieve(batch_of(tests, end), k + spare)[0], k)
    return {"HR@10": round(hit_rate, 4), "NDCG@10": round(ndcg, 4), "fit_s": round(fit_s, 2)}


def seeded(make: type, config: Any, tests: LastOut, seeds: Sequence[int]) -> dict[str, float]:
    """Means over seeds of a trained channel, and the standard deviation of its HR@10."""
    runs = [
        measure_one(make(replace(config, train=replace(config.train, seed=seed))), tests)
        for seed in seeds
    ]
    means = {name: round(float(np.mean([run[name] for run in runs])), 4) for name in runs[0]}
    spread = float(np.std([run["HR@10"] for run in runs]))
    return {**means, "HR@10 sd": round(spread, 4), "seeds": len(runs)}


def measure(
    data: Path | None = None, tuning: bool = False, seeds: Sequence[int] = SEEDS
) -> dict[str, dict[str, float]]:
    """Every channel on the tests, or with ``tuning`` on the ratings before them; the trained ones
    as means over ``seeds`` (none: left out)."""
    tests = movielens_leave_last_out(data or folder(), back=1 if tuning else 0)
    channels = {
        "popular": PopularChannel(PopularConfig(half_life_hours=FOREVER)),
        "item-CF, cosine": ItemCFChannel(COSINE),
        "item-CF, recent": ItemCFChannel(RECENT),
        "Swing": SwingChannel(SWING),
        "ALS, all likes alike": ALSChannel(EVEN),
        "ALS, recent": ALSChannel(ALS),
    }
    found = {name: measure_one(channel, tests) for name, channel in channels.items()}
    if seeds:
        found["two-tower"] = seeded(TwoTowerChannel, TWO_TOWER, tests, seeds)
        found["sequential"] = seeded(SequentialChannel, SEQUENTIAL, tests, seeds)
    return found


def main() -> None:
    """Print the scores; with ``--tuning``, those that chose the settings."""
    parser = argparse.ArgumentParser(description="Each user's last film on MovieLens 100K")
    parser.add_argument("--tuning", action="store_true", help="the rating before the last")
    tuning = parser.parse_known_args()[0].tuning
    print(json.dumps(measure(tuning=tuning), indent=2))


if __name__ == "__main__":
    main()
