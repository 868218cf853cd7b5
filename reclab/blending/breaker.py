"""Circuit breaker (熔断器): who fails again and again is left alone for a while, then tried.

    closed      asked as always;   open at once when failures / calls >= f over the latest w calls
    open        not asked at all;  half-open after T ms
    half-open   n calls probe it;  all well: closed,  one fails: open for T ms again

Without it every page waits for the dead business until its deadline, and the business, when it is
only overloaded, drowns in calls whose answers nobody awaits.
Reference: Nygard, Release It! (2007), ch. 5.

Simplified: industry shares the state among Routers, and lets traffic come back by degrees.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock

from reclab.blending.contract import monotonic_ms
from reclab.core.errors import check_float, check_int

CLOSED, OPEN, HALF_OPEN = "closed", "open", "half-open"


@dataclass(frozen=True)
class BreakerConfig:
    """When it opens, and how it closes again."""

    window: int = 20
    """w, latest calls that are judged (5-200)"""
    least: int = 5
    """calls before it may open (1 ... window)"""
    failure: float = 0.5
    """f, share of failed calls at which it opens (0.2-0.8)"""
    open_ms: float = 1000.0
    """T, ms until it is tried again (500-30 000)"""
    probes: int = 2
    """n, calls that have to go well before it closes, and the most at once until then (1-10)"""

    def __post_init__(self) -> None:
        check_int("BreakerConfig.window", self.window, 1, 10_000, "20")
        check_int("BreakerConfig.least", self.least, 1, self.window, "5")
        check_float("BreakerConfig.failure", self.failure, 0.01, 1.0, "0.5")
        check_float("BreakerConfig.open_ms", self.open_ms, 1.0, 1e6, "1000")
        check_int("BreakerConfig.probes", self.probes, 1, 100, "2")

    def recovery_ms(self, deadline_ms: float) -> float:
        """The longest time from a business's return to a closed breaker, while requests come: a
        probe sent just before takes its whole deadline to fail, T passes, the next ones answer."""
        return deadline_ms + self.open_ms + deadline_ms


class Breaker:
    """``admit`` before a call, ``record`` after it. Threads may share it.

    >>> now = [0.0]
    >>> breaker = Breaker(BreakerConfig(least=2, open_ms=100, probes=1), lambda: now[0])
    >>> for _ in range(2):
    ...     breaker.record(breaker.admit(), ok=False)
    >>> breaker.state, breaker.admit() is None
    ('open', True)
    >>> now[0] = 100.0
    >>> breaker.record(breaker.admit(), ok=True)
    >>> breaker.state, [state for _, state in breaker.history]
    ('closed', ['open', 'half-open', 'closed'])
    """

    def __init__(
        self, config: BreakerConfig | None = None, now_ms: Callable[[], float] = monotonic_ms
    ) -> None:
        self.config, self.now_ms = config or BreakerConfig(), now_ms
        self.history: deque[tuple[float, str]] = deque(maxlen=1000)
        """(when in ms, into which state), the latest thousand"""
        self._lock = Lock()
        self._state, self._turn = CLOSED, 0  # a call counts only in the turn that admitted it
        self._since_ms = now_ms()
        self._results: deque[bool] = deque(maxlen=self.config.window)
        self._out = 0  # probes sent in this turn

    @property
    def state(self) -> str:
        """``closed``, ``open`` or ``half-open``."""
        return self._state

    def admit(self) -> int | None:
        """A ticket for one call, or None: do not ask."""
        if self._state == CLOSED:  # the common case costs no lock
            return self._turn
        with self._lock:
            now = self.now_ms()
            waited = now - self._since_ms >= self.config.open_ms
            if waited and self._state != CLOSED:  # half-open too: its probes never came back
                self._move(HALF_OPEN, now)
            if self._state == OPEN or (self._state == HALF_OPEN and self._full):
                return None
            self._out += self._state == HALF_OPEN
            return self._turn

    @property
    def _full(self) -> bool:
        return self._out >= self.config.probes

    def record(self, ticket: int | None, ok: bool) -> None:
        """How the call of a ticket ended. Calls admitted before the last change do not count."""
        with self._lock:
            if ticket != self._turn or self._state == OPEN:
                return
            self._results.append(ok)
            now, failed = self.now_ms(), self._results.count(False)
            if self._state == HALF_OPEN:
                if failed:
                    self._move(OPEN, now)
                elif len(self._results) >= self.config.probes:
                    self._move(CLOSED, now)
            elif len(self._results) >= self.config.least:
                if failed >= self.config.failure * len(self._results):
                    self._move(OPEN, now)

    def _move(self, state: str, now: float) -> None:
        self._state, self._since_ms = state, now
        self._turn, self._out = self._turn + 1, 0
        self._results.clear()
        self.history.append((now, state))
