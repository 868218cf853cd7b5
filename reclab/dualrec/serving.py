"""Serving both sides (双侧融合服务): the cascade answers as usual, with D_u read beside it.

    read D_u (one round trip) -> channel -> filters -> pre-ranking -> ranking (f beside g)
         -> merge stage (policy) -> page;     shown: leaves D_u, is counted for the quota

Without D_u, or without Redis, it is the cascade unchanged. A cascade is bound to what was read,
batch by batch: requests share nothing. Chapter 2, section 2.5, figure 2.10.

Simplified: industry reads D_u while retrieval runs; here it is read before, which costs its time.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from reclab.cascade.pipeline import Cascade
from reclab.cascade.re_ranking.mmr import MMRConfig
from reclab.core.errors import check
from reclab.core.stage import Stage
from reclab.core.types import Array, Request, Slate, Trace
from reclab.dualrec.creator_candidates import (
    CreatorChannel,
    CreatorDuties,
    CreatorRanker,
    CreatorSide,
    lifted,
)
from reclab.dualrec.merge import Merge, Merged
from reclab.dualrec.merge_stage import MergeReRank
from reclab.dualrec.pacing import Pacer
from reclab.dualrec.regroup import Held, Regroup
from reclab.stores.forward_index import ForwardIndex
from reclab.stores.kv import StoreDown

FILTERS_END = "pre_ranking"


class Served(NamedTuple):
    """Answers to a batch: the slates, how they came about, the D_u that was read, and what the
    merge changed (None when nobody has a D_u, or when that was not asked for)."""

    slates: list[Slate]
    trace: Trace
    held: Held
    merged: Merged | None


class DualCascade:
    """A live cascade that serves merged pages: ``recommend`` and ``shown`` as ``Cascade`` has them.

    ``pacer`` knows the plans that a quota keeps. To ``compare`` costs a policy of scores a second
    re-ranking, of f alone; without it the pages are the same, and nothing is called injected or
    displaced. Raises ``ConfigError`` for a cascade whose
    channels are merged by calibrated scores, which would cut D_u before it is ranked.
    """

    def __init__(
        self,
        cascade: Cascade,
        regroup: Regroup,
        policy: Merge,
        pacer: Pacer | None = None,
        compare: bool = True,
    ) -> None:
        how = cascade.config.merge
        check(how != "score", "DualCascade cascade.config.merge", how, "be a quota", "quota")
        self.cascade, self.regroup, self.policy, self.pacer = cascade, regroup, policy, pacer
        self.compare = compare
        self.unreported: deque[tuple[int, Array]] = deque(maxlen=10_000)

    def recommend(self, request: Request) -> tuple[Slate, Trace]:
        """The merged page for one request, and how it came about."""
        served = self.serve([request])
        return served.slates[0], served.trace

    def recommend_batch(self, requests: Sequence[Request]) -> tuple[list[Slate], Trace]:
        """The same for many requests at once."""
        served = self.serve(requests)
        return served.slates, served.trace

    def serve(self, requests: Sequence[Request], policy: Merge | None = None) -> Served:
        """Pages by this policy (None = the usual one), with all that a report needs."""
        now_ms = max((request.time_ms for request in requests), default=0)
        held = self.regroup.read([request.user_id for request in requests], now_ms)
        side, notes = self._side(held, now_ms)
        if not side.rows.size:
            slates, trace = self.cascade.recommend_batch(requests)
            return Served(slates, replace(trace, notes=(*notes, *trace.notes)), held, None)
        told: list[Merged] = []
        bound = self._bound(side, policy or self.policy, told.append)
        slates, trace = bound.recommend_batch(requests)
        merged = told[0] if told else None
        return Served(slates, replace(trace, notes=(*notes, *trace.notes)), held, merged)

    def _side(self, held: Held, now_ms: int) -> tuple[CreatorSide, tuple[str, ...]]:
        """What was read, laid out (B, m), without items that the index does not know."""
        row = self.cascade.parts.index.rows(held.item_id)
        good = row >= 0
        owner = held.request_row[good]
        starts = np.searchsorted(owner, np.arange(held.n_requests))
        place = np.arange(len(owner)) - starts[owner]
        shape = held.n_requests, int(place.max(initial=-1)) + 1
        rows, g, behind = np.full(shape, -1), np.full(shape, np.nan, np.float32), None
        rows[owner, place], g[owner, place] = row[good], held.score[good]
        if self.pacer is not None:
            items = np.full(shape, -1)
            items[owner, place] = held.item_id[good]
            behind = self.pacer.behind(items, now_ms)
        notes = (held.note,) if held.note else ()
        if not good.all():
            notes += (f"{int((~good).sum())} items of D_u are not in the index",)
        return CreatorSide(rows, g, behind), notes

    def _bound(self, side: CreatorSide, policy: Merge, told: Callable[[Merged], None]) -> Cascade:
        p = self.cascade.parts

        def re_ranker(config: MMRConfig, index: ForwardIndex) -> Stage:
            inner = p.re_ranker(config, index)
            return MergeReRank(inner, policy, side, config, index, told, self.compare)

        return self.cascade.with_parts(
            channels=(*p.channels, CreatorChannel(side)),
            duties=CreatorDuties(side, p.duties),
            ranker=CreatorRanker(p.ranker, p.fuse, side),
            fuse=lifted,
            re_ranker=re_ranker,
        )

    def shown(self, slate: Slate) -> Array:
        """The client showed a slate: it is remembered, its cards leave D_u and count for the quota.
        Returns the item ids that were in D_u until now. While Redis is down the reports wait in
        ``unreported`` and go with the next one."""
        if self.pacer is not None:
            self.pacer.shown(slate.item_id)
        mine = slate.columns.get("from_creator", np.zeros(len(slate), bool))
        user, items = slate.request.user_id, slate.item_id[mine]
        try:
            if self.cascade.parts.exposures is not None:
                self.cascade.shown(slate)
            left = self.regroup.took(user, items)
        except StoreDown:
            self.unreported.append((user, items))
            return items[:0]
        self._report_late()
        return np.asarray(items[left])

    def _report_late(self) -> None:
        """What waited for Redis; each report is held by one thread at a time."""
        while self.unreported:
            try:
                late = self.unreported.popleft()
            except IndexError:
                return  # another thread took the last one
            try:
                self.regroup.took(*late)
            except StoreDown:
                self.unreported.append(late)
                return

    def clear(self, served: Served) -> int:
        """Off the request's path: what a filter turned away, what was withdrawn and what the index
        does not know leaves D_u, so that the pool has room. Returns how many left."""
        held, ids = served.held, self.cascade.parts.index.ids
        requests = [slate.request for slate in served.slates]
        known_row = self.cascade.parts.index.rows(held.item_id)
        lost = [(held.request_row[known_row < 0], held.item_id[known_row < 0]), held.gone]
        for stage in served.trace.stages:
            if stage.name == FILTERS_END:
                break
            lost.append((stage.dropped.request_row, ids[stage.dropped.item_row]))
        n = 0
        for b, request in enumerate(requests):
            mine = np.concatenate([held.item_id[held.request_row == b], held.gone[1]])
            out = np.unique(np.concatenate([item[owner == b] for owner, item in lost]))
            n += int(self.regroup.withdraw(request.user_id, out[np.isin(out, mine)]).sum())
        return n
