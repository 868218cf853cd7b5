"""Degradation decision service (降级决策服务): what each request may cost, by what was measured.

    Router --request--> decide: action of each request, -1 = degraded path --flag 0 or 1--> Router
    monitor --once a tick--> observe: utilisation, traffic, response time, failures

One contract for every policy, from a fixed line to DCAF. The service adds what must hold for all
of them: when nothing was measured for ``stale_s`` seconds it counts the requests itself and sends
what is beyond capacity to the degraded path at random, because that rule needs no measurement.
Chapter 2, section 2.4, figure 2.6.

Simplified: industry's service is asked by RPC and answers from a flag that is pushed to it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import numpy as np

from reclab.core.errors import DataError, check, check_float, check_int
from reclab.core.types import Array, Request
from reclab.degradation_dcaf.actions import Costs
from reclab.degradation_dcaf.dcaf import NONE
from reclab.degradation_dcaf.load_model import LoadConfig

NEARLY = 0.95
GOLDEN = 0.6180339887498949  # multiples of it, modulo 1, fill (0, 1) evenly


class Measured(NamedTuple):
    """What the monitor says of the last tick; NaN = not measured. ``cpu``, ``gpu`` and ``failure``
    are shares, ``qps`` requests a second, the others response times."""

    now_ms: int
    cpu: float
    gpu: float
    qps: float
    p50_ms: float
    p99_ms: float
    failure: float


class DecisionPolicy(Protocol):
    """``cap`` is what the policy turns, 1 = as planned for a quiet day: what a request may cost, as
    a share of the usual action or of its budget, or the share of requests that get the usual
    action; ``lam`` is the price of computing, NaN for policies without one."""

    cap: float
    lam: float

    def decide(self, now_ms: int, gain: Array) -> Array:
        """(n,) int16 action of each request, -1 = the degraded path. ``gain`` (n, m): the value
        that each action is predicted to add to the degraded answer; many policies ignore it."""
        ...

    def observe(self, load: Measured) -> None:
        """Take a measurement, once a tick."""
        ...


@dataclass(frozen=True)
class Ladder:
    """The actions as a policy sees them: ``cost`` (m,) ascending, ms of the whole busiest pool;
    ``degraded`` the same of the degraded path; ``usual`` the action of a quiet day."""

    cost: Array
    degraded: float
    usual: int
    safe: float = 0.75
    """safe line: utilisation that is never planned beyond (share, 0.5-0.9)"""
    _levels: Array = field(init=False, repr=False)

    def __post_init__(self) -> None:
        cost = np.asarray(self.cost, np.float64)
        rises = cost.ndim == 1 and len(cost) > 0 and bool((np.diff(cost) >= 0).all())
        check(rises, "Ladder.cost", cost.tolist(), "be ascending, one number an action", "[1, 3]")
        above = 0 <= self.degraded < cost[0] and np.isfinite(cost).all()
        few = f"be at least 0 and below the cheapest action's {cost[0]:g}"
        check(bool(above), "Ladder.degraded", self.degraded, few, "a tenth of it")
        check_int("Ladder.usual", self.usual, 0, len(cost) - 1, "the last but two")
        check_float("Ladder.safe", self.safe, 0.05, 1.0, "0.75")
        object.__setattr__(self, "cost", cost)
        object.__setattr__(self, "_levels", np.append(self.degraded, cost))

    @staticmethod
    def of(config: LoadConfig, costs: Costs, usual: int, safe: float = 0.75) -> "Ladder":
        """From measured costs, for the servers there are. A degraded path that was measured dearer
        than the cheapest action, on a busy machine, counts as nearly as dear."""
        cost = config.pool_ms(costs)
        return Ladder(cost, min(config.degraded_pool_ms(costs), NEARLY * cost[0]), usual, safe)

    @property
    def safe_qps(self) -> float:
        """Requests a second at which the usual action for all reaches the safe line: the 20,000."""
        return 1000 * self.safe / float(self.cost[self.usual])

    def budget(self, qps: float) -> float:
        """What a request may cost on average, so that all of them stay on the safe line."""
        return 1000 * self.safe / max(qps, 1e-9)

    def live_share(self, qps: float) -> float:
        """Share of the requests that can get the usual action, the others being degraded."""
        usual, least = float(self.cost[self.usual]), self.degraded
        return min(max((self.budget(qps) - least) / (usual - least), 0.0), 1.0)

    def mix(self, spend: float, lots: Array) -> Array:
        """(n,) actions that cost ``spend`` on average, none above the usual: the two levels around
        it, by lot; ``lots`` (n,) in [0, 1)."""
        levels = self._levels[: self.usual + 2]
        if spend >= levels[-1]:
            return np.full(len(lots), self.usual, np.int16)
        above = max(int(levels.searchsorted(spend, "right")), 1)
        low, high = levels[above - 1], levels[above]
        share = (spend - low) / (high - low)
        return (above - 2 + (lots < share)).astype(np.int16)


class Lots:
    """Random lots in [0, 1), spread so evenly that a share of them is met within 1 / n."""

    def __init__(self, seed: int) -> None:
        self._next = float(np.random.default_rng(seed).random())
        self._steps = np.arange(64) * GOLDEN

    def draw(self, n: int) -> Array:
        """(n,) lots."""
        if n > len(self._steps):
            self._steps = np.arange(n) * GOLDEN
        lots = (self._steps[:n] + self._next) % 1.0
        self._next = (self._next + n * GOLDEN) % 1.0
        return lots


@dataclass(frozen=True)
class DecisionConfig:
    """When the service no longer trusts its measurements."""

    stale_s: float = 15.0
    """seconds without a measurement after which it counts by itself (5-60)"""
    seed: int = 0
    """of the lots that are drawn then"""

    def __post_init__(self) -> None:
        check_float("DecisionConfig.stale_s", self.stale_s, 0.1, 1e6, "15")


class DecisionService:
    """Asks its ``policy``, and answers without it when nothing is measured any more.

    ``gain_of(requests)`` gives (n, m) predicted gains for ``flags``; None = all unknown.
    """

    def __init__(
        self,
        policy: DecisionPolicy,
        ladder: Ladder,
        gain_of: Callable[[Sequence[Request]], Array] | None = None,
        config: DecisionConfig | None = None,
    ) -> None:
        self.policy, self.ladder, self.gain_of = policy, ladder, gain_of
        self.config = config or DecisionConfig()
        self._lots = Lots(self.config.seed)
        self._since_ms: int | None = None  # last measurement
        self._second, self._count, self._qps = -1, 0, 0.0

    def observe(self, load: Measured) -> None:
        """Pass a measurement on. One in which nothing is a number is none."""
        if all(value != value for value in load[1:]):
            return
        self._since_ms = load.now_ms
        self.policy.observe(load)

    def decide(self, now_ms: int, gain: Array) -> Array:
        """(n,) int16 action of each request. Raises ``DataError`` for gains of a wrong shape."""
        if gain.ndim != 2 or gain.shape[1] != len(self.ladder.cost):
            raise DataError(f"gain must be (n, {len(self.ladder.cost)}), got {gain.shape}")
        self._counted(now_ms, len(gain))
        if self._since_ms is None or now_ms < self._since_ms:
            self._since_ms = now_ms  # just begun, or the clock went back
        if now_ms - self._since_ms <= 1000 * self.config.stale_s:
            return self.policy.decide(now_ms, gain)
        live = self._lots.draw(len(gain)) < self.ladder.live_share(self._qps)
        return np.where(live, self.ladder.usual, NONE).astype(np.int16)

    def flags(self, requests: Sequence[Request]) -> Array:
        """(n,) int8: 0 live, 1 degraded (``core.protocols.Degradation``)."""
        if not requests:
            return np.zeros(0, np.int8)
        unknown = np.full((len(requests), len(self.ladder.cost)), np.nan)
        gain = self.gain_of(requests) if self.gain_of else unknown
        action = self.decide(max(request.time_ms for request in requests), gain)
        return (action == NONE).astype(np.int8)

    def _counted(self, now_ms: int, n: int) -> None:
        """Count requests by second; a jump of the clock only begins a new second."""
        second = now_ms // 1000
        if second != self._second:
            self._qps, self._second, self._count = float(self._count), second, 0
        self._count += n
        self._qps = max(self._qps, float(self._count))
