"""Swing against loops over users, its caps, and what it is for: a crowd's burst weighs little."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest

from reclab.cascade.retrieval.swing import SwingChannel, SwingConfig, at_most
from reclab.core.chance import rng
from reclab.core.errors import ConfigError
from reclab.core.tables import Logs, Table
from tests.cascade.retrieval.contract import (
    END,
    INDEX,
    LOGS,
    N_ITEMS,
    N_USERS,
    ChannelContract,
    batch_of,
)

ALL = SwingConfig(neighbours=N_ITEMS, users_per_item=1000, items_per_user=1000)


class TestSwingIsAChannel(ChannelContract):
    def make(self):
        return SwingChannel(SwingConfig(neighbours=12))


def logs_of(sets: list[list[int]]) -> Logs:
    """Each user's items, one click each, in one row of times."""
    user = np.repeat(np.arange(len(sets)), [len(items) for items in sets])
    item = np.concatenate([np.array(items, int) for items in sets])
    clicks = {"user_id": user, "video_id": item, "time_ms": np.arange(len(user))}
    return replace(LOGS, interactions=Table(clicks))


def dense(channel: SwingChannel) -> np.ndarray:
    ids, weights = channel.neighbours(np.arange(N_ITEMS))
    found = np.zeros((N_ITEMS, N_ITEMS))
    row, place = np.nonzero(ids >= 0)
    found[row, ids[row, place]] = weights[row, place]
    return found


def by_loops(sets: list[list[int]], alpha: float, weigh_users: bool) -> np.ndarray:
    """w of the formula, for every two users and every two items that they share."""
    total = np.zeros((N_ITEMS, N_ITEMS))
    for one, other in combinations(sets, 2):
        both = sorted(set(one) & set(other))
        g = 1 / np.sqrt(len(set(one)) * len(set(other))) if weigh_users and both else 1.0
        for i in both:
            for j in both:
                if i != j:
                    total[i, j] += g / (alpha + len(both))
    return total


@pytest.mark.parametrize("alpha, weigh_users", [(1.0, False), (0.2, True), (30.0, True)])
def test_weights_equal_the_loops_over_pairs_of_users(alpha, weigh_users):
    chance = rng(2, "swing")
    sets = [chance.integers(0, N_ITEMS, chance.integers(1, 9)).tolist() for _ in range(40)]
    config = replace(ALL, alpha=alpha, weigh_users=weigh_users)
    found = dense(SwingChannel(config).fit(logs_of(sets), INDEX, END))
    np.testing.assert_allclose(found, by_loops(sets, alpha, weigh_users), rtol=1e-5, atol=1e-9)


def test_two_strangers_who_agree_weigh_more_than_a_crowd_that_shares_everything():
    crowd, strangers = [[0, 1, *range(4, 18)]] * 2, [[0, 2, 18], [0, 2, 19]]
    found = dense(SwingChannel(ALL).fit(logs_of(crowd + strangers), INDEX, END))
    assert found[0, 2] > 5 * found[0, 1] > 0


def test_a_second_click_of_the_same_pair_changes_nothing():
    sets = [[0, 1, 2], [0, 1], [1, 2]]
    once = dense(SwingChannel(ALL).fit(logs_of(sets), INDEX, END))
    twice = dense(SwingChannel(ALL).fit(logs_of([s + s for s in sets]), INDEX, END))
    np.testing.assert_array_equal(once, twice)


def test_on_the_checkerboard_the_one_unseen_liked_item_is_found():
    channel = SwingChannel(ALL).fit(LOGS, INDEX, END)
    item_row, _ = channel.retrieve(batch_of(np.arange(N_USERS)), 5)
    assert item_row[:, 0].tolist() == [u % N_ITEMS for u in range(N_USERS)]


def test_caps_draw_by_seed_and_never_invent():
    config = replace(ALL, users_per_item=4, items_per_user=6)
    whole = dense(SwingChannel(ALL).fit(LOGS, INDEX, END))
    a, again, b = (
        dense(SwingChannel(replace(config, seed=s)).fit(LOGS, INDEX, END)) for s in (0, 0, 1)
    )
    np.testing.assert_array_equal(a, again)
    assert (a != b).any() and (whole[a > 0] > 0).all() and 0 < (a > 0).sum() <= (whole > 0).sum()


def test_at_most_keeps_small_groups_whole_and_draws_evenly_from_large_ones():
    group = np.repeat([7, -2, 5], [3, 1, 900])
    drawn = [at_most(group, 300, rng(s, "draw")) for s in range(40)]
    assert all(len(rows) == 304 and rows[:4].tolist() == [0, 1, 2, 3] for rows in drawn)
    often = np.bincount(np.concatenate(drawn), minlength=904)[4:]
    assert often.mean() == pytest.approx(40 / 3) and often.max() < 30


def test_wrong_settings_are_named():
    with pytest.raises(ConfigError, match="SwingConfig.users_per_item must be >= 2, got 1"):
        SwingConfig(users_per_item=1)
    with pytest.raises(ConfigError, match="SwingConfig.alpha"):
        SwingConfig(alpha=0.0)
