"""Row lookup: from identities to positions in an array, -1 = unknown, in one gather.

Compact ids (largest - smallest <= 4 n + 1024) index a dense array: row = dense[id - smallest].
Others are found by binary search in the sorted ids. Reference: Knuth, TAOCP vol. 3, 6.2.1.

Simplified: industry shards this table over machines by a hash of the id.
"""

import numpy as np

from reclab.core.errors import DataError
from reclab.core.types import Array


class RowLookup:
    """``ids`` (n,) int64, unique, in row order. ``rows(ids)`` gives positions, -1 = unknown.

    >>> lookup = RowLookup(np.array([30, 10, 20]))
    >>> lookup.rows(np.array([10, 11, 30])).tolist()
    [1, -1, 0]
    """

    def __init__(self, ids: Array, what: str = "id") -> None:
        self.what = what
        self.ids: Array = np.zeros(0, np.int64)
        self.add(ids)

    def __len__(self) -> int:
        return len(self.ids)

    def add(self, ids: Array) -> None:
        """Give the new ``ids`` the next rows; rows given before never change.

        Raises ``DataError`` when an id occurs twice.
        """
        whole = np.concatenate([self.ids, np.asarray(ids, np.int64)])
        order = np.argsort(whole, kind="stable")
        ordered = whole[order]
        twice = np.flatnonzero(ordered[1:] == ordered[:-1])
        if len(twice):
            raise DataError(
                f"{self.what} must be unique: {int(ordered[twice[0]])} occurs twice "
                f"({len(twice)} such rows)"
            )
        self.ids = whole
        self._build(ordered, order)

    def _build(self, ordered: Array, order: Array) -> None:
        """One slot beyond each end answers -1, so that clipping an index is the range check."""
        low, high = (int(ordered[0]), int(ordered[-1])) if len(ordered) else (0, -1)
        self._dense: Array | None = None
        # beyond 2^62 a difference of ids could wrap around into the array
        if high - low <= 4 * len(ordered) + 1024 and -(1 << 62) < low and high < 1 << 62:
            self._low = low - 1
            self._dense = np.full(high - low + 3, -1, np.int64)
            self._dense[ordered - self._low] = order
        self._ordered, self._order = ordered, order

    @property
    def dense(self) -> bool:
        """Whether the ids are compact enough for a dense array."""
        return self._dense is not None

    def rows(self, ids: Array) -> Array:
        """Rows of ``ids`` (any shape) as int64; -1 where an id is unknown."""
        ids = np.asarray(ids, np.int64)
        if self._dense is not None:
            return self._dense.take(ids - self._low, mode="clip")
        place = self._ordered.searchsorted(ids).clip(max=len(self._ordered) - 1)
        return np.where(self._ordered[place] == ids, self._order[place], -1)
