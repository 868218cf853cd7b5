"""The user pool: both rules, counts against a dictionary, and nobody over Q whatever happens."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reclab.core.errors import ConfigError, DataError
from reclab.dualrec.matches import REASONS, Matches
from reclab.dualrec.user_pool import UserPool, UserPoolConfig


def pool_of(counts, active, quota=2, admit="both") -> UserPool:
    pool = UserPool(len(counts), UserPoolConfig(quota=quota, admit=admit))
    pool.set_active(np.array(active, bool))
    pool.refresh(np.array(counts))
    return pool


def test_both_rules_or_either_let_different_users_in():
    counts, active = [0, 0, 2, 2], [1, 0, 1, 0]
    assert pool_of(counts, active).open_rows().tolist() == [0]
    assert pool_of(counts, active, admit="either").open_rows().tolist() == [0, 1, 2]


def test_a_full_active_user_whom_either_lets_in_takes_nothing():
    pool = pool_of([2], [1], admit="either")
    assert pool.open_rows().tolist() == [0] and pool.take(np.array([0])).tolist() == [False]
    assert pool.counts.tolist() == [2] and pool.n_refused == 1


def test_a_user_who_fills_up_leaves_and_comes_back_with_room():
    pool = pool_of([1, 0], [1, 1])
    assert pool.take(np.array([0])).all() and pool.open_rows().tolist() == [1]
    assert pool.give_back(np.array([0])) == 1 and pool.open_rows().tolist() == [0, 1]


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.booleans(), st.lists(st.integers(-1, 5), max_size=20)), max_size=12),
    st.integers(0, 3),
    st.sampled_from(["both", "either"]),
)
def test_counts_equal_a_dictionary_and_stay_within_the_quota(steps, quota, admit):
    pool, held, refused = UserPool(5, UserPoolConfig(quota=quota, admit=admit)), Counter(), 0
    for taking, users in steps:
        rows = np.array(users, np.int64)
        if not taking:
            back = 0
            for user in users:
                back, held[user] = back + (held[user] > 0), max(0, held[user] - 1)
            assert pool.give_back(rows) == back
            continue
        granted = []
        for user in users:
            granted.append(0 <= user < 5 and held[user] < quota)
            held[user] += granted[-1]
            refused += not granted[-1]
        assert pool.take(rows).tolist() == granted
        assert pool.counts.tolist() == [held[u] for u in range(5)]
        assert pool.counts.max() <= quota
    assert pool.n_refused + pool.n_unknown == refused


def test_a_chance_to_come_back_is_compared_with_the_bound():
    pool = UserPool(3, UserPoolConfig(active_from=0.3))
    pool.set_active(np.array([0.29, 0.3, 1.0]))
    assert pool.open_rows().tolist() == [1, 2]


def test_no_quota_and_no_users_are_an_empty_pool():
    assert not len(pool_of([0, 0], [1, 1], quota=0).open_rows())
    pool = UserPool(0)
    assert not len(pool.open_rows()) and pool.take(np.array([0])).tolist() == [False]
    assert pool.n_unknown == 1


def test_what_the_store_holds_beyond_the_quota_is_no_room_and_no_error():
    pool = pool_of([5], [1])
    assert pool.room.tolist() == [0] and not pool.take(np.array([0])).any()


def test_bad_settings_and_bad_columns_are_named():
    with pytest.raises(ConfigError, match=r"UserPoolConfig\.quota must be >= 0, got -1"):
        UserPoolConfig(quota=-1)
    with pytest.raises(ConfigError, match=r"UserPoolConfig\.admit must be one of both, either"):
        UserPoolConfig(admit="all")
    with pytest.raises(DataError, match="active must have shape"):
        UserPool(3).set_active(np.ones(2, bool))
    with pytest.raises(DataError, match=r"a chance in 0\.\.1"):
        UserPool(1).set_active(np.array([np.nan]))
    with pytest.raises(DataError, match="sizes must be 3 numbers"):
        UserPool(3).refresh(np.zeros(2))
    with pytest.raises(DataError, match="one length"):
        Matches(*(np.zeros(n) for n in (1, 1, 1, 2)))
    with pytest.raises(DataError, match=r"Matches\.reason must be in 0\.\.3, got 9"):
        Matches.of([1], [1], [1.0], [9])
    with pytest.raises(DataError, match=r"Matches\.score"):
        Matches.of([1], [1], [float("nan")], [0])


def test_matches_join_and_count():
    one = Matches.of([1, 1], [2, 3], [0.9, 0.1], [0, 3])
    both = Matches.joined([one, Matches.empty(), one])
    assert len(both) == 4 and both.by_reason() == dict.fromkeys(REASONS, 0) | {
        "vector": 2,
        "fans": 2,
    }
    assert len(Matches.joined([])) == 0
