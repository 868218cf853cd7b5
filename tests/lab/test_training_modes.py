"""Training modes: known days, honest measures, and what must hold of every mode at any scale."""

import numpy as np
import pytest

from reclab.core.chance import rng
from reclab.core.clock import DAY_MS, HOUR_MS
from reclab.core.errors import ConfigError
from reclab.lab.drifting_days import DAYS, DaysConfig, drifting_days
from reclab.lab.relived import DriftConfig, relive
from reclab.lab.training_modes import (
    MODES,
    excess_loss,
    expected_auc,
    recovery_hours,
    training_modes,
)
from reclab.show.labels import label
from reclab.show.training_plots import frontier, modes

STILL = DriftConfig(regions=0.0)


@pytest.fixture(scope="module")
def found(lab):
    return training_modes(lab, progress=False)


@pytest.fixture(scope="module")
def days(lab):
    return drifting_days(lab, DaysConfig(users=1.0))


@pytest.fixture(scope="module")
def last_days(lab):
    shown = lab.logs.interactions
    cut_ms = (lab.world.config.days - DAYS) * DAY_MS
    return shown.take(shown["time_ms"] >= cut_ms), cut_ms


# ---- the days ----------------------------------------------------------------------------------


def test_relived_days_are_like_those_of_the_log(lab, last_days):
    shown, cut_ms = last_days
    lived = relive(lab.world.truth, lab.logs, shown, cut_ms, STILL, 0)
    was, now = shown["is_click"].mean(), lived.shown["is_click"].mean()
    assert now == pytest.approx(was, abs=0.02)
    assert lived.p_click.mean() == pytest.approx(now, abs=0.015)
    watched = lived.shown["watch_sec"].mean() / shown["watch_sec"].mean()
    assert watched == pytest.approx(1.0, abs=0.1)
    order = np.lexsort((shown["position"], shown["user_id"], shown["time_ms"]))
    same = shown.take(order)  # the world's own clicks: what it says of them is as good as of ours
    ours = expected_auc(lived.p_click, lived.p_click)
    assert expected_auc(same["is_click"].astype(float), lived.p_click) > ours - 0.06


def test_only_tastes_that_change_change_answers(lab, last_days):
    shown, cut_ms = last_days
    truth, drift_ms = lab.world.truth, cut_ms + 12 * HOUR_MS
    before, after = (
        relive(truth, lab.logs, shown, drift_ms, drift, 0) for drift in (STILL, DriftConfig())
    )
    moved = after.changed & (after.shown["time_ms"] >= drift_ms)
    np.testing.assert_array_equal(before.p_click[~moved], after.p_click[~moved])
    assert np.abs(before.p_click[moved] - after.p_click[moved]).mean() > 0.05
    assert 0.2 < after.changed.mean() < 0.8


def test_labels_are_those_in_time_and_the_bad_hour_takes_clicks_of_one_hour_only(lab, days):
    y, p = days.now.targets["p_click"], days.p_click
    assert len(y) == len(p) == len(days.lost) and len(days.time_ms) == len(days.now.features.user)
    assert 0.93 < days.join_rate < 1.0
    assert y.mean() == pytest.approx(p.mean() * days.join_rate, abs=0.015)
    hour = (days.time_ms[days.now.features.request_row] - days.cut_ms) / HOUR_MS
    changed = y != days.bad.targets["p_click"]
    assert changed.any() and (days.bad.targets["p_click"][changed] == 0).all()
    assert hour[changed].min() >= 20 and hour[changed].max() < 21
    np.testing.assert_array_equal(changed, days.lost)


# ---- the measures ------------------------------------------------------------------------------


def test_expected_auc_is_the_mean_over_draws_and_that_of_weighted_rows():
    from sklearn.metrics import roc_auc_score

    chance = rng(0, "expected auc")
    p, score = chance.random(300), chance.integers(0, 40, 300) / 40
    told = expected_auc(p, score)
    both = np.r_[np.ones(300), np.zeros(300)]
    weighted = roc_auc_score(both, np.r_[score, score], sample_weight=np.r_[p, 1 - p])
    assert told == pytest.approx(weighted, abs=1e-9)
    drawn = [roc_auc_score(chance.random(300) < p, score) for _ in range(300)]
    assert told == pytest.approx(np.mean(drawn), abs=0.01)


