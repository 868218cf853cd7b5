"""Capacity model (容量模型): how long requests wait for c cores, how many a deadline needs.

    a = lambda s,  rho = a / c                     work that arrives, in cores; utilisation
    C = B / (1 - rho (1 - B)),  B = (a^c / c!) / sum_k<=c a^k / k!         chance to wait (Erlang C)
    P(wait > t) = C e^(-t / w),   w = s / (c (1 - rho)) * (ca^2 + cs^2) / 2    (Allen and Cunneen)

s is the mean service time, cs and ca the coefficients of variation of services and of the gaps
between arrivals (1: by chance). Exact for exponential services; for others the mean wait is right
to some per cent, and the tail is taken to be exponential. A response's quantile adds a lognormal
service to the wait: middle + sqrt(sum of the squared distances from it).
Every function takes arrays. A core here is a process with one worker: see ``serving.py``.
Reference: Erlang 1917; Allen 1990, section 5.4; Tijms 2003 for tables.

Simplified: steady state, one queue; industry adds the time to wake up and the noise of neighbours.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import gammaincc, gammaln, ndtri, xlogy

from reclab.core.errors import check_float, check_int
from reclab.core.types import Array

FULL = 1 - 1e-9  # utilisation from which nobody's wait ends
Number = float | Array


@dataclass(frozen=True)
class Service:
    """Measured service times: ``mean_ms`` (0.01-1000) and ``spread`` = standard deviation as a
    share of it (0-3)."""

    mean_ms: float
    spread: float = 0.3

    def __post_init__(self) -> None:
        check_float("Service.mean_ms", self.mean_ms, 1e-6, 1e7, "5")
        check_float("Service.spread", self.spread, 0.0, 100.0, "0.1-1")

    @staticmethod
    def of(ms: Array) -> "Service":
        """From measured times (n,)."""
        mean = float(np.mean(ms))
        return Service(mean, float(np.std(ms)) / max(mean, 1e-12))


def erlang_b(cores: Number, work: Number) -> Array:
    """Chance that all ``cores`` are busy where nobody waits; ``work`` in cores.

    >>> erlang_b(np.array([1, 2]), 1.0).round(6).tolist()       # a / (1 + a), a²/2 / (1 + a + a²/2)
    [0.5, 0.2]
    """
    c, a = np.asarray(cores, float), np.maximum(np.asarray(work, float), 1e-300)
    log = xlogy(c, a) - a - gammaln(c + 1)
    return np.exp(log) / gammaincc(c + 1, a)


def erlang_c(cores: Number, work: Number) -> Array:
    """Chance to wait, 1 where there is as much work as cores.

    >>> erlang_c(1, np.array([0.25, 0.9])).round(6).tolist()    # one core: the utilisation
    [0.25, 0.9]
    """
    c, a = np.asarray(cores, float), np.asarray(work, float)
    rho = np.minimum(a / c, FULL)
    b = erlang_b(c, rho * c)
    return np.where(a / c >= FULL, 1.0, b / (1 - rho * (1 - b)))


def wait_scale_ms(
    qps: Number, cores: Number, mean_ms: Number, spread: Number, arrivals: float = 1.0
) -> Array:
    """w of the formula: mean wait of those who wait; without end at full utilisation."""
    rho = np.asarray(qps, float) * mean_ms / 1000 / cores
    idle = np.maximum(1 - rho, 1e-12)
    scale = np.asarray(mean_ms, float) / (np.asarray(cores, float) * idle)
    return np.where(rho >= FULL, np.inf, scale * (arrivals**2 + np.asarray(spread) ** 2) / 2)


def wait_quantile_ms(share: Number, chance: Number, scale_ms: Number) -> Array:
    """The wait that ``share`` of all stay below, from ``erlang_c`` and ``wait_scale_ms``."""
    longer = np.maximum(1 - np.asarray(share, float), 1e-12)
    waits = np.maximum(np.log(np.maximum(chance, 1e-300) / longer), 0.0)
    return np.where(waits > 0, waits * np.where(waits > 0, scale_ms, 0.0), 0.0)


def service_quantile_ms(share: Number, mean_ms: Number, spread: Number) -> Array:
    """The service time that ``share`` of requests stay below, were it lognormal."""
    square = np.log1p(np.asarray(spread, float) ** 2)
    return mean_ms * np.exp(ndtri(share) * np.sqrt(square) - square / 2)


def response_ms(
    share: Number,
    qps: Number,
    cores: Number,
    mean_ms: Number,
    spread: Number,
    arrivals: float = 1.0,
) -> Array:
    """The response time that ``share`` (0.5-0.999) of requests stay below; inf when overloaded."""
    chance = erlang_c(cores, np.asarray(qps, float) * mean_ms / 1000)
    scale = wait_scale_ms(qps, cores, mean_ms, spread, arrivals)
    middle = wait_quantile_ms(0.5, chance, scale)
    wait = wait_quantile_ms(share, chance, scale)
    own = service_quantile_ms(share, mean_ms, spread) - mean_ms
    ends = np.isfinite(wait)
    middle, wait = np.where(ends, middle, 0.0), np.where(ends, wait, 0.0)
    apart = np.where(own >= 0, np.hypot(wait - middle, own), own + wait - middle)
    return np.where(ends, np.asarray(mean_ms, float) + middle + apart, np.inf)


def safe_qps(service: Service, cores: Number, limit_ms: float, share: float = 0.99) -> Array:
    """The most requests a second at which ``share`` of them are answered within ``limit_ms``; 0 if
    the service alone takes longer. By bisection, to a thousandth."""
    c = np.asarray(cores, float)
    low, high = np.zeros_like(c), 1000 * c / service.mean_ms
    for _ in range(40):
        middle = (low + high) / 2
        fine = response_ms(share, middle, c, service.mean_ms, service.spread) <= limit_ms
        low, high = np.where(fine, middle, low), np.where(fine, high, middle)
    return low


@dataclass(frozen=True)
class MachineConfig:
    """A machine of the cluster: ``cores`` (1-128), each a process with one worker."""

    cores: int = 2

    def __post_init__(self) -> None:
        check_int("MachineConfig.cores", self.cores, 1, 1024, "2")


def machines_for(
    qps: Number,
    service: Service,
    limit_ms: float,
    machine: MachineConfig | None = None,
    share: float = 0.99,
) -> Array:
    """The fewest machines that keep the limit at each load, in one queue; 0 where nobody comes.
    Raises ``ConfigError`` for a limit that the service alone does not keep.

    >>> machines_for(np.array([0.0, 100.0, 200.0]), Service(10.0), 50.0).tolist()
    [0, 1, 2]
    """
    each = (machine or MachineConfig()).cores
    alone = float(service_quantile_ms(share, service.mean_ms, service.spread))
    check_float("machines_for.limit_ms", limit_ms, alone, 1e9, f"{2 * alone:.0f}")
    q = np.asarray(qps, float)
    low = np.ceil(q * service.mean_ms / 1000 / each)  # to do the work at all
    high = 2 * low + 2
    while (low < high).any():
        middle = np.floor((low + high) / 2)
        cores = np.maximum(middle, 1) * each
        fine = response_ms(share, q, cores, service.mean_ms, service.spread) <= limit_ms
        fine &= (middle > 0) | (q == 0)
        low, high = np.where(fine, low, middle + 1), np.where(fine, middle, high)
    return high.astype(int)
