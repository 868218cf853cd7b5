"""Exercise 4.4: gains for MaxPower: neither a cap that swings nor one that comes too late.

The check closes the real ``MaxPower`` around a small plant, a queue that serves CAPACITY units of
work a second and drops what would wait for over half a second, and sends it a surge:

    work = requests * cap,   cap = MaxPower(what was measured `delay` seconds ago)

Too little integral: failures until the cap has come down, and users starved after the surge. Too
much of either gain: the answer to an old measurement is itself too large, and the cap swings.
Reference: Åström and Hägglund 1995 (gain, delay and stability).

Simplified: industry tunes on a replay of its own surges, or raises the gains until it swings and
takes half.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from reclab.core.types import Array
from reclab.degradation_dcaf.max_power import MaxPower, MaxPowerConfig
from reclab.learn.exercise import Task
from reclab.learn.probe import CORRECT, NOT_ATTEMPTED, NOT_YET, Verdict, shown

CAPACITY = 16.0  # work a second; one request a second at the full cap takes 10
BEGINS, ENDS, LASTS = 30, 90, 150  # seconds of the surge, and of the whole run
SETTLED = 60  # from here on the cap shall stand still until the surge ends
STARTER = {"proportional": 1.5, "integral": 0.05}
GAINS = tuple(STARTER)
MOST_SWING = 1.2  # the largest cap over the smallest, once settled
MOST_FAILING_S = 8  # seconds until the last failure after the surge began
MOST_BACK_S = 12  # seconds until the cap is back after it ended
SURGES = ((8.0, 1), (8.0, 2), (3.0, 1))  # times the usual traffic, seconds of delay


@dataclass(frozen=True)
class Surge:
    """A run, one value a second: ``traffic`` (requests), ``cap`` (cost), ``utilisation`` and
    ``failure`` (shares)."""

    traffic: Array
    cap: Array
    utilisation: Array
    failure: Array

    @property
    def swing(self) -> float:
        """The largest cap over the smallest, in the second half of the surge."""
        cap = self.cap[SETTLED:ENDS]
        return float(cap.max() / cap.min())

    @property
    def failing_s(self) -> int:
        """Seconds from the begin of the surge to the last that lost more than 0.5 %."""
        return _last(self.failure[BEGINS:ENDS] > 0.005)

    @property
    def back_s(self) -> int:
        """Seconds from the end of the surge until the cap is back near its top."""
        return _last(self.cap[ENDS:] < 0.95 * self.cap.max())


def _last(flags: Array) -> int:
    places = np.flatnonzero(flags)
    return int(places[-1]) + 1 if len(places) else 0


Control = Callable[[int, float, float, float], float]


def surge(gains: Mapping[str, float], height: float = 8.0, delay: int = 1) -> Surge:
    """MaxPower with these gains through a surge of ``height`` times the usual traffic, told what
    was measured ``delay`` seconds before. Raises ``ConfigError`` for gains beyond 0 ... 100."""
    power = MaxPower(MaxPowerConfig(**gains))
    return through_a_surge(power.update, power.get(), height, delay)


def through_a_surge(control: Control, cap: float, height: float = 8.0, delay: int = 1) -> Surge:
    """The plant with any controller: ``control(now_ms, utilisation, response_ms, failure)`` returns
    the cap, which begins at ``cap``. Until the first measurement arrives it is told NaN."""
    waiting, told = 0.0, np.zeros((4, LASTS))
    on_the_way = [(np.nan, np.nan, np.nan)] * delay
    for second in range(LASTS):
        requests = height if BEGINS <= second < ENDS else 1.0
        waiting += requests * cap
        served = min(waiting, CAPACITY)
        waiting -= served
        lost = max(0.0, waiting - CAPACITY / 2)
        waiting -= lost
        utilisation, failure = served / CAPACITY, lost / (requests * cap)
        response_ms = 5 / max(1.02 - utilisation, 0.02) + 1000 * waiting / CAPACITY
        on_the_way.append((utilisation, response_ms, failure))
        told[:, second] = requests, cap, utilisation, failure
        cap = control(1000 * (second + 1), *on_the_way.pop(0))
    return Surge(*told)


def judge(answer: Any) -> Verdict:
    """``answer``: the two gains by name."""
    if answer is None or answer is ...:
        return Verdict(NOT_ATTEMPTED)
    gains = _read(answer)
    if isinstance(gains, str):
        return Verdict(NOT_YET, (gains,))
    if gains == STARTER:
        return Verdict(NOT_ATTEMPTED)
    for height, delay in SURGES:
        run = surge(gains, height, delay)
        where = f"a surge of {height:g} times, measured {delay} s late"
        if run.swing > MOST_SWING:
            return Verdict(NOT_YET, _swings(gains, run, where, height, delay))
        if run.failing_s > MOST_FAILING_S or run.back_s > MOST_BACK_S:
            return Verdict(NOT_YET, _too_slow(gains, run, where))
    told = [surge(gains, height, delay) for height, delay in SURGES]
    return Verdict(
        CORRECT,
        (
            f"In {len(SURGES)} surges failures end after {max(r.failing_s for r in told)} s at "
            f"most, the cap is back after {max(r.back_s for r in told)} s, and once settled its "
            f"largest is {max(r.swing for r in told):.2f} times its smallest.",
        ),
    )


def _read(answer: Any) -> dict[str, float] | str:
    """The gains, or a sentence that says what is wrong with them."""
    if not isinstance(answer, Mapping) or set(answer) != set(GAINS):
        return f"Got {shown(answer)}, expected the two gains, for example {STARTER}."
    for name in GAINS:
        value = answer[name]
        fits = isinstance(value, (int, float, np.number)) and not isinstance(value, bool)
        if not fits or not 0 <= value <= 100:
            return f"{name} must be a number from 0 to 100, got {shown(value)}."
    return {name: float(answer[name]) for name in GAINS}


def _swings(
    gains: dict[str, float], run: Surge, where: str, height: float, delay: int
) -> tuple[str, ...]:
    """Which gain is to blame: the one whose half swings least."""
    less = {name: {**gains, name: gains[name] / 2} for name in GAINS}
    swing = {name: surge(less[name], height, delay).swing for name in GAINS}
    to_blame = min(GAINS, key=lambda name: swing[name])
    cap = run.cap[SETTLED:ENDS]
    return (
        f"Likely: too much of a gain. In {where}, the cap swings between {cap.min():.2f} and "
        f"{cap.max():.2f} once it should have settled, {run.swing:.2f} times; expected at most "
        f"{MOST_SWING:g}. Each answer to an old measurement is too large and calls for the next.",
        f"With {to_blame} at half, {less[to_blame][to_blame]:.3g}, it would be "
        f"{swing[to_blame]:.2f} times.",
    )


def _too_slow(gains: dict[str, float], run: Surge, where: str) -> tuple[str, ...]:
    numbers = (
        f"In {where}, failures last {run.failing_s} s (expected at most {MOST_FAILING_S}), and "
        f"after it the cap takes {run.back_s} s to come back (expected at most {MOST_BACK_S})."
    )
    if not gains["proportional"] and not gains["integral"]:
        why = "Likely: no feedback at all. With both gains 0 the cap never moves."
    elif not gains["integral"]:
        why = (
            "Likely: no integral. proportional alone stops where its share of the error holds the "
            "cap, short of the set point, and every further bit of overload stays."
        )
    else:
        why = (
            "Likely: too little integral. It is the integral that carries the cap to where the "
            "load fits, and back: until then servers fail, and afterwards users starve."
        )
    return (why, numbers)


SOLUTION = """gains = {"proportional": 0.3, "integral": 0.25}

