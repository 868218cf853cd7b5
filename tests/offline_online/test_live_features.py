"""Counters and sequences as the streams told them, against plain loops over the log tables."""

import numpy as np
import pytest

from reclab.core.chance import rng
from reclab.core.clock import DAY_MS, HOUR_MS
from reclab.core.errors import ConfigError, DataError
from reclab.core.tables import Logs, Table
from reclab.lab import Lab
from reclab.offline_online.features.live_features import (
    COUNTERS,
    REPORTS,
    Known,
    LiveFeatures,
    LiveFeaturesConfig,
)


def streams(logs: Logs, first: int, days: int) -> tuple[Table, Table]:
    """Impressions of some days and their reports in order of arrival."""
    shown = logs.interactions
    shown = shown.take(
        (shown["time_ms"] >= first * DAY_MS) & (shown["time_ms"] < (first + days) * DAY_MS)
    )
    told = logs.feedback.take(np.isin(logs.feedback["req_id"], np.unique(shown["req_id"])))
    told = Table({name: told[name] for name in told}).with_columns(event_id=np.arange(len(told)))
    order = np.argsort(told["report_ms"], kind="stable")
    columns = {name: shown[name] for name in ("req_id", "user_id", "video_id", "time_ms")}
    return Table(columns), told.take(order)


def same(a: LiveFeatures, b: LiveFeatures, now_ms: int) -> None:
    """Every read of the two gives the same bits (users' seconds: float32 sums, 1e-4 relative)."""
    for live in (a, b):
        live.refresh(now_ms)
    for name in a.items:
        assert a.items[name].tobytes() == b.items[name].tobytes(), name
    rows = np.arange(len(a.users))
    when = np.full(len(rows), now_ms)
    for kind in ("positive", "view", "click", "like", "comment", "share", "purchase"):
        assert (
            a.users.history(rows, when, 50, kind) == b.users.history(rows, when, 50, kind)
        ).all()
        assert (
            a.users.since(rows, when, 7, 50, kind) == b.users.since(rows, when, 7, 50, kind)
        ).all()
    assert (a.users.long_term(rows, when) == b.users.long_term(rows, when)).all()
    mine, other = a.users.statistics(rows, when), b.users.statistics(rows, when)
    for name in mine:
        if name in ("watch_sec", "pay_amount"):
            assert np.allclose(mine[name], other[name], rtol=1e-4, atol=1e-2)
        else:
            assert (mine[name] == other[name]).all(), name


LONG = LiveFeaturesConfig(remember_ms=30 * DAY_MS)  # reports of the platform come days late


def shuffled(n: int, seed: int, disorder: int) -> np.ndarray:
    """Positions in an order that strays by at most about ``disorder`` places."""
    return np.argsort(np.arange(n) + rng(seed, "disorder").uniform(0, disorder, n), kind="stable")


def test_counters_agree_with_plain_loops_over_the_tables(lab: Lab):
    shown, told = streams(lab.logs, 10, 2)
    live = LiveFeatures.build(lab.logs, shown, told)
    chance, ids = rng(0, "questions"), live.items.ids
    for video in chance.choice(ids, 12):
        now = int(chance.integers(10 * DAY_MS, 13 * DAY_MS))
        since = now - HOUR_MS * int(chance.choice([1, 24]))
        got = live.counters(np.array([video]), now, now - since)
        mine = shown.take((shown["video_id"] == video) & (shown["time_ms"] < now))
        assert got["impressions"][0] == (mine["time_ms"] >= since).sum()
        late = told.take((told["video_id"] == video) & (told["report_ms"] < now))
        late = late.take(late["report_ms"] >= since)
        for code, kind in enumerate(COUNTERS[1:]):
            values = late["value"][late["kind"] == code].astype(float)
            scale = {"watch": 1000, "pay": 100}.get(kind)
            wanted = sum(round(v * scale) for v in values) / scale if scale else len(values)
            assert got[kind][0] == wanted, kind


