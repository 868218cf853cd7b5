"""Requests with features of any numbers, for tests that need no recommender."""

import numpy as np

from reclab.cascade.ranking.features import Features
from reclab.core.chance import rng
from reclab.core.types import Array
from reclab.offline_online.features.feature_log import Served, served

WIDTHS = (3, 5, 4, 2)  # user, request, history, pair


def some_features(
    n_cards: Array, seed: int = 0, widths: tuple[int, int, int, int] = WIDTHS
) -> Features:
    """Of B requests with so many cards each; numbers of all kinds, NaN among them."""
    chance, n, b = rng(seed, "features"), int(n_cards.sum()), len(n_cards)
    fu, r, h, p = widths
    numbers = [chance.standard_normal((rows, width)).astype(np.float32)
               for rows, width in ((b, r), (n, p))]  # fmt: skip
    numbers[0][:, 0], numbers[1][:, 1] = np.nan, -0.0
    user, history = chance.integers(0, 9, (b, fu)), chance.integers(-1, 99, (b, h))
    owner = np.repeat(np.arange(b), n_cards)
    return Features(user, numbers[0], history, owner, chance.integers(0, 99, n), numbers[1])


def pages(n: int, seed: int = 0, cards: int = 10) -> list[Served]:
    """n requests of up to so many cards, in order of time."""
    chance = rng(seed, "pages")
    n_cards = chance.integers(1, cards + 1, n)
    m, time_ms = int(n_cards.sum()), np.sort(chance.integers(0, 10_000 * n, n))
    ids = np.arange(n) + 10**12, chance.integers(0, 500, n), chance.integers(0, n, n), time_ms
    position = np.concatenate([np.arange(k) for k in n_cards])
    shown = chance.permutation(10 * m)[:m] + (1 << 40), position
    network = chance.integers(0, 2, n)
    return served(some_features(n_cards, seed), *ids, network, *shown, versions=(7, 8))


def bits(features: Features) -> list[tuple[str, tuple[int, ...], bytes]]:
    """All that features hold, to be compared bit for bit."""
    names = ("user", "request", "history", "request_row", "item_row", "pair")
    arrays = (getattr(features, name) for name in names)
    return [(a.dtype.str, a.shape, a.tobytes()) for a in arrays]
