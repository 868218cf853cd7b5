"""Exercise 4.1: find the price; the paper's loop, run as printed, seen to fail, and mended.

spent(lam) = sum of q_j over the requests whose best Q_ij - lam q_j is above 0; it falls in steps.
Wanted is the lowest lam with spent(lam) <= C, up to a little above it.

Three faults of the loop: its branches are swapped, its upper end min_ij(Q_ij / q_j) is too low a
price for a real budget, and its stop |spent - C| <= eps may never be met. The starter is our code,
after algorithm 1 of Jiang et al., DCAF, 2020 (arXiv 2006.09684).

Simplified: industry solves on a sample of the log, with C scaled by the present traffic (4.9).
"""

import types
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from reclab.core.chance import rng
from reclab.core.types import Array
from reclab.learn.exercise import Task
from reclab.learn.probe import NOT_ATTEMPTED, Case, Misconception, Probe, Verdict, shown

SLACK = 1e-13  # of the price: products round
EPS = 0.001  # of the printed stop
NEAR = 1e-3  # how far above the lowest feasible price an answer may lie, of that price
STARTER = '''def find_lambda(gain, cost, budget):
    """(n, m) Q, (m,) q > 0, C -> lam. After the paper's algorithm 1, as it is printed."""
    low, high = 0.0, (gain / cost).min()
    for _ in range(25):
        lam = (low + high) / 2
        worth = gain - lam * cost
        spent = cost[worth.argmax(1)][worth.max(1) > 0].sum()
        if abs(spent - budget) <= 0.001:
            break
        if spent <= budget:
            low = lam
        else:
            high = lam
    return lam
'''


def find_lambda(gain, cost, budget):
    """(n, m) Q, (m,) q > 0, C -> the lowest price at which no more than C is spent."""
    low, high = 0.0, (gain / cost).max() * (1 + 1e-9)  # here nothing is worth its price
    while high - low > 1e-9 * high:
        lam = (low + high) / 2
        worth = gain - lam * cost
        spent = cost[worth.argmax(1)][worth.max(1) > 0].sum()
        if spent <= budget:
            high = lam  # within the budget: a lower price may do
        else:
            low = lam
        if high < 1e-12:
            return 0.0  # the budget is enough for all
    return high


def spent_at(gain: Array, cost: Array, lam: float) -> float:
    """What all requests take together at a price; what is worth nothing is not taken."""
    worth = gain - lam * cost
    return float(cost[worth.argmax(1)][worth.max(1) > 0].sum())


def price_difference(value: Any, expected: float, gain: Array, cost: Array, budget: float) -> str:
    """'' for a price within the budget and hardly above the lowest such, else one sentence."""
    if value is None:
        return "It returns nothing (None): is the `return` missing?"
    try:
        lam = float(value)
    except (TypeError, ValueError):
        return f"It returns {shown(value)}, expected one price."
    if not (np.isfinite(lam) and lam >= 0):
        return f"Yours is {lam:g}, expected a price of 0 or more."
    mine = spent_at(gain, cost, lam * (1 + SLACK))
    most = spent_at(gain, cost, 0.0)
    told = f"your price {lam:.4g} spends {mine:.4g} of a budget of {budget:.4g}"
    if mine > budget * (1 + 1e-9):
        return f"Too much: {told} (free of charge it would be {most:.4g})."
    good = spent_at(gain, cost, expected * (1 + SLACK))
    dear = lam > expected * (1 + NEAR) + 1e-6 * float((gain / cost).max())
    if dear and mine < good * (1 - 1e-9):
        return f"Too dear: {told}; at {expected:.4g} it would be {good:.4g}, worth more."
    return ""


# ---- the faults, one by one ----------------------------------------------------------------


@dataclass(frozen=True)
class Loop:
    """The loop with some of its faults: what the reader's answer is compared with."""

    swapped: bool = False
    low_bracket: bool = False
    eps: float | None = None
    returns: str = "high"
    steps: int = 25
    __name__ = "loop"

    def __call__(self, gain: Array, cost: Array, budget: float) -> float:
        ratio = gain / cost
        low, high = 0.0, float(ratio.min() if self.low_bracket else ratio.max() * (1 + 1e-9))
        lam = high
        for _ in range(self.steps):
            lam = (low + high) / 2
            spent = spent_at(gain, cost, lam)
            if self.eps is not None and abs(spent - budget) <= self.eps:
                break
            if (spent <= budget) == self.swapped:
                low = lam
            else:
                high = lam
        return high if self.returns == "high" else lam


def _free(gain: Array, cost: Array, budget: float) -> float:
    return 0.0


def _nothing(gain: Array, cost: Array, budget: float) -> float:
    return float((gain / cost).max())


def _one_step(gain: Array, cost: Array, budget: float) -> float:
    return Loop(steps=1)(gain, cost, budget)


