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
    n, slots, kinds = len(business), rules.slots, len(rules.businesses)
    of_business = (np.arange(kinds)[:, None] == business).astype(np.float64)
    paid = (rules.is_paid.astype(np.float64) @ of_business)[None]
    whole = np.ones((1, slots))
    wide = slots + kinds

    def block(groups: Array, windows: Array, extra: sp.spmatrix | None = None) -> sp.coo_matrix:
        left = sp.kron(sp.coo_matrix(groups), sp.coo_matrix(windows), "coo")
        return _beside(left, extra if extra is not None else sp.coo_matrix((left.shape[0], wide)))

    empty = sp.hstack([sp.eye(slots), sp.coo_matrix((slots, kinds))])
    short = sp.hstack([sp.coo_matrix((kinds, slots)), sp.eye(kinds)])
    holes = sp.hstack([sp.diags([1.0, -1.0], [0, 1], (slots - 1, slots)),
                       sp.coo_matrix((slots - 1, kinds))])  # fmt: skip
    none = sp.coo_matrix((slots - 1, n * slots))
    found = [
        Rows("a card a slot", block(np.ones((1, n)), np.eye(slots), empty), 1, 1),
        Rows("holes last", _beside(none, holes), -1, 0),
        Rows("a card once", block(np.eye(n), whole), 0, 1),
        Rows("most_paid", block(paid, whole), 0, rules.most_paid),
        Rows("first_paid", block(paid, whole * (np.arange(slots) < rules.first_paid)), 0, 0),
        Rows("paid_gap", block(paid, _windows(slots, rules.paid_gap + 1)), 0, 1),
    ]
    for b, most in enumerate(rules.most_in_a_row):
        if most < slots:
            windows = block(of_business[b : b + 1], _windows(slots, most + 1))
            found.append(Rows(f"most_in_a_row of {rules.businesses[b]}", windows, 0, most))
    held = block(of_business, whole, short)
    floors = np.minimum(rules.floors, of_business.sum(1))
    for b, name in enumerate(rules.businesses):
        if floors[b]:
            found.append(Rows(f"floor of {name}", held.tocsr()[[b]], floors[b], np.inf))
        if rules.ceilings[b] < min(slots, of_business[b].sum()):
            alone = block(of_business[b : b + 1], whole)
            found.append(Rows(f"ceiling of {name}", alone, 0, rules.ceilings[b]))
    several, count = np.unique(creator[creator >= 0], return_counts=True)
    if rules.creator_gap and (count > 1).any():
        mine = several[count > 1][:, None] == creator
        windows = block(mine.astype(np.float64), _windows(slots, rules.creator_gap + 1))
        found.append(Rows("creator_gap", windows, 0, 1))
    return found


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


def _beside(left: sp.spmatrix, right: sp.spmatrix) -> sp.coo_matrix:
    return sp.hstack([left, right], "coo")
