"""DCAF against HiGHS's linear bound and against every allocation there is; its rule online."""

import itertools

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from reclab.core.errors import ConfigError, DataError
from reclab.degradation_dcaf.dcaf import NONE, act, solve_lambda

LEVELS = np.arange(1, 11) * 20.0


def gains(kind: str, n: int, seed: int = 0) -> np.ndarray:
    """(n, 10) gains of requests: concave, arbitrary, tied (all alike), coarse, partly negative."""
    chance = np.random.default_rng(seed)
    if kind == "concave":
        half = 20 + 100 * chance.random((n, 1))
        return chance.gamma(1, 1, (n, 1)) * np.log1p(LEVELS / half)
    if kind == "tied":
        return np.repeat(np.log1p(LEVELS)[None], n, 0)
    if kind == "coarse":
        return chance.integers(0, 5, (n, 10)).astype(float)
    if kind == "negative":
        return chance.normal(size=(n, 10))
    return chance.random((n, 10)) * 5


def linear_bound(gain: np.ndarray, cost: np.ndarray, budget: float) -> float:
    """HiGHS on the same instance without the demand for whole actions."""
    n, m = gain.shape
    spent = sp.csr_matrix(np.broadcast_to(cost, gain.shape).reshape(1, -1))
    one_each = sp.kron(sp.eye(n), np.ones((1, m)))
    rows, most = sp.vstack([spent, one_each]).tocsr(), np.append(budget, np.ones(n))
    return -linprog(-gain.ravel(), A_ub=rows, b_ub=most, bounds=(0, 1), method="highs").fun


def checked(gain: np.ndarray, cost: np.ndarray, budget: float):
    """The solution, whose sums are those of its actions and within the budget."""
    best = solve_lambda(gain, cost, budget)
    took = np.flatnonzero(best.action != NONE)
    at = took, best.action[took]
    spent = np.broadcast_to(cost, gain.shape)[at].sum()
    assert gain[at].sum() == pytest.approx(best.gain, rel=1e-9, abs=1e-12)
    assert spent == pytest.approx(best.cost, rel=1e-9, abs=1e-12)
    assert best.cost <= budget
    assert best.gain <= best.bound * (1 + 1e-9) + 1e-9
    return best


@pytest.mark.parametrize("share", [0.05, 0.4])
@pytest.mark.parametrize("kind", ["concave", "arbitrary", "tied", "coarse", "negative"])
def test_a_thousand_requests_gain_all_but_a_ten_thousandth_of_the_linear_bound(kind, share):
    gain = gains(kind, 1000)
    budget = 20 * round(share * 1000 * 100 / 20)  # whole levels: half a level helps nobody
    best = checked(gain, LEVELS, budget)
    bound = linear_bound(gain, LEVELS, budget)
    least = np.floor(bound + 1e-6) if kind == "coarse" else 0.9999 * bound  # whole gains
    assert best.gain >= least
    assert best.bound == pytest.approx(bound, rel=1e-6)


def test_costs_may_differ_by_request():
    chance = np.random.default_rng(1)
    gain, cost = chance.random((1000, 10)) * 5, chance.random((1000, 10)) * 100
    best = checked(gain, cost, 5000.0)
    assert best.gain >= 0.9999 * linear_bound(gain, cost, 5000.0)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), share=st.floats(0, 1.2), whole=st.booleans())
def test_few_requests_come_near_the_best_of_all_allocations(seed, share, whole):
    chance = np.random.default_rng(seed)
    gain, cost = chance.normal(1, 1, (4, 3)), chance.random((4, 3))
    if whole:  # ties among gains and costs
        gain, cost = gain.round(), cost.round(1)
    budget = share * 2.0
    best = checked(gain, cost, budget)
    every = [
        (sum(gain[i, j] for i, j in enumerate(plan) if j >= 0), plan)
        for plan in itertools.product(range(-1, 3), repeat=4)
        if sum(cost[i, j] for i, j in enumerate(plan) if j >= 0) <= budget
    ]
    top = max(every)[0]
    assert best.gain <= top + 1e-9
    assert best.bound >= top - 1e-9
    assert top - best.gain <= gain.max()  # at worst one request goes without


