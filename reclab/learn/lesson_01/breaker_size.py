"""Exercise 1.7: size a circuit breaker: deaf to bad luck, quick in a failure, soon back.

The check sends the real ``Breaker`` one call every 10 ms for a minute and a half:

    peace     1 % of the calls fail
    rough     one in four fails: three in four pages still get their cards
    dead      all but 3 % of the calls hang until their deadline
    back      peace again; the worst case of its return is ``BreakerConfig.recovery_ms``

A breaker that is too nervous opens in peace or while it is rough, one too patient lets pages wait
for a dead business, one that waits too long before it asks again leaves a healthy business out.
Reference: Nygard, Release It! (2007), ch. 5.

Simplified: one caller; industry sizes a breaker on a replay of its own bad hours.
"""

import heapq
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from reclab.blending.breaker import CLOSED, OPEN, Breaker, BreakerConfig
from reclab.core.chance import rng
from reclab.learn.exercise import Task
from reclab.learn.probe import CORRECT, NOT_ATTEMPTED, NOT_YET, Verdict, shown

EVERY_MS, DEADLINE_MS, ANSWER_MS = 10, 100.0, 20.0
PHASES = (
    ("peace", 0, 0.01),
    ("rough", 30_000, 0.25),
    ("dead", 45_000, 0.97),
    ("back", 75_000, 0.01),
)
ENDS_MS = 90_000
STARTER = {"failure": 0.2, "in_a_row": 3, "open_ms": 5000}
KNOBS = tuple(STARTER)
MOST_LEFT_OUT = 0.01  # of the calls while it answers, refused
MOST_WAITING = 90  # pages that wait for the dead business in its 30 s
MOST_BACK_MS = 1200.0
SEEDS = (1, 2, 3)


@dataclass(frozen=True)
class Hour:
    """What happened: ``left_out`` share of the calls refused in peace and in the rough time,
    ``waiting`` pages that waited out the deadline while it was dead, ``back_ms`` from its return
    until the breaker was closed for good, ``states`` (when in ms, into which)."""

    left_out: dict[str, float]
    waiting: int
    back_ms: float
    states: tuple[tuple[float, str], ...]


def bad_hour(knobs: Mapping[str, float], seed: int = 1) -> Hour:
    """The minute and a half with these knobs; the breaker's other numbers are its defaults. Raises
    ``ConfigError`` for numbers out of range."""
    now, clock = [0.0], rng(seed, "exercise-1.7")
    breaker = Breaker(BreakerConfig(**knobs), lambda: now[0])  # type: ignore[arg-type]
    begins = np.array([start for _, start, _ in PHASES])
    asked, refused = np.zeros(len(PHASES)), np.zeros(len(PHASES))
    under_way: list[tuple[float, int, int | None, bool]] = []
    for n, start in enumerate(range(0, ENDS_MS, EVERY_MS)):
        while under_way and under_way[0][0] <= start:
            now[0], _, ticket, ok = heapq.heappop(under_way)
            breaker.record(ticket, ok)
        now[0] = float(start)
        phase = int(np.searchsorted(begins, start, side="right")) - 1
        asked[phase] += 1
        ticket = breaker.admit()
        ok = clock.random() >= PHASES[phase][2]
        if ticket is None:
            refused[phase] += 1
        else:
            heapq.heappush(under_way, (start + (ANSWER_MS if ok else DEADLINE_MS), n, ticket, ok))
    share = refused / asked
    left_out = {name: float(share[i]) for i, (name, _, _) in enumerate(PHASES[:2])}
    states = tuple(breaker.history)
    return Hour(left_out, int(asked[2] - refused[2]), _back(states, breaker), states)


def _back(states: tuple[tuple[float, str], ...], breaker: Breaker) -> float:
    """ms from the business's return to a closed breaker."""
    returned = float(PHASES[3][1])
    if breaker.state != CLOSED and not any(s == CLOSED and t >= returned for t, s in states):
        return float("inf")
    closed = [t for t, state in states if state == CLOSED and t >= returned]
    return closed[0] - returned if closed else 0.0


def judge(answer: Any) -> Verdict:
    """``answer``: the three knobs by name."""
    if answer is None or answer is ...:
        return Verdict(NOT_ATTEMPTED)
    knobs = _read(answer)
    if isinstance(knobs, str):
        return Verdict(NOT_YET, (knobs,))
    if knobs == STARTER:
        return Verdict(NOT_ATTEMPTED)
    hours = [bad_hour(knobs, seed) for seed in SEEDS]
    for hour in hours:
        wrong = _nervous(knobs, hour) or _patient(knobs, hour) or _late(knobs, hour)
        if wrong:
            return Verdict(NOT_YET, wrong)
    return Verdict(
        CORRECT,
        (
            f"In {len(SEEDS)} bad hours at most {max(map(_refused, hours)):.1%} of the calls were "
            f"refused while the business answered, at most {max(h.waiting for h in hours)} pages "
            "waited for the dead one, and it was asked as before at most "
            f"{max(h.back_ms for h in hours):.0f} ms after its return.",
        ),
    )


def _refused(hour: Hour) -> float:
    return max(hour.left_out.values())


