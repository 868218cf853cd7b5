"""Exercise 5.6: Lorenz curve and Gini coefficient (基尼系数) by hand.

L_j = share of all exposures that the j least shown items have together, j = 0 … n
G   = 1 - 2 * area under L by trapezoids  =  1 - (1/n) sum_j (L_j + L_{j-1})

Reference: Lorenz 1905; Gini 1912.

Simplified: no correction for small n; the most unequal n items reach (n - 1) / n, not 1.
"""

from typing import Any

import numpy as np

from reclab.core.chance import rng
from reclab.core.types import Array
from reclab.learn.exercise import Task
from reclab.learn.probe import Case, Misconception, Probe, read_array, shown

Pair = tuple[Array, float]


def lorenz_gini(exposure):
    """(n,) exposures, zeros included -> ((n + 1,) Lorenz curve from 0 to 1, Gini)."""
    held = np.concatenate([[0.0], np.cumsum(np.sort(exposure))])
    if held[-1] == 0:
        return np.linspace(0, 1, len(held)), 0.0  # nobody has more than another
    curve = held / held[-1]
    return curve, 1 - (curve[1:] + curve[:-1]).mean()


def curve_difference(value: Any, expected: Pair, *args: Any) -> str:
    """'' when curve and Gini agree, else which of them does not."""
    if value is None:
        return "It returns nothing (None): is the `return` missing?"
    try:
        curve, g = value
    except (TypeError, ValueError):
        return f"It returns {shown(value)}, expected two results: (curve, gini)."
    mine = read_array(curve)
    if isinstance(mine, str):
        return f"curve: {mine}"
    if mine.shape != expected[0].shape:
        return f"The curve has shape {mine.shape}, expected {expected[0].shape}: it begins at 0."
    off = np.flatnonzero(~np.isclose(mine, expected[0], 1e-6, 1e-9))
    if len(off):
        j = off[0]
        return f"The curve at [{j}]: yours {mine[j]:.4g}, expected {expected[0][j]:.4g}."
    mine = read_array(g)
    if isinstance(mine, str) or mine.shape != ():
        return f"gini: {shown(g)}, expected one number."
    if not np.isclose(mine, expected[1], 1e-6, 1e-9):
        return f"The curve is right. The Gini: yours {mine:.4g}, expected {expected[1]:.4g}."
    return ""


def _held(exposure: Array) -> Array:
    held = np.concatenate([[0.0], np.cumsum(exposure)])
    return held / held[-1] if held[-1] else np.linspace(0, 1, len(held))


def _area(curve: Array) -> float:
    return float((curve[1:] + curve[:-1]).mean() / 2)


def _richest_first(exposure: Array) -> Pair:
    curve = _held(-np.sort(-exposure))
    return curve, 2 * _area(curve) - 1


def _unsorted(exposure: Array) -> Pair:
    curve = _held(exposure)
    return curve, 1 - 2 * _area(curve)


def _zeros_dropped(exposure: Array) -> Pair:
    return lorenz_gini(exposure[exposure > 0])  # type: ignore[no-any-return]


def _no_origin(exposure: Array) -> Pair:
    curve, g = lorenz_gini(exposure)
    return curve[1:], g


def _area_itself(exposure: Array) -> Pair:
    curve, _ = lorenz_gini(exposure)
    return curve, _area(curve)


def _half(exposure: Array) -> Pair:
    curve, g = lorenz_gini(exposure)
    return curve, g / 2


def _rectangles(exposure: Array) -> Pair:
    curve, _ = lorenz_gini(exposure)
    return curve, 1 - 2 * float(curve[1:].mean())


def _unique(exposure: Array) -> Pair:
    return lorenz_gini(np.unique(exposure))  # type: ignore[no-any-return]


def _corrected(exposure: Array) -> Pair:
    curve, g = lorenz_gini(exposure)
    n = len(exposure)
    return curve, g * n / (n - 1) if n > 1 else g


def _counts(exposure: Array) -> Pair:
    curve, g = lorenz_gini(exposure)
    return curve * exposure.sum(), g


