"""What one part of the system asks of another without importing it."""

from collections.abc import Sequence
from typing import Protocol

from reclab.core.types import Array, Request, Slate, Trace


class Degradation(Protocol):
    """The decision service: (B,) whole numbers, 0 = live path, 1 = degraded path."""

    def flag(self, requests: Sequence[Request]) -> Array: ...


class Recommender(Protocol):
    """Whoever answers requests with slates: the cascade, the degraded path."""

    def recommend_batch(self, requests: Sequence[Request]) -> tuple[list[Slate], Trace]: ...
