"""Serving (在线服务): requests with deadlines, and workers that answer them in time, at any load.

    wait ahead = work queued / workers          admitted to the best rung with
                                                wait ahead + cost <= time left - reserve

A request is planned when it comes: for the best rung that will be done in time behind the queue
as it is. The plan is looked at again when a worker takes it. Quick rungs overtake; when even those
would be late, or the queue is full, the caller has its page from the pools in memory at once. So at
any load the queue holds only what can be answered in time: more load changes the rung, not the
wait. A caller waits until the reserve begins; then it hands its request to the quick rungs, and
when that does not help in time either, to the pools. A worker that hangs is left behind and
replaced; each rung can hold up only as many as its gate allows.
Chapter 2, section 2.3.2.

Simplified: workers are threads and share Python's interpreter lock: one that computes is a core's
worth. Industry runs a process a core, and a coroutine for what only waits.
"""

import threading
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Self

from reclab.core.errors import DataError, check, check_float, check_int
from reclab.core.types import Request, Slate
from reclab.offline_online.serving.fallback import ABANDONED, OK, REFUSED, Attempt, Ladder, Rung
from reclab.offline_online.serving.latency_budget import BudgetConfig, monotonic_ms

LANES = QUICK, SLOW = 0, 1
NONE = -1  # no rung is planned, only the pools are left


@dataclass(frozen=True)
class ServingConfig:
    """The service's sizes."""

    budget: BudgetConfig = field(default_factory=BudgetConfig)
    """deadline, and the part of it kept for the rungs below"""
    workers: int = 2
    """threads that answer (1-8): two that wait for others do twice the work of one; two that
    compute in one interpreter do not"""
    queue: int = 256
    """requests that may wait (16-4096)"""
    most_left_behind: int = 16
    """workers that may hang; with more, only the pools answer (4-64)"""
    last_ms: float = 5.0
    """what the pools in memory need at the very end, and the machine to wake a thread (ms, 1-20)"""

    def __post_init__(self) -> None:
        check_int("ServingConfig.workers", self.workers, 1, 256, "2")
        check_int("ServingConfig.queue", self.queue, 1, 10**6, "256")
        check_int("ServingConfig.most_left_behind", self.most_left_behind, 1, 1000, "16")
        reserve = self.budget.reserve * self.budget.deadline_ms
        check_float("ServingConfig.last_ms", self.last_ms, 0.0, 1e5, "5")
        rule = f"be below the reserve, {reserve:g} ms"
        check(self.last_ms < reserve, "ServingConfig.last_ms", self.last_ms, rule, "5")


@dataclass(frozen=True)
class Answer:
    """A page, the rung that gave it, what became of those above (``why``), ms by stage of it,
    ``ms`` from arrival to answer, and the ``deadline_ms`` that it had."""

    slate: Slate
    rung: str
    why: tuple[Attempt, ...]
    stages: Mapping[str, float]
    ms: float
    deadline_ms: float

    def reasons(self) -> str:
        """Why no better rung answered, in a line."""
        return "; ".join(f"{a.rung} {a.outcome}: {a.why}" for a in self.why) or "-"


class Ticket:
    """One request on its way. ``turn`` counts how often it was handed on: who holds an older turn
    has lost it. ``planned_ms`` is what it adds to the queue."""

    def __init__(self, request: Request, arrived_ms: float, due_ms: float) -> None:
        self.request, self.arrived_ms, self.due_ms = request, arrived_ms, due_ms
        self.change = threading.Condition()
        self.why: list[Attempt] = []
        self.turn, self.rung, self.planned_ms = 0, NONE, 0.0
        self.running: Rung | None = None
        self.tries_again = False  # let through a closed gate, to see whether it may open
        self.answer: Answer | None = None


Place = tuple[Ticket, int, float]  # in the queue: whose, which turn of it, ms of work


