"""Pools served and judged: each policy fills the same pages; the world says what they are worth.

    page       watch = sum_j reached_j (skip_j + p_j more_j),     money = sum_j reached_j p_j pay_j
    session    such pages until the user leaves: pages = (1 - S^25) / (1 - S), S = P(stays a page)
    orders     n = ln(1 + (1 - f) m) / (1 - f): m would be made if no order stilled any want, after
               each the next is f times as likely                            (saturating demand)
    return     sigma(.4 + .6 activity + 5 (s - habit)),   s = half the long views a card of these
               pages, half the habit                                (world/behaviour.py)

p_j, reached_j as in ``page_simulator``; the pool's candidates and their truth as in
``blending_candidates``. What an agency cannot pay for is not offered, to any policy.

Simplified: a session is one page again and again; tips and orders do not depend on each other.
"""

from dataclasses import dataclass, field, replace

import numpy as np

from reclab.blending.allocation import (
    BUSINESSES,
    DualPrices,
    PagePolicy,
    PageRules,
    PricedPage,
    PricingConfig,
    Quotas,
)
from reclab.blending.allocation.day import parts
from reclab.blending.businesses.make import AD, LIVE, PRODUCT
from reclab.core.clock import HOUR_MS
from reclab.core.types import Array
from reclab.lab.blending_candidates import Pool, habits, make_pool, padded, with_money
from reclab.world import behaviour

PAGES = 25  # a session is no longer
AFTER_ORDER = 0.3  # f
EVERY = 20  # requests that are served before prices and budgets are looked at again


@dataclass(frozen=True)
class Worth:
    """What pages are truly worth, (B,) each, a session of them: ``watch_sec``, ``ads``,
    ``commission``, ``tips`` (money), ``long_views``, ``pages``; ``back``, P(returns tomorrow).
    ``shown`` (B, slots) P(each card is reached), ``spend`` (agencies,) on the pages."""

    watch_sec: Array
    ads: Array
    commission: Array
    tips: Array
    long_views: Array
    pages: Array
    back: Array
    shown: Array
    spend: Array

    @property
    def revenue(self) -> Array:
        """(B,) money a session."""
        return np.asarray(self.ads + self.commission + self.tips)

    def three(self) -> Array:
        """Mean watch minutes a session, money a session, return rate."""
        means = (self.watch_sec.mean() / 60, self.revenue.mean(), self.back.mean())
        return np.array(means)


def judge_pages(pool: Pool, pages: Array) -> Worth:
    """What pages (B, slots), positions of candidates, -1 = empty, are truly worth."""
    c, t, starts = pool.candidates, pool.truths, pool.candidates.starts()[:-1]
    rows = np.arange(len(pool))
    lists = np.where(pages >= 0, pages - starts[:, None], -1)
    click, long, leave = pool.simulator.chances(rows, lists)
    stays = np.cumprod(1 - leave, 1)
    reached = np.concatenate([np.ones((len(pages), 1)), stays[:, :-1]], 1) * (pages >= 0)

    def of(values: Array) -> Array:
        return np.asarray(np.append(values, 0)[pages])

    business = np.append(c["business"], -1)[pages]
    paid = reached * click * of(t.pay)
    stay = np.minimum(stays[:, -1], 0.999)
    often = (1 - stay**PAGES) / (1 - stay)
    watch = (reached * (of(t.skip_sec) + click * of(t.more_sec))).sum(1)
    ads, tips, orders = ((paid * (business == code)).sum(1) * often for code in (AD, LIVE, PRODUCT))
    spend = np.bincount(
        np.append(c["payer"], -1)[pages].ravel() + 1,
        (paid * (business == AD)).ravel(), len(pool.budget) + 1,
    )[1:]  # fmt: skip
    rate = (reached * long).sum(1) / np.maximum(reached.sum(1), 1e-9)
    felt = 0.5 * rate + 0.5 * t.habit
    return Worth(
        watch * often,
        ads,
        orders * stilled(pool, pages, reached * click, often),
        tips,
        (reached * long).sum(1) * often,
        often,
        behaviour.p_return(pool.simulator.constants, t.activity, felt, t.habit),
        reached,
        spend,
    )


def stilled(pool: Pool, pages: Array, clicks: Array, often: Array) -> Array:
    """(B,) orders made as a share of those that unstilled wants would make in a session."""
    made = (clicks * np.append(pool.truths.orders, 0.0)[pages]).sum(1) * often
    m = np.maximum((1 - AFTER_ORDER) * made, 1e-9)  # without orders nothing is stilled: 1
    return np.asarray(np.log1p(m) / m)


