"""Exercise 3.7: which rung of the fallback ladder (兜底).

first rung, best first, that is healthy and for which  p99 cost + p99 of the last rung <= time left
the last rung needs nothing and always answers

Rungs: the fresh cascade, without ranking, a cached answer, the hot pool, the editors' pool. What
the last one costs is kept in reserve: if the chosen rung fails, there is still time for it.
Reference: chapter 2.3.2, backup mechanism; Dean and Barroso 2013 (The tail at scale).

Simplified: costs are known as numbers; industry reads them from the last minutes' histograms.
"""

import numpy as np

from reclab.core.chance import rng
from reclab.core.types import Array
from reclab.learn.exercise import Task
from reclab.learn.probe import Case, Misconception, Probe


def pick_rung(left_ms, cost_ms, healthy):
    """(n,) ms left, (k,) p99 costs and health of the rungs, best first -> (n,) rung of each."""
    enough = cost_ms + cost_ms[-1] <= left_ms[:, None]
    good = healthy & enough
    good[:, -1] = True
    return good.argmax(1)


def _no_reserve(left: Array, cost: Array, healthy: Array) -> Array:
    good = healthy & (cost <= left[:, None])
    good[:, -1] = True
    return np.asarray(good.argmax(1))


def _blind(left: Array, cost: Array, healthy: Array) -> Array:
    good = cost + cost[-1] <= left[:, None]
    good[:, -1] = True
    return np.asarray(good.argmax(1))


def _no_clock(left: Array, cost: Array, healthy: Array) -> Array:
    good = np.tile(healthy, (len(left), 1))
    good[:, -1] = True
    return np.asarray(good.argmax(1))


def _cheapest(left: Array, cost: Array, healthy: Array) -> Array:
    good = healthy & (cost + cost[-1] <= left[:, None])
    return np.asarray(np.where(good, cost, np.where(np.arange(len(cost)) == len(cost) - 1,
                                                    1e9, np.inf)).argmin(1))  # fmt: skip


def _dearest(left: Array, cost: Array, healthy: Array) -> Array:
    good = healthy & (cost + cost[-1] <= left[:, None])
    good[:, -1] = True
    return np.asarray(np.where(good, np.nan_to_num(cost, nan=-1.0), -2.0).argmax(1))


def _first_of_none(left: Array, cost: Array, healthy: Array) -> Array:
    return np.asarray((healthy & (cost + cost[-1] <= left[:, None])).argmax(1))


def _fails(left: Array, cost: Array, healthy: Array) -> Array:
    good = healthy & (cost + cost[-1] <= left[:, None])
    return np.asarray(np.where(good.any(1), good.argmax(1), -1))


def _strictly(left: Array, cost: Array, healthy: Array) -> Array:
    good = healthy & (cost + cost[-1] < left[:, None])
    good[:, -1] = True
    return np.asarray(good.argmax(1))


def _unknown_is_free(left: Array, cost: Array, healthy: Array) -> Array:
    return pick_rung(left, np.nan_to_num(cost, nan=0.0), healthy)


def _all_costs(left: Array, cost: Array, healthy: Array) -> Array:
    good = healthy & (cost[::-1].cumsum()[::-1] <= left[:, None])
    good[:, -1] = True
    return np.asarray(good.argmax(1))


