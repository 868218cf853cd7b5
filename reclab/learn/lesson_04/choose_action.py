"""Exercise 4.2: the policy executor (策略执行器): what each request gets at a price.

j*(i) = argmax_j (Q_ij - lam q_j) where that is above 0, else -1, no computing (equations 2.2, 2.3);
of equally good actions the cheapest, and none dearer than MaxPower.

Simplified: industry's executor also keeps a log of what it would have done at other prices.
"""

from typing import Any

import numpy as np

from reclab.core.chance import rng
from reclab.core.types import Array
from reclab.learn.exercise import Task
from reclab.learn.probe import Case, Misconception, Probe, read_array


def choose_action(gain, cost, lam, most):
    """(n, m) Q, (m,) q, price, cap on the cost -> (n,) action of each request, -1 = none."""
    order = np.argsort(cost, kind="stable")  # cheapest first, so that argmax prefers it
    worth = gain[:, order] - lam * cost[order]
    worth = np.where((worth > 0) & (cost[order] <= most), worth, 0)  # NaN is not > 0
    best = worth.argmax(1)
    return np.where(worth.max(1) > 0, order[best], -1)


def action_difference(value: Any, expected: Array, *args: Any) -> str:
    """'' when the actions agree, else the first request that differs, in words."""
    mine = read_array(value)
    if isinstance(mine, str):
        return mine
    if mine.shape != expected.shape:
        return f"Shape: yours {mine.shape}, expected {expected.shape}, one action a request."
    off = np.flatnonzero(mine != expected)
    if not len(off):
        return ""
    n = f" ({len(off)} of {len(mine)} differ)" if len(mine) > 1 else ""
    return f"Request {off[0]}: yours {mine[off[0]]:g}, expected {expected[off[0]]}{n}."


def _clean(gain: Array) -> Array:
    return np.where(np.isnan(gain), -np.inf, gain)


def _never_none(gain: Array, cost: Array, lam: float, most: float) -> Array:
    worth = np.where(cost <= most, _clean(gain) - lam * cost, -np.inf)
    order = np.argsort(cost, kind="stable")
    return np.asarray(order[worth[:, order].argmax(1)] if worth.size else np.zeros(len(gain)))


def _price_forgotten(gain: Array, cost: Array, lam: float, most: float) -> Array:
    return np.asarray(choose_action(gain, cost, 0.0, most))


def _best_ratio(gain: Array, cost: Array, lam: float, most: float) -> Array:
    ratio = np.where(cost <= most, _clean(gain) / cost, -np.inf)
    best = ratio.argmax(1)
    return np.where(ratio.max(1) > lam, best, -1)


def _nan_wins(gain: Array, cost: Array, lam: float, most: float) -> Array:
    order = np.argsort(cost, kind="stable")
    worth = np.where(cost <= most, gain - lam * cost, -np.inf)[:, order]
    best = worth.argmax(1)
    return np.where(worth[np.arange(len(gain)), best] <= 0, -1, order[best])


def _nan_spoils_the_request(gain: Array, cost: Array, lam: float, most: float) -> Array:
    return np.where(np.isnan(gain).any(1), -1, choose_action(gain, cost, lam, most))


def _first_of_equals(gain: Array, cost: Array, lam: float, most: float) -> Array:
    worth = np.where(cost <= most, _clean(gain) - lam * cost, -np.inf)
    return np.where(worth.max(1) > 0, worth.argmax(1), -1)


def _dearest_of_equals(gain: Array, cost: Array, lam: float, most: float) -> Array:
    order = np.argsort(-cost, kind="stable")
    worth = np.where(cost <= most, _clean(gain) - lam * cost, -np.inf)[:, order]
    return np.where(worth.max(1) > 0, order[worth.argmax(1)], -1)


def _nothing_for_free(gain: Array, cost: Array, lam: float, most: float) -> Array:
    order = np.argsort(cost, kind="stable")
    worth = np.where(cost <= most, _clean(gain) - lam * cost, -np.inf)[:, order]
    return np.where(worth.max(1) >= 0, order[worth.argmax(1)], -1)


def _no_cap(gain: Array, cost: Array, lam: float, most: float) -> Array:
    return np.asarray(choose_action(gain, cost, lam, np.inf))


def _cap_after_choice(gain: Array, cost: Array, lam: float, most: float) -> Array:
    best = _no_cap(gain, cost, lam, most)
    return np.where((best >= 0) & (cost[best] <= most), best, -1)


def _cap_excluded(gain: Array, cost: Array, lam: float, most: float) -> Array:
    return np.asarray(choose_action(gain, cost, lam, np.nextafter(most, -np.inf)))


def _zero_for_none(gain: Array, cost: Array, lam: float, most: float) -> Array:
    return np.maximum(choose_action(gain, cost, lam, most), 0)


