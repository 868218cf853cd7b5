"""Traffic duties (流量调控) of pre-ranking: places kept for those whom the score would not choose.

    place 1 … R    the best r_d · keep of each duty d:  long tail, new items, small creators
    then           by score, but at most m · keep of one category
    last           what the category quota turned away, if places are left

The cut from thousands to hundreds is where a platform decides who may be judged by the ranker at
all. A duty costs value now, which the lesson measures; what it earns (new items that are found,
creators who stay) comes later, in lessons 01 and 05.
Reference: chapter 2, section 2.2 (2).

Simplified: industry tunes the shares by long-term experiments, per business.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np

from reclab.cascade.batch import Batch
from reclab.core.clock import HOUR_MS
from reclab.core.errors import check, check_float
from reclab.core.types import Array, Candidates
from reclab.stores.forward_index import ForwardIndex
from reclab.stores.user_features import UserFeatures

RESERVED, USUAL, OVER_QUOTA = 0, 1, 2
RESERVING = ("long_tail", "cold_start", "creators")


@dataclass(frozen=True)
class DutiesConfig:
    """Shares of the places that pre-ranking keeps; all 0 and 1 = no duty."""

    long_tail: float = 0.0
    """places kept for items of few exposures (share, 0 … 0.3)"""
    cold_start: float = 0.0
    """places kept for new items (share, 0 … 0.3)"""
    creators: float = 0.0
    """places kept for creators of few exposures (share, 0 … 0.3)"""
    category: float = 1.0
    """most places that one category may take (share, 0.1 … 1)"""
    tail: float = 0.8
    """share of the items, and of the creators, that count as of few exposures (0.5 … 0.95)"""
    new_hours: float = 24.0
    """age below which an item is new (hours, 1 … 168)"""

    def __post_init__(self) -> None:
        for name in ("long_tail", "cold_start", "creators", "category", "tail"):
            check_float(f"DutiesConfig.{name}", getattr(self, name), 0.0, 1.0, "0-0.3")
        check_float("DutiesConfig.new_hours", self.new_hours, 0.0, 1e6, "24")
        kept = self.long_tail + self.cold_start + self.creators
        check(kept <= 1.0, "DutiesConfig", kept, "keep at most all places", "shares of 0.1")


class Duties:
    """Knows who has few exposures; ``tiers`` says who goes first when pre-ranking cuts."""

    def __init__(self, config: DutiesConfig, index: ForwardIndex, exposure: Array) -> None:
        """``exposure`` (N,) past exposures of each item of the index."""
        self.config, self.index = config, index
        self.is_tail = few(exposure, config.tail)
        self.is_small = np.zeros(len(exposure), bool)
        if "author_id" in index:
            _, author = np.unique(index["author_id"], return_inverse=True)
            self.is_small = few(np.bincount(author, exposure), config.tail)[author]

    @classmethod
    def before(
        cls, config: DutiesConfig, index: ForwardIndex, users: UserFeatures, until_ms: int
    ) -> Self:
        """Duties that count the exposures before ``until_ms``."""
        every = np.arange(len(users))
        rows = users.seen(every, np.full(len(users), until_ms))[1]
        return cls(config, index, np.bincount(rows, minlength=len(index)))

    def of(self, duty: str, batch: Batch, candidates: Candidates) -> Array:
        """(n,) bool: for whom a duty keeps places; duty = long_tail, cold_start or creators."""
        rows = candidates.item_row
        if duty == "cold_start":
            return self._is_new(batch, candidates)
        few_shown = self.is_tail if duty == "long_tail" else self.is_small
        known = rows < len(few_shown)  # an item that joined later has had no exposure at all
        return np.asarray(few_shown[np.where(known, rows, 0)] | ~known)

    def category(self, item_row: Array) -> Array:
        """(n,) main topic of items, -1 = none."""
        if "tags" not in self.index:
            return np.full(len(item_row), -1)
        return np.asarray(self.index.get(item_row, ["tags"])["tags"][:, 0].astype(np.int64))

    def tiers(self, batch: Batch, candidates: Candidates, score: Array, keep: int) -> Array:
        """(n,) int8: RESERVED, USUAL or OVER_QUOTA for each candidate."""
        c = self.config
        tier = np.full(len(candidates), USUAL, np.int8)
        if c.category < 1.0 and "tags" in self.index:
            most = max(1, round(c.category * keep))
            place = place_within(candidates, score, self.category(candidates.item_row))
            tier[place >= most] = OVER_QUOTA
        for duty in RESERVING:
            share = getattr(c, duty)
            if share:
                mine = self.of(duty, batch, candidates)
                place = place_within(candidates, score, mine.astype(np.int64))
                tier[mine & (place < round(share * keep))] = RESERVED
        return tier

    def _is_new(self, batch: Batch, candidates: Candidates) -> Array:
        if "publish_ms" not in self.index:
            return np.zeros(len(candidates), bool)
        publish = self.index.get(candidates.item_row, ["publish_ms"])["publish_ms"]
        age_ms = batch.time_ms[candidates.request_row] - publish
        return np.asarray(age_ms < self.config.new_hours * HOUR_MS)


def few(exposure: Array, share: float) -> Array:
    """(n,) bool: among the ``share`` with the fewest exposures; ties fall by position.

    >>> few(np.array([9, 1, 5, 0]), 0.5).tolist()
    [False, True, False, True]
    """
    fewest = np.argsort(exposure, kind="stable")[: round(share * len(exposure))]
    found = np.zeros(len(exposure), bool)
    found[fewest] = True
    return found


def place_within(candidates: Candidates, score: Array, group: Array) -> Array:
    """(n,) place of each candidate, 0 = best score, among its request's of the same group."""
    order = np.lexsort((-score, group, candidates.request_row))
    request, group = candidates.request_row[order], group[order]
    new = np.ones(len(order), bool)
    new[1:] = (request[1:] != request[:-1]) | (group[1:] != group[:-1])
    every = np.arange(len(order))
    place = np.empty(len(order), np.int64)
    place[order] = every - np.maximum.accumulate(np.where(new, every, 0))
    return place
