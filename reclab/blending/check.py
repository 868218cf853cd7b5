"""Step 4 of figure 2.1: what the businesses sent is checked before anybody builds on it.

    dropped, with the reason    unknown item, no finite number, over the limit, listed twice,
                                offered by another business too

Of an item that several businesses offer, the one that ranks it best keeps it. An answer of which
more than half had to be dropped counts as a failure of its business, or one that returns garbage
would be asked for ever.

Simplified: industry also checks each item against the platform's safety service here.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from reclab.blending.fan_out import Visit
from reclab.blending.lane import Lane
from reclab.blending.page import RowLookup
from reclab.core.stage import StageResult
from reclab.core.types import Array, Candidates

REASONS = (
    "unknown item",
    "no finite number",
    "over the limit",
    "listed twice",
    "offered by another business",
)
UNKNOWN, NO_NUMBER, OVER, TWICE, ELSEWHERE = range(len(REASONS))


def reason_of(candidates: Candidates, limit: Array, said: Array) -> Array:
    """(n,) why each candidate is dropped, -1 = it stays. ``limit`` (n,) candidates its business was
    asked for; ``said`` (n,) False where a number that the business gave is not finite."""
    reason = np.full(len(candidates), -1, np.int16)
    for faulty, why in (
        (candidates["place"] >= limit, OVER),
        (~said, NO_NUMBER),
        (candidates.item_row < 0, UNKNOWN),
    ):
        reason[faulty] = why
    good = np.flatnonzero(reason < 0)
    if _all_different(candidates, good):  # the common case, without a sort by four columns
        return reason
    owner, item = candidates.request_row[good], candidates.item_row[good]
    business, place = candidates["business"][good], candidates["place"][good]
    order = np.lexsort((business, place, item, owner))
    again = np.zeros(len(order), bool)
    owner, item, business = owner[order], item[order], business[order]
    again[1:] = (owner[1:] == owner[:-1]) & (item[1:] == item[:-1])
    keeper = business[np.maximum.accumulate(np.where(again, 0, np.arange(len(order))))]
    lost = good[order[again]]
    reason[lost] = np.where(business[again] == keeper[again], TWICE, ELSEWHERE)
    return reason


def _all_different(candidates: Candidates, rows: Array) -> bool:
    """Whether no item comes twice in a request, among candidates ``rows``."""
    item = candidates.item_row[rows]
    key = candidates.request_row[rows] * (item.max(initial=0) + 1) + item
    key.sort()
    return bool((key[1:] != key[:-1]).all())


def finite(visit: Visit, candidates: Candidates, lanes: Sequence[Lane]) -> Array:
    """(n,) whether all numbers that a candidate's business gave are finite; NaN in a column that it
    does not have is no fault."""
    floats = {n: values for n, values in candidates.columns.items() if values.dtype.kind == "f"}
    known = {name: np.isfinite(values) for name, values in floats.items()}
    fine, place = known["score"], {lane.name: n for n, lane in enumerate(lanes)}
    some = [name for name, values in known.items() if not values.all()]
    for call in visit.calls if some else []:
        if call.offers is not None:
            mine = candidates["business"] == place[call.lane.name]
            for name in call.offers.columns:
                fine = fine & (~mine | known[name])
    return fine


@dataclass(frozen=True)
class Check:
    """Drop what cannot be shown, and tell each business's breaker how good its answer was. What is
    kept gets the features ``carry`` of the index, for the blending."""

    lanes: Sequence[Lane]
    index: RowLookup
    carry: tuple[str, ...] = ()
    name: str = "check"

    def __call__(self, visit: Visit, candidates: Candidates) -> StageResult:
        limits = np.array([lane.k for lane in self.lanes])
        business = candidates["business"]
        said = finite(visit, candidates, self.lanes)
        reason = reason_of(candidates, limits[business], said)
        self._judge(visit, business, reason)
        lost = (reason >= 0).nonzero()[0]
        dropped = candidates.take(lost).with_columns(reason=reason[lost])
        kept = candidates.take(reason < 0) if len(lost) else candidates
        if self.carry:
            kept = kept.with_columns(**self.index.get(kept.item_row, self.carry))
        return StageResult(kept, dropped, REASONS)

    def _judge(self, visit: Visit, business: Array, reason: Array) -> None:
        """The share of bad candidates of every answer: another business's claim to an item is not
        its fault, nor are too many candidates, of which the first are used."""
        if reason.max(initial=-1) < 0:
            for call in visit.calls:
                if call.offers is not None:
                    call.refuse(0.0, "", call.lane.now_ms())
            return
        faulty = (reason == UNKNOWN) | (reason == NO_NUMBER) | (reason == TWICE)
        bad = np.bincount(business[faulty], minlength=len(self.lanes))
        counted = np.bincount(business[reason != OVER], minlength=len(self.lanes))
        place = {lane.name: n for n, lane in enumerate(self.lanes)}
        for call in visit.calls:
            if call.offers is not None:
                n, of = int(bad[place[call.lane.name]]), int(counted[place[call.lane.name]])
                call.refuse(n / max(of, 1), f"{n} of {of} candidates unusable", call.lane.now_ms())
