"""Whole-list metrics: what a list is like beyond the sum of its cards.

    intra-list distance = mean over pairs i < j of 1 - cos(v_i, v_j)
    novelty             = mean of -log2 p_i,   p_i = (exposures of i + 1) / sum of (exposures + 1)
    entropy             = -sum_g s_g log2 s_g,   s_g = share of the list's cards in group g
    balance             = entropy / log2(cards): 1 = each card in a group of its own, 0 = one group
    KL to the taste     = sum_g s_g log2(s_g / t_g),   t = the user's taste
    Gini                = inequality of what the lists together give to each creator

A list is a row of item rows, -1 = no card; B lists (B, k) are measured at once. A group (category,
creator) of -1 is unknown, and its card is left out.
References: Ziegler et al. 2005 (intra-list); Vargas and Castells 2011 (novelty); Shannon 1948;
Steck 2018 (calibration: KL to the taste).
Simplified: industry weighs the cards by the chance that they are looked at.
"""

import numpy as np

from reclab.core.errors import DataError
from reclab.core.metrics import gini
from reclab.core.types import Array


def intra_list_distance(lists: Array, vectors: Array) -> Array:
    """(B,) diversity 0 … 1 (to 2 where cosines are negative) of ``lists`` (B, k) by unit
    ``vectors`` (n_items, d); NaN for fewer than two cards. O(k d): the pairs are in
    ``|sum of v|^2 = sum of |v|^2 + 2 sum over pairs``.

    >>> intra_list_distance(np.array([[0, 1, -1], [0, 0, -1]]), np.eye(2)).tolist()
    [1.0, 0.0]
    """
    there = lists >= 0
    cards = np.where(there[:, :, None], vectors[lists], 0).astype(np.float64)
    alike = (np.square(cards.sum(1)).sum(1) - np.square(cards).sum((1, 2))) / 2
    n = there.sum(1)
    return 1 - _over(alike, n * (n - 1) / 2)


def novelty(lists: Array, exposure: Array) -> Array:
    """(B,) bits of surprise of ``lists`` (B, k) by past ``exposure`` (n_items,); NaN when empty.
    Half as often shown is one bit more; one exposure is added to each, so that none is infinite.

    >>> novelty(np.array([[0, 1], [1, -1]]), np.array([2, 0])).round(2).tolist()
    [1.21, 2.0]
    """
    surprise = -np.log2((exposure + 1) / (exposure + 1).sum())
    there = lists >= 0
    return _over(np.where(there, surprise[lists], 0).sum(1), there.sum(1))


def distinct_share(lists: Array, group: Array) -> Array:
    """(B,) groups in the list over cards in it: 1 = no creator or category comes twice; NaN when
    no group is known. ``group`` (n_items,).

    >>> distinct_share(np.array([[0, 1, 2, -1]]), np.array([5, 5, 7])).round(2).tolist()
    [0.67]
    """
    there, same = _same_group(lists, group)
    return _over((there / same).sum(1), there.sum(1))  # a group of m cards counts m times 1 / m


def entropy(lists: Array, group: Array) -> Array:
    """(B,) bits: how evenly the cards spread over groups (n_items,); NaN when no group is known.

    >>> entropy(np.array([[0, 1, 2, 3], [0, 1, -1, -1]]), np.array([5, 5, 7, 7])).tolist()
    [1.0, 0.0]
    """
    there, same = _same_group(lists, group)
    n = there.sum(1)
    return _over((there * np.log2(np.maximum(n, 1)[:, None] / same)).sum(1), n)


def balance(lists: Array, group: Array) -> Array:
    """(B,) entropy over the most that so many cards can have, 0 … 1; NaN for fewer than two.

    >>> balance(np.array([[0, 1, 2, 3]]), np.array([5, 5, 7, 7])).tolist()
    [0.5]
    """
    n = ((lists >= 0) & (group[lists] >= 0)).sum(1)
    return _over(entropy(lists, group), np.log2(np.maximum(n, 1)))


def kl_to_taste(lists: Array, category: Array, taste: Array, smoothing: float = 0.01) -> Array:
    """(B,) bits by which the list's categories differ from the user's taste, 0 = the same shares;
    NaN when no category is known. ``category`` (n_items,), ``taste`` (B, n_categories) shares; a
    part ``smoothing`` of equal shares is mixed in, so that no category is impossible. Raises
    ``DataError`` for a category beyond the taste's.

    >>> taste = np.array([[0.5, 0.5], [0.9, 0.1]])
    >>> kl_to_taste(np.array([[0, 1], [0, 1]]), np.array([0, 1]), taste, 0.0).round(2).tolist()
    [0.0, 0.74]
    """
    n_categories = taste.shape[1]
    if category.max(initial=-1) >= n_categories:
        raise DataError(f"taste has {n_categories} categories, an item has {category.max()}")
    mine = np.where(lists >= 0, category[lists], -1)
    taste = (1 - smoothing) * taste + smoothing / n_categories
    there, same = _same_group(lists, category)
    n = there.sum(1)
    wanted = np.where(there, np.take_along_axis(taste, np.maximum(mine, 0), 1), 1)
    with np.errstate(divide="ignore"):  # without smoothing a card can be against all taste
        bits = np.log2(same / np.maximum(n, 1)[:, None]) - np.log2(wanted)
    return _over(np.where(there, bits, 0).sum(1), n)


def exposure_gini(lists: Array, group: Array) -> float:
    """Gini over all groups (creators) of the cards that B lists together give them, 0 = all the
    same; groups that no list names count as given nothing. NaN without any card.

    >>> exposure_gini(np.array([[0, 0], [0, 0]]), np.array([8, 9, 9, 7])).__round__(2)
    0.67
    """
    known, code = np.unique(group[group >= 0], return_inverse=True)
    code_of = np.full(len(group), -1)
    code_of[group >= 0] = code
    given = code_of[lists[lists >= 0]]
    return gini(np.bincount(given[given >= 0], minlength=len(known)))


def _same_group(lists: Array, group: Array) -> tuple[Array, Array]:
    """(B, k) bool: is there a card of a known group; and how many cards of the list are in its
    group, itself included (at least 1)."""
    mine = group[lists]
    there = (lists >= 0) & (mine >= 0)
    equal = (mine[:, :, None] == mine[:, None, :]) & there[:, None, :]
    return there, np.maximum(equal.sum(2), 1)


def _over(total: Array, n: Array) -> Array:
    """total / n, NaN where n is 0."""
    return np.divide(total, n, out=np.full(len(n), np.nan), where=n > 0)