class Serving:
    """``answer(request)`` from any thread; ``with Serving(…) as serving`` closes it."""

    def __init__(
        self,
        ladder: Ladder,
        config: ServingConfig | None = None,
        now_ms: Callable[[], float] = monotonic_ms,
    ) -> None:
        self.ladder, self.config, self.now_ms = ladder, config or ServingConfig(), now_ms
        self.answered: Counter[str] = Counter()
        self.discarded = 0  # answers that came after their request was given to others
        self._change = threading.Condition()
        self._lanes: tuple[deque[Place], ...] = (deque(), deque())
        self._work_ms = [0.0, 0.0]
        self._in_hand_ms = 0.0
        self._left_behind = self._workers = 0
        self._closing = False
        for _ in range(self.config.workers):
            self._hire()

    @property
    def left_behind(self) -> int:
        """Workers that hang."""
        return self._left_behind

    # ---- the caller's side -----------------------------------------------------------------

    def answer(self, request: Request, left_ms: float | None = None) -> Answer:
        """The page; ``left_ms`` of the deadline as the caller passes it on (default: all of it).
        Always answers, or raises ``DataError`` once the service is closed."""
        if self._closing:
            raise DataError("this Serving is closed")
        budget, now = self.config.budget, self.now_ms()
        left = budget.deadline_ms if left_ms is None else left_ms
        due = now + left
        ticket = Ticket(request, now, due)
        reserve = min(budget.reserve * budget.deadline_ms, left)
        if self._admit(ticket, 0):
            self._wait(ticket, due - reserve)
            if ticket.answer is None and self._hand_on(ticket):
                self._wait(ticket, due - self.config.last_ms)
        return self._taken(ticket)

    def _admit(self, ticket: Ticket, first: int) -> bool:
        """Plan the best rung from ``first`` on that will be done in time, and queue for it."""
        reserve = self.config.budget.reserve * self.config.budget.deadline_ms
        with self._change:
            waiting = sum(map(len, self._lanes))
            for place, rung in enumerate(self.ladder.rungs[first:], first):
                if rung.in_memory:
                    return False
                now, quick = self.now_ms(), rung.quick
                ahead = self._ahead_ms(QUICK if quick else SLOW)
                left = ticket.due_ms - now - ahead
                left -= self.config.last_ms if quick else reserve
                shut = bool(rung.gate.shut)
                why = self._full(waiting) or rung.refusal(left, now)
                if not why:
                    ticket.tries_again = shut
                    ticket.rung, ticket.planned_ms = place, rung.cost.mean_ms
                    self._queue(ticket, QUICK if quick else SLOW)
                    return True
                ticket.why.append(Attempt(rung.name, REFUSED, why))
        return False

    def _full(self, waiting: int) -> str:
        if waiting >= self.config.queue:
            return f"{waiting} requests wait already"
        if self._left_behind >= self.config.most_left_behind:
            return f"{self._left_behind} workers hang"
        return ""

    def _ahead_ms(self, lane: int) -> float:
        """Time until a worker is free for a newcomer of this lane."""
        work = sum(self._work_ms[: lane + 1]) + self._in_hand_ms
        able = max(self._workers - self._left_behind, 1)
        return work / able

    def _queue(self, ticket: Ticket, lane: int) -> None:
        self._lanes[lane].append((ticket, ticket.turn, ticket.planned_ms))
        self._work_ms[lane] += ticket.planned_ms
        self._change.notify()

    def _wait(self, ticket: Ticket, until_ms: float) -> None:
        with ticket.change:
            ticket.change.wait_for(
                lambda: ticket.answer is not None or ticket.rung == NONE,
                max(until_ms - self.now_ms(), 0.0) / 1000,
            )

    def _hand_on(self, ticket: Ticket) -> bool:
        """Take the request from whoever has it, and queue it for the quick rungs."""
        rungs, place = self.ladder.rungs, ticket.rung
        if not self._withdraw(ticket):
            return False
        first = len(rungs) if place == NONE else place + 1
        first = next((k for k in range(first, len(rungs)) if rungs[k].quick), len(rungs))
        return first < len(rungs) and self._admit(ticket, first)

    def _withdraw(self, ticket: Ticket) -> bool:
        """Give up on whoever works on it; False when the answer is there after all."""
        with ticket.change:
            if ticket.answer is not None:
                return False
            ticket.turn += 1
            rung, place = ticket.running, ticket.rung
            ticket.running, ticket.rung = None, NONE
            if rung is not None:
                late = self.now_ms() - ticket.arrived_ms
                ticket.why.append(Attempt(rung.name, ABANDONED, "not done in time", late))
                rung.gate.hangs(self.now_ms())
            elif place != NONE:
                name = self.ladder.rungs[place].name
                ticket.why.append(Attempt(name, REFUSED, "no worker was free in time"))
        if rung is not None:
            with self._change:
                self._left_behind += 1
                self._in_hand_ms = max(self._in_hand_ms - ticket.planned_ms, 0.0)
                if self._left_behind <= self.config.most_left_behind:
                    self._hire()
        return True

    def _taken(self, ticket: Ticket) -> Answer:
        """The answer that a worker gave, or one from the pools in memory."""
        if ticket.answer is None and self._withdraw(ticket):
            for rung in self.ladder.rungs:
                if not rung.in_memory or not rung.on and rung is not self.ladder.rungs[-1]:
                    continue
                asked, attempt = self.ladder.try_one(rung, ticket.request, 0.0, self.now_ms)
                if asked:
                    ticket.answer = self._of(ticket, rung, *asked)
                    break
                ticket.why.append(attempt)
        if ticket.answer is None:
            raise DataError(f"no rung has a page: {ticket.why[-1].why}")
        with self._change:
            self.answered[ticket.answer.rung] += 1
        return ticket.answer

    def _of(self, ticket: Ticket, rung: Rung, slate: Slate, ms: Mapping[str, float]) -> Answer:
        taken, given = self.now_ms() - ticket.arrived_ms, ticket.due_ms - ticket.arrived_ms
        return Answer(slate, rung.name, tuple(ticket.why), ms, taken, given)

    # ---- the workers -----------------------------------------------------------------------

    def _hire(self) -> None:
        self._workers += 1
        threading.Thread(target=self._work, name="serving", daemon=True).start()

    def _work(self) -> None:
        while taken := self._take():
            ticket, turn, planned_ms = taken
            late, extra = self._climb_down(ticket, turn)
            if not late:
                with self._change:
                    self._in_hand_ms = max(self._in_hand_ms - planned_ms, 0.0)
            elif extra:
                return

    def _take(self) -> Place | None:
        with self._change:
            self._change.wait_for(lambda: self._closing or any(self._lanes))
            if self._closing:
                return None
            lane = QUICK if self._lanes[QUICK] else SLOW
            ticket, turn, planned_ms = self._lanes[lane].popleft()
            left_ms = self._work_ms[lane] - planned_ms if self._lanes[lane] else 0.0
            self._work_ms[lane] = max(left_ms, 0.0)
            self._in_hand_ms += planned_ms
            return ticket, turn, planned_ms

    def _climb_down(self, ticket: Ticket, turn: int) -> tuple[bool, bool]:
        """Try the rungs from the planned one down. Whether this worker was given up meanwhile, and
        whether it is one too many now."""
        budget, first = self.config.budget, ticket.rung
        if ticket.turn != turn:
            return False, False
        for place in range(first, len(self.ladder.rungs)):
            rung = self.ladder.rungs[place]
            if rung.in_memory:
                break
            keep = self.config.last_ms if rung.quick else budget.reserve * budget.deadline_ms
            with ticket.change:
                if ticket.turn != turn:
                    return False, False
                now = self.now_ms()
                left = ticket.due_ms - now - keep
                if why := rung.refusal(left, now, ticket.tries_again and place == first):
                    ticket.why.append(Attempt(rung.name, REFUSED, why))
                    continue
                ticket.running, ticket.rung = rung, place
            asked, attempt = self.ladder.try_one(rung, ticket.request, left, self.now_ms)
            with ticket.change:
                if ticket.turn != turn:
                    return True, self._was_late(rung)
                ticket.running = None
                if asked:
                    ticket.answer = self._of(ticket, rung, *asked)
                    ticket.change.notify()
                    return False, False
                ticket.why.append(attempt)
        with ticket.change:
            if ticket.turn == turn:
                ticket.rung = NONE
                ticket.change.notify()
        return False, False

    def _was_late(self, rung: Rung) -> bool:
        """A worker that was given up comes back; True when it is one too many."""
        rung.gate.came_back()
        with self._change:
            self.discarded += 1
            self._left_behind -= 1
            extra = self._workers - self._left_behind > self.config.workers
            self._workers -= extra
            return extra

    # ---- its end ---------------------------------------------------------------------------

    def close(self) -> None:
        """Let the workers go; those that hang are left to themselves."""
        with self._change:
            self._closing = True
            self._change.notify_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


__all__ = ["OK", "Answer", "Serving", "ServingConfig", "Ticket"]
