"""Chance: one random stream per purpose, so that order and parallelism do not change results."""

import zlib

import numpy as np


def rng(seed: int, purpose: str, *key: int) -> np.random.Generator:
    """A generator that depends on ``(seed, purpose, key)`` and on nothing else.

    >>> a, b = rng(1, "clicks", 7), rng(1, "clicks", 7)
    >>> bool(a.random() == b.random())
    True
    >>> bool(rng(1, "clicks").random() == rng(1, "watch").random())
    False
    """
    spawn_key = (zlib.crc32(purpose.encode()), *key)
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=spawn_key))
