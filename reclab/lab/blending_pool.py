"""A pool of requests with all businesses' candidates, what the platform believes of them, and what
is true: every policy fills the same pages, and the world says what they are worth.

    page       watch = sum_j reached_j (skip_j + p_j more_j),     money = sum_j reached_j p_j pay_j
    session    such pages until the user leaves: pages = (1 - S^25) / (1 - S), S = P(stays a page)
    orders     n = ln(1 + (1 - f) m) / (1 - f): m would be made if no order stilled any want, after
               each the next is f times as likely                            (saturating demand)
    return     sigma(.4 + .6 activity + 5 (s - habit)),   s = half the long views a card of these
               pages, half the habit                                (world/behaviour.py)

p_j, reached_j as in ``page_simulator``. Advertisers' budgets are shares of a day's, as the pool is
of a day's pages; they buy through 20 agencies, for a pool has too few pages for 500 budgets. What
an agency cannot pay for is not offered, to any policy.

Simplified: a session is one page again and again; tips and orders do not depend on each other.
"""

from dataclasses import dataclass, replace
from math import log

import numpy as np
from scipy.special import ndtr

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
from reclab.blending.businesses import BusinessConfig, Money, make_businesses
from reclab.blending.businesses.make import AD, LIVE, PRODUCT
from reclab.blending.currency import Currency
from reclab.core.clock import DAY_MS, HOUR_MS
from reclab.core.errors import DataError
from reclab.core.tables import Table
from reclab.core.types import Array, Candidates
from reclab.lab.blending_values import Learned, learn_values, united
from reclab.lab.judge import TruthJudge
from reclab.lab.lab import Lab
from reclab.lab.page_simulator import PageSimulator
from reclab.world import behaviour

AGENCIES = 20
PAGES = 25  # a session is no longer
AFTER_ORDER = 0.3  # f
GIFT = 5.0 * np.exp(0.72)  # the world's mean tip: 5 LN(0, 1.2)
EVERY = 20  # requests that are served before prices and budgets are looked at again


@dataclass(frozen=True)
class CardTruths:
    """What is true of each candidate (n,): ``skip_sec``, ``more_sec`` by a click, ``pay`` to the
    platform by a click, ``orders`` by a click on a product."""

    skip_sec: Array
    more_sec: Array
    pay: Array
    orders: Array


@dataclass(frozen=True)
class Truths(CardTruths):
    """The same, and of each request (B,): ``activity``, ``habit``."""

    activity: Array
    habit: Array


@dataclass(frozen=True)
class Pool:
    """B requests in order of time: candidates with ``p``, expected objectives and ``value``; the
    truth; ``budget`` (agencies,) money of these pages."""

    candidates: Candidates
    time_ms: Array
    learned: Learned
    simulator: PageSimulator
    truths: Truths
    budget: Array
    money: Money

    def __len__(self) -> int:
        return len(self.time_ms)

    def at(self, currency: Currency) -> "Pool":
        """The same candidates by other weights of the objectives."""
        names = currency.weights
        expected = {name: self.candidates[name] for name in names}
        priced = self.candidates.with_columns(value=currency.value(expected))
        return replace(self, candidates=priced)


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


# ---- make ----------------------------------------------------------------------------------


def make_pool(
    lab: Lab,
    split: str,
    n: int = 400,
    k: int = 10,
    config: BusinessConfig | None = None,
    learned: Learned | None = None,
) -> Pool:
    """``n`` requests of a split, spread over its day; values are learned on the tuning day."""
    if not isinstance(lab.judge, TruthJudge):
        raise DataError(f"a pool is judged by the platform's truth; {lab.origin} has none")
    config = config or BusinessConfig()
    businesses = make_businesses(lab.trained, lab.logs, config)
    learned = learned or learn_values(lab, businesses, config.money)
    truth = lab.world.truth
    held = getattr(truth, split)
    rows = np.linspace(0, len(held) - 1, min(n, len(held))).astype(int)
    requests = [lab.judge.requests(split, len(held))[r] for r in rows]
    candidates = united(lab, businesses, requests, k)
    payer, budget = _agencies(candidates, businesses["ad"], lab, len(rows))
    candidates = candidates.with_columns(payer=payer)
    candidates = learned.valued(candidates, Currency())
    table = held.take(rows)
    simulator = PageSimulator.of(truth, table, padded(candidates, candidates.item_row))
    truths = _truths(lab, table, candidates, config.money)
    return Pool(
        candidates, table["time_ms"], learned, simulator, truths, budget, config.money
    )  # fmt: skip


def padded(candidates: Candidates, values: Array) -> Array:
    """(n,) of candidates -> (B, most), -1 where a request has fewer."""
    place = np.arange(len(candidates)) - candidates.starts()[:-1][candidates.request_row]
    table = np.full((candidates.n_requests, int(place.max(initial=0)) + 1), -1, values.dtype)
    table[candidates.request_row, place] = values
    return table


def _agencies(candidates: Candidates, ads: object, lab: Lab, pages: int) -> tuple[Array, Array]:
    """(n,) each candidate's agency, and the agencies' money for so many pages."""
    budgets = ads.objective.budgets  # type: ignore[attr-defined]
    shown = lab.logs.interactions
    days = lab.world.config.days
    pages_a_day = len(shown) / days / 10  # the log's exposures, ten a page
    agency = np.arange(len(budgets.budget)) % AGENCIES
    money = np.bincount(agency, budgets.budget, AGENCIES) * pages / pages_a_day
    payer = candidates["payer"]
    return np.where(payer >= 0, agency[payer], -1), money


