"""The nine rankers on MovieLens-100K, static features: AUC, size, speed, seeds 0-2.

Protocol, data and the features' meaning: ``ml100k``. All rankers get one training recipe, chosen on
the validation rows.

Run: ``python -m tests.bench.zoo [--seeds N] [--only NAME ...]``.
"""

import argparse
import time
from dataclasses import replace
from typing import Any

import numpy as np

from reclab.cascade.ranking.features import FeatureBuilder
from reclab.cascade.ranking.ranker import Ranker
from reclab.cascade.ranking.training import Samples, TrainConfig
from reclab.cascade.ranking.zoo import RANKERS
from reclab.core.metrics import auc, mean_and_spread
from reclab.datasets.splits import movielens_rank
from tests.bench.ml100k import STATIC, data_folder, parts, with_profile

PEERS = {
    "wide_deep": 0.7133,
    "deep_fm": 0.7135,
    "x_deep_fm": 0.7130,
    "dcn": 0.7151,
    "din": 0.7144,
    "dien": 0.7148,
}
"""test AUC of other libraries' models on this split, measured elsewhere"""
RECIPE: dict[str, Any] = {"dim": 32, "hidden": (16,), "train": STATIC.train}


def fitted(
    model: type[Ranker], features: FeatureBuilder, rows: list[Samples], train: TrainConfig
) -> tuple[Ranker, float, float]:
    """The ranker, and its AUC on validation and on test rows."""
    sizes = {**RECIPE, "train": train}
    ranker = model(model.Config(**sizes)).fit_samples(rows[0], features, valid=rows[1])
    valid, test = (
        auc(part.targets["p_click"] > 0.5, ranker.score_features(part.features)["p_click"])
        for part in rows[1:]
    )
    return ranker, valid, test


def measure(names: list[str], seeds: int = 3) -> None:
    """Print a line for each ranker as it is done."""
    folder = data_folder()
    if folder is None:
        raise FileNotFoundError("shared/data/movielens_100k is absent")
    split = movielens_rank(folder)
    features, rows = parts(with_profile(split), split, statistics=False)
    print(
        f"{'ranker':<14}{'valid':>8}{'test':>8}{'spread':>8}{'peer':>8}{'weights':>9}{'rows/s':>8}"
    )
    for model in RANKERS:
        if model.name not in names:
            continue
        found, speed = [], []
        for seed in range(seeds):
            began = time.process_time()
            train = replace(RECIPE["train"], seed=seed)
            ranker, *both = fitted(model, features, rows, train)
            epochs = len(ranker.history.loss)
            speed.append(epochs * len(rows[0]) / (time.process_time() - began))
            found.append(both)
        valid, (test, spread) = np.mean(found, 0)[0], mean_and_spread(np.array(found)[:, 1])
        weights = sum(w.numel() for w in ranker.net.parameters())
        peer = f"{PEERS[model.name]:>8.4f}" if model.name in PEERS else f"{'':>8}"
        line = f"{model.name:<14}{valid:>8.4f}{test:>8.4f}{spread:>8.4f}{peer}"
        print(f"{line}{weights:>9,}{np.median(speed):>8,.0f}", flush=True)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3, help="how many seeds")
    parser.add_argument("--only", nargs="*", default=[m.name for m in RANKERS], help="rankers")
    asked = parser.parse_known_args()[0]
    measure(asked.only, asked.seeds)


if __name__ == "__main__":
    main()
