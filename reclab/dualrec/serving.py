"""Serving both sides (双侧融合服务): the cascade answers as usual, with D_u read beside it.

read      D_u of the batch's users, one round trip to Redis
channel   D_u is one more retrieval channel, so that every filter of the cascade binds it
duties    pre-ranking and ranking keep it whatever its score: the user-side ranker gives it f
merge     the policy turns f and g into the page; re-ranking keeps its windows and its variety
shown     what was shown leaves D_u, and is counted for the quota

The re-ranker lists the candidates by the policy's score (boost, common score), or lists them by f
and the policy gives places of that list away (quota, weave): reserved cards are not moved by
windows, and those that break one are counted in a note. Without D_u, or without Redis, it is the
cascade unchanged. The cascade is bound to what was read, request by request: nothing is shared.
Chapter 2, section 2.5, figure 2.10.

Simplified: industry reads D_u while retrieval runs; here it is read before, which costs its time.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from reclab.cascade.batch import Batch
from reclab.cascade.pipeline import Cascade
from reclab.cascade.re_ranking.mmr import MMRConfig, dense
from reclab.cascade.re_ranking.windows import broken
from reclab.cascade.stages import Fuser, Predictor, Tiers
from reclab.core.errors import check
from reclab.core.stage import Stage, StageResult
from reclab.core.types import Array, Candidates, Request, Slate, Trace
from reclab.dualrec.merge import Merge, Merged, compared, known
from reclab.dualrec.pacing import Pacer
from reclab.dualrec.regroup import Held, Regroup
from reclab.stores.forward_index import ForwardIndex
from reclab.stores.kv import StoreDown

CHANNEL = "creator_side"
LIFT = np.float32(1e6)  # above every fused score: D_u is not cut off before the policy has spoken
DISPLACED = "displaced by the creator side"
FILTERS_END = "pre_ranking"


@dataclass(frozen=True)
class CreatorSide:
    """D_u of B requests as arrays: ``rows`` (B, m) item rows, -1 padded, best g first; ``g``
    (B, m) float32, and what a quota goes by, ``behind`` (B, m)."""

    rows: Array
    g: Array
    behind: Array | None = None

    def beside(self, candidates: Candidates, values: Array) -> Array:
        """(n,) values of the candidates that are in D_u, NaN for the others."""
        own = self.rows[candidates.request_row] == candidates.item_row[:, None]
        at = own.argmax(1)
        found = np.take_along_axis(values[candidates.request_row], at[:, None], 1)[:, 0]
        return np.where(own[np.arange(len(own)), at], found, np.nan).astype(np.float32)


@dataclass(frozen=True)
class CreatorChannel:
    """D_u as a retrieval channel."""

    side: CreatorSide
    name: str = CHANNEL

    def retrieve(self, batch: Batch, k: int) -> tuple[Array, Array]:
        """(B, k') item rows, -1 padded, and their g."""
        return self.side.rows[:, :k], self.side.g[:, :k]


@dataclass(frozen=True)
class CreatorDuties:
    """Pre-ranking keeps D_u first, then what the cascade's own duties say."""

    side: CreatorSide
    others: Tiers | None = None

    def tiers(self, batch: Batch, candidates: Candidates, score: Array, keep: int) -> Array:
        """(n,) int8, 0 = first."""
        tier = np.ones(len(candidates), np.int8)
        if self.others:
            tier = self.others.tiers(batch, candidates, score, keep)
        tier[np.isfinite(self.side.beside(candidates, self.side.g))] = 0
        return tier


@dataclass(frozen=True)
class CreatorRanker:
    """The user side's ranker, with its fused score and g beside the predictions."""

    ranker: Predictor
    fuse: Fuser
    side: CreatorSide

    @property
    def macs_per_candidate(self) -> int:
        """The user-side ranker's."""
        return self.ranker.macs_per_candidate

    def predict(self, batch: Batch, candidates: Candidates) -> dict[str, Array]:
        """The ranker's targets, ``user_score`` and ``creator_score`` (NaN = not in D_u)."""
        targets = self.ranker.predict(batch, candidates)
        both = {"user_score": self.fuse(targets)}
        return {**targets, **both, "creator_score": self.side.beside(candidates, self.side.g)}


def lifted(targets: dict[str, Array]) -> Array:
    """The score that ranking cuts by: f, and above all others for D_u."""
    return targets["user_score"] + LIFT * np.isfinite(targets["creator_score"])


@dataclass(frozen=True)
class MergeReRank:
    """Re-ranking with the merge policy. Kept cards come in page order with ``rank_score`` (the user
    side's), ``from_creator`` and ``injected``; what lost its place is dropped as displaced."""

    inner: Stage
    policy: Merge
    side: CreatorSide
    config: MMRConfig
    index: ForwardIndex
    done: Callable[[Merged], None]
    name: str = "re_ranking"

    def __call__(self, batch: Batch, candidates: Candidates) -> StageResult:
        table = dense(candidates)
        f = known(_wide(candidates["user_score"], table), table)
        g = _wide(candidates["creator_score"], table)
        alone, plain = self._list(batch, candidates, f, table)
        score = self.policy.scores(f, g)
        if not np.isfinite(g).any():
            order, result = alone, plain
        elif score is not None:
            order, result = self._list(batch, candidates, score, table)
        else:
            order, result = self._given(alone, f, g, candidates, table), plain
        items = np.where(table >= 0, candidates.item_row[table], -1)
        merged = compared(f, g, items, order, alone)
        self.done(merged)
        return self._result(candidates, table, merged, alone, result)

    def _list(
        self, batch: Batch, candidates: Candidates, score: Array, table: Array
    ) -> tuple[Array, StageResult]:
        """(B, K) positions in ``table`` of the inner re-ranker's lists by this score."""
        flat = score[table >= 0].astype(np.float32)
        at = np.arange(len(candidates))
        result = self.inner(batch, candidates.with_columns(rank_score=flat, at=at))
        kept, length = result.kept, int(result.kept.counts().max(initial=1))
        order = np.full((len(table), length), -1)
        place = np.arange(len(kept)) - kept.starts()[:-1][kept.request_row]
        order[kept.request_row, place] = kept["at"] - candidates.starts()[:-1][kept.request_row]
        return order, result

    def _given(
        self, alone: Array, f: Array, g: Array, candidates: Candidates, table: Array
    ) -> Array:
        """(B, K): the policy gives places of the lists ``alone`` away to cards of D_u."""
        k = alone.shape[1]
        by_place = np.where(np.isfinite(f) & np.isfinite(g), -1.0, -np.inf)
        row, place = np.nonzero(alone >= 0)
        by_place[row, alone[row, place]] = k - place
        items = np.where(table >= 0, candidates.item_row[table], -1)
        behind = self.side.behind
        state = None if behind is None else _wide(self.side.beside(candidates, behind), table)
        order = self.policy.order(by_place, g, items, k, state)
        length = (alone >= 0).sum(1)
        return np.where(np.arange(k) < length[:, None], order, -1)

    def _result(
        self, candidates: Candidates, table: Array, merged: Merged, alone: Array, last: StageResult
    ) -> StageResult:
        row, place = np.nonzero(merged.place >= 0)
        chosen = table[row, merged.place[row, place]]
        kept = candidates.take(chosen).with_columns(
            rank_score=candidates["user_score"][chosen],
            from_creator=merged.from_creator[row, place],
            injected=merged.injected[row, place],
        )
        reason = np.zeros(len(candidates), np.int16)
        reason[last.dropped["at"]] = last.dropped["reason"]
        was, slot = np.nonzero(alone >= 0)
        reason[table[was, alone[was, slot]]] = len(last.reasons)
        left = np.ones(len(candidates), bool)
        left[chosen] = False
        dropped = candidates.take(left).with_columns(reason=reason[left])
        notes = (*last.notes, *self._windows(candidates, table, merged))
        return StageResult(kept, dropped, (*last.reasons, DISPLACED), last.cost_mmac, notes)

    def _windows(self, candidates: Candidates, table: Array, merged: Merged) -> tuple[str, ...]:
        """A note on reserved cards that stand closer to their like than the windows allow."""
        if self.policy.scores(np.zeros((0, 1)), np.zeros((0, 1))) is not None:
            return ()
        c, rows = self.config, np.where(merged.place >= 0, merged.items, -1)
        held = [name for name in ("tags", "author_id") if name in self.index]
        item = self.index.get(rows, held)
        bad = np.zeros(rows.shape, bool)
        if "tags" in item and c.max_per_category < c.category_window:
            bad |= broken(item["tags"][..., 0], c.category_window, c.max_per_category)
        if "author_id" in item and c.max_per_creator < c.creator_window:
            bad |= broken(item["author_id"], c.creator_window, c.max_per_creator)
        n = int((bad & merged.injected).sum())
        return (f"{n} cards of the creator side break a window",) if n else ()


class Served(NamedTuple):
    """Answers to a batch: the slates, how they came about, the D_u that was read, and what the
    merge changed (None when nobody had any D_u left after the filters)."""

    slates: list[Slate]
    trace: Trace
    held: Held
    merged: Merged | None


class DualCascade:
    """A live cascade that serves merged pages: ``recommend`` and ``shown`` as ``Cascade`` has them.

    ``pacer`` knows the plans that a quota keeps. Raises ``ConfigError`` for a cascade whose
    channels are merged by calibrated scores, which would cut D_u before it is ranked.
    """

    def __init__(
        self, cascade: Cascade, regroup: Regroup, policy: Merge, pacer: Pacer | None = None
    ) -> None:
        how = cascade.config.merge
        check(how != "score", "DualCascade cascade.config.merge", how, "be a quota", "quota")
        self.cascade, self.regroup, self.policy, self.pacer = cascade, regroup, policy, pacer
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
        return Served(slates, replace(trace, notes=(*notes, *trace.notes)), held, told[0])

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
            return MergeReRank(p.re_ranker(config, index), policy, side, config, index, told)

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
        self.unreported.append((user, items))
        try:
            if self.cascade.parts.exposures is not None:
                self.cascade.shown(slate)
            left = np.zeros(0, bool)
            while self.unreported:
                left = self.regroup.took(*self.unreported[0])
                self.unreported.popleft()
        except StoreDown:
            return items[:0]
        return items[left]

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


def _wide(values: Array, table: Array) -> Array:
    """(n,) values laid out as ``table`` (B, w), NaN where there is none."""
    if not len(values):
        return np.full(table.shape, np.nan)
    return np.where(table >= 0, values[table], np.nan)
