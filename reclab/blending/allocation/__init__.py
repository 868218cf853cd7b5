"""Allocation (资源分配): which card gets which slot. One contract, five policies.

rules.py            what a page may look like, its value, and which rules a page breaks
conflicts.py        rules and quotas that cannot be met together, by name, before serving
policy.py           the contract: allocate(candidates) -> pages; and the stage

fixed_slots.py      each business owns slots
ratio_weave.py      so many of each, woven        (both by slot_operations.py: insert, weave, drop)
weighted_sum.py     weight times score, best first
exact_page.py       the best page there is: integer programme (programme.py), HiGHS
priced_page.py      the day's quotas as prices (prices.py), the page by slot_by_slot.py

slot_by_slot.py     the fast solver: beam search on the automaton of the rules
grid.py             many requests' candidates as one block of arrays
day.py              a day served in order, and its account
offline.py          the best that the day could have been: linear programme by columns
"""

from reclab.blending.allocation.conflicts import check_together, conflicts
from reclab.blending.allocation.day import Account, serve_day
from reclab.blending.allocation.exact_page import ExactPage
from reclab.blending.allocation.fixed_slots import FixedSlots
from reclab.blending.allocation.offline import Optimum, day_optimum, proved_short
from reclab.blending.allocation.policy import AllocateStage, PagePolicy
from reclab.blending.allocation.priced_page import PricedPage
from reclab.blending.allocation.prices import DualPrices, Prices, PricingConfig, Quotas, Shown
from reclab.blending.allocation.ratio_weave import RatioWeave
from reclab.blending.allocation.rules import (
    BUSINESSES,
    EMPTY,
    PageRules,
    Violation,
    page_value,
    violations,
)
from reclab.blending.allocation.slot_by_slot import write_pages
from reclab.blending.allocation.slot_operations import (
    DropBeyondCap,
    InsertAtFixedSlots,
    WeaveBySource,
)
from reclab.blending.allocation.weighted_sum import WeightedSum

__all__ = [
    "BUSINESSES",
    "EMPTY",
    "Account",
    "AllocateStage",
    "DropBeyondCap",
    "DualPrices",
    "ExactPage",
    "FixedSlots",
    "InsertAtFixedSlots",
    "Optimum",
    "PagePolicy",
    "PageRules",
    "PricedPage",
    "Prices",
    "PricingConfig",
    "Quotas",
    "RatioWeave",
    "Shown",
    "Violation",
    "WeaveBySource",
    "WeightedSum",
    "check_together",
    "conflicts",
    "day_optimum",
    "page_value",
    "proved_short",
    "serve_day",
    "violations",
    "write_pages",
]
