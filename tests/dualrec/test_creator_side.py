"""The creator side: the restricted search against brute force, conservation, and bad input."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reclab.core.chance import rng
from reclab.core.errors import ConfigError, DataError
from reclab.core.tables import Table
from reclab.core.types import Array
from reclab.dualrec.creator_side import CreatorSide, CreatorSideConfig
from reclab.dualrec.matches import REASONS
from reclab.dualrec.user_index import UserIndex, tower_vectors
from reclab.dualrec.user_pool import UserPool, UserPoolConfig
from reclab.stores.forward_index import ForwardIndex
from reclab.stores.vector_index import VectorIndexConfig

PLENTY = 10**6
EXACT = VectorIndexConfig(flat_below=0, n_probe=4096, masked=0.75)  # all clusters are looked into


def side(n_items=12, n_users=40, pool=None, config=None, index=None, seed=0, **more) -> CreatorSide:
    """A creator side over random vectors; ids are rows + 1000 (items) and rows + 500 (users)."""
    chance = rng(seed, "creator side")
    users = chance.normal(size=(n_users, 4)).astype(np.float32)
    items = chance.normal(size=(n_items, 4)).astype(np.float32)
    about = Table({"video_id": np.arange(n_items) + 1000, "publish_ms": np.zeros(n_items, int)})
    return CreatorSide(
        ForwardIndex(about),
        np.arange(n_users) + 500,
        UserIndex(users, index),
        items,
        pool or UserPool(n_users, UserPoolConfig(quota=PLENTY)),
        config=config or CreatorSideConfig(per_item=5, near=n_users, block=4),
        **more,
    )


def by_hand(one: CreatorSide, rows, open_rows, k: int) -> list[list[int]]:
    """User ids of each item's best in the pool, by all products."""
    products = one.item_vectors[rows] @ one.index.vectors[open_rows].T
    best = np.argsort(-products, axis=1, kind="stable")[:, :k]
    return (open_rows[best] + 500).tolist()


@pytest.mark.parametrize("index", [None, EXACT], ids=["flat", "clusters"])
@pytest.mark.parametrize("seed", range(4))
def test_with_room_for_all_every_item_gets_its_nearest_users_of_the_pool(index, seed):
    active = rng(seed, "active").random(40) < 0.4
    pool = UserPool(40, UserPoolConfig(quota=PLENTY))
    pool.set_active(active)
    one = side(pool=pool, index=index, seed=seed)
    found, report = one.match(one.items.ids, 0)
    want = by_hand(one, np.arange(12), np.flatnonzero(active), 5)
    assert found.user_id.reshape(12, 5).tolist() == want
    assert found.item_id.tolist() == np.repeat(one.items.ids, 5).tolist()
    assert report.matches == 60 and report.matched == 12 and not report.short


@pytest.mark.parametrize("index", [None, EXACT], ids=["flat", "clusters"])
def test_users_who_filled_up_are_found_no_more(index):
    one = side(n_users=200, index=index, pool=UserPool(200, UserPoolConfig(quota=PLENTY)))
    one.index.open(np.arange(200))
    left = np.arange(0, 200, 2)
    one.index.leave(left)
    one.index.purge()
    rows, _ = one.index.find(one.item_vectors, 7)
    want = np.array(by_hand(one, np.arange(12), np.arange(1, 200, 2), 7)) - 500
    assert rows.tolist() == want.tolist()


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 10**6),
    st.integers(0, 4),
    st.integers(1, 8),
    st.sampled_from(["both", "either"]),
    st.sampled_from(["share", "first"]),
)
def test_matches_are_conserved_and_nobody_gets_more_than_q(seed, quota, per_item, admit, short):
    chance = rng(seed, "conservation")
    n_users, n_items = int(chance.integers(0, 30)), int(chance.integers(1, 20))
    pool = UserPool(n_users, UserPoolConfig(quota=quota, admit=admit))
    pool.set_active(chance.random(n_users) < 0.7)
    pool.refresh(chance.integers(0, quota + 2, n_users))
    before, room = pool.counts.copy(), int(pool.room.sum())
    config = CreatorSideConfig(per_item, near=int(chance.integers(1, 40)), block=3, short=short)
    one = side(n_items, n_users, pool, config, seed=seed)
    asked = chance.integers(995, 1005 + n_items, 25)
    gone = chance.integers(1000, 1000 + n_items, 2)
    found, r = one.match(asked, 0, withdrawn_ids=gone)
    assert r.items == r.unknown + r.twice + r.withdrawn + r.matched + r.without == 25
    assert len(found) == r.matches <= room
    pairs = set(zip(found.item_id.tolist(), found.user_id.tolist(), strict=True))
    assert len(pairs) == len(found) and not set(found.item_id.tolist()) & set(gone.tolist())
    given_to = np.bincount(found.user_id - 500, minlength=n_users)
    np.testing.assert_array_equal(pool.counts, before + given_to)
    assert (pool.counts <= np.maximum(quota, before)).all() and pool.n_refused == 0
    if admit == "both":
        assert pool.active[found.user_id - 500].all()
    assert (np.bincount(found.item_id - 1000, minlength=n_items) <= per_item).all()


@pytest.mark.parametrize("short", ["share", "first"])
def test_more_items_than_capacity_use_all_the_room_there_is(short):
    pool = UserPool(40, UserPoolConfig(quota=1))
    config = CreatorSideConfig(per_item=5, near=40, block=4, rounds=5, short=short)
    one = side(n_items=20, pool=pool, config=config)
    found, report = one.match(one.items.ids, 0)
    assert len(found) == 40 and not len(pool.open_rows()) and report.open_after == 0
    counts = np.bincount(found.item_id - 1000, minlength=20)
    assert report.want == (2 if short == "share" else 5)
    assert (counts == 2).all() if short == "share" else report.without > 0


