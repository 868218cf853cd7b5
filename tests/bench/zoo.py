"""The nine rankers on MovieLens-100K, static features: AUC, size, speed, seeds 0-2.

Protocol, data and the features' meaning: ``ml100k``. All rankers get one training recipe, chosen on
later rows than those learned from, never on the test rows. MMoE and PLE get rating = 5 as a second
target; the AUC is that of rating >= 4 for all.

Run: ``python -m tests.bench.zoo [--seeds N] [--only NAME ...]``.
"""

import argparse
import time
from dataclasses import replace
from typing import Any

import numpy as np

from reclab.cascade.ranking.features import FeatureBuilder
from reclab.cascade.ranking.mmoe import MMoE
from reclab.cascade.ranking.ple import PLE
from reclab.cascade.ranking.ranker import Ranker, main_target
from reclab.cascade.ranking.training import Samples, TrainConfig
from reclab.cascade.ranking.zoo import RANKERS
from reclab.core.metrics import auc, mean_and_spread
from reclab.core.types import Array
from reclab.datasets.splits import movielens_rank
from tests.bench.ml100k import STATIC, data_folder, one_task, parts, with_best, with_profile

PEERS = {
    "wide_deep": 0.7133,
    "deep_fm": 0.7135,
    "x_deep_fm": 0.7130,
    "dcn": 0.7151,
    "din": 0.7144,
    "dien": 0.7148,
    "transformer": 0.7132,
    "mmoe": 0.705,
    "ple": 0.694,
}
"""test AUC of other libraries' models on this split, measured elsewhere; beside the Transformer
stands AutoInt, which attends among fields (DeepFM with the history: .7154); MMoE and PLE noisy"""
SHARING = (MMoE, PLE)
RECIPE: dict[str, Any] = {
    "dim": 32,
    "hidden": (16,),
    "train": replace(STATIC.train, epochs=5, patience=5, learning_rate=1.5e-3),
}
"""chosen on two sets of later rows, the validation rows and the last eighth of the training rows"""


def two_tasks(rows: Samples) -> Samples:
    """Rating >= 4 as the main target and rating = 5 as the second, in the places of the long view
    and the click: what shares must have something to share with."""
    main, second = rows.targets["p_click"], rows.targets["p_long_view"]
    return replace(rows, targets={"p_click": second, "p_long_view": main})


def fitted(
    model: type[Ranker], features: FeatureBuilder, rows: list[Samples], train: TrainConfig
) -> tuple[Ranker, float, float]:
    """The ranker, and its AUC on validation and on test rows."""
    sizes = {**RECIPE, "train": train}
    ranker = model(model.Config(**sizes)).fit_samples(rows[0], features, valid=rows[1])
    main = main_target(ranker.targets)
    valid, test = (
        auc(part.targets[main] > 0.5, ranker.score_features(part.features)[main])
        for part in rows[1:]
    )
    return ranker, valid, test


def measure(names: list[str], seeds: int = 3) -> dict[str, Array]:
    """Print a line for each ranker as it is done; AUCs (seeds, 2) on validation and test rows."""
    folder = data_folder()
    if folder is None:
        raise FileNotFoundError("shared/data/movielens_100k is absent")
    split = movielens_rank(folder)
    features, rows = parts(with_best(with_profile(split)), split, statistics=False)
    table: dict[str, Array] = {}
    print(
        f"{'ranker':<14}{'valid':>8}{'test':>8}{'spread':>8}{'peer':>8}{'weights':>9}{'rows/s':>8}"
    )
    for model in RANKERS:
        if model.name not in names:
            continue
        found, speed = [], []
        asked = [(two_tasks if model in SHARING else one_task)(part) for part in rows]
        for seed in range(seeds):
            began = time.process_time()
            train = replace(RECIPE["train"], seed=seed)
            ranker, *both = fitted(model, features, asked, train)
            epochs = len(ranker.history.loss)
            speed.append(epochs * len(rows[0]) / (time.process_time() - began))
            found.append(both)
        table[model.name] = np.array(found)
        valid, (test, spread) = np.mean(found, 0)[0], mean_and_spread(np.array(found)[:, 1])
        weights = sum(w.numel() for w in ranker.net.parameters())
        line = f"{model.name:<14}{valid:>8.4f}{test:>8.4f}{spread:>8.4f}{PEERS[model.name]:>8.4f}"
        print(f"{line}{weights:>9,}{np.median(speed):>8,.0f}", flush=True)
    return table


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3, help="how many seeds")
    parser.add_argument("--only", nargs="*", default=[m.name for m in RANKERS], help="rankers")
    asked = parser.parse_known_args()[0]
    measure(asked.only, asked.seeds)


if __name__ == "__main__":
    main()
