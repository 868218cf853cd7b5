"""Counters read too late: better offline, worse on the next day."""

from dataclasses import replace

import numpy as np
import pytest

from reclab.core.errors import DataError
from reclab.core.tables import Table
from reclab.lab import Lab
from reclab.lab.leakage import COUNTERS, NAMES, Counters, Leakage, leakage, reading_times

DAY_MS = 86_400_000


@pytest.fixture(scope="module")
def found(lab: Lab) -> Leakage:
    return leakage(lab.logs, progress=False)


def test_what_leaks_looks_better_and_serves_worse_in_every_split(found: Leakage):
    honest, label_time, day_end = range(3)
    for leaking in (label_time, day_end):
        assert (found.offline[leaking] > found.offline[honest] + 0.05).all()
        assert (found.next_day[leaking] < found.next_day[honest] - 0.02).all()
        assert (found.top_clicks[leaking] < found.top_clicks[honest]).all()
    assert np.abs(found.offline[honest] - found.next_day[honest]).max() < 0.04
    assert (found.offline[leaking] - found.next_day[leaking] > 0.1).all()
    assert "at label time" in found.table()


def test_one_late_counter_is_enough(lab: Lab, found: Leakage):
    day = found.days[-1:]
    none = leakage(lab.logs, day, late=(), progress=False)
    assert (none.offline == none.offline[0]).all() and (none.next_day == none.next_day[0]).all()
    one = leakage(lab.logs, day, late=("user and author",), progress=False)
    assert (one.offline[1:] > none.offline[1:] + 0.02).all()
    assert (one.next_day[1:] < none.next_day[1:]).all()


def test_counters_are_what_counting_gives(lab: Lab):
    logs = lab.logs
    counters = Counters(logs, 9 * DAY_MS, 11 * DAY_MS)
    shown = logs.interactions.take(logs.interactions["time_ms"] // DAY_MS == 10)
    rows = shown.take(np.linspace(0, len(shown) - 1, 40).astype(int))
    log, told = logs.interactions, logs.feedback.take(logs.feedback["kind"] == 0)
    log = log.take((log["time_ms"] >= 9 * DAY_MS) & (log["time_ms"] < 11 * DAY_MS))
    told = told.take((told["report_ms"] >= 9 * DAY_MS) & (told["report_ms"] < 11 * DAY_MS))
    for times in reading_times(rows["time_ms"], 1_200_000):
        got = counters.read(rows, times)
        for i, t in enumerate(times.tolist()):
            for at, key in ((0, "video_id"), (2, "user_id")):
                cards = ((log[key] == rows[key][i]) & (log["time_ms"] < t)).sum()
                clicks = ((told[key] == rows[key][i]) & (told["report_ms"] < t)).sum()
                want = (clicks + 5 * counters.rate) / (cards + 5), np.log1p(cards)
                assert got[i, at : at + 2] == pytest.approx(want, rel=1e-5)
    assert got.shape[1] == len(NAMES) == 2 * len(COUNTERS)


def test_what_it_cannot_measure_is_refused(lab: Lab):
    with pytest.raises(DataError, match="report"):
        leakage(replace(lab.logs, feedback=Table()), progress=False)
    with pytest.raises(DataError, match="one before and one after"):
        leakage(lab.logs, days=(13,), progress=False)
    with pytest.raises(DataError, match="counters"):
        leakage(lab.logs, late=("weather",), progress=False)
