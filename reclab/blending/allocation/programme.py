"""A page as an integer programme: one binary variable for each card in each slot.

    max  sum_it w_t v_i x_it - M_1 sum_t e_t - M_2 sum_b s_b        x binary, e and s >= 0
    sum_i x_it + e_t = 1,  e_t <= e_t+1,  sum_t x_it <= 1           a card a slot, holes last
    low <= sum of x over the cards of a group and the slots of a window <= high        every rule

Each rule is a group of cards times a set of slots. e_t = 1 is an empty slot and s_b a card short of
a floor: dearer than any page is worth, so they stay 0 where the rules can be met.
Solver: HiGHS (Huangfu and Hall 2018) by ``scipy.optimize``.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp

from reclab.blending.allocation.rules import PageRules
from reclab.blending.allocation.slot_by_slot import below_floor, short_of_page
from reclab.core.types import Array


class Rows(NamedTuple):
    """Constraints of one rule: its name, ``low`` <= ``matrix`` x <= ``high``, with x the cards in
    the slots, then e, then s; ``low`` and ``high`` are numbers or one for each row."""

    name: str
    matrix: sp.coo_matrix
    low: Array | float
    high: Array | float


def page_rows(business: Array, creator: Array, rules: PageRules) -> list[Rows]:
    """All rules of a page for candidates (n,); a floor asks for no more than there is."""
    of_business = np.arange(len(rules.businesses))[:, None] == business
    return [
        *_what_a_page_is(len(business), rules),
        *_paid_rows(of_business, rules),
        *_business_rows(of_business, rules),
        *_creator_rows(creator, rules),
    ]


def _what_a_page_is(n: int, rules: PageRules) -> list[Rows]:
    slots, kinds = rules.slots, len(rules.businesses)
    empty = sp.hstack([sp.eye(slots), sp.coo_matrix((slots, kinds))])
    step = sp.diags([1.0, -1.0], [0, 1], (slots - 1, slots))
    holes = sp.hstack([sp.coo_matrix((slots - 1, n * slots)), step,
                       sp.coo_matrix((slots - 1, kinds))])  # fmt: skip
    return [
        Rows("a card a slot", _block(np.ones((1, n)), np.eye(slots), rules, empty), 1, 1),
        Rows("holes last", holes, -1, 0),
        Rows("a card once", _block(np.eye(n), np.ones((1, slots)), rules), 0, 1),
    ]


def _paid_rows(of_business: Array, rules: PageRules) -> list[Rows]:
    paid, slots = of_business[rules.is_paid].any(0)[None], np.arange(rules.slots)[None]
    gaps = _windows(rules.slots, rules.paid_gap + 1)
    return [
        Rows("most_paid", _block(paid, slots >= 0, rules), 0, rules.most_paid),
        Rows("first_paid", _block(paid, slots < rules.first_paid, rules), 0, 0),
        Rows("paid_gap", _block(paid, gaps, rules), 0, 1),
    ]


def _business_rows(of_business: Array, rules: PageRules) -> list[Rows]:
    slots, kinds, found = rules.slots, len(rules.businesses), []
    whole, sent = np.ones((1, slots)), of_business.sum(1)
    for b, name in enumerate(rules.businesses):
        mine, most = of_business[b : b + 1], rules.most_in_a_row[b]
        if most < slots:
            runs = _block(mine, _windows(slots, most + 1), rules)
            found.append(Rows(f"most_in_a_row of {name}", runs, 0, most))
        if floor := min(rules.floors[b], sent[b]):
            short = sp.coo_matrix(([1.0], ([0], [slots + b])), (1, slots + kinds))
            found.append(Rows(f"floor of {name}", _block(mine, whole, rules, short), floor, np.inf))
        if rules.ceilings[b] < min(slots, sent[b]):
            held = _block(mine, whole, rules)
            found.append(Rows(f"ceiling of {name}", held, 0, rules.ceilings[b]))
    return found


def _creator_rows(creator: Array, rules: PageRules) -> list[Rows]:
    several, count = np.unique(creator[creator >= 0], return_counts=True)
    if not rules.creator_gap or not (count > 1).any():
        return []
    theirs = several[count > 1][:, None] == creator
    gaps = _windows(rules.slots, rules.creator_gap + 1)
    return [Rows("creator_gap", _block(theirs, gaps, rules), 0, 1)]


def page_gain(value: Array, rules: PageRules) -> Array:
    """What to maximise: (n * slots + slots + businesses,) for ``value`` (n,) in -1 ... 1."""
    lost = np.full(rules.slots + len(rules.businesses), -below_floor(rules))
    lost[: rules.slots] = -short_of_page(rules)
    return np.append(np.outer(value, rules.weights).ravel(), lost)


def stacked(rows: Sequence[Rows]) -> tuple[sp.csr_matrix, Array, Array]:
    """All constraints as one: matrix, low, high."""
    low = [np.broadcast_to(r.low, r.matrix.shape[0]) for r in rows]
    high = [np.broadcast_to(r.high, r.matrix.shape[0]) for r in rows]
    matrix = sp.vstack([r.matrix for r in rows], "csr")
    return matrix, np.concatenate(low), np.concatenate(high)


def _windows(slots: int, length: int) -> Array:
    """(m, slots) every run of ``length`` slots; all slots where they are fewer."""
    if length >= slots:
        return np.ones((1, slots))
    late = np.arange(slots) - np.arange(slots - length + 1)[:, None]
    return ((late >= 0) & (late < length)).astype(np.float64)


def _block(
    groups: Array, windows: Array, rules: PageRules, extra: sp.spmatrix | None = None
) -> sp.coo_matrix:
    """A row for each of the groups (g, n) of cards in each of the windows (m, slots), and ``extra``
    for e and s."""
    rows = sp.kron(sp.coo_matrix(groups, dtype=float), sp.coo_matrix(windows, dtype=float), "coo")
    if extra is None:
        extra = sp.coo_matrix((rows.shape[0], rules.slots + len(rules.businesses)))
    return sp.hstack([rows, extra], "coo")
