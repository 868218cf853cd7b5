"""The logging policy's parts against brute force, and its pages against its rules."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import sparse

from reclab.core.chance import rng
from reclab.core.clock import DAY_MS
from reclab.core.errors import ConfigError
from reclab.world import WorldConfig
from reclab.world.logging_policy import (
    CHANNELS,
    PERSONAL,
    RANDOM,
    PolicyConfig,
    SeenItems,
    best_rows,
    spectral,
    whole,
)
from reclab.world.platform import Platform


@pytest.mark.parametrize(("m", "k"), [(30, 10), (900, 10), (4000, 200)])
def test_best_rows_are_those_of_a_full_sort(m: int, k: int):
    score = np.rint(rng(0, "scores", m).standard_normal((40, m)) * 1000).astype(np.float32)
    assert np.array_equal(best_rows(score, k), np.argsort(-score, axis=1, kind="stable")[:, :k])


def test_products_of_whole_numbers_do_not_depend_on_the_order_of_summation():
    chance = rng(0, "vectors")
    users, items = (whole(chance.standard_normal((50, 41)) * 0.3, 4096) for _ in range(2))
    items = np.rint(items / 16)
    forward, backward = users @ items.T, users[:, ::-1].copy() @ items[:, ::-1].copy().T
    assert np.array_equal(forward, backward)
    assert np.array_equal(forward, users.astype(np.int64) @ items.T.astype(np.int64))


def test_seen_items_are_remembered_for_each_user_alone():
    seen, chance = SeenItems(3), rng(0, "seen")
    user = np.array([0, 2])
    item = np.stack([chance.choice(SeenItems.BITS, 9, replace=False) for _ in user])
    shown = np.array([[True] * 8 + [False]] * 2)
    seen.add(user, item, shown)
    assert np.array_equal(seen.has(user, item), shown)
    everything = seen.table(slice(0, 3), np.arange(SeenItems.BITS))
    assert everything.sum(1).tolist() == [8, 0, 8]
    assert set(np.flatnonzero(everything[2])) == set(item[1, :8])


def test_items_in_one_byte_of_the_bitmap_do_not_wipe_each_other():
    seen = SeenItems(1)
    item = np.arange(8)[None]
    seen.add(np.array([0]), item, np.ones((1, 8), bool))
    assert seen.has(np.array([0]), item).all()


def test_spectral_factors_recover_a_planted_pattern():
    chance = rng(0, "planted")
    users, creators = chance.standard_normal((400, 2)), chance.standard_normal((60, 2))
    truth = 0.1 * users @ creators.T
    n = chance.poisson(3.0, truth.shape)
    sums = n * truth + np.sqrt(n) * 0.2 * chance.standard_normal(truth.shape)
    f, g = spectral(sparse.csr_array(sums), n.sum(1), n.sum(0), 2)
    assert np.corrcoef((f @ g.T).ravel(), truth.ravel())[0, 1] > 0.95


def platform_of(mix: tuple[float, ...], **policy: int) -> Platform:
    config = replace(WorldConfig.at("tiny"), n_users=80, n_items=600, n_creators=60, days=5)
    platform = Platform(replace(config, policy=PolicyConfig(mix=mix, **policy)))
    for day in range(3):
        platform.live(day)
    platform.policy.refresh(4, rng(0, "fit"))  # an even day: new lists
    return platform


def test_a_page_has_no_item_twice_and_none_that_was_seen():
    platform = platform_of((0.4, 0.4, 0.1, 0.1))
    user, policy = np.arange(80), platform.policy
    now = np.full(80, 4 * DAY_MS)
    item, channel, filled = policy.page(user, now, 6, rng(0, "page"))
    assert item.shape == channel.shape == filled.shape == (80, 6)
    assert not (policy.seen.has(user, item) & filled).any()
    assert all(len(set(row[ok])) == ok.sum() for row, ok in zip(item, filled, strict=True))
    assert filled.mean() > 0.95
    assert (platform.catalogue.publish_ms[item] <= now[0]).all()
    assert set(np.unique(channel)) <= set(range(len(CHANNELS)))


def test_the_personal_list_is_walked_without_going_back():
    platform = platform_of((1.0, 0.0, 0.0, 0.0))
    user, now, policy = np.arange(80), np.full(80, 4 * DAY_MS), platform.policy
    first, channel, _ = policy.page(user, now, 6, rng(0, "a"))
    second, _, _ = policy.page(user, now, 6, rng(0, "b"))
    assert (channel == PERSONAL).all()
    assert np.array_equal(first, policy._lists[:, :6])
    assert np.array_equal(second, policy._lists[:, 6:12])


def test_pages_are_random_until_the_warm_up_ends():
    platform = platform_of((1.0, 0.0, 0.0, 0.0), warm_up_days=2)
    days = [platform.records._days[day]["channel"] for day in range(3)]
    assert (days[0] == RANDOM).all() and (days[1] == RANDOM).all()
    assert (days[2] == RANDOM).mean() < 0.01


def test_the_policy_learns_what_users_like():
    """Its channel of personal lists wins far more long views than the random slots."""
    platform = platform_of((0.8, 0.0, 0.0, 0.2))
    day = platform.records._days[2]
    personal, random = (day["long_view"][day["channel"] == c].mean() for c in (PERSONAL, RANDOM))
    assert personal > 1.7 * random


def test_shares_of_channels_must_sum_to_one():
    with pytest.raises(ConfigError, match=r"sum of PolicyConfig\.mix must be in .* got 1\.5"):
        PolicyConfig(mix=(1.0, 0.5, 0.0, 0.0))
