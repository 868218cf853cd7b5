"""DCAF as a degradation policy: the price from a rolling log, MaxPower for what it does not know.

    action = argmax_j (Q_ij - lam q_j),  -1 where that is not above 0
    lam    = the price at which requests cost f b on average,   b = C / QPS at the last solution,
             f b never above what the usual action costs

f is MaxPower's, 1 = as planned. The price knows the traffic of its last solution; f corrects it
within a tick for what has come since, or was never measured right, and above 1 it spends what the
plan has left idle. When a new solution knows the new traffic, f goes back by as much as b came
down, so that nothing jumps. In quiet hours a budget for all of the capacity would buy everybody the
dearest action; it would gain little, and the first rise of traffic would find no room: hence the
limit. Cutting through the price takes computing from the requests that gain least by it. The
paper's MaxPower caps every request's action instead, which takes it from those that gain most:
``cut = "action"``.
Reference: Jiang et al., DCAF, 2020, sections 4.2 and 4.3.

Simplified: one price for all services; industry has one for each and moves them together.
"""

from dataclasses import dataclass, field
from math import nan

import numpy as np

from reclab.core.errors import check, check_float
from reclab.core.types import Array
from reclab.degradation_dcaf.dcaf import NONE, act
from reclab.degradation_dcaf.decision import Ladder, Lots, Measured
from reclab.degradation_dcaf.max_power import MaxPower, MaxPowerConfig
from reclab.degradation_dcaf.policies import Overflow, steered
from reclab.degradation_dcaf.price import PriceConfig, RollingPrice

CUTS = ("price", "action", "none")
STILL = 0.01  # relative change of a budget that is not worth a new price
TIES = 0.05  # how far apart the prices of requests are, as a share of lam


@dataclass(frozen=True)
class DCAFConfig:
    """The price's log, MaxPower's gains, and what MaxPower cuts."""

    price: PriceConfig = field(default_factory=PriceConfig)
    """how often the price is solved, on which rows"""
    power: MaxPowerConfig = field(
        default_factory=lambda: MaxPowerConfig(top=2.0, least=0.01, proportional=0.1, integral=0.5)
    )
    """MaxPower; top (1-3) and least are shares: of the budget, or of the dearest action"""
    cut: str = "price"
    """"price": the budget, "action": the dearest action of each request, "none": no MaxPower"""
    most: float = 1.0
    """requests never cost more than this on average (in usual actions, 0.5-2)"""

    def __post_init__(self) -> None:
        check(self.cut in CUTS, "DCAFConfig.cut", self.cut, f"be one of {CUTS}", "price")
        check_float("DCAFConfig.most", self.most, 0.01, 100.0, "1")
        is_share = 1 <= self.power.top <= 5
        check(is_share, "DCAFConfig.power.top", self.power.top, "be a share in 1..5", "2")


