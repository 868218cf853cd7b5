"""The still plots of lesson 01: what is drawn is what was computed."""

import numpy as np
import pytest

from reclab.blending.calibration import ScoreCalibration
from reclab.lab import blending
from reclab.lab.bidding_study import bidding
from reclab.lab.blending import Fairness, Point, Slots
from reclab.lab.blending_days import Days
from reclab.lab.blending_pool import make_pool
from reclab.lab.blending_values import ShownCards
from reclab.show import blending_plots as plots


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


def test_fairness_and_front_have_a_dot_a_setting():
    one = Fairness(0.3, 0.8, 0.02, 40.0, 6.0, 0.7)
    assert len(plots.fairness({"none": one, "both": one}).data) == 2
    families = ("fixed slots", "weave", "weighted sum", "priced")
    points = {f: Point(f, 40.0, 6.0, 0.7, ()) for f in families}
    fig = plots.front(points)
    assert len(fig.data) == 8 and [len(dots.x) for dots in fig.data] == [1] * 8


def test_days_are_a_line_and_a_band_over_seeds():
    def some(level):
        return Days(*(np.full(28, level) for _ in range(9)))

    found = {f"{seed}/{p}": some(1.0 + seed) for seed in (0, 1) for p in ("priced", "watch only")}
    fig = plots.days(found)
    assert len(fig.data) == 2 * 3 * 2
    assert fig.data[1].y[0] == 4.5 and (min(fig.data[0].y), max(fig.data[0].y)) == (3.0, 6.0)


def test_reliability_draws_scores_only_where_they_could_be_probabilities():
    chance = np.random.default_rng(0)
    business = np.repeat([0, 1], 400)
    p = chance.random(800)
    came = (chance.random(800) < p).astype(float)
    score = np.where(business == 0, p**2, 10 * p)
    none = np.zeros(800)
    cards = ShownCards(business, score, none, none, came, none, none, none)
    made = ScoreCalibration().fit(business, score, came)
    fig = plots.reliability(cards, made)
    lines = [line for line in fig.data if "markers" in line.mode]
    assert [line.name for line in lines] == ["as the business says", "calibrated", "calibrated"]
    before, after, _ = lines
    gap = [np.abs(np.subtract(line.x, line.y)).mean() for line in (before, after)]
    assert gap[1] < gap[0] / 2


def test_the_truth_is_the_best_bid_where_ads_pay_for_what_they_take(pool):
    found = bidding(pool, pages=20)
    vcg, own = found["vcg"], found["first_price"]
    truth = vcg.factors.tolist().index(1.0)
    assert vcg.gain[truth] == pytest.approx(vcg.gain.max()) and vcg.auctions == 20
    assert own.gain[truth] == pytest.approx(0.0, abs=1e-9) and own.best < 1
    assert (own.gain[vcg.factors > 1] <= 1e-9).all()
    fig = plots.bidding(found)
    assert fig.data[0].y == pytest.approx(vcg.gain, rel=1e-5)
