"""What any generated world must keep: conservation, order, determinism, no leak of the truth."""

import hashlib
import os
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from reclab.core.clock import DAY_MS
from reclab.core.errors import ConfigError
from reclab.core.tables import TABLES, read_logs
from reclab.world import World, WorldConfig, generate, write
from reclab.world.logging_policy import FRESH, RANDOM

ROOT = Path(__file__).resolve().parents[2]
DIGEST = """
import hashlib
from reclab.world import WorldConfig, generate
shown = generate(WorldConfig.at("tiny", 3)).logs.interactions
text = b"".join(shown[n].tobytes() for n in ("time_ms", "user_id", "video_id", "is_click"))
print(hashlib.sha256(text).hexdigest())
"""


def small(seed: int = 1) -> WorldConfig:
    return replace(WorldConfig.at("tiny", seed), n_users=60, n_items=400, n_creators=40, days=3)


def rows_of(world: World) -> tuple[np.ndarray, np.ndarray]:
    """User rows and item rows of the impressions."""
    logs = world.logs
    return (
        np.searchsorted(logs.users["user_id"], logs.interactions["user_id"]),
        np.searchsorted(logs.items["video_id"], logs.interactions["video_id"]),
    )


# -- determinism ----------------------------------------------------------------------------


def test_one_seed_gives_one_world_and_another_seed_another():
    a, b, c = (generate(small(seed)) for seed in (1, 1, 2))
    for name in TABLES:
        one, two = getattr(a.logs, name), getattr(b.logs, name)
        assert list(one) == list(two)
        assert all(np.array_equal(one[column], two[column]) for column in one)
    assert np.array_equal(a.truth.theta, b.truth.theta)
    assert len(a.logs.interactions) != len(c.logs.interactions)


