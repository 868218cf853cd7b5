"""A training table with a leak: features of impressions as training reads them, beside the same as
they were served, by the same code that serves, asked at another time.

    session rate   read when the sample closes, 20 minutes after the request: a leak (特征穿越)
    item rate      read at midnight: stale, which is skew between training and serving, and no leak
    the others     read at the request: point in time
Reference: Kaufman et al. 2012 (leakage in data mining); chapter 2.3.1.

Simplified: seven columns; a platform checks hundreds by logging what it served.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from reclab.cascade.ranking.features import Features
from reclab.cascade.ranking.statistics import PAIR, REQUEST
from reclab.core.clock import DAY_MS
from reclab.core.metrics import auc
from reclab.core.tables import Table
from reclab.core.types import Array
from reclab.lab.click_model import ClickModel
from reclab.lab.lab import Lab
from reclab.offline_online.join.window import MINUTE_MS

CLOSE_MS = 20 * MINUTE_MS
COLUMNS = {
    "user_rate": (REQUEST, "rate"),
    "session_rate": (REQUEST, "session_rate"),
    "session_shown": (REQUEST, "log_session"),
    "item_rate": (PAIR, "item_rate"),
    "author_rate": (PAIR, "author_rate"),
    "style": (PAIR, "style"),
}
LEAK, STALE = "session_rate", "item_rate"


@dataclass(frozen=True)
class LeakyTable:
    """``clicked`` (n,) bool; by column (n,): ``training`` what the training table holds, ``served``
    what the recommender had when it answered. ``later`` and ``later_clicked``: the next day's, as
    served."""

    clicked: Array
    training: Mapping[str, Array]
    served: Mapping[str, Array]
    later: Mapping[str, Array]
    later_clicked: Array

    def aucs(self) -> dict[str, tuple[float, float]]:
        """AUC of each column alone: in the training table, and as served."""
        return {
            name: (auc(self.clicked, self.training[name]), auc(self.clicked, self.served[name]))
            for name in self.training
        }

    def consequence(self) -> tuple[float, float, float]:
        """AUC of a model on the training table itself (what the experiment reports), of the same
        model when it serves the next day, and of one that learned from what was served."""
        table, as_served, later = (
            np.stack(list(held.values()), 1) for held in (self.training, self.served, self.later)
        )
        reported = ClickModel(table, self.clicked, table, self.clicked)
        live = ClickModel(table, self.clicked, later, self.later_clicked)
        mended = ClickModel(as_served, self.clicked, later, self.later_clicked)
        models = (reported, live, mended)
        first, second, third = (model.quality(model.start).auc for model in models)
        return first, second, third


def leaky_table(lab: Lab, n: int = 12_000) -> LeakyTable:
    """About ``n`` impressions of the tuning day, and as many of the last one (whole requests)."""
    day = lab.world.config.days - 2
    days = [_impressions(lab, day + step, n) for step in range(2)]
    served = [_columns(lab, shown, shown["time_ms"]) for shown in days]
    shown = days[0]
    training = {**served[0]}
    training[LEAK] = _columns(lab, shown, shown["time_ms"] + CLOSE_MS)[LEAK]
    training[STALE] = _columns(lab, shown, shown["time_ms"] // DAY_MS * DAY_MS)[STALE]
    clicks = [shown["is_click"].astype(bool) for shown in days]
    return LeakyTable(clicks[0], training, served[0], served[1], clicks[1])


def _impressions(lab: Lab, day: int, n: int) -> Table:
    shown = lab.logs.interactions
    shown = shown.take(shown["time_ms"] // DAY_MS == day)
    names = np.unique(shown["req_id"])
    share = min(1.0, n / max(len(shown), 1))
    some = names[np.diff(np.floor(np.arange(len(names) + 1) * share)) > 0]
    return shown.take(np.isin(shown["req_id"], some))


def _columns(lab: Lab, shown: Table, time_ms: Array) -> dict[str, Array]:
    """The columns of impressions (n,) as of ``time_ms`` (n,), one time a request."""
    builder = lab.trained.parts.features
    _, first, owner = np.unique(shown["req_id"], return_index=True, return_inverse=True)
    order = np.argsort(owner, kind="stable")
    made = builder.build(
        builder.users.rows(shown["user_id"][first]),
        time_ms[first],
        shown["network"][first],
        owner[order],
        builder.index.rows(shown["video_id"])[order],
    )
    back = np.argsort(order)
    found = {name: _column(made, *where)[back] for name, where in COLUMNS.items()}
    return {**found, "position": shown["position"].astype(np.float64)}


def _column(made: Features, part: tuple[str, ...], name: str) -> Array:
    if part is PAIR:
        return np.asarray(made.pair[:, PAIR.index(name)], np.float64)
    request = made.request[:, -len(REQUEST) :][:, REQUEST.index(name)]
    return np.asarray(request[made.request_row], np.float64)
