"""The evening of lesson 04: machines for a usual peak, policies by name, and a surge through them.

    machines    so many that 20,000 requests a second with the usual action reach the safe line
    policies    one of each kind, with the knobs that a reader turns
    values      what is told of a request (an estimator's word) beside what is true

Simplified: one service and one data centre; capacity does not grow while the surge lasts.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import ceil

import numpy as np

from reclab.core.errors import ConfigError, check
from reclab.core.types import Array
from reclab.degradation_dcaf.actions import REFERENCE, Costs
from reclab.degradation_dcaf.dcaf_policy import DCAF, DCAFConfig
from reclab.degradation_dcaf.decision import DecisionPolicy, Ladder
from reclab.degradation_dcaf.load_model import LoadConfig, LoadModel
from reclab.degradation_dcaf.max_power import MaxPowerConfig
from reclab.degradation_dcaf.policies import (
    Never,
    Overflow,
    PowerMix,
    Quality,
    ThresholdConfig,
    Thresholds,
)
from reclab.degradation_dcaf.rl import Learned, LearnedPolicy, LearningConfig, train
from reclab.lab.action_values import ActionTable
from reclab.lab.scenarios import Scenario, surge
from reclab.lab.surge import Run, Sample, run

SAFE_QPS = 20_000  # the chapter's number: what the safe line carries
MINUTES, BEFORE = 10.0, 2.0  # of the evening, and of it before the surge
USUAL_PEAK = 0.75  # of it, at the tide's peak
STEADY = 60  # ticks after which a queue has settled
POLICIES = (
    "never",
    "thresholds",
    "overflow",
    "quality factor",
    "Q-learning",
    "MaxPower",
    "DCAF without MaxPower",
    "DCAF + MaxPower",
)


@dataclass(frozen=True)
class Knobs:
    """What a reader turns. Traffic: ``height`` (times the usual, 1-16) for ``minutes``. Thresholds:
    ``on`` line of the utilisation (share), ``gap`` below it to the off line (share), ``hold_s``.
    DCAF: ``safe`` = the line that the budget keeps to (share), ``told`` = whose word on a request's
    gain. MaxPower: ``set_point`` (share), ``proportional``, ``integral``."""

    height: float = 8.0
    minutes: float = 4.0
    on: float = 0.85
    gap: float = 0.1
    hold_s: float = 30.0
    safe: float = 0.75
    told: str = "learned"
    set_point: float = 0.8
    proportional: float = 0.1
    integral: float = 0.5

    def __post_init__(self) -> None:
        check(0 < self.gap < self.on, "Knobs.gap", self.gap, f"be in (0, {self.on})", "0.1")


@dataclass(frozen=True)
class Told:
    """``surge.Values`` with one estimator's word: ``told`` (n, m) gains above the fallback."""

    value: Array
    fallback: Array
    told: Array
    tail: Array
    fallback_tail: Array
    costs: Costs


