"""Exercise 4.3: one step of the feedback that moves MaxPower, with what the paper's loop lacks.

e = -ln(measured / set point), at most MOST either way
I' = clip(I + e dt, -ln(top / least) / Ki, 0)          the clamp: anti-windup
cap = clip(top exp(Kp e + Ki I'), least, top)

Algorithm 2 of the paper takes the measurement itself for the error. It is never below zero, so the
integral only grows and the cap never comes back.
Reference: Åström and Hägglund 1995 (PID, anti-windup); ``degradation_dcaf/max_power.py`` is ours.

Simplified: industry adds a dead band and filters what it measures.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from reclab.learn.exercise import Task
from reclab.learn.probe import Case, Misconception, Probe, array_difference, read_array

MOST = 1.5  # an error counts as no larger than this


def pid_step(total, measured, set_point, seconds, top, least, kp, ki):
    """Integral so far, measurement -> (new integral <= 0, new cap on a request's cost)."""
    error = -np.log(max(measured / set_point, 1e-9))  # 0 at the set point, below 0 in overload
    error = np.clip(error, -1.5, 1.5)
    total = np.clip(total + error * seconds, -np.log(top / least) / ki, 0.0)
    cap = np.clip(top * np.exp(kp * error + ki * total), least, top)
    return total, cap


def pair_difference(value: Any, expected: Any, *args: Any) -> str:
    """'' when integral and cap agree, else which of them does not."""
    mine = read_array(value)
    if isinstance(mine, str):
        return mine
    if mine.shape != (2,):
        return f"It returns {mine.size} numbers, expected two: (new integral, new cap)."
    for name, a, b in zip(("integral", "cap"), mine, expected, strict=True):
        if array_difference(a, b):
            return f"The {name}: yours {a:.4g}, expected {b:.4g}."
    return ""


Error = Callable[[float, float], float]


def _ours(measured: float, set_point: float) -> float:
    return float(np.clip(-np.log(max(measured / set_point, 1e-9)), -MOST, MOST))


def _step(
    total: float,
    error: float,
    seconds: float,
    limits: tuple[float, float, float, float],
    clamp: tuple[bool, bool] = (True, True),
) -> tuple[float, float]:
    """A step with an error of any kind and an integral clamped below, above, both or not."""
    top, least, kp, ki = limits
    low = -np.log(top / least) / ki if clamp[0] else -np.inf
    total = float(np.clip(total + error * seconds, low, 0.0 if clamp[1] else np.inf))
    return total, float(np.clip(top * np.exp(kp * error + ki * total), least, top))


def without_set_point(
    total: float, measured: float, set_point: float, seconds: float, *limits: float
) -> tuple[float, float]:
    """As the paper prints it: the measurement itself is the error."""
    return _step(total, -measured, seconds, limits)


def _sign(
    total: float, measured: float, set_point: float, seconds: float, *limits: float
) -> tuple[float, float]:
    return _step(total, -_ours(measured, set_point), seconds, limits)


def _difference(
    total: float, measured: float, set_point: float, seconds: float, *limits: float
) -> tuple[float, float]:
    return _step(total, float(np.clip(set_point - measured, -MOST, MOST)), seconds, limits)


def _ratio(
    total: float, measured: float, set_point: float, seconds: float, *limits: float
) -> tuple[float, float]:
    return _step(total, float(np.clip(1 - measured / set_point, -MOST, MOST)), seconds, limits)


def _unbounded_error(
    total: float, measured: float, set_point: float, seconds: float, *limits: float
) -> tuple[float, float]:
    return _step(total, -np.log(max(measured / set_point, 1e-9)), seconds, limits)


def _no_clamp(
    total: float, measured: float, set_point: float, seconds: float, *limits: float
) -> tuple[float, float]:
    return _step(total, _ours(measured, set_point), seconds, limits, (False, False))


def _open_above(
    total: float, measured: float, set_point: float, seconds: float, *limits: float
) -> tuple[float, float]:
    return _step(total, _ours(measured, set_point), seconds, limits, (True, False))


def _open_below(
    total: float, measured: float, set_point: float, seconds: float, *limits: float
) -> tuple[float, float]:
    return _step(total, _ours(measured, set_point), seconds, limits, (False, True))


def _no_seconds(
    total: float, measured: float, set_point: float, seconds: float, *limits: float
) -> tuple[float, float]:
    return _step(total, _ours(measured, set_point), 1.0, limits)


def _old_integral(
    total: float, measured: float, set_point: float, seconds: float, *limits: float
) -> tuple[float, float]:
    top, least, kp, ki = limits
    error = _ours(measured, set_point)
    cap = np.clip(top * np.exp(kp * error + ki * total), least, top)
    return _step(total, error, seconds, limits)[0], float(cap)


def _open_cap(
    total: float, measured: float, set_point: float, seconds: float, *limits: float
) -> tuple[float, float]:
    top, _, kp, ki = limits
    error = _ours(measured, set_point)
    total = _step(total, error, seconds, limits)[0]
    return total, float(top * np.exp(kp * error + ki * total))


def _swapped(
    total: float, measured: float, set_point: float, seconds: float, *limits: float
) -> tuple[float, float]:
    return _step(total, _ours(measured, set_point), seconds, limits)[::-1]


def _integral_alone(
    total: float, measured: float, set_point: float, seconds: float, *limits: float
) -> tuple[float, float]:
    top, least, _, ki = limits
    return _step(total, _ours(measured, set_point), seconds, (top, least, 0.0, ki))


MISCONCEPTIONS = (
    Misconception(
        "no set point",
        without_set_point,
        "This is the paper's loop: the error is the measurement itself, which is never below zero, "
        "so the integral falls in peace as in war and the cap ends at its floor. Compare with the "
        "set point: -ln(measured / set_point).",
    ),
    Misconception(
        "the sign of the error",
        _sign,
        "Overload must lower the cap: with measured above set_point the error is below zero.",
    ),
    Misconception(
        "a difference instead of a ratio",
        _difference,
        "set_point - measured has the measurement's unit: the gains would fit milliseconds or "
        "shares, not both. The logarithm of the ratio has none.",
    ),
    Misconception(
        "1 - ratio instead of its logarithm",
        _ratio,
        "A surge multiplies: eight times the load wants an eighth of the cap, and -ln says the "
        "same distance up as down. 1 - measured / set_point sees twice as much as -1 and half as "
        "much as only +0.5.",
    ),
    Misconception(
        "the error is not bounded",
        _unbounded_error,
        f"One wild measurement would fill the integral at once. Clip the error to ±{MOST}.",
    ),
    Misconception(
        "the integral is not clamped",
        _no_clamp,
        "In a quiet night it grows above 0 and must be run down first when the surge comes; in a "
        "long surge it falls without end and keeps the cap down long after. Clamp it where the cap "
        "reaches its limits: between -ln(top / least) / ki and 0.",
    ),
    Misconception(
        "the integral grows above 0",
        _open_above,
        "While all is well the cap is at its top and the integral has nothing to add. What it "
        "gathers then delays the answer to the next surge: clamp it at 0.",
    ),
    Misconception(
        "the integral falls without end",
        _open_below,
        "At -ln(top / least) / ki the cap is at its floor already. What is gathered beyond that "
        "keeps the cap down after the surge: clamp it there.",
    ),
    Misconception(
        "the time step is not used",
        _no_seconds,
        "The integral adds error * seconds: measuring twice as often must not act twice as fast.",
    ),
    Misconception(
        "the old integral moves the cap",
        _old_integral,
        "Add this step's error first and use the new integral, or the cap is a step behind.",
    ),
    Misconception(
        "the cap is not bounded",
        _open_cap,
        "The cap stays between least and top: below the cheapest action nobody would be served.",
    ),
    Misconception(
        "cap and integral changed places",
        _swapped,
        "Return (new integral, new cap), in that order.",
    ),
    Misconception(
        "the proportional part is missing",
        _integral_alone,
        "Without kp * error the loop only acts on what has gathered, and swings around the set "
        "point. Add both inside the exponential: kp * error + ki * total.",
    ),
)

_LIMITS = (10.0, 1.0, 0.3, 0.5)
CASES = (
    Case("at the set point, nothing gathered", (0.0, 0.75, 0.75, 1.0, *_LIMITS)),
    Case("a fifth too much", (0.0, 0.9, 0.75, 1.0, *_LIMITS)),
    Case("overload for some time", (-1.2, 160.0, 100.0, 1.0, *_LIMITS)),
    Case("half the load while the cap is low", (-3.0, 50.0, 100.0, 1.0, *_LIMITS)),
    Case("a quiet night", (-0.1, 0.3, 0.75, 1.0, *_LIMITS)),
    Case("a long surge: the floor", (-4.5, 300.0, 100.0, 1.0, *_LIMITS)),
    Case("one wild measurement", (-0.5, 5000.0, 100.0, 1.0, *_LIMITS)),
    Case("measured nothing at all", (-2.0, 0.0, 100.0, 1.0, *_LIMITS)),
    Case("half a second", (-1.0, 130.0, 100.0, 0.5, *_LIMITS)),
    Case("other limits and gains", (-2.0, 1.1, 0.8, 2.0, 8.0, 0.5, 0.2, 0.3)),
)

TASK = Task(
    id="4.3",
    title="A set point for MaxPower",
    asked="Write one step of the controller: pid_step(total, measured, set_point, seconds, top, "
    "least, kp, ki) returns (new total, new cap). The error is -ln(measured / set_point), kept "
    f"within ±{MOST}. total is the integral: add error * seconds, and keep it between "
    "-ln(top / least) / ki and 0. The cap is top * exp(kp * error + ki * total) with the new "
    "total, kept between least and top. measured may be 0.",
    starter="def pid_step(total, measured, set_point, seconds, top, least, kp, ki):\n"
    '    """Integral, measurement -> (new integral, new cap)."""\n    ...',
    judge=Probe(
        pid_step,
        CASES,
        MISCONCEPTIONS,
        pair_difference,
        praise="Peace leaves your cap at its top, and a surge of any length is left equally fast.",
    ),
    hints=(
        "Which sign has the error at half the set point, and at twice? Try -np.log of the ratio, "
        "and think of max(…, 1e-9) for a measurement of 0.",
        "Three times np.clip: the error to ±1.5, the integral between -np.log(top / least) / ki "
        "and 0, the cap between least and top.",
        "total = np.clip(total + error * seconds, -np.log(top / least) / ki, 0.0), then cap = "
        "np.clip(top * np.exp(kp * error + ki * total), least, top); return total, cap.",
    ),
    solution=pid_step,
    why="A controller steers towards something; without a set point it only knows that work is "
    "being done. The clamp is the anti-windup: the integral holds no more than what the cap can "
    "show, so that neither a quiet night nor a long surge has to be unwound first.",
    limit_s=10.0,
)
