"""Exercise 5.5: quota protection (保量) with pacing: exposures promised, given over the day.

p_i = (target_i - given_i) / requests still expected today,  within 0 … most

The chance that the next request shows item i. What is still expected follows the traffic, not the
clock: at 18:00 a quarter of the hours is left, and two fifths of the requests.
Reference: Agarwal et al. 2014 (budget pacing by throttling).

Simplified: every request may show every item; ours also asks that the item is in D_u.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from reclab.core.chance import rng
from reclab.core.types import Array
from reclab.learn.exercise import Task
from reclab.learn.probe import Case, Misconception, Probe
from reclab.world.traffic import TrafficConfig, start_share

Pacer = Callable[[Array, Array, Array, float, float], Array]


def pace(target, given, traffic, hour, most):
    """(n,) promised, (n,) given, (24,) requests by hour, time 0 … 24, cap -> (n,) probabilities."""
    whole = int(hour)
    left = traffic[whole + 1 :].sum()
    if whole < 24:
        left = left + traffic[whole] * (1 - (hour - whole))  # the rest of this hour
    missing = np.maximum(target - given, 0)
    wanted = missing / left if left > 0 else np.where(missing > 0, np.inf, 0.0)
    return np.clip(wanted, 0.0, most)


# ---- a day with it -------------------------------------------------------------------------


@dataclass(frozen=True)
class PacedDay:
    """``given`` (24, n) exposures of each item by hour, ``traffic`` (24,) requests that came."""

    given: Array
    traffic: Array

    @property
    def unlike(self) -> float:
        """Largest distance between the shares given and the traffic's, cumulated: 0 = in step."""
        mine = self.given.sum(1).cumsum() / max(1, self.given.sum())
        return float(np.abs(mine - self.traffic.cumsum() / self.traffic.sum()).max())


def paced_day(
    pacer: Pacer, target: Array, expected: Array, seed: int = 0, most: float = 0.5, surprise: float
    = 1.0, steps: int = 6,
) -> PacedDay:  # fmt: skip
    """A day whose hours bring Poisson(``expected`` times ``surprise``) requests; the pacer is asked
    ``steps`` times an hour."""
    chance, given = rng(seed, "exercise-5.5 day"), np.zeros((24, len(target)), np.int64)
    came = np.zeros(24, np.int64)
    for step in range(24 * steps):
        hour = step // steps
        p = pacer(target, given.sum(0), expected, step / steps, most)
        n = int(chance.poisson(expected[hour] * surprise / steps))
        given[hour] += chance.binomial(n, np.clip(p, 0, 1))
        came[hour] += n
    return PacedDay(given, came)


# ---- wrong ideas ---------------------------------------------------------------------------


def _left(traffic: Array, hour: float) -> float:
    whole = int(hour)
    here = traffic[whole] * (1 - (hour - whole)) if whole < 24 else 0.0
    return float(traffic[whole + 1 :].sum() + here)


def _by_clock(target: Array, given: Array, traffic: Array, hour: float, most: float) -> Array:
    left = traffic.sum() * (1 - hour / 24)
    missing = np.maximum(target - given, 0)
    wanted = missing / left if left > 0 else np.where(missing > 0, np.inf, 0.0)
    return np.asarray(np.clip(wanted, 0, most))


def _open_loop(target: Array, given: Array, traffic: Array, hour: float, most: float) -> Array:
    total = traffic.sum()
    wanted = target / total if total > 0 else np.where(target > 0, np.inf, 0.0)
    return np.asarray(np.clip(wanted, 0, most))


def _greedy(target: Array, given: Array, traffic: Array, hour: float, most: float) -> Array:
    return np.where(given < target, most, 0.0)


def _given_ignored(target: Array, given: Array, traffic: Array, hour: float, most: float) -> Array:
    return np.asarray(pace(target, np.zeros_like(given), traffic, hour, most))


def _negative(target: Array, given: Array, traffic: Array, hour: float, most: float) -> Array:
    left, missing = _left(traffic, hour), target - given
    wanted = missing / left if left > 0 else np.where(missing > 0, np.inf, 0.0)
    return np.asarray(np.minimum(wanted, most))


def _no_cap(target: Array, given: Array, traffic: Array, hour: float, most: float) -> Array:
    return np.asarray(pace(target, given, traffic, hour, 1.0))


def _whole_hours(target: Array, given: Array, traffic: Array, hour: float, most: float) -> Array:
    return np.asarray(pace(target, given, traffic, float(int(hour)), most))


def _next_hours(target: Array, given: Array, traffic: Array, hour: float, most: float) -> Array:
    return np.asarray(pace(target, given, traffic, float(int(hour) + 1), most))


def _no_end(target: Array, given: Array, traffic: Array, hour: float, most: float) -> Array:
    left = _left(traffic, hour)
    return np.asarray(np.clip(np.maximum(target - given, 0) / left, 0, most))  # 0 / 0 at the end


