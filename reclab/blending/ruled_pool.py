"""The ruled pool (兜底池): the last look at a page before it leaves. What is missing comes from the
last-resort pool, and the page obeys its rules, also when every business is dead.

    a page that is full and breaks no rule    leaves as it is
    any other                                 its cards in their order, then the pool's: at every
                                              slot the first of them that the rules allow there

A card that no rule lets stay makes room for one of the pool, and a floor is met from the pool if
its business has sent nothing: the pool should hold that business's items. Cards that are paid for
do not belong into it, for nobody has agreed to pay.

Simplified: industry keeps such pages ready for each group of users, with rules of its own.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np

from reclab.blending.allocation.policy import first_that_fit
from reclab.blending.allocation.rules import EMPTY, MOST_SLOTS, PageRules
from reclab.blending.page import LastResort, RowLookup
from reclab.core.types import Array, Candidates


class RuledPool:
    """Makes pages whole under ``rules``. ``item_ids`` best first, ``index`` with the columns
    ``business`` (codes of the rules) and ``author_id``. Pages longer than the rules can describe,
    and slots for which the pool has nothing that fits, are filled without them."""

    def __init__(self, item_ids: Sequence[int] | Array, index: RowLookup, rules: PageRules) -> None:
        self.index, self.rules, self.plain = index, rules, LastResort(item_ids, index)
        creator = self._facts(self.plain.rows)[1]
        rank = np.zeros(len(creator), np.int64)  # the how manieth of its creator
        order = np.argsort(creator, kind="stable")
        new = np.append(True, np.diff(creator[order]) != 0)
        every = np.arange(len(order))
        rank[order] = every - np.maximum.accumulate(np.where(new, every, 0))
        self.rows = self.plain.rows[np.lexsort((every, rank))]  # other creators come first
        self._alone = lru_cache(maxsize=MOST_SLOTS)(self._from_pool)

    def fill(self, rows: Array, slots: Array, n: int) -> tuple[Array, Array]:
        """(n,) rows of the page, (n,) which given card stands in each slot, -1 = from the pool."""
        if n > MOST_SLOTS:
            return self.plain.fill(rows, slots, n)
        if len(rows) == n and self.obeys(rows):
            return rows, np.arange(n)
        return self._mended(rows, n) if len(rows) else self._alone(n)

    def obeys(self, rows: Array) -> bool:
        """Whether cards (n,) in this order break no rule of a page of n, floors included."""
        business, creator = (column.tolist() for column in self._facts(rows))
        rules = page_of(self.rules, len(rows))
        return keeps_rules(business, creator, rules)

    def _facts(self, rows: Array) -> tuple[Array, Array]:
        found = self.index.get(rows, ("business", "author_id"))
        return found["business"], found["author_id"].astype(np.int64)

    def _from_pool(self, n: int) -> tuple[Array, Array]:
        return self._mended(np.zeros(0, np.int64), n)

    def _mended(self, rows: Array, n: int) -> tuple[Array, Array]:
        have = {*rows.tolist()}
        more = [row for row in self.rows[: 3 * n].tolist() if row not in have]
        listed = np.concatenate([rows, np.array(more, np.int64)])
        business, creator = self._facts(listed)
        columns = {"business": business, "creator": creator, "value": np.ones(len(listed))}
        candidates = Candidates(1, np.zeros(len(listed), np.int64), listed, columns)
        at = first_that_fit(candidates, page_of(self.rules, n))[0]
        there = at != EMPTY
        page = np.append(listed, EMPTY)[at]
        if not there.all():  # nothing fits any more: a full page comes before the rules
            page = self.plain.fill(page[there], np.flatnonzero(there), n)[0]
        return page, np.where(there & (at < len(rows)), at, -1)


@lru_cache(maxsize=256)
def page_of(rules: PageRules, n: int) -> PageRules:
    """The rules for a page of ``n`` cards: what was allowed for the whole page still is."""
    if n == rules.slots:
        return rules
    whole = {
        name: tuple(n if most >= rules.slots else most for most in getattr(rules, name))
        for name in ("ceilings", "most_in_a_row")
    }
    floors = tuple(least * n // rules.slots for least in rules.floors) if n < rules.slots else ()
    return replace(rules, slots=n, floors=floors or rules.floors, **whole)


def keeps_rules(business: Sequence[int], creator: Sequence[int], rules: PageRules) -> bool:
    """``not violations(...)`` of one full page whose floors bind whatever was sent, in a few
    microseconds: it is asked of every page. Codes and creators (-1 = nobody's), in order."""
    paid, ads, run, last_ad = rules.is_paid.tolist(), 0, 0, None
    for t, (code, who) in enumerate(zip(business, creator, strict=True)):
        run = run + 1 if t and business[t - 1] == code else 1
        if not 0 <= code < len(paid) or run > rules.most_in_a_row[code]:
            return False
        if who >= 0 and who in creator[max(0, t - rules.creator_gap) : t]:
            return False
        if paid[code]:
            ads += 1
            near = last_ad is not None and t - last_ad - 1 < rules.paid_gap
            if t < rules.first_paid or ads > rules.most_paid or near:
                return False
            last_ad = t
    limits = zip(rules.floors, rules.ceilings, strict=True)
    return all(low <= business.count(b) <= high for b, (low, high) in enumerate(limits))