def test_other_processor_kernels_and_one_thread_give_the_same_world(tiny: World):
    shown = tiny.logs.interactions
    text = b"".join(shown[n].tobytes() for n in ("time_ms", "user_id", "video_id", "is_click"))
    other = {"OPENBLAS_NUM_THREADS": "1", "OPENBLAS_CORETYPE": "Nehalem"}
    run = subprocess.run(
        [sys.executable, "-c", DIGEST],
        env={**os.environ, **other, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.strip() == hashlib.sha256(text).hexdigest()


def test_progress_rises_to_one():
    said: list[float] = []
    generate(small(), lambda fraction, text: said.append(fraction))
    assert said == sorted(said)
    assert (said[0], said[-1]) == (0.0, 1.0)


# -- bad input ------------------------------------------------------------------------------


def test_an_unknown_scale_names_the_good_ones():
    with pytest.raises(ConfigError, match=r"tiny, laptop, full, got 'huge'"):
        WorldConfig.at("huge")


@pytest.mark.parametrize(
    ("name", "value"), [("n_users", -5), ("days", 0), ("posts_per_day", float("nan")), ("seed", -1)]
)
def test_a_size_out_of_range_names_field_and_value(name: str, value: float):
    with pytest.raises(ConfigError, match=rf"WorldConfig\.{name} must .* got {value}"):
        replace(WorldConfig.at("tiny"), **{name: value})


# -- order and identity ---------------------------------------------------------------------


def test_impressions_are_in_order_of_time_and_within_the_days(tiny: World):
    time_ms = tiny.logs.interactions["time_ms"]
    assert (np.diff(time_ms) >= 0).all()
    assert time_ms[0] >= 0 and time_ms[-1] < tiny.config.days * DAY_MS


def test_a_request_is_one_user_one_session_one_time_and_places_without_gaps(tiny: World):
    shown = tiny.logs.interactions
    order = np.lexsort((shown["position"], shown["req_id"]))
    same = np.diff(shown["req_id"][order]) == 0
    for name in ("user_id", "session_id", "time_ms", "network", "device_id"):
        assert (np.diff(shown[name][order])[same] == 0).all(), name
    first = np.concatenate([[True], ~same])
    place = shown["position"][order]
    assert (place[first] == 0).all()
    assert (np.diff(place)[same] == 1).all()
    assert place.max() < tiny.config.page_size


def test_sessions_of_one_user_do_not_overlap(tiny: World):
    shown = tiny.logs.interactions
    ids, first, row = np.unique(shown["session_id"], return_index=True, return_inverse=True)
    user = shown["user_id"][first]
    assert (shown["user_id"] == user[row]).all()
    start = np.full(len(ids), np.iinfo(np.int64).max)
    end = np.zeros(len(ids), np.int64)
    np.minimum.at(start, row, shown["time_ms"])
    np.maximum.at(end, row, shown["time_ms"] + (shown["watch_sec"] * 1000).astype(np.int64))
    order = np.lexsort((start, user))
    same = np.diff(user[order]) == 0
    assert same.sum() > 1000
    assert (start[order][1:][same] > end[order][:-1][same]).all()


def test_nobody_is_shown_an_item_twice(tiny: World):
    user, item = rows_of(tiny)
    assert len(np.unique(user * len(tiny.logs.items) + item)) == len(user)


def test_nothing_is_shown_before_it_is_published_but_soon_after(tiny: World):
    _, item = rows_of(tiny)
    age = tiny.logs.interactions["time_ms"] - tiny.logs.items["publish_ms"][item]
    assert age.min() >= 0
    fresh = tiny.logs.interactions["channel"] == FRESH
    assert age[fresh].min() < DAY_MS / 24  # posts of the same day are there


def test_random_slots_are_flagged_few_and_uniform_over_what_is_alive(tiny: World):
    shown, (_, item) = tiny.logs.interactions, rows_of(tiny)
    random = shown["is_random"]
    assert np.array_equal(random, shown["channel"] == RANDOM)
    assert 0.02 < random.mean() < 0.05
    alive = np.searchsorted(tiny.logs.items["publish_ms"], shown["time_ms"], side="right")
    place = ((item + 0.5) / alive)[random]
    assert abs(place.mean() - 0.5) < 4 * np.sqrt(1 / 12 / len(place))
    assert abs((place < 0.1).mean() - 0.1) < 4 * np.sqrt(0.09 / len(place))


# -- labels and roll-ups --------------------------------------------------------------------


def test_labels_follow_from_seconds_and_clicks(tiny: World):
    shown, (_, item) = tiny.logs.interactions, rows_of(tiny)
    seconds, length = shown["watch_sec"], tiny.logs.items["duration_sec"][item]
    assert (seconds >= 0).all() and (seconds <= length).all()
    assert np.array_equal(shown["is_short_watch"], seconds < 3)
    assert np.array_equal(shown["is_valid_play"], seconds > 6)
    assert np.array_equal(shown["is_complete"], seconds >= length)
    enough = shown["is_click"] & (seconds >= np.minimum(length, 18))
    assert (shown["is_long_view"] != enough).mean() < 1e-4  # seconds are rounded to float32
    for kind in ("like", "comment", "share", "forward", "follow"):
        assert not (shown[f"is_{kind}"] & ~shown["is_click"]).any()
    assert (shown["pay_amount"][~shown["is_click"]] == 0).all()
    assert (shown["pay_amount"] > 0).any()


def test_the_daily_table_is_the_roll_up_of_the_impressions(tiny: World):
    shown, daily = tiny.logs.interactions, tiny.logs.daily
    keys = zip(shown["time_ms"] // DAY_MS, shown["user_id"], shown["video_id"], strict=True)
    days = zip(daily["day"], daily["user_id"], daily["video_id"], strict=True)
    assert set(keys) == (found := set(days)) and len(found) == len(daily)
    assert daily["impressions"].sum() == len(shown)
    assert daily["clicks"].sum() == shown["is_click"].sum()
    assert daily["watch_sec"].sum(dtype=float) == pytest.approx(shown["watch_sec"].sum(dtype=float))
    assert daily["like_cnt"].sum() == shown["is_like"].sum() == tiny.logs.items["like_cnt"].sum()


def test_every_feedback_is_reported_once_and_after_it_happened(tiny: World):
    shown, told = tiny.logs.interactions, tiny.logs.feedback
    assert (np.diff(told["report_ms"]) >= 0).all()
    assert (told["report_ms"] > told["event_ms"]).all()
    start = np.zeros(shown["req_id"].max() + 1, np.int64)
    start[shown["req_id"]] = shown["time_ms"]
    assert (told["event_ms"] >= start[told["req_id"]]).all()
    columns = ("click", "watch", "like", "comment", "share", "forward", "follow")
    for code, name in enumerate(columns):
        expected = len(shown) if name == "watch" else shown[f"is_{name}"].sum()
        assert (told["kind"] == code).sum() == expected, name
    assert (told["kind"] == 7).sum() == (shown["pay_amount"] > 0).sum()
    late = (told["report_ms"] - told["event_ms"]) / 60_000
    assert 0.01 < (late > 20).mean() < 0.06  # the phones that were offline


# -- what may be seen -----------------------------------------------------------------------


def test_logs_hold_declared_columns_only_and_none_is_a_column_of_the_truth(tiny: World):
    hidden = {f.name for f in fields(tiny.truth)} - {"duration_sec", "business", "publish_ms"}
    for name, declared in TABLES.items():
        table = getattr(tiny.logs, name)
        assert set(table) <= {column.name for column in declared}
        assert not set(table) & hidden
    items = tiny.logs.items
    for column in ("video_id", "author_id", "publish_ms", "duration_sec", "price", "bid"):
        noticed = np.corrcoef(items[column], tiny.truth.quality)[0, 1]
        assert abs(noticed) < 0.15, column


def test_interest_tags_are_the_topics_clicked_most(tiny: World):
    user, item = rows_of(tiny)
    topic = tiny.logs.items["tags"][item, 0]
    clicked = tiny.logs.interactions["is_click"]
    busiest = np.bincount(user[clicked]).argmax()
    count = np.bincount(topic[clicked & (user == busiest)])
    assert tiny.logs.users["interest_tags"][busiest, 0] == count.argmax()


def test_tables_on_disk_are_partitioned_by_day_with_a_snapshot_of_users_a_day(tmp_path: Path):
    world = generate(small())
    write(world, tmp_path)
    assert sorted(p.name for p in (tmp_path / "users").iterdir()) == [
        f"day={d:04d}" for d in range(3)
    ]
    back = read_logs(tmp_path)
    for name in ("interactions", "items"):
        one, two = getattr(back, name), getattr(world.logs, name)
        assert all(np.array_equal(one[column], two[column]) for column in two)
    assert len(back.daily) == len(world.logs.daily)
    assert len(back.feedback) == len(world.logs.feedback)
    assert len(back.users) == 3 * 60
    last = back.users.take(back.users["day"] == 2)
    assert all(np.array_equal(last[column], world.logs.users[column]) for column in last)
    known = (back.users["interest_tags"][:, 0] >= 0).reshape(3, 60)
    assert known[2].sum() > known[0].sum()  # they are learnt as the days pass


def test_a_catalogue_larger_than_the_index_and_the_seen_bitmap_works():
    config = replace(small(), n_items=40_000, policy=replace(small().policy, pool=1_000))
    world = generate(config)
    assert len(world.logs.items) >= 40_000
    test_nobody_is_shown_an_item_twice(world)
