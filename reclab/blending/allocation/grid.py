"""The candidates of many requests as one block of arrays, best first within each business.

    cell (request, business, j) = the j-th best candidate that the business has sent

A candidate that no page could use is left out: one whose value is not a number, and one behind so
many better ones of its business and of its creator that no rule could make room for it.
"""

from typing import NamedTuple

import numpy as np

from reclab.blending.allocation.rules import EMPTY, PageRules
from reclab.core.types import Array, Candidates

END = -2  # creator of the cells of the last business, which stands for an empty slot


class Grid(NamedTuple):
    """Cells (B, businesses + 1, m + 1): ``position`` of the candidate (-1 = none), ``value`` scaled
    to -1 ... 1 within the request (-inf = none), ``creator``. The last business is the empty slot,
    worth 0; the last cell of every other business is a stop, worth -inf. ``supply`` (B, businesses)
    usable candidates."""

    position: Array
    value: Array
    creator: Array
    supply: Array


def grid_of(candidates: Candidates, value: Array, rules: PageRules) -> Grid:
    """Lay out candidates by ``value`` (n,), which may differ from their own; NaN = not usable."""
    n_requests, n = candidates.n_requests, len(rules.businesses)
    usable = np.isfinite(value)
    rows = np.arange(len(value)) if usable.all() else usable.nonzero()[0]
    group = candidates.request_row.take(rows) * n + candidates["business"].take(rows)
    worth, creator = value.take(rows), candidates["creator"].take(rows)
    order = np.lexsort((-worth, group))
    group, worth, creator, rows = (x.take(order) for x in (group, worth, creator, rows))
    size = np.bincount(group, minlength=n_requests * n)
    start = size.cumsum() - size
    place = np.arange(len(group)) - start.take(group)
    room = _room(rules)
    if len(size) and size.max() > room:
        keep = _few_of_a_creator(group, creator, rules)
        group, worth, creator, rows = (x[keep] for x in (group, worth, creator, rows))
        kept = np.bincount(group, minlength=n_requests * n)
        place = np.arange(len(group)) - (kept.cumsum() - kept).take(group)
        keep = place < room
        group, worth, creator, rows, place = (x[keep] for x in (group, worth, creator, rows, place))
    width = 1 + (int(place.max()) + 1 if len(place) else 0)
    return _filled(n_requests, n, width, group, place, rows, worth, creator, size)


def _filled(
    n_requests: int, n: int, width: int, group: Array, place: Array,
    rows: Array, worth: Array, creator: Array, size: Array,
) -> Grid:  # fmt: skip
    cell = (group // n * (n + 1) + group % n) * width + place
    shape = (n_requests, n + 1, width)
    position = np.full(shape, EMPTY)
    position.ravel()[cell] = rows
    scaled = np.full(shape, -np.inf)
    scaled[:, n] = 0.0
    most = np.zeros(n_requests)
    np.maximum.at(most, group // n, np.abs(worth))
    most[most == 0] = 1.0
    scaled.ravel()[cell] = worth / most.take(group // n)
    who = np.full(shape, END)
    nobody = creator < 0  # bound by no rule: each as if by a creator of its own
    who.ravel()[cell] = np.where(nobody, END - 1 - np.arange(len(rows)), creator)
    return Grid(position, scaled, who, size.reshape(-1, n))


def _of_a_creator(rules: PageRules) -> int:
    """Most cards that one creator can have on a page."""
    return -(-rules.slots // (rules.creator_gap + 1))


def _room(rules: PageRules) -> int:
    """Best cards of a business among which a page always finds the one it takes: those placed
    before, those of the creators that must wait, and it."""
    return rules.slots + rules.creator_gap * _of_a_creator(rules)


def _few_of_a_creator(group: Array, creator: Array, rules: PageRules) -> Array:
    """(n,) bool: among the best of its creator in its business, as many as fit on a page. Given in
    order of group, best first."""
    order = np.lexsort((creator, group))
    g, c = group[order], creator[order]
    new = np.ones(len(order), bool)
    new[1:] = (g[1:] != g[:-1]) | (c[1:] != c[:-1])
    every = np.arange(len(order))
    place = every - np.maximum.accumulate(np.where(new, every, 0))
    keep = np.empty(len(order), bool)
    keep[order] = (place < _of_a_creator(rules)) | (c < 0)
    return keep
