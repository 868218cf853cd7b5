"""A business (业务) as the Router sees it: asked for candidates, by a deadline, in its own numbers.

    offer(requests, k, deadline) -> Offers      at most k candidates a request, best first
    hear(clicks) -> n                           what users clicked of it, if it wants to know

A score is in the business's own unit (seconds, money, a probability); those of two businesses
cannot be compared before they are calibrated. Chapter 2, section 2.1.

Simplified: industry also sends the user's features along, so that no business reads them twice.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np

from reclab.core.errors import DataError, ReclabError
from reclab.core.types import Array, Request

CLICK = ("user_id", "req_id", "time_ms", "item_id")
ROUTERS_OWN = ("request_row", "item_row", "item_id", "business", "place", "score", "reason")


def monotonic_ms() -> float:
    """Measured time in ms that never goes back; its zero means nothing."""
    return time.monotonic_ns() / 1e6


@dataclass(frozen=True)
class Offers:
    """What a business offers to B requests: ``counts`` (B,) candidates of each, one request's
    after the other's, best first: ``item_id`` (n,) int64, ``score`` (n,) float32, and further
    ``columns`` (n,) float32 by name. Raises ``DataError`` when the lengths do not fit, or a column
    has a name that the Router uses itself."""

    counts: Array
    item_id: Array
    score: Array
    columns: Mapping[str, Array] = field(default_factory=dict)

    def __post_init__(self) -> None:
        n = len(self.item_id)
        if taken := [name for name in self.columns if name in ROUTERS_OWN]:
            raise DataError(f"Offers.columns must not be named {taken[0]!r}: the Router's own name")
        told = int(self.counts.sum()) if self.counts.min(initial=0) >= 0 else -1
        if told != n:
            raise DataError(f"Offers.counts must add up to {n} = len(item_id), got {told}")
        for name, values in {"score": self.score, **self.columns}.items():
            if values.shape != (n,):
                raise DataError(f"Offers.{name} must have shape ({n},), got {values.shape}")


@dataclass(frozen=True)
class Clicks:
    """Cards that users clicked, (n,) int64 each: ``user_id``, ``req_id`` and ``time_ms`` of the
    request, ``item_id``. The four together name a click. Raises ``DataError`` when the lengths
    differ."""

    user_id: Array
    req_id: Array
    time_ms: Array
    item_id: Array

    def __post_init__(self) -> None:
        sizes = {name: len(getattr(self, name)) for name in CLICK}
        if len({*sizes.values()}) > 1:
            raise DataError(f"Clicks must have columns of one length, got {sizes}")

    def __len__(self) -> int:
        return len(self.item_id)

    def table(self) -> Array:
        """(n, 4) int64, a row a click."""
        return np.stack([getattr(self, name) for name in CLICK], 1).astype(np.int64)

    @staticmethod
    def of(table: Array) -> "Clicks":
        """From such a table."""
        return Clicks(*np.asarray(table, np.int64).reshape(-1, len(CLICK)).T)


class Deadline:
    """Until when an answer is of use.

    >>> now = Deadline(0.0)
    >>> now.over, Deadline(1e6).over
    (True, False)
    """

    def __init__(self, left_ms: float, given_up: Callable[[], bool] = lambda: False) -> None:
        self._end_ms, self._given_up = monotonic_ms() + left_ms, given_up

    @property
    def left_ms(self) -> float:
        """Milliseconds left, 0 when the caller has given up."""
        return 0.0 if self._given_up() else max(self._end_ms - monotonic_ms(), 0.0)

    @property
    def over(self) -> bool:
        """Whether work for this answer would be in vain."""
        return self.left_ms <= 0.0


class Business(Protocol):
    """A recommender of one line of content. Long work looks at ``deadline.over`` now and then."""

    name: str

    def offer(self, requests: Sequence[Request], k: int, deadline: Deadline) -> Offers: ...


@runtime_checkable
class Listener(Protocol):
    """A business that wants to know what was clicked. ``hear`` says how many of the clicks it did
    not know of yet: reports may come twice."""

    def hear(self, clicks: Clicks) -> int: ...


class CallFailed(ReclabError):
    """A business did not give a usable answer; the message names it and says why."""


class CallLate(CallFailed):
    """It did not answer before the deadline."""


class CallRefused(CallFailed):
    """It can do nothing with the message, and never will."""


def no_offers(n_requests: int) -> Offers:
    """Nothing for anybody: a valid answer."""
    none = np.zeros(0, np.float32)
    return Offers(np.zeros(n_requests, np.int64), np.zeros(0, np.int64), none)
