"""lab.blend_panel at the smoke scale: what a knob does is what the policy does on the same pool."""

from dataclasses import replace

import numpy as np
import pytest

from reclab.blending.allocation import BUSINESSES, violations
from reclab.core.errors import ConfigError
from reclab.lab.answer_times import answer_times, requests_of
from reclab.lab.blend_panel import BEAM, SMALL, BlendKnobs, blend_panel
from reclab.lab.blending_pool import make_pool, priced, rules_of, serve

N = 60


@pytest.fixture(scope="module")
def panel(lab):
    return blend_panel(lab, N)


def tight(panel):
    """A deadline that half of the answers keep."""
    return BlendKnobs(deadline_ms=float(np.median(panel.answer_ms)))


def test_a_panel_is_timed_once_and_then_read(lab, panel):
    again = blend_panel(lab, N)
    assert (again.answer_ms == panel.answer_ms).all() and panel.answer_ms.min() > 0
    assert panel.answer_ms.shape == (N, len(BUSINESSES))
    fresh = make_pool(lab, "tuning", N)
    assert (fresh.candidates.item_row == panel.pool.candidates.item_row).all()
    assert np.allclose(fresh.candidates["value"], panel.pool.candidates["value"])
    assert np.allclose(fresh.budget, panel.pool.budget)


@pytest.mark.parametrize(("load", "gap"), [(2, 3), (3, 2), (0, 5)])
def test_knobs_that_say_nothing_new_serve_what_the_front_serves(panel, load, gap):
    found = panel.serve(BlendKnobs(load=load, gap=gap, deadline_ms=1e9))
    usual = serve(replace(priced(panel.pool, rules_of(load)), beam=BEAM), panel.pool)
    assert (found.served.pages == usual.pages).all()
    assert found.three == pytest.approx(usual.worth.three())
    assert found.filled == 1.0 and found.in_time.all()


def test_late_businesses_are_on_no_page_and_the_rules_hold_without_them(panel):
    knobs = tight(panel)
    found = panel.serve(knobs)
    seen = panel.offered(knobs.weights, found.in_time)
    row, slot = np.nonzero(found.served.pages >= 0)
    business = panel.pool.candidates["business"][found.served.pages[row, slot]]
    assert (panel.answer_ms[row, business] <= knobs.deadline_ms).all()
    assert 0.3 < found.in_time.mean() < 0.7
    assert not violations(found.served.pages, seen.candidates, knobs.rules)
    assert found.three[0] < panel.serve(BlendKnobs()).three[0]


def test_with_nobody_in_time_pages_are_empty_and_nothing_breaks(panel):
    found = panel.serve(BlendKnobs(deadline_ms=0.0, quota=0.05))
    assert found.filled == 0.0 and not found.share.any() and np.isnan(found.gini)
    assert found.three[:2].tolist() == [0.0, 0.0] and np.isfinite(found.bonus).all()
    page = panel.page(found, 0)
    assert len(page.item_row) == 0 and page.late == tuple(range(len(BUSINESSES)))


def test_quotas_lift_the_small_by_a_bonus_that_others_do_not_get(panel):
    small, others = list(SMALL), [b for b in range(len(BUSINESSES)) if b not in SMALL]
    none, some = (panel.serve(BlendKnobs(quota=q)) for q in (0.0, 0.08))
    assert some.share[small].min() > none.share[small].min()
    assert not none.bonus.any() and some.bonus[:, small].any() and not some.bonus[:, others].any()
    assert (np.diff(some.hours) > 0).all() and len(some.hours) == len(some.bonus) == N // 20


def test_more_weight_of_money_earns_more_and_shows_more_paid(panel):
    few, many = (panel.serve(BlendKnobs(revenue=w)) for w in (0.0, 4.0))
    assert many.three[1] > few.three[1] and many.three[0] < few.three[0]


def test_a_page_says_what_each_card_is_worth_and_what_prices_took_off(panel):
    knobs = BlendKnobs(revenue=2.0, quota=0.08)
    found = panel.serve(knobs)
    seen = panel.offered(knobs.weights, found.in_time).candidates
    first, last = (panel.page(found, row) for row in (0, N - 1))
    at = found.served.pages[N - 1]
    assert sum(last.terms.values()) == pytest.approx(seen["value"][at[at >= 0]])
    assert not first.price.any()  # the day starts without prices
    lifted = np.isin(last.business, np.flatnonzero(found.bonus[-2] > 0))
    assert (last.price[lifted] < 0).all()


def test_exposure_among_creators_is_a_lorenz_curve(panel):
    found = panel.serve(BlendKnobs())
    assert (np.diff(found.lorenz) >= 0).all() and found.lorenz[-1] == pytest.approx(1.0)
    area = (np.append(0.0, found.lorenz[:-1]) + found.lorenz).sum() / 2 / len(found.lorenz)
    assert found.gini == pytest.approx(1 - 2 * area) and 0 < found.tail < 1


def test_answers_are_timed_for_each_business_alone(lab):
    said = []
    ms = answer_times(lab, requests_of(lab, 2), 1, lambda fraction, text: said.append(fraction))
    assert ms.shape == (2, len(BUSINESSES)) and ms.min() > 0 and said == [0.0, 0.5]


def test_a_knob_outside_its_range_is_said():
    with pytest.raises(ConfigError, match=r"BlendKnobs.load must .* got 4"):
        BlendKnobs(load=4)
    with pytest.raises(ConfigError, match="quota"):
        BlendKnobs(quota=0.5)