def _schedule(target: Array, given: Array, traffic: Array, hour: float, most: float) -> Array:
    due = target * (1 - _left(traffic, hour) / max(traffic.sum(), 1e-9))
    return np.where(given < due, most, 0.0)


MISCONCEPTIONS = (
    Misconception(
        "the clock instead of the traffic",
        _by_clock,
        "The evening brings far more requests than the night. Count what `traffic` still expects "
        "from now on, not the hours that are left.",
    ),
    Misconception(
        "the rate of the morning, all day",
        _open_loop,
        "target / traffic.sum() never looks at what happened: a day with less traffic ends short, "
        "one with more gives too much. Use what is missing and what is left.",
    ),
    Misconception(
        "as fast as possible",
        _greedy,
        "The promise is met by breakfast: shown to those who are up at night, and nothing is left "
        "for the evening. Spread it over the requests to come.",
    ),
    Misconception(
        "what was given is ignored",
        _given_ignored,
        "target - given is still missing, not target.",
    ),
    Misconception(
        "below zero",
        _negative,
        "An item that has more than was promised gets probability 0, not a negative one.",
    ),
    Misconception(
        "the cap is left out",
        _no_cap,
        "At most `most` of the requests may show an item by force, or late in the day every page "
        "belongs to those who are behind.",
    ),
    Misconception(
        "whole hours only",
        _whole_hours,
        "At 20:45 three quarters of the hour are over. Of the running hour only the rest is left: "
        "traffic[20] * 0.25.",
    ),
    Misconception(
        "the running hour is left out",
        _next_hours,
        "The rest of the running hour still brings requests: traffic[int(hour)] * (1 - fraction).",
    ),
    Misconception(
        "nothing left is divided by",
        _no_end,
        "At 24:00, or when no traffic is expected, there is nothing to divide by: `most` for who "
        "is behind, 0 for who is not.",
    ),
    Misconception(
        "on or off",
        _schedule,
        "All or nothing around the schedule sends bursts. A probability of missing / left is "
        "already in step, and it corrects itself.",
    ),
)


def tide(total: float = 10_000.0) -> Array:
    """(24,) requests by hour of a day with ``total``, as on our platform: quiet before dawn, most
    at 21:00."""
    return np.asarray(total * start_share(TrafficConfig()))


_TARGET = np.array([100.0, 100.0, 20.0, 0.0])
_GIVEN = np.array([0.0, 60.0, 30.0, 0.0])
CASES = (
    Case("midnight, nothing given", (_TARGET, np.zeros(4), tide(), 0.0, 0.5)),
    Case("18:00, some ahead, some behind", (_TARGET, _GIVEN, tide(), 18.0, 0.5)),
    Case("in the middle of an hour", (_TARGET, _GIVEN, tide(), 20.75, 0.5)),
    Case("late and far behind: the cap", (_TARGET, _GIVEN, tide(), 23.9, 0.1)),
    Case("the day is over", (_TARGET, _GIVEN, tide(), 24.0, 0.3)),
    Case("no traffic is expected", (_TARGET, _GIVEN, np.zeros(24), 12.0, 0.3)),
    Case("no items", (np.zeros(0), np.zeros(0), tide(), 12.0, 0.5)),
    Case("equal hours", (_TARGET, _GIVEN, np.full(24, 100.0), 6.0, 0.5)),
)

TASK = Task(
    id="5.5",
    title="A quota with pacing",
    asked="Write pace(target, given, traffic, hour, most): target (n,) exposures are promised to "
    "each item today, given (n,) it has; traffic (24,) are the requests expected in each hour; "
    "hour is the time from 0 to 24, 20.75 for 20:45. Return for each item the probability (n,) "
    "with which the next request should show it: what is missing over the requests still "
    "expected, the rest of the running hour included, at least 0 and at most `most`. When none "
    "are expected any more: `most` for who is behind, else 0.",
    starter="def pace(target, given, traffic, hour, most):\n"
    '    """(n,) promised, (n,) given, (24,) traffic, time, cap -> (n,) probabilities."""\n    ...',
    judge=Probe(
        pace,
        CASES,
        MISCONCEPTIONS,
        praise="paced_day of reclab.learn.lesson_05.pace runs a day with it.",
    ),
    hints=(
        "Two numbers: what is missing, and how many requests will still come. Where in `traffic` "
        "does the future begin at 20.75?",
        "left = traffic[21:].sum() + traffic[20] * 0.25 at 20.75. At 24 there is no traffic[24].",
        "np.clip(np.maximum(target - given, 0) / left, 0, most) while left > 0; otherwise "
        "np.where(target > given, most, 0).",
    ),
    solution=pace,
    why="Missing over left is a feedback: what an hour gave too little is spread over all hours to "
    "come, so the promise is met at midnight and not by noon. The cap says what a promise may cost "
    "the users; what it cannot deliver is a promise that should not have been made.",
    limit_s=10.0,
)
