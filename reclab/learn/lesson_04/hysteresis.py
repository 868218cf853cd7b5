"""Exercise 4.6: the threshold rule that does not flap (规则阈值).

on   when load > on_line
off  when load < off_line, and at least `hold` measurements since it went on

With one line and no hold, a load near the line switches the whole platform every second, and each
switch changes the load. Two lines leave a gap in which nothing happens; the hold lets a switch act
before it is judged.

Simplified: industry's rule watches CPU, GPU, QPS and latency at once, each with its own two lines.
"""

import numpy as np

from reclab.core.chance import rng
from reclab.core.types import Array
from reclab.learn.exercise import Task
from reclab.learn.probe import Case, Misconception, Probe


def hysteresis(load, on_line, off_line, hold):
    """(n,) loads in time order -> (n,) bool, True while degraded; not degraded before."""
    flag, since = False, 0
    degraded = np.zeros(len(load), bool)
    for t in range(len(load)):
        if not flag and load[t] > on_line:
            flag, since = True, t
        elif flag and load[t] < off_line and t - since >= hold:
            flag = False
        degraded[t] = flag
    return degraded


def _rule(load: Array, on_line: float, off_line: float, hold: int, how: str = "") -> Array:
    """The rule with one thing done otherwise."""
    flag, since, degraded = False, -hold, np.zeros(len(load), bool)
    for t, now in enumerate(load):
        if how == "restarts" and now > on_line:
            since = t
        if not flag and (now > on_line or (how == "equal" and now == on_line)):
            if how != "both" or t - since >= hold:
                flag, since = True, t
        elif flag and t - since >= hold + (how == "late") - (how == "early"):
            over = not now >= off_line if how == "nan" else now < off_line
            if over or (how == "equal" and now == off_line):
                flag = False
                if how == "both":
                    since = t
        degraded[t] = flag
    return degraded


def _one_line(load: Array, on_line: float, off_line: float, hold: int) -> Array:
    return np.asarray(load > on_line)


def _off_line_alone(load: Array, on_line: float, off_line: float, hold: int) -> Array:
    return np.asarray(load > off_line)


def _off_at_the_on_line(load: Array, on_line: float, off_line: float, hold: int) -> Array:
    return _rule(load, on_line, on_line, hold)


def _no_hold(load: Array, on_line: float, off_line: float, hold: int) -> Array:
    return _rule(load, on_line, off_line, 0)


def _hold_restarts(load: Array, on_line: float, off_line: float, hold: int) -> Array:
    return _rule(load, on_line, off_line, hold, "restarts")


def _hold_both_ways(load: Array, on_line: float, off_line: float, hold: int) -> Array:
    return _rule(load, on_line, off_line, hold, "both")


def _late(load: Array, on_line: float, off_line: float, hold: int) -> Array:
    return _rule(load, on_line, off_line, hold, "late")


def _early(load: Array, on_line: float, off_line: float, hold: int) -> Array:
    return _rule(load, on_line, off_line, hold, "early")


def _equal_counts(load: Array, on_line: float, off_line: float, hold: int) -> Array:
    return _rule(load, on_line, off_line, hold, "equal")


def _nan_is_calm(load: Array, on_line: float, off_line: float, hold: int) -> Array:
    return _rule(load, on_line, off_line, hold, "nan")


def _for_ever(load: Array, on_line: float, off_line: float, hold: int) -> Array:
    return _rule(load, on_line, off_line, len(load) + 1)


def _upside_down(load: Array, on_line: float, off_line: float, hold: int) -> Array:
    return ~hysteresis(load, on_line, off_line, hold)


def _not_yet_switched(load: Array, on_line: float, off_line: float, hold: int) -> Array:
    flags = hysteresis(load, on_line, off_line, hold)
    return np.concatenate([[False], flags])[: len(load)]