_SWAPPED = (
    "A higher price means less spent. When spent <= C the price may come down, so high = lam; when "
    "too much is spent it must go up, so low = lam. As printed each step walks away from the "
    "answer."
)
_BRACKET = (
    "At the price min(Q / q) every request still finds something worth taking, so a tight budget "
    "lies above it and halving never gets there. Only max(Q / q) is a price at which nothing is "
    "taken."
)
_STOP = (
    "Spending falls in steps, so |spent - C| <= eps may never be met; the loop then runs out of "
    "steps, or for ever, at a price that may be the last one that overspends. Stop when high - low "
    "is small, and return high: the end that keeps to the budget."
)
PRINTED = partial(Loop, eps=EPS, returns="last")  # with the stop as printed
MISCONCEPTIONS = (
    Misconception(
        "branches and bracket as printed",
        PRINTED(swapped=True, low_bracket=True),
        f"Two faults are left at least. {_SWAPPED} And the upper end: {_BRACKET}",
    ),
    Misconception("the branches are still swapped", PRINTED(swapped=True), _SWAPPED),
    Misconception("the upper end is still min(Q / q)", PRINTED(low_bracket=True), _BRACKET),
    Misconception("the stop is still |spent - C| <= eps", PRINTED(), _STOP),
    Misconception(
        "stopped before high has moved",
        Loop(eps=EPS),
        "high is the right end to return, but the loop is left by |spent - C| <= eps before this "
        "price has become high. Let the width of the bracket end it.",
    ),
    Misconception(
        "too few steps",
        _one_step,
        "This is the first price tried. Halve until high - low is small against high.",
    ),
    Misconception(
        "computing is free",
        _free,
        "At the price 0 everybody takes the dearest action that gains anything. That is right only "
        "when the budget is enough for all.",
    ),
    Misconception(
        "nothing is bought",
        _nothing,
        "This price keeps to the budget by serving nobody. Wanted is the lowest such price.",
    ),
)


def _requests(n: int, m: int = 8) -> tuple[Array, Array]:
    """Gains that rise with the cost and flatten, as long as the request is worth."""
    chance = rng(4, "exercise-4.1", n)
    cost = np.cumsum(chance.uniform(1.0, 2.0, m))  # measured, so no budget is met exactly
    level = chance.lognormal(0.0, 0.8, (n, 1))
    bend = chance.uniform(0.3, 0.9, (n, 1))
    return np.asarray(level * cost**bend), cost


_THREE = np.array([[4.0, 6.0], [3.0, 4.0], [2.0, 2.5]])
_COST = np.array([1.0, 2.0])
_ALIKE = np.repeat([[3.0, 5.0]], 6, 0)
CASES = (
    Case("three requests, budget 4", (_THREE, _COST, 4.0)),
    Case("a budget between two steps: 2.5", (_THREE, _COST, 2.5)),
    Case("400 requests, a quarter of the full cost", (*_requests(400), 1200.0)),
    Case("a budget that is enough for all", (_THREE, _COST, 6.0)),
    Case("no budget at all", (_THREE, _COST, 0.0)),
    Case("six requests alike: all switch at one price", (_ALIKE, _COST, 7.0)),
    Case("90 requests, a tenth of the full cost", (*_requests(90), 107.5)),
    Case("500 requests, half of the full cost", (*_requests(500), 3000.0)),
)


def _starter_code() -> types.CodeType:
    space: dict[str, Any] = {}
    exec(STARTER, space)
    return space["find_lambda"].__code__  # type: ignore[no-any-return]


def unchanged(answer: Any) -> bool:
    """Whether a function does, instruction by instruction, what the starter does."""
    code, given = getattr(answer, "__code__", None), _starter_code()
    if not isinstance(code, types.CodeType):
        return False
    numbers = [tuple(c for c in some.co_consts if not isinstance(c, str)) for some in (code, given)]
    return (code.co_code, code.co_names, numbers[0]) == (given.co_code, given.co_names, numbers[1])


class MendProbe(Probe):
    """A probe whose starter runs: while it is unchanged, nothing was attempted."""

    def __call__(self, answer: Any) -> Verdict:
        self.running.clear()
        return Verdict(NOT_ATTEMPTED) if unchanged(answer) else super().__call__(answer)


def as_printed() -> Callable[[Array, Array, float], float]:
    """The starter as a function, for the lesson to run and see fail."""
    space: dict[str, Any] = {}
    exec(STARTER, space)
    return space["find_lambda"]  # type: ignore[no-any-return]


TASK = Task(
    id="4.1",
    title="The price of computing: mend the loop",
    asked="find_lambda(gain, cost, budget) is the loop that the paper prints: gain (n, m) Q, cost "
    "(m,) q, every cost above 0. It runs, and its price is of no use. Mend it: return the lowest "
    "price lam at which the requests spend no more than the budget, each taking its best "
    "gain - lam * cost and nothing where that is not above 0. A price up to 0.1 % above is "
    "near enough; one that overspends is not.",
    starter=STARTER,
    judge=MendProbe(
        find_lambda,
        CASES,
        MISCONCEPTIONS,
        price_difference,
        praise="Your price keeps to the budget whatever the shape of the gains.",
    ),
    hints=(
        "Print low, lam, high and spent in the loop for a small case. In which direction does the "
        "price move when too much is spent, and in which should it?",
        "Is the answer inside the bracket at all? At high, spent must be at most the budget. Which "
        "price is so high that nobody takes anything?",
        "Spending jumps: with budget 2.5 and costs 1 and 2 it is never 2.5. What else becomes "
        "small with each step, whatever the budget, and which end is safe to return?",
    ),
    solution=find_lambda,
    why="Spending falls as the price rises, for any gains, so halving must work; each fault breaks "
    "one thing it needs: the direction, an upper end beyond the answer, and a stop that is always "
    "reached. Returning the feasible end keeps the promise; what it leaves unspent is less than "
    "the requests that switch at that price would take.",
    when_slow="A stop on |spent - budget| may never be met: spending falls in steps and can jump "
    "over the budget. Stop when high - low is small.",
    limit_s=10.0,
)
