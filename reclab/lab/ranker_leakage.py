"""The same leak in the cascade's own ranker: one day's rows with features read at the request, and
read after the wait for labels; judged on rows kept aside, and on the next day, read at the request.

Here the leak is in every number and in the history: the clicked item is the user's latest one.
Reference: Kaufman et al. 2012 (TKDD); ``leakage.py`` for counters and a tree model.

Simplified: exposed rows only, and one day of them.
"""

from dataclasses import dataclass, replace

import numpy as np

from reclab.cascade.ranking.din import DIN, DINConfig
from reclab.cascade.ranking.features import Features
from reclab.cascade.ranking.training import Samples, TrainConfig, samples_of
from reclab.core.chance import rng
from reclab.core.clock import DAY_MS
from reclab.core.metrics import auc
from reclab.core.tables import Logs, Table
from reclab.core.types import Array
from reclab.lab.lab import Lab, Progress, progress_bar
from reclab.offline_online.join.window import MINUTE_MS

TRAIN = TrainConfig(epochs=2, negatives="exposed", learning_rate=6e-3)


@dataclass(frozen=True)
class RankerLeakage:
    """(2,) read at the request, and at label time: AUC on ``rows`` like those trained on, and on
    the ``next_day``, read at the request."""

    offline: Array
    next_day: Array
    rows: int

    def table(self) -> str:
        """As text."""
        lines = [f"{'features read':<20}{'offline':>9}{'next day':>10}   ({self.rows:,} rows)"]
        for read, *aucs in zip(("at the request", "at label time"), self.offline, self.next_day,
                               strict=True):  # fmt: skip
            lines.append(f"{read:<20}{aucs[0]:>9.4f}{aucs[1]:>10.4f}")
        return "\n".join(lines)


def ranker_leakage(
    lab: Lab, wait_min: int = 20, seed: int = 0, progress: bool | Progress = True
) -> RankerLeakage:
    """Trains the ranker's network twice on the day before the last that the models have seen."""
    day = lab.trained.parts.until_ms // DAY_MS - 2
    offline, following = [], []
    with progress_bar("the ranker's leak", progress) as say:
        say(0.0, "the next day")
        tomorrow = _samples(lab, day + 1, 0)
        for i, wait_ms in enumerate((0, wait_min * MINUTE_MS + 1)):
            say((2 * i + 1) / 5, "features")
            today = _samples(lab, day, wait_ms)
            n = len(today.features.user)
            order = rng(seed, "aside").permutation(n)
            aside = today.take(np.sort(order[: n // 5]))
            say((2 * i + 2) / 5, "training")
            ranker = DIN(DINConfig(train=replace(TRAIN, seed=seed)))
            ranker.fit_samples(today.take(np.sort(order[n // 5 :])), lab.trained.parts.features)
            offline.append(_auc(ranker, aside))
            following.append(_auc(ranker, tomorrow))
    return RankerLeakage(np.array(offline), np.array(following), len(today))


def _auc(ranker: DIN, samples: Samples) -> float:
    return auc(samples.targets["p_click"], ranker.score_features(samples.features)["p_click"])


def _samples(lab: Lab, day: int, wait_ms: int) -> Samples:
    """All rows of a day; their features ``wait_ms`` after the request."""
    logs, features = lab.logs, lab.trained.parts.features
    edges = np.searchsorted(logs.interactions["time_ms"], (day * DAY_MS, (day + 1) * DAY_MS))
    samples = samples_of(logs, features, TRAIN, np.arange(*edges))
    if not wait_ms:
        return samples
    late = _shifted(logs, edges, wait_ms)
    read = samples_of(Logs(logs.users, logs.items, late), features, TRAIN, np.arange(len(late)))
    return replace(samples, features=_at_the_hour_of(samples.features, read.features))


def _shifted(logs: Logs, edges: Array, wait_ms: int) -> Table:
    """The day's rows as if their requests had come later; in the same order."""
    shown = logs.interactions.take(np.arange(*edges))
    return shown.with_columns(time_ms=shown["time_ms"] + wait_ms)


def _at_the_hour_of(served: Features, late: Features) -> Features:
    """Only what is counted leaks; who asks, and at which hour, stays as it was served."""
    return replace(late, user=served.user)
