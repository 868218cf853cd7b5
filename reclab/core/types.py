"""What travels through a pipeline: requests, candidates, the slate, and the trace of how it came.

A batch of requests and its candidates are columns of arrays. Candidates of all requests lie one
after the other, ``request_row`` says whose each is (ascending). One request is a batch of one, so
the same code serves both. ``*_id`` is identity, ``*_row`` a position in an array.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from reclab.core.errors import DataError

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class Request:
    """One page asked for by one user. ``history``: item ids seen by the client in this session,
    newest last; None = read the user's history from the feature store as of ``time_ms``."""

    user_id: int
    time_ms: int
    req_id: int = 0
    n: int = 10
    network: int = 0
    history: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.n <= 100:
            raise DataError(f"Request.n must be in 1..100, got {self.n!r} (typical: 10)")


@dataclass(frozen=True)
class Candidates:
    """Items under consideration, columnar: ``item_row`` (n,) positions in the forward index,
    ``request_row`` (n,) ascending positions in the batch, and named columns of length n.

    >>> c = Candidates(2, np.array([0, 0, 1]), np.array([4, 9, 4])).with_columns(score=np.ones(3))
    >>> c.counts().tolist(), c.take(c.item_row == 4).request_row.tolist()
    ([2, 1], [0, 1])
    """

    n_requests: int
    request_row: Array
    item_row: Array
    columns: Mapping[str, Array] = field(default_factory=dict)

    @staticmethod
    def empty(n_requests: int) -> "Candidates":
        """No candidates yet, for a batch of ``n_requests``."""
        return Candidates(n_requests, np.zeros(0, np.int64), np.zeros(0, np.int64))

    def __len__(self) -> int:
        return len(self.item_row)

    def __getitem__(self, name: str) -> Array:
        if name not in self.columns:
            has = ", ".join(self.columns) or "none"
            raise DataError(f"candidates carry no column {name!r} (they carry: {has})")
        return self.columns[name]

    def take(self, rows: Array) -> "Candidates":
        """Those at ``rows`` (ascending positions, or a boolean mask)."""
        if rows.dtype == bool:
            rows = rows.nonzero()[0]
        columns = {name: values.take(rows, 0) for name, values in self.columns.items()}
        request_row, item_row = self.request_row.take(rows), self.item_row.take(rows)
        return Candidates(self.n_requests, request_row, item_row, columns)

    def with_columns(self, **new: Array) -> "Candidates":
        """A copy with columns added or replaced."""
        columns = {**self.columns, **new}
        return Candidates(self.n_requests, self.request_row, self.item_row, columns)

    def counts(self) -> Array:
        """(n_requests,) candidates of each request."""
        return np.bincount(self.request_row, minlength=self.n_requests)

    def starts(self) -> Array:
        """(n_requests + 1,) where each request's candidates begin; the last entry is the end."""
        return np.searchsorted(self.request_row, np.arange(self.n_requests + 1))

    def order_by(self, score: Array) -> Array:
        """(n,) positions sorted by request, then best score first; ties keep their order.
        NaN sorts last."""
        if score.dtype == np.float32 and self.n_requests * len(score) < 1 << 30:
            return _packed_order(self.request_row, score)
        score = np.asarray(score, np.float64)
        if self.n_requests == 1:
            return np.argsort(-score, kind="stable")
        return np.lexsort((-score, self.request_row))

    def rank_by(self, score: Array) -> Array:
        """(n,) place of each candidate within its request, 0 = best score."""
        order = self.order_by(score)
        rank = np.empty(len(order), np.int64)
        rank[order] = np.arange(len(order)) - self.starts()[:-1][self.request_row[order]]
        return rank


def _packed_order(request_row: Array, score: Array) -> Array:
    """``order_by`` for float32 scores: request, falling score and position in one number, so that
    one plain sort, several times faster than a sort of columns, gives the order."""
    bits = (score + np.float32(0)).view(np.int32)  # + 0: -0.0 and 0.0 are equal
    rising = bits ^ ((bits >> 31) & np.int32(0x7FFFFFFF))  # the order of int32 = of the floats
    falling = np.where(np.isnan(score), np.int64(0xFFFFFFFF), np.int64(0x7FFFFFFF) - rising)
    slot_bits = len(score).bit_length()
    key = (request_row << 32 | falling) << slot_bits | np.arange(len(score))
    key.sort()
    return key & ((1 << slot_bits) - 1)


@dataclass(frozen=True)
class StageTrace:
    """What one stage did: names, sizes, measured ms, cost in millions of multiply-adds, and the
    dropped candidates with their ``reason`` column (index into ``reasons``)."""

    name: str
    n_in: int
    n_kept: int
    ms: float
    cost_mmac: float
    dropped: Candidates
    reasons: tuple[str, ...]

    def reason_counts(self) -> dict[str, int]:
        """How many were dropped for each reason."""
        if not len(self.dropped):
            return {}
        counts = np.bincount(self.dropped["reason"], minlength=len(self.reasons))
        return {r: int(n) for r, n in zip(self.reasons, counts, strict=True) if n}


@dataclass(frozen=True)
class Trace:
    """The path of a batch through a pipeline, stage by stage, and notes on fallbacks taken."""

    stages: tuple[StageTrace, ...]
    notes: tuple[str, ...] = ()

    @property
    def ms(self) -> float:
        """Measured milliseconds of all stages."""
        return sum(stage.ms for stage in self.stages)

    @property
    def cost_mmac(self) -> float:
        """Cost of all stages in millions of multiply-adds."""
        return sum(stage.cost_mmac for stage in self.stages)

    def why_dropped(self, item_row: int, request_row: int = 0) -> tuple[str, str] | None:
        """(stage, reason) of the last drop of an item; None when it was never dropped."""
        for stage in reversed(self.stages):
            lost = stage.dropped
            hit = np.flatnonzero((lost.item_row == item_row) & (lost.request_row == request_row))
            if len(hit):
                return stage.name, stage.reasons[int(lost["reason"][hit[0]])]
        return None

    def table(self) -> str:
        """Text table: stage, in, kept, and why the others left (no timings: it is compared)."""
        lines = [f"{'stage':<16}{'in':>9}{'kept':>9}  dropped because"]
        for s in self.stages:
            why = ", ".join(f"{r} {n}" for r, n in s.reason_counts().items()) or "-"
            lines.append(f"{s.name:<16}{s.n_in:>9}{s.n_kept:>9}  {why}")
        return "\n".join([*lines, *(f"note: {note}" for note in self.notes)])


@dataclass(frozen=True)
class Slate:
    """The answer to one request: best first. ``columns`` holds what is known of each card
    (scores, probabilities, channels)."""

    request: Request
    item_id: Array
    item_row: Array
    columns: Mapping[str, Array] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.item_id)


def slates_of(
    requests: Sequence[Request], kept: Candidates, item_ids: Array, cut: bool = True
) -> list[Slate]:
    """One ``Slate`` a request from the candidates left, in their order; ``item_ids[row]`` names."""
    starts = kept.starts()
    slates = []
    for row, request in enumerate(requests):
        stop = min(starts[row + 1], starts[row] + request.n) if cut else starts[row + 1]
        mine = slice(starts[row], stop)
        columns = {name: values[mine] for name, values in kept.columns.items()}
        rows = kept.item_row[mine]
        slates.append(Slate(request, item_ids[rows], rows, columns))
    return slates
