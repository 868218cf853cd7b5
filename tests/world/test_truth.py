"""The truth answers what the formulas say, agrees with what users did, and survives the disk."""

from pathlib import Path

import numpy as np
import pytest
from scipy.stats import norm

from reclab.core.clock import DAY_MS
from reclab.core.errors import DataError
from reclab.world import Truth, World


def test_request_value_is_the_formula_written_out(tiny: World):
    t, c = tiny.truth, tiny.truth.behaviour
    held = t.held_out.take(np.array([0, 50, 700]))
    items = np.array([[0, 7, 300]] * 3)
    found = t.request_value(held, items)
    for b in range(3):
        u, mood = held["user_row"][b], held["mood"][b]
        for k, i in enumerate(items[b]):
            a = c.style * float(t.user_style[u] @ t.item_style[i]) + c.quality * float(t.quality[i])
            a += c.business[t.business[i]]
            for topic in range(24):
                wish = c.topic * np.sqrt(float(t.theta[-1, u, topic])) + c.mood * (topic == mood)
                wish += c.excitation * held["excitation"][b, topic]
                wish -= c.satiation * held["satiation"][b, topic]
                a += float(t.weights[i, topic]) * wish
            following = t.follows[u][t.follows_since[u] < tiny.config.days - 1]
            a += c.follows * (t.creator[i] in following[following >= 0])
            logit = a + t.click_bias[u] - c.tiredness * held["shown_before"][b]
            logit += c.ad_tolerance * (t.ad_tolerance[u] - 0.5) * (t.business[i] == 3)
            x, length = a - c.typical, float(t.duration_sec[i])
            end = c.complete + c.complete_by_liking * x - c.complete_by_length * np.log(length / 26)
            done = 1 / (1 + np.exp(-end))
            reach = norm.cdf((np.log(c.part_sec / 18) + c.part_by_liking * x) / c.part_spread)
            long_view = done + (1 - done) * (0.95 * length >= 18) * reach
            assert found[b, k] == pytest.approx(long_view / (1 + np.exp(-logit)), rel=1e-4)


def test_some_items_and_all_items_agree(tiny: World):
    t, held = tiny.truth, tiny.truth.held_out.take(np.arange(20))
    rows = np.random.default_rng(0).integers(0, t.n_items, (20, 30))
    day = tiny.config.days - 1
    user = held["user_row"]
    for some, every in (
        (t.request_value(held, rows), t.request_value(held)),
        (t.request_p_click(held, rows), t.request_p_click(held)),
        (t.value(user, rows, day), t.value(user, None, day)),
        (t.p_click(user, rows, day), t.p_click(user, None, day)),
    ):
        assert some.dtype == every.dtype == np.float32
        np.testing.assert_allclose(some, np.take_along_axis(every, rows, 1), rtol=1e-4, atol=1e-6)


def first_places(tiny: World):
    """The logged first places of the held-out requests, their requests and their item rows."""
    shown, held = tiny.logs.interactions, tiny.truth.held_out
    first = shown.take((shown["position"] == 0) & np.isin(shown["req_id"], held["req_id"]))
    order = np.argsort(held["req_id"])
    held = held.take(order[np.searchsorted(held["req_id"][order], first["req_id"])])
    return first, held, np.searchsorted(tiny.logs.items["video_id"], first["video_id"])[:, None]


def test_users_click_and_watch_as_often_as_the_truth_says(tiny: World):
    """First places of the held-out requests: nothing earlier on the page disturbs."""
    first, held, item = first_places(tiny)
    assert np.array_equal(held["time_ms"], first["time_ms"])
    for expected, seen in (
        (tiny.truth.request_p_click(held, item)[:, 0], first["is_click"]),
        (tiny.truth.request_value(held, item)[:, 0], first["is_long_view"]),
    ):
        z = (seen.sum() - expected.sum()) / np.sqrt((expected * (1 - expected)).sum())
        assert abs(z) < 3.5
        best, worst = expected > np.quantile(expected, 0.8), expected < np.quantile(expected, 0.2)
        assert seen[best].mean() > 2 * seen[worst].mean()


