"""What lesson 02 breaks on purpose: a model that answers NaN, a channel that is late, an index that
was not rebuilt.

Each is a part for the live cascade, or measures what its absence costs.

Simplified: a platform breaks its own services in production, in working hours, and watches.
"""

import time
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from reclab.cascade.batch import Batch
from reclab.cascade.pipeline import CHANNELS, Cascade
from reclab.cascade.ranking.towers import TwoTowerModel
from reclab.cascade.retrieval.merge import Channel
from reclab.cascade.stages import Predictor
from reclab.core.clock import DAY_MS
from reclab.core.tables import Logs
from reclab.core.types import Array, Candidates
from reclab.lab.experiments import lists_of
from reclab.lab.judge import eligible, score_lists
from reclab.lab.kept import kept
from reclab.lab.lab import Lab
from reclab.stores.forward_index import ForwardIndex


class NaNRanker:
    """A ranker that has gone wrong: it answers NaN."""

    def __init__(self, ranker: Predictor) -> None:
        self.ranker, self.macs_per_candidate = ranker, ranker.macs_per_candidate

    def predict(self, batch: Batch, candidates: Candidates) -> dict[str, Array]:
        """NaN for every target and candidate."""
        told = self.ranker.predict(batch, candidates)
        return {name: np.full(len(candidates), np.nan, np.float32) for name in told}


class SlowChannel:
    """A channel behind a network that has slowed down: the same answer, ``delay_ms`` later."""

    def __init__(self, channel: Channel, delay_ms: float) -> None:
        self.channel, self.delay_ms, self.name = channel, delay_ms, channel.name

    def retrieve(self, batch: Batch, k: int) -> tuple[Array, Array]:
        """As the channel, after a pause."""
        time.sleep(self.delay_ms / 1000)
        return self.channel.retrieve(batch, k)


# ---- an index that was not rebuilt ---------------------------------------------------------


class NotRebuilt:
    """A vector channel whose index holds the first ``n_known`` items only: later ones are not
    found, whatever their vectors would have been."""

    def __init__(self, channel: Channel, n_known: int, n_items: int) -> None:
        self.channel, self.name = channel, channel.name
        self.n_known, self.n_new = n_known, n_items - n_known

    def retrieve(self, batch: Batch, k: int) -> tuple[Array, Array]:
        """The best ``k`` of the items that are in the index."""
        rows, scores = self.channel.retrieve(batch, k + self.n_new)
        gone = rows >= self.n_known
        order = np.argsort(gone, axis=1, kind="stable")[:, :k]
        rows = np.take_along_axis(np.where(gone, -1, rows), order, 1)
        return rows, np.take_along_axis(scores, order, 1)


def with_old_indexes(lab: Lab, days: float) -> Cascade:
    """The cascade whose channels were built ``days`` before the training ended: counts, follows and
    neighbours of that time, and no item published since. Models and stores stay as they are."""
    p = lab.trained.parts
    end = p.until_ms or int(lab.logs.interactions["time_ms"].max()) + 1
    cut = end - int(days * DAY_MS)
    n_known = len(p.index)
    if "publish_ms" in p.index:  # the catalogue is in the order of publishing
        n_known = int(np.searchsorted(p.index["publish_ms"], cut))
    items = lab.logs.items
    index = ForwardIndex(items.take(np.arange(n_known)))
    logs = replace(lab.logs, items=items.take(np.arange(n_known)))
    old = {name: _as_of(getattr(p, name), logs, index, cut, len(p.index)) for name in CHANNELS}
    return lab.trained.with_parts(**old)


def _as_of(channel: Any, logs: Logs, index: ForwardIndex, cut: int, n_items: int) -> Channel:
    """A channel as it was built at ``cut``."""
    if isinstance(channel, TwoTowerModel):
        return NotRebuilt(channel, len(index), n_items)
    return type(channel)(copy(channel.config)).fit(logs, index, cut)


@dataclass(frozen=True)
class Stale:
    """Lists from indexes of an age: their value as a share of the oracle's, and the share of cards
    younger than a day, which an index that was built a day before does not hold."""

    share: float
    new: float


def stale_indexes(lab: Lab, days: Sequence[float] = (0, 1), n: int = 100) -> dict[float, Stale]:
    """What the same requests get from indexes of different ages; computed once for a lab."""

    def compute() -> dict[str, Stale]:
        requests, p = lab.requests(n), lab.trained.parts
        gain = lab.judge.gains("tuning", n) * eligible(requests, p.users, p.index)
        found = {}
        for age in days:
            lists = lists_of(with_old_indexes(lab, age) if age else lab.trained, requests)
            share = score_lists(gain, lists).share
            found[str(age)] = Stale(share, _young(lab, requests, lists))
        return found

    ages = "-".join(f"{age:g}" for age in days)
    held = kept(lab, f"old-indexes-{ages}-{n}", Stale, compute)
    return {float(age): one for age, one in held.items()}


def _young(lab: Lab, requests: Sequence[Any], lists: Array) -> float:
    index = lab.trained.parts.index
    if "publish_ms" not in index:
        return float("nan")
    now = np.array([request.time_ms for request in requests])[:, None]
    young = now - index["publish_ms"][np.maximum(lists, 0)] < DAY_MS
    return float(young[lists >= 0].mean())
