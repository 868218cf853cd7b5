"""The rolling price against ``solve_lambda`` on the same rows."""

import numpy as np
import pytest

from reclab.core.errors import ConfigError, DataError
from reclab.degradation_dcaf.dcaf import act, solve_lambda
from reclab.degradation_dcaf.price import PriceConfig, RollingPrice, price

COST = np.linspace(0.1, 1.0, 10)


def gains(n: int, seed: int = 0, kind: str = "concave") -> np.ndarray:
    """(n, 10) gains."""
    chance = np.random.default_rng(seed)
    if kind == "arbitrary":
        return chance.normal(0.3, 1, (n, 10))
    return chance.gamma(1, 1, (n, 1)) * np.log1p(COST / (0.1 + 0.5 * chance.random((n, 1))))


@pytest.mark.parametrize("kind", ["concave", "arbitrary"])
@pytest.mark.parametrize("budget", [0.01, 0.1, 0.3, 0.5])
@pytest.mark.parametrize("guess", [0.0, 0.2, 1.0, 30.0])
def test_the_price_is_the_one_that_solves_the_knapsack(kind: str, budget: float, guess: float):
    gain = gains(2000, kind=kind)
    best = solve_lambda(gain, COST, budget * len(gain))
    mine = price(gain, COST, budget, guess * best.lam)
    action = act(gain, COST, mine)
    cost = np.where(action < 0, 0, COST[action]).sum()
    gain_ = np.where(action < 0, 0, gain[np.arange(len(gain)), action]).sum()
    assert cost <= budget * len(gain)
    assert mine == pytest.approx(best.lam, rel=0.01)
    assert gain_ >= 0.99 * best.gain


def test_the_ends_cost_nothing_and_take_nothing():
    gain = gains(500)
    assert price(gain, COST, 10.0, 3.0) == 0.0
    assert (act(gain, COST, price(gain, COST, 0.0)) == -1).all()
    assert price(-gain, COST, 0.1) == 0.0
    assert price(np.ones((50, 10)), COST, 0.05) >= 10.0  # all alike: none can be afforded


def test_the_budget_follows_the_traffic_and_the_price_follows_the_budget():
    rolling = RollingPrice(COST, PriceConfig(refresh_s=10, rows=1000))
    told = []
    for second in range(60):
        rolling.put(second * 1000, gains(200, seed=second))
        rolling.update(second * 1000, 0.4 if second < 30 else 0.05)
        told.append(rolling.get())
    assert len(set(told)) == 6  # solved every ten seconds
    assert min(told[30:]) > 3 * max(told[:30])
    exact = solve_lambda(gains(5000, seed=99), COST, 0.05 * 5000).lam
    assert told[-1] == pytest.approx(exact, rel=0.1)
    assert rolling.at(0.05) == pytest.approx(told[-1])


def test_prices_of_other_budgets_are_read_off_a_curve():
    rolling = RollingPrice(COST, PriceConfig(rows=400))
    rolling.put(0, gains(400))
    rolling.put(10_000, gains(400))
    rolling.update(10_000, 0.2)
    rows = rolling._solved_on
    for budget in (0.02, 0.05, 0.15, 0.3, 0.5):
        assert rolling.at(budget) == pytest.approx(price(rows, COST, budget), rel=0.15)
    assert rolling.at(0.0) >= rolling.at(0.02) > rolling.at(0.5)


def test_the_log_keeps_the_last_minutes_evenly():
    rolling = RollingPrice(COST, PriceConfig(keep_s=60, rows=600))
    for second in range(300):
        rolling.put(second * 1000, np.full((50, 10), float(second)))
    kept = rolling._gain[:, 0]
    assert kept.min() >= 299 - 62 and kept.max() == 299
    assert np.bincount(kept.astype(int))[240:].max() <= 11


def test_a_batch_that_comes_again_is_gone_through_not_begun_anew():
    rolling = RollingPrice(COST, PriceConfig(keep_s=60, rows=600))
    batch = np.arange(100.0)[:, None] * np.ones(10)
    for second in range(60):
        rolling.put(second * 1000, batch)
    assert len(np.unique(rolling._gain[:, 0])) == 100


def test_an_empty_or_stale_log_or_no_measurement_keeps_the_price():
    rolling = RollingPrice(COST, PriceConfig(refresh_s=10, keep_s=30))
    assert rolling.update(0, 0.1) == 0.0 and rolling.solved_ms is None
    rolling.put(0, gains(400))
    held = rolling.update(0, 0.1)
    assert held > 0
    assert rolling.update(5_000, 0.01) == held  # not due
    assert rolling.update(60_000, 0.01) == held  # all rows are too old
    rolling.put(60_000, gains(400))
    assert rolling.update(60_000, float("nan")) == held
    assert rolling.update(60_000, 0.01) > held
    rolling.put(61_000, np.full((400, 10), np.nan))  # rows of no numbers are not solved on
    assert np.isfinite(rolling.update(80_000, 0.01))


def test_a_clock_that_goes_back_does_not_stop_the_price():
    rolling = RollingPrice(COST)
    rolling.put(10**9, gains(400))
    high = rolling.update(10**9, 0.02)
    rolling.put(1000, gains(400))
    assert 0 < rolling.update(1000, 0.3) < high
    rolling.put(2000, gains(400))
    assert rolling.update(1000 + 20_000, 0.02) == pytest.approx(high, rel=0.3)


def test_wrong_settings_are_named():
    with pytest.raises(ConfigError, match="PriceConfig.keep_s"):
        PriceConfig(keep_s=0.0)
    with pytest.raises(DataError, match="costs must be above 0"):
        RollingPrice(np.array([0.0, 1.0]))
