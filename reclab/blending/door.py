"""The door: requests that come while others are being sent go on together.

    a request finds the door free     it goes at once, alone
    it finds it taken                 it waits until the door is free again, and then all who wait
                                      go through together, as one batch, led by the first
    two groups or more are inside     the first of the next waits g ms for company

So a quiet hour has no added delay, and a busy one asks each business once for many pages.
Reference: flat combining; Hendler, Incze, Shavit, Tzafrir, SPAA 2010.

Simplified: industry's serving systems batch at the model, where it matters most.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from threading import Event, Lock
from time import sleep
from typing import Any

from reclab.core.types import Request

Serve = Callable[[Sequence[Request], float, Callable[[], None]], Sequence[Any]]
"""(requests, when the first came (ms), called when the businesses have been asked) -> answers"""

CROWD = 2  # groups inside, from which on company is waited for


@dataclass(eq=False)
class Ticket:
    """One waiting request. ``wake`` is set when it is answered, or called to lead."""

    request: Request
    came_ms: float
    wake: Event = field(default_factory=Event)
    leads: bool = False
    answer: Any = None
    error: BaseException | None = None


class Door:
    """``pass_through`` from any thread. At most ``most`` requests go together; ``gather_ms`` is how
    long company is waited for while others are inside."""

    def __init__(self, serve: Serve, most: int, gather_ms: float = 0.0) -> None:
        self.serve, self.most, self.gather_ms = serve, most, gather_ms
        self._inside = 0
        self._waiting: list[Ticket] = []  # its first one leads
        self._lock, self._gate = Lock(), Lock()

    def pass_through(self, request: Request, now_ms: float) -> Any:
        """Answer a request, alone or with others; raises what answering them raised."""
        mine = Ticket(request, now_ms)
        with self._lock:
            self._waiting.append(mine)
            mine.leads = self._waiting[0] is mine
        try:
            if not mine.leads:
                mine.wake.wait()
            if mine.leads:
                self._lead()
        except BaseException:  # a notebook was interrupted: those who wait need another leader
            self._withdraw(mine)
            raise
        if mine.error is not None:
            raise mine.error
        return mine.answer

    def _lead(self) -> None:
        """Take everybody who waits through the door."""
        self._gate.acquire()
        free = Once(self._gate.release)
        group: list[Ticket] = []
        try:
            if self._inside >= CROWD and len(self._waiting) < self.most:
                sleep(self.gather_ms / 1000)
            with self._lock:
                self._inside += 1
                group, self._waiting = self._waiting[: self.most], self._waiting[self.most :]
                self._appoint()
            answers = self.serve([one.request for one in group], group[0].came_ms, free)
            for ticket, answer in zip(group, answers, strict=True):
                ticket.answer = answer
        except BaseException as error:  # those who follow must not wait for ever
            if not group:
                raise
            for ticket in group:
                ticket.error = error
        finally:
            free()
            with self._lock:
                self._inside -= bool(group)
            for ticket in group:
                ticket.wake.set()

    def _appoint(self) -> None:
        """The first of those who wait leads the next group."""
        if self._waiting:
            self._waiting[0].leads = True
            self._waiting[0].wake.set()

    def _withdraw(self, ticket: Ticket) -> None:
        with self._lock:
            if ticket in self._waiting:
                self._waiting.remove(ticket)
                self._appoint()


class Once:
    """Calls ``action`` the first time it is called."""

    def __init__(self, action: Callable[[], object]) -> None:
        self._actions = [action]

    def __call__(self) -> None:
        while self._actions:
            self._actions.pop()()
