"""Learned degradation decision (强化学习决策): how much a request may cost, by Q-learning.

    state   = (traffic over what the safe line carries, busiest server, p99, failures), in boxes
    action  = what a request may cost on average, one of a few shares of the usual action
    reward  = value a request - penalty x share that failed
    Q(s, a) += alpha (reward + gamma max_a' Q(s', a') - Q(s, a)),   alpha = visits(s, a)^-0.7

It is trained in the load model, on surges of random height and length, so that it may try what
nobody would try on users. Like the thresholds it sees the load and not the request. A state that
was never visited is treated by the rule of ``Overflow``.
Reference: Watkins and Dayan 1992.

Simplified: industry learns from logs of its own surges, and with networks instead of boxes.
"""

from dataclasses import dataclass
from math import nan
from pathlib import Path

import numpy as np

from reclab.core.chance import rng
from reclab.core.errors import DataError, check_float, check_int
from reclab.core.types import Array
from reclab.degradation_dcaf.actions import Costs
from reclab.degradation_dcaf.decision import Ladder, Lots, Measured
from reclab.degradation_dcaf.load_model import LoadConfig, LoadModel

TRAFFIC = np.array([0.5, 0.75, 0.9, 1.0, 1.1, 1.25, 1.5, 1.75, 2, 2.5, 3, 3.5, 4, 5, 6, 7, 8, 10])
BUSY = np.array([0.6, 0.75, 0.85, 0.95])
LATE = np.array([60.0, 150.0])
FAILING = np.array([0.001, 0.02])
SHARES = np.array([0.02, 0.05, 0.08, 0.12, 0.16, 0.2, 0.25, 0.32, 0.4, 0.5, 0.65, 0.8, 1.0])
SHAPE = (len(TRAFFIC) + 1, len(BUSY) + 1, len(LATE) + 1, len(FAILING) + 1, len(SHARES))


@dataclass(frozen=True)
class LearningConfig:
    """How long is trained, and what a failure costs."""

    steps: int = 60_000
    """ticks of training (20 000-500 000)"""
    penalty: float = 10.0
    """what a failed request costs, in values of a usual answer (1-100)"""
    gamma: float = 0.5
    """worth of the next tick's value (share, 0-0.95); a tick is nearly all there is to a load"""
    explore: float = 0.2
    """share of ticks with a random action, falling to a tenth of it (0.05-0.5)"""
    seed: int = 0
    """of the surges that are trained on"""

    def __post_init__(self) -> None:
        check_int("LearningConfig.steps", self.steps, 1, 10**8, "60000")
        check_float("LearningConfig.penalty", self.penalty, 0.0, 1e6, "10")
        check_float("LearningConfig.gamma", self.gamma, 0.0, 0.999, "0.5")
        check_float("LearningConfig.explore", self.explore, 0.0, 1.0, "0.2")


@dataclass(frozen=True)
class Learned:
    """What was learned: ``q`` and ``visits`` of each state and action."""

    q: Array
    visits: Array

    def save(self, path: Path) -> None:
        """Write it as one file."""
        np.savez(path, q=self.q, visits=self.visits)

    @staticmethod
    def load(path: Path) -> "Learned":
        """Read what ``save`` wrote; raises ``DataError`` for anything else."""
        try:
            with np.load(path) as held:
                q, visits = held["q"], held["visits"]
        except (OSError, ValueError, KeyError) as error:
            raise DataError(f"{path.name} holds no learned policy: {error}") from error
        if q.shape != SHAPE or visits.shape != SHAPE:
            raise DataError(f"{path.name}: q must have shape {SHAPE}, got {q.shape}")
        return Learned(q, visits)


def state_of(load: Measured, safe_qps: float) -> tuple[int, int, int, int]:
    """The box that a measurement lies in; NaN counts as the quietest."""
    busy = max(load.cpu, load.gpu) if load.gpu == load.gpu else load.cpu
    cells = ((load.qps / safe_qps, TRAFFIC), (busy, BUSY), (load.p99_ms, LATE))
    at = [_box(value, edges) for value, edges in (*cells, (load.failure, FAILING))]
    return at[0], at[1], at[2], at[3]