def test_an_empty_pool_or_no_quota_or_no_items_give_no_matches_and_say_so():
    nobody = UserPool(40)
    nobody.set_active(np.zeros(40, bool))
    for pool in (nobody, UserPool(40, UserPoolConfig(quota=0))):
        one = side(pool=pool)
        found, report = one.match(one.items.ids, 0)
        assert not len(found) and report.without == 12 and report.open_before == 0
    found, report = side().match(np.zeros(0, np.int64), 0)
    assert not len(found) and report.items == 0


def test_unknown_repeated_withdrawn_and_unpublished_items_are_counted_and_the_rest_answered():
    one = side()
    one.items.put(np.array([1003]), publish_ms=np.array([99]))
    ids = np.array([1000, 7, 1000, 1001, 1003, 1002])
    found, report = one.match(ids, 50, withdrawn_ids=np.array([1001, 8]))
    assert (report.unknown, report.twice, report.withdrawn, report.matched) == (1, 1, 2, 2)
    assert np.unique(found.item_id).tolist() == [1000, 1002]


def test_an_item_that_joined_after_the_vectors_waits_for_the_next_ones():
    one = side()
    one.items.put(np.array([5000]), publish_ms=np.array([0]))
    found, report = one.match(np.array([5000, 1000]), 1)
    assert report.withdrawn == 1 and np.unique(found.item_id).tolist() == [1000]


class ByTable:
    """g as given, (n_items, n_users)."""

    def __init__(self, g: Array) -> None:
        self.g = g

    def score(self, item_row: Array, user_row: Array, now_ms: int) -> Array:
        return self.g[item_row, user_row].astype(np.float32)


def test_items_of_one_block_compete_by_score_not_by_place():
    g = np.zeros((2, 40))
    g[0, 3], g[1, 3] = 0.5, 0.9
    pool = UserPool(40, UserPoolConfig(quota=1))
    config = CreatorSideConfig(per_item=1, near=40, block=4, rounds=1)
    one = side(2, pool=pool, config=config, scorer=ByTable(g))
    found, _ = one.match(one.items.ids, 0)
    assert found.user_id[found.item_id == 1001].tolist() == [503]
    assert found.user_id[found.item_id == 1000].tolist() != [503]


def test_every_way_is_merged_once_and_the_rarest_way_is_the_reason():
    def only(user):
        return lambda rows, k, open: (
            np.full((len(rows), k), -1) + (np.arange(k) == 0) * (user + 1),
            np.ones((len(rows), k), np.float32),
        )

    far = side().index.vectors @ side().item_vectors[0]
    last = int(np.argmin(far))  # nearness alone would not find this one among the first few
    g = np.zeros((12, 40))
    g[:, last] = 1.0
    ways = {"i2i2u": only(last), "fans": only(last)}
    config = CreatorSideConfig(per_item=3, near=5, each=4)
    one = side(config=config, channels=ways, scorer=ByTable(g))
    found, _ = one.match(np.array([1000]), 0)
    assert found.user_id[0] == last + 500 and REASONS[found.reason[0]] == "fans"
    assert len(set(found.user_id.tolist())) == 3 and found.by_reason()["vector"] == 2


def test_who_was_shown_an_item_is_not_given_it_again(lab):
    parts = lab.trained.parts
    now = parts.until_ms
    users, items = tower_vectors(parts.two_tower, parts.users, now)
    pool = UserPool(len(users), UserPoolConfig(quota=PLENTY))
    config = CreatorSideConfig(per_item=200, near=400)
    new = np.argsort(-np.where(parts.index["publish_ms"] < now, parts.index["publish_ms"], -1))
    ids = parts.index.ids[new[:60]]
    shown = lab.logs.interactions.take(lab.logs.interactions["time_ms"] < now)
    had = set(zip(shown["video_id"].tolist(), shown["user_id"].tolist(), strict=True))
    repeats = {}
    for users_store in (None, parts.users):
        index = UserIndex(users)
        one = CreatorSide(
            parts.index, parts.users.user_ids, index, items, pool, users=users_store, config=config
        )
        found, report = one.match(ids, now)
        pairs = set(zip(found.item_id.tolist(), found.user_id.tolist(), strict=True))
        repeats[users_store is None] = len(pairs & had)
    assert repeats[True] > 0 and repeats[False] == 0 and report.shown > 0


def test_tower_vectors_are_the_channels_own(lab):
    from reclab.cascade.batch import read_batch

    p, requests = lab.trained.parts, lab.requests(5)
    batch = read_batch(requests, p.users, p.index)
    for b, request in enumerate(requests):
        users, items = tower_vectors(p.two_tower, p.users, request.time_ms)
        hers = p.two_tower.users(replace(batch, network=np.zeros_like(batch.network)))[b, :-1]
        np.testing.assert_allclose(users[batch.user_row[b]], hers, atol=1e-5)
    np.testing.assert_allclose(items, p.two_tower.vectors.held()[1][:, :-1])


def test_bad_settings_and_parts_that_do_not_fit_are_named():
    with pytest.raises(ConfigError, match=r"CreatorSideConfig\.short must be share or first"):
        CreatorSideConfig(short="none")
    with pytest.raises(ConfigError, match=r"CreatorSideConfig\.per_item must be >= 1, got 0"):
        CreatorSideConfig(per_item=0)
    with pytest.raises(DataError, match="users must be the same everywhere"):
        side(pool=UserPool(3))
    with pytest.raises(DataError, match="channels must be among"):
        side(channels={"friends": None})
    with pytest.raises(DataError, match="user vectors must be finite"):
        UserIndex(np.full((2, 2), np.nan))
