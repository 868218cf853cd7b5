"""What a page is made of when nobody knows better: the weave, and the last-resort pool (兜底池).

    page = what was blended, each card once, then the pool's first items that are not on it yet

The page always has the length asked for.

Simplified: industry keeps a pool for each region and age, refreshed every few minutes.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from reclab.core.errors import check
from reclab.core.types import Array, Candidates, Request

LONGEST = 100  # cards of a page, by Request.n


def weave(request: Request, candidates: Candidates) -> Array:
    """Weave by business: everyone's first, everyone's second, and so on.

    >>> business, place = np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1])
    >>> both = Candidates(1, np.zeros(4, int), np.arange(4))
    >>> weave(Request(1, 0, n=3), both.with_columns(business=business, place=place)).tolist()
    [0, 2, 1]
    """
    return np.lexsort((candidates["business"], candidates["place"]))[: request.n]


class RowLookup(Protocol):
    """Item ids <-> rows and features, as the forward index has them: -1 = an unknown id."""

    @property
    def ids(self) -> Array: ...

    def rows(self, ids: Array) -> Array: ...

    def get(self, rows: Array, names: tuple[str, ...]) -> dict[str, Array]: ...


class Filler(Protocol):
    """Makes a page whole: cards ``rows`` (k,) and their ``slots`` (k,), rising and below ``n`` ->
    (n,) rows of the page, and (n,) which of the given cards stands in each slot, -1 = another. A
    page that is right as it came is ``rows`` itself."""

    def fill(self, rows: Array, slots: Array, n: int) -> tuple[Array, Array]: ...


class LastResort:
    """Items that are shown when nothing better has come: at least a whole page of them."""

    def __init__(self, item_ids: Sequence[int] | Array, index: RowLookup) -> None:
        ids = np.array([*dict.fromkeys(np.asarray(item_ids).tolist())], np.int64)
        rows = index.rows(ids)
        self.rows = rows[rows >= 0]
        enough = f"hold at least {LONGEST} different items of the index, for the longest page"
        good = "the 500 most popular"
        check(len(self.rows) >= LONGEST, "last-resort pool", len(self.rows), enough, good)

    def fill(self, rows: Array, slots: Array, n: int) -> tuple[Array, Array]:
        """The cards stay where they are; every other slot gets the pool's first that are not on
        the page."""
        if len(rows) == n:
            return rows, np.arange(n)
        page, have = np.full(n, -1, np.int64), {*rows.tolist()}
        page[slots] = rows
        at = np.full(n, -1)
        at[slots] = np.arange(len(rows))
        more = [row for row in self.rows[: n + len(rows)].tolist() if row not in have]
        page[page < 0] = more[: n - len(rows)]
        return page, at
