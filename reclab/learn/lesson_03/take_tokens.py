"""Exercise 3.8: the token bucket of the gateway (令牌桶限流).

tokens <- min(burst, tokens + per_s · gap);  passes  <=>  tokens >= n;  then tokens <- tokens - n

A limit per second would cut a phone that comes out of a tunnel with a hundred events. The bucket
lets such a burst pass once, and nobody send faster than per_s for long.
Reference: Turner, New directions in communications (IEEE Communications 1986).

Simplified: one gateway; several share the buckets in Redis or each take a part of the rate.
"""

import numpy as np

from reclab.core.chance import rng
from reclab.core.types import Array
from reclab.learn.exercise import Task
from reclab.learn.probe import Case, Misconception, Probe, array_difference

Step = tuple[Array, Array]


def take_tokens(tokens, gap_s, n_events, per_s, burst):
    """(n,) buckets, s since each was last asked, events wanted -> (n,) passed, (n,) tokens left."""
    held = np.minimum(burst, tokens + per_s * np.maximum(gap_s, 0))
    passed = held >= n_events
    return passed, held - np.where(passed, n_events, 0)


def _no_burst(tokens: Array, gap: Array, n: Array, per_s: float, burst: float) -> Step:
    held = tokens + per_s * np.maximum(gap, 0)
    passed = held >= n
    return passed, held - np.where(passed, n, 0)


def _pays_anyway(tokens: Array, gap: Array, n: Array, per_s: float, burst: float) -> Step:
    held = np.minimum(burst, tokens + per_s * np.maximum(gap, 0))
    return held >= n, np.maximum(held - n, 0)


def _partly(tokens: Array, gap: Array, n: Array, per_s: float, burst: float) -> Step:
    held = np.minimum(burst, tokens + per_s * np.maximum(gap, 0))
    return held > 0, np.maximum(held - n, 0)


def _one_each(tokens: Array, gap: Array, n: Array, per_s: float, burst: float) -> Step:
    held = np.minimum(burst, tokens + per_s * np.maximum(gap, 0))
    passed = held >= 1
    return passed, held - passed


def _refills_all(tokens: Array, gap: Array, n: Array, per_s: float, burst: float) -> Step:
    held = np.where(gap >= 1, burst, tokens)
    passed = held >= n
    return passed, held - np.where(passed, n, 0)


def _backwards(tokens: Array, gap: Array, n: Array, per_s: float, burst: float) -> Step:
    held = np.minimum(burst, tokens + per_s * gap)
    passed = held >= n
    return passed, held - np.where(passed, n, 0)


def _more_than(tokens: Array, gap: Array, n: Array, per_s: float, burst: float) -> Step:
    held = np.minimum(burst, tokens + per_s * np.maximum(gap, 0))
    passed = held > n
    return passed, held - np.where(passed, n, 0)


def _whole(tokens: Array, gap: Array, n: Array, per_s: float, burst: float) -> Step:
    held = np.minimum(burst, tokens + np.floor(per_s * np.maximum(gap, 0)))
    passed = held >= n
    return passed, held - np.where(passed, n, 0)


def _refills_after(tokens: Array, gap: Array, n: Array, per_s: float, burst: float) -> Step:
    passed = tokens >= n
    left = tokens - np.where(passed, n, 0)
    return passed, np.minimum(burst, left + per_s * np.maximum(gap, 0))


def _swapped(tokens: Array, gap: Array, n: Array, per_s: float, burst: float) -> Step:
    passed, left = take_tokens(tokens, gap, n, per_s, burst)
    return left, passed


