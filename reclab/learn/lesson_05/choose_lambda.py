"""Exercise 5.3: a boost weight that costs users at most 1 %.

loss(lam) = 1 - value(lam) / base          base: the user side alone, without any creator side
lam*      = of the weights whose loss is surely at most `most`, the one with the largest reach

Surely: the upper end of a one-sided 95 % interval, loss + 1.645 error / base <= most. What is
measured is not the truth, and of many weights one looks cheap by chance.

Simplified: a few weights on a grid, one number for all users; industry also asks who pays.
"""

from typing import Any

import numpy as np

from reclab.core.types import Array
from reclab.learn.exercise import Task
from reclab.learn.probe import Case, Misconception, Probe, shown

SURE = 1.645  # standard errors of a one-sided 95 % bound
OFF = -1.0  # no weight keeps the promise: leave the creator side off


def choose_lambda(lam, value, error, reach, base, most):
    """(k,) weights, users' value, its error, reach; value without -> weight, or -1 = leave off."""
    loss = 1 - value / base
    sure = loss + 1.645 * error / base <= most
    if not sure.any():
        return -1.0
    best = reach[sure].max()
    return lam[sure & (reach == best)].min()  # of equals the gentlest


def lambda_difference(mine: Any, expected: float, lam: Array, *args: Any) -> str:
    """'' for the same weight, else one sentence with what it costs."""
    if mine is None:
        return "It returns nothing (None): is the `return` missing?"
    try:
        weight = float(mine)
    except (TypeError, ValueError):
        return f"It returns {shown(mine)}, expected one weight of `lam`."
    if abs(weight - expected) <= 1e-9:
        return ""
    value, error, reach, base, most = args
    near = np.flatnonzero(np.abs(lam - weight) < 1e-9)
    told = f"yours {weight:g}, expected {expected:g}"
    if not len(near):
        return f"{told}."
    j = near[0]
    loss, wide = 1 - value[j] / base, SURE * error[j] / base
    return (
        f"{told}. At yours the loss is {loss:.2%}, up to {loss + wide:.2%} (allowed {most:.2%}), "
        f"the reach {reach[j]:.3f}."
    )


def _pick(lam: Array, reach: Array, allowed: Array) -> float:
    if not allowed.any():
        return OFF
    return float(lam[allowed & (reach == reach[allowed].max())].min())


def _no_error(
    lam: Array, value: Array, error: Array, reach: Array, base: float, most: float
) -> float:
    return _pick(lam, reach, 1 - value / base <= most)


def _error_the_wrong_way(
    lam: Array, value: Array, error: Array, reach: Array, base: float, most: float
) -> float:
    return _pick(lam, reach, 1 - value / base - SURE * error / base <= most)


def _against_first(
    lam: Array, value: Array, error: Array, reach: Array, base: float, most: float
) -> float:
    first = value[lam.argmin()]
    return _pick(lam, reach, 1 - value / first + SURE * error / first <= most)


def _absolute(
    lam: Array, value: Array, error: Array, reach: Array, base: float, most: float
) -> float:
    return _pick(lam, reach, base - value + SURE * error <= most)


def _largest(
    lam: Array, value: Array, error: Array, reach: Array, base: float, most: float
) -> float:
    sure = 1 - value / base + SURE * error / base <= most
    return float(lam[sure].max()) if sure.any() else OFF


def _first_too_dear(
    lam: Array, value: Array, error: Array, reach: Array, base: float, most: float
) -> float:
    order = np.argsort(lam, kind="stable")
    sure = (1 - value / base + SURE * error / base <= most)[order]
    n = len(sure) if sure.all() else int(np.argmin(sure))
    return _pick(lam[order][:n], reach[order][:n], np.ones(n, bool))


def _least_loss(
    lam: Array, value: Array, error: Array, reach: Array, base: float, most: float
) -> float:
    return float(lam[value.argmax()])


def _most_reach(
    lam: Array, value: Array, error: Array, reach: Array, base: float, most: float
) -> float:
    return float(lam[reach.argmax()])


def _zero_when_none(
    lam: Array, value: Array, error: Array, reach: Array, base: float, most: float
) -> float:
    found = float(choose_lambda(lam, value, error, reach, base, most))
    return 0.0 if found == OFF else found


