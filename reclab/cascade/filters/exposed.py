"""Already exposed (已曝光过滤): what the user has been shown before is not shown again.

    keep = (request's user, item) not among the exposures known

Exact. Reference: set membership by a mark array, Briggs and Torczon 1993.
Simplified: industry keeps months of exposures in Bloom filters (``exposed_bloom``), exact only for
the last hours.
"""

from dataclasses import dataclass

import numpy as np

from reclab.cascade.batch import Batch
from reclab.cascade.filters.duplicates import MARKS
from reclab.cascade.filters.reasons import drop
from reclab.core.stage import StageResult
from reclab.core.types import Array, Candidates


@dataclass(frozen=True)
class SeenFilter:
    """Drop what the request's user has been shown before, up to the last exposure known."""

    name: str = "already_exposed"

    def __call__(self, batch: Batch, candidates: Candidates) -> StageResult:
        owner = np.repeat(np.arange(candidates.n_requests), np.diff(batch.seen_starts))
        seen = seen_before(candidates, owner, batch.seen_rows)
        return drop(candidates, ~seen, "already exposed")


def seen_before(candidates: Candidates, owner: Array, item_row: Array) -> Array:
    """(n,) bool: is the candidate among the pairs (``owner`` request, ``item_row``), both (m,)?"""
    if not len(candidates) or not len(item_row):
        return np.zeros(len(candidates), bool)
    width = int(max(candidates.item_row.max(), item_row.max())) + 1
    key = candidates.request_row * width + candidates.item_row
    seen = owner * width + item_row
    if candidates.n_requests * width > MARKS:
        return np.isin(key, seen)
    mark = np.zeros(candidates.n_requests * width, bool)
    mark[seen] = True
    return np.asarray(mark[key])
