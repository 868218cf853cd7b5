"""Order, identity and repetition of rows by integer keys, without a Python loop.

Ids of data sets are mostly dense (0, 1, 2, …), so that a table indexed by the id gives in O(n)
what sorting gives in O(n log n); sparse ids are sorted.

Reference: counting sort; Knuth, "The Art of Computer Programming", vol. 3, 5.2.

Simplified: industry lets a query engine do this on many machines.
"""

from collections.abc import Sequence

import numpy as np

from reclab.core.tables import Array


def _is_dense(ids: Array) -> bool:
    return bool(len(ids)) and ids.min() >= 0 and ids.max() < 4 * len(ids) + 1_000_000


def codes(ids: Array) -> tuple[Array, Array]:
    """(sorted unique ids, position of each id among them), as ``np.unique`` with inverse.

    >>> codes(np.array([7, 3, 7]))
    (array([3, 7]), array([1, 0, 1]))
    """
    if not _is_dense(ids):
        unique, inverse = np.unique(ids, return_inverse=True)
        return unique, inverse
    present = np.zeros(int(ids.max()) + 1, bool)
    present[ids] = True
    return np.flatnonzero(present), (np.cumsum(present) - 1)[ids]


def first_rows(ids: Array) -> tuple[Array, Array]:
    """(sorted unique ids, first row of each), as ``np.unique`` with index.

    >>> first_rows(np.array([7, 3, 7]))
    (array([3, 7]), array([1, 0]))
    """
    if not _is_dense(ids):
        unique, index = np.unique(ids, return_index=True)
        return unique, index
    row = np.full(int(ids.max()) + 1, -1, np.int64)
    row[ids[::-1]] = np.arange(len(ids) - 1, -1, -1)  # the last to write is the first row
    unique = np.flatnonzero(row >= 0)
    return unique, row[unique]


def stable_order(keys: Array) -> Array:
    """Positions that sort integer keys, equal keys in their old order.

    >>> stable_order(np.array([5, 2, 5, 1]))
    array([3, 1, 0, 2])
    """
    n = len(keys)
    if not n:
        return np.zeros(0, np.int64)
    spread = int(keys.max()) - int(keys.min())
    if spread >= 2**62 // n:
        return np.argsort(keys, kind="stable")
    mixed = (keys - keys.min()) * n + np.arange(n)  # all different: the fastest sort is stable
    return np.sort(mixed) % n


def repeated(columns: dict[str, Array], names: Sequence[str]) -> Array:
    """(n,) bool: rows that repeat an earlier row in the named columns.

    Rows are grouped by a 64-bit mix of their values, and neighbours of equal mix compared value
    by value, so that a clash of mixes never makes two different rows equal.
    """
    mix = _mix([columns[name] for name in names])
    twice = np.zeros(len(mix), bool)
    order = np.argsort(mix)
    same_mix = mix[order[1:]] == mix[order[:-1]]
    member = np.zeros(len(mix), bool)
    member[order[1:][same_mix]] = True
    member[order[:-1][same_mix]] = True
    rows = np.flatnonzero(member)
    rows = rows[np.argsort(mix[rows], kind="stable")]
    later, earlier = rows[1:], rows[:-1]
    same = mix[later] == mix[earlier]
    for name in names:
        now, before = columns[name][later], columns[name][earlier]
        equal = now == before
        same &= equal | ((now != now) & (before != before)) if now.dtype.kind == "f" else equal
    twice[later[same]] = True
    return twice


def _mix(columns: Sequence[Array]) -> Array:
    """(n,) uint64: multiply and shift, column by column."""
    mix = np.zeros(len(columns[0]), np.uint64)
    with np.errstate(over="ignore"):
        for values in columns:
            if values.dtype == object:
                values = np.unique(values.astype(str), return_inverse=True)[1]
            bits = np.ascontiguousarray(values).astype("f8" if values.dtype.kind == "f" else "i8")
            mix = (mix ^ bits.view(np.uint64)) * np.uint64(0x9E3779B97F4A7C15)
            mix ^= mix >> np.uint64(29)
    return mix
