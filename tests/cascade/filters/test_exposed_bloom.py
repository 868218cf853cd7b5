"""The Bloom filter beside the exact set: nothing forgotten, as many wrong drops as promised."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reclab.cascade.filters.exposed import seen_before
from reclab.cascade.filters.exposed_bloom import (
    FILE,
    BloomConfig,
    SeenBloom,
    SeenBloomFilter,
    false_positive_rates,
)
from reclab.core.chance import rng
from reclab.core.errors import ConfigError, DataError
from tests.cascade.filters.contract import (
    INDEX,
    FilterContract,
    batch_with,
    candidates_of,
    kept_of,
)


class TestSeenBloomIsAFilter(FilterContract):
    def make(self):
        seen = SeenBloom(BloomConfig(n=100, p=1e-4))
        seen.add(np.array([11, 11, 99]), np.array([103, 104, 105]))
        return SeenBloomFilter(seen, INDEX)


PAIRS = st.lists(st.tuples(st.integers(-(2**62), 2**62), st.integers(0, 2**62)), max_size=60)


@settings(deadline=None)
@given(PAIRS, st.integers(1, 100), st.floats(1e-6, 0.5))
def test_what_was_added_is_always_found(pairs, n, p):
    """Even when far more is added than was planned for."""
    user, item = np.array(pairs, np.int64).reshape(-1, 2).T
    seen = SeenBloom(BloomConfig(n, p))
    seen.add(user, item)
    assert seen.contains(user, item).all()
    assert seen.n_added <= len(set(pairs))


@pytest.mark.parametrize("p", [0.1, 0.01, 0.001])
@pytest.mark.parametrize("load", [0.5, 1.0, 2.0], ids=["half full", "full", "overfull"])
def test_false_positives_are_as_many_as_the_formula_says(p, load):
    chance, n = rng(1, "bloom"), 20_000
    pairs = chance.permutation(1000 * 2000)[: int(n * load) + 300_000]  # consecutive small ids
    user, item = pairs // 2000, pairs % 2000
    exact = np.arange(len(pairs)) < n * load
    seen = SeenBloom(BloomConfig(n, p))
    seen.add(user[exact], item[exact])
    measured, formula = false_positive_rates(seen, user, item, exact)
    spread = (formula / 300_000) ** 0.5
    assert abs(measured - formula) < 0.1 * formula + 5 * spread
    if load == 1.0:
        assert formula == pytest.approx(p, rel=0.05), "sized for this"


def test_user_and_item_do_not_change_places():
    seen = SeenBloom(BloomConfig(n=1000, p=1e-6))
    seen.add(np.arange(100), np.arange(100) + 1000)
    assert not seen.contains(np.arange(100) + 1000, np.arange(100)).any()


def test_a_pair_added_twice_counts_once():
    seen = SeenBloom(BloomConfig(n=1000, p=1e-6))
    for _ in range(2):
        seen.add(7, np.array([1, 2, 2, 3]))
    assert seen.n_added == 3


def test_drops_what_the_exact_filter_drops_and_nothing_else_when_there_is_room():
    chance = rng(2, "bloom")
    shown = [chance.integers(0, 8, 3).tolist() for _ in range(20)]
    ids = list(range(500, 520))
    batch, given_ = batch_with(shown, user_id=ids), candidates_of([list(range(8))] * 20)
    seen = SeenBloom(BloomConfig(n=1000, p=1e-6))
    for user, rows in zip(ids, shown, strict=True):
        seen.add(user, INDEX.ids[rows])
    owner = np.repeat(np.arange(20), 3)
    exact = seen_before(given_, owner, batch.seen_rows)
    result = SeenBloomFilter(seen, INDEX)(batch, given_)
    assert kept_of(result) == [[i for i in range(8) if i not in rows] for rows in shown]
    assert len(result.dropped) == exact.sum()


def test_comes_back_from_its_file_bit_for_bit(tmp_path):
    seen = SeenBloom(BloomConfig(n=300, p=0.05))
    seen.add(np.arange(200), np.arange(200) * 3)
    seen.save(tmp_path)
    again = SeenBloom.load(tmp_path)
    users, items = np.repeat(np.arange(50), 50), np.tile(np.arange(50), 50)
    assert again.contains(users, items).tolist() == seen.contains(users, items).tolist()
    assert again.config == seen.config and again.expected_rate() == seen.expected_rate() > 0


def test_a_missing_or_damaged_file_is_named(tmp_path):
    with pytest.raises(DataError, match="cannot load the Bloom filter"):
        SeenBloom.load(tmp_path)
    (tmp_path / FILE).write_bytes(b"PK\x03\x04 not an archive")
    with pytest.raises(DataError, match="cannot load the Bloom filter"):
        SeenBloom.load(tmp_path)


def test_sizes_follow_the_formula_and_settings_are_checked():
    config = BloomConfig(n=1_000_000, p=0.01)
    assert config.n_bits == 9_585_059 and config.n_hashes == 7  # 9.6 bits a pair
    with pytest.raises(ConfigError, match="BloomConfig.p must be in"):
        BloomConfig(p=0.0)
    with pytest.raises(ConfigError, match="BloomConfig.n must be >= 1, got 0"):
        BloomConfig(n=0)
