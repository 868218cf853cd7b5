"""Dual prices (对偶价格): what a business's exposure, and an advertiser's money, cost the platform.

    y_b  = share of expected exposures that b got on the last m pages,  W = sum_t w_t
    mu_b = max(0, mu_b + s u m (low rate - y_b)),   nu_b = max(0, nu_b + s u m (y_b - high rate))
    pi_k = max(0, pi_k + s' u' m (spent - rate) / planned)             u, u' mean values: the unit
    rate = what is left of the quota or budget / pages that are still expected       (pacing, 匀速)

A page then maximises v - nu_b + mu_b - pi_k spend: every quota of the day has become a price, and a
request is solved alone. The update is a step of dual descent on what was shown: a price rises where
more was used than is due, so that it follows the tide and any drift without knowing of them. What
is due is counted anew from what is left, so that an error of the morning is made good by night.
References: Balseiro, Lu and Mirrokni, Operations Research 2023 (dual mirror descent); Agarwal et
al., KDD 2014 (budget pacing).

Simplified: industry shares one price among thousands of servers, which hear of it a minute late.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from reclab.blending.allocation.rules import BUSINESSES, PageRules
from reclab.core.clock import DAY_MS, HOUR_MS
from reclab.core.errors import check, check_float
from reclab.core.types import Array

LAG = 100  # pages at most that one update moves a price for: more at one price would overshoot
PRIOR = 0.02  # of the day: how much of it the forecast is believed before traffic corrects it


@dataclass(frozen=True)
class Quotas:
    """What the platform promises for a day, over all pages together."""

    low: tuple[float, ...] = (0.0,) * len(BUSINESSES)
    """of expected exposures, at least, for each business (share, 0-0.3)"""
    high: tuple[float, ...] = (1.0,) * len(BUSINESSES)
    """of expected exposures, at most, for each business (share, 0.05-1)"""
    budgets: tuple[float, ...] = ()
    """what each payer spends in a day, at most (money, 0 = nothing of it is shown)"""

    def __post_init__(self) -> None:
        for name in ("low", "high", "budgets"):
            object.__setattr__(self, name, tuple(getattr(self, name)))  # quotas are compared
        same = len(self.low) == len(self.high)
        check(same, "Quotas.high", self.high, f"have {len(self.low)} entries, as low", "1 each")
        for low, high in zip(self.low, self.high, strict=True):
            check_float("Quotas.low", low, 0.0, 1.0, "0-0.3")
            check_float("Quotas.high", high, 0.0, 1.0, "0.05-1")
            check(low <= high, "Quotas.low", low, f"be at most high = {high:g}", "0-0.3")
        check(sum(self.low) <= 1 + 1e-9, "sum of Quotas.low", sum(self.low), "be <= 1", "0.3")
        check(sum(self.high) >= 1 - 1e-9, "sum of Quotas.high", sum(self.high), "be >= 1", "2-6")
        for budget in self.budgets:
            check_float("Quotas.budgets", budget, 0.0, 1e15, "a day's money")


@dataclass(frozen=True)
class PricingConfig:
    """How fast prices move."""

    step: float = 0.02
    """s, of an exposure's mean value, for a page that is off by all its exposures (0.005-0.1)"""
    budget_step: float = 0.002
    """s', of the mean value of money, for a page that spends twice its plan (0.0005-0.01)"""
    most: float = 3.0
    """a price is at most this many mean values (1-10)"""

    def __post_init__(self) -> None:
        check_float("PricingConfig.step", self.step, 0.0, 10.0, "0.02")
        check_float("PricingConfig.budget_step", self.budget_step, 0.0, 10.0, "0.002")
        check_float("PricingConfig.most", self.most, 0.01, 1000.0, "3")


class Prices(NamedTuple):
    """``business`` (n,) value a full exposure costs, below 0 where a floor pays for it; ``payer``
    (k,) value a unit of money costs; ``left`` (k,) money that each payer still has."""

    business: Array
    payer: Array
    left: Array


class Shown(NamedTuple):
    """What pages showed, summed: ``pages``; ``value``; expected ``exposures`` of each business;
    ``spend`` of each payer; ``paid_value`` of the cards that were paid for."""

    pages: int
    value: float
    exposures: Array
    spend: Array
    paid_value: float