def test_excess_loss_is_cross_entropy_beyond_entropy():
    from scipy.stats import entropy

    p, q = np.array([0.2, 0.7]), np.array([0.3, 0.6])
    known = np.mean([entropy([a, 1 - a], [b, 1 - b]) for a, b in zip(p, q, strict=True)])
    assert excess_loss(p, q) == pytest.approx(known)
    assert excess_loss(p, p) == 0


def test_recovery_is_the_way_half_back():
    rows = np.full(20, 100)
    loss = np.array([1.0] * 5 + [3.0] * 6 + [1.5] * 9)
    assert recovery_hours(loss, rows, 5) == 5  # hours 10, 11, 12 are the first with mean <= 2
    assert np.isnan(recovery_hours(np.array([1.0] * 5 + [3.0] * 15), rows, 5))


# ---- the modes ---------------------------------------------------------------------------------


def test_who_learns_nothing_moves_nothing_and_takes_no_harm(found):
    frozen = found.modes.index("frozen")
    assert found.modes == MODES and found.versions[frozen] == found.learned[frozen] == 0
    assert np.nansum(np.abs(found.damage[frozen])) == 0 and found.jitter[frozen].sum() == 0


def test_harm_begins_when_the_window_of_bad_labels_has_closed(found):
    assert np.nansum(np.abs(found.damage[:, : found.bad_hour])) == 0
    for name in ("streaming", "hourly"):
        assert np.nansum(np.abs(found.damage[found.modes.index(name), found.bad_hour :])) > 0


def test_the_daily_batch_is_the_base_until_the_first_midnight_is_learned(found):
    frozen, daily = (found.excess[found.modes.index(n)] for n in ("frozen", "daily"))
    np.testing.assert_array_equal(frozen[:26], daily[:26])
    assert np.nanmax(np.abs(frozen[26:] - daily[26:])) > 0


def test_compute_is_counted_by_rows_and_passes(found, lab):
    learned = dict(zip(found.modes, found.learned.tolist(), strict=True))
    seen = int(found.rows.sum())
    assert 0.9 * seen < learned["streaming"] <= seen  # each row once, but those still open
    assert 2.3 * seen < learned["hourly"] < 3 * seen  # each in three windows, less the held out
    assert learned["hybrid"] > learned["daily"] > learned["streaming"]
    assert (found.cpu_s[1:] > 0).all()


def test_no_mode_knows_more_than_the_world_and_paths_are_longer_than_ways(found):
    some = found.rows > 0
    assert (found.mean(found.auc, 0, 48) < found.mean(found.best_auc[None], 0, 48)).all()
    assert (found.excess[:, some] > 0).all()
    assert (found.path >= found.net - 1e-6).all()
    versions = dict(zip(found.modes, found.versions.tolist(), strict=True))
    assert versions["daily"] == 1 and versions["streaming"] > versions["hourly"] > 40


def test_it_is_computed_once(found, lab):
    again = training_modes(lab, progress=False)
    np.testing.assert_array_equal(again.excess, found.excess)
    assert again.modes == found.modes and again.drift_hour == found.drift_hour


def test_settings_out_of_range_are_refused():
    with pytest.raises(ConfigError, match=r"DaysConfig\.users"):
        DaysConfig(users=0.0)
    with pytest.raises(ConfigError, match=r"DriftConfig\.boom"):
        DriftConfig(boom=1.0)


def test_the_plots_show_every_mode_and_say_the_numbers_in_words(found):
    plot = modes(found)
    assert len(plot.data) == 4 * len(MODES)
    assert [t.name for t in plot.data[: len(MODES)]] == [
        label(f"training: {name}") for name in MODES
    ]
    points = frontier(found)
    assert len(points.data) == len(MODES)
    for one in (plot, points):
        assert label("training: streaming") in one.alt and label("training: CPU s") in one.alt