MISCONCEPTIONS = (
    Misconception(
        "one line only",
        _one_line,
        "A load that trembles around the line switches at every measurement. Once on, it stays on "
        "until the load is below the lower line.",
    ),
    Misconception(
        "on at the lower line",
        _off_line_alone,
        "off_line is where degradation may end, not where it begins: between the two lines the "
        "state stays as it is, either way.",
    ),
    Misconception(
        "off at the upper line",
        _off_at_the_on_line,
        "It goes on above on_line and must wait for the load to fall below off_line: a load just "
        "under the upper line would come back at once.",
    ),
    Misconception(
        "no hold",
        _no_hold,
        "Degradation lowers the load by itself. Without the hold the rule sees its own success, "
        "goes off, and the load is back: keep it on for hold measurements.",
    ),
    Misconception(
        "the hold starts again with each overload",
        _hold_restarts,
        "The hold counts from the measurement at which it went on. If every overload restarts it, "
        "a flapping load keeps the platform degraded for ever.",
    ),
    Misconception(
        "a hold for going on as well",
        _hold_both_ways,
        "Going on protects the servers and may not wait. Only the way back is held.",
    ),
    Misconception(
        "a measurement too late",
        _late,
        "It may go off as soon as t - since >= hold, where since is the measurement at which it "
        "went on.",
    ),
    Misconception(
        "a measurement too early",
        _early,
        "It went on at since; it may go off at since + hold, not before.",
    ),
    Misconception(
        "at the line counts as beyond it",
        _equal_counts,
        "On when the load is above on_line, off when it is below off_line. At a line nothing "
        "changes.",
    ),
    Misconception(
        "not measured counts as calm",
        _nan_is_calm,
        "NaN is a measurement that is missing, often because the servers are too busy to report. "
        "Keep the state: load < off_line is False for NaN, not (load >= off_line) is True.",
    ),
    Misconception(
        "it never ends",
        _for_ever,
        "Once on, it stays on: where does it go off? Below off_line, after hold measurements.",
    ),
    Misconception("upside down", _upside_down, "Return True while the platform is degraded."),
    Misconception(
        "the state before the measurement",
        _not_yet_switched,
        "degraded[t] is the state after measurement t was seen: the request of that moment is "
        "decided by it.",
    ),
)


def _flapping(n: int) -> Array:
    """A load that trembles around the upper line, with calm and busy hours."""
    chance = rng(4, "exercise-4.6", n)
    hours = 0.7 + 0.12 * np.sin(np.arange(n) / n * 6 * np.pi)
    return np.asarray(np.round(hours + chance.normal(0, 0.06, n), 3))


CASES = (
    Case("up, between the lines, down", (np.array([0.5, 0.8, 0.7, 0.5, 0.5]), 0.75, 0.6, 1)),
    Case(
        "a load that trembles around the upper line",
        (np.array([0.7, 0.76, 0.74, 0.76, 0.74, 0.76, 0.55, 0.7, 0.74]), 0.75, 0.6, 2),
    ),
    Case("calm at once, but held for three", (np.array([0.9, 0.1, 0.1, 0.1, 0.1]), 0.75, 0.6, 3)),
    Case(
        "a second overload during the hold",
        (np.array([0.9, 0.1, 0.9, 0.1, 0.1, 0.1]), 0.75, 0.6, 3),
    ),
    Case("back in overload at once", (np.array([0.9, 0.5, 0.5, 0.9, 0.9, 0.5]), 0.75, 0.6, 2)),
    Case("exactly at the lines", (np.array([0.75, 0.8, 0.6, 0.6, 0.59]), 0.75, 0.6, 1)),
    Case("a measurement is missing", (np.array([0.9, np.nan, np.nan, 0.5, np.nan]), 0.75, 0.6, 1)),
    Case("no hold asked for", (np.array([0.9, 0.5, 0.9, 0.5]), 0.75, 0.6, 0)),
    Case("no measurements", (np.zeros(0), 0.75, 0.6, 3)),
    Case("a day of flapping, 5,000 measurements", (_flapping(5000), 0.75, 0.65, 30)),
)

TASK = Task(
    id="4.6",
    title="A threshold that does not flap",
    asked="Write hysteresis(load, on_line, off_line, hold): load (n,), one measurement after the "
    "other. Return (n,) bool, True while degraded, the state after each measurement. It starts "
    "healthy, goes on when load > on_line, and goes off when load < off_line and at least hold "
    "measurements have passed since the one at which it went on. NaN is a missing measurement: the "
    "state stays.",
    starter="def hysteresis(load, on_line, off_line, hold):\n"
    '    """(n,) loads, two lines, a hold -> (n,) bool: degraded after each."""\n    ...',
    judge=Probe(
        hysteresis,
        CASES,
        MISCONCEPTIONS,
        praise="Count the switches of a flapping day with one line and with your rule.",
    ),
    hints=(
        "What has to be remembered from one measurement to the next? Two things: the state, and "
        "when it began.",
        "A loop: `if not flag and load[t] > on_line:` goes on and notes since = t. What are the "
        "three conditions for going off?",
        "`elif flag and load[t] < off_line and t - since >= hold: flag = False`, then degraded[t] "
        "= flag. Comparisons with NaN are False, so a missing measurement changes nothing.",
    ),
    solution=hysteresis,
    why="The rule closes a loop: degrading lowers the load it looks at. Two lines make the way "
    "back longer than the way in, and the hold gives the switch time to show its effect. Going on "
    "is never held, since that is the direction in which waiting breaks something.",
    when_slow="One pass over the measurements is enough; do not look back over all of them at each "
    "step.",
    limit_s=10.0,
)
