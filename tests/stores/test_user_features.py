"""user_features: every read against a plain loop over the log, strictly earlier than asked."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reclab.core.chance import rng
from reclab.core.clock import DAY_MS
from reclab.core.errors import ConfigError
from reclab.core.tables import Logs, Table
from reclab.stores import user_features
from reclab.stores.user_features import KINDS, STATISTICS, UserFeatures, UserFeaturesConfig


def make_logs(n, n_users, n_items, seed, days=40):
    """Pages of several items at one time; every feedback; some items without tags."""
    chance = rng(seed, "logs")
    page = np.sort(chance.integers(0, 1 + n // 3, n))
    shown = {
        "user_id": 5 + 3 * chance.integers(0, n_users, 1 + n // 3)[page],
        "video_id": 1000 * chance.integers(0, n_items, n),
        "time_ms": np.sort(chance.integers(0, days * DAY_MS, 1 + n // 3))[page],
        "watch_sec": chance.integers(0, 40, n).astype(np.float32),
        "pay_amount": (chance.random(n) < 0.3) * chance.integers(1, 9, n).astype(np.float32),
    }
    for name in ("click", "long_view", "like", "comment", "share", "forward", "follow"):
        shown[f"is_{name}"] = chance.random(n) < 0.5
    users = Table({"user_id": 5 + 3 * np.arange(n_users), "age": 20 + np.arange(n_users)})
    items = {
        "video_id": 1000 * np.arange(n_items),
        "tags": chance.integers(-1, 4, (n_items, 2)).astype(np.int16),
        "business": chance.integers(1, 4, n_items).astype(np.int8),
    }
    return Logs(users, Table(items), Table(shown), tag_names=("a", "b", "c", "d"))


def past_of(logs, user_id, time_ms, since_ms=-1):
    """Plain rows of the log: one dict for each earlier event of the user."""
    table = logs.interactions
    rows = [{name: table[name][i] for name in table} for i in range(len(table))]
    return [
        row for row in rows if row["user_id"] == user_id and since_ms <= row["time_ms"] < time_ms
    ]


def shows(kind, row, logs):
    """Whether a row of the log shows a behaviour, by the definition of each kind."""
    if kind == "view":
        return row["watch_sec"] > 6
    if kind == "purchase":
        return row["pay_amount"] > 0 and logs.items["business"][row["video_id"] // 1000] == 2
    return bool(row["is_click" if kind == "positive" else f"is_{kind}"])


def padded(items, n):
    return [-1] * (n - len(items[-n:])) + items[-n:]


def questions(logs, n, seed):
    """Known users at event times, one past all of them, and an unknown user."""
    chance = rng(seed, "questions")
    user_id = np.append(chance.choice(logs.users["user_id"], n), [5, 6])
    time_ms = np.append(chance.choice(logs.interactions["time_ms"], n), [50 * DAY_MS] * 2)
    return user_id, time_ms


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 80), st.integers(1, 4), st.integers(1, 9), st.integers(0, 999))
def test_every_read_agrees_with_a_plain_loop(n, n_users, n_items, seed):
    logs = make_logs(n, n_users, n_items, seed)
    store = UserFeatures.build(logs)
    user_id, time_ms = questions(logs, 6, seed)
    row = store.rows(user_id)
    starts, seen = store.seen(row, time_ms)
    statistics = store.statistics(row, time_ms, days=9)
    for i in range(len(row)):
        past = past_of(logs, user_id[i], time_ms[i])
        assert seen[starts[i] : starts[i + 1]].tolist() == [r["video_id"] // 1000 for r in past]
        recent = past_of(logs, user_id[i], time_ms[i], time_ms[i] - 9 * DAY_MS)
        assert statistics["impressions"][i] == len(recent)
        for name, source in STATISTICS.items():
            assert statistics[name][i] == sum(r[source] for r in recent)
    for kind in KINDS:
        history = store.history(row, time_ms, 5, kind)
        since = store.since(row, time_ms, 9, 4, kind)
        for i in range(len(row)):
            past = past_of(logs, user_id[i], time_ms[i])
            liked = [r["video_id"] // 1000 for r in past if shows(kind, r, logs)]
            assert history[i].tolist() == padded(liked, 5)
            past = past_of(logs, user_id[i], time_ms[i], time_ms[i] - 9 * DAY_MS)
            liked = [r["video_id"] // 1000 for r in past if shows(kind, r, logs)]
            assert since[i].tolist() == padded(liked, 4)


def test_long_term_interests_are_smoothed_shares_of_the_tags_liked_before():
    logs = make_logs(90, 3, 8, 1)
    store = UserFeatures.build(logs, UserFeaturesConfig(smoothing=2.0))
    user_id, time_ms = questions(logs, 12, 1)
    found = store.long_term(store.rows(user_id), time_ms)
    for i in range(len(user_id)):
        counts = np.zeros(4)
        for row in past_of(logs, user_id[i], time_ms[i]):
            for tag in {int(tag) for tag in logs.items["tags"][row["video_id"] // 1000]} - {-1}:
                counts[tag] += row["is_click"]
        np.testing.assert_allclose(found[i], (counts + 0.5) / (counts.sum() + 2), rtol=1e-6)


@settings(deadline=None, max_examples=25)
@given(st.integers(2, 80), st.integers(0, 999), st.integers(1, 12))
def test_events_in_random_chunks_and_late_equal_a_rebuild(n, seed, n_chunks):
    logs = make_logs(n, 3, 6, seed)
    chance = rng(seed, "arrival")
    # of one user and one millisecond, order of arrival decides: here every time is its own
    logs = replace(logs, interactions=logs.interactions.with_columns(time_ms=np.arange(n) * 10**7))
    store = UserFeatures(logs)
    for rows in np.array_split(chance.permutation(n), n_chunks):
        store.append(logs.interactions.take(rows))
    whole = UserFeatures.build(logs)
    row, time_ms = np.repeat(np.arange(-1, 3), n), np.tile(np.arange(n) * 10**7 + 1, 4)
    for kind in KINDS:
        one, other = (s.history(row, time_ms, 9, kind) for s in (store, whole))
        assert (one == other).all()
    assert (store.seen(row, time_ms)[1] == whole.seen(row, time_ms)[1]).all()
    one, other = (s.statistics(row, time_ms, 3) for s in (store, whole))
    assert all((one[name] == other[name]).all() for name in other)
    assert (store.long_term(row, time_ms) == whole.long_term(row, time_ms)).all()


def test_a_user_with_more_likes_than_16_bits_hold_is_still_counted():
    n = 70_000
    shown = {name: np.zeros(n, np.int64) for name in ("user_id", "video_id", "time_ms")}
    items = Table({"video_id": np.zeros(1, np.int64), "tags": np.array([[0, -1]], np.int16)})
    users = Table({"user_id": np.zeros(1, np.int64)})
    logs = Logs(users, items, Table(shown), tag_names=("a", "b"))
    found = UserFeatures.build(logs).long_term(np.array([0]), np.array([1]))
    assert found[0, 1] == pytest.approx(2.5 / (n + 5), rel=1e-4)


def test_a_batch_beyond_one_chunk_reads_like_single_requests(monkeypatch):
    logs = make_logs(200, 4, 9, 2)
    store = UserFeatures.build(logs)
    row = store.rows(logs.interactions["user_id"])
    time_ms = logs.interactions["time_ms"]
    monkeypatch.setattr(user_features, "CHUNK", 7)
    together = store.history(row, time_ms, 6), store.since(row, time_ms, 4, 6)
    for i in range(0, 200, 17):
        one = slice(i, i + 1)
        assert (together[0][one] == store.history(row[one], time_ms[one], 6)).all()
        assert (together[1][one] == store.since(row[one], time_ms[one], 4, 6)).all()


def test_a_source_without_a_feedback_has_empty_histories_of_it():
    """A log of clicks alone (news): each row is a positive, nothing else is known."""
    full = make_logs(60, 3, 8, 3)
    names = ("user_id", "video_id", "time_ms")
    shown = Table({name: full.interactions[name] for name in names})
    logs = Logs(full.users, Table({"video_id": full.items["video_id"]}), shown)
    store = UserFeatures.build(logs)
    row, late = np.arange(3), np.full(3, 50 * DAY_MS)
    for kind in KINDS:
        assert (store.history(row, late, 4, kind) >= 0).any() == (kind == "positive")
    assert list(store.statistics(row, late)) == ["impressions"]
    assert store.long_term(row, late).shape == (3, 0)


def test_without_items_business_every_payment_is_a_purchase():
    logs = make_logs(60, 3, 8, 3)
    logs = replace(logs, items=Table({"video_id": logs.items["video_id"]}))
    late = np.array([50 * DAY_MS])
    bought = UserFeatures.build(logs).history(np.zeros(1, int), late, 99, "purchase")
    mine = logs.interactions["user_id"] == 5
    assert (bought >= 0).sum() == (logs.interactions["pay_amount"][mine] > 0).sum()


def test_events_of_unknown_users_and_items_are_set_aside_and_counted():
    logs = make_logs(60, 3, 8, 4)
    strange = logs.interactions["video_id"].copy()
    strange[:7] = 12345
    store = UserFeatures.build(
        replace(logs, interactions=logs.interactions.with_columns(video_id=strange))
    )
    assert store.n_unknown == 7
    starts, _ = store.seen(np.arange(3), np.full(3, 50 * DAY_MS))
    assert starts[-1] == 53


def test_of_daily_snapshots_the_last_one_is_the_profile():
    logs = make_logs(5, 3, 3, 5)
    users = Table({"user_id": np.array([8, 5, 8, 5]), "age": np.array([1, 2, 3, 4])})
    store = UserFeatures.build(replace(logs, users=users))
    assert store.user_ids.tolist() == [5, 8]
    assert store.profile(np.array([1, 0, -1]))["age"].tolist() == [3, 4, -1]


def test_no_users_and_no_items_are_no_error():
    none = Table({"user_id": np.zeros(0, np.int64)})
    items = Table({"video_id": np.zeros(0, np.int64)})
    shown = Table({name: np.zeros(0, np.int64) for name in ("user_id", "video_id", "time_ms")})
    store = UserFeatures.build(Logs(none, items, shown))
    row, now = store.rows(np.array([4])), np.array([9])
    assert store.history(row, now, 2).tolist() == [[-1, -1]]
    assert store.seen(row, now)[0].tolist() == [0, 0]


def test_settings_out_of_range_are_named():
    with pytest.raises(ConfigError, match=r"UserFeaturesConfig.smoothing must be in"):
        UserFeaturesConfig(smoothing=0.0)
