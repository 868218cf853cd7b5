"""A lane: one business behind the Router, with its client, breaker and hedge; and the calls in it.

    call = at most two attempts;  the first answer wins, the other attempt is cancelled
    a call's end is told to the breaker once: when it is answered, or when its deadline has passed,
    also when the page did not wait that long

Reference: Dean and Barroso, The Tail at Scale, CACM 2013.
Simplified: industry also limits how many calls a business may have under way (a bulkhead).
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from queue import SimpleQueue
from threading import Lock

from reclab.blending.blending_pb2 import Ask
from reclab.blending.breaker import HALF_OPEN, Breaker
from reclab.blending.contract import CallFailed, CallLate, Offers
from reclab.blending.hedge import Hedge
from reclab.blending.rpc import Client, Read
from reclab.blending.trace import FAILED, HEDGED, LATE, NOT_ASKED, OK, CallTrace
from reclab.core.types import Array

UNUSABLE = 0.5  # of an answer's candidates: with more of them bad, the business has failed


@dataclass(eq=False)
class Attempt:
    """One RPC of a call: when it began and ended (absolute ms), and how."""

    begin_ms: float
    cancel: Callable[[], object] = lambda: None
    end_ms: float | None = None
    outcome: str = ""
    note: str = ""


@dataclass(eq=False)
class Call:
    """One business, asked for the requests ``rows`` of a visit until ``limit_ms``."""

    lane: "Lane"
    rows: Array
    limit_ms: float
    ticket: int | None = None
    probe: bool = False
    attempts: list[Attempt] = field(default_factory=list)
    offers: Offers | None = None
    waiting: bool = True
    is_left: bool = False
    _settled: bool = False
    _lock: Lock = field(default_factory=Lock)

    @property
    def hedge_ms(self) -> float:
        """When a second attempt is due (absolute); never, for a probe or after one."""
        if self.probe or len(self.attempts) != 1:
            return float("inf")
        return self.attempts[0].begin_ms + self.lane.hedge.after_ms

    def settle(self, ok: bool, now: float) -> None:
        """Tell breaker and hedge, once, how the call ended."""
        with self._lock:
            first, self._settled = not self._settled, True
        if first:
            self.lane.breaker.record(self.ticket, ok)
            if self.attempts:
                self.lane.hedge.learn(now - self.attempts[0].begin_ms)

    def take(self, attempt: Attempt, read: Read, now: float) -> None:
        """An attempt has come back while the visit waits."""
        if not self.waiting:
            return
        attempt.end_ms = now
        try:
            self.offers = read()
        except CallFailed as error:
            attempt.outcome = LATE if isinstance(error, CallLate) else FAILED
            attempt.note = str(error)
            if any(other.end_ms is None for other in self.attempts):
                return  # the other attempt may still answer
            self.settle(False, now)
        else:
            attempt.outcome = OK
            self._end_others(HEDGED, "the other call was faster", now)
        self.waiting = False

    def expire(self, now: float) -> None:
        """Its deadline has passed."""
        self._end_others(LATE, "no answer by the deadline", now)
        self.settle(False, now)
        self.waiting = False

    def leave(self, now: float) -> None:
        """Enough has arrived: the page goes on without this one, which is not cancelled, so that
        the breaker learns how it ends."""
        for attempt in self.attempts:
            if attempt.end_ms is None:
                attempt.end_ms, attempt.outcome = now, LATE
                attempt.note = "left out early: enough had arrived"
        self.waiting, self.is_left = False, True
        self.lane.left(self)

    def refuse(self, share: float, why: str, now: float) -> None:
        """The answer has been looked at: with too large a share of bad candidates it has failed."""
        if share > UNUSABLE:
            answered = next(attempt for attempt in self.attempts if attempt.outcome == OK)
            answered.outcome, answered.note = FAILED, why
        self.settle(share <= UNUSABLE, now)

    def _end_others(self, outcome: str, note: str, now: float) -> None:
        for attempt in self.attempts:
            if attempt.end_ms is None:
                attempt.end_ms, attempt.outcome, attempt.note = now, outcome, note
                attempt.cancel()

    def trace(self, began_ms: float) -> list[CallTrace]:
        """Its attempts, in ms since the visit began."""
        if not self.attempts:
            now = self.limit_ms - began_ms  # an open breaker: `limit_ms` is when it was found so
            return [CallTrace(self.lane.name, now, now, NOT_ASKED, note="circuit breaker open")]
        n = len(self.offers.item_id) if self.offers else 0
        return [
            CallTrace(
                self.lane.name,
                attempt.begin_ms - began_ms,
                (attempt.begin_ms if attempt.end_ms is None else attempt.end_ms) - began_ms,
                attempt.outcome,
                n if attempt.outcome == OK else 0,
                place > 0,
                attempt.note,
            )
            for place, attempt in enumerate(self.attempts)
        ]


class Lane:
    """Starts calls of one business, for ``k`` candidates a request. Many threads use it."""

    def __init__(
        self, client: Client, k: int, breaker: Breaker, hedge: Hedge, now_ms: Callable[[], float]
    ) -> None:
        self.client, self.k, self.breaker, self.hedge = client, k, breaker, hedge
        self.now_ms, self.name = now_ms, client.name
        self._left: list[Call] = []
        self._lock = Lock()

    def open_call(self, rows: Array, limit_ms: float) -> Call:
        """A call that may be sent, or one that ended at once because the breaker is open."""
        now = self.now_ms()
        self._sweep(now)
        ticket = self.breaker.admit()
        if ticket is None:
            return Call(self, rows, now, waiting=False, _settled=True)
        return Call(self, rows, limit_ms, ticket, probe=self.breaker.state == HALF_OPEN)

    def send(
        self, call: Call, ask: Ask, arrived: "SimpleQueue[tuple[Call, Attempt, Read]]"
    ) -> None:
        """Begin an attempt; what comes back is put into ``arrived``, and if nobody waits for it any
        more, only the breaker hears of it."""
        now = self.now_ms()
        attempt = Attempt(now)
        call.attempts.append(attempt)

        def done(read: Read) -> None:
            arrived.put((call, attempt, read))
            if call.is_left:
                call.settle(_went_well(read), self.now_ms())

        attempt.cancel = self.client.begin(ask, call.limit_ms - now, done)

    def left(self, call: Call) -> None:
        """A call that is still under way and that nobody waits for."""
        with self._lock:
            self._left.append(call)

    def _sweep(self, now: float) -> None:
        """Calls nobody waits for whose deadline has passed have failed."""
        if self._left:
            with self._lock:
                over = [call for call in self._left if call._settled or now >= call.limit_ms]
                self._left = [call for call in self._left if call not in over]
            for call in over:
                call.settle(False, now)


def _went_well(read: Read) -> bool:
    try:
        read()
        return True
    except CallFailed:
        return False
