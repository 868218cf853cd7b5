"""Behaviour: what a user does with what is shown, as pure functions on arrays.

a = 4.2 Σ_t w_t √θ_ut + 1.8 cos(style) + .4 quality + .5 follows + business
    + Σ_t w_t [1.5 (t = mood) + .35 excitation_t − .18 satiation_t]              (logits)
p_click = σ(a + b_u − .18 same topic earlier − .35 same creator earlier − .012 impressions so far)
watch: skip min(D, LN(1.4 s, .9)); clicked: complete with σ(−1.2 − .3 ln(D/26) + .45 x),
       else min(.95 D, LN(16 s · e^(.3 x), 1.5)), with x = a − 1.2
long view = clicked and watched >= min(D, 18 s), so that
P(long | click) = p_complete + (1 − p_complete) [.95 D >= 18] Φ((ln(16/18) + .3 x) / 1.5)
E[min(X, d)] = e^(m + s²/2) Φ((ln d − m − s²) / s) + d Φ((m − ln d) / s) for ln X ~ N(m, s²)

Reference: Craswell et al. 2008 (WSDM) for examination that ends; Xie et al. 2023 on watch time.
Simplified: one click model for all; people do not learn, tire for weeks, or talk to each other.
"""

from dataclasses import dataclass
from math import log

import numpy as np
from scipy.special import expit, ndtr

from reclab.core.errors import check_float
from reclab.core.types import Array

LONG_VIEW_SEC = 18.0


@dataclass(frozen=True)
class BehaviourConfig:
    """Constants of the user. Without a unit they are logits."""

    topic: float = 4.2  # per unit of weighted √θ: tastes matter most
    style: float = 1.8  # per unit of cosine: what tags do not show and co-clicks do
    quality: float = 0.4  # per sigma
    follows: float = 0.5  # a creator one follows
    business: tuple[float, ...] = (0.0, -0.2, -0.4, -0.5, -0.2, -0.2)  # against short video
    ad_tolerance: float = 1.0  # times (tolerance − .5), on ads only
    mood: float = 1.5  # the session's topic
    excitation: float = 0.35  # per recent click on the topic
    excitation_decay: float = 0.75  # per page
    satiation: float = 0.18  # per unit of recent exposure to the topic
    satiation_step: float = 0.5  # per exposure
    satiation_decay: float = 0.8  # per page
    same_topic: float = 0.18  # per item of the same topic earlier on the page
    same_creator: float = 0.35  # per item of the same creator earlier on the page
    tiredness: float = 0.012  # per impression so far in the session
    typical: float = 1.2  # affinity of a typical click: x = a − typical
    skip_sec: float = 1.4  # median glance at what is not clicked, seconds
    skip_spread: float = 0.9  # sigma of its ln
    complete: float = -1.2  # watching to the end, for 26 s and x = 0
    complete_by_liking: float = 0.45  # per unit of x
    complete_by_length: float = 0.3  # per ln(duration / 26 s)
    part_sec: float = 16.0  # median when not to the end, seconds
    part_by_liking: float = 0.3  # ln seconds per unit of x
    part_spread: float = 1.5  # sigma of its ln
    like: float = -5.3  # given a click, x = 0: 1.8 % of impressions
    comment: float = -7.1
    share: float = -7.5
    forward: float = -8.2
    follow: float = -7.8
    react_by_liking: float = 0.7  # per unit of x
    buy: float = -3.4  # given a click on a product of median price
    tip: float = -4.0  # given a click on a live show
    exit: float = -3.0  # hazard of leaving after an impression
    exit_by_long: float = -0.5  # after a long view
    exit_by_skip: float = 0.1  # after no click
    exit_by_ad: float = 0.8  # after an ad, times (1 − tolerance)
    exit_by_activity: float = -0.25  # per sigma: heavy users stay longer
    exit_on_mobile: float = 0.2  # data costs money
    back: float = 0.4  # coming back the next day
    back_by_activity: float = 0.6  # per sigma
    back_by_satisfaction: float = 5.0  # per unit of long-view rate above the user's habit

    habit: float = -0.75  # long views a user is used to, for the typical click bias
    habit_memory: float = 0.97  # of a habit per active day: about a month

    def __post_init__(self) -> None:
        check_float("BehaviourConfig.topic", self.topic, 0.0, 20.0, "4.2")
        check_float("BehaviourConfig.style", self.style, 0.0, 20.0, "1.8")
        check_float("BehaviourConfig.excitation_decay", self.excitation_decay, 0.0, 1.0, "0.75")
        check_float("BehaviourConfig.satiation_decay", self.satiation_decay, 0.0, 1.0, "0.8")


def topic_wish(
    c: BehaviourConfig, theta: Array, mood: Array, excitation: Array, satiation: Array
) -> Array:
    """(n, 24) logits per unit of tag weight in this session. ``mood`` (n,) topic of the session;
    the others are (n, 24)."""
    wish = c.topic * np.sqrt(theta) + c.excitation * excitation - c.satiation * satiation
    wish[np.arange(len(mood)), mood] += c.mood
    return wish


def typical_wish(c: BehaviourConfig, theta: Array) -> Array:
    """(n, 24) logits per unit of tag weight when nothing is known of the session: the expected
    mood (a mood on topic t comes with probability θ_t), nothing shown yet."""
    return c.topic * np.sqrt(theta) + c.mood * theta


def p_click(affinity: Array, bias: Array, fatigue: Array | float = 0.0) -> Array:
    """Probability that an item is opened; ``fatigue`` >= 0 in logits."""
    return expit(affinity + bias - fatigue)


