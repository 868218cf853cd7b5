"""Two days under quotas on the smoke scale: kept, lost with stale prices, and beside HiGHS."""

import numpy as np
import pytest

from reclab.blending.allocation import violations
from reclab.core.clock import HOUR_MS
from reclab.core.errors import ConfigError
from reclab.lab.quota_day import STALE, QuotaDay, kept_promises, quota_days


@pytest.fixture(scope="module")
def days(lab) -> tuple[QuotaDay, QuotaDay]:
    return quota_days(lab, 300)


def test_days_are_whole_in_order_and_the_second_opening_is_the_first(lab, days):
    again = quota_days(lab, 300)
    for day, same in zip(days, again, strict=True):
        assert (np.diff(day.time_ms) >= 0).all() and len(day) <= 300
        assert day.candidates.n_requests == len(day) == len(same)
        np.testing.assert_array_equal(day.candidates["value"], same.candidates["value"])
    assert days[0].time_ms[-1] < days[1].time_ms[0]


def test_prices_keep_promises_that_a_page_alone_breaks_also_through_a_drift(days):
    yesterday, today = days
    first = yesterday.prices()
    yesterday.serve(first)
    for day in (today, today.drifted()):
        best = day.optimum()
        free = kept_promises(day, day.serve(), best)
        learned = day.serve(day.prices(start=first.average()))
        kept = kept_promises(day, learned, best)
        assert kept.miss < 0.05 < 0.3 < free.miss
        # the bound is of the fast solver's pages: exact ones lift it by a tenth of a per cent
        assert 0.97 < kept.net <= kept.value <= 1.001
        assert not violations(learned.pages, day.candidates, day.rules)


def test_stale_prices_miss_what_learned_ones_keep_when_scores_drift(days):
    yesterday, today = days
    first = yesterday.prices()
    yesterday.serve(first)
    day = today.drifted(2.0)
    best = day.optimum()
    stale = kept_promises(day, day.serve(day.prices(STALE, first.average())), best)
    learned = kept_promises(day, day.serve(day.prices(start=first.average())), best)
    assert stale.miss > 3 * learned.miss and stale.net < learned.net


def test_a_drift_moves_one_business_after_noon_only(days):
    day = days[1]
    moved = day.drifted(3.0, business=1, hour=12)
    late = (day.time_ms // HOUR_MS % 24 >= 12)[day.candidates.request_row]
    changed = moved.candidates["value"] != day.candidates["value"]
    assert changed.any()
    assert (late & (day.candidates["business"] == 1))[changed].all()


@pytest.mark.parametrize(
    "call, said",
    [
        (lambda days: days[0].drifted(0.0), "factor"),
        (lambda days: days[0].drifted(1.5, hour=30), "hour"),
    ],
)
def test_bad_drifts_are_named(days, call, said):
    with pytest.raises(ConfigError, match=said):
        call(days)


def test_bad_sizes_are_named(lab):
    with pytest.raises(ConfigError, match=r"quota_days\.n"):
        quota_days(lab, 0)
