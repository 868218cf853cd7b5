"""Weighted sum (加权求和): all candidates in one list, by a weight of the business times its score.

    order by  weight_b score_i

One knob a business. It ranks across businesses, so it needs scores that can be compared: with the
businesses' own scores the weights also have to mend their scales, and mend them again whenever a
model changes; with ``column="value"`` they are a boost on the common currency. It takes the best
card at every slot and never looks ahead.

Simplified: industry adds many terms to the sum, with weights by user group.
"""

from dataclasses import dataclass

import numpy as np

from reclab.blending.allocation.conflicts import check_together
from reclab.blending.allocation.policy import first_that_fit
from reclab.blending.allocation.rules import EMPTY, PageRules, check_candidates
from reclab.core.errors import check, check_float
from reclab.core.types import Array, Candidates


@dataclass(frozen=True)
class WeightedSum:
    """``allocate`` by one weighted score."""

    rules: PageRules = PageRules()
    weights: tuple[float, ...] = (1, 1, 1, 1, 1, 1)
    """of each business (0-10)"""
    column: str = "score"
    """what is weighted: "score", the business's own, or "value", the common one"""

    def __post_init__(self) -> None:
        kinds = len(self.rules.businesses)
        rule = f"have {kinds} entries, one a business"
        check(len(self.weights) == kinds, "WeightedSum.weights", self.weights, rule, "all 1")
        for weight in self.weights:
            check_float("WeightedSum.weights", weight, 0.0, 1e6, "0.5-2")
        known = self.column in ("score", "value")
        check(known, "WeightedSum.column", self.column, "be score or value", "score")
        check_together(self.rules)

    def allocate(self, candidates: Candidates) -> Array:
        """(B, slots) positions, -1 = empty."""
        check_candidates(candidates, self.rules)
        weight = np.array(self.weights, np.float64)[candidates["business"]]
        order = candidates.order_by(weight * candidates[self.column])
        pages = first_that_fit(candidates.take(order), self.rules)
        return np.append(order, EMPTY)[pages]
