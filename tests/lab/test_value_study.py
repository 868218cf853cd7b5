"""What lesson 04 decides with: gains above a degraded page, by who says them."""

from dataclasses import replace

import numpy as np
import pytest

from reclab.lab import value_study
from reclab.lab.value_study import DegradedWorth, Study


@pytest.fixture(scope="module")
def study(lab) -> Study:
    return value_study.study(lab, progress=False)


class Requests:
    """As much of a table as the degraded page's worth asks for."""

    def __init__(self, cached):
        self.cached = cached


def test_the_degraded_page_is_a_line_for_those_with_a_cache_and_another_for_the_rest():
    chance = np.random.default_rng(0)
    page, cached = 5 * chance.random((400, 3)), chance.random(400) < 0.7
    worth = np.where(cached, 0.5 + 0.8 * page[:, 0], 1.0 + 0.1 * page[:, 0])
    learned = DegradedWorth(page, cached, worth)
    assert learned(page, Requests(cached)) == pytest.approx(worth)


def test_the_true_gain_is_that_above_the_degraded_page(study):
    t = study.table
    assert (study.gains["knowable"] == t.value - t.fallback[:, None]).all()
    assert np.isfinite(study.gains["learned"]).all()
    same, lies = study.gains["same for all"], study.gains["lies"]
    assert (same == same[0]).all()
    assert np.allclose((lies + study.gains["learned"]) / 2, same, atol=1e-4)


def test_on_average_the_learned_gain_is_near_the_true_one(study):
    told, true = (study.gains[name].mean(0) for name in ("learned", "knowable"))
    assert np.abs(told - true).max() < 1.0  # long views of a page of ten; tiny has 120 requests


def test_requests_to_draw_gain_little_some_and_much(study):
    low, middle, high = study.some_requests()
    more = study.table.value[:, 7] - study.table.value[:, 0]
    assert more[low] < more[middle] < more[high]


def test_savings_name_what_was_learned_and_leave_out_what_never_gets_there(study):
    assert all(np.isfinite(list(study.saved.values())))
    assert "hindsight" in study.saved
    assert {what for what, _ in study.changes} == {"clicks", "money", "long-tail cards"}


def test_an_action_is_never_free_however_the_degraded_path_was_measured(study):
    costs = study.table.costs
    slow = replace(costs, degraded_ms=float(costs.total_ms.max()))
    net = replace(study, table=replace(study.table, costs=slow)).net_cost
    assert net == pytest.approx(0.01 * costs.total_ms)
