"""The simulated platform: what reading the behaviour sequence is worth, seeds 0-2 of training.

Three rankers without any past, the same with the mean of the past items as a field, and three that
read the sequence, on the same rows; with static features (ids, profile, tags) and with statistics
as of the time. AUC and GAUC (within users) of the long view on logged rows of the tuning day.

300,000 rows in steps of 2048 are 140 steps, too few for who must learn where to look. AUC on the
last twentieth of the training rows, static features, DIN (the best) and DeepFM with the mean: .799
and .796 as it is, .809 and .806 with four epochs, .812 and .807 with steps of 512 rows, .813 and
.809 with these and 32 numbers an embedding (± .002 by seed).

Run: ``python -m tests.bench.sequence [--world SEED] [--rows N] [--seeds N] [--batch N]
[--features static|as-of]`` (4 CPU minutes).
"""

import argparse
from dataclasses import replace
from functools import partial

import numpy as np

import reclab
from reclab.cascade.ranking.dcn import DCN
from reclab.cascade.ranking.deep_fm import DeepFM
from reclab.cascade.ranking.dien import DIEN
from reclab.cascade.ranking.din import DIN
from reclab.cascade.ranking.features import FeatureBuilder
from reclab.cascade.ranking.fields import exposed_rows
from reclab.cascade.ranking.ranker import Ranker, main_target
from reclab.cascade.ranking.training import Samples, training_samples
from reclab.cascade.ranking.transformer import TransformerRanker
from reclab.cascade.ranking.wide_deep import WideDeep
from reclab.core.metrics import auc, gauc, mean_and_spread
from reclab.core.types import Array
from reclab.lab.lab import Lab
from reclab.lab.zoo import unseen

FREE = (WideDeep, DeepFM, DCN)
READ = (DIN, DIEN, TransformerRanker)


def without_past(rows: Samples) -> Samples:
    """The same rows of users whose past nobody knows."""
    none = np.full_like(rows.features.history, -1)
    return replace(rows, features=replace(rows.features, history=none))


def judged(
    model: type[Ranker], features: FeatureBuilder, learn: Samples, test: Samples, user: Array,
    batch: int, seed: int,
) -> tuple[float, float]:  # fmt: skip
    """AUC and GAUC of a ranker trained with a seed, ``batch`` rows a step."""
    config = model.Config()
    config = replace(config, train=replace(config.train, seed=seed, batch_rows=batch))
    ranker = model(config).fit_samples(learn, features)
    main = main_target(ranker.targets)
    label, p = test.targets[main] > 0.5, ranker.score_features(test.features)[main]
    return auc(label, p), gauc(user, label, p)


def measure(lab: Lab, rows: int, seeds: int, batch: int, which: str = "") -> None:
    """Print a line for each ranker, and for each group its mean by seed; ``which`` features, or
    both."""
    p = lab.trained.parts
    static = FeatureBuilder.load(lab.models_folder / "static", p.index, p.users)
    config = replace(exposed_rows(), max_rows=rows)
    print(f"{'features':<10}{'past':<10}{'ranker':<14}{'AUC':>8}{'±':>7}{'GAUC':>8}{'±':>7}")
    for name, features in (("static", static), ("as-of", p.features)):
        if which not in ("", name):
            continue
        learn = training_samples(lab.logs, features, config, p.until_ms)
        test, user = unseen(lab, features)
        blind = without_past(learn), without_past(test)
        groups = {"none": (FREE, *blind), "mean": (FREE, learn, test), "read": (READ, learn, test)}
        for past, (models, some, asked) in groups.items():
            ask = partial(judged, features=features, learn=some, test=asked, user=user, batch=batch)
            found = np.array([[ask(m, seed=seed) for seed in range(seeds)] for m in models])
            for model, by_seed in zip(models, found, strict=True):
                _line(name, past, model.name, by_seed)
            _line(name, past, "mean of three", found.mean(0))


def _line(features: str, past: str, ranker: str, by_seed: Array) -> None:
    numbers = [mean_and_spread(column) for column in by_seed.T]
    cells = "".join(f"{mean:>8.4f}{spread:>7.4f}" for mean, spread in numbers)
    print(f"{features:<10}{past:<10}{ranker:<14}{cells}", flush=True)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--world", type=int, default=0, help="seed of the platform")
    parser.add_argument("--rows", type=int, default=300_000, help="exposed rows to learn from")
    parser.add_argument("--seeds", type=int, default=3, help="seeds of training")
    parser.add_argument("--batch", type=int, default=2048, help="rows in a step")
    parser.add_argument("--features", default="", choices=("", "static", "as-of"))
    asked = parser.parse_known_args()[0]
    lab = reclab.open("laptop", asked.world, progress=False)
    measure(lab, asked.rows, asked.seeds, asked.batch, asked.features)


if __name__ == "__main__":
    main()