MISCONCEPTIONS = (
    Misconception(
        "nothing in reserve",
        _no_reserve,
        "If the rung fails when the time is used up, there is no page at all. Its cost and that of "
        "the last rung must both fit: cost_ms + cost_ms[-1] <= left_ms.",
    ),
    Misconception(
        "health is not asked for",
        _blind,
        "A rung that is down costs its whole time and gives nothing. Leave out those that are not "
        "healthy.",
    ),
    Misconception(
        "time is not asked for",
        _no_clock,
        "A healthy rung that takes longer than what is left answers after the user has gone.",
    ),
    Misconception(
        "the cheapest that fits",
        _cheapest,
        "Rungs stand best first: take the first that fits, not the cheapest. Time that is left "
        "over buys nothing.",
    ),
    Misconception(
        "the dearest that fits",
        _dearest,
        "The order is the quality, not the cost: a cached answer may cost more than the hot pool "
        "and be worse, or the other way round. Take the first.",
    ),
    Misconception(
        "the first rung when none fits",
        _first_of_none,
        "argmax of a row of False is 0, the dearest rung, in the very moment in which there is no "
        "time. The last rung always answers.",
    ),
    Misconception(
        "no answer when none fits",
        _fails,
        "There is always an answer: the last rung needs nothing and is taken whatever its health "
        "says.",
    ),
    Misconception(
        "exactly enough is too little",
        _strictly,
        "What fits exactly fits: <=.",
    ),
    Misconception(
        "not measured means free",
        _unknown_is_free,
        "NaN is a cost that nobody has measured: do not stake a page on it. Comparisons with NaN "
        "are False, which is what is wanted here.",
    ),
    Misconception(
        "time for all rungs below",
        _all_costs,
        "One reserve is enough: whatever fails, the last rung follows at once. Keeping time for "
        "every rung between gives the best one away too early.",
    ),
)

_COST = np.array([80.0, 40.0, 8.0, 3.0, 1.0])
_ALL = np.ones(5, bool)


def _random(n: int) -> tuple[Array, Array, Array]:
    chance = rng(3, "exercise-3.7", n)
    return chance.integers(0, 120, n).astype(float), _COST, chance.random(5) < 0.7


CASES = (
    Case("all is well", (np.array([150.0, 90.0]), _COST, _ALL)),
    Case("less and less time", (np.array([81.0, 80.0, 41.0, 9.0, 4.5, 3.9, 0.5]), _COST, _ALL)),
    Case("ranking is down", (np.array([150.0, 30.0]), _COST, np.array([0, 1, 1, 1, 1], bool))),
    Case("all but the pools are down", (np.array([150.0]), _COST, np.array([0, 0, 0, 1, 1], bool))),
    Case("nothing is healthy", (np.array([150.0, 2.0]), _COST, np.zeros(5, bool))),
    Case("no time at all", (np.array([0.0, -5.0]), _COST, _ALL)),
    Case(
        "a rung that nobody has measured",
        (np.array([150.0, 20.0]), np.array([np.nan, 40.0, np.nan, 3.0, 1.0]), _ALL),
    ),
    Case(
        "a better rung that costs less",
        (np.array([150.0, 12.0]), np.array([80.0, 5.0, 10.0, 3.0, 1.0]), _ALL),
    ),
    Case("nobody asks", (np.zeros(0), _COST, _ALL)),
    Case("20,000 requests", _random(20_000)),
)

TASK = Task(
    id="3.7",
    title="Which rung of the ladder",
    asked="Write pick_rung(left_ms, cost_ms, healthy): left_ms (n,) until each request's deadline; "
    "cost_ms (k,) the 99th percentile of each rung's time, NaN where it was not measured; healthy "
    "(k,) bool. Rungs stand best first. Return (n,), the rung of each request: the first that is "
    "healthy and whose cost together with that of the last rung fits into the time left. The last "
    "rung is taken when no other can be, whatever its health and cost.",
    starter="def pick_rung(left_ms, cost_ms, healthy):\n"
    '    """(n,) ms left, (k,) costs and health, best first -> (n,) rung."""\n    ...',
    judge=Probe(
        pick_rung,
        CASES,
        MISCONCEPTIONS,
        praise="Every request gets an answer, and the best that its time allows.",
    ),
    hints=(
        "For each pair of request and rung: could it be taken? That is an (n, k) array of bool.",
        "left_ms[:, None] against cost_ms gives (n, k). Two conditions, joined by &; then the last "
        "column is True for all.",
        "good.argmax(1) is the first True of each row.",
    ),
    solution=pick_rung,
    why="A deadline is kept by deciding before the time is spent: who first tries and then looks "
    "at the clock has nothing left to fall back on. The reserve is small, because the last rung is "
    "a list in memory, and it turns every failure above it into a poorer page instead of none.",
    when_slow="One (n, k) comparison does it; no loop over requests.",
    limit_s=10.0,
)
