"""The exact page (整数规划): the most valuable page that the rules allow, found and proved.

The yardstick of the fast solver, and the policy for those who can wait: tens of milliseconds a
page, more with more candidates. Requests are solved one after the other.

Simplified: industry uses such a solver offline, to judge the rules and the fast one.
"""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp

from reclab.blending.allocation.conflicts import check_together
from reclab.blending.allocation.grid import grid_of
from reclab.blending.allocation.programme import page_gain, page_rows, stacked
from reclab.blending.allocation.rules import EMPTY, PageRules, check_candidates
from reclab.core.errors import DataError, check_float
from reclab.core.types import Array, Candidates


@dataclass(frozen=True)
class ExactPage:
    """``allocate`` by HiGHS."""

    rules: PageRules = PageRules()
    gap: float = 0.0
    """how far below the proved bound a page may stay (share, 0-0.01)"""

    def __post_init__(self) -> None:
        check_float("ExactPage.gap", self.gap, 0.0, 0.1, "0")
        check_together(self.rules)

    def allocate(self, candidates: Candidates) -> Array:
        """(B, slots) positions, -1 = empty."""
        check_candidates(candidates, self.rules)
        return self.best(candidates, candidates["value"])

    def best(self, candidates: Candidates, value: Array) -> Array:
        """The same by another ``value`` (n,); NaN = not usable."""
        grid = grid_of(candidates, np.asarray(value, np.float64), self.rules)
        pages = np.full((candidates.n_requests, self.rules.slots), EMPTY)
        business = np.broadcast_to(np.arange(grid.value.shape[1])[:, None], grid.value.shape[1:])
        for row, page in enumerate(pages):
            here = grid.position[row] != EMPTY
            if here.any():
                cards = business[here], grid.creator[row][here], grid.value[row][here]
                found = solve_page(*cards, self.rules, self.gap)
                page[:] = np.where(found == EMPTY, EMPTY, grid.position[row][here][found])
        return pages


def solve_page(
    business: Array, creator: Array, value: Array, rules: PageRules, gap: float = 0.0
) -> Array:
    """(slots,) positions of candidates (n,) with ``value`` in -1 ... 1; -1 = empty."""
    n, slots = len(business), rules.slots
    matrix, low, high = stacked(page_rows(business, creator, rules))
    gain = page_gain(value, rules)
    whole = np.append(np.ones(n * slots), np.zeros(len(gain) - n * slots))
    top = np.append(np.ones(n * slots + slots), np.full(len(rules.businesses), np.inf))
    found = milp(
        -gain,
        constraints=LinearConstraint(matrix, low, high),
        integrality=whole,
        bounds=Bounds(0, top),
        options={"mip_rel_gap": gap},
    )
    if found.x is None:
        raise DataError(f"no page of {n} candidates was found: {found.message}")
    chosen = found.x[: n * slots].reshape(n, slots) > 0.5
    return np.where(chosen.any(0), chosen.argmax(0), EMPTY)
