"""A pool of requests with all businesses' candidates, what the platform believes of them, and what
is true of each: the same candidates for every policy (``blending_pool`` serves and judges them).

    skip, more   seconds watched without a click, and how many more by one
    pay          to the platform by a click: bid; P(order | click) price c; P(tip | click) E tip s
    habit        long views a card that the user is used to, on the morning of that day

Advertisers' budgets are shares of a day's, as the pool is of a day's pages; they buy through 20
agencies, for a pool has too few pages for 500 budgets.

Simplified: a pool is a sample of a day; what it shows does not reach the day after.
"""

from dataclasses import dataclass, replace
from math import log

import numpy as np
from scipy.special import ndtr

from reclab.blending.businesses import BusinessConfig, Money, make_businesses
from reclab.blending.businesses.make import AD, LIVE, PRODUCT
from reclab.blending.currency import Currency
from reclab.core.clock import DAY_MS
from reclab.core.errors import DataError
from reclab.core.tables import Table
from reclab.core.types import Array, Candidates
from reclab.lab.blending_values import Learned, learn_values, united
from reclab.lab.judge import TruthJudge
from reclab.lab.lab import Lab
from reclab.lab.page_simulator import PageSimulator
from reclab.world import behaviour

AGENCIES = 20
GIFT = 5.0 * np.exp(0.72)  # the world's mean tip: 5 LN(0, 1.2)


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
    """B requests in order of time: candidates with ``p``, expected objectives and ``value``; what
    they were ``learned`` by (None = not kept); the truth; ``budget`` (agencies,) money of these
    pages."""

    candidates: Candidates
    time_ms: Array
    learned: Learned | None
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
    activity = lab.world.truth.activity[user]
    habit = habits(lab, int(held["day"][0]))[user]
    return Truths(**vars(cards), activity=activity, habit=habit)


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
