"""Costs and breakages of lesson 02 at the smoke scale."""

import numpy as np

from reclab.cascade.batch import read_batch
from reclab.cascade.pipeline import CHANNELS
from reclab.core.clock import DAY_MS
from reclab.lab import breaking, costs


def test_an_old_index_finds_nothing_that_was_published_since(lab):
    p, requests = lab.trained.parts, lab.requests(20)
    cut = p.until_ms - 2 * DAY_MS
    old = breaking.with_old_indexes(lab, 2)
    batch = read_batch(requests, p.users, p.index)
    n_known = np.searchsorted(p.index["publish_ms"], cut)
    assert n_known < len(p.index)
    for name in CHANNELS:
        rows, _ = getattr(old.parts, name).retrieve(batch, 200)
        assert rows.shape == (20, 200) or (rows >= 0).any()
        assert rows.max() < n_known
    slates, _ = old.recommend_batch(requests)
    assert all(len(slate) == 10 for slate in slates)


def test_a_vector_channel_that_was_not_rebuilt_keeps_the_order_of_what_it_holds(lab):
    p, requests = lab.trained.parts, lab.requests(5)
    batch, n_known = read_batch(requests, p.users, p.index), len(p.index) // 2
    old = breaking.NotRebuilt(p.two_tower, n_known, len(p.index))
    rows, scores = old.retrieve(batch, 30)
    full, _ = p.two_tower.retrieve(batch, len(p.index))
    for got, every in zip(rows, full, strict=True):
        assert got.tolist() == every[(every < n_known) & (every >= 0)][:30].tolist()
    assert (np.diff(scores, axis=1) <= 1e-6).all()


def test_stale_indexes_lose_the_new_items(lab):
    found = breaking.stale_indexes(lab, (0, 1), n=30)
    assert found[1].new == 0 and found[0].share > 0


def test_a_late_channel_says_the_same_later(lab):
    p = lab.trained.parts
    batch = read_batch(lab.requests(2), p.users, p.index)
    slow = breaking.SlowChannel(p.popular, 1)
    assert (slow.retrieve(batch, 20)[0] == p.popular.retrieve(batch, 20)[0]).all()


def test_a_channel_that_is_too_late_is_left_out_and_said(lab):
    slow = breaking.SlowChannel(lab.trained.parts.two_tower, 2000)
    patient = lab.trained.with_config(deadline_ms=200).with_parts(two_tower=slow)
    slate, trace = patient.recommend(lab.requests(1)[0])
    assert len(slate) == 10
    assert "'two_tower' is later than 200 ms" in trace.notes[0]


def test_more_arithmetic_buys_the_cascade_more_value(lab):
    curves = costs.cost_curves(lab, n=10)
    assert set(curves) == {"cascade", "ranker alone", "pre-ranker alone"}
    for spent in curves.values():
        assert np.all(np.diff([s.mmac for s in spent]) > 0)
        assert all(0 < s.share < 1 for s in spent)
    assert curves["cascade"][-1].share > curves["cascade"][0].share
    assert curves["ranker alone"][-1].mmac > curves["cascade"][0].mmac
