"""The plots show the numbers they are given, with a baseline apart and both languages."""

import numpy as np
import pytest

from reclab.core.metrics import gini
from reclab.lab.long_tail import Exposed, Reach, concentration, figure_2_9, reach_of_items
from reclab.lab.matthew import persistence
from reclab.show import long_tail_plots as plots


@pytest.fixture(scope="module")
def exposed(lab) -> Exposed:
    return Exposed.of(lab.logs)


def test_figure_2_9_has_both_panels_and_the_zero_class_only_where_it_can_be_drawn(exposed):
    found = figure_2_9(exposed)
    fig = plots.figure_2_9(found)
    after, before, straight, items, exposure = fig.data
    assert list(after.x) == found.clicks[1:].tolist()  # 0 has no place on a log axis
    assert after.y == pytest.approx(found.after[1:], rel=1e-6)
    assert before.y == pytest.approx(found.before[1:], rel=1e-6)
    assert straight.y[0] == after.y[0]
    assert items.x[0] == "0" and sum(items.y) == pytest.approx(1) == sum(exposure.y)
    assert fig.layout.xaxis.type == fig.layout.yaxis.type == "log"
    assert "of exposure" in fig.alt


def test_lorenz_curves_end_at_one_and_say_their_gini():
    now, then = np.array([0, 0, 1, 9]), np.array([1, 2, 3, 4])
    fig = plots.lorenz_curves({"now": now}, then)
    assert [t.name for t in fig.data] == [
        f"now ({gini(now):.3f})",
        f"baseline ({gini(then):.3f})",
        "equal exposure",
    ]
    assert fig.data[0].y[-1] == fig.data[1].y[-1] == 1
    assert all(np.array(fig.data[0].y) <= np.array(fig.data[1].y) + 1e-6)
    assert len(plots.lorenz_curves({"now": now}).data) == 2


def test_gini_by_day_has_a_point_a_day(exposed):
    found = concentration(exposed)
    fig = plots.gini_by_day(found)
    assert [t.name for t in fig.data] == ["items", "creators"]
    assert fig.data[0].y == pytest.approx(found.gini_items, rel=1e-6)


def test_seeds_become_a_mean_and_a_band_and_the_baseline_is_grey():
    runs = {"user side alone": np.array([10, 8.0]), "with DualRec": np.array([[9, 12], [11, 14.0]])}
    fig = plots.active_creators(runs, baseline="user side alone")
    base, band, mean = fig.data
    assert base.line.color == plots.PALETTE[7] and mean.line.color != base.line.color
    assert list(mean.y) == [10, 13]
    assert list(band.y) == [11, 14, 12, 9]
    assert "with DualRec: 10 on the first day, 13 on the last" in fig.alt


def test_reach_is_drawn_at_every_goal(exposed):
    found = reach_of_items(exposed)
    other = Reach("new items", 24.0, found.goals, found.share / 2, found.chosen / 2, found.n)
    fig = plots.reach({"today": found, "before": other}, baseline="before")
    assert list(fig.data[0].x) == [f"{goal:,}" for goal in found.goals]
    assert fig.data[0].y == pytest.approx(found.share, rel=1e-6)
    assert fig.data[1].line.color == plots.PALETTE[7]


def test_every_user_is_in_one_bar_of_the_histogram():
    fig = plots.waiting({"pool": np.array([0, 2, 2]), "no pool": np.array([0, 0, 7000])}, 2)
    assert list(fig.data[0].x)[-1] == "6+"
    assert list(fig.data[0].y) == [1, 0, 2, 0, 0, 0, 0]
    assert list(fig.data[1].y) == [2, 0, 0, 0, 0, 0, 1]
    assert "no pool: none 66.7%, over Q 33.3%, most 7,000" in fig.alt
    assert fig.layout.shapes[0].x0 == 2


def test_no_users_and_no_capacity_are_drawn_too():
    fig = plots.waiting({"pool": np.array([0, 0]), "nobody": np.zeros(0, int)}, 0)
    assert list(fig.data[0].y) == [2, 0, 0, 0] and "nobody: none 0.0%" in fig.alt


def test_fame_has_a_line_for_places_and_one_for_exposure(lab, exposed):
    found = persistence(exposed, lab.logs.interactions["user_id"], lags=(0, 1, 3))
    fig = plots.fame(found)
    assert list(fig.data[0].x) == ["0", "1", "3"]
    assert fig.data[0].y == pytest.approx(found.kept, rel=1e-6)


def test_labels_in_chinese(monkeypatch, exposed):
    monkeypatch.setenv("RECLAB_LANG", "zh")
    fig = plots.figure_2_9(figure_2_9(exposed))
    assert fig.layout.annotations[0].text == "(a) 曝光随热度的变化"
    assert plots.gini_by_day(concentration(exposed)).data[1].name == "作者"
