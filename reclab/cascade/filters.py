"""Filters (过滤): candidates that must not be shown leave before anything dear is computed.

    keep = first mention  and  not exposed before  and  publish_ms <= now

All three are exact. Section 2.2 (1) names more (risk, block lists, compliance): the same shape.
Reference: set membership by a mark array, Briggs and Torczon 1993.
Simplified: industry keeps exposures in Bloom filters, exact only for the last hours.
"""

from dataclasses import dataclass, replace

import numpy as np

from reclab.cascade.batch import Batch
from reclab.core.stage import StageResult, split
from reclab.core.types import Array, Candidates
from reclab.stores.forward_index import ForwardIndex

MARKS = 64_000_000  # largest mark array, bytes; beyond it sorted keys are searched instead


def drop(candidates: Candidates, keep: Array, reason: str) -> StageResult:
    """Split by the mask, with a note when a request loses the last of its candidates."""
    result = split(candidates, keep, reason)
    if not len(result.dropped):
        return result
    emptied = np.flatnonzero((candidates.counts() > 0) & (result.kept.counts() == 0))
    if not len(emptied):
        return result
    named = ", ".join(map(str, emptied[:5])) + (", ..." if len(emptied) > 5 else "")
    note = f"all candidates of {len(emptied)} requests were filtered ({reason}): request {named}"
    return replace(result, notes=(note,))


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


@dataclass(frozen=True)
class PublishedFilter:
    """Drop what is published only after the request's time; a no-op where items have no
    ``publish_ms``."""

    index: ForwardIndex
    name: str = "published"

    def __call__(self, batch: Batch, candidates: Candidates) -> StageResult:
        if "publish_ms" not in self.index:
            return drop(candidates, np.ones(len(candidates), bool), "not yet published")
        publish = self.index.get(candidates.item_row, ["publish_ms"])["publish_ms"]
        out = publish <= batch.time_ms[candidates.request_row]
        return drop(candidates, out, "not yet published")
