"""A slow business (变慢): a process that gets the processor only now and then, as on a machine that
is overloaded or swaps. It answers everything, late.

    with SlowDown(servers, "ad", run_ms=5, pause_ms=45):      a tenth of its speed
        ...

The process is stopped and continued by signals (SIGSTOP, SIGCONT); one that dies meanwhile, or is
started again, is slowed all the same.

Simplified: a chaos tool limits the container's share of the processor, or delays its packets.
"""

from threading import Event, Thread
from typing import Self

from reclab.blending.servers import Servers
from reclab.core.errors import DataError, check_float


class SlowDown:
    """Lets the process of business ``name`` run for ``run_ms`` (1-100) and stops it for
    ``pause_ms`` (1-500), again and again, from entering to leaving."""

    def __init__(
        self, servers: Servers, name: str, run_ms: float = 5.0, pause_ms: float = 45.0
    ) -> None:
        check_float("SlowDown.run_ms", run_ms, 0.1, 1e5, "5")
        check_float("SlowDown.pause_ms", pause_ms, 0.1, 1e5, "45")
        self.servers, self.name = servers, name
        self.run_s, self.pause_s = run_ms / 1000, pause_ms / 1000
        self._over = Event()

    def __enter__(self) -> Self:
        self.servers.pid(self.name)  # one that does not run is said now
        self._thread = Thread(target=self._tick, name=f"slow-{self.name}", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._over.set()
        self._thread.join()

    def _tick(self) -> None:
        while not self._over.wait(self.run_s):
            try:
                self.servers.hang(self.name)
                self._over.wait(self.pause_s)
                self.servers.resume(self.name)
            except DataError:  # dead: it may be started again
                continue
