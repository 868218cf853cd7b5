"""The price of computing, kept up to date: lam solved again on a rolling log as traffic changes.

    every refresh_s:   lam = the price at which the log's requests cost b each on average
                       b   = C / QPS:   the regular budget times (regular QPS / current QPS)

The log is a sample of the last minutes. Spending falls in lam, so the root is bracketed from the
last price and narrowed by interpolation. An empty or old log keeps the last price.
Reference: Jiang et al., DCAF, 2020, section 4.2.

Simplified: industry solves offline on a log of the same hour of earlier days.
"""

from dataclasses import dataclass
from math import log

import numpy as np

from reclab.core.errors import DataError, check_float, check_int
from reclab.core.types import Array

STEPS = 40  # prices tried at most
WIDEN = 1.06  # a bracket begins that wide around the last price
NEAR = 3e-3  # relative width of the bracket at which a price is good enough
GRID = 2.0 ** np.arange(0, -10.5, -0.75)  # prices of a curve, as shares of the dearest
MOST = 64  # rows that are put at once; a pause is not made up for
ALIKE = 1e-3  # gains that differ by a smaller share of the largest are the same
FEW = 32  # rows below which a log says too little


@dataclass(frozen=True)
class PriceConfig:
    """How long is looked back, and how often the price is solved."""

    refresh_s: float = 20.0
    """seconds from one solution to the next (5-300)"""
    keep_s: float = 120.0
    """a row older than this is not used (s, 60-900)"""
    rows: int = 512
    """rows of the log, spread over ``keep_s`` (300-100 000)"""

    def __post_init__(self) -> None:
        check_float("PriceConfig.refresh_s", self.refresh_s, 0.0, 1e6, "20")
        check_float("PriceConfig.keep_s", self.keep_s, 0.1, 1e7, "120")
        check_int("PriceConfig.rows", self.rows, FEW, 10**7, "512")


