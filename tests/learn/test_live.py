"""What a reader writes replaces ours in the live cascade: the same function, the same lists."""

import numpy as np
import pytest

from reclab.cascade.batch import read_batch
from reclab.cascade.pre_ranking.duties import Duties, DutiesConfig
from reclab.core.types import Candidates
from reclab.lab.experiments import lists_of
from reclab.learn import live
from reclab.learn.lesson_02 import item_similarity, mmr, reserved_cut, target_attention


@pytest.fixture(scope="module")
def requests(lab):
    return lab.requests(20)


def predictions(cascade, requests):
    p = cascade.parts
    n = 30 * len(requests)
    rows = np.random.default_rng(0).integers(0, len(p.index), n)
    candidates = Candidates(len(requests), np.repeat(np.arange(len(requests)), 30), rows)
    return p.ranker.predict(read_batch(requests, p.users, p.index), candidates)["p_long_view"]


def test_the_right_attention_gives_the_rankers_own_predictions(lab, requests):
    mine = live.with_target_attention(lab, target_attention.target_attention)
    ours = predictions(lab.trained, requests)
    np.testing.assert_allclose(predictions(mine, requests), ours, atol=1e-5)
    assert lab.trained.parts.ranker.net.attention is not mine.parts.ranker.net.attention


def test_another_attention_moves_the_predictions(lab, requests):
    blind = live.with_target_attention(lab, lambda past, mask, target, weigh: 0 * target)
    gap = np.abs(predictions(blind, requests) - predictions(lab.trained, requests))
    assert gap.max() > 1e-4


def test_the_attention_of_another_ranker_can_be_replaced_too(lab, requests):
    static = lab.static_rankers["sampled negatives"]
    mine = live.with_target_attention(lab, target_attention.target_attention, static)
    ours = predictions(lab.trained.with_parts(ranker=static), requests)
    np.testing.assert_allclose(predictions(mine, requests), ours, atol=1e-5)


def test_the_readers_cut_keeps_the_same_candidates_as_our_duties(lab, requests):
    p = lab.trained.parts
    mine = live.with_reserved_cut(lab, reserved_cut.reserved_cut, share=0.2)
    duties = Duties(DutiesConfig(cold_start=0.2), p.index, np.zeros(len(p.index)))
    ours = lab.cascade.with_parts(duties=duties)
    same = lists_of(mine, requests) == lists_of(ours, requests)
    assert same.mean() > 0.97  # float ties


def test_a_cut_that_keeps_nobody_is_filled_up_by_score(lab, requests):
    lazy = live.with_reserved_cut(lab, lambda score, is_new, keep, share: np.zeros(len(score)))
    assert (lists_of(lazy, requests) == lists_of(lab.cascade, requests)).mean() > 0.97


def test_item_similarity_and_mmr_answer_full_lists(lab, requests):
    for mine in (
        live.with_item_similarity(lab, item_similarity.item_similarity, 300),
        live.with_mmr(lab, mmr.mmr),
    ):
        assert (lists_of(mine, requests) >= 0).all()
