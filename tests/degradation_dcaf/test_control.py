"""MaxPower and the quality factor, closed around a small plant: work in, utilisation out."""

import numpy as np
import pytest

from reclab.core.errors import ConfigError
from reclab.degradation_dcaf.max_power import MaxPower, MaxPowerConfig
from reclab.degradation_dcaf.quality_factor import QualityFactor, QualityFactorConfig

TICK_MS = 1000


class Plant:
    """A queue that serves ``capacity`` units of work a tick and forgets what waits too long."""

    def __init__(self, capacity: float) -> None:
        self.capacity, self.waiting = capacity, 0.0

    def step(self, work: float) -> tuple[float, float, float]:
        """Utilisation, response time (ms) and failure rate of a tick."""
        self.waiting += work
        served = min(self.waiting, self.capacity)
        self.waiting -= served
        lost = max(0.0, self.waiting - self.capacity / 2)
        self.waiting -= lost
        utilisation = served / self.capacity
        response = 20 / max(1.02 - utilisation, 0.02) / 4 + 1000 * self.waiting / self.capacity
        return utilisation, response, lost / max(work, 1e-9)


def surge(power: MaxPower, n_ticks: int = 180) -> list[tuple[float, float]]:
    """(cap, failure rate) a tick: traffic 1, eight times as much from 30 to 90, then 1 again."""
    plant, told = Plant(capacity=16.0), []
    for tick in range(n_ticks):
        traffic = 8.0 if 30 <= tick < 90 else 1.0
        measured = plant.step(traffic * power.get())
        told.append((power.update(TICK_MS * (tick + 1), *measured), measured[2]))
    return told


def test_the_cap_falls_in_a_surge_and_returns_after_it():
    caps = np.array([cap for cap, _ in surge(MaxPower())])
    assert caps[:30].min() == 10.0
    assert 1.2 <= caps[80:90].mean() <= 2.0  # 16 / 8 would be all of the capacity
    assert caps[-60:].min() == 10.0


def test_it_does_not_oscillate_once_it_has_settled():
    caps = np.array([cap for cap, _ in surge(MaxPower())])
    assert np.ptp(caps[60:90]) < 0.2


def test_failures_end_within_seconds_of_the_surge():
    failure = np.array([failed for _, failed in surge(MaxPower())])
    assert failure[40:90].max() == 0.0
    assert failure[30:40].max() > 0  # nothing could have known


def test_without_a_set_point_the_cap_sits_at_its_floor():
    """The loop as the paper prints it, whose error is never below zero."""
    plant, total, cap, caps = Plant(16.0), 0.0, 10.0, []
    for tick in range(180):
        measured = plant.step((8.0 if 30 <= tick < 90 else 1.0) * cap)
        error = measured[1] / 100 + measured[2]
        total += error
        cap = float(np.clip(10.0 - (error + 0.5 * total), 1.0, 10.0))
        caps.append(cap)
    assert caps[-1] == 1.0  # long after the surge


def test_the_integral_is_clamped_so_that_a_long_surge_is_left_as_fast_as_a_short_one():
    def back(length: int) -> int:
        power = MaxPower()
        for tick in range(length):
            power.update(TICK_MS * tick, 1.0, 1000.0, 0.3)
        for tick in range(length, length + 100):
            if power.update(TICK_MS * tick, 0.3, 20.0, 0.0) == power.config.top:
                return tick - length
        return 100

    assert back(20) == back(500) < 20


def test_what_was_not_measured_and_clocks_that_jump_change_nothing():
    power, nan = MaxPower(), float("nan")
    power.update(1000, 1.0, 150.0, 0.0)
    held = power.get()
    assert 1.0 < held < 10.0
    assert power.update(2000, nan, nan, nan) == held
    assert power.update(1000, 1.0, 300.0, 0.1) == held  # stood still
    assert power.update(-5000, 1.0, 300.0, 0.1) == held  # went back
    assert power.update(3000, nan, nan, 0.1) < held  # one of three is enough
    assert power.update(3000 + 10**9, 0.1, 1.0, 0.0) <= power.config.top


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"utilisation": 0.0}, "MaxPowerConfig.utilisation"),
        ({"least": 11.0}, "MaxPowerConfig.least"),
        ({"integral": -1.0}, "MaxPowerConfig.integral"),
    ],
)
def test_wrong_settings_are_named(settings, named):
    with pytest.raises(ConfigError, match=named):
        MaxPowerConfig(**settings)


@pytest.mark.parametrize("percentile", [80.0, 95.0])
def test_the_percentile_settles_at_the_wanted_latency(percentile):
    chance = np.random.default_rng(0)
    quality = QualityFactor(QualityFactorConfig(percentile=percentile, step=0.0005))
    seen = []
    for _ in range(3000):
        latency = quality.get() * chance.lognormal(np.log(100), 0.4, 10)
        quality.update(latency)
        seen.append(latency)
    late = np.concatenate(seen[1000:])
    assert np.percentile(late, percentile) == pytest.approx(100, rel=0.05)


def test_the_factor_stays_within_its_limits_and_a_failure_counts_as_late():
    quality = QualityFactor()
    assert quality.update(np.full(10_000, 1.0)) == 1.0
    assert quality.update(np.full(10_000, np.nan)) == quality.config.least
    assert quality.update(np.zeros(0)) == quality.config.least
    with pytest.raises(ConfigError, match="QualityFactorConfig.percentile"):
        QualityFactorConfig(percentile=100.0)
