"""as_of: every read against a plain loop with a strict ``<``."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reclab.core.errors import DataError
from reclab.stores.as_of import MAX_KEYS, SPAN, AsOfSums, Timeline, ragged, running_sums

NONE = np.zeros(0, np.int64)
event = st.tuples(st.integers(-2, 3), st.integers(0, 12), st.integers(-5, 5))
question = st.tuples(st.integers(-3, 4), st.integers(-1, 14), st.integers(-3, 14))


def plain(events, key, time_ms, since_ms=None):
    past = [
        v for k, t, v in events if k == key and t < time_ms and (since_ms is None or t >= since_ms)
    ]
    return len(past), sum(past)


def columns(rows):
    return (np.array(column) for column in zip(*rows, strict=True))


@settings(deadline=None)
@given(
    st.lists(st.lists(event, min_size=1, max_size=8), max_size=6),
    st.lists(question, min_size=1, max_size=8),
    st.sampled_from([1, 10**12]),
)
def test_counts_and_sums_agree_with_a_plain_loop_however_the_events_arrive(chunks, asked, spread):
    store = AsOfSums(NONE, NONE, np.zeros(0))
    for chunk in chunks:
        keys, times, values = columns(chunk)
        store.append(keys * spread, times, values)
    events = [row for chunk in chunks for row in chunk]
    keys, times, since = columns(asked)
    count, total = store.read(keys * spread, times)
    recent, recent_total = store.read(keys * spread, times, since)
    for i, (key, time_ms, since_ms) in enumerate(asked):
        assert (count[i], total[i]) == plain(events, key, time_ms)
        assert (recent[i], recent_total[i]) == plain(events, key, time_ms, since_ms)
    assert len(store) == len(events)


def test_events_of_the_same_millisecond_are_not_seen():
    store = AsOfSums(np.array([1, 1, 1]), np.array([5, 5, 6]), np.array([1.0, 2.0, 4.0]))
    count, total = store.read(np.array([1, 1, 1]), np.array([5, 6, 7]))
    assert count.tolist() == [0, 2, 3]
    assert total.tolist() == [0, 3, 7]


def test_questions_broadcast_to_a_matrix():
    store = AsOfSums(np.array([1, 2, 2]), np.array([5, 5, 6]), np.ones((3, 2)))
    count, total = store.read(np.array([[1, 2, 3]]), np.array([[6], [7]]))
    assert count.tolist() == [[1, 1, 0], [1, 2, 0]]
    assert total.shape == (2, 3, 2)


def test_many_questions_are_answered_like_few():
    chance = np.random.default_rng(0)
    keys, times = chance.integers(0, 50, 3000), chance.integers(0, 500, 3000)
    store = AsOfSums(keys, times, chance.integers(0, 9, 3000))
    asked, when = chance.integers(-1, 51, (40, 50)), chance.integers(0, 510, (40, 50))
    count, total = store.read(asked, when)
    for row in range(40):
        few, few_total = store.read(asked[row], when[row])
        assert (count[row] == few).all() and (total[row] == few_total).all()


def test_a_time_beyond_the_axis_reads_everything():
    store = AsOfSums(np.array([1, 2]), np.array([5, SPAN - 2]), np.ones(2))
    count, _ = store.read(np.array([1, 2]), np.full(2, np.iinfo(np.int64).max))
    assert count.tolist() == [1, 1]


def test_sums_stay_exact_beside_a_large_neighbour():
    keys, values = np.array([1, 2, 2]), np.array([1e15, 0.25, 0.5])
    _, total = AsOfSums(keys, np.array([1, 1, 2]), values).read(np.array([2]), np.array([9]))
    assert total.tolist() == [0.75]


def test_too_many_keys_are_refused():
    with pytest.raises(DataError, match="at most 8388608 keys"):
        Timeline(MAX_KEYS + 1)


def test_a_key_outside_the_timeline_is_refused():
    with pytest.raises(DataError, match=r"key rows must lie in 0\.\.2"):
        Timeline(3).append(np.array([3]), np.array([1]), np.array([1]))


@given(st.lists(st.lists(st.integers(-9, 9), max_size=5), min_size=1, max_size=6))
def test_running_sums_start_anew_in_each_group(groups):
    groups = [group for group in groups if group]
    expected = [x for group in groups for x in np.cumsum(group)]
    values = np.array([x for group in groups for x in group], np.float64)
    got = running_sums(values, np.array([len(group) for group in groups], np.int64))
    assert got.tolist() == expected


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 6)), max_size=6))
def test_ragged_lists_every_position(ranges):
    expected = [x for start, n in ranges for x in range(start, start + n)]
    starts = np.array([start for start, _ in ranges], np.int64)
    assert ragged(starts, np.array([n for _, n in ranges], np.int64)).tolist() == expected