def page_fatigue(c: BehaviourConfig, topic: Array, creator: Array, shown_before: Array) -> Array:
    """(n, K) logits lost to what came earlier on the page and in the session.

    ``topic`` and ``creator`` (n, K); ``shown_before`` (n,) impressions of the session so far.
    """
    n, k = topic.shape
    lost = c.tiredness * (shown_before[:, None] + np.arange(k))
    for j in range(1, k):
        lost[:, j] += c.same_topic * (topic[:, :j] == topic[:, j : j + 1]).sum(1)
        lost[:, j] += c.same_creator * (creator[:, :j] == creator[:, j : j + 1]).sum(1)
    return lost


def p_complete(c: BehaviourConfig, affinity: Array, duration_sec: Array) -> Array:
    """Probability of watching to the end, given a click."""
    x = affinity - c.typical
    length = np.log(duration_sec / 26.0)
    return expit(c.complete + c.complete_by_liking * x - c.complete_by_length * length)


def p_long_given_click(c: BehaviourConfig, affinity: Array, duration_sec: Array) -> Array:
    """Probability of watching at least min(duration, 18 s), given a click: closed form."""
    done = p_complete(c, affinity, duration_sec)
    x = affinity - c.typical
    z = (log(c.part_sec / LONG_VIEW_SEC) + c.part_by_liking * x) / c.part_spread
    return done + (1.0 - done) * (0.95 * duration_sec >= LONG_VIEW_SEC) * ndtr(z)


def watch_seconds(
    c: BehaviourConfig,
    click: Array,
    affinity: Array,
    duration_sec: Array,
    chance: np.random.Generator,
) -> tuple[Array, Array]:
    """Draw (watched seconds, watched to the end) for impressions of any shape."""
    shape = click.shape
    normal = chance.standard_normal(shape)
    done = click & (chance.random(shape) < p_complete(c, affinity, duration_sec))
    x = affinity - c.typical
    median = np.where(click, np.log(c.part_sec) + c.part_by_liking * x, np.log(c.skip_sec))
    seconds = np.exp(median + np.where(click, c.part_spread, c.skip_spread) * normal)
    limit = np.where(click, 0.95, 1.0) * duration_sec
    return np.where(done, duration_sec, np.minimum(seconds, limit)), done


def expected_watch_seconds(
    c: BehaviourConfig, click: Array, affinity: Array, duration_sec: Array
) -> Array:
    """Mean of ``watch_seconds`` when an item is opened with probability ``click``: closed form."""
    done = p_complete(c, affinity, duration_sec)
    median = log(c.part_sec) + c.part_by_liking * (affinity - c.typical)
    part = _mean_up_to(0.95 * duration_sec, median, c.part_spread)
    skip = _mean_up_to(duration_sec, log(c.skip_sec), c.skip_spread)
    return skip + click * (done * duration_sec + (1.0 - done) * part - skip)


def _mean_up_to(limit: Array, m: Array | float, s: float) -> Array:
    """E[min(X, limit)] for ln X ~ N(m, s²)."""
    z = (np.log(limit) - m) / s
    return np.exp(m + 0.5 * s * s) * ndtr(z - s) + limit * ndtr(-z)


def is_long_view(click: Array, seconds: Array, duration_sec: Array) -> Array:
    """Opened, and watched at least min(duration, 18 s)."""
    return click & (seconds >= np.minimum(duration_sec, LONG_VIEW_SEC))


def p_exit(
    c: BehaviourConfig,
    long_view: Array,
    click: Array,
    ad_dislike: Array,
    activity: Array,
    mobile: Array,
) -> Array:
    """(n, K) hazard of ending the session after each impression. ``ad_dislike`` (n, K) is
    1 − tolerance on ads, else 0; ``activity`` and ``mobile`` are (n, 1)."""
    push = c.exit + c.exit_by_long * long_view + c.exit_by_skip * ~click
    push = push + c.exit_by_ad * ad_dislike + c.exit_by_activity * activity
    return expit(push + c.exit_on_mobile * mobile)


def p_reactions(c: BehaviourConfig, affinity: Array) -> dict[str, Array]:
    """Probability of each reaction, given a click."""
    liking = c.react_by_liking * (affinity - c.typical)
    kinds = ("like", "comment", "share", "forward", "follow")
    return {kind: expit(getattr(c, kind) + liking) for kind in kinds}


def p_pay(
    c: BehaviourConfig,
    affinity: Array,
    price: Array,
    typical_price: float,
    sensitivity: Array,
    purchase: Array,
) -> tuple[Array, Array]:
    """(probability of buying a product, of tipping a live show), given a click."""
    x = affinity - c.typical
    dear = np.log(np.maximum(price, 1e-3) / typical_price)
    buy = expit(c.buy + 0.5 * x + 0.6 * purchase - sensitivity * dear)
    return buy, expit(c.tip + 0.5 * x + 0.6 * purchase)


def first_habit(c: BehaviourConfig, click_bias: Array, typical_bias: float) -> Array:
    """(n,) long views per impression that users are used to before the log starts."""
    return expit(c.habit + 0.8 * (click_bias - typical_bias))


def p_return(c: BehaviourConfig, activity: Array, satisfaction: Array, habit: Array) -> Array:
    """(n,) probability of coming the next day. ``satisfaction`` and ``habit`` are long-view rates
    of the last active day and of the user's own past."""
    gain = c.back_by_satisfaction * (satisfaction - habit)
    return expit(c.back + c.back_by_activity * activity + gain)
