"""Users: what each likes (hidden), how often and when they come, and the profile that is logged.

theta_u ~ Dirichlet(A_u p_group), p_k ∝ (k + 1)^-0.7, A_u = breadth · exp(0.7 N); a unit style
vector in R^8 that no tag shows; activity z_u ~ N(0, 1); click bias b_u = b0 + b_act z_u + noise.
Every night theta_u <- theta_u · exp(0.04 N), and one user in a hundred finds a new topic.

Reference: Chaney et al. 2018 (RecSys) for simulating users with hidden tastes.
Simplified: tastes move slowly and alike for all; friends and life events are left out.
"""

from dataclasses import dataclass

import numpy as np

from reclab.core.chance import rng
from reclab.core.errors import check_float, check_int
from reclab.core.tables import Table
from reclab.core.types import Array

TOPICS = (
    "food travel comedy games music pets drama beauty knowledge sports news dance fashion film "
    "cars home parenting fitness education tech anime finance photography esports"
).split()
N_TOPICS = len(TOPICS)
N_STYLE = 8
FIRST_ID = 10_000


@dataclass(frozen=True)
class UsersConfig:
    """Constants of the population."""

    popularity_slope: float = 0.7  # exponent of topic popularity: 9 times between first and last
    breadth: float = 3.0  # Dirichlet mass: a typical user has 3-5 live topics
    breadth_spread: float = 0.7  # sigma of ln breadth: from one-topic fans to browsers
    group_tilt: float = 0.8  # logits by which age and gender move topics: a weak profile signal
    click_bias: float = -2.0  # logit: sets the click rate under random exposure (.176)
    click_by_activity: float = -0.68  # logit per sigma of activity: heavy users click less
    click_noise: float = 0.53  # logit: with the rest gives the users' p90 (.72)
    drift: float = 0.04  # sigma of ln theta per day: half of a taste moves in a year
    new_topic: float = 0.01  # probability per user and day
    joined_share: float = 0.1  # of users who sign up while the log runs

    def __post_init__(self) -> None:
        check_float("UsersConfig.breadth", self.breadth, 0.1, 100.0, "3")
        check_float("UsersConfig.drift", self.drift, 0.0, 1.0, "0.04")
        check_float("UsersConfig.new_topic", self.new_topic, 0.0, 1.0, "0.01")
        check_float("UsersConfig.joined_share", self.joined_share, 0.0, 1.0, "0.1")


@dataclass(frozen=True)
class Users:
    """n users as columns. ``profile`` may be logged; all else is hidden from recommenders.

    ``theta`` (n, 24) at the start of the log, ``style`` (n, 8), ``activity`` (n,) sigmas,
    ``click_bias`` and ``ad_tolerance`` (n,), ``price_sensitivity`` and ``purchase`` (n,) logits,
    ``own_hour`` (n,) preferred hour, ``join_day`` (n,), ``declared`` (n, 3) tags told at sign-up.
    """

    profile: Table
    theta: Array
    style: Array
    activity: Array
    click_bias: Array
    ad_tolerance: Array
    price_sensitivity: Array
    purchase: Array
    own_hour: Array
    join_day: Array
    declared: Array

    def __len__(self) -> int:
        return len(self.activity)


def topic_popularity(slope: float) -> Array:
    """(24,) shares of the topics, most popular first."""
    p = (np.arange(N_TOPICS) + 1.0) ** -slope
    return p / p.sum()


def unit(vectors: Array) -> Array:
    """Rows scaled to length one."""
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def make_users(config: UsersConfig, n: int, days: int, hours: Array, seed: int) -> Users:
    """Draw ``n`` users; ``hours`` (24,) share of session starts."""
    check_int("n_users", n, 2, 10_000_000, "5000")
    who, taste, habit = (rng(seed, f"users {what}") for what in ("who", "taste", "habit"))
    joined = np.where(
        who.random(n) < config.joined_share, who.integers(0, days, n), -who.integers(1, 700, n)
    )
    profile = _profile(n, who)
    theta = _tastes(config, profile, taste)
    activity = habit.standard_normal(n)
    noise = habit.standard_normal(n)
    bias = config.click_bias + config.click_by_activity * activity + config.click_noise * noise
    own_hour = habit.choice(24, n, p=hours) + habit.random(n)
    return Users(
        profile=profile,
        theta=theta,
        style=unit(taste.standard_normal((n, N_STYLE))),
        activity=activity,
        click_bias=bias,
        ad_tolerance=habit.beta(2.0, 2.0, n),
        price_sensitivity=0.5 + 0.3 * habit.standard_normal(n),
        purchase=habit.standard_normal(n),
        own_hour=own_hour,
        join_day=joined,
        declared=_declared(theta, taste),
    )


def _profile(n: int, chance: np.random.Generator) -> Table:
    """The fields of table 2.1 that do not move from day to day."""
    age = np.clip(np.round(np.exp(chance.normal(np.log(29.0), 0.35, n))), 12, 80)
    gender = chance.choice(np.array([0, 1, -1]), n, p=[0.47, 0.47, 0.06])
    return Table(
        {
            "user_id": FIRST_ID + np.arange(n, dtype=np.int64),
            "device_id": chance.integers(1, 2**32, n),
            "age": age.astype(np.int16),
            "gender": gender.astype(np.int8),
            "region": chance.integers(0, 30, n).astype(np.int16),
            "phone_model": chance.integers(0, 40, n).astype(np.int16),
            "os": (chance.random(n) < 0.25).astype(np.int8),
        }
    )


def _tastes(config: UsersConfig, profile: Table, chance: np.random.Generator) -> Array:
    """(n, 24) Dirichlet tastes around the topic shares of the user's age and gender group."""
    n = len(profile)
    group = np.digitize(profile["age"], [20, 30, 45]) * 3 + profile["gender"] + 1
    tilt = config.group_tilt * chance.standard_normal((12, N_TOPICS))
    p = topic_popularity(config.popularity_slope) * np.exp(tilt)
    p /= p.sum(1, keepdims=True)
    breadth = config.breadth * np.exp(config.breadth_spread * chance.standard_normal((n, 1)))
    draws = chance.standard_gamma(breadth * p[group]) + 1e-9
    return draws / draws.sum(1, keepdims=True)


def _declared(theta: Array, chance: np.random.Generator) -> Array:
    """(n, 3) tags that a user ticks at sign-up, drawn from the taste; -1 = left empty."""
    noise = chance.gumbel(size=theta.shape)
    ticked = np.argsort(-(np.log(theta) + noise), axis=1, kind="stable")[:, :3]
    n_ticked = chance.integers(0, 4, len(theta))
    return np.where(np.arange(3) < n_ticked[:, None], ticked, -1).astype(np.int16)


def drift(config: UsersConfig, theta: Array, chance: np.random.Generator) -> Array:
    """(n, 24) tastes one night later."""
    moved = theta * np.exp(config.drift * chance.standard_normal(theta.shape))
    finds = np.flatnonzero(chance.random(len(theta)) < config.new_topic)
    topics = chance.choice(N_TOPICS, len(finds), p=topic_popularity(config.popularity_slope))
    moved[finds, topics] += 0.25
    return moved / moved.sum(1, keepdims=True)
