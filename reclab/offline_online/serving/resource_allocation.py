"""Dynamic resource allocation (动态算力分配): machines that follow the tide, rungs by load.

    b_t = rho c_t 1000 / qps_t             what a request may cost (ms): c_t cores, kept busy to rho
    max sum_k f_k v_k,   sum_k f_k c_k <= b_t,   sum_k f_k <= 1       f = shares of the rungs

The best mix lies on the upper hull of value over cost: at most two rungs at a time, the best that
value per cost can buy. The plain ladder gives the best rung to as many as it can, and the next one
to the others. A machine asked for is paid at once and works after its start-up; one that is let go
stops at once, so those that work are those that were wanted all that time.
Machines by value: as many as raise  worth of the answers - price of the machines,  by the hour.
Chapter 2, section 2.3.2, figure 2.5; the mix is DCAF's knapsack (section 2.4) for requests alike.

Simplified: requests are alike, and queues settle within a tick.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from reclab.core.errors import DataError, check_float, check_int
from reclab.core.types import Array
from reclab.offline_online.serving.capacity import Service, response_ms, safe_qps

MOST_CORES = 10_000  # of the table; more are kept as busy
INSTANT_MS = 0.2  # rungs below this cost are answered by the caller, without a queue


@dataclass(frozen=True)
class Offers:
    """What the rungs give: ``names`` (k,) best first, ``cost_ms`` and ``spread`` of their time,
    ``value`` of a page, (k,) each."""

    names: tuple[str, ...]
    cost_ms: Array = field(repr=False)
    spread: Array = field(repr=False)
    value: Array = field(repr=False)

    def __post_init__(self) -> None:
        columns = np.stack([self.cost_ms, self.spread, self.value])
        if (
            columns.shape != (3, len(self.names))
            or not (np.isfinite(columns) & (columns >= 0)).all()
        ):
            raise DataError(
                f"Offers: {len(self.names)} rungs need finite costs, spreads, values >= 0"
            )

    def steps(self, usable: Array, by_value: bool) -> Array:
        """Rungs to mix, by rising cost: those ``usable`` (k,) bool; ``by_value`` only those on the
        upper hull."""
        order = [int(k) for k in np.argsort(self.cost_ms, kind="stable") if usable[k]]
        steps: list[int] = []
        for k in order:
            if by_value and steps and self.value[k] <= self.value[steps[-1]]:
                continue
            while (
                by_value and steps and self._slope(steps, k) >= self._slope(steps[:-1], steps[-1])
            ):
                steps.pop()
            steps.append(k)
        return np.array(steps, int)

    def _slope(self, steps: Sequence[int], k: int) -> float:
        """Value per cost of the step from the last of ``steps`` (or nothing) to k."""
        cost, value = (self.cost_ms[steps[-1]], self.value[steps[-1]]) if steps else (0.0, 0.0)
        return float((self.value[k] - value) / max(self.cost_ms[k] - cost, 1e-12))


def mix(offers: Offers, budget_ms: Array, usable: Array, by_value: bool = True) -> Array:
    """(T, k) shares of the rungs within ``budget_ms`` (T,) a request. What the cheapest cannot
    give gets nothing: rows then sum to less than 1.

    >>> two = Offers(("fresh", "hot"), np.array([6.0, 1.0]), np.zeros(2), np.array([10.0, 5.0]))
    >>> mix(two, np.array([9.0, 3.5, 0.5]), np.array([True, True])).tolist()
    [[1.0, 0.0], [0.5, 0.5], [0.0, 0.5]]
    """
    shares = np.zeros((len(budget_ms), len(offers.names)))
    steps = offers.steps(usable, by_value)
    if not len(steps):
        return shares
    cost = np.append(0.0, offers.cost_ms[steps])
    budget = np.clip(budget_ms, 0.0, cost[-1])
    upper = np.clip(np.searchsorted(cost, budget, side="left"), 1, len(steps))
    part = (budget - cost[upper - 1]) / np.maximum(cost[upper] - cost[upper - 1], 1e-12)
    rows = np.arange(len(budget))
    shares[rows, steps[upper - 1]] = part
    below = upper > 1
    shares[rows[below], steps[upper[below] - 2]] = 1 - part[below]
    return shares


@dataclass(frozen=True)
class ClusterConfig:
    """The machines."""

    cores: int = 2
    """of a machine, each with one worker (1-128)"""
    start_min: float = 10.0
    """minutes from asking for a machine until it works (0-60)"""
    deadline_ms: float = 100.0
    """p99 that the queue must keep (ms, 20-500)"""

    def __post_init__(self) -> None:
        check_int("ClusterConfig.cores", self.cores, 1, 1024, "2")
        check_float("ClusterConfig.start_min", self.start_min, 0.0, 1440.0, "5-20")
        check_float("ClusterConfig.deadline_ms", self.deadline_ms, 0.1, 1e6, "100")


def working(wanted: Array, start_ticks: int) -> Array:
    """(T,) machines that work, of those ``wanted`` in each tick: the least of the last ticks. The
    day before ended as this one began.

    >>> working(np.array([2, 2, 5, 5, 3]), 1).tolist()
    [2, 2, 2, 5, 3]
    """
    if start_ticks <= 0:
        return wanted
    held = np.concatenate([np.full(start_ticks, wanted[0]), wanted])
    return sliding_window_view(held, start_ticks + 1).min(1)


def busy_share(offers: Offers, cores: Array, deadline_ms: float) -> Array:
    """How busy cores (any shape) may be kept so that 99 % of the dearest rung's answers are in
    time; in a table of cores, between which it is read off."""
    k = int(np.argmax(offers.cost_ms))
    return np.interp(cores, *_busy_table(float(offers.cost_ms[k]), float(offers.spread[k]),
                                         deadline_ms))  # fmt: skip


@lru_cache(maxsize=256)
def _busy_table(mean_ms: float, spread: float, deadline_ms: float) -> tuple[Array, Array]:
    grid = np.unique(np.geomspace(1, MOST_CORES, 60).round())
    return grid, safe_qps(Service(mean_ms, spread), grid, deadline_ms) * mean_ms / 1000 / grid


def machines_by_value(
    offers: Offers, qps: Array, usable: Array, cluster: ClusterConfig, price: float, most: int
) -> Array:
    """(T,) machines that raise value a second less ``price`` (value of a machine-second), up to
    ``most``."""
    m = np.unique(np.geomspace(1, most, min(most, 160)).round())
    cores = m * cluster.cores
    busy = busy_share(offers, cores, cluster.deadline_ms)
    budget = 1000 * (busy * cores)[None, :] / np.maximum(qps, 1e-9)[:, None]
    steps = offers.steps(usable, by_value=True)
    cost, value = np.append(0.0, offers.cost_ms[steps]), np.append(0.0, offers.value[steps])
    gain = qps[:, None] * np.interp(budget, cost, value) - price * m
    return m[gain.argmax(1)].astype(int)


@dataclass(frozen=True)
class Day:
    """A day by ticks: ``qps`` and ``machines`` (T,), those ``paid`` for, ``shares`` (T, k) of the
    rungs, ``value`` of a request, ``missed`` share without an answer in time, ``busy`` share of the
    cores, ``p50_ms`` and ``p99_ms`` of all answers; ``tick_s``."""

    qps: Array = field(repr=False)
    machines: Array = field(repr=False)
    paid: Array = field(repr=False)
    shares: Array = field(repr=False)
    value: Array = field(repr=False)
    missed: Array = field(repr=False)
    busy: Array = field(repr=False)
    p50_ms: Array = field(repr=False)
    p99_ms: Array = field(repr=False)
    tick_s: float = 300.0

    @property
    def requests(self) -> float:
        """Requests of the day."""
        return float(self.qps.sum() * self.tick_s)

    @property
    def total_value(self) -> float:
        """Value of all answers."""
        return float((self.qps * self.value).sum() * self.tick_s)

    @property
    def machine_hours(self) -> float:
        """Paid, those that are starting too."""
        return float(self.paid.sum() * self.tick_s / 3600)

    def of_requests(self, values: Array) -> Array:
        """Mean over requests of values (T, …)."""
        weight = self.qps / max(self.qps.sum(), 1e-12)
        return weight @ values


def simulate_day(
    offers: Offers,
    qps: Array,
    wanted: Array,
    usable: Array,
    cluster: ClusterConfig | None = None,
    by_value: bool = True,
    tick_s: float = 300.0,
) -> Day:
    """Ticks of ``qps`` (T,) on ``wanted`` (T,) machines; ``usable`` (T, k) bool says which rungs
    are up. No loop over ticks: ticks with the same rungs go together."""
    cluster = cluster or ClusterConfig()
    if not len(qps) == len(wanted) == len(usable) or not len(qps):
        lengths = f"{len(qps)} qps, {len(wanted)} machines, {len(usable)} ticks of rungs"
        raise DataError(f"simulate_day: {lengths}, need one length, at least 1")
    machines = working(wanted, round(60 * cluster.start_min / tick_s))
    cores = np.maximum(machines, 0) * cluster.cores
    rho = busy_share(offers, np.maximum(cores, 1), cluster.deadline_ms)
    budget = 1000 * rho * cores / np.maximum(qps, 1e-9)
    shares = np.zeros(usable.shape)
    kinds, which = np.unique(usable, axis=0, return_inverse=True)
    for n, kind in enumerate(kinds):
        mine = which.ravel() == n
        shares[mine] = mix(offers, budget[mine], kind, by_value)
    p50, p99, busy = _responses(offers, qps, cores, shares)
    missed = np.clip(1 - shares.sum(1), 0, 1)
    return Day(qps, machines, wanted, shares, shares @ offers.value, missed, busy, p50, p99, tick_s)


def _responses(
    offers: Offers, qps: Array, cores: Array, shares: Array
) -> tuple[Array, Array, Array]:
    """p50 and p99 of all answers and how busy the cores are; instant rungs do not wait."""
    queued = shares * (offers.cost_ms >= INSTANT_MS)
    part = np.maximum(queued.sum(1), 1e-12)
    mean = queued @ offers.cost_ms / part
    square = queued @ (offers.cost_ms**2 * (1 + offers.spread**2)) / part
    spread = np.sqrt(np.maximum(square / np.maximum(mean, 1e-12) ** 2 - 1, 0))
    busy = qps * (shares @ offers.cost_ms) / 1000 / np.maximum(cores, 1e-9)
    c, found = np.maximum(cores, 1), []
    for p in (0.5, 0.99):
        inside = 1 - (1 - p) / part
        ms = response_ms(np.clip(inside, 0.01, 0.9999), qps * part, c, mean, spread)
        found.append(np.where(inside > 0, np.maximum(ms, 0.0), 0.0))
    return found[0], found[1], np.where(cores > 0, np.minimum(busy, 1.0), 0.0)
