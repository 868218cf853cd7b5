"""Who will come: trees as arrays, honest probabilities, no look ahead."""

from pathlib import Path

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier

from reclab.core.clock import DAY_MS, HOUR_MS
from reclab.core.errors import ConfigError, DataError, NotBuilt
from reclab.core.metrics import auc, reliability
from reclab.core.tables import Table
from reclab.dualrec.activity import AGAIN, AGAIN_MS, Activity, ActivityConfig
from reclab.dualrec.trees import Trees
from reclab.dualrec.visit_log import FEATURES, VisitLog
from reclab.lab import Lab

UNTIL = 12 * DAY_MS
SMALL = ActivityConfig(trees=30, most_rows=5000)


@pytest.fixture(scope="module")
def log(lab: Lab) -> VisitLog:
    return VisitLog.build(lab.logs)


@pytest.fixture(scope="module")
def activity(log: VisitLog) -> Activity:
    return Activity(log, SMALL).fit(UNTIL)


def people(n: int, days: int, seed: int = 1) -> tuple[VisitLog, np.ndarray]:
    """A log of n users who come each day with a chance of their own, at any hour."""
    chance = np.random.default_rng(seed)
    p = chance.uniform(0.05, 0.95, n)
    day, user = np.nonzero(chance.random((days, n)) < p)
    when = day * DAY_MS + chance.integers(0, DAY_MS, len(day))
    order = np.argsort(when)
    log = VisitLog(np.arange(n), np.zeros(n, bool))
    log.append(Table({"user_id": user[order], "time_ms": when[order],
                      "session_id": np.arange(len(day))}))  # fmt: skip
    return log, p


def test_trees_as_arrays_say_what_scikit_learn_says():
    chance = np.random.default_rng(3)
    x = chance.standard_normal((3000, 6)).astype(np.float32).round(1)
    y = chance.random(3000) < 1 / (1 + np.exp(-x[:, 0] * x[:, 1] - x[:, 2]))
    ours = Trees.fit(x, y, trees=30, leaves=12, rate=0.1, least=20)
    theirs = HistGradientBoostingClassifier(
        max_iter=30, max_leaf_nodes=12, learning_rate=0.1, min_samples_leaf=20, early_stopping=False
    ).fit(x, y)
    new = chance.standard_normal((500, 6)).astype(np.float32)
    assert ours.predict(new) == pytest.approx(theirs.predict_proba(new)[:, 1], abs=1e-9)
    with pytest.raises(DataError, match="both answers"):
        Trees.fit(x, np.ones(3000, bool), 5, 4, 0.1, 20)


def test_probabilities_are_as_large_as_what_they_predict():
    log, p = people(3000, 23)
    made = Activity(log, ActivityConfig(horizons_ms=(DAY_MS,), days=6))
    rows = made.questions(22 * DAY_MS, DAY_MS)
    made.models[DAY_MS] = made._model(*rows, DAY_MS)
    everyone = np.arange(len(log))
    said = made.predict(everyone, 22 * DAY_MS)
    came = log.came(everyone, 22 * DAY_MS, 23 * DAY_MS)
    points = reliability(came, said, 5)
    assert np.abs(points[0] - points[1]).max() < 0.06  # 600 users a group: 4 sigma = .08 at .5
    assert np.corrcoef(said, p)[0, 1] > 0.9
    count = log.features(everyone, 22 * DAY_MS, DAY_MS)[:, FEATURES.index("days_30")]
    best = auc(came, count)  # of independent days their number is all that a log tells
    assert best - 0.02 < auc(came, said) < auc(came, p) and auc(came, said) > 0.75


def test_answers_of_training_calibration_and_test_lie_apart(activity: Activity):
    for horizon in (*activity.config.horizons_ms, AGAIN):
        learned, later = activity.questions(UNTIL, horizon)
        ahead = horizon or AGAIN_MS
        assert learned.time_ms.max() + ahead <= later.time_ms.min()
        assert later.time_ms.max() + ahead <= UNTIL
        assert 0 < later.came.mean() < 1


def test_a_model_knows_nothing_of_what_comes_after(lab: Lab, activity: Activity):
    past = Activity(VisitLog.build(lab.logs.between(0, UNTIL)), SMALL).fit(UNTIL)
    everyone = np.arange(len(past.log))
    for horizon in past.config.horizons_ms:
        p, q = (a.predict(everyone, UNTIL, horizon) for a in (past, activity))
        assert (p == q).all()
    assert (past.asks_again(everyone, UNTIL) == activity.asks_again(everyone, UNTIL)).all()


def test_it_tells_who_comes_better_than_chance_on_later_days(log: VisitLog, activity: Activity):
    everyone = np.flatnonzero(log.registered(np.arange(len(log)), UNTIL))
    came = log.came(everyone, UNTIL, UNTIL + DAY_MS)
    p = activity.predict(everyone, UNTIL)
    assert auc(came, p) > 0.55
    assert abs(p.mean() - came.mean()) < 0.1  # 500 users, another day
    now = UNTIL + 20 * HOUR_MS
    p = activity.predict(everyone, now, HOUR_MS)
    assert auc(log.came(everyone, now, now + HOUR_MS), p) > 0.55


def test_the_active_are_the_likeliest(log: VisitLog, activity: Activity):
    p = activity.predict(np.arange(len(log)), UNTIL)
    half = activity.active(UNTIL, share=0.5)
    assert half.sum() == round(0.5 * log.registered(np.arange(len(log)), UNTIL).sum())
    assert p[half].min() >= p[~half].max()
    assert (activity.active(UNTIL, threshold=0.6) == (p >= 0.6)).all()
    assert not activity.active(UNTIL, share=0.0).any()
    assert not activity.active(0, threshold=0.0)[log.new].any()  # nobody new is known yet


def test_what_is_saved_answers_alike(log: VisitLog, activity: Activity, tmp_path: Path):
    activity.save(tmp_path)
    again = Activity.load(tmp_path, log)
    row, when = log.moments(12 * DAY_MS, 13 * DAY_MS)
    for horizon in activity.config.horizons_ms:
        p, q = (a.predict(row, when, horizon) for a in (activity, again))
        assert (p == q).all()
    assert (again.asks_again(row, when) == activity.asks_again(row, when)).all()
    with pytest.raises(DataError, match="was learned with"):
        Activity.load(tmp_path, log, ActivityConfig(horizons_ms=(HOUR_MS,)))
    (tmp_path / "0" / "value.npy").write_bytes(b"no array")
    with pytest.raises(DataError, match="value.npy"):
        Activity.load(tmp_path, log)


def test_bad_input_is_named(log: VisitLog, activity: Activity):
    with pytest.raises(DataError, match="unknown user"):
        activity.predict(np.array([-1]), UNTIL)
    with pytest.raises(ConfigError, match="horizon_ms must be one of"):
        activity.predict(np.array([0]), UNTIL, 5)
    with pytest.raises(NotBuilt):
        Activity(log).predict(np.array([0]), UNTIL)
    with pytest.raises(DataError, match="empty visit log"):
        Activity(VisitLog(np.arange(3))).fit(UNTIL)
    with pytest.raises(DataError, match="days of log"):
        Activity(log).fit(2 * DAY_MS)
    with pytest.raises(ConfigError, match="horizons_ms"):
        ActivityConfig(horizons_ms=())