@dataclass(frozen=True)
class Served:
    """``pages`` (B, slots), what they were ``worth``, the day's average ``price`` (businesses,) and
    ``payer_price`` (agencies,), and ``prices`` (m, businesses + agencies) as they were at the
    ``times`` (m,) ms; no prices, no rows."""

    pages: Array
    worth: Worth
    price: Array
    payer_price: Array
    times: Array = field(repr=False)
    prices: Array = field(repr=False)


def serve(policy: PagePolicy, pool: Pool) -> Served:
    """Serve the pool in order of time. Agencies pay for expected clicks; an agency whose money is
    spent is offered to nobody any more."""
    pages, starts = np.full((len(pool), policy.rules.slots), -1), pool.candidates.starts()
    left, times, prices = pool.budget.copy(), [], []
    for rows, some in parts(pool.candidates, EVERY):
        broke = (some["payer"] >= 0) & (np.append(left, 1.0)[some["payer"]] <= 0)
        offered = some.with_columns(value=np.where(broke, np.nan, some["value"]))
        page = policy.allocate(offered)
        pages[rows] = np.where(page >= 0, page + starts[rows.start], -1)
        left -= _spent(pool, pages[rows], rows)
        if isinstance(policy, PricedPage) and policy.prices:
            times.append(int(pool.time_ms[rows.stop - 1]))
            policy.observe(offered, page, times[-1])
            prices.append(np.concatenate(policy.prices.get()[:2]))
    day = policy.prices.average() if isinstance(policy, PricedPage) and policy.prices else None
    none = np.zeros(len(BUSINESSES)), np.zeros(len(pool.budget))
    ends = (day.business, day.payer) if day else none
    path = (
        np.array(times, np.int64),
        np.array(prices).reshape(len(times), len(BUSINESSES) + len(left)),
    )
    return Served(pages, judge_pages(capped(pool, pages), pages), *ends, *path)


def capped(pool: Pool, pages: Array) -> Pool:
    """The pool with what agencies truly pay a click: what was shown beyond a budget is free."""
    spend = judge_pages(pool, pages).spend
    share = np.minimum(1.0, pool.budget / np.maximum(spend, 1e-9))
    pay = pool.truths.pay * np.append(share, 1.0)[pool.candidates["payer"]]
    return replace(pool, truths=replace(pool.truths, pay=pay))


def _spent(pool: Pool, pages: Array, rows: slice) -> Array:
    """(agencies,) what pages of the requests ``rows`` cost them, by the truth."""
    starts = pool.candidates.starts()[:-1][rows]
    lists = np.where(pages >= 0, pages - starts[:, None], -1)
    click, _, leave = pool.simulator.chances(np.arange(rows.start, rows.stop), lists)
    stays = np.cumprod(1 - leave, 1)
    reached = np.concatenate([np.ones((len(pages), 1)), stays[:, :-1]], 1)
    paid = reached * click * np.append(pool.truths.pay, 0)[pages]
    payer = np.append(pool.candidates["payer"], -1)[pages] + 1
    return np.bincount(payer.ravel(), paid.ravel(), len(pool.budget) + 1)[1:]


def rules_of(load: int, **changes: object) -> PageRules:
    """The page's rules at an ad load of so many cards; three need a gap of two."""
    usual = PageRules()
    ceilings = list(usual.ceilings)
    ceilings[AD] = max(load, 0)
    return replace(
        usual, most_paid=load, paid_gap=3 if load < 3 else 2, ceilings=tuple(ceilings), **changes
    )  # type: ignore[arg-type]


def priced(
    pool: Pool, rules: PageRules, quotas: Quotas | None = None, step: float = 0.02
) -> PricedPage:
    """The priced policy under the agencies' budgets and, as wanted, quotas of exposure; ``step`` as
    in ``PricingConfig``."""
    hourly = np.bincount(pool.time_ms // HOUR_MS % 24, minlength=24)
    quotas = replace(quotas or Quotas(), budgets=tuple(pool.budget))
    config = PricingConfig(step=step, budget_step=0.01)
    return PricedPage(rules, DualPrices(quotas, rules, hourly, config))


__all__ = [
    "Pool",
    "Served",
    "Worth",
    "capped",
    "habits",
    "judge_pages",
    "make_pool",
    "padded",
    "priced",
    "rules_of",
    "serve",
    "stilled",
    "with_money",
]
