"""The door: requests that come while others are being sent go on together.

    a request finds the door free     it goes at once, alone
    it finds it taken                 it waits, at most until the door is free again, and then all
                                      who wait go through together, as one batch, led by the first

So a quiet hour has no added delay, and a busy one asks each business once for many pages.
Reference: flat combining; Hendler, Incze, Shavit, Tzafrir, SPAA 2010.

Simplified: industry's serving systems batch at the model, where it matters most.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from threading import Event, Lock
from typing import Any

from reclab.core.types import Request

Serve = Callable[[Sequence[Request], float, Callable[[], None]], Sequence[Any]]
"""(requests, when the first came (ms), called when the businesses have been asked) -> answers"""


@dataclass
class Ticket:
    """One waiting request. ``wake`` is set when it is answered, or called to lead."""

    request: Request
    came_ms: float
    wake: Event = field(default_factory=Event)
    leads: bool = False
    answer: Any = None
    error: BaseException | None = None


class Door:
    """``pass_through`` from any thread. At most ``most`` requests go together."""

    def __init__(self, serve: Serve, most: int) -> None:
        self.serve, self.most = serve, most
        self._waiting: list[Ticket] = []  # its first one leads
        self._lock, self._gate = Lock(), Lock()

    def pass_through(self, request: Request, now_ms: float) -> Any:
        """Answer a request, alone or with others; raises what answering them raised."""
        mine = Ticket(request, now_ms)
        with self._lock:
            self._waiting.append(mine)
            mine.leads = self._waiting[0] is mine
        if not mine.leads:
            mine.wake.wait()
        if mine.leads:
            self._lead()
        if mine.error is not None:
            raise mine.error
        return mine.answer

    def _lead(self) -> None:
        """Take everybody who waits through the door."""
        self._gate.acquire()
        free = Once(self._gate.release)
        group: list[Ticket] = []
        try:
            with self._lock:
                group, self._waiting = self._waiting[: self.most], self._waiting[self.most :]
                if self._waiting:
                    self._waiting[0].leads = True
                    self._waiting[0].wake.set()
            answers = self.serve([one.request for one in group], group[0].came_ms, free)
            for ticket, answer in zip(group, answers, strict=True):
                ticket.answer = answer
        except BaseException as error:  # those who follow must not wait for ever
            for ticket in group:
                ticket.error = error
        finally:
            free()
            for ticket in group:
                ticket.wake.set()


class Once:
    """Calls ``action`` the first time it is called."""

    def __init__(self, action: Callable[[], object]) -> None:
        self._actions = [action]

    def __call__(self) -> None:
        while self._actions:
            self._actions.pop()()
