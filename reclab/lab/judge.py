"""Judges: what a list of items was worth to a request, and the best that any list could have been.

On the simulated platform the hidden truth answers: gain = P(long view). On real logs the next
clicks answer: gain = 1 for an item the user clicked within the horizon, else 0. Both give the same
numbers: value = sum of the gains of the list, NDCG@10, and both as a share of the oracle's, the
list that sorts everything eligible by the gain itself.

Simplified: industry judges by A/B test; offline it has only the second judge.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from reclab.core import metrics
from reclab.core.clock import day_of
from reclab.core.errors import DataError
from reclab.core.tables import Logs, Table
from reclab.core.types import Array, Request
from reclab.stores.forward_index import ForwardIndex
from reclab.stores.user_features import UserFeatures
from reclab.world import Truth

SPLITS = ("tuning", "held_out")
FEWEST = 20  # requests that a split of real logs must have


class Judge(Protocol):
    """Requests of a split, and the gain of items for them."""

    unit: str

    def requests(self, split: str, n: int) -> list[Request]: ...

    def gains(self, split: str, n: int) -> Array:
        """(n, n_items) float32 gain of every item for the first ``n`` requests of the split."""
        ...


class TruthJudge:
    """The simulated platform's hidden truth. ``tuning`` = requests of the day before the last,
    ``held_out`` = of the last day, which no model and no setting has seen."""

    unit = "P(long view)"

    def __init__(self, truth: Truth) -> None:
        self.truth = truth

    def table(self, split: str, n: int) -> Table:
        """The first ``n`` requests of a split with their hidden session state."""
        held: Table = getattr(self.truth, split)
        return held.take(np.arange(min(n, len(held))))

    def requests(self, split: str, n: int) -> list[Request]:
        held = self.table(split, n)
        columns = zip(
            held["user_id"], held["time_ms"], held["req_id"], held["network"], strict=True
        )
        return [Request(int(u), int(t), int(r), network=int(w)) for u, t, r, w in columns]

    def gains(self, split: str, n: int) -> Array:
        return self.truth.request_value(self.table(split, n), None)

    def gains_without_session(self, split: str, n: int) -> Array:
        """(n, n_items) what an oracle believes that knows tastes but not the session's mood."""
        held = self.table(split, n)
        day = day_of(int(held["time_ms"][0]))
        return self.truth.value(held["user_row"], None, day)


class ClickJudge:
    """Real logs: the positives that followed. The last tenth of the time is held out, the tenth
    before it is for tuning; a request is made at a positive's own time by the user (or session)
    who gave it, and wins 1 for each of the user's next ``horizon`` positives, itself included."""

    unit = "next clicks"

    def __init__(self, logs: Logs, index: ForwardIndex, horizon: int = 10) -> None:
        shown = logs.interactions
        liked = shown.take(logs.positive)
        self.n_items, self.horizon = len(index), horizon
        self.user_id, self.time_ms = liked["user_id"], liked["time_ms"]
        self.item_row = index.rows(liked["video_id"])
        self.cuts = tuple(int(q) for q in np.quantile(shown["time_ms"], [0.8, 0.9, 1.0]))
        fewest = min(len(self._first(split, FEWEST)) for split in SPLITS)
        if fewest < FEWEST:
            raise DataError(
                f"these logs have {len(shown):,} interactions, too few to learn from and to judge: "
                f"the last two tenths of their time hold {fewest} positives "
                f"(a lesson needs {FEWEST} in each, typically 10,000 interactions)"
            )

    def _first(self, split: str, n: int) -> Array:
        """(n,) positions of positives that become requests, spread evenly over the split."""
        start = SPLITS.index(split)
        inside = (self.time_ms >= self.cuts[start]) & (self.time_ms <= self.cuts[start + 1])
        found = np.flatnonzero(inside)
        return found[np.linspace(0, len(found) - 1, min(n, len(found))).astype(int)]

    def requests(self, split: str, n: int) -> list[Request]:
        rows = self._first(split, n)
        return [Request(int(self.user_id[r]), int(self.time_ms[r]), int(r)) for r in rows]

    def gains(self, split: str, n: int) -> Array:
        rows = self._first(split, n)
        gain = np.zeros((len(rows), self.n_items), np.float32)
        for b, row in enumerate(rows):
            later = (self.user_id == self.user_id[row]) & (self.time_ms >= self.time_ms[row])
            gain[b, self.item_row[np.flatnonzero(later)[: self.horizon]]] = 1.0
        return gain


def eligible(
    requests: Sequence[Request], users: UserFeatures, index: ForwardIndex, hide_seen: bool = True
) -> Array:
    """(B, n_items) bool: published by the time of the request, and not shown to the user before."""
    time_ms = np.array([r.time_ms for r in requests])
    user_row = users.rows(np.array([r.user_id for r in requests]))
    ok = np.ones((len(requests), len(index)), bool)
    if "publish_ms" in index:
        ok &= index["publish_ms"][None] <= time_ms[:, None]
    if hide_seen:
        starts, rows = users.seen(user_row, time_ms)
        ok[np.repeat(np.arange(len(requests)), np.diff(starts)), rows] = False
    return ok


@dataclass(frozen=True)
class Score:
    """Mean over requests: value of the list, NDCG@k, and both oracles' value for scale."""

    value: float
    ndcg: float
    oracle_value: float

    @property
    def share(self) -> float:
        """Value as a share of the oracle's."""
        return self.value / self.oracle_value if self.oracle_value else float("nan")


def best_lists(gain: Array, k: int = 10) -> Array:
    """(B, n_items) gains -> (B, k) item rows of the best lists, best first. The oracle, when the
    gains are true; a policy, when they are somebody's beliefs."""
    k = min(k, gain.shape[1])
    top = np.argpartition(-gain, k - 1, axis=1)[:, :k]
    order = np.argsort(-np.take_along_axis(gain, top, 1), axis=1, kind="stable")
    return np.take_along_axis(top, order, 1)


def score_lists(gain: Array, lists: Array) -> Score:
    """Judge (B, k) item rows (-1 = an empty place, worth nothing) by (B, n_items) gains.

    ``gain`` holds 0 or less for items that were not eligible, so that nobody profits from them.
    """
    won = np.where(lists >= 0, np.take_along_axis(gain, np.maximum(lists, 0), 1), 0.0)
    best = np.take_along_axis(gain, best_lists(gain, lists.shape[1]), 1)
    return Score(
        float(won.sum(1).mean()),
        float(metrics.ndcg(won, best).mean()),
        float(best.sum(1).mean()),
    )
