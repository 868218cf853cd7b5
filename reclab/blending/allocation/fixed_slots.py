"""Fixed slots (固定坑位): each business owns slots of the page, whoever the user is.

    card at slot s_j = the j-th best of the business that owns it, by the business's own score

The oldest blending there is: no scores are compared, so nothing needs calibrating, and nobody's
page depends on what its cards are worth. Businesses without slots of their own share the rest,
best value first; a slot whose owner has no card, or whose card the rules forbid there, goes to the
next card of the list.

Simplified: industry varies the slots by user group, and by what an experiment found best.
"""

from dataclasses import dataclass

import numpy as np

from reclab.blending.allocation.conflicts import check_together
from reclab.blending.allocation.policy import first_that_fit
from reclab.blending.allocation.rules import PageRules, check_candidates
from reclab.blending.allocation.slot_operations import InsertAtFixedSlots
from reclab.core.errors import check
from reclab.core.types import Array, Candidates


@dataclass(frozen=True)
class FixedSlots:
    """``allocate`` by a table of slots."""

    rules: PageRules = PageRules()
    slots: tuple[tuple[int, ...], ...] = ((), (3,), (5,), (2, 7), (), ())
    """slots of each business, rising, from 0; () = shares the slots that nobody owns"""

    def __post_init__(self) -> None:
        kinds = len(self.rules.businesses)
        rule = f"have {kinds} entries, one a business"
        check(len(self.slots) == kinds, "FixedSlots.slots", self.slots, rule, "the default")
        owned = [slot for mine in self.slots for slot in mine]
        rule = f"give a slot to one business, within 0..{self.rules.slots - 1}"
        once = len(set(owned)) == len(owned) and all(0 <= s < self.rules.slots for s in owned)
        check(once, "FixedSlots.slots", self.slots, rule, "the default")
        check_together(self.rules)

    def allocate(self, candidates: Candidates) -> Array:
        """(B, slots) positions, -1 = empty."""
        check_candidates(candidates, self.rules)
        own = np.array([bool(mine) for mine in self.slots])[candidates["business"]]
        listed = candidates.with_columns(at=np.arange(len(candidates)))
        by = np.where(own, candidates["score"], candidates["value"])
        listed = listed.take(candidates.order_by(np.asarray(by, np.float64)))
        listed = InsertAtFixedSlots(self.slots)(None, listed).kept
        pages = first_that_fit(listed, self.rules)
        return np.append(listed["at"], -1)[pages]
