"""Score order under windows: a re-ranker of its own."""

import numpy as np

from reclab.cascade.re_ranking import MMRConfig, MMRStage, ScoreOrderStage, in_windows
from reclab.cascade.re_ranking.windows import Rule, broken
from reclab.core.chance import rng
from tests.cascade.re_ranking.test_mmr import batch_of, catalogue, ranked


def test_without_rules_it_is_the_order_of_the_scores():
    score = rng(1, "scores").random((6, 20))
    assert (in_windows(score, 20).order == np.argsort(-score, 1)).all()
    assert in_windows(score[:, :1], 5).order.tolist() == [[0]] * 6


def test_under_rules_it_takes_the_best_that_is_allowed():
    chance = rng(2, "groups")
    score, group = chance.random((10, 40)), chance.integers(-1, 6, (10, 40))
    lists = in_windows(score, 10, [Rule(group, 5, 2)])
    shown = np.take_along_axis(group, lists.order, 1)
    assert not broken(shown, 5, 2).any() and not lists.relaxed.any()
    assert (lists.order[:, 0] == score.argmax(1)).all()
    assert (lists.value == np.take_along_axis(score, lists.order, 1).astype(np.float32)).all()


def test_the_stage_is_mmr_that_weighs_no_likeness():
    candidates, config = ranked([40] * 12), MMRConfig(lam=0.2, max_per_category=2)
    mine = ScoreOrderStage(config, catalogue())(batch_of(12), candidates)
    same = MMRStage(MMRConfig(lam=1.0, max_per_category=2), catalogue())(batch_of(12), candidates)
    assert (mine.kept.item_row == same.kept.item_row).all()
    assert (mine.dropped["reason"] == same.dropped["reason"]).all() and mine.cost_mmac == 0
