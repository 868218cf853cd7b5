"""How long each business takes to answer, measured on this machine: one request at a time, in this
process, alone; the median of several answers counts.

Simplified: no queues, no network; under load the slow answers get slower than these.
"""

from collections.abc import Callable
from time import perf_counter

import numpy as np

from reclab.blending.businesses import make_businesses
from reclab.blending.contract import Deadline
from reclab.core.types import Array, Request
from reclab.lab.lab import Lab

OFFERED = 10  # candidates a business sends
REPEATS = 3  # of each answer that is timed
Say = Callable[[float, str], None]


def requests_of(lab: Lab, n: int) -> list[Request]:
    """The requests of the panel, as ``make_pool`` takes them from the tuning day."""
    held = lab.world.truth.tuning
    rows = np.linspace(0, len(held) - 1, min(n, len(held))).astype(int)
    every = lab.judge.requests("tuning", len(held))
    return [every[row] for row in rows]


def answer_times(
    lab: Lab, requests: list[Request], repeats: int = REPEATS, say: Say | None = None
) -> Array:
    """(B, businesses) ms that each business takes for each request alone: median of repeats."""
    businesses, ever = make_businesses(lab.trained, lab.logs), Deadline(float("inf"))
    ms = np.zeros((repeats, len(requests), len(businesses)))
    for row, request in enumerate(requests):
        if say:
            say(row / len(requests), "answers timed")
        for b, business in enumerate(businesses.values()):
            for again in range(repeats):
                start = perf_counter()
                business.offer([request], OFFERED, ever)
                ms[again, row, b] = 1e3 * (perf_counter() - start)
    return np.asarray(np.median(ms, 0))
