"""stores.exposures: what was shown since the log, in Redis."""

import numpy as np
import pytest

from reclab.core.errors import ConfigError
from reclab.stores.exposures import ExposuresConfig, RecentExposures
from reclab.stores.kv import KV


@pytest.fixture
def kv():
    with KV(namespace="test-exposures") as kv:
        yield kv
        kv.delete(*kv.names())


def test_items_come_back_oldest_first_and_users_do_not_mix(kv):
    exposures = RecentExposures(kv)
    exposures.put(1, np.array([5, 6]))
    exposures.put(1, np.array([7]))
    exposures.put(2, np.array([], np.int64))
    assert [ids.tolist() for ids in exposures.get([1, 2, 3])] == [[5, 6, 7], [], []]


def test_only_the_newest_are_kept(kv):
    exposures = RecentExposures(kv, ExposuresConfig(length=3))
    for item in range(20):
        exposures.put(1, np.array([item]))
        assert exposures.get([1])[0].tolist() == list(range(max(0, item - 2), item + 1))
    assert kv.redis.strlen(kv.key("exposed:1")) <= 8 * 6


def test_lists_are_forgotten_in_time(kv):
    RecentExposures(kv, ExposuresConfig(ttl_s=100)).put(1, np.array([5]))
    assert 0 < kv.ttl_s("exposed:1") <= 100


def test_a_length_of_nothing_is_refused():
    with pytest.raises(ConfigError, match="ExposuresConfig.length"):
        ExposuresConfig(length=0)