class DCAF:
    """Each request's action at the price. Before a price is solved, and for a request of which no
    gain is known, the rule of ``Overflow`` holds."""

    def __init__(self, ladder: Ladder, config: DCAFConfig | None = None, seed: int = 0) -> None:
        self.ladder, self.config = ladder, config or DCAFConfig()
        # beyond the degraded answer, as the gain is
        self.cost = (ladder.cost - ladder.degraded).astype(np.float32)
        self.price = RollingPrice(self.cost, self.config.price)
        self.power = MaxPower(self.config.power)
        self.power.rescale(self.config.power.top)  # begins at 1
        self.cap, self.lam = 1.0, nan
        self._most = self.config.most * float(ladder.cost[ladder.usual])
        self._blind, self._lots = Overflow(ladder, seed), Lots(seed)
        self._levels, self._share = len(ladder.cost), 1.0
        self._starts, self._width = np.zeros(0, np.int64), 0

    def decide(self, now_ms: int, gain: Array) -> Array:
        """(n,) int16: argmax over the levels below the cap of gain - lam cost, -1 where <= 0. Each
        request's lam is a little apart from the others', so that requests that are told alike do
        not all change at one price. Where the same is told of everybody, lots decide, as MaxPower
        alone would have it: the two levels around the budget."""
        self.price.put(now_ms, gain)
        if not len(gain):
            return np.zeros(0, np.int16)
        if self.price.solved_ms is None:  # just begun
            return self._blind.decide(now_ms, gain)
        if self.price.alike:
            cap = self.cap if self.config.cut == "price" else 1.0
            spend = cap * (self.price.budget or 0.0) + self.ladder.degraded
            return self.ladder.mix(spend, self._lots.draw(len(gain)))
        levels = self._levels
        apart = np.float32(1) + np.float32(TIES) * (self._lots.draw(len(gain)) - np.float32(0.5))
        price = (np.float32(self.lam) * apart)[:, None] * self.cost[:levels]
        worth = gain[:, :levels] - price
        if self._share < 1.0:  # the uppermost level is for some
            worth[self._lots.draw(len(gain)) >= self._share, levels - 1] = -np.inf
        action = worth.argmax(1)
        best = worth.ravel().take(action + self._rows(len(gain), levels))
        if not np.isfinite(best).all():
            return self._unsure(now_ms, gain)
        action[best <= 0] = NONE
        return action.astype(np.int16)

    def _rows(self, n: int, width: int) -> Array:
        """(n,) where each row of ``width`` begins, kept from call to call."""
        if self._starts.shape != (n,) or self._width != width:
            self._starts, self._width = np.arange(n) * width, width
        return self._starts

    def _unsure(self, now_ms: int, gain: Array) -> Array:
        """Where some gains are not known: the best of the known, or the rule."""
        known = np.isfinite(gain)
        some = np.where(known, gain, np.nan)
        action = act(some, self.cost, self.lam, self.cost[self._levels - 1]).astype(np.int16)
        blind = ~known.any(1)
        action[blind] = self._blind.decide(now_ms, gain[blind])
        return action

    def observe(self, load: Measured) -> None:
        """Solve the price when it is time, and let MaxPower cut."""
        self._blind.observe(load)
        before, when = self.price.budget, self.price.solved_ms
        budget = min(self.ladder.budget(load.qps), self._most) - self.ladder.degraded
        self.price.update(load.now_ms, max(budget, 0.0))
        if self.price.solved_ms is None:
            return
        if self.config.cut != "price":
            self.lam = self.price.get()
            if self.config.cut == "action":
                self.cap = min(steered(self.power, load), 1.0)
                self._cap_actions(self.cap)
        else:
            self._cut_budget(load, before, solved=self.price.solved_ms != when)

    def _cut_budget(self, load: Measured, before: float | None, solved: bool) -> None:
        """The price of f times the budget. A change of f by less than ``STILL`` is none."""
        budget = self.price.budget or 0.0
        if solved and before and budget != before:
            self.power.rescale(budget / before)
        cap = steered(self.power, load)
        limit = (self._most - self.ladder.degraded) / max(budget, 1e-30)
        if cap > limit:  # it shall not wind up above what it may spend
            self.power.rescale(cap / limit)
            cap = self.power.get()
        if solved or abs(cap - self.cap) > STILL * self.cap or self.lam != self.lam:
            self.cap = cap
            self.lam = self.price.at(cap * budget) if cap != 1 else self.price.get()

    def _cap_actions(self, cap: float) -> None:
        """Which levels a cap leaves: one between two levels lets some requests have the upper one,
        by lot; one below the cheapest raises the price until only some act at all."""
        cost = self.cost
        power = cap * float(cost[-1])
        n = int(cost.searchsorted(power * (1 + 1e-6), "right"))
        self._levels, self._share = max(n, 1), 1.0
        if n == 0:
            self.lam = max(self.lam, self.price.for_share(power / float(cost[0])))
        elif n < len(cost):
            self._levels = n + 1
            self._share = float((power - cost[n - 1]) / (cost[n] - cost[n - 1]))
