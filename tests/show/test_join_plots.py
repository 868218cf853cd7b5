"""The still plots of the sample join: what is drawn and written is what was measured."""

from dataclasses import replace

import numpy as np
import pytest

from reclab.core.clock import HOUR_MS
from reclab.lab.join_panel import JoinKnobs
from reclab.lab.join_panel_build import join_panel
from reclab.lab.join_study import JoinRates, frontier, platform_streams, stream
from reclab.offline_online.join.delay_law import DelayLaw
from reclab.offline_online.join.window import MINUTE_MS, FixedWindow
from reclab.show import join_plots as plots


@pytest.fixture(scope="module")
def streams(lab):
    return platform_streams(lab.logs)


@pytest.fixture(scope="module")
def days(lab):
    panel = join_panel(lab, 600, progress=False)
    found = {"20 min": JoinKnobs(), "1 min": JoinKnobs(window_min=1), "lossy": JoinKnobs(loss=0.3)}
    return panel, {name: panel.serve(knobs) for name, knobs in found.items()}


def test_rates_are_drawn_beside_their_ceiling_and_written():
    law, lost = DelayLaw(np.ones(1), np.ones(1), np.ones(1)), np.array([900, 60, 20])
    rates = (
        np.array([0.5, 0.96, 0.98]),
        np.array([0.501, 0.959, 0.98]),
        np.array([0.51, 0.95, 0.98]),
    )
    found = JoinRates("platform", np.array([1.0, 20, 60]), *rates, lost, law, 60 * np.ones(3))
    fig, text = plots.rates(found), plots.rates_table(found)
    assert fig.data[0].y == pytest.approx(found.measured)
    apart = fig.data[1]
    assert apart.y == pytest.approx(100 * (found.measured - found.ceiling), abs=1e-4)
    assert [row.split()[0] for row in text.splitlines()[1:]] == ["1", "20", "60"]
    assert f"{found.measured[1]:.2%}" in text and f"{found.worst_points:.2f}" in fig.alt


def test_the_frontier_has_a_line_a_rule_and_the_goal(streams):
    found = frontier(streams, thresholds=(0.1, 0.01), gaps_min=(2, 8), prices_s=(600, 7200))
    fig, text = plots.frontier(found), plots.frontier_table(found, (0.97, 1.1))
    assert len(fig.data) == 5 and fig.layout.shapes[0].x1 == 0.6
    for trace in fig.data[:4]:
        assert len(trace.x) == 2 and (np.diff(trace.x) >= 0).all()
    assert f"{found.cheapest(0.97)[3]:.1%}" in text and "join rate" in text
    assert "fixed window" in text.splitlines()[2]  # nothing keeps more than all of them
    mine = plots.frontier(found, own={"yours": (np.array([0.1, 0.2]), np.array([0.9, 0.95]))})
    assert len(mine.data) == 6 and mine.data[4].name == "yours"
    assert len({trace.marker.symbol for trace in mine.data}) == 6


def test_loss_by_delay_adds_up_to_the_report(streams):
    start = streams.impressions["time_ms"]
    shown = streams.impressions.take(start < start[0] + 3 * HOUR_MS)
    told = streams.reports.take(np.isin(streams.reports["req_id"], shown["req_id"]))
    short = replace(streams, impressions=shown, reports=told)
    report = stream(short, FixedWindow(2 * MINUTE_MS)).report()
    fig = plots.loss_by_delay({"2 min": report})
    assert fig.data[0].y.sum() == report.count["on_time"]
    assert fig.data[1].y.sum() == report.count["late"] > 0
    rows = [line.split() for line in plots.loss_table(report).splitlines()[1:]]
    assert sum(int(row[3].replace(",", "")) for row in rows) == report.count["late"]
    assert rows[0][-1] == "0.0%" and rows[-2][-1] in ("100.0%", "–")


def test_days_side_by_side(days):
    panel, found = days
    state, quality = plots.state(panel.hours, found), plots.quality(found)
    text = plots.days_table(found)
    assert len(state.data) == 3 and max(state.data[0].y) > max(state.data[1].y)
    assert quality.data[2].y[0] == pytest.approx(found["20 min"].quality.auc)
    assert len(text.splitlines()) == 4 and f"{found['lossy'].quality.said:.0%}" in text


def test_the_table_of_columns_shows_the_difference():
    text = plots.leak_table({"a": (0.7, 0.6), "b": (0.5, 0.5)})
    assert text.splitlines()[1].split() == ["a", "0.700", "0.600", "+0.100"]
