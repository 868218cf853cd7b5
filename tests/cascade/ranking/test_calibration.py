"""Calibration: against scikit-learn, against a known distortion, and its rules on bad input."""

import numpy as np
import pytest
from sklearn.isotonic import IsotonicRegression

from reclab.cascade.batch import read_batch
from reclab.cascade.ranking.calibration import (
    CalibratedRanker,
    CalibrationConfig,
    Calibrator,
    isotonic,
)
from reclab.core import metrics
from reclab.core.errors import ConfigError, DataError, NotBuilt
from reclab.core.types import Candidates

KINDS = ("isotonic", "platt")


def distorted(n: int, seed: int):
    """Probabilities that lie too high and too close together, and what happened."""
    chance = np.random.default_rng(seed)
    logit = chance.normal(-2, 1.5, n)
    label = (chance.random(n) < 1 / (1 + np.exp(-logit))).astype(np.float32)
    return (1 / (1 + np.exp(-(0.6 * logit + 1.0)))).astype(np.float32), label


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_too_high_is_put_right_on_rows_it_has_not_seen(kind):
    (p, label), (q, unseen) = distorted(20_000, 0), distorted(20_000, 1)
    made = Calibrator(CalibrationConfig(kind)).fit({"p_click": p}, {"p_click": label})
    right = made.apply({"p_click": q})["p_click"]
    assert metrics.ece(unseen, q) > 0.2
    assert metrics.ece(unseen, right) < 0.02
    assert metrics.log_loss(unseen, right) < metrics.log_loss(unseen, q)
    assert right.dtype == np.float32 and (right >= 0).all() and (right <= 1).all()


@pytest.mark.parametrize("kind", KINDS)
def test_the_order_is_kept_beyond_what_was_seen_too(kind):
    p, label = distorted(2000, 0)
    made = Calibrator(CalibrationConfig(kind)).fit({"p_click": p}, {"p_click": label})
    asked = np.linspace(0, 1, 500).astype(np.float32)
    right = made.apply({"p_click": asked})["p_click"]
    assert (np.diff(right) >= 0).all() and (right >= 0).all() and (right <= 1).all()


def test_isotonic_is_scikit_learns_and_thinned_stays_close():
    p, label = distorted(3000, 0)
    oracle = IsotonicRegression(out_of_bounds="clip").fit(p, label).predict(p)
    assert isotonic(p, label, 10_000)(p) == pytest.approx(oracle, abs=1e-6)
    thin = isotonic(p, label, 50)
    assert len(thin.x) <= 50
    assert np.abs(thin(p) - oracle).mean() < 0.01


def test_platt_finds_the_line_that_was_bent():
    p, label = distorted(200_000, 3)
    curve = Calibrator(CalibrationConfig("platt")).fit({"p": p}, {"p": label}).curves["p"]
    slope = curve.y[1] - curve.y[0]
    assert slope == pytest.approx(1 / 0.6, rel=0.03)
    assert curve.y[0] == pytest.approx(-1.0 / 0.6, rel=0.03)


@pytest.mark.parametrize("kind", KINDS)
def test_seconds_are_put_right_too(kind):
    chance = np.random.default_rng(0)
    told = chance.exponential(10, 5000)
    seconds = 2 * told * chance.exponential(1, 5000)
    made = Calibrator(CalibrationConfig(kind)).fit({"watch_sec": told}, {"watch_sec": seconds})
    right = made.apply({"watch_sec": told})["watch_sec"]
    assert right.mean() == pytest.approx(seconds.mean(), rel=0.02)


@pytest.mark.parametrize("kind", KINDS)
def test_too_few_or_no_labels_leave_a_target_as_it_is_and_say_so(kind):
    p = np.linspace(0.1, 0.9, 100)
    few = np.zeros(100)
    few[:9] = 1
    labels = {"p_click": few, "p_share": np.zeros(100), "p_like": np.full(100, np.nan)}
    told = dict.fromkeys((*labels, "p_follow"), p)
    made = Calibrator(CalibrationConfig(kind)).fit(told, labels)
    assert made.left_out == {
        "p_click": "9 of 100 labels are positive",
        "p_share": "0 of 100 labels are positive",
        "p_like": "0 of 0 labels are positive",
        "p_follow": "no labels",
    }
    assert all(np.array_equal(values, p) for values in made.apply(told).values())