class DualPrices:
    """One day's prices: ``get`` them, ``update`` them with what was shown. ``hourly`` (24,) pages
    expected in each hour, yesterday's as a rule; ``start`` yesterday's prices, else none."""

    def __init__(
        self,
        quotas: Quotas,
        rules: PageRules,
        hourly: Array,
        config: PricingConfig | None = None,
        start: Prices | None = None,
    ) -> None:
        n, k = len(rules.businesses), len(quotas.budgets)
        rule = f"have {n} entries, one a business"
        check(len(quotas.low) == n, "Quotas.low", quotas.low, rule, "0 each")
        hourly = np.asarray(hourly, np.float64)
        fits = hourly.shape == (24,) and np.isfinite(hourly).all() and hourly.min() >= 0
        check(bool(fits) and hourly.sum() > 0, "DualPrices.hourly", hourly, "be 24 counts",
              "yesterday's pages by hour")  # fmt: skip
        self.quotas, self.rules, self.hourly = quotas, rules, hourly
        self.config = config or PricingConfig()
        before = start or Prices(np.zeros(n), np.zeros(k), np.zeros(k))
        self.floor, self.cap = np.maximum(-before.business, 0), np.maximum(before.business, 0)
        self.payer = np.array(before.payer, np.float64)
        self.pages, self.exposures, self.spend = 0, np.zeros(n), np.zeros(k)
        self.value, self.paid_value = 0.0, 0.0
        self.sums = [np.zeros(n), np.zeros(k)]

    def get(self) -> Prices:
        """The prices now."""
        left = np.maximum(np.array(self.quotas.budgets) - self.spend, 0.0)
        return Prices(self.cap - self.floor, self.payer, left)

    def left_pages(self, now_ms: int) -> float:
        """Pages that are still to come today: the forecast, scaled by how it has done so far."""
        hours = (now_ms % DAY_MS) / HOUR_MS
        so_far = np.interp(hours, np.arange(25), np.append(0.0, np.cumsum(self.hourly)))
        total = self.hourly.sum()
        prior = PRIOR * total
        return float((total - so_far) * (self.pages + prior) / (so_far + prior))

    def update(self, now_ms: int, shown: Shown) -> Prices:
        """Take what was shown since the last call, and return the new prices."""
        if not shown.pages:
            return self.get()
        self.pages += shown.pages
        self.exposures += shown.exposures
        self.spend += shown.spend
        self.value += shown.value
        self.paid_value += shown.paid_value
        left = max(self.left_pages(now_ms), 1.0)
        self._price_quotas(shown, left)
        if len(self.payer):
            self._price_budgets(shown, left)
        self.sums[0] += shown.pages * (self.cap - self.floor)
        self.sums[1] += shown.pages * self.payer
        return self.get()

    def average(self) -> Prices:
        """The prices of the day so far, each page counting alike: what tomorrow may start from.
        Those of midnight are no guide, they have made good the day's last lag."""
        pages = max(self.pages, 1)
        return Prices(self.sums[0] / pages, self.sums[1] / pages, np.zeros(len(self.payer)))

    def _price_quotas(self, shown: Shown, left: float) -> None:
        c, page = self.config, self.rules.weights.sum()
        unit = self.value / (self.pages * page)
        got = shown.exposures / (shown.pages * page)
        total = (self.pages + left) * page
        low, high = np.array(self.quotas.low), np.array(self.quotas.high)
        due = np.clip((low * total - self.exposures) / (left * page), 0.0, 1.0)
        allowed = np.clip((high * total - self.exposures) / (left * page), 0.0, 1.0)
        step = c.step * max(unit, 0.0) * min(shown.pages, LAG)
        most = c.most * max(unit, 0.0)
        floor = self._moved(self.floor, -got, -due, step, most)  # a floor is a cap turned round
        cap = self._moved(self.cap, got, allowed, step, most)
        self.floor, self.cap = np.where(low > 0, floor, 0.0), np.where(high < 1, cap, 0.0)

    def _moved(self, price: Array, used: Array, allowed: Array, step: float, most: float) -> Array:
        """(n,) prices after a step."""
        return np.clip(price + step * (used - allowed), 0.0, most)

    def _price_budgets(self, shown: Shown, left: float) -> None:
        c, budget = self.config, np.array(self.quotas.budgets)
        money = self.spend.sum()
        unit = self.paid_value / money if money > 0 else 0.0
        plan = np.maximum(budget / (self.pages + left), 1e-12)
        rate = np.maximum(budget - self.spend, 0.0) / left
        off = np.clip((shown.spend / shown.pages - rate) / plan, -2.0, 2.0)
        moved = self.payer + c.budget_step * max(unit, 0.0) * min(shown.pages, LAG) * off
        self.payer = np.clip(moved, 0.0, c.most * max(unit, 0.0))
