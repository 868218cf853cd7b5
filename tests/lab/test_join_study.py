"""The study of join windows, on the tiny platform and on Globo's day."""

import os
from pathlib import Path

import numpy as np
import pytest

from reclab.core.errors import DataError
from reclab.core.tables import Logs
from reclab.datasets import load
from reclab.lab import Lab
from reclab.lab.join_study import (
    Frontier,
    Streams,
    frontier,
    globo_streams,
    join_rates,
    platform_streams,
    stream,
)
from reclab.offline_online.join.window import MINUTE_MS, FixedWindow

SHARED = Path(os.environ.get("RECLAB_SHARED", Path(__file__).resolve().parents[3] / "shared"))


@pytest.fixture(scope="module")
def platform(lab: Lab) -> Streams:
    return platform_streams(lab.logs)


def test_fixed_windows_join_what_the_law_of_delays_allows(platform: Streams):
    rates = join_rates(platform, (1, 5, 20, 240))
    assert rates.worst_points <= 0.5
    assert (np.diff(rates.measured) > 0).all() and (np.diff(rates.labels_lost) < 0).all()
    assert rates.mean_wait_s.tolist() == [60, 300, 1200, 14_400]
    assert rates.worst_predicted_points <= 3.0  # the tiny platform has few reports


def test_the_stream_counts_what_the_logs_say(platform: Streams):
    report = stream(platform, FixedWindow(20 * MINUTE_MS)).report()
    delay = platform.now.delay_ms
    assert report.balanced and report.count["reports"] == len(delay)
    assert report.count["on_time"] == (delay <= 20 * MINUTE_MS).sum()


def test_waiting_longer_never_loses_labels(platform: Streams):
    front = frontier(platform, thresholds=(0.1, 0.01), gaps_min=(2, 8), prices_s=(600, 7200))
    names = ("Hazard", "PricedWait", "SessionEnd", "FixedWindow")
    assert front.rule == tuple(name for name in names for _ in range(2))
    for rows in (slice(i, i + 2) for i in (0, 2, 4, 6)):
        assert (np.diff(front.labels[rows]) >= 0).all() and (np.diff(front.wait[rows]) > 0).all()
    assert (front.labels <= 1).all() and (front.wait <= 1).all()
    assert front.cheapest(1.1) == ("FixedWindow", 20.0, 1.0, 1.0)


def test_logs_without_delays_are_refused(lab: Lab):
    with pytest.raises(DataError, match="reports"):
        platform_streams(Logs(lab.logs.users, lab.logs.items, lab.logs.interactions))
    with pytest.raises(DataError, match="days before"):
        platform_streams(lab.logs, day=1)


@pytest.mark.slow
def test_globo_s_clicks_join_as_their_lateness_allows():
    folder = SHARED / "data" / "globo"
    if not folder.exists():
        pytest.skip("shared data 'globo' is absent (set RECLAB_SHARED)")
    streams = globo_streams(load(folder))
    assert join_rates(streams).worst_points <= 0.5
    front: Frontier = frontier(streams, thresholds=(0.01,), gaps_min=(16,), prices_s=(7200,))
    assert (front.labels[:2] >= 0.99).all() and front.wait[1] < front.wait[0] < 0.75