def test_all_targets_happen_as_often_as_the_truth_says(tiny: World):
    """Seconds, reactions and payments, summed over the first places, within 3.5 sigma."""
    first, held, item = first_places(tiny)
    told = {k: v[:, 0] for k, v in tiny.truth.request_targets(held, item).items()}
    is_ad = tiny.truth.business[item[:, 0]] == 3
    seen = {f"p_{k}": first[f"is_{k}"] for k in ("like", "share", "follow", "click", "long_view")}
    seen["p_purchase"] = (first["pay_amount"] > 0) & ~is_ad
    for name, happened in seen.items():
        expected = told[name]
        z = (happened.sum() - expected.sum()) / np.sqrt((expected * (1 - expected)).sum())
        assert abs(z) < 3.5, name
    error = first["watch_sec"] - told["watch_sec"]
    assert abs(error.sum()) < 3.5 * error.std() * np.sqrt(len(error))


def test_targets_agree_with_the_values_and_are_the_same_for_some_and_all_items(tiny: World):
    t, held = tiny.truth, tiny.truth.held_out.take(np.arange(8))
    rows, day = np.random.default_rng(0).integers(0, t.n_items, (8, 30)), tiny.config.days - 1
    user = held["user_row"]
    for some, every, value in (
        (t.request_targets(held, rows), t.request_targets(held), t.request_value(held, rows)),
        (t.targets(user, rows, day), t.targets(user, None, day), t.value(user, rows, day)),
    ):
        np.testing.assert_allclose(some["p_long_view"], value, rtol=1e-6)
        for name, values in some.items():
            whole = np.take_along_axis(every[name], rows, 1)
            assert values.dtype == np.float32, name
            np.testing.assert_allclose(values, whole, rtol=1e-4, atol=1e-6, err_msg=name)


def test_what_is_not_published_is_worth_nothing(tiny: World):
    t, held = tiny.truth, tiny.truth.tuning.take(np.arange(5))
    late = t.publish_ms[None] > held["time_ms"][:, None]
    value = t.request_value(held)
    assert late.any() and (value[late] == 0).all() and (value[~late] > 0).all()
    day = tiny.config.days - 2
    value = t.value(held["user_row"], None, day)
    assert ((value == 0) == (t.publish_ms > (day + 1) * DAY_MS)).all()


def test_requests_are_of_the_last_two_days_and_were_logged(tiny: World):
    for held, day in ((tiny.truth.held_out, 13), (tiny.truth.tuning, 12)):
        assert (held["time_ms"] // DAY_MS == day).all() and (held["day"] == day).all()
        assert len(np.unique(held["req_id"])) == len(held) > 500
        assert np.array_equal(held["user_id"], tiny.logs.users["user_id"][held["user_row"]])
        assert np.isin(held["req_id"], tiny.logs.interactions["req_id"]).mean() > 0.99


def test_knowing_more_makes_better_lists(tiny: World):
    t, held = tiny.truth, tiny.truth.held_out.take(np.arange(0, 1500, 10))
    gain = t.request_value(held)
    usual = t.value(held["user_row"], None, tiny.config.days - 1)
    rows = np.argpartition(-usual, 10, axis=1)[:, :10]
    without = np.take_along_axis(gain, rows, 1).mean()
    oracle = np.sort(gain, axis=1)[:, -10:].mean()
    assert gain.mean() < 0.3 * oracle
    assert 0.85 * oracle < without < 0.98 * oracle


def test_a_day_that_was_not_lived_is_named(tiny: World):
    with pytest.raises(DataError, match=r"day must be in 0\.\.13, got 14"):
        tiny.truth.value(np.array([0]), None, 14)


def test_truth_survives_the_disk_and_damage_is_named(tiny: World, tmp_path: Path):
    tiny.truth.save(tmp_path)
    back = Truth.load(tmp_path)
    held = tiny.truth.held_out.take(np.arange(10))
    assert np.array_equal(back.request_value(held), tiny.truth.request_value(held))
    assert back.behaviour == tiny.truth.behaviour
    assert list(back.tuning) == list(tiny.truth.tuning)
    whole = (tmp_path / "truth.npz").read_bytes()
    (tmp_path / "truth.npz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="cannot read the world's truth"):
        Truth.load(tmp_path)
