"""Packed keys: (owner, item, slot) in one 64-bit number, so that grouping is one plain sort.

    key = owner * 2^(31 + s) + item * 2^s + slot,   s = bits of the largest slot

NumPy sorts plain integers several times faster than it sorts rows of columns, and ties come out
in slot order, so that the answer for a request does not depend on what else is in the batch.

Reference: radix and key packing as in Knuth, The Art of Computer Programming 3, 5.2.5.
Simplified: industry does this in C++ or on a GPU.
"""

import numpy as np

from reclab.core.types import Array


def sum_equal(owner: Array, item: Array, value: Array) -> tuple[Array, Array, Array]:
    """Sum the values of equal (owner, item), all (n,); by owner, then item, as int64, int64 and the
    values' dtype. Only sums above 0 are returned. owner < 256, item < 2^31 - 1, n < 2^23.

    >>> o, i, v = sum_equal(np.zeros(3, int), np.array([7, 4, 7]), np.array([1.0, 2.0, 3.0]))
    >>> i.tolist(), v.tolist()
    ([4, 7], [2.0, 4.0])
    """
    slot_bits = len(item).bit_length()
    key = ((owner << 31) | (item + 1)) << slot_bits | np.arange(len(item))
    key.sort()
    slot = key & ((1 << slot_bits) - 1)
    key >>= slot_bits
    starts = np.flatnonzero(np.concatenate([[True], key[1:] != key[:-1]]))
    total = np.add.reduceat(value[slot], starts)
    good = total > 0
    key = key[starts[good]]
    return key >> 31, (key & 0x7FFFFFFF) - 1, total[good]


def best_first(owner: Array, value: Array) -> Array:
    """Positions sorted by owner, then larger value (float32, >= 0) first; ties keep their order.
    The bits of owner and of n together < 32.

    >>> best_first(np.array([0, 0, 1]), np.array([1, 5, 2], np.float32)).tolist()
    [1, 0, 2]
    """
    # the bits of a positive float32 sort like the number
    slot_bits = len(value).bit_length()
    falling = 0x7FFFFFFF - value.view(np.int32).astype(np.int64)
    key = ((owner << 31) | falling) << slot_bits | np.arange(len(value))
    key.sort()
    return key & ((1 << slot_bits) - 1)


def write_best(owner: Array, item: Array, value: Array, item_row: Array, score: Array) -> None:
    """Sum the float32 values of equal (owner, item), and write each owner's largest sums above 0
    into ``item_row`` and ``score`` (B, k), best first, in place. Limits as in ``sum_equal``.

    >>> rows, sums = np.full((1, 2), -1), np.zeros((1, 2), np.float32)
    >>> value = np.array([1, 5, 2], np.float32)
    >>> write_best(np.zeros(3, int), np.array([7, 4, 7]), value, rows, sums)
    >>> rows.tolist(), sums.tolist()
    ([[4, 7]], [[5.0, 3.0]])
    """
    owner, item, value = sum_equal(owner, item, value)
    order = best_first(owner, value)
    owner = owner[order]
    place = np.arange(len(owner)) - np.searchsorted(owner, np.arange(len(item_row)))[owner]
    fits = place < item_row.shape[1]
    owner, place, order = owner[fits], place[fits], order[fits]
    item_row[owner, place], score[owner, place] = item[order], value[order]
