"""Exercise 4.9: a price for the traffic of now: the budget of the sample is scaled, then solved.

C_now = C * usual QPS / present QPS,   lam = solve(gain, cost, C_now)

The sample is a log of usual traffic with the budget C. When twice as many come, each may have half:
the sample stands for its share of the requests, so it gets its share of the budget.
Reference: Jiang et al., DCAF, 2020 (arXiv 2006.09684).

Simplified: industry solves again every few minutes, on the last minutes' requests.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from reclab.core.chance import rng
from reclab.core.types import Array
from reclab.learn.exercise import Task
from reclab.learn.lesson_04.bisection import find_lambda
from reclab.learn.probe import Case, Misconception, Probe

Solve = Callable[[Array, Array, float], float]


def refresh_price(gain, cost, budget, usual_qps, now_qps, solve):
    """A sample of usual traffic and its budget -> the price for the traffic of now."""
    share = usual_qps / now_qps if now_qps > 0 else np.inf  # nobody comes: whoever does has room
    return solve(gain, cost, min(budget * share, len(gain) * cost.max()))


def _other(scale: Callable[[float, float], float]) -> Callable[..., float]:
    """The price at the budget times another factor, where there is traffic at all."""

    def computes(
        gain: Array, cost: Array, budget: float, usual: float, now: float, solve: Solve
    ) -> float:
        with np.errstate(divide="ignore"):
            factor = scale(np.float64(usual), np.float64(now))
        return solve(gain, cost, min(budget * factor, len(gain) * cost.max()))

    return computes


def _price_scaled(
    gain: Array, cost: Array, budget: float, usual: float, now: float, solve: Solve
) -> float:
    return solve(gain, cost, budget) * now / usual


def _divides_by_zero(
    gain: Array, cost: Array, budget: float, usual: float, now: float, solve: Solve
) -> float:
    return solve(gain, cost, budget * (float(usual) / float(now)))


MISCONCEPTIONS = (
    Misconception(
        "upside down",
        _other(lambda usual, now: now / usual),
        "The servers stay the same. When twice as many requests come, each may spend half: the "
        "budget of the sample falls by usual_qps / now_qps.",
    ),
    Misconception(
        "yesterday's price",
        _other(lambda usual, now: np.float64(1)),
        "This is the price of usual traffic. In a surge everybody would still buy as much, and "
        "the servers would be asked for far more than they have.",
    ),
    Misconception(
        "the price is scaled, not the budget",
        _price_scaled,
        "Spending does not fall in proportion to the price: twice the price may cut it by a tenth "
        "or to nothing. Scale the budget and solve again.",
    ),
    Misconception(
        "a quiet hour gets no more",
        _other(lambda usual, now: min(np.float64(1), usual / now)),
        "When few come, each may spend more: the servers are paid for anyway. Let the factor rise "
        "above 1.",
    ),
    Misconception(
        "a budget less the surplus",
        _other(lambda usual, now: max(0.0, 2 - now / usual)),
        "Subtracting works for small changes only: at twice the traffic nothing would be left. "
        "Divide.",
    ),
    Misconception(
        "no traffic at all",
        _divides_by_zero,
        "At night a minute can pass without a request. Then there is room for anybody who comes: "
        "take the budget that is enough for the whole sample at its dearest.",
    ),
)


def _sample(n: int) -> tuple[Array, Array, float]:
    """Requests whose gains flatten with the cost, and half of what they would take for nothing."""
    chance = rng(4, "exercise-4.9", n)
    cost = np.array([1.0, 2.0, 4.0, 8.0])
    gain = chance.lognormal(0.0, 0.8, (n, 1)) * cost ** chance.uniform(0.3, 0.9, (n, 1))
    return gain, cost, 4.0 * n


def _named(n: int, usual_qps: float, now_qps: float) -> tuple[Any, ...]:
    return (*_sample(n), usual_qps, now_qps, Solver())


class Solver:
    """The solver that is handed in: ``find_lambda`` of 4.1."""

    def __call__(self, gain: Array, cost: Array, budget: float) -> float:
        return float(find_lambda(gain, cost, budget))

    def __repr__(self) -> str:
        return "solve(gain, cost, budget) -> lam"


CASES = (
    Case("usual traffic", _named(200, 20_000.0, 20_000.0)),
    Case("twice as many", _named(200, 20_000.0, 40_000.0)),
    Case("a surge of eight times", _named(200, 20_000.0, 160_000.0)),
    Case("a quiet hour", _named(200, 20_000.0, 14_000.0)),
    Case("a tenth more", _named(300, 1000.0, 1100.0)),
    Case("nobody comes", _named(200, 20_000.0, 0.0)),
)

TASK = Task(
    id="4.9",
    title="A price for the traffic of now",
    asked="Write refresh_price(gain, cost, budget, usual_qps, now_qps, solve): gain (n, m) and "
    "cost (m,) are a logged sample of usual traffic, which may spend budget. The servers are the "
    "same, the traffic is now now_qps. Scale the budget of the sample to what its requests may "
    "spend now, and return solve(gain, cost, that budget). now_qps may be 0: then there is room "
    "for everybody's dearest action.",
    starter="def refresh_price(gain, cost, budget, usual_qps, now_qps, solve):\n"
    '    """A sample, its budget, the traffic then and now -> the price for now."""\n    ...',
    judge=Probe(
        refresh_price,
        CASES,
        MISCONCEPTIONS,
        praise="A price that follows the traffic leaves MaxPower little to do.",
    ),
    hints=(
        "What may one request spend on average at usual traffic, and what when twice as many come "
        "to the same servers?",
        "The sample's size does not change; what each of its requests may spend does. So its "
        "budget becomes budget * usual_qps / now_qps.",
        "For now_qps = 0 take len(gain) * cost.max(), the most that the sample could spend; it is "
        "also a sensible upper bound in a quiet hour.",
    ),
    solution=refresh_price,
    why="The price depends on what is scarce, computing per request, and that moves with the "
    "traffic by the minute while the shape of the values moves by the day. So an old sample with a "
    "new budget gives a good price at once, and only the sample has to be renewed from time to "
    "time.",
    limit_s=10.0,
)
