"""Capacity: against the plain greedy, pair by pair; conservation; no conflict, no change."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from reclab.core.chance import rng
from reclab.dualrec.capacity import resolve


def cases(seed: int, levels: int):
    """Random pairs, each item's best first, with many equal scores where ``levels`` is small."""
    chance = rng(seed, "capacity")
    n_items, n_users = int(chance.integers(1, 9)), int(chance.integers(1, 9))
    there = chance.random((n_items, n_users)) < 0.7
    owner, user = np.nonzero(there)
    score = (chance.integers(-levels, levels, len(owner)) / levels).astype(np.float32)
    order = np.lexsort((-score, owner))
    want, room = chance.integers(0, 5, n_items), chance.integers(0, 4, n_users)
    return owner[order], user[order], score[order], want, room


def by_hand(owner, user, score, want, room):
    """One pair at a time, best first; the earlier of equals."""
    want, room, taken = want.copy(), room.copy(), np.zeros(len(owner), bool)
    for at in np.argsort(-score, kind="stable"):
        if want[owner[at]] > 0 and room[user[at]] > 0:
            taken[at] = True
            want[owner[at]] -= 1
            room[user[at]] -= 1
    return taken


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([1, 3, 1000]))
def test_rounds_take_what_a_plain_greedy_takes(seed, levels):
    case = cases(seed, levels)
    np.testing.assert_array_equal(resolve(*case), by_hand(*case))


def test_a_large_case_equals_the_greedy_and_nobody_gets_more_than_there_is_room_for():
    chance = rng(0, "capacity large")
    n_items, n_users, k = 300, 2000, 60
    user = np.stack([chance.permutation(n_users)[:k] for _ in range(n_items)])
    liked = chance.random(n_users) ** 3  # some users are everybody's best
    score = (liked[user] + 0.3 * chance.random(user.shape)).astype(np.float32)
    order = np.argsort(-score, axis=1, kind="stable")
    user, score = np.take_along_axis(user, order, 1), np.take_along_axis(score, order, 1)
    owner = np.repeat(np.arange(n_items), k)
    case = owner, user.ravel(), score.ravel(), np.full(n_items, 20), chance.integers(0, 6, n_users)
    taken = resolve(*case)
    np.testing.assert_array_equal(taken, by_hand(*case))
    assert (np.bincount(owner[taken], minlength=n_items) <= 20).all()
    assert (np.bincount(user.ravel()[taken], minlength=n_users) <= case[4]).all()


def test_without_conflict_everybody_gets_the_first_of_the_list():
    owner, user = np.repeat([0, 1], 3), np.arange(6)
    score = np.array([3, 2, 1, 3, 2, 1], np.float32)
    taken = resolve(owner, user, score, np.array([2, 2]), np.ones(6, np.int64))
    assert taken.tolist() == [True, True, False] * 2


def test_no_pairs_no_matches():
    none = np.zeros(0, np.int64)
    assert not len(resolve(none, none, none.astype(np.float32), np.ones(3), np.ones(3)))
