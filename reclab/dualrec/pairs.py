"""Pairs: candidates of the creator side as columns, and the pairs that must not be given again.

    key(i, u) = row_i n_users + row_u,   sorted, so that millions are looked up at once

Reference: chapter 2, section 2.2 (exposed items are filtered), seen from the item.
Simplified: industry asks a Bloom filter of each user.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from reclab.core.types import Array
from reclab.stores.user_features import UserFeatures

PART = 65_536  # users whose exposures are read at a time: bounds the memory


class Pairs(NamedTuple):
    """``item`` (n,) positions in the list of items asked for; ``user`` (n,) rows; ``score``
    float32; ``reason`` int8."""

    item: Array
    user: Array
    score: Array
    reason: Array

    @classmethod
    def none(cls) -> "Pairs":
        """No pairs."""
        rows = np.zeros(0, np.int64)
        return cls(rows, rows, np.zeros(0, np.float32), np.zeros(0, np.int8))

    @classmethod
    def joined(cls, parts: Sequence["Pairs"]) -> "Pairs":
        """One after the other."""
        return cls(*(np.concatenate(column) for column in zip(*parts, strict=True)))

    def take(self, rows: Array) -> "Pairs":
        """Those at ``rows`` (positions, or a mask)."""
        return Pairs(*(column[rows] for column in self))

    def of_items(self, places: Array) -> "Pairs":
        """The same pairs; item p is now ``places[p]``."""
        return self._replace(item=places[self.item])


def keys(item_row: Array, user_row: Array, n_users: int) -> Array:
    """(n,) one number a pair."""
    return np.asarray(item_row * np.int64(n_users) + user_row)


def known(key: Array, among: Array) -> Array:
    """(n,) bool: is the key among the sorted ones?

    >>> known(np.array([3, 4]), np.array([1, 4, 9])).tolist()
    [False, True]
    """
    if not len(among):
        return np.zeros(len(key), bool)
    at = np.searchsorted(among, key).clip(max=len(among) - 1)
    return np.asarray(among[at] == key)


def shown_before(users: UserFeatures, user_rows: Array, item_rows: Array, now_ms: int) -> Array:
    """Sorted keys of these users' exposures before ``now_ms`` to any of these items."""
    wanted = np.zeros(int(item_rows.max(initial=0)) + 1, bool)
    wanted[item_rows] = True
    found = [np.zeros(0, np.int64)]
    for part in np.split(user_rows, range(PART, len(user_rows), PART)):
        starts, items = users.seen(part, np.full(len(part), now_ms))
        owner = np.repeat(part, np.diff(starts))
        mine = items < len(wanted)
        mine[mine] = wanted[items[mine]]
        found.append(keys(items[mine], owner[mine], len(users)))
    return np.unique(np.concatenate(found))
