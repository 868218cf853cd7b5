"""The two tables: what is read off a frontier, and who can beat whom."""

from dataclasses import replace

import numpy as np
import pytest

from reclab.lab import dcaf_tables as tables
from reclab.lab.action_values import action_table
from reclab.lab.dcaf_tables import (
    BEST,
    FIXED,
    HINDSIGHT,
    KNOWABLE,
    Frontier,
    cloud,
    cost_of,
    frontier,
    gain_at,
    price_for,
    quality_factor,
    read,
    spends,
    upgrades,
)
from reclab.lab.value_models import error_table, errors, log_of, logged_table, value_models


@pytest.fixture(scope="module")
def table(lab):
    return action_table(lab, "tuning", progress=False)


@pytest.fixture(scope="module")
def made(lab):
    """A table of four requests and three levels that cost 1, 2 and 4 ms: half of the requests gain
    2 a step, the others nothing."""
    one = action_table(lab, "tuning", progress=False).take(np.arange(4))
    value = np.array([[1.0, 3, 5], [1, 1, 1], [1, 3, 5], [1, 1, 1]])
    costs = replace(one.costs, cpu_ms=np.array([1.0, 2, 4]), model_ms=np.zeros(3), context_ms=0.0)
    flat = {name: np.ones((4, 3)) for name in ("clicks", "revenue", "tail")}
    return replace(one, value=value, costs=costs, **flat)


def line(cost, value):
    blank = np.zeros(len(cost))
    return Frontier(blank, np.array(cost, float), np.array(value, float), blank, blank, blank)


def test_a_frontier_is_read_in_straight_lines_and_never_falls():
    front = line([4, 1, 2, 3], [5, 1, 3, 2])  # 3 ms gives less than 2 ms did: nobody buys it
    assert gain_at(front, 1.5) == 2.0 and gain_at(front, 3) == 3.0 and gain_at(front, 9) == 5.0
    assert cost_of(front, 2.0) == 1.5 and cost_of(front, 4.0) == 3.5 and cost_of(front, 0.5) == 1.0
    assert np.isnan(cost_of(front, 6.0)) and np.isnan(gain_at(front, 0.5))


def test_upgrades_go_to_those_who_gain_and_everybody_has_the_cheapest(made):
    cost = made.costs.total_ms
    assert upgrades(made.value, cost, 0.5).tolist() == [2, 0, 2, 0]
    assert upgrades(made.value, cost, 1.5).tolist() == [1, 0, 1, 0]
    assert upgrades(made.value, cost, 9.0).tolist() == [0, 0, 0, 0]
    assert upgrades(np.full((4, 3), 7.0), cost, 0.0).tolist() == [0, 0, 0, 0]


def test_knowing_who_gains_saves_what_the_others_would_have_cost(made):
    row = read(frontier(made.value, made), made, level=2)
    assert np.isclose(row.saved, 1 - 2.5 / 4) and np.isclose(row.gain, 0)
    assert np.isclose(row.beyond, row.saved)
    c = cloud(made.value, made, 0.5)
    assert c.cost.tolist() == [4, 1, 4, 1] and c.gain.tolist() == [4, 0, 4, 0]
    assert c.action.tolist() == [2, 0, 2, 0]


def test_the_price_that_was_solved_spends_the_budget_on_the_same_requests(made):
    cost = made.costs.total_ms
    lam = price_for(made.value, cost, 2.5)
    assert cost[upgrades(made.value, cost, lam)].mean() <= 2.5
    assert spends(made.value, made.value, cost, level=1) <= 0


def test_the_quality_factor_leaves_out_levels_that_a_mix_beats(made):
    bad = replace(made, value=np.tile([1.0, 1.1, 5.0], (4, 1)))
    assert sorted(quality_factor(bad).cost) == [1.0, 4.0]
    assert sorted(quality_factor(made).cost) == [1.0, 2.0, 4.0]
    falls = replace(made, value=np.tile([3.0, 2.0, 1.0], (4, 1)))
    assert sorted(quality_factor(falls).cost) == [1.0]


def test_a_random_policy_gains_nothing_over_one_factor_for_all(table):
    dealt = tables.shuffled(table.value, seed=1)
    assert sorted(dealt.sum(1)) == sorted(table.value.sum(1))
    aimed, blind = frontier(table.value, table), frontier(dealt, table)
    assert (blind.value <= aimed.value.max()).all()
    assert read(blind, table, 5).gain < read(aimed, table, 5).gain


@pytest.mark.slow
def test_nobody_beats_the_truth_and_hindsight_is_luck(lab):
    rows = tables.tables(lab, progress=False)
    others = [r.gain for name, r in rows.items() if name not in (HINDSIGHT, KNOWABLE)]
    assert rows[HINDSIGHT].gain > rows[KNOWABLE].gain >= max(others)
    assert rows[FIXED].gain > -1e-5 and abs(rows[FIXED].beyond) < 1e-9
    assert "saved" in tables.text(rows) and BEST in tables.text(rows)
    assert tables.tables(lab, progress=False).keys() == rows.keys()


@pytest.mark.slow
def test_money_is_a_table_of_its_own(lab):
    rows = tables.tables(lab, "revenue", progress=False)
    assert rows[KNOWABLE].gain >= max(r.gain for n, r in rows.items() if n != HINDSIGHT)
    told = [r.revenue for r in rows.values() if not np.isnan(r.revenue)]
    assert told and min(told) > -1e-4  # at equal money, or above where the cheapest earns more


def test_the_log_has_one_outcome_a_request_and_none_of_logged_ones(lab, table):
    more = logged_table(lab, progress=False)
    log = log_of(table, more, "value", seed=0)
    assert len(log.explored) == len(table) and len(log.shadowed) == len(table) + len(more)
    assert np.isin(np.arange(10), log.action).all()
    assert np.array_equal(log.outcome[log.explored] % 1, np.zeros(len(table)))


def test_errors_of_the_truth_are_none(table):
    e = errors(table.value, table, times=5)
    assert np.allclose(e.bias, 0) and np.allclose(e.r2, 1)
    flat = np.tile(table.value.mean(0), (len(table), 1))
    assert np.allclose(errors(flat, table, times=5).r2, 0, atol=1e-5)


@pytest.mark.slow
def test_models_are_kept_and_their_errors_told(lab):
    models = value_models(lab, progress=False)
    x = action_table(lab, "held_out", progress=False).x
    for model in models.values():
        assert (np.diff(model.predict(x), axis=1) >= 0).all()
    found = error_table(lab)
    assert found.keys() == {"told after all ran", *models}
    assert all(np.isfinite(e.bias).all() and (e.r2_error > 0).all() for e in found.values())
