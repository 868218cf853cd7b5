"""Exercise 2.6: several predictions, one score.

score = p_click^a * p_long_view^b * watch_sec^c. Exponents are how much each target matters; 0
leaves it out. A product of powers is indifferent to the unit of a factor: seconds or minutes give
the same order.

Simplified: industry has ten and more factors, and searches the exponents in live experiments.
"""

import numpy as np

from reclab.core.chance import rng
from reclab.core.types import Array
from reclab.learn.exercise import Task
from reclab.learn.probe import Case, Misconception, Probe


def fuse(
    p_click: np.ndarray,
    p_long_view: np.ndarray,
    watch_sec: np.ndarray,
    a: float,
    b: float,
    c: float,
) -> np.ndarray:
    """(n,) predictions and their exponents -> (n,) scores."""
    return p_click**a * p_long_view**b * watch_sec**c


def _weighted_sum(
    p_click: Array, p_long_view: Array, watch_sec: Array, a: float, b: float, c: float
) -> Array:
    return a * p_click + b * p_long_view + c * watch_sec


def _weights_as_factors(
    p_click: Array, p_long_view: Array, watch_sec: Array, a: float, b: float, c: float
) -> Array:
    return (a * p_click) * (b * p_long_view) * (c * watch_sec)


def _plain_product(
    p_click: Array, p_long_view: Array, watch_sec: Array, a: float, b: float, c: float
) -> Array:
    return p_click * p_long_view * watch_sec


def _sum_of_powers(
    p_click: Array, p_long_view: Array, watch_sec: Array, a: float, b: float, c: float
) -> Array:
    return np.asarray(p_click**a + p_long_view**b + watch_sec**c)


def _bare_logs(
    p_click: Array, p_long_view: Array, watch_sec: Array, a: float, b: float, c: float
) -> Array:
    return np.exp(a * np.log(p_click) + b * np.log(p_long_view) + c * np.log(watch_sec))


def _logs_of_score(
    p_click: Array, p_long_view: Array, watch_sec: Array, a: float, b: float, c: float
) -> Array:
    return a * np.log(p_click) + b * np.log(p_long_view) + c * np.log(watch_sec)


def _order(
    p_click: Array, p_long_view: Array, watch_sec: Array, a: float, b: float, c: float
) -> Array:
    return np.argsort(-fuse(p_click, p_long_view, watch_sec, a, b, c), kind="stable")


MISCONCEPTIONS = (
    Misconception(
        "a weighted sum",
        _weighted_sum,
        "Watch time is in seconds and the others are below 1, so in a sum it drowns them: minutes "
        "instead of seconds would give another list. In a product of powers the unit cancels.",
    ),
    Misconception(
        "weights as factors, not as exponents",
        _weights_as_factors,
        "a·p × b·q × c·w is abc times the plain product: the same order whatever the weights. "
        "They have to be exponents.",
    ),
    Misconception(
        "the weights are not used",
        _plain_product,
        "This is the product with all exponents at 1. Raise each factor to its own.",
    ),
    Misconception(
        "powers added, not multiplied",
        _sum_of_powers,
        "In a sum a card with one huge factor wins even if nobody would click it. Multiply: a "
        "zero anywhere is a veto.",
    ),
    Misconception(
        "log of 0",
        _bare_logs,
        "exp(Σ w·log p) is the same product, until an exponent and a factor are both 0: "
        "0 · log 0 is NaN, and NaN breaks the sort. Powers are safe: 0 ** 0 is 1.",
    ),
    Misconception(
        "the logarithm of the score",
        _logs_of_score,
        "Σ w·log p has the same order as the product, but it is not the product, and it is -inf "
        "or NaN where a prediction is 0. Return the product of powers.",
    ),
    Misconception(
        "an order instead of scores",
        _order,
        "You return positions. The stage sorts by itself: give it one score a card.",
    ),
)


def _random(
    n: int, a: float, b: float, c: float
) -> tuple[Array, Array, Array, float, float, float]:
    chance = rng(2, "exercise-2.6", n)
    p_click, p_long = chance.random(n, np.float32), chance.random(n, np.float32)
    return p_click, p_long, (60 * chance.random(n, np.float32)), a, b, c


def _three(click: list[float], long: list[float], watch: list[float]) -> tuple[Array, ...]:
    return tuple(np.array(column, np.float32) for column in (click, long, watch))


CASES = (
    Case(
        "three cards",
        (*_three([0.5, 0.2, 0.4], [0.25, 0.2, 0.1], [16, 30, 9]), 1.0, 2.0, 0.5),
    ),
    Case("exponent 0 leaves a target out", _random(5, 1.0, 0.0, 0.0)),
    Case(
        "predictions of 0, with exponent 0",
        (*_three([0.0, 0.5, 0.5], [0.3, 0.0, 0.3], [9, 9, 0]), 1.0, 0.5, 0.0),
    ),
    Case("one card", _random(1, 0.5, 0.5, 0.5)),
    Case("no cards", _random(0, 1.0, 1.0, 1.0)),
    Case("100,000 cards", _random(100_000, 0.7, 1.3, 0.2)),
)

TASK = Task(
    id="2.6",
    title="Fuse several targets into one score",
    asked="Write fuse(p_click, p_long_view, watch_sec, a, b, c): three (n,) predictions and their "
    "exponents. Return the (n,) scores p_click^a · p_long_view^b · watch_sec^c. Leave the inputs "
    "as they are: later stages read them.",
    starter="def fuse(p_click, p_long_view, watch_sec, a, b, c):\n"
    '    """(n,) predictions and their exponents -> (n,) scores."""\n    ...',
    judge=Probe(
        fuse,
        CASES,
        MISCONCEPTIONS,
        praise="Raise c and the feed fills with long videos; raise a and it fills with covers "
        "that ask to be clicked.",
    ),
    hints=(
        "What would change in the order of the list if watch time were in minutes? A good fusion "
        "is indifferent to that.",
        "A product of powers is: a change of unit multiplies every score by the same number. In "
        "NumPy a power is `**`, and it works on whole arrays.",
        "One line: p_click ** a * p_long_view ** b * watch_sec ** c.",
    ),
    solution=fuse,
    why="Targets have different units and sizes. In a product of powers only ratios matter: an "
    "exponent of 2 makes a 10 % better long-view probability worth 21 % more score, whatever the "
    "unit. Exponent 0 switches a target off, and a zero prediction is a veto.",
    when_slow="`**` works on whole arrays; no loop over cards is needed.",
    limit_s=10.0,
)
