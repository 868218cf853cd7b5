"""Step 5 of figure 2.1: the candidates are handed to blending (混排服务), and its page is checked.

    a function    blend(request, candidates) -> positions, first card first: called for each request
    a service     service.blend(candidates) -> (kept, trace): called once for all of them

A position -1, or a number that is missing among a service's ``slot``, leaves that slot of the page
to the last-resort pool. Who raises, points outside the candidates, or shows a card twice loses its
say for these pages: a note says why, and the fallback takes its place, a function that obeys the
same rules; if that fails too, ``weave``. What a service adds to its cards stays with them.

Simplified: industry calls the blending service by RPC, with a deadline of its own.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from reclab.blending.experiment import Blend, BlendService
from reclab.blending.fan_out import Visit
from reclab.blending.page import weave
from reclab.core.errors import DataError
from reclab.core.stage import StageResult
from reclab.core.types import Array, Candidates, Request


@dataclass(frozen=True)
class BlendPages:
    """Each request's candidates go to the blending of its arm; what is not chosen is dropped."""

    blend: Blend | BlendService
    fallback: Blend = weave
    name: str = "blend"

    def __call__(self, visit: Visit, candidates: Candidates) -> StageResult:
        shown, pages, notes = np.zeros(len(candidates), bool), [], []
        groups = self._by_blend(visit)
        for blend, rows in groups:
            mine, at = candidates, np.arange(len(candidates))
            if len(groups) > 1:
                at = np.flatnonzero(np.isin(candidates.request_row, rows))
                mine = candidates.take(at)
            page, positions, faults = blended(blend, self.fallback, visit, mine, rows)
            shown[at[positions]] = True
            pages.append(page)
            notes += faults
        lost = candidates.take(~shown)
        lost = lost.with_columns(reason=np.zeros(len(lost), np.int16))
        return StageResult(together(pages), lost, ("not chosen",), notes=tuple(notes))

    def _by_blend(self, visit: Visit) -> list[tuple[Blend | BlendService, list[int]]]:
        """Every blending in use, and the requests that go to it."""
        found: dict[int, tuple[Blend | BlendService, list[int]]] = {}
        for row, arm in enumerate(visit.arms):
            blend = self.blend if arm is None or arm.blend is None else arm.blend
            found.setdefault(id(blend), (blend, []))[1].append(row)
        return [*found.values()]


def blended(
    blend: Blend | BlendService,
    fallback: Blend,
    visit: Visit,
    candidates: Candidates,
    rows: Sequence[int],
) -> tuple[Candidates, Array, list[str]]:
    """The cards of these requests' pages in their order, their positions, and what went wrong."""
    notes: list[str] = []
    if hasattr(blend, "blend"):
        try:
            kept, trace = blend.blend(candidates)
            positions = positions_of(kept, candidates)
            if "slot" not in kept.columns:
                place = np.arange(len(kept)) - kept.starts()[kept.request_row]
                kept = kept.with_columns(slot=place)
            visit.inner.append(trace)
            return kept, positions, notes
        except Exception as error:  # whatever it was, it costs the service its say, never the page
            notes.append(f"blending failed ({type(error).__name__}: {error}): the fallback")
            blend = fallback
    starts, none = candidates.starts(), np.zeros(0, np.int64)
    chosen, slots = [none], [none]
    for row in rows:
        mine = _slice(candidates, int(starts[row]), int(starts[row + 1]))
        page, faults = choose((blend, fallback, weave), visit.requests[row], mine)
        slots.append(np.flatnonzero(page >= 0))
        chosen.append(starts[row] + page[page >= 0])
        notes += [f"request {row}: {fault}" for fault in faults]
    positions = np.concatenate(chosen)
    kept = candidates.take(positions).with_columns(slot=np.concatenate(slots))
    return kept, positions, notes


def _slice(candidates: Candidates, start: int, end: int) -> Candidates:
    """One request's candidates, as a batch of one; views, not copies."""
    columns = {name: values[start:end] for name, values in candidates.columns.items()}
    owner = np.zeros(end - start, np.int64)
    return Candidates(1, owner, candidates.item_row[start:end], columns)


def choose(
    blends: Sequence[Blend], request: Request, candidates: Candidates
) -> tuple[Array, list[str]]:
    """(k,) positions of the first of these functions that gives valid ones, -1 = an empty slot,
    and what was wrong with those before it."""
    faults = []
    for blend in blends:
        try:
            positions = np.asarray(blend(request, candidates))
            fault = _fault(positions, len(candidates))
        except Exception as error:  # any error of a blending function costs its say, never the page
            fault = f"{type(error).__name__}: {error}"
        if not fault:
            return positions[: request.n].astype(np.int64), faults
        faults.append(f"blending failed ({fault}): the fallback")
    return np.zeros(0, np.int64), faults


def _fault(positions: Array, n: int) -> str:
    if positions.ndim != 1 or (positions.dtype.kind not in "iu" and len(positions)):
        return f"positions must be whole numbers of shape (k,), got {positions.dtype}"
    if len(positions) and not -1 <= positions.min() <= positions.max() < n:
        return f"positions must be in -1..{n - 1}, got {positions.min()}..{positions.max()}"
    cards = positions[positions >= 0]
    return "" if len(np.unique(cards)) == len(cards) else "a position comes twice"


def positions_of(kept: Candidates, given: Candidates) -> Array:
    """(k,) where each kept card was among the ``given``. Raises ``DataError`` for a card that was
    not among them, is shown twice, or stands out of its request's turn."""
    high = int(given.item_row.max(initial=0)) + 1
    key, had = (c.request_row * high + c.item_row for c in (kept, given))
    order = np.argsort(had)
    at = order[np.searchsorted(had, key, sorter=order).clip(max=max(len(had) - 1, 0))]
    if len(key) and (not len(had) or (had[at] != key).any()):
        raise DataError("a card on the page was not among the candidates")
    if len(np.unique(at)) < len(at) or (np.diff(kept.request_row) < 0).any():
        raise DataError("a card is on a page twice, or the pages are mixed up")
    return at


def together(pages: Sequence[Candidates]) -> Candidates:
    """Pages of different requests as one set; a column that one lacks is NaN, or -1, there."""
    if len(pages) == 1:
        return pages[0]
    kinds = {name: values.dtype for page in pages for name, values in page.columns.items()}
    owner = np.concatenate([page.request_row for page in pages])
    columns = {
        name: np.concatenate([_column(page, name, dtype) for page in pages])
        for name, dtype in kinds.items()
    }
    rows = np.concatenate([page.item_row for page in pages])
    order = np.argsort(owner, kind="stable")
    return Candidates(pages[0].n_requests, owner, rows, columns).take(order)


def _column(page: Candidates, name: str, dtype: "np.dtype") -> Array:
    if name in page.columns:
        return page[name]
    return np.full(len(page), np.nan if dtype.kind == "f" else -1, dtype)
