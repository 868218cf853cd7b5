"""The degradation cache on a real Redis: order, conservation under concurrency, failure."""

import threading
from collections import Counter

import numpy as np
import pytest

from reclab.core.errors import ConfigError, DataError
from reclab.core.types import Request, Slate
from reclab.degradation_dcaf import DegradationCache, DegradationCacheConfig
from reclab.stores.kv import KV, StoreDown


def scores(n: int) -> np.ndarray:
    return np.linspace(1, 0, n)


def test_ten_at_a_time_best_first_and_the_rest_stays(kv):
    cache = DegradationCache(kv)
    cache.put(7, np.arange(100, 120), scores(20))
    assert cache.take(7, 10).item_id.tolist() == list(range(100, 110))
    second = cache.take(7, 10)
    assert second.item_id.tolist() == list(range(110, 120))
    assert second.score == pytest.approx(scores(20)[10:])
    assert len(cache.take(7, 10).item_id) == 0


def test_what_is_excluded_is_not_handed_out_and_not_kept(kv):
    cache = DegradationCache(kv)
    cache.put(7, np.arange(10), scores(10))
    assert cache.take(7, 3, exclude=[0, 2, 9]).item_id.tolist() == [1, 3, 4]
    assert cache.peek([7])[0].item_id.tolist() == [5, 6, 7, 8, 9]


def test_the_next_healthy_answer_replaces_what_was_left(kv):
    cache = DegradationCache(kv)
    cache.put(7, np.arange(10), scores(10))
    cache.put(7, np.arange(50, 53), scores(3))
    assert cache.peek([7, 8])[0].item_id.tolist() == [50, 51, 52]
    cache.put(7, np.zeros(0, np.int64), np.zeros(0))
    assert len(cache.take(7, 5).item_id) == 0


def test_a_healthy_answer_shows_ten_and_leaves_twenty(kv):
    cache, columns = DegradationCache(kv), {"rank_score": scores(30)}
    slate = Slate(Request(7, 0, n=30), np.arange(30), np.arange(30), columns)
    shown = cache.remember(slate)
    assert shown.item_id.tolist() == list(range(10)) and len(shown.columns["rank_score"]) == 10
    assert cache.peek([7])[0].item_id.tolist() == list(range(10, 30))


def test_lists_are_forgotten_after_their_time(kv):
    cache = DegradationCache(kv, DegradationCacheConfig(ttl_s=0.05))
    cache.put(7, np.arange(3), scores(3))
    assert 0 < kv.ttl_s("degraded:7") <= 0.05


def test_what_was_read_can_be_claimed_once(kv):
    cache = DegradationCache(kv)
    cache.put(7, np.arange(4), scores(4))
    read = cache.peek([7, 8])
    assert [got.tolist() for got in cache.claim([7, 8], read)] == [[True] * 4, []]
    assert cache.claim([7], read[:1])[0].tolist() == [False] * 4


@pytest.mark.slow
def test_of_200_takers_at_once_no_two_get_an_item_and_none_is_lost(kv):
    cache, n_users = DegradationCache(kv), 20
    for user in range(n_users):
        cache.put(user, np.arange(user * 1000, user * 1000 + 20), scores(20))
    handed, gate = [], threading.Barrier(200)

    def taker(number: int) -> None:
        gate.wait()
        user, by_claim = number % n_users, number % 3 == 0
        if by_claim:  # the pipeline's way: read, then claim
            read = cache.peek([user])[0]
            some = type(read)(read.item_id[:2], read.score[:2])
            got = cache.claim([user], [some])[0]
            handed.extend((user, item) for item in some.item_id[got].tolist())
        else:
            handed.extend((user, item) for item in cache.take(user, 1).item_id.tolist())

    threads = [threading.Thread(target=taker, args=(number,)) for number in range(200)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    counts = Counter(handed)
    assert max(counts.values()) == 1
    assert all(item // 1000 == user for user, item in handed)
    left = [item for user in range(n_users) for item in cache.peek([user])[0].item_id.tolist()]
    assert len(handed) + len(left) == 20 * n_users
    assert not set(left) & {item for _, item in handed}


def test_bad_lists_are_refused_and_nothing_is_stored(kv):
    cache = DegradationCache(kv)
    with pytest.raises(DataError, match="user 7: an item is listed twice"):
        cache.put(7, np.array([1, 1]), scores(2))
    with pytest.raises(DataError, match="user 7: a score is NaN"):
        cache.put(7, np.array([1, 2]), np.array([1.0, np.nan]))
    assert len(cache.peek([7])[0].item_id) == 0
    with pytest.raises(ConfigError, match="take k must be >= 1, got 0"):
        cache.take(7, 0)
    with pytest.raises(ConfigError, match="DegradationCacheConfig.last"):
        DegradationCacheConfig(first=11, last=10)


def test_redis_gone_is_an_error_that_says_so_and_after_reconnecting_it_works():
    kv = KV(namespace="test-degraded-down")
    cache = DegradationCache(kv)
    cache.put(7, np.arange(3), scores(3))
    kv.redis.shutdown(nosave=True)
    for call in (
        lambda: cache.put(7, np.arange(3), scores(3)),
        lambda: cache.take(7, 2),
        lambda: cache.peek([7]),
    ):
        with pytest.raises(StoreDown):
            call()
    kv.reconnect()
    cache.put(7, np.arange(3), scores(3))
    assert cache.take(7, 2).item_id.tolist() == [0, 1]
    kv.close()
