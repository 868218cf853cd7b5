"""MaxPower: feedback control of the most computing that any single request may take.

    y = max(utilisation / u*, response time / t*, failure rate / f*)     1 = as loaded as wanted
    e = -ln y,   I = clip(I + e dt, -ln(top / least) / Ki, 0),   D = de / dt
    MaxPower = clip(top exp(Kp e + Ki I + Kd D), least, top)

The logarithm, because a surge multiplies: eight times the traffic wants an eighth of the cap, so
one set of gains fits every load.
DCAF's price acts where yesterday's traffic comes again; MaxPower acts within seconds when it does
not. The paper's loop has no set point: its error, response time plus failures, is never below zero,
so its integral only grows and the cap sits at its floor for ever. Measured against a set point, and
with a clamped integral, the cap comes down in a surge and goes back up after it.
Reference: Jiang et al., DCAF, 2020, algorithm 2; Åström and Hägglund 1995 (PID, anti-windup).

Simplified: industry smooths what it measures over many machines, and limits the slope of the cap.
"""

from dataclasses import dataclass
from math import exp, inf, log

from reclab.core.errors import check, check_float

LONGEST_S = 10.0  # after a pause in measuring, one measurement is not taken for many


@dataclass(frozen=True)
class MaxPowerConfig:
    """Set points, gains and limits. The cap has the unit of the actions' cost."""

    utilisation: float = 0.75
    """u*, the safe line of the busiest resource (share, 0.5-0.9)"""
    response_ms: float = 100.0
    """t*, response time that is still good (ms, 20-500)"""
    failure: float = 0.005
    """f*, failure rate that is still good (share, 0.001-0.02)"""
    top: float = 10.0
    """the cap while all is well: the dearest action (cost, 1-1000)"""
    least: float = 1.0
    """the cap is never below this: the cheapest action (cost, above 0)"""
    proportional: float = 0.3
    """Kp, change of ln(cap) a unit of error (0-0.5; too much and the cap swings)"""
    integral: float = 0.5
    """Ki, change of ln(cap) a unit of error and second (0.1-0.7)"""
    derivative: float = 0.0
    """Kd, change of ln(cap) a unit of error a second; amplifies noise (0-0.3)"""
    most_error: float = 1.5
    """an error counts as no larger than this, either way (0.5-3)"""

    def __post_init__(self) -> None:
        check_float("MaxPowerConfig.utilisation", self.utilisation, 0.01, 1.0, "0.75")
        check_float("MaxPowerConfig.response_ms", self.response_ms, 0.1, 1e6, "100")
        check_float("MaxPowerConfig.failure", self.failure, 1e-6, 1.0, "0.005")
        check_float("MaxPowerConfig.top", self.top, 1e-9, 1e12, "the dearest action's cost")
        fits = f"be above 0 and at most top = {self.top:g}"
        good = "the cheapest action's cost"
        check(0 < self.least <= self.top, "MaxPowerConfig.least", self.least, fits, good)
        for name in ("proportional", "integral", "derivative"):
            check_float(f"MaxPowerConfig.{name}", getattr(self, name), 0.0, 100.0, "0.3")
        check_float("MaxPowerConfig.most_error", self.most_error, 0.1, 100.0, "1.5")


class MaxPower:
    """``update`` once a tick with what was measured, ``get`` the cap.

    >>> power = MaxPower()
    >>> power.update(now_ms=1000, utilisation=0.5, response_ms=20.0, failure=0.0)
    10.0
    >>> power.update(now_ms=2000, utilisation=1.0, response_ms=400.0, failure=0.2) < 5
    True
    """

    def __init__(self, config: MaxPowerConfig | None = None) -> None:
        self.config = config or MaxPowerConfig()
        self.sum, self.power = 0.0, self.config.top
        self._before: tuple[int, float] | None = None

    def get(self) -> float:
        """The cap now (cost)."""
        return self.power

    def rescale(self, by: float) -> None:
        """What the cap multiplies has become ``by`` times as much: the cap moves the other way, so
        that the product stays, as far as its limits allow."""
        c = self.config
        if not c.integral or not 0 < by < inf:
            return
        windup = log(c.top / c.least) / c.integral
        self.sum = min(max(self.sum - log(by) / c.integral, -windup), 0.0)
        self.power = min(max(self.power / by, c.least), c.top)

    def update(self, now_ms: int, utilisation: float, response_ms: float, failure: float) -> float:
        """Take a measurement and return the new cap.

        A number that was not measured is NaN and left out; if none was, the cap stays. So it does
        when the clock stands still or goes back: a jump must not look like a fast change.
        """
        c = self.config
        loads = (utilisation / c.utilisation, response_ms / c.response_ms, failure / c.failure)
        known = [load for load in loads if load == load]
        if not known:
            return self.power
        load = max(max(known), 1e-9)
        error = min(max(-log(load), -c.most_error), c.most_error)
        before_ms, before = self._before or (now_ms - 1000, error)
        seconds = (now_ms - before_ms) / 1000
        if seconds <= 0:
            return self.power
        self._before = now_ms, error
        seconds = min(seconds, LONGEST_S)
        windup = log(c.top / c.least) / c.integral if c.integral else 0.0
        self.sum = min(max(self.sum + error * seconds, -windup), 0.0)
        slope = (error - before) / seconds
        moved = c.proportional * error + c.integral * self.sum + c.derivative * slope
        self.power = max(c.top * exp(min(moved, 0.0)), c.least)
        return self.power