# how it was found: every pair of a coarse grid through one surge
for proportional in (0.0, 0.3, 0.6, 1.0):
    for integral in (0.05, 0.1, 0.25, 0.5, 1.0):
        run = surge({"proportional": proportional, "integral": integral}, height=8, delay=2)
        print(proportional, integral, f"{run.swing:.2f}", run.failing_s, run.back_s)
"""

TASK = Task(
    id="4.4",
    title="Gains that neither swing nor starve",
    asked="Choose gains = {'proportional': …, 'integral': …} for MaxPower. The check sends surges "
    "of 8 and of 3 times the usual traffic; what is measured reaches the controller 1 s late, in a "
    f"bad hour 2 s. Failures shall end within {MOST_FAILING_S} s, the cap be back within "
    f"{MOST_BACK_S} s after the surge, and once settled its largest be at most {MOST_SWING:g} "
    "times its smallest. surge(gains, height, delay) of reclab.learn.lesson_04.tune shows a run.",
    starter=f"gains = {STARTER}".replace("'", '"'),
    judge=judge,
    hints=(
        "Plot surge(gains).cap for the starter. Is it too fast or too slow, and does the same gain "
        "cause both?",
        "proportional answers to this second's error, integral gathers it. First find an integral, "
        "with little proportional, that is back in time; then see how much of it a delay of 2 s "
        "forgives.",
        "Twice the delay forgives about half the integral. Try proportional below 0.4 and integral "
        "between 0.2 and 0.35.",
    ),
    solution=SOLUTION,
    why="A gain says how much of an error is corrected in a second. With the measurement d seconds "
    "old, d seconds of corrections are on the way unseen; if together they exceed the error, the "
    "cap overshoots and swings. So the delay bounds the gains from above, and the time in which "
    "failures must end bounds them from below. Faster monitoring widens the gap between the two.",
    limit_s=20.0,
)
