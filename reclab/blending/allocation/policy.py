"""The contract of an allocation policy, and the stage that runs one.

    allocate(candidates of B requests) -> pages (B, slots), positions of candidates, -1 = empty

Whoever allocates, the hard rules of the page hold (``rules.violations`` says so), a page is as full
as its candidates allow, and candidates whose value is not a number are never placed.
"""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from reclab.blending.allocation.rules import EMPTY, PageRules
from reclab.blending.allocation.slot_by_slot import write_pages
from reclab.core.stage import StageResult
from reclab.core.types import Array, Candidates

REASONS = ("no slot left for it", "value is not a number")


class PagePolicy(Protocol):
    """Decides which candidate gets which slot."""

    rules: PageRules

    def allocate(self, candidates: Candidates) -> Array: ...


@dataclass(frozen=True)
class AllocateStage:
    """A policy as a box: keeps the cards of each page, in their order, with the column ``slot``."""

    policy: PagePolicy
    name: str = "allocation"

    def __call__(self, batch: Any, candidates: Candidates) -> StageResult:
        pages = self.policy.allocate(candidates)
        row, slot = np.nonzero(pages != EMPTY)
        placed = pages[row, slot]
        rest = np.ones(len(candidates), bool)
        rest[placed] = False
        kept = candidates.take(placed).with_columns(slot=slot)
        lost = candidates.take(rest)
        reason = (~np.isfinite(lost["value"])).astype(np.int16)
        return StageResult(kept, lost.with_columns(reason=reason), REASONS, notes=_notes(pages))


def _notes(pages: Array) -> tuple[str, ...]:
    """Which pages are short."""
    short = int((pages == EMPTY).any(1).sum())
    return (f"{short} of {len(pages)} pages have empty slots",) if short else ()


def first_that_fit(listed: Candidates, rules: PageRules) -> Array:
    """(B, slots) pages from lists: at every slot the first card that is left and that the rules
    allow there, but what a floor asks for once it must be met. ``listed`` are candidates in the
    order in which they should be shown."""
    place = place_of(listed)
    wish = (len(listed) - place).astype(np.float64)
    wish[~np.isfinite(listed["value"])] = np.nan
    return write_pages(listed, wish, rules, beam=1)[0]


def place_of(listed: Candidates) -> Array:
    """(n,) place of each candidate in its request's list, from 0."""
    return np.arange(len(listed)) - listed.starts()[:-1][listed.request_row]


def place_in_business(listed: Candidates, kinds: int) -> Array:
    """(n,) place of each candidate among those of its business in its request's list, from 0."""
    group = listed.request_row * kinds + listed["business"]
    order = np.argsort(group, kind="stable")
    sizes = np.bincount(group, minlength=listed.n_requests * kinds)
    place = np.empty(len(listed), np.int64)
    place[order] = np.arange(len(listed)) - (sizes.cumsum() - sizes)[group[order]]
    return place