@dataclass
class Evening:
    """Requests with their worth, machines, and what the estimators ``say``: name -> (n, m) gains
    above the degraded answer."""

    table: ActionTable
    say: Mapping[str, Array]
    seed: int = 0
    load: LoadConfig = field(init=False)

    def __post_init__(self) -> None:
        self.load = machines(self.table.costs)
        self._runs: dict[tuple[object, ...], Run] = {}
        self._samples: dict[str, tuple[Told, Sample]] = {}

    def ladder(self, safe: float = 0.75) -> Ladder:
        """The actions' prices on these machines."""
        return Ladder.of(self.load, self.table.costs, REFERENCE, safe)

    @cached_property
    def usual(self) -> float:
        """Mean value of a live answer with the usual action."""
        return float(self.table.value[:, REFERENCE].mean())

    def kept(self, done: Run) -> float:
        """Value of an evening as a share of what live answers for all would have had."""
        seconds = done.scenario.tick_ms / 1000
        return float(done.total_value / (self.usual * done.qps.sum() * seconds))

    def scenario(self, knobs: Knobs) -> Scenario:
        """The surge on top of the evening's tide."""
        return surge(
            USUAL_PEAK * SAFE_QPS,
            knobs.height,
            knobs.minutes,
            before=2.0,
            after=8.0 - knobs.minutes,
        )

    @cached_property
    def learned(self) -> Learned:
        """The policy learned in the load model, on surges of its own (seconds)."""
        gain = (self.table.value - self.table.fallback[:, None]).mean(0)
        ladder, costs = self.ladder(), self.table.costs
        load = replace(self.load, tick_ms=2000.0)
        return train(ladder, load, costs, gain, float(self.table.fallback.mean()), LearningConfig())

    def run(self, name: str, knobs: Knobs | None = None, scenario: Scenario | None = None) -> Run:
        """One policy through the evening (or through another scenario); equal settings of what it
        reads are run once."""
        knobs = knobs or Knobs()
        make, reads = self._policies(knobs)[name]
        way = scenario.name if scenario else (knobs.height, knobs.minutes)
        key = (name, way, *reads)
        if key not in self._runs:
            self._runs[key] = self.send(make(), knobs, scenario)
        return self._runs[key]

    def send(
        self, policy: DecisionPolicy, knobs: Knobs | None = None, scenario: Scenario | None = None
    ) -> Run:
        """Any policy through the evening, a reader's too."""
        knobs = knobs or Knobs()
        values, sample = self._told(knobs.told)
        return run(policy, scenario or self.scenario(knobs), values, self.load, self.seed, sample)

    def _told(self, name: str) -> tuple[Told, Sample]:
        if name not in self.say:
            raise ConfigError(f"no estimator {name!r} (there are: {', '.join(self.say)})")
        if name not in self._samples:
            t = self.table
            values = Told(t.value, t.fallback, self.say[name], t.tail, t.fallback_tail, t.costs)
            # the same requests for every estimator: the truth says how they are spread
            of_all = replace(values, told=t.value - t.fallback[:, None])
            rows = Sample.of(of_all, self.seed).rows
            self._samples[name] = values, Sample(rows, np.float32(values.told[rows]))
        return self._samples[name]

    def _policies(
        self, k: Knobs
    ) -> dict[str, tuple[Callable[[], DecisionPolicy], tuple[object, ...]]]:
        """How to make each policy, and which knobs it reads."""
        ladder, at = self.ladder(k.safe), self.ladder()
        gains = {"proportional": k.proportional, "integral": k.integral}
        power = MaxPowerConfig(top=2.0, least=0.01, utilisation=k.set_point, **gains)
        usual = float(at.cost[at.usual])
        own = replace(
            power, top=usual, least=0.01 * usual
        )  # of a cost, where DCAF's is of the budget
        lines = _lines(k)
        price = (k.safe, k.told)
        return {
            "never": (lambda: Never(at), ()),
            "thresholds": (lambda: Thresholds(at, lines), (k.on, k.gap, k.hold_s)),
            "overflow": (lambda: Overflow(at), ()),
            "quality factor": (lambda: Quality(at), ()),
            "Q-learning": (lambda: LearnedPolicy(at, self.learned), ()),
            "MaxPower": (lambda: PowerMix(at, own), (power,)),
            "DCAF without MaxPower": (lambda: DCAF(ladder, DCAFConfig(cut="none")), price),
            "DCAF + MaxPower": (lambda: DCAF(ladder, DCAFConfig(power=power)), (*price, power)),
        }


@dataclass(frozen=True)
class Busy:
    """Steady states (S,): ``asked`` = work that arrives, in units of what the busiest servers can
    do; response times of the answered (ms), share of requests that fail."""

    asked: Array
    p50_ms: Array
    p99_ms: Array
    failure: Array


def how_busy(costs: Costs, load: LoadConfig, most: float = 1.3, n: int = 53) -> Busy:
    """What the usual action for all makes of the servers, from hardly any to too much traffic."""
    asked, told = np.linspace(most / n, most, n), []
    for share in asked.tolist():
        model, live = LoadModel(load, costs), np.zeros(len(costs.cpu_ms))
        live[REFERENCE] = share * load.capacity_qps(costs, REFERENCE) * load.tick_ms / 1000
        for _ in range(STEADY):
            tick = model.tick(live, 0.0)
        told.append((tick.p50_ms, tick.p99_ms, tick.lost))
    return Busy(asked, *np.array(told).T)


def _lines(k: Knobs) -> ThresholdConfig:
    on = {"cpu": k.on, "gpu": k.on}
    return ThresholdConfig(on, {name: line - k.gap for name, line in on.items()}, k.hold_s)


def machines(costs: Costs, qps: float = SAFE_QPS, safe: float = 0.75) -> LoadConfig:
    """Cores and model servers for ``qps`` with the usual action at the safe line."""
    busy = np.array([costs.cpu_ms[REFERENCE], costs.model_ms[REFERENCE]]) * qps / 1000
    cores, servers = (max(1, ceil(n / safe)) for n in busy)
    return LoadConfig(cores=cores, model_servers=servers)
