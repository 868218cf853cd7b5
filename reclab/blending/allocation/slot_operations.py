"""Slot operations (槽位操作): the three moves that hand-written blending is made of.

    InsertAtFixedSlots   the j-th card of a business stands at slot s_j, the others close up around
    WeaveBySource        the j-th card of business b is due at (j + 1/2) / ratio_b; by due time
    DropBeyondCap        the j-th card of business b leaves if j > cap_b

Each takes candidates in list order and returns them in list order, and says what it dropped and
why. The weave gives every business its share in every stretch of the list, as the divisor method of
Sainte-Lague gives seats: a list of n holds ratio_b n / sum of ratios of b, give or take one.
Reference: Balinski and Young 1982 (apportionment).

Simplified: industry composes dozens of them, a file of settings for each page.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from reclab.blending.allocation.policy import place_in_business, place_of
from reclab.core.errors import check, check_float, check_int
from reclab.core.stage import StageResult, split
from reclab.core.types import Array, Candidates


@dataclass(frozen=True)
class InsertAtFixedSlots:
    """Businesses at slots of their own, everybody else between, in the order they had."""

    slots: tuple[tuple[int, ...], ...]
    """slots of each business, rising, from 0 (0-49); () = one of the others"""
    name: str = "insert_at_fixed_slots"

    def __post_init__(self) -> None:
        owned = [slot for mine in self.slots for slot in mine]
        once = len(set(owned)) == len(owned) and min(owned, default=0) >= 0
        rising = all(list(mine) == sorted(mine) for mine in self.slots)
        rule = "rise from 0 or later, each for one business"
        check(once and rising, "InsertAtFixedSlots.slots", self.slots, rule, "((), (2, 6))")

    def __call__(self, batch: Any, candidates: Candidates) -> StageResult:
        business, kinds = candidates["business"], len(self.slots)
        owned = np.array([slot for mine in self.slots for slot in mine], np.int64)
        own = np.array([bool(mine) for mine in self.slots])[business]
        place = place_in_business(candidates, kinds)
        place[~own] = place_of(candidates.take(~own))
        longest = int(candidates.counts().max(initial=0)) + len(owned)
        never = longest + 1
        due = np.full((kinds + 1, longest + 1), never)  # by business and place; others last
        due[kinds, : longest - len(owned)] = np.setdiff1d(np.arange(longest), owned)
        for b, mine in enumerate(self.slots):
            due[b, : len(mine)] = mine
        at = due[np.where(own, business, kinds), place]
        result = split(candidates.with_columns(due=at), at < never, "no fixed slot left for it")
        return _in_order(result, result.kept["due"])


@dataclass(frozen=True)
class WeaveBySource:
    """The businesses' lists become one, in a ratio."""

    ratios: tuple[float, ...]
    """of each business, in proportion to the others' (0-10); 0 = none of it"""
    name: str = "weave_by_source"

    def __post_init__(self) -> None:
        for ratio in self.ratios:
            check_float("WeaveBySource.ratios", ratio, 0.0, 1e6, "5 to 1")
        check(sum(self.ratios) > 0, "WeaveBySource.ratios", self.ratios, "not all be 0", "5 to 1")

    def __call__(self, batch: Any, candidates: Candidates) -> StageResult:
        ratio = np.array(self.ratios)[candidates["business"]]
        place = place_in_business(candidates, len(self.ratios))
        with np.errstate(divide="ignore"):
            due = (place + 0.5) / ratio
        result = split(candidates.with_columns(due=due), ratio > 0, "its business has no share")
        return _in_order(result, result.kept["due"])


@dataclass(frozen=True)
class DropBeyondCap:
    """No more than so many cards of each business in the list."""

    caps: tuple[int, ...]
    """cards of each business, at most (cards, 0-10)"""
    name: str = "drop_beyond_cap"

    def __post_init__(self) -> None:
        for cap in self.caps:
            check_int("DropBeyondCap.caps", cap, 0, 10_000, "0-10")

    def __call__(self, batch: Any, candidates: Candidates) -> StageResult:
        place = place_in_business(candidates, len(self.caps))
        fits = place < np.array(self.caps)[candidates["business"]]
        return split(candidates, fits, "beyond the cap of its business")


def _in_order(result: StageResult, due: Array) -> StageResult:
    """The kept ones sorted by when they are due; ties keep their order."""
    order = np.lexsort((due, result.kept.request_row))
    return StageResult(result.kept.take(order), result.dropped, result.reasons)