def _box(value: float, edges: Array) -> int:
    return int(edges.searchsorted(value)) if value == value else 0


def surge_traffic(chance: np.random.Generator, n_ticks: int) -> Array:
    """(T,) traffic in units of the safe line's: quiet, a surge of 1.2 to 12 times within a few
    ticks, a while of it, and back."""
    told: list[Array] = []
    length = 0
    while length < n_ticks:
        quiet, high = chance.uniform(0.2, 1.0), np.exp(chance.uniform(np.log(1.2), np.log(12)))
        rise, stay, rest = chance.integers([1, 10, 10], [15, 60, 40])
        up = np.geomspace(quiet, quiet * high, rise)
        part = [up, np.full(stay, up[-1]), up[::-1], np.full(rest, quiet)]
        told.append(np.concatenate(part) * chance.normal(1, 0.03, 2 * rise + stay + rest))
        length += len(told[-1])
    return np.maximum(np.concatenate(told)[:n_ticks], 0.0)


def train(
    ladder: Ladder,
    load: LoadConfig,
    costs: Costs,
    mean_gain: Array,
    fallback: float,
    config: LearningConfig | None = None,
) -> Learned:
    """Learn in the load model. ``mean_gain`` (m,) = what each action adds, on average, to the
    ``fallback`` value of a degraded answer, as logs say it."""
    c = config or LearningConfig()
    chance, model, lots = rng(c.seed, "degradation learning"), LoadModel(load, costs), Lots(c.seed)
    q, visits = np.zeros(SHAPE), np.zeros(SHAPE, np.int64)
    usual = float(ladder.cost[ladder.usual])
    mixes = [
        np.bincount(ladder.mix(share * usual, lots.draw(1000)) + 1, minlength=len(costs.cpu_ms) + 1)
        / 1000
        for share in SHARES
    ]
    penalty = c.penalty * (fallback + float(mean_gain[ladder.usual]))
    gains = [float(mix[1:] @ mean_gain) for mix in mixes]
    traffic = surge_traffic(chance, c.steps) * ladder.safe_qps
    random = chance.random(c.steps) < c.explore * np.geomspace(1, 0.1, c.steps)
    tried = chance.integers(0, len(SHARES), c.steps)
    state, seconds = (0, 0, 0, 0), load.tick_ms / 1000
    for t, qps in enumerate(traffic.tolist()):
        best = int(q[state].argmax())
        action = int(tried[t]) if random[t] else best
        mix, n = mixes[action], qps * seconds
        tick = model.tick(mix[1:] * n, float(mix[0]) * n)
        live = 1 - float(mix[0])
        failed = live * tick.lost + float(mix[0]) * tick.degraded_lost
        reward = (fallback + gains[action]) * (1 - failed) - penalty * failed
        gpu = tick.gpu if model.gpu else nan
        seen = Measured(0, tick.cpu, gpu, qps, tick.p50_ms, tick.p99_ms, failed)
        after = state_of(seen, ladder.safe_qps)
        place = (*state, action)
        visits[place] += 1
        step = float(visits[place]) ** -0.7
        q[place] += step * (reward + c.gamma * float(q[after].max()) - q[place])
        state = after
    return Learned(q, visits)


class LearnedPolicy:
    """Acts by what was learned: of the actions tried often enough in this state, the best."""

    least_visits = 5

    def __init__(self, ladder: Ladder, learned: Learned, seed: int = 0) -> None:
        self.ladder, self.learned = ladder, learned
        self.cap, self.lam = 1.0, nan
        self._lots, self._usual = Lots(seed), float(ladder.cost[ladder.usual])

    def decide(self, now_ms: int, gain: Array) -> Array:
        """(n,) the two levels around the budget, by lot."""
        return self.ladder.mix(self.cap * self._usual, self._lots.draw(len(gain)))

    def observe(self, load: Measured) -> None:
        """Look the state up; without a measurement of the traffic, change nothing."""
        if load.qps != load.qps:
            return
        state = state_of(load, self.ladder.safe_qps)
        known = self.learned.visits[state] >= self.least_visits
        if not known.any():
            self.cap = self.ladder.live_share(load.qps)
            return
        self.cap = float(SHARES[np.where(known, self.learned.q[state], -np.inf).argmax()])
