"""The two scoring stages and the last resort: thin wrappers that hold a model and a size."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from reclab.cascade.batch import Batch
from reclab.core.stage import StageResult, keep_top
from reclab.core.types import Array, Candidates


class Scorer(Protocol):
    """A pre-ranker: one score a candidate, cheap."""

    macs_per_candidate: int

    def score(self, batch: Batch, candidates: Candidates) -> Array: ...


class Predictor(Protocol):
    """A ranker: one prediction a target and candidate."""

    macs_per_candidate: int

    def predict(self, batch: Batch, candidates: Candidates) -> dict[str, Array]: ...


class Fuser(Protocol):
    """Targets -> one score."""

    def __call__(self, targets: dict[str, Array]) -> Array: ...


def _finite(score: Array, who: str) -> tuple[Array, tuple[str, ...]]:
    """NaN and infinite scores become the worst score, and a note says how many they were."""
    bad = ~np.isfinite(score)
    if not bad.any():
        return score, ()
    note = f"{who} gave no finite score to {int(bad.sum())} of {len(bad)} candidates: ranked last"
    return np.where(bad, -np.inf, score), (note,)


class Tiers(Protocol):
    """Who goes first, whatever the score: (n,) small whole numbers, 0 = first."""

    def tiers(self, batch: Batch, candidates: Candidates, score: Array, keep: int) -> Array: ...


@dataclass(frozen=True)
class PreRankStage:
    """Pre-ranking (粗排): the cheap model's ``keep`` best; duties may put others first."""

    model: Scorer
    keep: int
    duties: Tiers | None = None
    name: str = "pre_ranking"

    def __call__(self, batch: Batch, candidates: Candidates) -> StageResult:
        score, notes = _finite(self.model.score(batch, candidates), "the pre-ranker")
        scored = candidates.with_columns(pre_rank_score=score)
        cost = len(candidates) * self.model.macs_per_candidate / 1e6
        if self.duties:
            tier = self.duties.tiers(batch, candidates, score, self.keep)
            place = candidates.rank_by(score)
            score = -(tier * np.float64(len(candidates)) + place)
        return replace(keep_top(scored, score, self.keep, "low pre-rank", cost), notes=notes)


@dataclass(frozen=True)
class RankStage:
    """Ranking (精排): the dear model's predictions, fused to one score, the ``keep`` best."""

    model: Predictor
    fuse: Fuser
    keep: int
    name: str = "ranking"

    def __call__(self, batch: Batch, candidates: Candidates) -> StageResult:
        targets = self.model.predict(batch, candidates)
        score, notes = _finite(self.fuse(targets), "the ranker")
        scored = candidates.with_columns(**targets, rank_score=score)
        cost = len(candidates) * self.model.macs_per_candidate / 1e6
        return replace(keep_top(scored, score, self.keep, "low rank", cost), notes=notes)


def top_up(
    batch: Batch, kept: Candidates, hot_pool: Callable[[], Array]
) -> tuple[Candidates, tuple[str, ...]]:
    """Fill short lists from the hot pool (兜底): unseen items first, then seen ones.

    ``hot_pool()`` gives (B, m) item rows, best first, -1 = none; it is only asked when a list is
    short. Items that came this way have no scores (NaN).
    """
    wanted = np.array([request.n for request in batch.requests])
    counts = kept.counts()
    short = np.flatnonzero(counts < wanted)
    if not len(short):
        return kept, ()
    hot = hot_pool()
    rows, owners, notes = [], [], []
    for b in short:
        have = kept.item_row[kept.request_row == b]
        pool = hot[b][hot[b] >= 0]
        pool = pool[~np.isin(pool, have)]
        seen = np.isin(pool, batch.seen_rows[batch.seen_starts[b] : batch.seen_starts[b + 1]])
        pool = np.concatenate([pool[~seen], pool[seen]])[: wanted[b] - counts[b]]
        rows.append(pool)
        owners.append(np.full(len(pool), b))
        notes.append(f"request {b}: {counts[b]} candidates left, {len(pool)} from the hot pool")
    return _append(kept, np.concatenate(owners), np.concatenate(rows)), tuple(notes)


def _append(kept: Candidates, owner: Array, item_row: Array) -> Candidates:
    """Candidates with more at the end of each request; unknown columns are NaN or 0."""
    request_row = np.concatenate([kept.request_row, owner])
    order = np.argsort(request_row, kind="stable")
    columns = {}
    for name, values in kept.columns.items():
        gap = np.nan if values.dtype.kind == "f" else 0
        more = np.full((len(owner), *values.shape[1:]), gap, values.dtype)
        columns[name] = np.concatenate([values, more])[order]
    rows = np.concatenate([kept.item_row, item_row])[order]
    return Candidates(kept.n_requests, request_row[order], rows, columns)
