"""Context (上下文过滤): what does not fit the moment: the network, and the time that is left.

    keep = (wifi  or  duration <= max_mobile_sec)
           and  duration <= max(ratio * left(user), always_sec)
    left(user) = median over the user's past requests of  end of the session - time of the request

A session ends with its last request and what was watched on that page.
Simplified: industry predicts what is left of this very session, and adds hour, place and battery.
"""

from dataclasses import dataclass

import numpy as np

from reclab.cascade.batch import Batch
from reclab.cascade.filters.reasons import drop_because, keep_all
from reclab.core.errors import check_float, check_int
from reclab.core.stage import StageResult
from reclab.core.tables import Table
from reclab.core.types import Array, Candidates
from reclab.stores.forward_index import ForwardIndex
from reclab.stores.user_features import UserFeatures

WIFI = 0
REASONS = ("too long for mobile data", "longer than is usually left")


@dataclass(frozen=True)
class ContextConfig:
    """What is too long for the moment."""

    max_mobile_sec: float = 300.0
    """longest item on mobile data, seconds (60 … 3600); infinity = no rule"""
    ratio: float = 2.0
    """longest item in units of what is usually left of the session (1 … 5); infinity = no rule"""
    always_sec: float = 60.0
    """items up to this long always fit into what is left, seconds (15 … 120)"""

    def __post_init__(self) -> None:
        no_end = float("inf")
        check_float("ContextConfig.max_mobile_sec", self.max_mobile_sec, 0.0, no_end, "60-600")
        check_float("ContextConfig.ratio", self.ratio, 0.1, no_end, "1-5")
        check_float("ContextConfig.always_sec", self.always_sec, 0.0, no_end, "60")


def usual_left_sec(
    shown: Table, users: UserFeatures, until_ms: int | None = None, min_requests: int = 5
) -> Array:
    """(n_users + 1,) seconds usually left of a session when a user asks for a page, by the
    interactions before ``until_ms``. All users' median stands for users of fewer than
    ``min_requests`` and, as the last entry, for unknown ones. All infinite where the log has no
    sessions or no rows."""
    check_int("min_requests", min_requests, 1, 10_000, "5")
    left = np.full(len(users) + 1, np.inf)
    if until_ms is not None:
        shown = shown.take(shown["time_ms"] < until_ms)
    if "session_id" not in shown or not len(shown):
        return left
    user, rest = _rests(shown)
    row = users.rows(user)
    left[:] = np.median(rest)
    order = np.lexsort((rest, row))
    row, rest = row[order], rest[order]
    known, first, n = np.unique(row, return_index=True, return_counts=True)
    median = (rest[first + (n - 1) // 2] + rest[first + n // 2]) / 2
    enough = (known >= 0) & (n >= min_requests)
    left[known[enough]] = median[enough]
    return left


def _rests(shown: Table) -> tuple[Array, Array]:
    """Of each request, a page of one session at one time: its user, and the seconds from it to
    the end of the session."""
    order = np.lexsort((shown["time_ms"], shown["session_id"]))
    session, time = shown["session_id"][order], shown["time_ms"][order]
    fresh = np.append(True, (np.diff(session) != 0) | (np.diff(time) != 0))
    watch = shown["watch_sec"][order] if "watch_sec" in shown else np.zeros(len(order))
    at = np.flatnonzero(fresh)
    stop = time[at] / 1000 + np.add.reduceat(watch.astype(np.float64), at)
    last = np.append(np.diff(session[at]) != 0, True)
    ends = stop[last][np.cumsum(np.append(0, last[:-1]))]
    return shown["user_id"][order][at], ends - time[at] / 1000


class ContextFilter:
    """Drop what is too long for the request's network or for the time its user usually has left
    (``left_sec`` as ``usual_left_sec`` gives it; None = that rule is off). Items of unknown
    duration stay; a no-op where items have no ``duration_sec``."""

    name = "context"

    def __init__(
        self,
        index: ForwardIndex,
        left_sec: Array | None = None,
        config: ContextConfig | None = None,
    ) -> None:
        self.index, self.config = index, config or ContextConfig()
        self._left_sec = left_sec

    def __call__(self, batch: Batch, candidates: Candidates) -> StageResult:
        if "duration_sec" not in self.index:
            return keep_all(candidates, *REASONS)
        duration = self.index.get(candidates.item_row, ["duration_sec"])["duration_sec"]
        most = np.where(batch.network == WIFI, np.inf, self.config.max_mobile_sec)
        why = np.full(len(candidates), -1, np.int8)
        if self._left_sec is not None and self.config.ratio < np.inf:
            left = self.config.ratio * self._left_sec[batch.user_row]  # row -1 reads the last
            left = np.maximum(left, self.config.always_sec)
            why[duration > left[candidates.request_row]] = 1
        why[duration > most[candidates.request_row]] = 0
        return drop_because(candidates, why, REASONS)
