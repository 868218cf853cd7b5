"""The contract of a stage: ``stage(batch, candidates) -> StageResult(kept, dropped)``.

Nothing vanishes: every candidate that leaves is in ``dropped`` with a reason.
"""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from reclab.core.types import Array, Candidates


@dataclass(frozen=True)
class StageResult:
    """What a stage kept and dropped. ``dropped["reason"]`` indexes ``reasons``; ``cost_mmac`` is
    the arithmetic spent, in millions of multiply-adds; ``notes`` say which fallback was taken."""

    kept: Candidates
    dropped: Candidates
    reasons: tuple[str, ...] = ()
    cost_mmac: float = 0.0
    notes: tuple[str, ...] = ()


class Stage(Protocol):
    """One box of the diagram. ``batch`` is whatever the pipeline prepared for its requests."""

    name: str

    def __call__(self, batch: Any, candidates: Candidates) -> StageResult: ...


def split(candidates: Candidates, keep: Array, reason: str, cost_mmac: float = 0.0) -> StageResult:
    """Keep where the mask is true, drop the rest for one reason.

    >>> c = Candidates(1, np.zeros(3, int), np.array([4, 9, 2]))
    >>> result = split(c, np.array([True, False, True]), "seen")
    >>> result.kept.item_row.tolist(), result.dropped.item_row.tolist(), result.reasons
    ([4, 2], [9], ('seen',))
    """
    kept = candidates if keep.all() else candidates.take(keep)
    return StageResult(kept, _for_one_reason(candidates.take(~keep)), (reason,), cost_mmac)


def _for_one_reason(lost: Candidates) -> Candidates:
    """The dropped candidates, all for the first and only reason."""
    return lost.with_columns(reason=np.zeros(len(lost), np.int16))


def keep_top(
    candidates: Candidates, score: Array, n: int, reason: str, cost_mmac: float = 0.0
) -> StageResult:
    """Keep each request's ``n`` best by score, best first; drop the rest for one reason."""
    order = candidates.order_by(score)
    if candidates.n_requests == 1:
        best, rest = order[:n], order[n:]
    else:
        place = np.arange(len(order)) - candidates.starts()[:-1][candidates.request_row]
        best, rest = order[place < n], order[place >= n]
    lost = _for_one_reason(candidates.take(rest))
    return StageResult(candidates.take(best), lost, (reason,), cost_mmac)
