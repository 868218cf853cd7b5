"""Pacing over a tidal day: the plan is met in step with the pages, within a stated margin."""

import numpy as np
import pytest

from reclab.core.chance import rng
from reclab.core.clock import DAY_MS, HOUR_MS
from reclab.core.errors import ConfigError, DataError
from reclab.dualrec.merge import Quota, merge
from reclab.dualrec.pacing import Pacer, PacerConfig

TIDE = np.array(
    [9, 5, 3, 2, 1, 2, 5, 12, 18, 20, 22, 26, 32, 30, 24, 22, 22, 26, 32, 44, 52, 56, 44, 22]
)


def test_what_is_due_follows_the_tide_and_never_exceeds_the_target():
    pacer = Pacer(np.array([7, 9]), np.array([100, 0]), TIDE, PacerConfig(lead_min=0))
    shares = [pacer.share(h * HOUR_MS) for h in range(24)]
    assert shares == pytest.approx((np.cumsum(TIDE) - TIDE) / TIDE.sum())
    assert pacer.behind(np.array([[7, 9, 8, -1]]), 12 * HOUR_MS)[0, 1:].tolist() == [0, 0, 0]
    pacer.shown(np.array([[7, 7, 8, -1]]))
    assert pacer.delivered.tolist() == [2, 0]
    assert pacer.behind(np.array([7]), DAY_MS - 1) == pytest.approx([98], abs=0.01)
    assert pacer.start_day().tolist() == [2, 0] and pacer.delivered.tolist() == [0, 0]
    ahead = Pacer(np.array([7]), np.array([100]), TIDE, PacerConfig(lead_min=60))
    assert ahead.due(23 * HOUR_MS + 1) == pytest.approx([100])


def test_bad_plans_are_refused():
    for items, target in (([1, 1], [1, 1]), ([1], [np.nan]), ([1], [-3]), ([1, 2], [1])):
        with pytest.raises(DataError, match="Pacer"):
            Pacer(np.array(items), np.array(target), TIDE)
    with pytest.raises(ConfigError, match="24 counts"):
        Pacer(np.array([1]), np.array([1]), np.ones(7))


def day(paced: bool, n_pages: int = 6000, seed: int = 1):
    """A day of ``n_pages`` pages along the tide in batches of 50; 20 new items, each in a tenth of
    the D_u, none good enough to be shown by f. Returns worst gap from the plan over the hours, as a
    share of the target, and delivered over target at the end, by item."""
    chance, n_new = rng(seed, "tidal day"), 20
    new, target = 1000 + np.arange(n_new), np.linspace(20, 120, n_new).round()
    pacer = Pacer(new, target, TIDE)
    hours = np.sort(chance.choice(24, n_pages, p=TIDE / TIDE.sum()) + chance.random(n_pages))
    worst = np.zeros(n_new)
    for now in np.split(hours, n_pages // 50):
        ms = int(now[-1] * HOUR_MS)
        b = len(now)
        in_d = chance.random((b, n_new)) < 0.1
        d_items = np.where(in_d, new, -1)
        items = np.hstack([np.tile(np.arange(30), (b, 1)), d_items])
        f = np.hstack([chance.random((b, 30)), np.full((b, n_new), -1.0)])
        behind = pacer.behind(d_items, ms if paced else DAY_MS - 1)
        page = merge(Quota((2, 6)), f, items, d_items, np.ones((b, n_new)), 10, behind)
        pacer.shown(page.items)
        gap = pacer.delivered - target * np.interp(now[-1], np.arange(25), pacer._until)
        worst = np.maximum(worst, np.abs(gap) / target)
    return worst, pacer.delivered / target


def test_on_a_tidal_day_the_plan_is_met_and_kept_step_with_within_a_tenth():
    worst, done = day(paced=True)
    assert (np.abs(done - 1) <= 0.02).all()
    assert worst.max() <= 0.1
    rushed, done = day(paced=False)
    assert (np.abs(done - 1) <= 0.02).all() and rushed.min() > 0.3  # all is spent before the peak


def test_a_guarantee_larger_than_the_matched_users_bring_is_missed_and_seen_to_be():
    pacer = Pacer(np.array([1]), np.array([1000]), TIDE)
    items, f = np.array([[5, 1]]), np.array([[1.0, 0.0]])
    for hour in range(24):
        behind = pacer.behind(np.array([[1]]), hour * HOUR_MS)
        page = merge(Quota((0,)), f, items, np.array([[1]]), np.ones((1, 1)), 1, behind)
        pacer.shown(page.items)
    assert pacer.delivered.tolist() == [24]
    assert pacer.behind(np.array([1]), DAY_MS - 1) == pytest.approx([976], abs=0.1)
