"""The price of computing at the smoke scale: budgets are kept, and what is drawn adds up."""

import numpy as np
import pytest

from reclab.degradation_dcaf import act
from reclab.lab import value_study
from reclab.show.price_explorer import PriceExplorer


@pytest.fixture(scope="module")
def explorer(lab):
    return PriceExplorer(value_study.study(lab, progress=False))


@pytest.fixture(autouse=True)
def as_it_opens(explorer):
    explorer.reset()


@pytest.mark.parametrize("budget", [0.1, 0.35, 1.0, 1.5])
def test_the_solved_price_keeps_to_the_budget(explorer, budget):
    done = explorer.set(budget=budget).result
    least = explorer.study.table.costs.degraded_ms  # nobody can spend less
    assert done.cost <= max(budget * explorer.usual["cost"], least) + 1e-9
    assert done.lam == done.solved
    dearer = explorer.set(budget=min(1.5, budget + 0.1)).result
    assert dearer.solved <= done.solved


def test_a_price_by_hand_is_the_price(explorer):
    done = explorer.set(by_hand=True, lam=0.3).result
    gain, cost = explorer.study.gains["learned"], explorer.study.net_cost
    assert (done.action == act(gain, cost, 0.3)).all() and done.lam == 0.3
    assert done.by_hand == (done.cost, done.value)
    free = explorer.set(lam=0.0, who="knowable").result
    assert free.value >= done.value


def test_means_are_those_of_the_actions_taken(explorer):
    done, t = explorer.set(who="knowable", budget=0.5).result, explorer.study.table
    rows = np.arange(len(t))
    took = np.where(done.action < 0, t.fallback, t.value[rows, done.action])
    assert done.value == pytest.approx(took.mean())
    shares = explorer.figure.data[explorer.index["share"][0]].y
    assert sum(shares) == pytest.approx(1) and shares[0] == pytest.approx((done.action < 0).mean())


def test_the_truth_does_better_than_what_was_learned_and_a_lie_worse(explorer):
    kept = {who: explorer.set(who=who, budget=0.5).result.value for who in explorer.study.gains}
    assert kept["knowable"] > kept["learned"] > kept["lies"]
    assert "nan" not in explorer.summary().split()
