"""The plots of lesson 01 show the numbers that they were given, the reader's beside ours."""

import numpy as np
import pytest

from reclab.blending.allocation import RatioWeave
from reclab.lab.blending_pool import make_pool, rules_of, serve
from reclab.learn import live_01
from reclab.show import own_blending


@pytest.fixture(scope="module")
def pool(lab):
    return make_pool(lab, "held_out", 60)


def test_shares_of_a_page_sum_to_one_and_carry_a_pattern_beside_the_colour(pool):
    rules = rules_of(2)
    found = {"ours": serve(RatioWeave(rules), pool), "yours": serve(RatioWeave(rules), pool)}
    plot = own_blending.shares(found, pool, rules)
    assert [bar.name for bar in plot.data] == ["ours", "yours"]
    assert all(sum(bar.y) == pytest.approx(1, abs=1e-5) for bar in plot.data)
    assert len({bar.marker.pattern.shape for bar in plot.data}) == 2
    table = own_blending.worth_table(found).splitlines()
    assert len(table) == 3 and table[1].split()[1:] == table[2].split()[1:]


def test_a_calibrated_line_lies_on_the_diagonal():
    chance = np.random.default_rng(0)
    p = chance.random(20_000)
    came = chance.random(20_000) < p
    plot = own_blending.calibration({"right": p, "too sure": np.round(p)}, came)
    assert len(plot.data) == 3
    np.testing.assert_allclose(plot.data[1].x, plot.data[1].y, atol=0.03)


def test_only_businesses_with_a_quota_have_a_price_line(pool):
    days = {"ours": live_01.priced_day_with(None, pool)}
    plot = own_blending.quota_prices(days, live_01.QUOTAS)
    names = [trace.name for trace in plot.data if trace.type == "scatter"]
    assert names == ["live, ours", "image-text, ours", "campaign, ours"]
    assert "prices of the quotas" in plot.alt


def test_profits_are_drawn_against_the_factor():
    plot = own_blending.profits([0.5, 1.0], {"VCG": np.array([1.0, 2.0])})
    assert plot.data[0].x.tolist() == [0.5, 1.0] and plot.data[0].y.tolist() == [1.0, 2.0]
