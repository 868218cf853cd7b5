"""The priced page (影子价格混排): the day's quotas as prices, each page solved alone and fast.

    page = argmax sum_t w_t (v_i - price of i's business - price of i's payer * spend_i)

under the rules of a page, by the slot-by-slot solver. A payer whose money is spent is left out: a
budget is never exceeded by more than the pages that are under way at once.

Simplified: industry prices user groups and hours apart, and smooths what the advertiser sees.
"""

from dataclasses import dataclass, field

import numpy as np

from reclab.blending.allocation.conflicts import check_together
from reclab.blending.allocation.prices import DualPrices, Prices, Shown
from reclab.blending.allocation.rules import (
    PageRules,
    check_candidates,
    exposures,
    page_value,
)
from reclab.blending.allocation.slot_by_slot import write_pages
from reclab.core.errors import DataError, check_int
from reclab.core.types import Array, Candidates


@dataclass(frozen=True)
class PricedPage:
    """``allocate`` at the prices of the moment; ``observe`` what was shown, and they move.

    Candidates carry ``payer`` (k, -1 = nobody) and ``spend`` (money a full exposure costs it) where
    there are budgets. Without ``prices`` it is the best page by the rules alone."""

    rules: PageRules = PageRules()
    prices: DualPrices | None = field(default=None, compare=False)
    beam: int = 16
    """beginnings of a page that are kept (1-64); more is nearer to the exact page, and slower"""

    def __post_init__(self) -> None:
        check_int("PricedPage.beam", self.beam, 1, 1000, "16")
        quotas = self.prices.quotas if self.prices else None
        check_together(self.rules)
        if quotas:
            check_together(self.rules, quotas.low, quotas.high)

    def allocate(self, candidates: Candidates) -> Array:
        """(B, slots) positions, -1 = empty."""
        check_candidates(candidates, self.rules)
        value = np.asarray(candidates["value"], np.float64)
        if self.prices:
            value = net_value(candidates, value, self.prices.get())
        return write_pages(candidates, value, self.rules, self.beam)[0]

    def observe(self, candidates: Candidates, pages: Array, now_ms: int) -> Shown:
        """Learn from the pages that were shown; returns their sums."""
        payers = len(self.prices.quotas.budgets) if self.prices else 0
        shown = shown_on(candidates, pages, self.rules, payers)
        if self.prices:
            self.prices.update(now_ms, shown)
        return shown


def net_value(candidates: Candidates, value: Array, prices: Prices) -> Array:
    """(n,) value less prices; NaN for cards that their payer cannot pay."""
    value = value - prices.business[candidates["business"]]
    if len(prices.payer):
        payer, spend = _payers(candidates, len(prices.payer))
        cost = np.append(prices.payer, 0.0)[payer] * spend
        paid = np.append(prices.left, np.inf)[payer] >= spend
        value = np.where((payer < 0) | (paid & (spend >= 0)), value - cost, np.nan)
        value[(payer >= 0) & (np.append(prices.left, 1.0)[payer] <= 0)] = np.nan
    return value


def shown_on(candidates: Candidates, pages: Array, rules: PageRules, payers: int = 0) -> Shown:
    """Sums over pages (B, slots): value, exposures, spending, all weighted by the slots."""
    spend, paid_value = np.zeros(payers), 0.0
    if payers and len(candidates):
        row, slot = np.nonzero(pages >= 0)
        card, weight = pages[row, slot], rules.weights[slot]
        payer, money = _payers(candidates, payers)
        paid = payer[card] >= 0
        card, weight = card[paid], weight[paid]
        spend = np.bincount(payer[card], weight * money[card], minlength=payers)
        paid_value = float(weight @ candidates["value"][card])
    return Shown(
        len(pages),
        float(page_value(pages, candidates, rules).sum()),
        exposures(pages, candidates, rules).sum(0),
        spend,
        paid_value,
    )


def _payers(candidates: Candidates, payers: int) -> tuple[Array, Array]:
    """(n,) payer and spend; an unknown payer is an error, spend that is no number is never 0."""
    payer, spend = candidates["payer"], np.asarray(candidates["spend"], np.float64)
    if len(payer) and payer.max() >= payers:
        raise DataError(f"payer {payer.max()} has no budget (there are {payers}, -1 = nobody)")
    return payer, spend
