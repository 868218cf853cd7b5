"""The neighbour table: what a user's latest items have for neighbours, summed.

    score(u, j) = sum over the last L positives h_0, h_1, ... (newest first) of  d^l w_{h_l, j}

The N heaviest neighbours of each item lie in two (n_items, N) arrays, so an answer is one gather,
one sort, one sum, whatever the weights w were counted from (``item_cf``, ``swing``).

Reference: Deshpande and Karypis 2004 (item-based top-N recommendation).
Simplified: industry keeps the table in a key-value store, sharded by item.
"""

import numpy as np

from reclab.cascade.retrieval.packed import write_best
from reclab.core.types import Array

SLOTS = 16_000  # neighbours weighed at a time: few enough to stay in the processor's cache


def answer(
    history: Array, k: int, ids: Array, weights: Array, length: int, position_decay: float
) -> tuple[Array, Array]:
    """The ``k`` best by summed weights, without the items of the history itself.

    ``history`` (B, W) item rows, newest last, -1 padded; ``ids``, ``weights`` (n_items, N) the
    table, -1 padded. Returns (B, k) item rows, best first, -1 padded (a whole row of -1 for a user
    without history), and (B, k) float32 scores.
    """
    newest_first = history[:, : -length - 1 : -1]
    item_row = np.full((len(newest_first), k), -1, np.int64)
    score = np.zeros((len(newest_first), k), np.float32)
    block = max(1, min(256, SLOTS // (length * ids.shape[1])))
    for start in range(0, len(newest_first), block):
        part = slice(start, start + block)
        owner, item, value = _votes(newest_first[part], ids, weights, position_decay)
        if len(owner):
            write_best(owner, item, value, item_row[part], score[part])
    return item_row, score


def _votes(history: Array, ids: Array, weights: Array, d: float) -> tuple[Array, Array, Array]:
    """Who weighs which item how much; what the user liked is no answer and weighs -inf."""
    owner, age = np.nonzero((history >= 0) & (history < len(ids)))
    liked = history[owner, age]
    decay = np.float32(d) ** age.astype(np.float32)
    near = ids[liked]
    value = weights[liked] * decay[:, None]
    return (
        np.concatenate([np.repeat(owner, near.shape[1]), owner]),
        np.concatenate([near.ravel(), liked]),
        np.concatenate([value.ravel(), np.full(len(liked), -np.inf, np.float32)]),
    )
