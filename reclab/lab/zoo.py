"""The model zoo (精排模型对比): nine rankers trained on the same rows, side by side in one table.

    zoo(lab)       -> {name: Row}      AUC, GAUC, log loss, size, cost and value of each
    rankers(lab)   -> {name: Ranker}   the trained models, to be put into a cascade

All learn from the same prepared rows, one pass, and are measured on logged rows of the tuning day,
which none has seen. AUC and log loss are those of the main target; the value is that of the lists
which the cascade answers with this ranker in place of its own, as a share of the oracle's. Trained
once and kept in the cache with the numbers, which are of the machine and the hour of the training.

Simplified: industry compares on weeks of logs, and decides by A/B test.
"""

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from reclab.cascade.batch import read_batch
from reclab.cascade.ranking.features import FeatureBuilder
from reclab.cascade.ranking.fields import exposed_rows
from reclab.cascade.ranking.ranker import Ranker
from reclab.cascade.ranking.targets import main_target
from reclab.cascade.ranking.training import Samples, samples_of, training_samples
from reclab.cascade.ranking.zoo import RANKERS
from reclab.core.chance import rng
from reclab.core.clock import DAY_MS
from reclab.core.metrics import auc, gauc, log_loss
from reclab.core.types import Array, Candidates
from reclab.lab.cache import built
from reclab.lab.experiments import beside
from reclab.lab.lab import Lab, Progress, progress_bar

MOST_ROWS = {"tiny": 20_000}
"""exposed rows learned from by scale; elsewhere as many as the rankers ask for"""
TRAINING = 0.8  # share of the time that training takes; the rest is for measuring


@dataclass(frozen=True)
class Row:
    """What is known of one ranker. ``auc``, ``gauc``, ``log_loss`` of the main target on unseen
    logged rows; ``share`` of the oracle's value; µs of the network for one of 300 candidates, the
    median of many requests; ``train_sec`` by the clock, without the features that all share."""

    auc: float
    gauc: float
    log_loss: float
    n_weights: int
    us_per_candidate: float
    train_sec: float
    share: float


def zoo(lab: Lab, progress: bool | Progress = True) -> dict[str, Row]:
    """The table, by name in the order of the models' years; trained and measured when first asked
    for (minutes at laptop scale)."""
    text = (_folder(lab, progress) / "rows.json").read_text(encoding="utf-8")
    return {name: Row(**row) for name, row in json.loads(text).items()}


def rankers(
    lab: Lab, names: Sequence[str] = (), progress: bool | Progress = True
) -> dict[str, Ranker]:
    """The trained rankers named, or all: ``lab.trained.with_parts(ranker=rankers(lab)["dcn"])``."""
    folder, features = _folder(lab, progress), lab.trained.parts.features
    return {
        model.name: model.load(folder, features)
        for model in RANKERS
        if model.name in (names or [m.name for m in RANKERS])
    }


def _folder(lab: Lab, progress: bool | Progress) -> Path:
    """Where the nine lie; they are trained if they are not there."""
    kind, at = f"zoo-{lab.scale}-{lab.seed}", f"models-{lab.scale}-{lab.seed}-"

    def build(folder: Path) -> None:
        with progress_bar(f"nine rankers ({lab.scale}, seed {lab.seed})", progress) as say:
            trained = train_all(lab, say)
            rows = measure(lab, trained, say)
            for ranker in trained.values():
                ranker.save(folder)
            held = {name: asdict(row) for name, row in rows.items()}
            (folder / "rows.json").write_text(json.dumps(held), encoding="utf-8")

    # trained by the same code, on the same platform, as the models of the lab
    return built(kind, lab.models_folder.name.removeprefix(at), build)


def train_all(lab: Lab, say: Progress) -> dict[str, Ranker]:
    """Prepare the rows once, then train one ranker after the other on them."""
    p, config = lab.trained.parts, exposed_rows()
    config = replace(config, max_rows=MOST_ROWS.get(lab.scale, config.max_rows))
    say(0.0, "features of the training rows")
    samples = training_samples(lab.logs, p.features, config, p.until_ms)
    trained: dict[str, Ranker] = {}
    for at, model in enumerate(RANKERS):

        def part(fraction: float, text: str, at: int = at, name: str = model.name) -> None:
            say(TRAINING * (0.1 + 0.9 * (at + fraction) / len(RANKERS)), f"{name}, {text}")

        trained[model.name] = model().fit_samples(samples, p.features, part)
    return trained


def measure(lab: Lab, trained: dict[str, Ranker], say: Progress) -> dict[str, Row]:
    """One row of the table for each ranker."""
    rows, user = unseen(lab)
    say(TRAINING, "value of their lists")
    lists = {name: lab.trained.with_parts(ranker=ranker) for name, ranker in trained.items()}
    share = {name: score.share for name, score in beside(lab, lists).items()}
    table: dict[str, Row] = {}
    for at, (name, ranker) in enumerate(trained.items()):
        say(0.95 + 0.05 * at / len(trained), f"{name}, unseen rows")
        main = main_target(ranker.targets)
        p, label = ranker.score_features(rows.features)[main], rows.targets[main] > 0.5
        table[name] = Row(
            auc(label, p),
            gauc(user, label, p),
            log_loss(label, p),
            sum(weight.numel() for weight in ranker.net.parameters()),
            us_per_candidate(lab, ranker),
            ranker.history.seconds,
            share[name],
        )
    return table


def unseen(
    lab: Lab, features: FeatureBuilder | None = None, most: int = 20_000
) -> tuple[Samples, Array]:
    """Logged rows after the training time, all of some users of the first day, about ``most``; and
    (n,) whose each is. ``features``: the rankers' unless others are asked for."""
    features, log = features or lab.trained.parts.features, lab.logs.interactions
    first = min(request.time_ms for request in lab.requests(1000))
    rows = np.flatnonzero((log["time_ms"] >= first) & (log["time_ms"] < first + DAY_MS))
    users = np.unique(log["user_id"][rows])
    share = min(1.0, most / len(rows))
    drawn = users[rng(lab.seed, "zoo users").random(len(users)) <= share]
    rows = rows[np.isin(log["user_id"][rows], drawn)]
    rows = rows[np.lexsort((log["user_id"][rows], log["time_ms"][rows]))]
    return samples_of(lab.logs, features, exposed_rows(), rows), log["user_id"][rows]


def us_per_candidate(lab: Lab, ranker: Ranker, n: int = 300, runs: int = 40) -> float:
    """Median µs that the network spends on one of ``n`` candidates, over requests of ``n``."""
    p, spent = lab.trained.parts, []
    rows = np.arange(min(n, len(p.index)))
    for request in (lab.requests(20) * runs)[:runs]:
        batch = read_batch([request], p.users, p.index)
        candidates = Candidates(1, np.zeros(len(rows), np.int64), rows)
        features = ranker.features.for_batch(batch, candidates)
        began = time.perf_counter_ns()
        ranker.score_features(features)
        spent.append(time.perf_counter_ns() - began)
    return float(np.median(spent)) / 1e3 / len(rows)
