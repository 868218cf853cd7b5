"""Degradation policies: never, by hand, by thresholds, by chance, by one factor.

    never        every request gets the usual action
    by hand      a fixed share goes to the degraded path                    人工降级
    thresholds   all (or a share) go there from an "on" line until an "off" line    规则阈值
    overflow     what is beyond capacity goes there at random: the 20,000 QPS rule
    quality      one factor scales what every request may cost
    MaxPower     the same, driven by a controller with set points

None of them looks at the request: ``dcaf_policy.py`` does. They draw lots, and where a budget lies
between two levels of the ladder they give some requests the lower one.
Chapter 2, section 2.4.

Simplified: industry puts thresholds on many more signals, by service and by data centre.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import nan

import numpy as np

from reclab.core.errors import check, check_float
from reclab.core.types import Array
from reclab.degradation_dcaf.dcaf import NONE
from reclab.degradation_dcaf.decision import Ladder, Lots, Measured
from reclab.degradation_dcaf.max_power import MaxPower, MaxPowerConfig
from reclab.degradation_dcaf.quality_factor import QualityFactor, QualityFactorConfig

# standard normal quantiles: a hundred answers stand for a tick's response times
NORMAL = np.array([-1.64, -1.04, -0.67, -0.39, -0.13, 0.13, 0.39, 0.67, 1.04, 1.64])


class Never:
    """The usual action for everyone, whatever happens: what the others are compared with."""

    def __init__(self, ladder: Ladder) -> None:
        self.ladder, self.cap, self.lam = ladder, 1.0, nan

    def decide(self, now_ms: int, gain: Array) -> Array:
        """(n,) the usual action."""
        return np.full(len(gain), self.ladder.usual, np.int16)

    def observe(self, load: Measured) -> None:
        """Changes nothing."""


class ManualCut:
    """An engineer sends ``share`` of the requests to the degraded path, until told otherwise."""

    def __init__(self, ladder: Ladder, share: float = 1.0, seed: int = 0) -> None:
        check_float("ManualCut.share", share, 0.0, 1.0, "1")
        self.ladder, self.lam, self.cap = ladder, nan, 1.0 - share
        self._lots = Lots(seed)

    def decide(self, now_ms: int, gain: Array) -> Array:
        """(n,) the usual action, or -1 by lot."""
        return _cut(self.ladder, self._lots.draw(len(gain)), self.cap)

    def observe(self, load: Measured) -> None:
        """Changes nothing: a cut by hand neither sees nor ends."""


def _cut(ladder: Ladder, lots: Array, live: float) -> Array:
    return np.where(lots < live, ladder.usual, NONE).astype(np.int16)


SIGNALS = ("cpu", "gpu", "qps", "p99_ms")


@dataclass(frozen=True)
class ThresholdConfig:
    """Lines on what is measured: above any ``on`` it degrades, until all are below their ``off``.
    ``qps`` is in units of what the safe line carries."""

    on: Mapping[str, float] = field(
        default_factory=lambda: {"cpu": 0.85, "gpu": 0.85, "qps": 1.1, "p99_ms": 100.0}
    )
    """lines for cpu, gpu (share, 0.75-0.95), qps (1-1.3), p99_ms (50-200); those that are named"""
    off: Mapping[str, float] = field(
        default_factory=lambda: {"cpu": 0.75, "gpu": 0.75, "qps": 1.0, "p99_ms": 60.0}
    )
    """the same names, each at or below its on: the hysteresis"""
    hold_s: float = 30.0
    """seconds for which a state is kept at least, before it goes off (10-300)"""
    share: float = 1.0
    """share of the requests that is degraded while on (0.2-1)"""

    def __post_init__(self) -> None:
        names = bool(self.on) and set(self.on) <= set(SIGNALS) and set(self.on) == set(self.off)
        check(names, "ThresholdConfig.on", [*self.on], f"name {SIGNALS}, as off does", "all four")
        for name, line in self.on.items():
            check_float(f"ThresholdConfig.on[{name!r}]", line, 1e-9, 1e9, "0.85")
            check_float(f"ThresholdConfig.off[{name!r}]", self.off[name], 0.0, line, "0.75")
        check_float("ThresholdConfig.hold_s", self.hold_s, 0.0, 1e6, "30")
        check_float("ThresholdConfig.share", self.share, 0.0, 1.0, "1")


class Thresholds:
    """Rules on measurements with hysteresis and a minimum hold. What was not measured can neither
    switch it on nor let it go off; a clock that goes back begins the hold anew."""

    def __init__(
        self, ladder: Ladder, config: ThresholdConfig | None = None, seed: int = 0
    ) -> None:
        self.ladder, self.config, self.lam = ladder, config or ThresholdConfig(), nan
        self.degraded, self.cap = False, 1.0
        self._since_ms, self._lots = 0, Lots(seed)

    def decide(self, now_ms: int, gain: Array) -> Array:
        """(n,) the usual action, or -1 for a share of them while it is on."""
        return _cut(self.ladder, self._lots.draw(len(gain)), self.cap)

    def observe(self, load: Measured) -> None:
        """Switch where a line is crossed."""
        c = self.config
        now = {name: getattr(load, name) for name in c.on}
        if "qps" in now:
            now["qps"] /= self.ladder.safe_qps
        if any(now[name] > line for name, line in c.on.items()):
            if not self.degraded:
                self._since_ms = load.now_ms
            self.degraded = True
        elif self.degraded:
            self._since_ms = min(self._since_ms, load.now_ms)
            held = load.now_ms - self._since_ms >= 1000 * c.hold_s
            # no live request, no response time: that line cannot hold it back
            silent = {"p99_ms"} if load.failure == 0 else set()
            low = all(
                now[name] < line or (name in silent and now[name] != now[name])
                for name, line in c.off.items()
            )
            if low and held:
                self.degraded = False
        self.cap = 1.0 - c.share if self.degraded else 1.0


class Overflow:
    """The 20,000 QPS rule: requests beyond what the safe line carries are degraded, at random. Goes
    by the last traffic that was measured."""

    def __init__(self, ladder: Ladder, seed: int = 0) -> None:
        self.ladder, self.cap, self.lam = ladder, 1.0, nan
        self._lots = Lots(seed)

    def decide(self, now_ms: int, gain: Array) -> Array:
        """(n,) the usual action, or -1 by lot."""
        return _cut(self.ladder, self._lots.draw(len(gain)), self.cap)

    def observe(self, load: Measured) -> None:
        """Take the traffic; NaN keeps what was."""
        if load.qps == load.qps:
            self.cap = self.ladder.live_share(load.qps)


class Quality:
    """The quality factor scales what every request may cost, from the usual action down."""

    def __init__(
        self, ladder: Ladder, config: QualityFactorConfig | None = None, seed: int = 0
    ) -> None:
        self.ladder, self.lam, self.cap = ladder, nan, 1.0
        self.factor = QualityFactor(config)
        self._lots, self._spend = Lots(seed), float(ladder.cost[ladder.usual])

    def decide(self, now_ms: int, gain: Array) -> Array:
        """(n,) the two levels around the budget, by lot."""
        return self.ladder.mix(self.cap * self._spend, self._lots.draw(len(gain)))

    def observe(self, load: Measured) -> None:
        """Give the factor ten answers that stand for the tick's. Without an answer there is no
        latency, unless nothing failed: then nothing was asked, and all would have been in time."""
        if load.failure != load.failure:
            return
        if load.p50_ms > 0:
            slope = np.log(max(load.p99_ms / load.p50_ms, 1.0)) / 2.326
            times = load.p50_ms * np.exp(slope * NORMAL)
        else:
            times = np.full(len(NORMAL), nan if load.failure > 0 else 0.0)
        times[: round(load.failure * len(times))] = nan
        self.cap = self.factor.update(times)


def max_power_for(ladder: Ladder, top: float, **settings: float) -> MaxPowerConfig:
    """MaxPower in the ladder's unit: the cap is at most ``top``, and at least so low that the path
    without any live request is within reach."""
    return MaxPowerConfig(top=top, least=0.01 * top, **settings)


class PowerMix:
    """MaxPower alone: its cap is what a request may cost, on average; lots decide between levels.
    As blind to the request as the quality factor, but driven by the controller."""

    def __init__(self, ladder: Ladder, config: MaxPowerConfig | None = None, seed: int = 0) -> None:
        top = float(ladder.cost[ladder.usual])
        self.ladder, self.lam, self.cap = ladder, nan, 1.0
        self.power = MaxPower(config or max_power_for(ladder, top))
        self._lots = Lots(seed)

    def decide(self, now_ms: int, gain: Array) -> Array:
        """(n,) the two levels around the cap, by lot."""
        return self.ladder.mix(self.power.get(), self._lots.draw(len(gain)))

    def observe(self, load: Measured) -> None:
        """Move the cap."""
        self.cap = steered(self.power, load) / self.power.config.top


def steered(power: MaxPower, load: Measured) -> float:
    """Tell MaxPower of the busiest kind of server, and return its cap."""
    busiest = max(load.cpu, load.gpu) if load.gpu == load.gpu else load.cpu
    return power.update(load.now_ms, busiest, load.p99_ms, load.failure)