def _no_total(exposure: Array) -> Pair:
    held = np.concatenate([[0.0], np.cumsum(np.sort(exposure))])
    curve = held / held[-1]
    return curve, float(1 - (curve[1:] + curve[:-1]).mean())


MISCONCEPTIONS = (
    Misconception(
        "the richest first",
        _richest_first,
        "The curve begins with those who have least: sort upwards. Then it lies below the "
        "diagonal, and the Gini is the gap.",
    ),
    Misconception(
        "not sorted",
        _unsorted,
        "Sort the exposures first, least to most; the order of the item table means nothing.",
    ),
    Misconception(
        "who got nothing is left out",
        _zeros_dropped,
        "An item without any exposure is the poorest of all. Without the zeros the platform looks "
        "fairest when it hides most items.",
    ),
    Misconception(
        "the curve does not begin at 0",
        _no_origin,
        "No items hold no exposure: put 0.0 in front, so that there are n + 1 points.",
    ),
    Misconception(
        "the area itself",
        _area_itself,
        "The Gini is what is missing to the diagonal, over the triangle: 1 - 2 * area.",
    ),
    Misconception(
        "half of it",
        _half,
        "The triangle under the diagonal has area 1/2: divide by it, (1/2 - area) / (1/2).",
    ),
    Misconception(
        "rectangles instead of trapezoids",
        _rectangles,
        "Between two points the curve is a slanted line: take the mean of both ends, or equal "
        "exposures do not give 0.",
    ),
    Misconception(
        "equal exposures counted once",
        _unique,
        "Two items with the same exposures are two items: np.sort, not np.unique.",
    ),
    Misconception(
        "a correction for small n",
        _corrected,
        "n / (n - 1) corrects a sample. Here all items are counted: leave it out.",
    ),
    Misconception(
        "counts instead of shares",
        _counts,
        "Divide the running sum by its last value: the curve ends at 1.",
    ),
    Misconception(
        "nothing shown at all",
        _no_total,
        "Without any exposure 0 / 0 is no number. Nobody has more than another: the diagonal, and "
        "0.",
    ),
)

_HEAVY = rng(5, "exercise-5.6").pareto(1.1, 3000).astype(np.int64)
CASES = (
    Case("four items", (np.array([6, 1, 0, 3]),)),
    Case("all alike", (np.array([5, 5, 5]),)),
    Case("one has it all", (np.array([0, 0, 8, 0]),)),
    Case("ties and zeros", (np.array([2, 0, 2, 4, 0, 2]),)),
    Case("nothing shown", (np.zeros(3, np.int64),)),
    Case("a single item", (np.array([7]),)),
    Case("3,000 items with a long tail", (_HEAVY,)),
)

TASK = Task(
    id="5.6",
    title="Lorenz curve and Gini by hand",
    asked="Write lorenz_gini(exposure): exposure (n,) counts of n items, in any order, zeros "
    "included. Return (curve, gini): curve (n + 1,) is the share of all exposures that the j least "
    "shown items hold, for j = 0 … n, so it begins at 0 and ends at 1; gini is 1 - 2 * the area "
    "under it, by trapezoids with steps of 1 / n. When nothing was shown: the diagonal and 0.",
    starter="def lorenz_gini(exposure):\n"
    '    """(n,) exposures -> ((n + 1,) Lorenz curve, Gini)."""\n    ...',
    judge=Probe(
        lorenz_gini,
        CASES,
        MISCONCEPTIONS,
        curve_difference,
        praise="Zeros and ties are counted as they should be.",
    ),
    hints=(
        "Sort upwards, then a running sum. What is the share of no items at all?",
        "np.concatenate([[0.0], np.cumsum(np.sort(exposure))]), divided by its last value, if that "
        "is not 0.",
        "A trapezoid between two points has the mean of both heights: the area is ((curve[1:] + "
        "curve[:-1]) / 2).mean().",
    ),
    solution=lorenz_gini,
    why="One number for who is seen hides where the gap is, so draw the curve beside it: the same "
    "Gini can come from a few stars or from many items with nothing. And say what was counted: "
    "over the items that were shown at all it is far lower than over all that were published.",
    limit_s=10.0,
)