MISCONCEPTIONS = (
    Misconception(
        "the bucket has no rim",
        _no_burst,
        "Without min(burst, …) a phone that was off for a week may send half a million events at "
        "once.",
    ),
    Misconception(
        "who is refused pays too",
        _pays_anyway,
        "A refused request takes nothing: else a client that tries again and again never gets a "
        "full bucket.",
    ),
    Misconception(
        "a part of a request passes",
        _partly,
        "A request passes whole or not at all: the bucket must hold n_events tokens.",
    ),
    Misconception(
        "one token a request",
        _one_each,
        "Each event takes a token, not each request: a thousand events in one request would cost "
        "as much as one.",
    ),
    Misconception(
        "full again after a second",
        _refills_all,
        "The bucket fills by per_s tokens a second, not at once: the rate for ever is per_s, "
        "burst is only for once.",
    ),
    Misconception(
        "a clock that goes back takes tokens away",
        _backwards,
        "Between two machines a clock may step back by some ms. A negative gap refills nothing, "
        "and takes nothing.",
    ),
    Misconception(
        "exactly enough is too little",
        _more_than,
        "A bucket with n tokens serves n events: held >= n_events.",
    ),
    Misconception(
        "only whole tokens",
        _whole,
        "At ten requests a second each gap is a part of a token. Rounded down they add up to "
        "nothing, and a polite client is refused. Keep fractions.",
    ),
    Misconception(
        "refilled after the decision",
        _refills_after,
        "The time since the last request has passed already: fill first, decide then.",
    ),
    Misconception("passed and left changed places", _swapped, "Return (passed, tokens left)."),
)


def both_differ(value: object, expected: Step, *args: object) -> str:
    """'' when passed and left agree, else a sentence."""
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        return "It returns something else than the two arrays (passed, tokens left)."
    for name, mine, good in zip(("passed", "tokens left"), value, expected, strict=True):
        wrong = array_difference(mine, good)
        if wrong:
            return f"{name}: {wrong}"
    return ""


def _devices(n: int) -> tuple[Array, Array, Array, float, float]:
    chance = rng(3, "exercise-3.8", n)
    tokens = np.round(chance.uniform(0, 100, n), 3)
    gap = np.round(np.maximum(chance.exponential(1.0, n), 0) - 0.02, 3)
    return tokens, gap, chance.integers(1, 120, n), 20.0, 100.0


def _case(name: str, tokens: list[float], gap: list[float], n: list[int]) -> Case:
    return Case(name, (np.array(tokens), np.array(gap), np.array(n), 5.0, 20.0))


CASES = (
    _case("a full bucket, some events", [20, 20], [0, 0], [3, 20]),
    _case("too few tokens", [2, 4], [0, 0], [3, 10]),
    _case("refilled in the meantime", [2, 0], [1, 4], [6, 20]),
    _case("a part of a second", [0.5, 0], [0.1, 0.3], [1, 1]),
    _case("off for a week", [3], [604_800], [21]),
    _case("more than a bucket holds", [20], [100], [50]),
    _case("the clock has gone back", [10, 10], [-1, -3], [10, 1]),
    _case("an empty request", [0], [0], [0]),
    _case("no requests", [], [], []),
    Case("20,000 devices at once", _devices(20_000)),
)

TASK = Task(
    id="3.8",
    title="The gateway's token bucket",
    asked="Write take_tokens(tokens, gap_s, n_events, per_s, burst), one request of each of n "
    "devices: tokens (n,) that its bucket held when last asked, gap_s (n,) since then (below 0 "
    "when a clock was set back), n_events (n,) that it sends now. A bucket fills by per_s a second "
    "up to burst. Return (passed, left): (n,) bool, whether the bucket holds enough for all events "
    "of the request, and (n,) tokens afterwards, refilled; a refused request takes none.",
    starter="def take_tokens(tokens, gap_s, n_events, per_s, burst):\n"
    '    """(n,) buckets, gaps in s, events wanted -> (passed, tokens left)."""\n    ...',
    judge=Probe(
        take_tokens,
        CASES,
        MISCONCEPTIONS,
        both_differ,
        praise="The gateway's intake can limit by it.",
    ),
    hints=(
        "Three steps: fill, decide, take. What is the bucket's content after gap_s seconds, and "
        "what is its rim?",
        "held = np.minimum(burst, tokens + per_s * np.maximum(gap_s, 0)).",
        "passed = held >= n_events; left = held - np.where(passed, n_events, 0).",
    ),
    solution=take_tokens,
    why="One number and one stamp a device give two limits at once: the rate for ever and the "
    "burst after a pause. It needs no timer, since the filling is computed when somebody asks, and "
    "no queue: who is refused comes again, with a code that says when.",
    when_slow="All devices at once by arrays; no loop.",
    limit_s=10.0,
)
