"""Ratio weave (按比例交织): the businesses' lists woven into one, so many of each.

    the j-th card of business b is due at (j + 1/2) / ratio_b

Each business ranks its own by its own score; the ratio, agreed in a meeting, says who is seen how
much. Nothing is compared, so a business with nothing good to say is heard as often as the rest.

Simplified: industry learns the ratios by experiment, a set for each user group.
"""

from dataclasses import dataclass

import numpy as np

from reclab.blending.allocation.conflicts import check_together
from reclab.blending.allocation.policy import first_that_fit
from reclab.blending.allocation.rules import EMPTY, PageRules, check_candidates
from reclab.blending.allocation.slot_operations import WeaveBySource
from reclab.core.errors import check
from reclab.core.types import Array, Candidates


@dataclass(frozen=True)
class RatioWeave:
    """``allocate`` by a ratio."""

    rules: PageRules = PageRules()
    ratios: tuple[float, ...] = (5, 1, 1, 2, 1, 0.5)
    """of each business, in proportion to the others' (0-10); 0 = none of it"""

    def __post_init__(self) -> None:
        kinds = len(self.rules.businesses)
        rule = f"have {kinds} entries, one a business"
        check(len(self.ratios) == kinds, "RatioWeave.ratios", self.ratios, rule, "the default")
        WeaveBySource(self.ratios)
        check_together(self.rules)

    def allocate(self, candidates: Candidates) -> Array:
        """(B, slots) positions, -1 = empty."""
        check_candidates(candidates, self.rules)
        listed = candidates.with_columns(at=np.arange(len(candidates)))
        usable = listed.take(np.isfinite(listed["value"]))
        listed = usable.take(usable.order_by(np.asarray(usable["score"], np.float64)))
        woven = WeaveBySource(self.ratios)(None, listed).kept
        pages = first_that_fit(woven, self.rules)
        return np.append(woven["at"], EMPTY)[pages]
