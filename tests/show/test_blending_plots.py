"""The still plots of lesson 01: what is drawn is what was computed."""

import numpy as np
import pytest

from reclab.blending.allocation import BUSINESSES
from reclab.lab import blending
from reclab.lab.blending import Fairness, Point, Slots
from reclab.lab.blending_days import Days
from reclab.lab.blending_pool import make_pool
from reclab.show import blending_plots as plots
from reclab.show.labels import label


@pytest.fixture(scope="module")
def pool(lab):
    return make_pool(lab, "tuning", 60)


def test_objectives_are_three_panels_of_one_bar_a_setting(pool):
    found = blending.objectives(pool)
    fig = plots.objectives(found)
    assert [len(bars.x) for bars in fig.data] == [4, 4, 4]
    assert fig.data[1].y[1] == found["revenue"].money


def test_resources_stack_to_one_and_price_a_card():
    share = np.tile([0.5, 0.2, 0.1, 0.1, 0.05, 0.05], (4, 1))
    price = np.array([0.1, 0.2, np.nan, 0.3, 0.4, 0.5])
    fig = plots.resources(Slots(("a", "b", "c", "d"), share, (1.0,) * 4, price))
    assert np.sum([bars.y for bars in fig.data[:6]], 0) == pytest.approx(1.0)
    assert len(fig.data) == 7


def test_fairness_costs_are_against_no_protection():
    none, both = (Fairness(0.3, 0.8, 0.02, m, 6.0, 0.7) for m in (40.0, 38.0))
    fig = plots.fairness({"none": none, "both": both})
    assert [len(bars.x) for bars in fig.data] == [2] * 6
    assert fig.data[3].y[1] == pytest.approx(-0.05) and fig.data[4].y[1] == 0


def test_the_front_has_a_dot_a_setting_and_fills_those_that_nobody_beats():
    families = ("fixed slots", "weave", "weighted sum", "priced")
    points = {f: Point(f, 40.0, 6.0 + (f == "priced"), 0.7, ()) for f in families}
    fig = plots.front(points)
    assert len(fig.data) == 8 and [len(dots.x) for dots in fig.data] == [1] * 8
    assert [dots.marker.symbol[0].endswith("-open") for dots in fig.data[::2]] == [True] * 3 + [
        False
    ]


def test_days_are_a_line_and_a_band_over_seeds():
    def some(level):
        return Days(*(np.full(28, level) for _ in range(9)))

    found = {f"{seed}/{p}": some(1.0 + seed) for seed in (0, 1) for p in ("priced", "watch only")}
    fig = plots.days(found)
    assert len(fig.data) == 2 * 3 * 2
    priced, other = fig.data[1], fig.data[3]
    assert (np.array(priced.y) == 1.0).all() and priced.name == label("priced") != other.name


def test_calibration_draws_what_was_said_of_cards_that_were_shown(lab, pool):
    fig = plots.calibration(lab, pool, bins=4)
    assert [trace.name for trace in fig.data[1:]] == list(BUSINESSES)
    for trace in fig.data[1:]:
        said, came = np.array(trace.x), np.array(trace.y)
        assert len(said) <= 4 and (np.diff(said) >= 0).all()
        assert 0 <= min(said.min(), came.min()) and max(said.max(), came.max()) <= 1
