"""Risk: the interval against scipy, what the logs say of it, and items nobody judged."""

import numpy as np
import pytest
from scipy.stats import binomtest

from reclab.cascade.filters.risk import RiskConfig, RiskFilter, left_at_once, lower_bound
from reclab.core.errors import ConfigError
from reclab.core.tables import Table
from tests.cascade.filters.contract import INDEX, FilterContract, batch_with, candidates_of, kept_of


class TestRiskIsAFilter(FilterContract):
    def make(self):
        return RiskFilter(np.array([0, 0.9, 0.1, 0.8, 0, 0, 0, np.nan]))


@pytest.mark.parametrize("hits, n", [(0, 1), (1, 1), (3, 10), (90, 100), (1000, 1000)])
def test_the_bound_is_wilsons(hits, n):
    expected = binomtest(hits, n).proportion_ci(0.95, "wilson").low
    assert lower_bound(np.array([hits]), np.array([n]))[0] == pytest.approx(expected, abs=1e-4)


def test_few_data_accuse_nobody_and_many_do():
    """One of one left at once, and 90 of 100: the same rate or worse, but only one is sure."""
    assert lower_bound(np.array([1, 90]), np.array([1, 100])).round(2).tolist() == [0.21, 0.83]


SHOWN = Table(
    {
        "video_id": np.repeat([100, 101, 102, 999], [40, 40, 40, 5]),
        "time_ms": np.arange(125),
        "is_click": np.repeat([True, True, False, True], [40, 40, 40, 5]),
        "is_short_watch": np.repeat([True, False, True, True], [40, 40, 40, 5]),
    }
)


def test_only_who_opened_the_item_judges_it():
    risk = left_at_once(SHOWN, INDEX)
    assert risk[0] > 0.9 and risk[1] == pytest.approx(0, abs=1e-9)
    assert np.isnan(risk[2:]).all(), "item 2 was passed over, never opened"


def test_without_clicks_all_exposures_count_and_without_watch_times_nothing_is_known():
    columns = {name: SHOWN[name] for name in ("video_id", "time_ms", "is_short_watch")}
    assert left_at_once(Table(columns), INDEX)[2] > 0.9
    del columns["is_short_watch"]
    assert np.isnan(left_at_once(Table(columns), INDEX)).all()


def test_what_happens_later_is_not_known_yet():
    assert left_at_once(SHOWN, INDEX, until_ms=5)[0] < left_at_once(SHOWN, INDEX, until_ms=40)[0]
    assert np.isnan(left_at_once(SHOWN, INDEX, until_ms=40)[1])


def test_the_threshold_itself_is_dropped():
    stage = RiskFilter(np.array([0.79, 0.8, 0.81]), RiskConfig(threshold=0.8))
    assert kept_of(stage(batch_with([[]]), candidates_of([[2, 1, 0]]))) == [[0]]


@pytest.mark.parametrize("drop_unknown, left", [(False, [[0, 5]]), (True, [[]])])
def test_items_without_a_score_follow_the_policy(drop_unknown, left):
    """Row 0 has none, row 5 is newer than the scores."""
    stage = RiskFilter(np.array([np.nan, 0.9]), RiskConfig(drop_unknown=drop_unknown))
    assert kept_of(stage(batch_with([[]]), candidates_of([[0, 1, 5]]))) == left


def test_settings_are_checked():
    with pytest.raises(ConfigError, match="RiskConfig.threshold must be in"):
        RiskConfig(threshold=-1)
    with pytest.raises(ConfigError, match="RiskConfig.drop_unknown must be True or False"):
        RiskConfig(drop_unknown=1)
