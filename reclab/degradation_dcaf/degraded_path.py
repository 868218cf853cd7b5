"""The degraded path (降级推荐) of figure 2.8: cached retrieval, filters, truncation; no model runs.

cached retrieval (缓存召回)   what the user's last healthy answer left
filters (过滤)               seen, risk, block list, compliance: rules are applied on reading
truncation (截断)            the first n are taken out of the cache, the rest stays

What was shown to the user since the list was made is dropped here, not when it is made. A short
list is topped up from the hot pool, so that the page is never empty; so it is when Redis is gone.

Simplified: industry keeps several lists a user, by surface, and mixes fresh popular items in.
"""

from dataclasses import dataclass

import numpy as np

from reclab.cascade.batch import Batch
from reclab.core.stage import StageResult, split
from reclab.core.types import Array, Candidates
from reclab.degradation_dcaf.cache import Cached, DegradationCache
from reclab.stores.forward_index import ForwardIndex
from reclab.stores.kv import StoreDown


@dataclass(frozen=True)
class CachedRetrieval:
    """Read each user's list; candidates come best first with ``rank_score``. Items that the index
    does not know any more are left out with a note."""

    cache: DegradationCache
    index: ForwardIndex
    name: str = "cached_retrieval"

    def __call__(self, batch: Batch, candidates: Candidates) -> StageResult:
        try:
            lists = self.cache.peek([request.user_id for request in batch.requests])
        except StoreDown as error:
            none = Candidates.empty(len(batch)).with_columns(rank_score=np.zeros(0))
            return StageResult(none, none, notes=(f"no cached answers: {error}",))
        request_row = np.repeat(np.arange(len(lists)), [len(held.item_id) for held in lists])
        item_row = self.index.rows(np.concatenate([held.item_id for held in lists]))
        score = np.concatenate([held.score for held in lists])
        gone = int((item_row < 0).sum())
        notes = (f"{gone} cached items are not in the index any more",) if gone else ()
        known = item_row >= 0
        found = Candidates(len(lists), request_row[known], item_row[known])
        found = found.with_columns(rank_score=score[known])
        return StageResult(found, found.take(np.zeros(len(found), bool)), notes=notes)


@dataclass(frozen=True)
class Truncate:
    """Take each request's first ``n`` candidates out of the cache; the others stay in it. What
    another request of the same user took in the meantime is dropped."""

    cache: DegradationCache
    index: ForwardIndex
    name: str = "truncation"

    def __call__(self, batch: Batch, candidates: Candidates) -> StageResult:
        wanted = np.array([request.n for request in batch.requests], np.int64)
        place = np.arange(len(candidates)) - candidates.starts()[:-1][candidates.request_row]
        fits = place < wanted[candidates.request_row]
        mine, left = candidates.take(fits), candidates.take(~fits)
        got, notes = self._claim(batch, mine)
        taken = split(mine, got, "taken by another request")
        left = left.with_columns(reason=np.ones(len(left), np.int16))
        dropped = _joined(taken.dropped, left)
        reasons = ("taken by another request", "stays in the cache")
        return StageResult(taken.kept, dropped, reasons, notes=notes)

    def _claim(self, batch: Batch, mine: Candidates) -> tuple[Array, tuple[str, ...]]:
        starts, ids = mine.starts(), self.index.ids[mine.item_row]
        parts = [slice(a, b) for a, b in zip(starts[:-1], starts[1:], strict=True)]
        wanted = [Cached(ids[part], mine["rank_score"][part]) for part in parts]
        try:
            got = self.cache.claim([request.user_id for request in batch.requests], wanted)
        except StoreDown as error:  # already read: better shown twice than not at all
            return np.ones(len(mine), bool), (f"taken without a receipt: {error}",)
        return np.concatenate([np.zeros(0, bool), *got]), ()


def _joined(a: Candidates, b: Candidates) -> Candidates:
    """Two sets of candidates of the same batch in one, by request."""
    order = np.argsort(np.concatenate([a.request_row, b.request_row]), kind="stable")
    columns = {name: np.concatenate([a[name], b[name]])[order] for name in a.columns}
    request_row = np.concatenate([a.request_row, b.request_row])[order]
    item_row = np.concatenate([a.item_row, b.item_row])[order]
    return Candidates(a.n_requests, request_row, item_row, columns)