class RollingPrice:
    """``put`` the gains of requests, ``update`` with what one may cost, ``get`` the price.

    ``cost`` (m,) what each action costs beyond the degraded path. The log holds gains (rows, m);
    costs are the same for all rows.
    """

    def __init__(self, cost: Array, config: PriceConfig | None = None) -> None:
        self.config = config or PriceConfig()
        self.cost = np.asarray(cost, np.float32)
        if self.cost.ndim != 1 or not len(self.cost) or not (self.cost > 0).all():
            raise DataError(f"RollingPrice: costs must be above 0, (m,), got {cost}")
        self.lam = 0.0
        self.alike = False  # whether the same was told of all rows: no price can part them
        self.solved_ms: int | None = None
        self.budget: float | None = None  # of the last solution
        self._gain = np.zeros((self.config.rows, len(self.cost)), np.float32)
        self._at_ms = np.full(self.config.rows, -(10**15), np.int64)
        self._next, self._put_ms, self._turn = 0, -1e15, 0
        self._solved_on, self._curve = self._gain[:0], None

    def get(self) -> float:
        """The price now, value per unit of cost."""
        return self.lam

    def put(self, now_ms: int, gain: Array) -> None:
        """Keep a sample of these rows (n, m), as many as fill the log within ``keep_s``."""
        c = self.config
        row_ms = 1000 * c.keep_s / c.rows
        if not 0 <= now_ms - self._put_ms <= MOST * row_ms:  # just begun, a pause, or a jump
            self._put_ms = now_ms - max(c.rows // 8, FEW) * row_ms
        n = min(int((now_ms - self._put_ms) / row_ms), len(gain))
        if not n:
            return
        self._put_ms += n * row_ms
        some = gain[(self._turn + np.arange(n)) % len(gain)]
        self._turn += n  # batches that are alike are gone through, not begun anew
        at = self._next
        if at + n > len(self._gain):
            at = 0
        self._gain[at : at + n] = some
        self._at_ms[at : at + n] = now_ms
        self._next = at + n

    def due(self, now_ms: int) -> bool:
        """Whether it is time to solve again; a clock that went back begins anew."""
        passed = now_ms - self.solved_ms if self.solved_ms is not None else -1
        return passed < 0 or passed >= 1000 * self.config.refresh_s

    def update(self, now_ms: int, budget: float) -> float:
        """Solve for a mean cost of ``budget`` a request, when it is due, and return the price. A
        budget that is no number keeps the last price."""
        if not self.due(now_ms) or not budget == budget:
            return self.lam
        age = now_ms - self._at_ms
        fresh = (age >= 0) & (age <= 1000 * self.config.keep_s)
        gain = self._gain[fresh]
        gain = gain[np.isfinite(gain).all(1)]
        if len(gain) < FEW:
            return self.lam
        self.solved_ms, self.budget = now_ms, budget
        self.lam = price(gain, self.cost, budget, self.lam)
        most = float(gain.max())
        self.alike = most > 0 and float(np.ptp(gain, axis=0).max()) <= ALIKE * most
        self._solved_on, self._curve = gain, None
        return self.lam

    def at(self, budget: float) -> float:
        """The price for another budget, on the rows of the last solution: read off a curve that is
        drawn when it is asked for the first time, and moved so that it goes through the solution.
        """
        if self._curve is None:
            spent, lam = curve(self._solved_on[::2], self.cost)  # half of them say enough
            if self.lam > 0 and self.budget:
                lam = lam + np.log(self.lam) - np.interp(np.log(self.budget), spent, lam)
            self._curve = spent, lam
        return float(np.exp(np.interp(np.log(max(budget, 1e-30)), *self._curve)))

    def for_share(self, share: float) -> float:
        """The price at which that share of the rows still takes the cheapest action, were there no
        other."""
        gain = self._solved_on[:, 0]
        if not len(gain):
            return 0.0
        return max(float(np.quantile(gain, min(max(1 - share, 0.0), 1.0)) / self.cost[0]), 0.0)


def curve(gain: Array, cost: Array) -> tuple[Array, Array]:
    """Logarithms of mean costs, ascending, and of the prices that lead to them."""
    lam = max(float((gain / cost).max()), 1e-30) * GRID
    with np.errstate(over="ignore"):
        worth = gain - lam[:, None, None].astype(gain.dtype) * cost  # (prices, rows, m)
    action = worth.argmax(2)
    taken = np.take_along_axis(worth, action[..., None], 2)[..., 0] > 0
    spent = (cost[action] * taken).mean(1)
    least = cost.min() / (2 * len(gain))  # less than one request: nothing
    return np.log(np.maximum(spent, least)), np.log(np.maximum(lam, 1e-30))


def price(gain: Array, cost: Array, budget: float, start: float = 0.0) -> float:
    """The least price, within ``NEAR``, at which requests cost no more than ``budget`` on average.

    ``gain`` (n, m) finite, ``cost`` (m,) > 0; ``start`` is a first guess. An infinite price never
    comes back: just above the largest gain per cost nothing is taken.

    >>> gain = np.array([[3.0, 5.0], [1.0, 1.5]])
    >>> round(price(gain, np.array([1.0, 2.0]), budget=1.5), 2)
    1.0
    """
    worth = np.concatenate([np.zeros((len(gain), 1), gain.dtype), gain], 1)
    paid = np.concatenate([np.zeros(1, gain.dtype), cost.astype(gain.dtype)])

    def spent(lam: float) -> float:
        action = (worth - gain.dtype.type(lam) * paid).argmax(1)
        return float(paid.take(action).sum()) / len(gain)

    if spent(0.0) <= budget:
        return 0.0
    top = float((gain / cost).max()) * 1.0001 + 1e-30
    low = high = min(start if start > 0 else top / 8, top)
    above = below = spent(high)
    wider = WIDEN
    while above > budget and high < top:
        low, below = high, above
        high = min(high * wider, top)
        above, wider = spent(high), wider * wider
    while below <= budget and low > 1e-9 * top:
        high, above = low, below
        low /= wider
        below, wider = spent(low), wider * wider
    for _ in range(STEPS):
        if low * (1 + NEAR) >= high:
            break
        # where a power law through both ends meets the budget, but well inside
        share = log(below / budget) / log(below / above) if above > 0 and budget > 0 else 0.5
        middle = low * (high / low) ** min(max(share, 0.15), 0.85)
        now = spent(middle)
        if now > budget:
            low, below = middle, now
        else:
            high, above = middle, now
    return high
