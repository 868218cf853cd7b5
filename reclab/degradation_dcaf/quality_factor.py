"""Quality factor (质量系数): one number that scales every request's budget, the global baseline.

    q += d                  while the answer was in time:      latency <= t
    q -= d p / (100 - p)    otherwise,                         least <= q <= 1

In the long run a share p of the answers is in time, for only there do the steps cancel: the p-th
percentile of the latency settles at t. It knows the load but not the request, so the user for whom
more work is worth nothing keeps as much as the one for whom it is: that difference is DCAF's.
Reference: stochastic approximation of a quantile, Robbins and Monro 1951.

Simplified: industry keeps one factor a service and moves it from a sample of the answers.
"""

from dataclasses import dataclass

import numpy as np

from reclab.core.errors import check_float
from reclab.core.types import Array


@dataclass(frozen=True)
class QualityFactorConfig:
    """The percentile, the latency it shall have, the step and the floor."""

    percentile: float = 95.0
    """p, share of answers that shall be in time (per cent, 50-99.9)"""
    latency_ms: float = 100.0
    """t, what in time means (ms, 20-500)"""
    step: float = 0.00125
    """d, how far one answer moves the factor (share, 1e-4 ... 1e-2)"""
    least: float = 0.1
    """the factor is never below this (share, 0.01-0.5)"""

    def __post_init__(self) -> None:
        check_float("QualityFactorConfig.percentile", self.percentile, 1.0, 99.999, "95")
        check_float("QualityFactorConfig.latency_ms", self.latency_ms, 0.1, 1e6, "100")
        check_float("QualityFactorConfig.step", self.step, 1e-9, 1.0, "0.00125")
        check_float("QualityFactorConfig.least", self.least, 0.0, 1.0, "0.1")


class QualityFactor:
    """``update`` with the latencies of answers, ``get`` the factor.

    >>> quality = QualityFactor()
    >>> quality.update(np.full(10, 500.0))
    0.7625
    """

    def __init__(self, config: QualityFactorConfig | None = None) -> None:
        self.config = config or QualityFactorConfig()
        self.factor = 1.0

    def get(self) -> float:
        """The factor now (share of the full budget)."""
        return self.factor

    def update(self, latency_ms: Array) -> float:
        """Take the latencies (n,) of some answers, NaN = it failed, and return the new factor. The
        steps of one call are added up, so calls should be short against 1 / step answers."""
        c = self.config
        late = int((~(latency_ms <= c.latency_ms)).sum())
        moved = (len(latency_ms) - late) - late * c.percentile / (100 - c.percentile)
        self.factor = float(np.clip(self.factor + c.step * moved, c.least, 1.0))
        return self.factor