def _read(answer: Any) -> dict[str, Any] | str:
    """The knobs, or a sentence that says what is wrong with them."""
    if not isinstance(answer, Mapping) or set(answer) != set(KNOBS):
        return f"Got {shown(answer)}, expected the three knobs, for example {STARTER}."
    ranges = {"failure": (0.01, 1.0), "in_a_row": (1, 1000), "open_ms": (1.0, 1e6)}
    for name, (low, high) in ranges.items():
        value = answer[name]
        fits = isinstance(value, (int, float, np.number)) and not isinstance(value, bool)
        if not fits or not low <= value <= high:
            return f"{name} must be a number from {low:g} to {high:g}, got {shown(value)}."
    if answer["in_a_row"] != int(answer["in_a_row"]):
        return f"in_a_row counts calls: a whole number, got {shown(answer['in_a_row'])}."
    failure, open_ms = float(answer["failure"]), float(answer["open_ms"])
    return {"failure": failure, "in_a_row": int(answer["in_a_row"]), "open_ms": open_ms}


def _nervous(knobs: dict[str, Any], hour: Hour) -> tuple[str, ...]:
    """() unless calls were refused while the business answered; else which knob is to blame."""
    if _refused(hour) <= MOST_LEFT_OUT:
        return ()
    calm = {name: bad_hour({**knobs, name: 1.0 if name == "failure" else 1000})
            for name in ("failure", "in_a_row")}  # fmt: skip
    to_blame = min(calm, key=lambda name: _refused(calm[name]))
    phase = max(hour.left_out, key=lambda name: hour.left_out[name])
    why = {
        "failure": "failure is reached by bad luck: one in four on average is often "
        "much more over 20 calls, or over the first 5 after a change.",
        "in_a_row": "so many failures in a row come by chance, in 100 calls a second soon enough.",
    }[to_blame]
    return (
        f"Likely: too nervous. In the time of {phase} {hour.left_out[phase]:.1%} of the calls were "
        f"refused, expected at most {MOST_LEFT_OUT:.0%}: {why}",
        f"With {to_blame} out of the game it would be {_refused(calm[to_blame]):.1%}.",
    )


def _patient(knobs: dict[str, Any], hour: Hour) -> tuple[str, ...]:
    """() unless too many pages waited for the dead business."""
    if hour.waiting <= MOST_WAITING:
        return ()
    fact = (
        f"{hour.waiting} pages waited {DEADLINE_MS:g} ms for a dead business, expected at most "
        f"{MOST_WAITING}."
    )
    dead, back = PHASES[2][1], PHASES[3][1]
    opened = [t for t, state in hour.states if state == OPEN and dead <= t < back]
    if not opened or opened[0] - dead > 400:
        when = f"after {opened[0] - dead:.0f} ms" if opened else "never"
        return (
            f"Likely: too patient. It opened {when}: failures that are counted one by one must be "
            "enough, whatever share the calls before had.",
            fact,
        )
    return (
        f"Likely: asked again too soon. It was opened {len(opened)} times, and each time two "
        f"probes wait: with open_ms = {knobs['open_ms']:g} that is a probe all the time.",
        fact,
    )


def _late(knobs: dict[str, Any], hour: Hour) -> tuple[str, ...]:
    """() unless the healthy business was left out for long."""
    worst = max(hour.back_ms, BreakerConfig(**knobs).recovery_ms(DEADLINE_MS))
    if worst <= MOST_BACK_MS:
        return ()
    return (
        f"Likely: it waits too long before it asks again. In this hour the breaker closed "
        f"{hour.back_ms:.0f} ms after the business was back; in the worst case, open_ms and twice "
        f"the deadline, it takes {worst:.0f} ms, expected at most {MOST_BACK_MS:.0f}.",
    )


SOLUTION = """knobs = {"failure": 0.8, "in_a_row": 8, "open_ms": 900}

# in a row: 0.25 ** 8 is one in 65,000 calls; the dead one is found after 8 answers that do not come
# open: recovery takes at most open_ms + 2 deadlines, and 30 s hold 30 openings of two probes each
for open_ms in (300, 600, 900, 1200, 5000):
    hour = bad_hour({"failure": 0.8, "in_a_row": 8, "open_ms": open_ms})
    print(open_ms, hour.left_out, hour.waiting, hour.back_ms)
"""

TASK = Task(
    id="1.7",
    title="Size a breaker",
    asked="Choose knobs = {'failure': …, 'in_a_row': …, 'open_ms': …} for the circuit breaker of a "
    "business that is asked 100 times a second, with a deadline of 100 ms. While it answers, also "
    f"when one call in four fails, at most {MOST_LEFT_OUT:.0%} of the calls may be refused. When "
    f"it is dead for 30 s, at most {MOST_WAITING} pages may wait for it. After its return it shall "
    f"be asked as before within {MOST_BACK_MS:.0f} ms in the worst case. bad_hour(knobs) of "
    "reclab.learn.lesson_01.breaker_size shows a run.",
    starter=f"knobs = {STARTER}".replace("'", '"'),
    judge=judge,
    hints=(
        "Look at bad_hour(knobs).states for the starter. In which phases does it open, and should "
        "it?",
        "How likely are r failures in a row when one in four fails? In 15 s there are 1,500 "
        "chances. And how many calls does it take to notice that nobody answers?",
        "A share as low as failure = 0.5 is reached by chance over the first five calls; take 0.8 "
        "or more. For open_ms: worst case of the return is open_ms + 2 * 100 ms; each opening "
        "costs two probes in 30 s.",
    ),
    solution=SOLUTION,
    why="A dead business fails every call, a rough one only some, and a run of failures tells the "
    "two apart sooner and more surely than a share over few calls. How long to stay open is a "
    "trade between pages that wait for probes and a healthy business left out: waiting costs a "
    "deadline each time, being left out costs all of its cards until the next probe.",
    limit_s=20.0,
)
