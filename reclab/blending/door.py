"""The door: requests that come while others are being sent go on together.

    a request finds the door free     it goes at once, alone
    it finds it taken                 it waits until the door is free again, and then all who wait
                                      go through together, as one batch, led by the first
    two groups or more are inside     the first of the next waits g ms for company

So a quiet hour has no added delay, and a busy one asks each business once for many pages. Those of
a group who can be answered at once (from a cache) are, and leave; the others go on without them.
Reference: flat combining; Hendler, Incze, Shavit, Tzafrir, SPAA 2010.

Simplified: industry's serving systems batch at the model, where it matters most.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from threading import Event, Lock
from time import sleep
from typing import Any

from reclab.core.types import Request

Answer = Callable[[int, Any], None]
"""(position of a request, its answer): called once for each, as soon as it is known"""
AtOnce = Callable[[Sequence[Request], float, Answer], tuple[str, ...]]
"""(requests, when the first came (ms), answer) -> notes: answers those it can"""
Serve = Callable[[Sequence[Request], float, tuple[str, ...], Callable[[], None], Answer], None]
"""(requests, when the first came (ms), notes, called when all have been asked, answer)"""

CROWD = 2  # groups inside, from which on company is waited for


@dataclass(eq=False)
class Ticket:
    """One waiting request. ``wake`` is set when it is answered, or has a ``task``: to lead those
    who wait, or to take a group on."""

    request: Request
    came_ms: float
    wake: Event = field(default_factory=Event)
    task: Callable[[], None] | None = None
    answer: Any = None
    error: BaseException | None = None

    @property
    def open(self) -> bool:
        """Whether it still has no answer."""
        return self.answer is None and self.error is None


@dataclass(frozen=True)
class Tell:
    """Hands an answer to its ticket and wakes who holds it."""

    group: Sequence[Ticket]

    def __call__(self, row: int, answer: Any) -> None:
        self.group[row].answer = answer
        self.group[row].wake.set()


class Once:
    """Calls ``action`` the first time it is called."""

    def __init__(self, action: Callable[[], object]) -> None:
        self._actions = [action]

    def __call__(self) -> None:
        while self._actions:
            self._actions.pop()()


class Door:
    """``pass_through`` from any thread. At most ``most`` requests go together; ``gather_ms`` is how
    long company is waited for while others are inside."""

    def __init__(
        self, serve: Serve, most: int, gather_ms: float = 0.0, at_once: AtOnce | None = None
    ) -> None:
        self.serve, self.most, self.gather_ms, self.at_once = serve, most, gather_ms, at_once
        self._inside = 0
        self._waiting: list[Ticket] = []  # its first one leads
        self._lock, self._gate = Lock(), Lock()

    def pass_through(self, request: Request, now_ms: float) -> Any:
        """Answer a request, alone or with others; raises what answering them raised."""
        mine = Ticket(request, now_ms)
        with self._lock:
            self._waiting.append(mine)
            if self._waiting[0] is mine:
                mine.task = partial(self._lead, mine)
        try:
            while mine.open:
                if mine.task is None:
                    mine.wake.wait()
                    mine.wake.clear()
                else:
                    task, mine.task = mine.task, None
                    task()
        except BaseException:  # a notebook was interrupted: the others need another leader
            self._withdraw(mine)
            raise
        if mine.error is not None:
            raise mine.error
        return mine.answer

    def _lead(self, mine: Ticket) -> None:
        """Take everybody who waits through the door."""
        self._gate.acquire()
        free = Once(self._gate.release)
        try:
            if self._inside >= CROWD and len(self._waiting) < self.most:
                sleep(self.gather_ms / 1000)
            with self._lock:
                self._inside += 1
                group, self._waiting = self._waiting[: self.most], self._waiting[self.most :]
                self._appoint()
        except BaseException:
            free()
            raise
        notes: tuple[str, ...] = ()
        if self.at_once is not None:
            with self._answering(group):
                requests = [ticket.request for ticket in group]
                notes = self.at_once(requests, group[0].came_ms, Tell(group))
        left = [ticket for ticket in group if ticket.open]
        take_on = partial(self._take_on, left, notes, free)
        if mine in left or not left:
            take_on()
        else:  # the leader has its answer and leaves
            left[0].task = take_on
            left[0].wake.set()

    def _take_on(
        self, group: Sequence[Ticket], notes: tuple[str, ...], free: Callable[[], None]
    ) -> None:
        """Serve a group to its end."""
        with self._answering(group):
            if group:
                requests = [ticket.request for ticket in group]
                self.serve(requests, group[0].came_ms, notes, free, Tell(group))
        free()
        with self._lock:
            self._inside -= 1

    @contextmanager
    def _answering(self, group: Sequence[Ticket]) -> Iterator[None]:
        """What is raised in here reaches everybody of the group who has no answer yet."""
        try:
            yield
        except BaseException as error:
            for ticket in group:
                if ticket.open:
                    ticket.error = error
                    ticket.wake.set()

    def _appoint(self) -> None:
        """The first of those who wait leads the next group."""
        if self._waiting:
            first = self._waiting[0]
            first.task = partial(self._lead, first)
            first.wake.set()

    def _withdraw(self, ticket: Ticket) -> None:
        with self._lock:
            waits = ticket in self._waiting
            if waits:
                self._waiting.remove(ticket)
                self._appoint()
        if not waits and ticket.task is not None:  # a group that was to be taken on
            ticket.task()
