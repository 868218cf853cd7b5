"""The keyed ring against a dictionary."""

import numpy as np
import pytest

from reclab.offline_online.join.keyed_ring import KeyedRing


@pytest.mark.parametrize("seed", range(4))
def test_a_ring_finds_what_a_dictionary_finds(seed: int):
    chance = np.random.default_rng(seed)
    ring, held = KeyedRing({"x": "i8"}, capacity=16), {}
    for step in range(120):
        n = int(chance.integers(1, 200))
        a, b = chance.integers(-300, 300, n), chance.integers(0, 4, n)
        pairs = list(zip(a.tolist(), b.tolist(), strict=True))
        assert (ring.find(a, b) >= 0).tolist() == [pair in held for pair in pairs]
        at, fresh = ring.add(a, b)
        ring["x"][at[fresh]] = np.arange(n)[fresh]
        for i, pair in enumerate(pairs):
            assert fresh[i] == (pair not in held)
            held.setdefault(pair, i)
            assert ring["x"][at[i]] == held[pair]
        n_gone = int(chance.integers(0, len(ring) + 1))
        gone = ring.positions()[:n_gone]
        gone = gone[ring.alive(gone)]
        for pair in zip(ring["a"][gone].tolist(), ring["b"][gone].tolist(), strict=True):
            del held[pair]
        ring.drop(n_gone)
        if step % 20 == 7:
            state, ring = ring.state(), KeyedRing({"x": "i8"})
            ring.restore(state)


def test_keys_that_share_both_slots_are_still_told_apart(monkeypatch: pytest.MonkeyPatch):
    # every key hashes alike: all but two spill into the dictionary
    monkeypatch.setattr(
        "reclab.offline_online.join.keyed_ring._mixed", lambda a, b: np.full(len(a), 5, np.uint64)
    )
    ring, keys = KeyedRing({}), np.arange(40)
    at, fresh = ring.add(np.tile(keys, 2), np.zeros(80, np.int64))
    assert fresh.tolist() == [True] * 40 + [False] * 40
    assert np.array_equal(ring["a"][at[:40]], keys) and np.array_equal(at[:40], at[40:])
    ring.drop(25)
    assert (ring.find(keys, keys * 0) >= 0).tolist() == [False] * 25 + [True] * 15
    again = KeyedRing({})
    again.restore(ring.state())
    assert (again.find(keys, keys * 0) >= 0).tolist() == [False] * 25 + [True] * 15


def test_many_spilled_keys_come_and_go(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(
        "reclab.offline_online.join.keyed_ring._mixed", lambda a, b: np.full(len(a), 5, np.uint64)
    )
    ring = KeyedRing({})
    for start in range(0, 900, 300):
        keys = np.arange(start, start + 300)
        ring.add(keys, keys)
        assert (ring.find(keys, keys) >= 0).all()
        ring.drop(300)
        assert (ring.find(keys, keys) < 0).all() and len(ring) == 0


def test_leading_counts_rows_up_to_the_first_that_differs():
    ring = KeyedRing({"x": "i8"}, capacity=4096)
    for n in (3000, 3000):
        ring.drop(len(ring))
        at, _ = ring.add(np.arange(n), np.zeros(n, np.int64))
        ring["x"][at] = np.minimum(np.arange(n), 2500)
        assert ring.leading("x", ring.tail, ring.head, 1200, below=True) == 1200
        assert ring.leading("x", ring.tail + 2500, ring.head, 2500) == 500
        assert sum(map(len, ring.parts("x", ring.tail))) == n
        assert np.array_equal(np.concatenate(ring.parts("x", ring.tail)), ring["x"][at])
