"""The reader's own component in lesson 01: their function in, pages of the live pool out.

    weave_with(weave, pool)                    # exercise 1.1: the pages, woven in their order
    calibrated_with(calibrate, pool, cards)    # exercise 1.2: the pool at their click rates of ads
    gate_with(page_check, pool, pages)         # exercise 1.3: what their gate finds, and ours
    priced_day_with(price_step, pool)          # exercise 1.4: a day at their prices
    selling_with(vcg_payment)                  # exercise 1.6: an auction that pays by their rule

Each returns what ours returns: ``serve``, ``serve_day`` and the auction are the same.

Simplified: industry would send the new version one user in a hundred first.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from reclab.blending.allocation import (
    Account,
    DualPrices,
    PageRules,
    PricedPage,
    Prices,
    PricingConfig,
    Quotas,
    RatioWeave,
    serve_day,
    violations,
)
from reclab.blending.allocation.policy import first_that_fit
from reclab.blending.allocation.rules import EMPTY, check_candidates
from reclab.blending.auction import sell_slots
from reclab.blending.businesses.make import AD
from reclab.blending.currency import Currency
from reclab.core.clock import HOUR_MS
from reclab.core.errors import DataError
from reclab.core.types import Array, Candidates
from reclab.lab.blending_pool import Pool, Served, rules_of, serve
from reclab.lab.quota_day import QuotaDay
from reclab.learn.lesson_01.calibrate import ShownCards, claimed
from reclab.learn.lesson_01.overbidder import Sell

# ---- 1.1: the weave -------------------------------------------------------------------------

Weave = Callable[[Array, Array, int], Array]


@dataclass(frozen=True)
class OwnWeave:
    """``allocate`` by the reader's order of each request's cards, under the page's rules."""

    function: Weave
    rules: PageRules = PageRules()
    ratios: tuple[float, ...] = RatioWeave.ratios

    def allocate(self, candidates: Candidates) -> Array:
        """(B, slots) positions, -1 = empty."""
        check_candidates(candidates, self.rules)
        listed = candidates.with_columns(at=np.arange(len(candidates)))
        usable = listed.take(np.isfinite(listed["value"]))
        listed = usable.take(usable.order_by(np.asarray(usable["score"], np.float64)))
        starts, ratios = listed.starts(), np.array(self.ratios, np.float64)
        orders = [np.zeros(0, np.int64)]
        for a, b in zip(starts[:-1], starts[1:], strict=True):
            found = self.function(listed["business"][a:b].copy(), ratios.copy(), int(b - a))
            orders.append(a + positions(found, int(b - a)))
        woven = listed.take(np.concatenate(orders))
        pages = first_that_fit(woven, self.rules)
        return np.append(woven["at"], EMPTY)[pages]


def positions(found: object, n: int) -> Array:
    """(k,) int64 different positions below ``n``. Raises ``DataError`` for anything else."""
    order = np.asarray(found)
    whole = order.ndim == 1 and (order.dtype.kind in "iu" or not len(order))
    if not whole or (len(order) and not (order.min() >= 0 and order.max() < n)):
        raise DataError(f"weave must return whole numbers from 0 to {n - 1}, one a slot")
    if len(np.unique(order)) < len(order):
        raise DataError("weave must return each position once, one comes twice")
    return order.astype(np.int64)


def weave_with(
    function: Weave, pool: Pool, ratios: tuple[float, ...] = RatioWeave.ratios, load: int = 2
) -> Served:
    """The pool served by the reader's weave; ours: ``serve(RatioWeave(rules_of(load)), pool)``."""
    return serve(OwnWeave(function, rules_of(load), ratios), pool)


# ---- 1.2: the ads' new model -------------------------------------------------------------------


def with_ad_clicks(pool: Pool, p_click: Array) -> Pool:
    """The pool if these (ads,) were the click probabilities of its ads: their expected money, what
    they cost their advertisers, and their satisfaction follow."""
    c = pool.candidates
    mine = c["business"] == AD
    p, money, spend = (np.array(c[name], np.float64) for name in ("p", "revenue", "spend"))
    p[mine] = p_click
    money[mine] = spend[mine] = p_click * pool.truths.pay[mine]  # a click pays the bid
    satisfied = np.array(c["satisfaction"], np.float64)
    satisfied[mine] = pool.learned.outcomes.expected(c["business"][mine], p[mine])["satisfaction"]
    told = c.with_columns(p=p, revenue=money, spend=spend, satisfaction=satisfied)
    return replace(pool, candidates=told).at(Currency())


def uncalibrated(pool: Pool) -> Pool:
    """The pool as the ads' new model sees it: sure of itself."""
    return with_ad_clicks(pool, claimed(pool))


