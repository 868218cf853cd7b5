"""The degradation flag (降级标识): what the Router asks before it dispatches a request."""

from typing import Protocol

from reclab.core.types import Request


class DegradationFlag(Protocol):
    """The decision service of figure 2.6, as the Router sees it."""

    def flag(self, request: Request) -> int:
        """0 = the live path, 1 = the degraded path. Answers from memory and never raises."""
        ...