def test_a_stream_in_any_cuts_and_order_with_repetitions_equals_the_batch(lab: Lab):
    shown, told = streams(lab.logs, 10, 2)
    batch = LiveFeatures.build(lab.logs, shown, told)
    stream = LiveFeatures(lab.logs, LONG)
    a, b = shuffled(len(shown), 1, 500), shuffled(len(told), 2, 500)
    cuts = np.sort(rng(3, "cuts").uniform(0, 1, 24))
    edges = [np.r_[0, (cuts * len(order)).astype(int), len(order)] for order in (a, b)]
    for i in range(len(cuts) + 1):
        x, y = (order[max(0, e[i] - 40) : e[i + 1]] for order, e in zip((a, b), edges, strict=True))
        stream.apply(shown.take(x), told.take(y))
    assert stream.repeated > 500 and batch.repeated == 0
    same(batch, stream, 14 * DAY_MS)


def test_a_like_is_known_when_its_report_arrives_and_not_before(lab: Lab):
    users, items = lab.logs.users["user_id"], lab.logs.items["video_id"]
    shown = {"req_id": [1], "user_id": users[:1], "video_id": items[:1], "time_ms": [1000]}
    like = (7, 1, users[0], items[0], 2, 1.0, 5000)
    told = {name: np.array([value]) for name, value in zip(REPORTS, like, strict=True)}
    live = LiveFeatures(lab.logs)
    live.apply(Table({name: np.asarray(v) for name, v in shown.items()}), Table(told))
    row = live.users.rows(users[:1])
    for now, likes, impressions in ((1000, 0, 0), (1001, 0, 1), (5000, 0, 1), (5001, 1, 1)):
        found = live.users.statistics(row, np.array([now]))
        assert (found["likes"][0], found["impressions"][0]) == (likes, impressions)
        assert live.counters(items[:1], now)["like"][0] == likes
        assert (live.users.history(row, np.array([now]), 1, "like")[0, 0] >= 0) == bool(likes)


def test_once_reported_users_look_as_if_their_interactions_were_appended(lab: Lab):
    """Long after the last report only long views differ, of which no report tells."""
    shown, told = streams(lab.logs, 12, 1)
    live = LiveFeatures.build(lab.logs, shown, told)
    log = lab.logs.interactions
    whole = type(live.users)(lab.logs)
    whole.append(log.take((log["time_ms"] >= 12 * DAY_MS) & (log["time_ms"] < 13 * DAY_MS)))
    rows, when = np.arange(len(whole)), np.full(len(whole), 25 * DAY_MS)
    mine, other = live.users.statistics(rows, when), whole.statistics(rows, when)
    assert set(other) - set(mine) == {"long_views"}
    for name in mine:
        assert np.allclose(mine[name], other[name], rtol=1e-4, atol=1e-2), name
    assert (live.users.long_term(rows, when) == whole.long_term(rows, when)).all()


def test_bad_rows_are_refused_whole_and_strangers_counted(lab: Lab):
    live = LiveFeatures(lab.logs)
    row = {name: np.array([1]) for name in REPORTS}
    with pytest.raises(DataError, match="columns"):
        live.apply(Table({"req_id": np.array([1])}), Table())
    for bad in ({"value": np.array([np.nan])}, {"kind": np.array([99])}):
        with pytest.raises(DataError, match="nothing was stored"):
            live.apply(Table(), Table({**row, **bad}))
    live.apply(Table(), Table({**row, "video_id": np.array([-5])}))
    assert live.unknown == 1 and live.users.n_unknown == 1
    with pytest.raises(ConfigError, match="windows"):
        LiveFeaturesConfig(windows=())


def test_known_events_agree_with_a_set():
    known, seen, chance = Known(), set(), rng(0, "names")
    for _ in range(50):
        names = chance.integers(-30, 30, int(chance.integers(0, 12)))
        wanted = []
        for name in names.tolist():
            wanted.append(name not in seen)
            seen.add(name)
        assert known.fresh(names, np.zeros(len(names), np.int64)).tolist() == wanted
    known.stamp[:5] = 1000
    known.forget(10)
    assert len(known.name) == 5 and known.horizon_ms == 990


def test_what_could_be_a_forgotten_repetition_is_left_out(lab: Lab):
    shown, told = streams(lab.logs, 10, 2)
    live = LiveFeatures.build(lab.logs, shown, told, LiveFeaturesConfig(remember_ms=HOUR_MS))
    before = live.counters(live.items.ids, 14 * DAY_MS)
    live.apply(shown, told)
    assert live.too_old > 1000 and live.too_old + live.repeated == len(shown) + len(told)
    after = live.counters(live.items.ids, 14 * DAY_MS)
    assert all((before[name] == after[name]).all() for name in before)
