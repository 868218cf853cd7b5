"""lab.dualrec_sides: who needs users, who gets them, and what becomes of D_u."""

from types import SimpleNamespace

import numpy as np
import pytest

from reclab.core.clock import HOUR_MS
from reclab.core.errors import ConfigError
from reclab.lab.dualrec_sides import CreatorSide, CreatorSideConfig, Needs

N_USERS, N_ITEMS, DIM = 40, 25, 5


class Feed:
    """Tastes and vectors drawn once; ``shown`` (n_users, n_items) bool."""

    def __init__(self, groups=1):
        chance = np.random.default_rng(3)
        self.tastes = chance.standard_normal((N_USERS, DIM)).astype(np.float32)
        self.vectors = chance.standard_normal((N_ITEMS, DIM)).astype(np.float32)
        self.shown = np.zeros((N_USERS, N_ITEMS), bool)
        self.groups = SimpleNamespace(
            user=np.arange(N_USERS) % groups, creator=np.arange(N_ITEMS) % groups
        )
        self.seen = SimpleNamespace(
            counts=np.zeros(N_ITEMS, np.int64),
            table=lambda users, item: self.shown[users][:, item],
            has=lambda user, item: self.shown[user[:, None], item],
        )

    def item_vectors(self, rows):
        return self.vectors[rows]


def side_of(config, p=None, helped=None, served=None):
    every = np.ones(N_USERS, bool)
    return CreatorSide(
        config,
        np.ones(N_USERS) if p is None else p,
        np.ones(N_ITEMS, bool) if helped is None else helped,
        every if served is None else served,
    )


def needs_of(feed, age=1.0):
    every = np.arange(N_ITEMS)
    return Needs(every, np.full(N_ITEMS, age), feed.seen.counts, every)


def match(side, feed, now_ms=0, age=1.0):
    side.match(now_ms, needs_of(feed, age), feed, np.random.default_rng(0))


def test_nobody_is_ever_over_q_and_no_item_is_twice_with_a_user():
    side, feed = side_of(CreatorSideConfig(capacity=4, users_per_item=30)), Feed()
    for hour in range(5):
        match(side, feed, hour * HOUR_MS)
        assert side.sizes.max() == 4
        for row in side.item:
            held = row[row >= 0]
            assert len(set(held.tolist())) == len(held)


def test_with_room_for_all_each_item_gets_its_best_users():
    side, feed = side_of(CreatorSideConfig(capacity=N_ITEMS, users_per_item=7)), Feed()
    match(side, feed)
    liking = feed.tastes[:, :-1] @ feed.vectors[:, :-1].T  # without the column of the mean
    for item in range(N_ITEMS):
        mine = np.flatnonzero((side.item == item).any(1))
        assert set(mine) == set(np.argsort(-liking[:, item], kind="stable")[:7])


def test_the_unlikely_to_come_get_nothing_unless_all_are_in_the_pool():
    p = np.where(np.arange(N_USERS) < 10, 0.9, 0.1)
    feed = Feed()
    careful = side_of(CreatorSideConfig(active=0.5), p)
    match(careful, feed)
    assert careful.sizes[:10].min() > 0 and not careful.sizes[10:].any()
    careless = side_of(CreatorSideConfig(active=0.0), p)
    match(careless, feed)
    assert careless.sizes[10:].max() > 0


def test_only_the_helped_and_only_the_served_take_part_and_groups_do_not_mix():
    helped, served = np.arange(N_ITEMS) < 5, np.arange(N_USERS) < 12
    side, feed = side_of(CreatorSideConfig(), helped=helped, served=served), Feed(groups=2)
    match(side, feed)
    user, slot = np.nonzero(side.item >= 0)
    item = side.item[user, slot]
    assert len(item) and item.max() < 5 and user.max() < 12
    assert (item % 2 == user % 2).all()


def test_old_seen_and_satisfied_items_are_not_matched():
    side, feed = side_of(CreatorSideConfig(target=10)), Feed()
    match(side, feed, age=30.0)
    assert not (side.item >= 0).any()
    feed.shown[:, 0] = True
    feed.seen.counts[1] = 10
    match(side, feed)
    assert not np.isin(side.item, (0, 1)).any() and (side.item >= 2).any()


def test_a_match_leaves_when_shown_or_late_or_satisfied():
    side, feed = side_of(CreatorSideConfig(capacity=2, ttl_hours=5.0, users_per_item=30)), Feed()
    match(side, feed)
    user = int(side.sizes.argmax())
    first, second = side.item[user].tolist()
    side.took(np.array([user]), np.array([[first, second]]), np.array([[True, False]]))
    assert side.item[user].tolist() == [-1, second]
    assert side.hit_rate() == pytest.approx(2 / side.sizes.sum())
    feed.seen.counts[:] = side.config.target
    given = side.given(np.array([user]), feed.seen, np.random.default_rng(0))
    assert not (given.item >= 0).any()
    match(side, feed, 6 * HOUR_MS)
    assert not (side.item >= 0).any()


def test_the_better_liked_the_higher_g():
    side, feed = side_of(CreatorSideConfig(capacity=N_ITEMS, users_per_item=N_USERS)), Feed()
    match(side, feed)
    liking = feed.tastes[:, :-1] @ feed.vectors[:, :-1].T
    at, slot = np.nonzero(side.item == 3)
    g = side.g[at, slot]
    assert (np.argsort(g) == np.argsort(liking[at, 3])).all() and 0 < g.min() < g.max() < 1


def test_capacity_zero_and_no_items_are_quiet():
    side, feed = side_of(CreatorSideConfig(capacity=0)), Feed()
    match(side, feed)
    assert not side.sizes.any()
    loose = side_of(CreatorSideConfig("untargeted", 0.5))
    given = loose.given(np.arange(3), feed.seen, np.random.default_rng(0))
    assert not (given.item >= 0).any()


def test_a_quota_takes_so_many_slots_and_a_mix_so_many_on_average():
    chance, user = np.random.default_rng(1), np.arange(N_USERS)
    assert (side_of(CreatorSideConfig("quota", 2.0)).slots(user, 6, chance).sum(1) == 2).all()
    mixed = side_of(CreatorSideConfig("mix", 0.3)).slots(np.repeat(user, 50), 6, chance)
    assert mixed.mean() == pytest.approx(0.3, abs=0.02)
    assert not side_of(CreatorSideConfig("boost", 0.3)).slots(user, 6, chance).any()


def test_bad_settings_are_named():
    with pytest.raises(ConfigError, match="CreatorSideConfig.merge.*lottery"):
        CreatorSideConfig("lottery")
    with pytest.raises(ConfigError, match="CreatorSideConfig.capacity"):
        CreatorSideConfig(capacity=-1)
