"""Duplicates (内容去重): an item that two channels brought counts once.

    keep = first mention of the item in its request

Exact. Reference: set membership by a mark array, Briggs and Torczon 1993.
Simplified: industry does this while the channels' answers stream in.
"""

from dataclasses import dataclass

import numpy as np

from reclab.cascade.batch import Batch
from reclab.cascade.filters.reasons import drop
from reclab.core.stage import StageResult
from reclab.core.types import Array, Candidates

MARKS = 64_000_000  # largest mark array, bytes; beyond it sorted keys are searched instead


@dataclass(frozen=True)
class DuplicateFilter:
    """Keep the first mention of an item in each request."""

    name: str = "duplicates"

    def __call__(self, batch: Batch, candidates: Candidates) -> StageResult:
        return drop(candidates, first_mention(candidates), "duplicate")


def first_mention(candidates: Candidates) -> Array:
    """(n,) bool: is this the first candidate of its request with this item?"""
    n = len(candidates)
    width = int(candidates.item_row.max(initial=0)) + 1
    key = candidates.request_row * width + candidates.item_row
    if candidates.n_requests * width <= MARKS // 8 and n > 4000:
        place, mark = np.arange(n), np.empty(candidates.n_requests * width, np.int64)
        mark[key[::-1]] = place[::-1]  # of equal keys the last one written, the first, stays
        return np.asarray(mark[key] == place)
    first = np.ones(n, bool)
    if (np.diff(np.sort(key)) == 0).any():  # rare after a merge, which unites by item
        order = np.argsort(key, kind="stable")
        first[order[1:]] = np.diff(key[order]) > 0
    return first
