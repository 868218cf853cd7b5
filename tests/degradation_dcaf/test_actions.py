"""Actions: a ladder of real settings, what they cost, and what is known before one is chosen."""

import numpy as np
import pytest

from reclab.cascade.batch import read_batch
from reclab.cascade.pipeline import CascadeConfig
from reclab.core.errors import DataError
from reclab.core.types import Request
from reclab.degradation_dcaf.actions import ACTIONS, REFERENCE, cascade_of, measure_costs
from reclab.degradation_dcaf.request_context import context_names, context_of


def test_a_dearer_action_never_searches_or_ranks_less():
    sizes = [(len(a.config["channels"]), a.config["retrieve"], a.ranker) for a in ACTIONS]
    ranked = [a.config["pre_rank"] for a in ACTIONS]
    for before, after in zip(sizes, sizes[1:], strict=False):
        assert all(x <= y for x, y in zip(before, after, strict=True))
    assert ranked == sorted(ranked) and ranked[-1] == 1000
    assert not ACTIONS[0].ranker and all(action.ranker for action in ACTIONS[1:])
    assert len({action.name for action in ACTIONS}) == len(ACTIONS) > REFERENCE


def test_every_action_leaves_ranks_11_to_30_for_the_degradation_cache():
    assert min(CascadeConfig(**action.config).rank for action in ACTIONS) >= 30


def test_without_the_ranker_the_pre_rankers_order_is_the_answer(lab):
    request = lab.requests(1)[0]
    slate, trace = cascade_of(lab.trained, ACTIONS[0]).recommend(request)
    told = slate.columns["pre_rank_score"]
    told = told[~np.isnan(told)]
    assert len(told) and (np.diff(told) <= 0).all()
    assert (np.diff(slate.columns["rank_score"][: len(told)]) <= 0).all()
    ranking = next(stage for stage in trace.stages if stage.name == "ranking")
    assert ranking.cost_mmac == 0


def test_an_action_shares_the_cascades_parts(lab):
    changed = cascade_of(lab.trained, ACTIONS[-1])
    assert changed.parts is lab.trained.parts
    assert changed.config.pre_rank == 1000 and changed.config.mmr.lam == 1.0


def test_costs_ascend_and_the_degraded_path_is_cheaper_than_the_dearest_action(lab):
    few = (ACTIONS[0], ACTIONS[4], ACTIONS[9])
    costs = measure_costs(lab.trained, lab.requests(8), few, rounds=2, singles=2)
    assert (np.diff(costs.total_ms) >= 0).all() and (costs.total_ms > 0).all()
    assert (np.diff(costs.cpu_ms) >= 0).all() and (np.diff(costs.model_ms) >= 0).all()
    assert 0 < costs.degraded_ms < costs.total_ms[-1]
    assert 0 < costs.context_ms < costs.total_ms[-1] and (costs.spread >= 0).all()


@pytest.mark.parametrize(("n", "actions"), [(0, ACTIONS), (1, ())])
def test_nothing_to_measure_is_an_error(lab, n, actions):
    with pytest.raises(DataError, match="measure_costs: "):
        measure_costs(lab.trained, lab.requests(n) if n else [], actions)


def test_the_context_of_a_request_does_not_depend_on_who_is_asked_beside(lab):
    requests, p = lab.requests(5), lab.trained.parts
    together = context_of(lab.trained, read_batch(requests, p.users, p.index))
    alone = [context_of(lab.trained, read_batch([r], p.users, p.index)) for r in requests]
    assert np.allclose(together, np.concatenate(alone), atol=1e-4)
    assert together.shape == (5, len(context_names(lab.trained)))
    assert len(set(context_names(lab.trained))) == together.shape[1]


def test_of_an_unknown_user_something_is_known_too(lab):
    p = lab.trained.parts
    batch = read_batch([Request(-5, lab.requests(1)[0].time_ms)], p.users, p.index)
    assert np.isfinite(context_of(lab.trained, batch)).all()
