"""Steps 2 and 3 of figure 2.1: every business is asked at once, and the answers are awaited.

    a business has until   min(its own deadline, the page's deadline - what the last steps need)
    early close            once a share e of the calls has ended, the rest has g ms more
    hedge                  a call later than most is sent a second time (hedge.py)

Probes of a half-open breaker are sent but not counted: a business that still hangs costs the page
g ms, not its deadline.

Simplified: industry sets deadlines by percentiles measured for each business and hour.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue

import numpy as np

from reclab.blending.blending_pb2 import Ask
from reclab.blending.experiment import Arm
from reclab.blending.lane import Attempt, Call, Lane
from reclab.blending.messages import encode_ask
from reclab.blending.rpc import Read
from reclab.core.stage import StageResult
from reclab.core.types import Array, Candidates, Request

FAR = float("inf")


@dataclass
class Visit:
    """Requests on their way through the Router together. ``arms`` of their experiment, if there is
    one; ``began_ms`` when the first of them came in (absolute); ``on_sent`` is called once the
    businesses have been asked."""

    requests: tuple[Request, ...]
    began_ms: float
    arms: tuple[Arm | None, ...]
    on_sent: Callable[[], None] = lambda: None
    calls: list[Call] = field(default_factory=list)
    arrived: "SimpleQueue[tuple[Call, Attempt, Read]]" = field(default_factory=SimpleQueue)
    _asks: dict[tuple[bytes, int], Ask] = field(default_factory=dict)

    def send(self, call: Call) -> None:
        """Begin an attempt. The same message goes to all who are asked for the same."""
        key = call.rows.tobytes(), call.lane.k
        if key not in self._asks:
            mine = [self.requests[row] for row in call.rows.tolist()]
            self._asks[key] = encode_ask(mine, call.lane.k)
        call.lane.send(call, self._asks[key], self.arrived)


@dataclass(frozen=True)
class Dispatch:
    """Ask the businesses in parallel (请求分发)."""

    lanes: Sequence[Lane]
    limit_ms: Mapping[str, float]
    """ms since the request came in until which each business may answer"""
    name: str = "dispatch"

    def __call__(self, visit: Visit, candidates: Candidates) -> StageResult:
        for lane in self.lanes:
            rows = _rows_of(lane.name, visit.arms)
            if len(rows):
                call = lane.open_call(rows, visit.began_ms + self.limit_ms[lane.name])
                visit.calls.append(call)
                if call.waiting:
                    visit.send(call)
        visit.on_sent()
        refused = [call.lane.name for call in visit.calls if not call.waiting]
        notes = (f"not asked, circuit breaker open: {', '.join(refused)}",) if refused else ()
        return StageResult(candidates, candidates, notes=notes)


def _rows_of(business: str, arms: Sequence[Arm | None]) -> Array:
    """The requests for which a business is asked."""
    asked = [arm is None or arm.businesses is None or business in arm.businesses for arm in arms]
    return np.flatnonzero(asked)


@dataclass(frozen=True)
class Collect:
    """Wait for the answers, and put them into one set (结果聚合), as they are: unchecked.

    Candidates carry ``business`` (int8, position among the lanes), ``place`` (int32, rank in its
    answer), ``item_id``, ``score`` and what else the businesses say (float32, NaN = it does not);
    ``item_row`` is -1 where ``rows_of`` knows no such item."""

    lanes: Sequence[Lane]
    rows_of: Callable[[Array], Array]
    enough: float
    grace_ms: float
    now_ms: Callable[[], float]
    name: str = "answers"

    def __call__(self, visit: Visit, candidates: Candidates) -> StageResult:
        wait(visit, self.enough, self.grace_ms, self.now_ms)
        business = {lane.name: place for place, lane in enumerate(self.lanes)}
        answered = [call for call in visit.calls if call.offers is not None]
        found = _united(answered, business, len(visit.requests), self.rows_of)
        notes = [
            f"{call.lane.name}: {attempt.outcome}: {attempt.note}"
            for call in visit.calls
            if call.offers is None
            for attempt in call.attempts
        ]
        return StageResult(found, found.take(np.zeros(len(found), bool)), notes=tuple(notes))


def wait(visit: Visit, enough: float, grace_ms: float, now_ms: Callable[[], float]) -> None:
    """Until every call has ended, enough have, or the deadlines have passed."""
    firm = [call for call in visit.calls if call.attempts and not call.probe]
    needed, close_ms = np.ceil(enough * len(firm)), FAR
    while waiting := [call for call in visit.calls if call.waiting]:
        now = now_ms()
        if not visit.arrived.empty():  # what is here is taken, also at the last moment
            _take_next(visit, 0.0, now_ms)
            continue
        if close_ms == FAR and sum(not call.waiting for call in firm) >= needed:
            close_ms = now + grace_ms
        for call in waiting:
            if now >= call.limit_ms:
                call.expire(now)
            elif now >= close_ms:
                call.leave(now)
            elif now >= call.hedge_ms and call.lane.hedge.spend():
                visit.send(call)
        ahead = [min(call.limit_ms, close_ms, _future(call.hedge_ms, now)) for call in waiting]
        _take_next(visit, min(ahead) - now, now_ms)


def _future(hedge_ms: float, now: float) -> float:
    """When to look at a hedge again: one that was due and had no budget is not waited for."""
    return hedge_ms if hedge_ms > now else FAR


def _take_next(visit: Visit, patience_ms: float, now_ms: Callable[[], float]) -> None:
    """Hand the next answer to its call, if one comes in time."""
    try:
        call, attempt, read = visit.arrived.get(timeout=max(patience_ms, 0.0) / 1000)
    except Empty:
        return
    call.take(attempt, read, now_ms())


def _united(
    answered: Sequence[Call],
    business: Mapping[str, int],
    n_requests: int,
    rows_of: Callable[[Array], Array],
) -> Candidates:
    """The answers as one set, by request, in it by business, in it as the business ranks."""
    parts = [_columns(call, business[call.lane.name]) for call in answered]
    names = [*dict.fromkeys(name for part in parts for name in part)]
    if not parts:
        names = ["request_row", "item_id", "business", "place", "score"]
    joined = {name: _join(name, parts) for name in names}
    if n_requests > 1:
        order = np.argsort(joined["request_row"], kind="stable")
        joined = {name: values[order] for name, values in joined.items()}
    request_row = joined.pop("request_row")
    return Candidates(n_requests, request_row, rows_of(joined["item_id"]), joined)


DTYPES = {"request_row": np.int64, "item_id": np.int64, "business": np.int8, "place": np.int32}


def _join(name: str, parts: Sequence[Mapping[str, Array]]) -> Array:
    dtype = DTYPES.get(name, np.float32)
    sizes = [len(part["item_id"]) for part in parts]
    values = [
        part[name] if name in part else np.full(size, np.nan, np.float32)
        for part, size in zip(parts, sizes, strict=True)
    ]
    return np.concatenate([np.zeros(0, dtype), *values], dtype=dtype)


def _columns(call: Call, business: int) -> dict[str, Array]:
    """One answer's candidates as columns."""
    offers = call.offers
    counts, n = offers.counts, len(offers.item_id)
    starts = np.cumsum(counts) - counts
    return {
        "request_row": np.repeat(call.rows, counts),
        "item_id": offers.item_id,
        "business": np.full(n, business, np.int8),
        "place": (np.arange(n) - np.repeat(starts, counts)).astype(np.int32),
        "score": offers.score,
        **offers.columns,
    }
