"""Time: simulated time is a number passed in, measured time never leaves a ``Stopwatch``."""

import time

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS


class Clock:
    """Simulated time in milliseconds since the platform's first midnight.

    >>> clock = Clock()
    >>> clock.advance(90_000)
    90000
    """

    def __init__(self, now_ms: int = 0) -> None:
        self.now_ms = now_ms

    def advance(self, by_ms: int) -> int:
        """Move forward by ``by_ms`` milliseconds and return the new time."""
        if by_ms < 0:
            raise ValueError(
                f"Clock.advance: by_ms must be >= 0, got {by_ms} (time never goes back)"
            )
        self.now_ms += by_ms
        return self.now_ms


class Stopwatch:
    """Measured wall time in milliseconds: ``with Stopwatch() as w: …`` then ``w.ms``."""

    def __enter__(self) -> "Stopwatch":
        self._t0 = time.perf_counter_ns()
        self.ms = 0.0
        return self

    def __exit__(self, *exc: object) -> None:
        self.ms = (time.perf_counter_ns() - self._t0) / 1e6


def day_of(time_ms: int) -> int:
    """Day number (0 = the platform's first day).

    >>> day_of(DAY_MS + 1)
    1
    """
    return time_ms // DAY_MS
