"""A day of the service, as lesson 03 turns it: traffic, budgets, machines, rungs, and what is down.

    traffic    the calibrated tide, a surge on top of it, or the shape of a real trace
    budgets    a rung is usable if each of its stages fits its limit; what a stage leaves goes on
    machines   static: for the usual peak; following the load; by yesterday's curve; by value
    down       retrieval, ranker or cache, from an hour on

What rungs cost and give is measured (``rung_values``); the rest is ``resource_allocation``.

Simplified: real traces last a day or less and are told as one; machines never break.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from reclab.core.errors import ConfigError, check, check_float
from reclab.core.types import Array
from reclab.lab.rung_values import DEEP, LADDER, SHALLOW, STAGES, Offer, offers_of
from reclab.lab.scenarios import from_trace, tidal_day
from reclab.offline_online.serving.capacity import MachineConfig, Service, machines_for
from reclab.offline_online.serving.fallback import CACHED, FRESH, NOT_RANKED
from reclab.offline_online.serving.resource_allocation import (
    ClusterConfig,
    Day,
    Offers,
    machines_by_value,
    simulate_day,
)

TICKS, TICK_S = 288, 300.0
CORES = 2
TIDE, SURGE = "tide", "tide with a surge"
STATIC, FOLLOW, FORECAST, BY_VALUE = MACHINES = (
    "sized for the peak", "following the load", "by yesterday's curve", "by value"
)  # fmt: skip
PARTS = ("retrieval", "ranker", "cache")
NEEDS = {
    "retrieval": (DEEP, FRESH, SHALLOW, NOT_RANKED),
    "ranker": (DEEP, FRESH, SHALLOW),
    "cache": (CACHED,),
}  # rungs that fail without a part
MID = {"pre_ranking": 0.15, "re_ranking": 0.1}  # shares of the stages without a knob
ALL_ON = dict.fromkeys(LADDER, True)


@dataclass(frozen=True)
class DayKnobs:
    """What a reader turns. ``peak_qps`` of the usual evening; ``height`` times the usual for
    ``lasts_h`` hours from 20:30; ``deadline_ms`` and its ``reserve``; shares of ``retrieval`` and
    ``ranking``; ``machines`` one of ``MACHINES``; ``sized`` times what the load needs;
    ``start_min``; ``price`` of a machine-hour in thousands of value; ``by_value`` mix of rungs or
    the plain ladder; rungs ``on``; ``down`` parts from ``from_h`` for ``hours``."""

    curve: str = TIDE
    peak_qps: float = 20_000.0
    height: float = 3.0
    lasts_h: float = 1.0
    deadline_ms: float = 100.0
    reserve: float = 0.2
    retrieval: float = 0.45
    ranking: float = 0.3
    machines: str = FOLLOW
    sized: float = 1.1
    start_min: float = 10.0
    price: float = 400.0
    by_value: bool = False
    on: Mapping[str, bool] = field(default_factory=lambda: dict(ALL_ON))
    down: tuple[str, ...] = ()
    from_h: float = 19.0
    hours: float = 2.0

    def __post_init__(self) -> None:
        check_float("DayKnobs.peak_qps", self.peak_qps, 1.0, 1e7, "20000")
        check_float("DayKnobs.deadline_ms", self.deadline_ms, 1.0, 1e5, "100")
        check_float("DayKnobs.sized", self.sized, 0.01, 100.0, "1")
        known = self.machines in MACHINES
        check(known, "DayKnobs.machines", self.machines, f"be one of {MACHINES}", FOLLOW)
        check(set(self.down) <= set(PARTS), "DayKnobs.down", self.down, f"name {PARTS}", "ranker")


@dataclass
class ServingDay:
    """``run(knobs)`` on measured ``rungs``; ``traces`` are shapes (T,) of real days by name."""

    rungs: Mapping[str, Offer]
    traces: Mapping[str, Array] = field(default_factory=dict)

    @cached_property
    def offers(self) -> Offers:
        """The rungs as columns."""
        return offers_of(self.rungs)

    @property
    def curves(self) -> tuple[str, ...]:
        """Names of the traffic there is."""
        return (TIDE, SURGE, *self.traces)

    @property
    def usual(self) -> float:
        """Value of a request when the fresh cascade answers all."""
        return self.rungs[FRESH].value

    @property
    def hours(self) -> Array:
        """(T,) when each tick begins."""
        return np.arange(TICKS) * TICK_S / 3600

    def qps(self, knobs: DayKnobs) -> Array:
        """(T,) requests a second. Raises ``ConfigError`` for an unknown curve."""
        if knobs.curve in self.traces:
            shape = self.traces[knobs.curve]
            return np.asarray(knobs.peak_qps * shape / shape.max())
        if knobs.curve not in self.curves:
            raise ConfigError(f"no traffic {knobs.curve!r} (there are: {', '.join(self.curves)})")
        tide = tidal_day(knobs.peak_qps, TICKS, 1000 * TICK_S).qps
        if knobs.curve == TIDE:
            return tide
        inside = (self.hours >= 20.5) & (self.hours < 20.5 + knobs.lasts_h)
        return np.asarray(tide * np.where(inside, knobs.height, 1.0))

    def fits(self, knobs: DayKnobs) -> Array:
        """(k,) bool: rungs whose stages, slow by two deviations, keep their limits."""
        shares = MID | {"retrieval": knobs.retrieval, "ranking": knobs.ranking}
        fine = []
        for rung in self.rungs.values():
            left = knobs.deadline_ms * (1 - knobs.reserve)
            ok = rung.cost_ms <= left
            for at, stage in enumerate(STAGES[: len(rung.stage_ms)]):
                behind = sum(shares[name] for name in STAGES[at:])
                slow = rung.stage_ms[at] * (1 + 2 * rung.spread)
                ok &= slow <= left * shares[stage] / max(behind, 1e-9)
                left -= rung.stage_ms[at]
            fine.append(ok)
        return np.array(fine)

    def usable(self, knobs: DayKnobs) -> Array:
        """(T, k) bool: switched on, within the budgets, and not down."""
        ready = self.fits(knobs) & np.array([knobs.on.get(name, True) for name in self.rungs])
        usable = np.tile(ready, (TICKS, 1))
        during = (self.hours >= knobs.from_h) & (self.hours < knobs.from_h + knobs.hours)
        names = list(self.rungs)
        for part in knobs.down:
            for name in NEEDS[part]:
                usable[during, names.index(name)] = False
        return usable

    def sized_for(self, knobs: DayKnobs) -> Service:
        """The rung that machines are counted for: the usual one, or the best that may be used."""
        ready = self.fits(knobs) & np.array([knobs.on.get(name, True) for name in self.rungs])
        names = [name for name, ok in zip(self.rungs, ready, strict=True) if ok]
        if not names:
            raise ConfigError("no rung is on that keeps the budgets: there is nothing to serve")
        rung = self.rungs[FRESH if FRESH in names else names[0]]
        return Service(rung.cost_ms, rung.spread)

    def wanted(self, knobs: DayKnobs, qps: Array, usable: Array) -> Array:
        """(T,) machines that are asked for."""
        limit = knobs.deadline_ms * (1 - knobs.reserve)
        service = self.sized_for(knobs)

        def needs(load: Array) -> Array:
            found = machines_for(knobs.sized * load, service, limit, MachineConfig(CORES))
            return np.maximum(found, 1)

        usual = tidal_day(knobs.peak_qps, TICKS, 1000 * TICK_S).qps
        if knobs.machines == STATIC:
            return np.full(TICKS, int(needs(usual.max(keepdims=True))[0]))
        if knobs.machines == FOLLOW:
            return needs(qps)
        if knobs.machines == FORECAST:
            ahead = round(60 * knobs.start_min / TICK_S)
            later = np.max([np.roll(usual, -n) for n in range(ahead + 1)], axis=0)
            return needs(np.maximum(later, qps))
        most = max(int(3 * needs(qps.max(keepdims=True))[0]), 2)
        worth = knobs.price * 1000 / 3600
        return machines_by_value(self.offers, qps, usable[0], self.cluster(knobs), worth, most)

    def cluster(self, knobs: DayKnobs) -> ClusterConfig:
        """The machines' facts."""
        limit = knobs.deadline_ms * (1 - knobs.reserve)
        return ClusterConfig(CORES, knobs.start_min, limit)

    def run(self, knobs: DayKnobs) -> Day:
        """The day under these settings."""
        qps, usable = self.qps(knobs), self.usable(knobs)
        wanted = self.wanted(knobs, qps, usable)
        cluster = self.cluster(knobs)
        return simulate_day(self.offers, qps, wanted, usable, cluster, knobs.by_value, TICK_S)

    def kept(self, day: Day) -> float:
        """Value of a day as a share of what the fresh cascade for all would have given."""
        return day.total_value / (self.usual * day.requests)


def real_days(folder: Path) -> dict[str, Array]:
    """Shapes (T,) of the traces of traffic that lie in a folder, at their own pace where they last
    a day; none where there is no folder. A file that is no trace is told by ``from_trace``."""
    if not folder.is_dir():
        return {}
    paths = sorted([*folder.glob("*.csv"), *folder.glob("*.csv.gz")])
    days = (from_trace(path, 1.0, TICKS, 1000 * TICK_S) for path in paths)
    return {day.name.replace("__", " ").replace("_", " "): day.qps for day in days}