MISCONCEPTIONS = (
    Misconception(
        "the error is left out",
        _no_error,
        "A loss of 0.9 % ± 0.3 % may well be 1.4 %. The promise is at most 1 %: the upper end, "
        "loss + 1.645 error / base, must keep to it.",
    ),
    Misconception(
        "the error taken off",
        _error_the_wrong_way,
        "loss - 1.645 error / base is the best that can be hoped for. A promise is kept by the "
        "worst that is likely: add it.",
    ),
    Misconception(
        "measured against the smallest weight",
        _against_first,
        "At lambda 0 the creator side already offers candidates, so users may have gained or lost "
        "by then. The loss is against base, the user side alone.",
    ),
    Misconception(
        "a difference instead of a share",
        _absolute,
        "1 % is of the users' value, whatever its unit: 1 - value / base, and error / base.",
    ),
    Misconception(
        "the largest weight that is allowed",
        _largest,
        "More weight is not more reach: past a point the same few items win every page. Take the "
        "largest reach.",
    ),
    Misconception(
        "stopped at the first that is too dear",
        _first_too_dear,
        "Measured loss need not rise step by step: one uncertain point in between says nothing "
        "about the next. Look at all of them.",
    ),
    Misconception(
        "the least loss",
        _least_loss,
        "Users may lose up to `most`: within that, the creators' side decides by its reach.",
    ),
    Misconception(
        "the most reach at any price",
        _most_reach,
        "This forgets the users: only weights whose loss is surely at most `most` are allowed.",
    ),
    Misconception(
        "0 when nothing is allowed",
        _zero_when_none,
        "lambda = 0 still serves D_u's items as candidates, and its own loss is too large here. "
        "Return -1: leave the creator side off.",
    ),
)

_LAM = np.array([0.0, 0.1, 0.2, 0.4, 0.8])
_VALUE = np.array([4.04, 4.02, 3.985, 3.955, 3.80])
_SURE = np.full(5, 0.004)
_REACH = np.array([0.30, 0.36, 0.41, 0.46, 0.52])
_TURNING = np.array([0.30, 0.41, 0.44, 0.39, 0.35])
CASES = (
    Case("five weights, all sure", (_LAM, _VALUE, _SURE, _REACH, 4.0, 0.01)),
    Case("one of them is not sure", (_LAM, _VALUE - 0.008, 4 * _SURE, _REACH, 4.0, 0.01)),
    Case(
        "two hardly differ in loss, not in error",
        (_LAM, np.array([4.0, 3.99, 3.975, 3.97, 3.9]), np.array([4, 4, 40, 4, 4]) / 1000, _REACH,
         4.0, 0.01),
    ),
    Case("reach has a peak", (_LAM, np.full(5, 3.99), _SURE, _TURNING, 4.0, 0.01)),
    Case("two weights reach the same", (_LAM, np.full(5, 3.99), _SURE, np.full(5, 0.4), 4.0, 0.01)),
    Case("nothing is allowed", (_LAM, _VALUE - 0.5, _SURE, _REACH, 4.0, 0.01)),
    Case("in thousandths of the unit", (_LAM, _VALUE / 1000, _SURE / 1000, _REACH, 0.004, 0.01)),
    Case("weights out of order", (_LAM[::-1], _VALUE[::-1], _SURE, _REACH[::-1], 4.0, 0.02)),
    Case("no loss at all is allowed", (_LAM, _VALUE, _SURE, _REACH, 4.0, 0.0)),
)  # fmt: skip

TASK = Task(
    id="5.3",
    title="A lambda that costs users at most 1 %",
    asked="An experiment gives, for each weight lam (k,): value (k,), what a session is worth to a "
    "user, with its standard error (k,), and reach (k,), the share of new items that find an "
    "audience. base is the value with the user side alone. Write choose_lambda(lam, value, error, "
    "reach, base, most): of the weights whose loss 1 - value / base is at most `most` even at the "
    "upper end of its one-sided 95 % interval (+ 1.645 error / base), return the one with the "
    "largest reach; of equals the smallest weight; -1 when there is none.",
    starter="def choose_lambda(lam, value, error, reach, base, most):\n"
    '    """(k,) weights with value, error, reach; value without -> weight, -1 = none."""\n    ...',
    judge=Probe(
        choose_lambda,
        CASES,
        MISCONCEPTIONS,
        lambda_difference,
        praise="Call it with the front that the lesson has measured.",
    ),
    hints=(
        "First a mask of the weights that are allowed. Against what is the loss counted, and which "
        "end of its interval has to keep the promise?",
        "sure = 1 - value / base + 1.645 * error / base <= most. Then the largest reach among "
        "them.",
        "If not sure.any(), return -1. Else lam[sure & (reach == reach[sure].max())].min().",
    ),
    solution=choose_lambda,
    why="A weight is chosen by two numbers that pull apart, one of them a promise: the users' "
    "loss. Whoever reads it without its error promises what half of the time is not kept. More "
    "sessions narrow the interval, and that alone allows a larger weight.",
    limit_s=10.0,
)
