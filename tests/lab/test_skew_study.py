"""Train/serve skew: none without lag and lateness, and what there is is found."""

import numpy as np
import pytest

from reclab.cascade.ranking.training import TrainConfig
from reclab.core.chance import rng
from reclab.core.clock import DAY_MS, HOUR_MS
from reclab.core.errors import ConfigError, DataError
from reclab.core.tables import Logs
from reclab.lab import Lab
from reclab.lab.feature_drift import drift
from reclab.lab.lab import train_until
from reclab.lab.skew_study import (
    FEATURES,
    LAGS_MS,
    Part,
    Served,
    Skew,
    _part,
    compare,
    known_times,
    psi,
    skew,
)
from reclab.show import skew_plots


@pytest.fixture(scope="module")
def asked(lab: Lab) -> Part:
    first = int(np.searchsorted(lab.logs.interactions["time_ms"], train_until(lab)))
    return _part(lab, np.arange(first, first + 3000), TrainConfig(negatives="exposed"))


@pytest.fixture(scope="module")
def found(lab: Lab) -> Skew:
    return skew(lab, progress=False)


def test_without_lag_and_lateness_served_and_log_are_equal_bit_for_bit(lab: Lab, asked: Part):
    builder, log = lab.trained.parts.features, asked.samples.features
    served = Served.of(lab.logs, builder, lab.logs.interactions["time_ms"].astype(np.int64))
    same = served.features(log, asked.user, asked.time_ms, asked.network, 0)
    for part in ("user", "request", "history", "request_row", "item_row", "pair"):
        assert getattr(same, part).tobytes() == getattr(log, part).tobytes(), part
    for measure in compare(log, same, builder.names["request"]):
        assert not measure.any()


def test_a_lagged_read_sees_what_a_store_held_that_long_ago(lab: Lab, asked: Part):
    """Against the store itself, stopped at one moment: nothing later was ever appended to it."""
    builder, log = lab.trained.parts.features, lab.logs.interactions
    known = known_times(lab.logs, 0)
    served = Served.of(lab.logs, builder, known)
    lag, ask = HOUR_MS, asked.samples.features.take(np.arange(60, 61))
    user, now, network = (x[60:61] for x in (asked.user, asked.time_ms, asked.network))
    lagged = served.features(ask, user, now, network, lag)
    early = known < int(now[0]) - lag
    logs = Logs(lab.logs.users, lab.logs.items, log.take(early))
    stopped = Served.of(logs, builder, known[early])
    held = stopped.features(ask, user, now, network, 0)
    request = builder.names["request"]
    for name in ("log_shown", "log_idle_hours", "log_session", "rate", "session_rate"):
        at = request.index(name)
        assert lagged.request[0, at] == held.request[0, at], name
    assert (lagged.history == held.history).all()
    session = request.index("log_session")
    assert lagged.request[0, session] == 0 < ask.request[0, session]


def test_interactions_are_known_when_their_last_report_arrived(lab: Lab):
    known, log, told = known_times(lab.logs, 0), lab.logs.interactions, lab.logs.feedback
    needed = told.take(told["kind"] <= 1)
    latest: dict[tuple[int, int], int] = {}
    for key in zip(needed["req_id"].tolist(), needed["video_id"].tolist(),
                   needed["report_ms"].tolist(), strict=True):  # fmt: skip
        latest[key[:2]] = max(latest.get(key[:2], 0), key[2])
    pairs = zip(log["req_id"].tolist(), log["video_id"].tolist(), strict=True)
    times = log["time_ms"].tolist()
    assert known.tolist() == [latest.get(p, t) for p, t in zip(pairs, times, strict=True)]
    with pytest.raises(DataError, match="reports"):
        known_times(Logs(lab.logs.users, lab.logs.items, log), 0)


def test_psi_agrees_with_a_plain_sum_and_is_zero_for_like_samples():
    chance = rng(0, "psi")
    a, b = chance.normal(0, 1, 5000), chance.normal(0.5, 1, 4000)
    edges = np.quantile(a, np.arange(0.1, 0.95, 0.1))
    p, q = (np.histogram(x, np.r_[-np.inf, edges, np.inf])[0] / len(x) for x in (a, b))
    assert psi(a, b) == pytest.approx(((p - q) * np.log(p / q)).sum(), rel=1e-9)
    assert psi(a, a) == 0 and 0.2 < psi(a, b) < 0.35
    # two normal laws half a sigma apart: the divergence in both directions is 0.25
    assert psi(np.ones(10), np.ones(5)) == 0


def test_the_longer_the_lag_the_more_features_are_off(found: Skew):
    assert found.lags_ms == LAGS_MS and found.features == FEATURES
    assert (np.diff(found.unequal.mean(1)) > 0).all()
    assert found.unequal[0].max() > 0.1  # late reports alone
    same = [FEATURES.index(name) for name in ("log_age_hours", "item_effect", "style")]
    assert not found.unequal[:, same].any()
    session = FEATURES.index("log_session")
    assert (np.diff(found.shift[:, session]) <= 0).all() and found.psi[-1, session] > 0.25


def test_a_day_of_lag_costs_the_ranker_and_logging_features_gives_some_back(found: Skew):
    assert found.auc_offline > 0.7
    assert found.loss_log[-1] > found.loss_log[0] >= found.loss_offline
    assert found.auc_log[-1] < found.auc_offline - 0.005
    assert found.loss_logged[-1] < found.loss_log[-1]


def test_tables_and_plots_say_what_was_found(lab: Lab, found: Skew):
    assert len(found.table().splitlines()) == len(LAGS_MS) + 2
    fig = skew_plots.effect(found)
    assert len(fig.data) == 6 and np.allclose(fig.data[1].y, np.float32(found.auc_log))
    assert len(skew_plots.by_feature(found, 5).data) == 15
    told = drift(lab, 0.1, (0, 6), progress=False)
    assert len(told.table().splitlines()) == 3 and len(skew_plots.healed(told).data) == 2


def test_rebuilds_heal_what_the_stream_lost(lab: Lab):
    found = drift(lab, 0.1, (0, 6), progress=False)
    never, healed = found.error
    assert 0.05 < never.mean() < 0.15  # about the share lost
    assert (
        (healed[5::6] == 0).all() and (healed <= never).all() and healed.mean() < never.mean() / 2
    )
    assert found.cost[0] == 0 < found.cost[1]
    with pytest.raises(ConfigError, match="loss"):
        drift(lab, 1.5)
    with pytest.raises(ConfigError, match="lags_ms"):
        skew(lab, (-DAY_MS,))
