"""Newcomers (冷启动): what the content and social channels do for new items and for new users.

With a channel and without it, the rest sharing its quota, the cascade retrieves for the same
requests. New items are under a day old: how many of the best of them are retrieved, and how many of
the list's places they get. New users have few positives: how many of their best items are
retrieved, and what their list is worth.

Simplified: a platform holds a channel back from a random share of its users, and waits a week.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from reclab.cascade.batch import read_batch
from reclab.cascade.pipeline import CHANNELS, Cascade
from reclab.core.clock import HOUR_MS
from reclab.core.types import Array, Candidates, Request
from reclab.lab.experiments import lists_of
from reclab.lab.judge import TruthJudge, best_lists, eligible
from reclab.lab.lab import Lab

N_BEST = 20  # a request's best items whose retrieval is counted
FEW = 20  # positives of a user at most, who is then new
WITHOUT = ("content", "social")


@dataclass(frozen=True)
class Newcomers:
    """``recall``: share of the best (new) items that is retrieved; ``value``: of the list, as a
    share of the oracle's; ``shown``: new items among the list's places. Over ``n`` requests."""

    recall: float
    value: float
    shown: float
    n: int


def new_items(
    lab: Lab, hours: float = 24.0, n: int = 100, split: str = "tuning", merge: str = "quota"
) -> dict[str, Newcomers]:
    """With all channels, without content, without social, without both: what becomes of items
    under ``hours`` old. Recall is of each request's N_BEST best among these items."""
    return _measure(lab, lab.requests(n, split), lab.judge.gains(split, n), hours, True, merge)


def new_users(
    lab: Lab, few: int = FEW, n: int = 4000, split: str = "tuning", merge: str = "quota"
) -> dict[str, Newcomers]:
    """The same for the requests, among the first ``n`` of the split, of users who have ``few``
    positives at most by then. Recall is of each request's N_BEST best items of any age.

    Most users of a day have come often before, so that few requests are left: the result says how
    many.
    """
    requests, p = lab.requests(n, split), lab.trained.parts
    n = len(requests)
    batch = read_batch(requests, p.users, p.index)
    new = np.flatnonzero((batch.history >= 0).sum(1) <= few)
    gain = _gains(lab, split, n, new)
    return _measure(lab, [requests[b] for b in new], gain, 24.0, False, merge)


def _gains(lab: Lab, split: str, n: int, rows: Array) -> Array:
    """(len(rows), n_items) gains of some of the first ``n`` requests: all are too many."""
    if isinstance(lab.judge, TruthJudge):
        return lab.judge.truth.request_value(lab.judge.table(split, n).take(rows), None)
    return lab.judge.gains(split, n)[rows]


def _measure(
    lab: Lab, requests: list[Request], gain: Array, hours: float, of_new: bool, merge: str
) -> dict[str, Newcomers]:
    p = lab.trained.parts
    gain = gain * eligible(requests, p.users, p.index)
    time_ms = np.array([r.time_ms for r in requests], np.int64)
    age_ms = time_ms[:, None] - p.index["publish_ms"][None]
    new = (age_ms >= 0) & (age_ms < hours * HOUR_MS)
    wanted = gain * new if of_new else gain
    best = best_lists(wanted, N_BEST) if len(requests) else np.zeros((0, N_BEST), np.int64)
    worth = np.take_along_axis(wanted, best, 1) > 0
    oracle = np.take_along_axis(gain, best_lists(gain), 1).sum() if len(requests) else 1.0
    found = {}
    for name, cascade in _variants(lab.trained.with_config(merge=merge)).items():
        there = _retrieved(cascade, requests, len(p.index))
        lists = lists_of(cascade, requests)
        at, real = np.maximum(lists, 0), lists >= 0
        won = np.where(real, np.take_along_axis(gain, at, 1), 0.0).sum()
        fresh = np.take_along_axis(new, at, 1)[real]
        found[name] = Newcomers(
            float(np.take_along_axis(there, best, 1)[worth].mean()) if worth.any() else 0.0,
            float(won / oracle),
            float(fresh.mean()) if len(fresh) else 0.0,
            len(requests),
        )
    return found


def _variants(cascade: Cascade) -> Mapping[str, Cascade]:
    """All channels; without each of WITHOUT; without all of them."""
    left = {"all channels": CHANNELS}
    left |= {f"without {name}": tuple(c for c in CHANNELS if c != name) for name in WITHOUT}
    left["without both"] = tuple(c for c in CHANNELS if c not in WITHOUT)
    return {words: cascade.with_config(channels=names) for words, names in left.items()}


def _retrieved(cascade: Cascade, requests: list[Request], n_items: int) -> Array:
    """(B, n_items) bool: what the first stage keeps."""
    there = np.zeros((len(requests), n_items), bool)
    if requests:
        batch = read_batch(requests, cascade.parts.users, cascade.parts.index)
        kept = cascade.stages()[0](batch, Candidates.empty(len(requests))).kept
        there[kept.request_row, kept.item_row] = True
    return there
