"""Hashing: 64-bit numbers that look like chance, the same on every machine.

    z = x + 0x9E3779B97F4A7C15;  z = (z ^ z>>30) * 0xBF58476D1CE4E5B9
    z = (z ^ z>>27) * 0x94D049BB133111EB;  z ^ z>>31            (all modulo 2^64)

Reference: splitmix64; Steele, Lea, Flood, Fast splittable pseudorandom number generators, 2014.
Simplified: not keyed; whoever may choose the ids could make them collide.
"""

import numpy as np

from reclab.core.types import Array

GOLDEN, FIRST, SECOND = (
    np.uint64(x) for x in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
)


def splitmix64(x: Array) -> Array:
    """uint64 of any shape -> uint64 of the same shape, a permutation of all 64-bit numbers.

    >>> hex(splitmix64(np.zeros(1, np.uint64))[0])
    '0xe220a8397b1dcdaf'
    """
    z = x + GOLDEN
    z = (z ^ (z >> np.uint64(30))) * FIRST
    z = (z ^ (z >> np.uint64(27))) * SECOND
    return np.asarray(z ^ (z >> np.uint64(31)))
