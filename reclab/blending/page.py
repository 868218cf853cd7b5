"""Step 5 of figure 2.1: the blending function's page, checked, and filled from the last resort.

    blend(request, candidates) -> positions      any function; ``weave`` where none is given
    page = its positions, in order, each once and inside the page, then the last-resort pool (兜底)

A blending function that raises or points outside the candidates loses its say for this page: a
note says why, and ``weave`` takes its place. The page always has the length asked for.

Simplified: industry keeps a pool for each region and age, refreshed every few minutes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from reclab.blending.experiment import Blend
from reclab.blending.fan_out import Visit
from reclab.core.errors import check
from reclab.core.stage import StageResult
from reclab.core.types import Array, Candidates, Request

LONGEST = 100  # cards of a page, by Request.n


def weave(request: Request, candidates: Candidates) -> Array:
    """Weave by business: everyone's first, everyone's second, and so on.

    >>> business, place = np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1])
    >>> both = Candidates(1, np.zeros(4, int), np.arange(4))
    >>> weave(Request(1, 0, n=3), both.with_columns(business=business, place=place)).tolist()
    [0, 2, 1]
    """
    return np.lexsort((candidates["business"], candidates["place"]))[: request.n]


@dataclass(frozen=True)
class BlendPages:
    """Hand each request's candidates to its blending function (混排服务); what is not chosen is
    dropped."""

    blend: Blend
    name: str = "blend"

    def __call__(self, visit: Visit, candidates: Candidates) -> StageResult:
        starts, chosen, notes = candidates.starts(), [], []
        for row, (request, arm) in enumerate(zip(visit.requests, visit.arms, strict=True)):
            blend = self.blend if arm is None or arm.blend is None else arm.blend
            mine = _slice(candidates, int(starts[row]), int(starts[row + 1]))
            positions, fault = choose(blend, request, mine)
            chosen.append(starts[row] + positions)
            notes += [f"request {row}: {fault}: woven by business instead"] if fault else []
        taken = np.concatenate([np.zeros(0, np.int64), *chosen])
        rest = np.ones(len(candidates), bool)
        rest[taken] = False
        lost = candidates.take(rest)
        lost = lost.with_columns(reason=np.zeros(len(lost), np.int16))
        return StageResult(candidates.take(taken), lost, ("not chosen",), notes=tuple(notes))


def _slice(candidates: Candidates, start: int, end: int) -> Candidates:
    """One request's candidates, as a batch of one; views, not copies."""
    columns = {name: values[start:end] for name, values in candidates.columns.items()}
    owner = np.zeros(end - start, np.int64)
    return Candidates(1, owner, candidates.item_row[start:end], columns)


def choose(blend: Blend, request: Request, candidates: Candidates) -> tuple[Array, str]:
    """(k,) valid positions, and what was wrong with the blending function's own."""
    try:
        positions = np.asarray(blend(request, candidates))
        fault = _fault(positions, len(candidates))
    except Exception as error:  # any error of a blending function costs its say, never the page
        fault = f"{type(error).__name__}: {error}"
    if fault:
        return weave(request, candidates), f"the blending function failed ({fault})"
    return positions[: request.n].astype(np.int64), ""


def _fault(positions: Array, n: int) -> str:
    if positions.ndim != 1 or (positions.dtype.kind not in "iu" and len(positions)):
        return f"positions must be whole numbers of shape (k,), got {positions.dtype}"
    if len(positions) and not 0 <= positions.min() <= positions.max() < n:
        return f"positions must be in 0..{n - 1}, got {positions.min()}..{positions.max()}"
    return "" if len(np.unique(positions)) == len(positions) else "a position comes twice"


class RowLookup(Protocol):
    """Item ids <-> rows, as the forward index has them: -1 for an id it does not know."""

    @property
    def ids(self) -> Array: ...

    def rows(self, ids: Array) -> Array: ...


class LastResort:
    """Items that are shown when nothing better has come: at least a whole page of them."""

    def __init__(self, item_ids: Sequence[int] | Array, index: RowLookup) -> None:
        ids = np.array([*dict.fromkeys(np.asarray(item_ids).tolist())], np.int64)
        rows = index.rows(ids)
        self.rows = rows[rows >= 0]
        enough = f"hold at least {LONGEST} different items of the index, for the longest page"
        good = "the 500 most popular"
        check(len(self.rows) >= LONGEST, "last-resort pool", len(self.rows), enough, good)

    def fill(self, rows: Array, n: int) -> Array:
        """(k,) rows of a page -> (n,): those, cut to n, then the pool's first others."""
        if len(rows) >= n:
            return rows[:n]
        have = {*rows.tolist()}
        more = [row for row in self.rows[: n + len(rows)].tolist() if row not in have]
        return np.concatenate([rows, np.array(more[: n - len(rows)], np.int64)])
