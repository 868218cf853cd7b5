"""Co-visitation counts: how often item j was liked shortly after (or before) item i.

    c_ij = sum over pairs (i at t_i, j at t_j) of one group, at most w positives apart, of
           direction * 2^(-|t_j - t_i| / gap) * 2^(-(now - max(t_i, t_j)) / fresh)

with direction 1 where i came first and ``backward`` where j did. With infinite half-lives, w as
long as the history and direction 1 both ways, C is X'X without its diagonal, X the 0/1 matrix of
groups by items.

Reference: Linden, Smith and York 2003 (item-to-item collaborative filtering).
Simplified: industry counts on a cluster, weighs down very active users, and filters fraud.
"""

import numpy as np
import scipy.sparse as sp

from reclab.cascade.retrieval.events import Events, halvings
from reclab.cascade.retrieval.packed import best_first
from reclab.core.types import Array

CHUNK = 500_000  # events counted at a time: bounds the memory of the pairs in flight


def pair_counts(
    events: Events,
    n_items: int,
    now_ms: int,
    window: int,
    gap_hours: float,
    fresh_hours: float,
    backward: float,
    at_most: int,
    is_new: Array | None = None,
) -> sp.csr_matrix:
    """(n_items, n_items) float32 matrix C of the formula above.

    ``events`` sorted by group, then time. With ``is_new`` (n,) bool, only pairs of which at least
    one event is new are counted: what an update adds to the counts before it. ``at_most`` pairs
    are held, the smallest are forgotten.
    """
    counts = sp.csr_matrix((n_items, n_items), dtype=np.float32)
    for start in range(0, len(events.item_row), CHUNK):
        # a chunk reads ``window`` events into the next one, so that no pair is lost or doubled
        piece = events.take(slice(start, start + CHUNK + window))
        new = None if is_new is None else is_new[start : start + CHUNK + window]
        first, second = _pairs(piece, window, min(CHUNK, len(piece.item_row)), new)
        gap_ms = piece.time_ms[second] - piece.time_ms[first]
        near = (gap_ms <= 10 * 3_600_000 * gap_hours) & (
            piece.item_row[first] != piece.item_row[second]
        )  # past ten half-lives a pair weighs less than a thousandth
        first, second, gap_ms = first[near], second[near], gap_ms[near]
        weight = halvings(gap_ms / gap_hours + (now_ms - piece.time_ms[second]) / fresh_hours, 1.0)
        ahead = _matrix(weight, piece.item_row[first], piece.item_row[second], n_items)
        counts = trim(counts + ahead if counts.nnz else ahead, at_most)
    if backward:
        counts = counts + counts.T.tocsr() * np.float32(backward)
    return counts


def _pairs(events: Events, window: int, n_first: int, new: Array | None) -> tuple[Array, Array]:
    """Positions (first, second) of all pairs at most ``window`` apart in one group."""
    firsts, seconds = [], []
    group, n = events.group, len(events.group)
    for lag in range(1, min(window, n - 1) + 1):
        same = group[lag:] == group[:-lag]
        if new is not None:
            same &= new[lag:] | new[:-lag]
        first = np.flatnonzero(same[:n_first])
        firsts.append(first)
        seconds.append(first + lag)
    if not firsts:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    return np.concatenate(firsts), np.concatenate(seconds)


def _matrix(weight: Array, row: Array, column: Array, n: int) -> sp.csr_matrix:
    """Sum the weights of equal (row, column)."""
    place = (row.astype(np.int32), column.astype(np.int32))
    return sp.coo_matrix((weight.astype(np.float32), place), (n, n)).tocsr()


def trim(counts: sp.csr_matrix, at_most: int) -> sp.csr_matrix:
    """Forget the smallest counts once there are a quarter more than ``at_most``: bounds the
    memory, without a search for the smallest at every update."""
    if counts.nnz <= 1.25 * at_most:
        return counts
    floor = np.partition(counts.data, counts.nnz - at_most)[counts.nnz - at_most]
    counts.data[counts.data < floor] = 0
    if np.count_nonzero(counts.data) > 1.25 * at_most:  # ties: singletons all weigh the same
        counts.data[counts.data <= floor] = 0
    counts.eliminate_zeros()
    return counts


def top_neighbours(
    counts: sp.csr_matrix, rows: Array, divide_by: Array, n: int
) -> tuple[Array, Array]:
    """The ``n`` heaviest columns of each row of ``counts`` after dividing column j by
    ``divide_by[j]``: ids (len(rows), n) int32, -1 padded, best first, and weights float32."""
    ids = np.full((len(rows), n), -1, np.int32)
    weights = np.zeros((len(rows), n), np.float32)
    size = np.cumsum(np.diff(counts.indptr)[rows])
    start = 0
    while start < len(rows):  # at most 4,096 rows and half a million counts at a time
        done = size[start - 1] if start else 0
        stop = min(start + 4096, max(start + 1, int(np.searchsorted(size, done + 500_000))))
        block = counts[rows[start:stop]]
        row = np.repeat(np.arange(block.shape[0]), np.diff(block.indptr))
        value = (block.data / divide_by[block.indices]).astype(np.float32)
        order = best_first(row, value)
        place = np.arange(len(order)) - block.indptr[row]
        best = place < n
        order, row, place = order[best], row[best], place[best]
        ids[start + row, place], weights[start + row, place] = block.indices[order], value[order]
        start = stop
    return ids, weights
