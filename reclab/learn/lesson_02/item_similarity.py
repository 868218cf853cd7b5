"""Exercise 2.1: item-to-item similarity, the heart of collaborative-filtering retrieval.

s_ij = c_ij / sqrt(n_i n_j) for i != j, s_ii = 0, where c_ij counts the users who took both i and j
and n_i those who took i. Source: Sarwar et al. 2001 (item-based collaborative filtering).

The live cascade calls it with the 0/1 matrix of the items it knows, float32 (users, items).

Simplified: industry keeps only each item's best neighbours, weighs users by their activity and
pairs by the time between the two clicks.
"""

import numpy as np

from reclab.core.chance import rng
from reclab.core.types import Array
from reclab.learn.exercise import Task
from reclab.learn.probe import Case, Misconception, Probe


def item_similarity(taken: np.ndarray) -> np.ndarray:
    """(users, items) 0/1 -> (items, items) cosine of the columns, zero on the diagonal."""
    both = taken.T @ taken  # (items, items): users who took both
    count = np.diag(both).copy()  # (items,): users who took each
    norm = np.sqrt(np.outer(count, count))
    similarity = np.divide(both, norm, out=np.zeros_like(norm), where=norm > 0)
    np.fill_diagonal(similarity, 0)
    return similarity


def _diagonal_kept(taken: Array) -> Array:
    similarity = item_similarity(taken)
    np.fill_diagonal(similarity, taken.any(0))
    return similarity


def _diagonal_of_ones(taken: Array) -> Array:
    similarity = item_similarity(taken)
    np.fill_diagonal(similarity, 1)
    return similarity


def _raw_counts(taken: Array) -> Array:
    both = taken.T @ taken
    np.fill_diagonal(both, 0)
    return both


def _counts_with_diagonal(taken: Array) -> Array:
    return np.asarray(taken.T @ taken)


def _given_the_first(taken: Array) -> Array:
    share = _raw_counts(taken) / np.maximum(taken.sum(0), 1)[:, None]
    return np.asarray(share)


def _given_the_second(taken: Array) -> Array:
    return _given_the_first(taken).T


def _no_root(taken: Array) -> Array:
    count = np.maximum(taken.sum(0), 1)
    return np.asarray(_raw_counts(taken) / np.outer(count, count))


def _jaccard(taken: Array) -> Array:
    both, count = _raw_counts(taken), taken.sum(0)
    either = np.maximum(count[:, None] + count[None, :] - both, 1)
    return np.asarray(both / either)


def _division_by_zero(taken: Array) -> Array:
    count = taken.sum(0)
    similarity = (taken.T @ taken) / np.sqrt(np.outer(count, count))
    np.fill_diagonal(similarity, 0)
    return np.asarray(similarity)


def _between_users(taken: Array) -> Array:
    return item_similarity(taken.T)


_COUNTS = Misconception(
    "counts of common users, not a cosine",
    _raw_counts,
    "A blockbuster shares users with everything, so it becomes the neighbour of everything "
    "and retrieval turns into a popularity list. Divide by sqrt(n_i n_j).",
)
_DIAGONAL = Misconception(
    "the diagonal is still there",
    _diagonal_kept,
    "Every item is its own nearest neighbour, with similarity 1, so each user is first offered "
    "what they have just watched. Set the diagonal to 0.",
)
MISCONCEPTIONS = (
    _DIAGONAL,
    Misconception(_DIAGONAL.name, _diagonal_of_ones, _DIAGONAL.message),
    _COUNTS,
    Misconception(_COUNTS.name, _counts_with_diagonal, _COUNTS.message),
    Misconception(
        "divided by one item's count only",
        _given_the_first,
        "c_ij / n_i is the share of i's users who also took j: it is not symmetric, and it "
        "favours a popular j. Divide by the root of both counts.",
    ),
    Misconception(
        "divided by one item's count only",
        _given_the_second,
        "c_ij / n_j is the share of j's users who also took i: it is not symmetric, and it "
        "favours a rare j that one person took. Divide by the root of both counts.",
    ),
    Misconception(
        "the square root is missing",
        _no_root,
        "c_ij / (n_i n_j) punishes popularity twice: two items that one person took win over two "
        "that a hundred people took. The length of a 0/1 column is sqrt(n).",
    ),
    Misconception(
        "Jaccard, not cosine",
        _jaccard,
        "Common users over users of either is a fair similarity too, but not the one asked for. "
        "The cosine divides by sqrt(n_i n_j).",
    ),
    Misconception(
        "0 / 0 for items nobody took",
        _division_by_zero,
        "A new item has n = 0, and 0 / 0 is NaN. One NaN is enough to spoil a sort. An item "
        "nobody took is similar to nothing: 0.",
    ),
    Misconception(
        "similarity of users, not of items",
        _between_users,
        "Rows are users and columns are items: `taken @ taken.T` compares users. Items are "
        "compared by `taken.T @ taken`.",
    ),
)


def _random(users: int, items: int, share: float) -> Array:
    return (rng(2, "exercise-2.1", users).random((users, items)) < share).astype(np.float32)


_SMALL = np.array([[1, 1, 0, 0], [1, 1, 1, 0], [1, 0, 1, 1]], np.float32)
CASES = (
    Case("three users, four items", (_SMALL,)),
    Case("an item nobody took", (np.array([[1, 1, 0], [1, 1, 0], [0, 1, 0]], np.float32),)),
    Case("one user", (np.ones((1, 2), np.float32),)),
    Case("200 users, 300 items", (_random(200, 300, 0.05),)),
)

TASK = Task(
    id="2.1",
    title="Item-to-item similarity",
    asked="Write item_similarity(taken): taken is a (users, items) matrix of 0 and 1, 1 = this "
    "user took this item. Return the (items, items) cosine similarity c_ij / sqrt(n_i n_j), where "
    "c_ij counts the users who took both and n_i those who took i. No item is its own neighbour: "
    "the diagonal is 0. An item nobody took has similarity 0 to all.",
    starter='def item_similarity(taken):\n    """(users, items) 0/1 -> (items, items) cosine, '
    'zero on the diagonal."""\n    ...',
    judge=Probe(
        item_similarity,
        CASES,
        MISCONCEPTIONS,
        praise="The live cascade can now retrieve with your similarity.",
    ),
    hints=(
        "For 0/1 columns the dot product of two columns counts the users who took both. Which "
        "single matrix product gives all pairs at once?",
        "both = taken.T @ taken has c_ij off the diagonal and n_i on it. The length of column i "
        "is sqrt(n_i); np.outer builds all the products n_i n_j.",
        "Divide only where the norm is above 0: np.divide(both, norm, out=np.zeros_like(norm), "
        "where=norm > 0). At the end np.fill_diagonal(similarity, 0).",
    ),
    solution=item_similarity,
    why="One matrix product counts all pairs. Dividing by the root of both counts removes most of "
    "the pull of popular items, which raw counts keep. The zero diagonal matters because retrieval "
    "asks 'what else?', and the guard against 0 / 0 because new items arrive every minute.",
    when_slow="Three nested loops need users × items² steps: 18 million even here. One matrix "
    "product, taken.T @ taken, counts all pairs at once.",
    limit_s=10.0,
)