def calibrated_with(
    function: Callable[[Array, Array, Array], Array], pool: Pool, cards: ShownCards
) -> Pool:
    """The same, its claims mended by the reader's function, which learns from ``cards``."""
    p = np.asarray(function(cards.score.copy(), cards.label.copy(), claimed(pool)), np.float64)
    ads = int((pool.candidates["business"] == AD).sum())
    if p.shape != (ads,) or not ((p >= 0) & (p <= 1)).all():
        raise DataError(f"calibrate must return {ads} probabilities, one for each ad")
    return with_ad_clicks(pool, p)


# ---- 1.3: the gate ---------------------------------------------------------------------------

GATE_RULES = ("first_paid", "most_paid", "paid_gap", "creator_gap")


@dataclass(frozen=True)
class Gate:
    """(B, slots) bool cards that the reader's gate marks, and that ``violations`` names."""

    marked: Array
    expected: Array

    @property
    def wrong_pages(self) -> float:
        """Share of the pages with a card that may not stand there, by the reader's gate."""
        return float(self.marked.any(1).mean())

    @property
    def agrees(self) -> float:
        """Share of the pages on which both gates say the same."""
        return float((self.marked == self.expected).all(1).mean())


def by_value_alone(pool: Pool, slots: int = 10) -> Array:
    """(B, slots) pages that ask for no rule: each request's cards of the highest value."""
    order = pool.candidates.order_by(np.asarray(pool.candidates["value"], np.float64))
    starts = pool.candidates.starts()
    return np.stack([order[a : a + slots] for a in starts[:-1]])


def gate_with(
    function: Callable[..., Array], pool: Pool, pages: Array, rules: PageRules | None = None
) -> Gate:
    """Pages (B, slots) of the pool, each full, through the reader's gate and ours."""
    rules, c = rules or PageRules(), pool.candidates
    paid, creator = rules.is_paid[c["business"]][pages], c["creator"][pages]
    told = [getattr(rules, name) for name in GATE_RULES]
    marked = [function(p.copy(), k.copy(), *told) for p, k in zip(paid, creator, strict=True)]
    expected = np.zeros(pages.shape, bool)
    for fault in violations(pages, c, rules):
        if fault.rule in GATE_RULES:
            expected[fault.request_row, fault.slot] = True
    return Gate(np.array(marked, bool).reshape(pages.shape), expected)


# ---- 1.4: the prices ---------------------------------------------------------------------------

Step = Callable[[Array, Array, Array, float, float], Array]
QUOTAS = Quotas(low=(0, 0, 0, 0, 0.04, 0.03), high=(1, 0.12, 1, 1, 1, 1))


class OwnPrices(DualPrices):
    """The day's prices of quotas, moved by the reader's step."""

    def __init__(
        self, function: Step, quotas: Quotas, rules: PageRules, hourly: Array, start: Prices | None
    ) -> None:
        super().__init__(quotas, rules, hourly, PricingConfig(), start)
        self.function = function

    def _moved(self, price: Array, used: Array, allowed: Array, step: float, most: float) -> Array:
        found = np.asarray(self.function(price.copy(), used, allowed, step, most), np.float64)
        if found.shape != price.shape or not np.isfinite(found).all():
            raise DataError(f"price_step must return {len(price)} finite prices, one a quota")
        return found


def priced_day_with(
    function: Step | None,
    pool: Pool | QuotaDay,
    quotas: Quotas = QUOTAS,
    days: int = 2,
    load: int = 2,
) -> Account:
    """The last of ``days`` served at prices that the reader's step moves (None = ours), each day
    from the mean prices of the one before. Budgets are left out: the quotas are what is priced."""
    rules, start = rules_of(load), None
    hourly = np.bincount(pool.time_ms // HOUR_MS % 24, minlength=24)
    for _ in range(days):
        prices = (
            OwnPrices(function, quotas, rules, hourly, start)
            if function
            else DualPrices(quotas, rules, hourly, PricingConfig(), start)
        )
        account = serve_day(PricedPage(rules, prices), pool.candidates, pool.time_ms, every=10)
        start = prices.average()
    return account


# ---- 1.6: the auction --------------------------------------------------------------------------


def selling_with(function: Callable[[Array, Array, Array], Array]) -> Sell:
    """An auction whose slots go as ours do and whose winners pay by the reader's rule; for
    ``profit_by_factor`` and ``profits`` of exercise 1.5."""

    def sell(worth: Array, bid: Array, weights: Array) -> tuple[Array, Array]:
        paid = np.asarray(function(worth.copy(), bid.copy(), weights.copy()), np.float64)
        if paid.shape != bid.shape or not np.isfinite(paid).all():
            raise DataError(f"vcg_payment must return {len(bid)} finite payments, one a card")
        return sell_slots(worth, bid, weights).weight, paid

    return sell