MISCONCEPTIONS = (
    Misconception(
        "everybody gets something",
        _never_none,
        "argmax always names an action, also where the best one is worth less than it costs. Where "
        "no gain - lam * cost is above 0 the answer is -1: the degraded path serves the request.",
    ),
    Misconception(
        "the price is not used",
        _price_forgotten,
        "These are the largest gains. At a price, the last step up must earn what it costs: "
        "compare gain - lam * cost.",
    ),
    Misconception(
        "the best ratio",
        _best_ratio,
        "gain / cost is nearly always best for the cheapest action. A ratio says whether to buy at "
        "all; how much to buy is said by the difference gain - lam * cost.",
    ),
    Misconception(
        "NaN wins",
        _nan_wins,
        "argmax takes NaN for the largest number, so an estimator that has gone wrong gets all the "
        "computing. A comparison such as worth > 0 is False for NaN: use it as a mask.",
    ),
    Misconception(
        "one NaN spoils the request",
        _nan_spoils_the_request,
        "Only the action whose gain is not known drops out; the request's other actions can still "
        "be taken.",
    ),
    Misconception(
        "the first of equals",
        _first_of_equals,
        "Of equally good actions the cheapest should win, wherever it stands: costs need not be "
        "sorted. Go through them by np.argsort(cost).",
    ),
    Misconception(
        "the dearest of equals",
        _dearest_of_equals,
        "Of equally good actions take the cheapest: what it spares serves another request.",
    ),
    Misconception(
        "worth 0 is taken",
        _nothing_for_free,
        "At worth 0 the request gains exactly what the computing costs, and the degraded path is "
        "as good. Take an action only above 0.",
    ),
    Misconception(
        "the cap is not used",
        _no_cap,
        "No action dearer than most may be taken, however much it is worth: MaxPower protects the "
        "servers when the price is too low for the traffic.",
    ),
    Misconception(
        "the cap comes too late",
        _cap_after_choice,
        "You choose first and then refuse what is too dear, so the best customers get nothing at "
        "all. Leave the dear actions out before choosing: the next best may still be worth it.",
    ),
    Misconception(
        "an action at the cap is refused", _cap_excluded, "cost <= most is allowed, equal included."
    ),
    Misconception(
        "0 for no action",
        _zero_for_none,
        "0 is the first action, and it costs something. No computing is -1.",
    ),
)


def _random(n: int) -> tuple[Array, Array]:
    chance = rng(4, "exercise-4.2", n)
    cost = np.array([1.0, 2.0, 4.0, 8.0])
    return chance.lognormal(0.5, 1.0, (n, 1)) * cost ** chance.uniform(0.2, 0.9, (n, 1)), cost


_GAIN = np.array([[3.0, 5.0, 6.0], [1.0, 1.5, 1.75], [0.5, 0.75, 1.0]])
_COST = np.array([1.0, 2.0, 4.0])
_LACKING = np.array([[np.nan, 5.0, 6.0], [3.0, 4.0, np.nan], [np.nan, np.nan, np.nan]])
CASES = (
    Case("three requests at the price 0.75", (_GAIN, _COST, 0.75, 10.0)),
    Case("the price is 0", (_GAIN, _COST, 0.0, 10.0)),
    Case("a price at which nobody is served", (_GAIN, _COST, 9.0, 10.0)),
    Case("two actions equally good", (np.array([[2.0, 3.0], [3.0, 4.0]]), _COST[:2], 1.0, 10.0)),
    Case(
        "equally good, and the costs are not sorted",
        (
            np.array([[5.0, 3.0, 2.0], [1.0, 1.0, 2.0], [0.5, 0.5, 0.5]]),
            np.array([4.0, 2.0, 1.0]),
            1.0,
            10.0,
        ),
    ),
    Case("worth exactly its price", (np.array([[1.0, 1.5]]), _COST[:2], 1.0, 10.0)),
    Case("gains that are not known (NaN)", (_LACKING, _COST, 0.75, 10.0)),
    Case("a cap of 2", (_GAIN, _COST, 0.25, 2.0)),
    Case("a cap below every cost", (_GAIN, _COST, 0.25, 0.5)),
    Case("no requests", (np.zeros((0, 3)), _COST, 1.0, 10.0)),
    Case("20,000 requests", (*_random(20_000), 0.6, 4.0)),
)

TASK = Task(
    id="4.2",
    title="The policy executor: an action for each request",
    asked="Write choose_action(gain, cost, lam, most): gain (n, m), cost (m,), the price lam and "
    "the cap most on the cost of an action. Return (n,): for each request the action with the "
    "largest gain - lam * cost, the cheapest of equally good ones, and -1 where none is above 0. "
    "Never an action that costs more than most, nor one whose gain is not known (NaN).",
    starter="def choose_action(gain, cost, lam, most):\n"
    '    """(n, m) gains, (m,) costs, price, cap -> (n,) actions, -1 = none."""\n    ...',
    judge=Probe(
        choose_action,
        CASES,
        MISCONCEPTIONS,
        action_difference,
        praise="The live decision can now take its actions by your function.",
    ),
    hints=(
        "worth = gain - lam * cost is (n, m): NumPy lines the costs up with the columns. What must "
        "happen to an entry that may not be taken before you look for the largest?",
        "np.where((worth > 0) & (cost <= most), worth, 0) leaves 0 where nothing may be taken, and "
        "NaN > 0 is False. Then the row's maximum says whether there is anything to take.",
        "argmax returns the first of equals: bring the columns into the order np.argsort(cost) "
        "first, and translate back with order[best].",
    ),
    solution=choose_action,
    why="The price turns a question about all requests into one about each alone, so the executor "
    "needs no queue, no budget and no other request: a few comparisons, in microseconds. The cap "
    "goes in before the choice, so that whoever may not have the dearest still gets the next.",
    when_slow="No loop over requests is needed: worth is one array (n, m), argmax(1) answers for "
    "all rows at once.",
    limit_s=10.0,
)
