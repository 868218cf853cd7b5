"""Two tiers answer like one, whatever the batches."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reclab.core.chance import rng
from reclab.core.errors import DataError
from reclab.stores.as_of import AsOfSums
from reclab.stores.fork import fork, freeze
from reclab.stores.tiered_sums import TieredSums


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(0, 60), max_size=12), st.integers(1, 40), st.integers(0, 999))
def test_any_batches_read_like_one_timeline(sizes, small, seed):
    chance = rng(seed, "tiers")
    tiers = TieredSums(2, small)
    keys, when = chance.integers(-5, 5, sum(sizes)), chance.integers(0, 50, sum(sizes))
    values = chance.integers(0, 9, (sum(sizes), 2)).astype(float)
    edges = np.cumsum([0, *sizes])
    for a, b in zip(edges[:-1], edges[1:], strict=True):
        tiers.append(keys[a:b], when[a:b], values[a:b])
    plain = AsOfSums(keys, when, values)
    asked, at = chance.integers(-6, 6, 30), chance.integers(0, 60, 30)
    for since in (None, at - 10):
        for mine, other in zip(
            tiers.read(asked, at, since), plain.read(asked, at, since), strict=True
        ):
            assert (mine == other).all()
    assert len(tiers) == len(plain)


def test_small_batches_leave_the_large_tier_alone_until_it_is_time_to_fold():
    tiers = TieredSums(1, small=10)
    many = np.arange(1000)
    tiers.append(many % 7, many, np.ones((1000, 1)))
    assert len(tiers.base) == 1000 and len(tiers.recent) == 0
    freeze(tiers)
    mine = fork(tiers)
    for at in range(62):
        mine.append(np.array([3]), np.array([at]), np.ones((1, 1)))
    assert len(mine.base) == 1000 and len(mine.recent) == 62 and len(tiers) == 1000
    mine.append(np.array([3]), np.array([99]), np.ones((1, 1)))
    assert len(mine.base) == 1063 and len(mine.recent) == 0
    assert tiers.read(np.array([3]), np.array([5000]))[0] == 143


def test_a_bad_batch_changes_nothing():
    tiers = TieredSums(1)
    with pytest.raises(DataError, match="finite"):
        tiers.append(np.array([1]), np.array([1]), np.array([[np.nan]]))
    assert len(tiers) == 0
