"""Creators: what they make, how much, and how they answer to being seen.

Productivity ~ Pareto(1.3), audience ~ Pareto(1.1) · e^(q/2), two topics, a style, a quality q.
Posts of a day ~ Poisson(rate · m), m = (exposure share / fair share)^0.35 in 0.3 … 2.5; a creator
whose m stays at the floor for long leaves.

Reference: Mladenov et al. 2020 (ICML) on providers that leave when starved of exposure.
Simplified: money, contracts and agencies do not matter to these creators, only exposure.
"""

from dataclasses import dataclass

import numpy as np

from reclab.core.chance import rng
from reclab.core.errors import check_float, check_int
from reclab.core.types import Array
from reclab.world.users import N_STYLE, N_TOPICS, topic_popularity, unit

FIRST_AUTHOR_ID = 500_000


@dataclass(frozen=True)
class CreatorsConfig:
    """Constants of those who post."""

    productivity_tail: float = 1.3  # Pareto exponent: a fifth of the creators post four fifths
    audience_tail: float = 1.1  # Pareto exponent of the followers at the start
    answer: float = 0.35  # elasticity of posting to exposure: doubled exposure, +27 % posts
    answer_low: float = 0.3  # posts of the starved, as a share of their habit
    answer_high: float = 2.5  # ceiling: a day has 24 hours
    memory: float = 0.8  # decay per day of the exposure a creator remembers: about a week
    patience: float = 0.02  # probability per day that a starved creator leaves
    topic_slope: float = 0.7  # creators post where the audience is

    def __post_init__(self) -> None:
        check_float("CreatorsConfig.answer", self.answer, 0.0, 2.0, "0.35")
        check_float("CreatorsConfig.memory", self.memory, 0.0, 1.0, "0.8")
        check_float("CreatorsConfig.patience", self.patience, 0.0, 1.0, "0.02")


@dataclass
class Creators:
    """n creators as columns; ``exposure`` (n,) is the remembered exposure, ``gone`` (n,) who
    left."""

    config: CreatorsConfig
    author_id: Array
    device_id: Array
    productivity: Array
    audience: Array
    topics: Array
    style: Array
    quality: Array
    exposure: Array
    gone: Array

    def __len__(self) -> int:
        return len(self.author_id)

    def see_exposure(self, shown: Array) -> None:
        """Remember a day: ``shown`` (n,) impressions of each creator's items."""
        self.exposure *= self.config.memory
        self.exposure += shown

    def answer(self, n_items: Array) -> Array:
        """(n,) multiplier of posting: share of exposure against the share of the catalogue."""
        if not self.exposure.sum():
            return np.ones(len(self))
        fair = n_items / n_items.sum()
        ratio = self.exposure / self.exposure.sum() / np.maximum(fair, 1e-12)
        low, high = self.config.answer_low, self.config.answer_high
        return np.where(n_items > 0, np.clip(ratio**self.config.answer, low, high), 1.0)

    def posts(self, per_day: float, n_items: Array, chance: np.random.Generator) -> Array:
        """Creator row of every item posted today; ``per_day`` is the platform's habit."""
        answer = self.answer(n_items)
        starved = answer <= self.config.answer_low
        self.gone |= starved & (chance.random(len(self)) < self.config.patience)
        rate = per_day * self.productivity / self.productivity.sum() * answer
        return np.repeat(np.arange(len(self)), chance.poisson(np.where(self.gone, 0.0, rate)))


def make_creators(config: CreatorsConfig, n: int, seed: int) -> Creators:
    """Draw ``n`` creators."""
    check_int("n_creators", n, 2, 10_000_000, "2000")
    chance = rng(seed, "creators")
    quality = chance.standard_normal(n)
    popularity = topic_popularity(config.topic_slope)
    return Creators(
        config=config,
        author_id=FIRST_AUTHOR_ID + np.arange(n, dtype=np.int64),
        device_id=chance.integers(1, 2**32, n),
        productivity=np.minimum(1.0 + chance.pareto(config.productivity_tail, n), 100.0),
        audience=np.minimum(1.0 + chance.pareto(config.audience_tail, n), 1e4)
        * np.exp(quality / 2),
        topics=chance.choice(N_TOPICS, (n, 2), p=popularity),
        style=unit(chance.standard_normal((n, N_STYLE))),
        quality=quality,
        exposure=np.zeros(n),
        gone=np.zeros(n, bool),
    )


def choose_follows(
    creators: Creators, theta: Array, style: Array, width: int, seed: int
) -> tuple[Array, Array]:
    """Whom each user follows before the log starts: of 40 creators met in proportion to their
    audience, the best by taste. Returns creators (n, width) and since when (n, width), -1 = none.
    """
    chance = rng(seed, "follows")
    n = len(theta)
    weight = np.cumsum(creators.audience) / creators.audience.sum()
    met = np.searchsorted(weight, chance.random((n, 40))).clip(0, len(creators) - 1)
    liking = 4.0 * np.sqrt(np.take_along_axis(theta, creators.topics[met, 0], 1))
    liking += 2.0 * np.einsum("nmd,nd->nm", creators.style[met], style)
    liking += chance.gumbel(size=liking.shape)
    best = np.argsort(-liking, axis=1, kind="stable")[:, :width]
    chosen = np.take_along_axis(met, best, 1)
    n_follows = chance.integers(0, width // 2 + 1, n)
    kept = np.arange(width) < n_follows[:, None]
    kept[:, 1:] &= ~(chosen[:, 1:, None] == chosen[:, None, :-1]).__and__(
        np.tri(width - 1, width - 1, dtype=bool)
    ).any(2)
    return np.where(kept, chosen, -1).astype(np.int32), np.where(kept, -1, 10**6).astype(np.int32)
