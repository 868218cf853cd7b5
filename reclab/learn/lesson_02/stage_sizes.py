"""Exercise 2.3: the sizes of the funnel, value against cost.

minimise cost(n) subject to value(n) >= 0.95 * value(full cascade), n = (retrieve, pre_rank, rank).
The check asks the live cascade: it measures the reader's sizes, then each size halved (is there
still something to save?) or doubled (which stage loses the value?).

Simplified: industry tunes sizes for each scene and hour, under a latency budget, by live test.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from reclab.learn.exercise import Task
from reclab.learn.probe import CORRECT, NOT_ATTEMPTED, NOT_YET, Verdict, shown

STAGES = ("retrieve", "pre_rank", "rank")
FULL = {"retrieve": 1000, "pre_rank": 300, "rank": 100}
SLATE = 10  # cards on the page: no stage may keep fewer
KEEP = 0.95  # of the full cascade's value
WORTHWHILE = 0.90  # a change counts as a saving when it costs at most this share of the answer

Measure = Callable[[dict[str, int]], tuple[float, float]]


def judge(answer: Any, measure: Measure | None = None) -> Verdict:
    """``measure(sizes) -> (value_share, cost_share)``, both relative to the full cascade."""
    if answer is None or answer is ...:
        return Verdict(NOT_ATTEMPTED)
    sizes = _read(answer)
    if isinstance(sizes, str):
        return Verdict(NOT_YET, (sizes,))
    if sizes == FULL:
        return Verdict(NOT_ATTEMPTED)
    if measure is None:
        return Verdict(NOT_YET, ("Give the measurement too: ex.check(sizes, measure).",))
    value, cost = _measured(measure, sizes)
    if not (np.isfinite(value) and np.isfinite(cost)):
        told = f"The measurement gave value {value}, cost {cost}: no size can be judged by that."
        return Verdict(NOT_YET, (told,))
    if value < KEEP:
        return Verdict(NOT_YET, _cut_too_far(measure, sizes, value, cost))
    return _any_saving(measure, sizes, value, cost)


def _read(answer: Any) -> dict[str, int] | str:
    """The sizes, or a sentence that says what is wrong with them."""
    if not isinstance(answer, Mapping) or set(answer) != set(STAGES):
        return f"Got {shown(answer)}, expected the three sizes, for example {FULL}."
    for stage in STAGES:
        size = answer[stage]
        if not isinstance(size, (int, np.integer)) or isinstance(size, bool):
            return f"{stage} must be a whole number, got {shown(size)}."
        if size < SLATE:
            return f"{stage} = {size}: expected at least {SLATE}, the page has {SLATE} cards."
    sizes = {stage: int(answer[stage]) for stage in STAGES}
    for wide, narrow in zip(STAGES, STAGES[1:], strict=False):
        if sizes[narrow] > sizes[wide]:
            return (
                f"Likely: a funnel that widens. {narrow} = {sizes[narrow]}, expected at most "
                f"{wide} = {sizes[wide]}: a stage can only keep what the one before handed over."
            )
    return sizes


def _measured(measure: Measure, sizes: dict[str, int]) -> tuple[float, float]:
    value, cost = measure(dict(sizes))
    return float(value), float(cost)


def _scaled(sizes: dict[str, int], stage: str, factor: float) -> dict[str, int]:
    """One size times ``factor``, within what the stage before hands over; later sizes follow."""
    new = {**sizes, stage: max(SLATE, round(sizes[stage] * factor))}
    for wide, narrow in zip(STAGES, STAGES[1:], strict=False):
        new[narrow] = min(new[narrow], new[wide])
    return new


def _cut_too_far(
    measure: Measure, sizes: dict[str, int], value: float, cost: float
) -> tuple[str, ...]:
    gains = {stage: _measured(measure, _scaled(sizes, stage, 2))[0] for stage in STAGES}
    best = max(gains, key=lambda stage: gains[stage])
    return (
        f"Likely: cut too far. Yours keeps {value:.1%} of the value at {cost:.1%} of the cost; "
        f"expected at least {KEEP:.0%} of the value.",
        f"The narrowest place is {best}: doubled to {_scaled(sizes, best, 2)[best]} it would keep "
        f"{gains[best]:.1%}. What a stage drops, no later stage can bring back.",
    )


def _any_saving(measure: Measure, sizes: dict[str, int], value: float, cost: float) -> Verdict:
    """Correct when no single size can be halved for a worthwhile saving."""
    mine = f"Yours keeps {value:.1%} of the value at {cost:.1%} of the cost"
    for stage in STAGES:
        smaller = _scaled(sizes, stage, 0.5)
        if smaller == sizes:
            continue
        value_less, cost_less = _measured(measure, smaller)
        if value_less >= KEEP and cost_less <= WORTHWHILE * cost:
            told = (
                f"Likely: more generous than needed. {mine}; with {stage} = {smaller[stage]} it "
                f"would still keep {value_less:.1%} at {cost_less:.1%}. Expected: no size left "
                f"that can be halved within {KEEP:.0%}."
            )
            return Verdict(NOT_YET, (told,))
    told = f"{mine}, and no size can be halved for a saving of a tenth within {KEEP:.0%}."
    return Verdict(CORRECT, (told,))


SOLUTION = '''def cheapest(measure, sizes, keep=0.95):
    """Shrink one size at a time, the one that saves most, while the value holds."""
    while True:
        _, cost = measure(sizes)
        best = None
        for stage in ("retrieve", "pre_rank", "rank"):
            smaller = {**sizes, stage: max(10, int(sizes[stage] * 0.7))}
            smaller["pre_rank"] = min(smaller["pre_rank"], smaller["retrieve"])
            smaller["rank"] = min(smaller["rank"], smaller["pre_rank"])
            value, less = measure(smaller)
            if smaller != sizes and value >= keep and less < cost:
                cost, best = less, smaller
        if best is None:
            return sizes
        sizes = best
'''

TASK = Task(
    id="2.3",
    title="Sizes of the stages: the same value for less",
    asked="Choose sizes = {'retrieve': …, 'pre_rank': …, 'rank': …}, the candidates that each "
    f"stage hands on. Keep at least {KEEP:.0%} of the full cascade's value, and cut the cost until "
    "no single size can be halved for a worthwhile saving. Check with ex.check(sizes, measure).",
    starter='sizes = {"retrieve": 1000, "pre_rank": 300, "rank": 100}',
    judge=judge,
    hints=(
        "Cost is the sum over stages of candidates in × price of one. Which stage has the dearest "
        "model, and which size decides how many it sees?",
        "The ranker sees pre_rank candidates, so this size is usually where the money is. Halve it "
        "first and watch the value; then turn to retrieve.",
        "Go step by step: shrink whatever saves most while the value stays above the line, and "
        "stop when every further halving falls below it.",
    ),
    solution=SOLUTION,
    why="Value grows with the logarithm of a size, cost in proportion to it: the first hundred "
    "candidates earn most, the last thousand are paid for in full. So there is always a cheaper "
    "funnel close by, and always a stage at which cutting hurts first.",
    when_slow="Each check measures up to four funnels. Measure on fewer requests.",
    limit_s=300.0,
)
