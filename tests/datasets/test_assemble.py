"""The parts shared by all sources, against brute force."""

from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reclab.core.tables import Table
from reclab.datasets.assemble import named_tags, numbered_tags, roll_up
from reclab.datasets.keys import codes, first_rows, repeated, stable_order

IDS = st.lists(
    st.one_of(st.integers(0, 6), st.integers(-(2**62), 2**62)), min_size=1, max_size=40
).map(lambda values: np.array(values, np.int64))


@given(IDS)
def test_codes_and_first_rows_agree_with_sorting(ids):
    for got, expected in zip(codes(ids), np.unique(ids, return_inverse=True), strict=True):
        assert np.array_equal(got, expected)
    for got, expected in zip(first_rows(ids), np.unique(ids, return_index=True), strict=True):
        assert np.array_equal(got, expected)


@given(IDS)
def test_stable_order_is_the_stable_sort(ids):
    assert np.array_equal(stable_order(ids), np.argsort(ids, kind="stable"))


@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from([0.0, 1.5, np.nan])), min_size=1))
def test_a_row_is_repeated_if_an_equal_row_came_before(rows):
    columns = {"a": np.array([a for a, _ in rows]), "b": np.array([b for _, b in rows])}
    seen: set[tuple[int, str]] = set()
    expected = []
    for a, b in rows:
        expected.append((a, str(b)) in seen)
        seen.add((a, str(b)))
    assert repeated(columns, ["a", "b"]).tolist() == expected


def test_the_day_table_sums_what_the_log_says():
    rng = np.random.default_rng(5)
    n = 500
    shown = Table(
        {
            "time_ms": np.sort(rng.integers(0, 3 * 86_400_000, n)),
            "user_id": rng.choice([4, 10**15], n),
            "video_id": rng.choice([7, 9, 2], n),
            "is_click": rng.random(n) < 0.5,
            "watch_sec": rng.random(n).astype(np.float32),
        }
    )
    expected: dict[tuple[int, int, int], list[float]] = defaultdict(lambda: [0, 0, 0.0])
    for row in range(n):
        key = (
            int(shown["time_ms"][row] // 86_400_000),
            int(shown["user_id"][row]),
            int(shown["video_id"][row]),
        )
        for at, value in enumerate((1, shown["is_click"][row], shown["watch_sec"][row])):
            expected[key][at] += float(value)
    daily = roll_up(shown)
    assert len(daily) == len(expected)
    for row in range(len(daily)):
        sums = expected[tuple(int(daily[c][row]) for c in ("day", "user_id", "video_id"))]
        got = [float(daily[c][row]) for c in ("impressions", "clicks", "watch_sec")]
        assert got == pytest.approx(sums, rel=1e-5)
    assert "like_cnt" not in daily


def test_tags_are_named_or_keep_their_numbers():
    tags, names = named_tags(np.array(["b|a", "", "a"], object), "|")
    assert names == ("a", "b") and tags.tolist() == [[1, 0], [-1, -1], [0, -1]]
    tags, names = numbered_tags(np.array(["[3, 1]", "x", "99999999", "-4"], object), ",")
    assert tags.tolist() == [[3, 1], [-1, -1], [-1, -1], [-1, -1]] and len(names) == 4
