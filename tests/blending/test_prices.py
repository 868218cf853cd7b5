"""Prices of the day's quotas, against the linear programme over all its pages."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import linprog

from reclab.blending.allocation import (
    DualPrices,
    PagePolicy,
    PageRules,
    PricedPage,
    Prices,
    PricingConfig,
    Quotas,
    Shown,
    WeightedSum,
    day_optimum,
    proved_short,
    serve_day,
    violations,
)
from reclab.blending.allocation.day import Account
from reclab.blending.allocation.priced_page import shown_on
from reclab.core.clock import HOUR_MS
from reclab.core.errors import ConfigError, DataError
from reclab.core.types import Candidates
from reclab.world.traffic import HOURLY
from tests.blending.pages import random_day, random_pages

RULES = PageRules()
N, PAYERS = 2000, 12
FORECAST = HOURLY / HOURLY.sum() * N
STALE = PricingConfig(step=0.0, budget_step=0.0)


@pytest.fixture(scope="module")
def quotas() -> Quotas:
    """Live and ads get less than they would, image-text and campaigns more; every other payer has
    half of the money that it would spend."""
    candidates, time_ms = random_day(N, seed=1)
    freely = serve_day(PricedPage(RULES), candidates, time_ms, 500, PAYERS)
    half = np.where(np.arange(PAYERS) % 2, 0.5, 2.0)
    budgets = tuple((freely.shown.spend * half).tolist())
    return Quotas((0, 0, 0, 0, 0.12, 0.05), (1, 0.18, 1, 0.12, 1, 1), budgets)


@pytest.fixture(scope="module")
def today():
    """A day on which the values of live rise by half at noon."""
    return random_day(N, seed=2, drift=1.5)


@pytest.fixture(scope="module")
def best(today, quotas):
    return day_optimum(today[0], RULES, quotas, groups=50, close=1e-3)


def served(day, quotas: Quotas, config=None, start=None, forecast=FORECAST, every=10) -> Account:
    prices = DualPrices(quotas, RULES, forecast, config, start)
    return serve_day(PricedPage(RULES, prices), *day, every=every, payers=PAYERS)


def test_quotas_and_budgets_are_met_and_nearly_all_value_kept_through_tide_and_drift(
    today, quotas, best
):
    account = served(today, quotas)
    assert account.misses(quotas).max() < 0.02
    spent = account.shown.spend / np.array(quotas.budgets)
    assert (spent < 1.02).all()
    assert (spent[1::2] > 0.98).all()  # the short budgets are used up
    assert 0.98 * best.bound <= account.shown.value <= best.bound * 1.005
    assert violations(account.pages, today[0], RULES) == []


def test_prices_that_hear_of_pages_late_do_not_swing(today, quotas, best):
    account = served(today, quotas, every=50)  # forty times a day
    assert account.misses(quotas).max() < 0.02
    assert account.shown.value > 0.97 * best.bound


def test_yesterdays_prices_left_alone_miss_the_quotas_and_lose_value(today, quotas, best):
    yesterday = random_day(N, seed=1)
    prices = DualPrices(quotas, RULES, FORECAST)
    serve_day(PricedPage(RULES, prices), *yesterday, every=10, payers=PAYERS)
    stale = served(today, quotas, STALE, prices.average())
    fresh = served(today, quotas, start=prices.average())
    price = best.prices.business
    assert fresh.misses(quotas).max() < 0.02 < 0.2 < stale.misses(quotas).max()
    assert stale.net_value(quotas, price) < fresh.net_value(quotas, price)


def test_the_prices_learned_are_those_that_the_programme_finds(quotas):
    quotas = replace(quotas, budgets=tuple(budget / 2 for budget in quotas.budgets))
    day = random_day(N // 2, seed=3)
    best = day_optimum(day[0], RULES, quotas, groups=25, close=2e-3)
    prices = DualPrices(quotas, RULES, FORECAST / 2)
    serve_day(PricedPage(RULES, prices), *day, every=10, payers=PAYERS)
    bound = best.prices.business
    assert prices.average().business == pytest.approx(bound, abs=0.15 * np.abs(bound).max())
    assert (np.sign(bound) == [0, 1, 0, 1, 0, -1])[[0, 1, 2, 3, 5]].all()


@pytest.mark.parametrize("wrong", [0.7, 1.4])
def test_a_forecast_of_traffic_that_is_far_off_costs_no_quota(today, quotas, wrong):
    account = served(today, quotas, forecast=FORECAST * wrong)
    assert account.misses(quotas).max() < 0.02
    assert (account.shown.spend / np.array(quotas.budgets) < 1.02).all()


def test_the_optimum_is_that_of_the_whole_programme_written_down():
    rules = PageRules(("a", "ad"), 2, 0.5, ("ad",), 1, 0, 1, (2, 1), (0, 0), (2, 1), 0)
    chance = np.random.default_rng(0)
    pages, each = 8, 4
    business = np.tile([0, 0, 1, 1], pages)
    columns = {"business": business, "value": chance.random(len(business)) + business,
               "creator": np.full(len(business), -1)}  # fmt: skip
    candidates = Candidates(pages, np.repeat(np.arange(pages), each), np.arange(32), columns)
    quotas = Quotas((0.0, 0.0), (1.0, 0.3))
    every = [(p, q) for p, q in itertools.permutations(range(each), 2) if not (p > 1 and q > 1)]
    shown = [
        [shown_on(candidates, np.array([[p + each * row, q + each * row]]), rules)
         for p, q in every]
        for row in range(pages)
    ]  # fmt: skip
    gain = np.array([[s.value for s in mine] for mine in shown]).ravel()
    ads = np.array([[s.exposures[1] for s in mine] for mine in shown]).ravel()
    once = np.kron(np.eye(pages), np.ones(len(every)))
    whole = linprog(-gain, ads[None], [0.3 * 1.5 * pages], once, np.ones(pages))
    best = day_optimum(candidates, rules, quotas, groups=8, close=1e-9)
    assert best.value == pytest.approx(-whole.fun) == best.bound
    assert best.prices.business[1] == pytest.approx(-whole.ineqlin.marginals[0])


def test_what_the_fast_pages_are_short_of_is_measured_on_exact_ones(today, quotas, best):
    short, error = proved_short(today[0], RULES, best.prices, sample=10)
    assert 0 <= short < 0.01 * best.bound / N and error < 0.01 * best.bound / N


def test_quotas_that_no_pages_can_meet_are_told_by_what_they_miss():
    ads_gone = random_pages(20, seed=4)
    ads_gone = ads_gone.take(ads_gone["business"] != 3)
    best = day_optimum(ads_gone, RULES, Quotas((0, 0, 0, 0.1, 0, 0)), groups=4, rounds=5)
    assert best.missed == pytest.approx(0.1 * RULES.weights.sum() * 20)


def test_a_payer_without_money_is_never_shown_and_a_budget_ends(quotas):
    small = replace(quotas, budgets=(0.0,) + (5.0,) * (PAYERS - 1))
    day = random_day(300, seed=5)
    prices = DualPrices(small, RULES, FORECAST)
    account = serve_day(PricedPage(RULES, prices), *day, every=1, payers=PAYERS)
    assert account.shown.spend[0] == 0
    assert (account.shown.spend <= 5.0).all() and account.shown.spend[1:].sum() > 20
    assert violations(account.pages, day[0], RULES) == []


def test_spend_that_is_no_number_is_never_shown_and_an_unknown_payer_is_an_error(quotas):
    candidates, _ = random_day(20, seed=6)
    policy = PricedPage(RULES, DualPrices(quotas, RULES, FORECAST))
    blind = candidates.with_columns(spend=np.where(candidates["payer"] >= 0, np.nan, 0.0))
    pages = policy.allocate(blind)
    assert (candidates["payer"][pages] == -1).all()
    with pytest.raises(DataError, match="payer 99 has no budget .there are 12"):
        policy.allocate(candidates.with_columns(payer=np.full(len(candidates), 99)))


def test_a_price_rises_where_more_is_shown_than_is_due_and_falls_back():
    prices = DualPrices(Quotas(high=(1, 0.2, 1, 1, 1, 1)), RULES, FORECAST)
    page = RULES.weights.sum()

    def shown(live: float) -> Shown:
        share = np.array([1 - live, live, 0, 0, 0, 0])
        return Shown(10, 10 * page, 10 * page * share, np.zeros(0), 0.0)

    first = prices.update(HOUR_MS, shown(live=0.5)).business[1]
    assert first == pytest.approx(0.02 * 10 * 0.3, rel=0.1)
    for _ in range(50):
        last = prices.update(HOUR_MS, shown(live=0.0)).business[1]
    assert last == 0.0
    assert prices.get().business[[0, 2, 3, 4, 5]].tolist() == [0] * 5
    before = prices.get()
    after = prices.update(HOUR_MS, Shown(0, 0.0, np.zeros(6), np.zeros(0), 0.0))
    assert (after.business == before.business).all()


def test_the_pages_still_to_come_follow_the_forecast_and_the_traffic():
    prices = DualPrices(Quotas(), RULES, np.full(24, 100.0))
    assert prices.left_pages(0) == 2400
    assert prices.left_pages(12 * HOUR_MS) < 100  # nobody came all morning
    prices.update(12 * HOUR_MS, Shown(2400, 1.0, np.zeros(6), np.zeros(0), 0.0))
    assert prices.left_pages(12 * HOUR_MS) == pytest.approx(2400, rel=0.05)


def test_policies_without_prices_are_served_and_counted_too(today, quotas):
    policy: PagePolicy = WeightedSum(RULES, column="value")
    some = today[0].take(today[0].request_row < 100)
    some = Candidates(100, some.request_row, some.item_row, some.columns)
    account = serve_day(policy, some, today[1][:100], payers=PAYERS)
    assert account.shown.pages == 100 and account.prices.shape == (0,)
    assert account.shares().sum() == pytest.approx(1)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Quotas((0.3,) * 4 + (0.0,) * 2), "sum of Quotas.low must be <= 1, got 1.2"),
        (lambda: Quotas(high=(0.1,) * 6), "sum of Quotas.high must be >= 1"),
        (lambda: Quotas((0.5,) + (0.0,) * 5, (0.4,) + (1.0,) * 5), "be at most high = 0.4"),
        (lambda: Quotas((0.0,), (1.0, 1.0)), "Quotas.high must have 1 entries"),
        (lambda: Quotas(budgets=(-1.0,)), "Quotas.budgets must be in [0.0"),
        (lambda: PricingConfig(step=-1.0), "PricingConfig.step must be in [0.0, 10.0], got -1.0"),
        (lambda: DualPrices(Quotas(), RULES, [1.0] * 23), "DualPrices.hourly must be 24 counts"),
        (lambda: DualPrices(Quotas(), RULES, [0.0] * 24), "DualPrices.hourly must be 24 counts"),
        (lambda: DualPrices(Quotas((0,), (1,)), RULES, [1] * 24), "must have 6 entries"),
        (lambda: day_optimum(Candidates.empty(0), RULES, Quotas()), "day_optimum needs requests"),
    ],
)
def test_settings_out_of_range_are_named(make, said):
    with pytest.raises((ConfigError, DataError)) as error:
        make()
    assert said in str(error.value)


def test_prices_of_yesterday_are_where_today_starts(quotas):
    start = Prices(np.array([0, 0.5, 0, 0, 0, -0.2]), np.full(PAYERS, 0.1), np.zeros(PAYERS))
    begun = DualPrices(quotas, RULES, FORECAST, start=start).get()
    assert begun.business.tolist() == start.business.tolist()
    assert begun.payer.tolist() == start.payer.tolist()
    assert begun.left.tolist() == list(quotas.budgets)