def test_a_platt_line_never_falls():
    p = np.linspace(0.1, 0.9, 400)
    wrong_way = (p < np.random.default_rng(0).random(400)).astype(float)
    made = Calibrator(CalibrationConfig("platt")).fit({"p": p}, {"p": wrong_way})
    right = made.apply({"p": p})["p"]
    assert (np.diff(right) >= 0).all()
    assert right.mean() == pytest.approx(wrong_way.mean(), abs=0.01)


def test_unknown_labels_are_left_out_and_bad_predictions_named():
    p, label = distorted(2000, 0)
    holes = np.where(np.arange(2000) % 2, np.nan, label)
    one = Calibrator().fit({"p": p}, {"p": holes}).curves["p"]
    other = Calibrator().fit({"p": p[::2]}, {"p": label[::2]}).curves["p"]
    assert np.array_equal(one.y, other.y)
    p[3] = np.nan
    with pytest.raises(DataError, match="calibration of p: 1 of 2000 predictions are NaN"):
        Calibrator().fit({"p": p}, {"p": label})


def test_nan_in_serving_stays_nan_for_the_next_stage_to_see():
    p, label = distorted(2000, 0)
    for kind in KINDS:
        made = Calibrator(CalibrationConfig(kind)).fit({"p": p}, {"p": label})
        assert np.isnan(made.apply({"p": np.array([np.nan, 0.2])})["p"]).tolist() == [True, False]


def test_it_is_saved_and_damage_is_named(tmp_path):
    p, label = distorted(2000, 0)
    for kind in KINDS:
        config = CalibrationConfig(kind)
        made = Calibrator(config).fit({"p": p, "q": p}, {"p": label})
        made.save(tmp_path)
        again = Calibrator.load(tmp_path, config)
        assert np.array_equal(again.apply({"p": p})["p"], made.apply({"p": p})["p"])
        assert again.left_out == made.left_out
    (tmp_path / "calibration.json").write_text("{")
    with pytest.raises(DataError, match="cannot load the calibration"):
        Calibrator.load(tmp_path)
    with pytest.raises(NotBuilt, match="before fit"):
        Calibrator().apply({"p": p})
    with pytest.raises(ConfigError, match="CalibrationConfig.kind must be isotonic or platt"):
        CalibrationConfig("beta")


@pytest.mark.parametrize("kind", KINDS)
def test_a_calibrated_ranker_takes_the_rankers_place(lab, kind):
    """The order within a target is kept; the cascade runs with it."""
    p, requests = lab.trained.parts, lab.requests(3)
    rows = np.arange(0, 600, 5)
    owner, items = np.repeat(np.arange(3), len(rows)), np.tile(rows, 3)
    asked = read_batch(requests, p.users, p.index), Candidates(3, owner, items)
    told = p.ranker.predict(*asked)
    label = (np.random.default_rng(0).random(len(items)) < 0.5 * told["p_click"]).astype(float)
    calibrator = Calibrator(CalibrationConfig(kind)).fit(told, {"p_click": label})
    wrapped = CalibratedRanker(p.ranker, calibrator)
    right = wrapped.predict(*asked)
    assert right["p_click"].mean() == pytest.approx(label.mean(), abs=0.01)
    assert np.array_equal(right["p_long_view"], told["p_long_view"])
    assert (np.diff(right["p_click"][np.argsort(told["p_click"])]) >= 0).all()
    slate, _ = lab.trained.with_parts(ranker=wrapped).recommend(requests[0])
    assert len(slate) == 10 and wrapped.macs_per_candidate == p.ranker.macs_per_candidate
