"""Tiered sums: as-of counts and sums that take small batches at the cost of what is recent only.

    read(key, t) = base.read(key, t) + recent.read(key, t)
A timeline moves the whole past of every key that an event touches, and popular items have a long
one. So new events go to a small tier, which is folded into the large one when it has grown to a
sixteenth of it. Sums of whole numbers are exact in any order, so tiers never show.
Reference: O'Neil et al. 1996 (log-structured merge trees).

Simplified: two tiers in memory; industry has many, on disk.
"""

import numpy as np

from reclab.core.types import Array
from reclab.stores.as_of import AsOfSums

SMALL = 20_000  # events in the recent tier before folding is thought of
PART = 16


class TieredSums:
    """``AsOfSums`` of ``width`` columns in two tiers; same reads, same rules.

    >>> sums = TieredSums(1)
    >>> sums.append(np.array([7, 7]), np.array([10, 20]), np.array([[1.0], [3.0]]))
    >>> count, total = sums.read(np.array([7]), np.array([20]))
    >>> count.tolist(), total.tolist()
    ([1], [[1.0]])
    """

    def __init__(self, width: int, small: int = SMALL) -> None:
        self.width, self.small = width, small
        self.base = self._none()
        self._start()

    def _none(self) -> AsOfSums:
        none = np.zeros(0, np.int64)
        return AsOfSums(none, none, np.zeros((0, self.width)))

    def _start(self) -> None:
        self.recent = self._none()
        self._waiting: tuple[tuple[Array, Array, Array], ...] = ()

    def __len__(self) -> int:
        return len(self.base) + len(self.recent)

    def append(self, keys: Array, time_ms: Array, values: Array) -> None:
        """Add events (n,), values (n, width); late ones too."""
        room = max(self.small, len(self.base) // PART) - len(self.recent)
        batch = np.asarray(keys), np.asarray(time_ms), np.asarray(values)
        if len(keys) <= room:
            self.recent.append(*batch)
            self._waiting = (*self._waiting, batch)
            return
        parts = zip(*self._waiting, batch, strict=True)
        self.base.append(*(np.concatenate(columns) for columns in parts))
        self._start()

    def read(
        self, keys: Array, time_ms: Array, since_ms: Array | int | None = None
    ) -> tuple[Array, Array]:
        """Count and sums of the events with ``since_ms <= t < time_ms``, as ``AsOfSums.read``."""
        old, new = (tier.read(keys, time_ms, since_ms) for tier in (self.base, self.recent))
        return old[0] + new[0], old[1] + new[1]
