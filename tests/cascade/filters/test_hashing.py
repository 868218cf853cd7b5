"""splitmix64 against its published first outputs, and its spread."""

import numpy as np

from reclab.cascade.filters.hashing import splitmix64


def test_equals_the_reference_sequence_of_seed_1234567():
    """The generator's state grows by the golden ratio; each output mixes one state."""
    state = np.array([1234567 + i * 0x9E3779B97F4A7C15 for i in range(5)], object) % 2**64
    expected = [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]
    assert splitmix64(state.astype(np.uint64)).tolist() == expected


def test_neighbours_fill_all_bits_evenly():
    hashed = splitmix64(np.arange(20_000, dtype=np.uint64))
    assert len(np.unique(hashed)) == 20_000
    bits = (hashed[:, None] >> np.arange(64, dtype=np.uint64)) & np.uint64(1)
    assert abs(bits.mean(0) - 0.5).max() < 0.02
