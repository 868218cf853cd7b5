"""Merge stage (融合重排): re-ranking in a cascade, with the merge policy.

The inner re-ranker lists the candidates by the policy's score (boost, common score), or lists them
by f and the policy gives places of that list away (quota, weave). Reserved cards are not moved by
windows; those that break one are counted in a note.
Chapter 2, section 2.5.

Simplified: industry re-ranks both sides jointly, with the windows as constraints of the merge.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from reclab.cascade.batch import Batch
from reclab.cascade.re_ranking.mmr import MMRConfig, dense
from reclab.cascade.re_ranking.windows import broken
from reclab.core.stage import Stage, StageResult
from reclab.core.types import Array, Candidates
from reclab.dualrec.creator_candidates import CreatorSide
from reclab.dualrec.merge import Merge, Merged, compared, known
from reclab.stores.forward_index import ForwardIndex

DISPLACED = "displaced by the creator side"


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
    compare: bool = True
    name: str = "re_ranking"

    def __call__(self, batch: Batch, candidates: Candidates) -> StageResult:
        table = dense(candidates)
        f = known(_wide(candidates["user_score"], table), table)
        g = _wide(candidates["creator_score"], table)
        score = self.policy.scores(f, g)
        alone = order = last = None
        if self.compare or score is None:
            alone, last = self._list(batch, candidates, f, table)
            order = alone
        if score is not None and (alone is None or np.isfinite(g).any()):
            order, last = self._list(batch, candidates, score, table)
        elif np.isfinite(g).any():
            order = self._given(alone, f, g, candidates, table)
        items = np.where(table >= 0, candidates.item_row[table], -1)
        merged = compared(f, g, items, order, order if alone is None else alone)
        if alone is not None:
            self.done(merged)
        return self._result(candidates, table, merged, alone, last, score is None)

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
        self,
        candidates: Candidates,
        table: Array,
        merged: Merged,
        alone: Array | None,
        last: StageResult,
        given: bool,
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
        if alone is not None:
            was, slot = np.nonzero(alone >= 0)
            reason[table[was, alone[was, slot]]] = len(last.reasons)
        left = np.ones(len(candidates), bool)
        left[chosen] = False
        dropped = candidates.take(left).with_columns(reason=reason[left])
        notes = last.notes
        if given and merged.injected.any():
            notes += self._windows(merged)
        return StageResult(kept, dropped, (*last.reasons, DISPLACED), last.cost_mmac, notes)

    def _windows(self, merged: Merged) -> tuple[str, ...]:
        """A note on reserved cards that stand closer to their like than the windows allow."""
        c, rows = self.config, merged.items
        held = [name for name in ("tags", "author_id") if name in self.index]
        item = self.index.get(rows, held)
        bad = np.zeros(rows.shape, bool)
        if "tags" in item and c.max_per_category < c.category_window:
            bad |= broken(item["tags"][..., 0], c.category_window, c.max_per_category)
        if "author_id" in item and c.max_per_creator < c.creator_window:
            bad |= broken(item["author_id"], c.creator_window, c.max_per_creator)
        n = int((bad & merged.injected).sum())
        return (f"{n} cards of the creator side break a window",) if n else ()


def _wide(values: Array, table: Array) -> Array:
    """(n,) values laid out as ``table`` (B, w), NaN where there is none."""
    if not len(values):
        return np.full(table.shape, np.nan)
    return np.where(table >= 0, values[table], np.nan)
