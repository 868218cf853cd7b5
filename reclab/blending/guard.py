"""Guard (隔离): a dependency in this process, asked on threads of its own, by a deadline, behind a
circuit breaker; what hangs there cannot hang its caller.

    ask(argument, within_ms) -> result,   or CallFailed: it raised, it is late, its breaker is open

Reference: Nygard, Release It! (2007), ch. 5, bulkheads and timeouts.
Simplified: threads that hang are never ended; industry puts such a dependency into its own process.
"""

from collections.abc import Callable
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any

from reclab.blending.breaker import Breaker
from reclab.blending.contract import CallFailed, CallLate
from reclab.core.errors import check_int


class Workers:
    """``n`` threads that run jobs in order. They are daemons: one that hangs does not keep Python
    from leaving."""

    def __init__(self, n: int, name: str) -> None:
        check_int(f"workers of {name}", n, 1, 1000, "4")
        self.n = n
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        for _ in range(n):
            Thread(target=self._work, name=name, daemon=True).start()

    def put(self, job: Callable[[], None]) -> None:
        """Run a job, which must not raise, as soon as a thread is free."""
        self._jobs.put(job)

    def _work(self) -> None:
        while job := self._jobs.get():
            job()

    def close(self) -> None:
        """Let the threads end when the jobs are done."""
        for _ in range(self.n):
            self._jobs.put(None)


class Guard:
    """Asks ``function`` safely. ``name`` stands in its errors."""

    def __init__(
        self, name: str, function: Callable[[Any], Any], breaker: Breaker, workers: int = 2
    ) -> None:
        self.name, self.function, self.breaker = name, function, breaker
        self.workers = Workers(workers, f"guard-{name}")

    def ask(self, argument: Any, within_ms: float) -> Any:
        """``function(argument)``. Raises ``CallFailed``, ``CallLate`` when the time is up."""
        ticket = self.breaker.admit()
        if ticket is None:
            raise CallFailed(f"{self.name}: circuit breaker open")
        came: SimpleQueue[tuple[bool, Any]] = SimpleQueue()
        self.workers.put(lambda: came.put(self._try(argument)))
        try:
            ok, result = came.get(timeout=max(within_ms, 0.0) / 1000)
        except Empty:
            self.breaker.record(ticket, ok=False)
            raise CallLate(f"{self.name}: no answer in {within_ms:.0f} ms") from None
        self.breaker.record(ticket, ok)
        if not ok:
            raise CallFailed(f"{self.name}: {type(result).__name__}: {result}") from result
        return result

    def _try(self, argument: Any) -> tuple[bool, Any]:
        try:
            return True, self.function(argument)
        except Exception as error:  # whatever it was, it is the caller's to decide
            return False, error