def card_truths(lab: Lab, held: Table, candidates: Candidates, money: Money) -> CardTruths:
    """What is true of each card of the requests ``held``."""
    truth, c = lab.world.truth, lab.world.truth.behaviour
    table = padded(candidates, candidates.item_row)
    rows = np.maximum(table, 0)
    there = table >= 0
    told = truth.request_targets(held, rows)
    item, click = candidates.item_row, np.maximum(told["p_click"][there], 1e-6).astype(np.float64)
    duration = truth.duration_sec[item].astype(np.float64)
    z = (np.log(duration) - log(c.skip_sec)) / c.skip_spread  # E[min(LN, D)], as in behaviour
    mean = np.exp(log(c.skip_sec) + 0.5 * c.skip_spread**2)
    skip = mean * ndtr(z - c.skip_spread) + duration * ndtr(-z)
    business, index = truth.business[item], lab.trained.parts.index
    by_click = told["p_purchase"][there] / click
    columns = index.get(item, ["price", "bid"])
    pay = np.where(business == AD, columns["bid"], 0.0)
    pay = np.where(business == PRODUCT, by_click * columns["price"] * money.commission, pay)
    pay = np.where(business == LIVE, by_click * GIFT * money.tip_share, pay)
    more = (told["watch_sec"][there] - skip) / click
    return CardTruths(skip, more, pay, by_click * (business == PRODUCT))


def _truths(lab: Lab, held: Table, candidates: Candidates, money: Money) -> Truths:
    cards, user = card_truths(lab, held, candidates, money), held["user_row"]
    habit = habits(lab, int(held["day"][0]))[user]
    return Truths(**vars(cards), activity=lab.world.truth.activity[user], habit=habit)


def habits(lab: Lab, before: int) -> Array:
    """(n_users,) long views that users are used to on the morning of the day ``before``: the
    world's own rule, from what they were shown."""
    truth, shown, usual = lab.world.truth, lab.logs.interactions, lab.world.config.users.click_bias
    habit = behaviour.first_habit(truth.behaviour, truth.click_bias, usual)
    user = lab.trained.parts.users.rows(shown["user_id"])
    day, long = shown["time_ms"] // DAY_MS, shown["is_long_view"].astype(np.float64)
    n, learns = len(habit), 1 - truth.behaviour.habit_memory
    for today in range(before):
        mine = np.flatnonzero(day == today)
        count = np.bincount(user[mine], minlength=n)
        rate = np.bincount(user[mine], long[mine], n) / np.maximum(count, 1)
        habit = habit + learns * (rate - habit) * (count > 0)
    return np.asarray(habit)


# ---- serve and judge -----------------------------------------------------------------------


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
    """``pages`` (B, slots), what they were ``worth``, and the prices at the end."""

    pages: Array
    worth: Worth
    price: Array
    payer_price: Array


def serve(policy: PagePolicy, pool: Pool) -> Served:
    """Serve the pool in order of time. Agencies pay for expected clicks; an agency whose money is
    spent is offered to nobody any more."""
    pages, starts = np.full((len(pool), policy.rules.slots), -1), pool.candidates.starts()
    left = pool.budget.copy()
    for rows, some in parts(pool.candidates, EVERY):
        broke = (some["payer"] >= 0) & (np.append(left, 1.0)[some["payer"]] <= 0)
        offered = some.with_columns(value=np.where(broke, np.nan, some["value"]))
        page = policy.allocate(offered)
        pages[rows] = np.where(page >= 0, page + starts[rows.start], -1)
        left -= _spent(pool, pages[rows], rows)
        if isinstance(policy, PricedPage) and policy.prices:
            policy.observe(offered, page, int(pool.time_ms[rows.stop - 1]))
    prices = policy.prices.average() if isinstance(policy, PricedPage) and policy.prices else None
    none = np.zeros(len(BUSINESSES)), np.zeros(len(pool.budget))
    ends = (prices.business, prices.payer) if prices else none
    return Served(pages, judge_pages(capped(pool, pages), pages), *ends)


def capped(pool: Pool, pages: Array) -> Pool:
    """The pool with what agencies truly pay a click: what was shown beyond a budget is free."""
    spend = judge_pages(pool, pages).spend
    share = np.minimum(1.0, pool.budget / np.maximum(spend, 1e-9))
    pay = pool.truths.pay * np.append(share, 1.0)[pool.candidates["payer"]]
    return replace(pool, truths=replace(pool.truths, pay=pay))


def with_money(pool: Pool, commission: float, headroom: float) -> Pool:
    """The same pool if the platform kept another ``commission``, or if advertisers had ``headroom``
    times as much money."""
    of = np.where(pool.candidates["business"] == PRODUCT, commission / pool.money.commission, 1.0)
    revenue = pool.candidates["revenue"] * of
    return replace(
        pool,
        candidates=pool.candidates.with_columns(revenue=revenue),
        truths=replace(pool.truths, pay=pool.truths.pay * of),
        budget=pool.budget * headroom,
        money=replace(pool.money, commission=commission),
    ).at(Currency())


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


def priced(pool: Pool, rules: PageRules, quotas: Quotas | None = None) -> PricedPage:
    """The priced policy under the agencies' budgets and, as wanted, quotas of exposure."""
    hourly = np.bincount(pool.time_ms // HOUR_MS % 24, minlength=24)
    quotas = replace(quotas or Quotas(), budgets=tuple(pool.budget))
    return PricedPage(rules, DualPrices(quotas, rules, hourly, PricingConfig(budget_step=0.01)))