def test_spending_falls_as_the_price_rises_whatever_the_gains():
    gain = gains("arbitrary", 300, 3)
    spent = [
        LEVELS[action[action >= 0]].sum()
        for action in (act(gain, LEVELS, lam) for lam in np.linspace(0, 0.3, 50))
    ]
    assert (np.diff(spent) <= 0).all()


def test_the_solved_price_online_spends_what_was_planned():
    gain = gains("concave", 5000)
    best = solve_lambda(gain, LEVELS, 200_000.0)
    action = act(gain, LEVELS, best.lam)
    assert LEVELS[action[action >= 0]].sum() == pytest.approx(200_000, rel=0.01)


def test_many_requests_are_priced_from_a_sample_and_from_yesterdays_price_alike():
    gain = gains("arbitrary", 100_000)
    fresh = checked(gain, LEVELS, 4_000_000.0)
    for start in (fresh.lam, fresh.lam * 5, fresh.lam / 50):
        warm = solve_lambda(gain, LEVELS, 4_000_000.0, start=start)
        assert warm.lam == pytest.approx(fresh.lam, rel=1e-3)
        assert warm.gain == pytest.approx(fresh.gain, rel=1e-5)
    assert fresh.gap < 1e-5


def test_no_budget_buys_what_is_free_and_an_endless_one_buys_the_best():
    gain, cost = np.array([[1.0, 2.0], [3.0, 3.0]]), np.array([0.0, 1.0])
    nothing = solve_lambda(gain, cost, 0.0)
    assert nothing.action.tolist() == [0, 0] and nothing.cost == 0
    everything = solve_lambda(gain, cost, np.inf)
    assert everything.action.tolist() == [1, 0]  # of two that gain 3 the cheaper one
    assert everything.lam == 0 and everything.gain == 5


def test_a_budget_below_the_cheapest_action_takes_none():
    best = solve_lambda(np.ones((3, 2)), np.array([5.0, 9.0]), 4.0)
    assert best.action.tolist() == [NONE] * 3 and best.gain == best.cost == 0


def test_costs_need_no_order_and_losses_are_never_taken():
    gain = np.array([[5.0, 3.0, -1.0], [-2.0, -1.0, -3.0]])
    best = solve_lambda(gain, np.array([9.0, 2.0, 1.0]), 3.0)
    assert best.action.tolist() == [1, NONE]


def test_no_requests_no_actions():
    assert solve_lambda(np.zeros((0, 3)), np.ones(3), 5.0).action.shape == (0,)


@pytest.mark.parametrize(
    ("gain", "cost", "budget", "said"),
    [
        (np.full((2, 2), np.nan), np.ones(2), 1.0, "4 of 4 values of gain are NaN"),
        (np.ones((2, 2)), np.array([1.0, np.inf]), 1.0, "1 of 2 values of cost"),
        (np.ones((2, 0)), np.ones(0), 1.0, "with an action"),
        (np.ones(3), np.ones(3), 1.0, "(requests, actions)"),
        (np.ones((2, 3)), np.ones(2), 1.0, "cost must have shape"),
        (np.ones((2, 2)), np.array([-1.0, 1.0]), 1.0, "cost must be >= 0, got -1"),
        (np.ones((2, 2)), np.ones(2), -1.0, "solve_lambda.budget must be >= 0, got -1"),
        (np.ones((2, 2)), np.ones(2), np.nan, "solve_lambda.budget"),
    ],
)
def test_bad_input_is_named(gain, cost, budget, said):
    with pytest.raises((DataError, ConfigError)) as error:
        solve_lambda(gain, cost, budget)
    assert said in str(error.value)


def test_online_the_cap_and_unknown_values_bind():
    gain = np.array([[1.0, 5.0, 9.0], [np.nan, np.nan, np.nan], [-1.0, np.nan, 2.0]])
    cost = np.array([1.0, 2.0, 4.0])
    assert act(gain, cost, 0.1).tolist() == [2, NONE, 2]
    assert act(gain, cost, 0.1, most=2.0).tolist() == [1, NONE, NONE]
    assert act(gain[0], cost, 0.1, most=0.5).tolist() == [NONE]
    assert act(gain[0], cost, 100.0).tolist() == [NONE]
