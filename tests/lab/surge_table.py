"""A table of values to send surges at: concave gains over ten measured-like levels."""

from dataclasses import dataclass

import numpy as np

from reclab.core.types import Array
from reclab.degradation_dcaf.actions import Costs


@dataclass(frozen=True)
class Table:
    """What ``reclab.lab.surge.Values`` asks for."""

    value: Array
    fallback: Array
    told: Array
    tail: Array
    costs: Costs


def table(n: int = 3000, seed: int = 0, error: float = 0.5) -> Table:
    """(n, 10): each request has a height and a half-way point of its own; what is told of it is off
    by a lognormal ``error``."""
    chance = np.random.default_rng(seed)
    costs = Costs(np.full(10, 1.1), np.linspace(0.1, 3.2, 10), np.full(10, 0.6), 0.2)
    half = 0.3 + 3 * chance.random((n, 1))
    gain = chance.gamma(1.2, 1, (n, 1)) * np.log1p((costs.total_ms - 0.8) / half)
    fallback = 1 + chance.gamma(2, 0.5, n)
    told = gain * np.exp(error * chance.standard_normal((n, 1)))
    return Table(fallback[:, None] + gain, fallback, told, 0.4 * chance.random((n, 10)), costs)
