"""DCAF (动态算力分配): each request gets as much computing as is worth its price.

    max sum_ij x_ij Q_ij   with   sum_ij x_ij q_j <= C,   sum_j x_ij <= 1,   x_ij in {0, 1}   (2.1)
    j*(i) = argmax_j (Q_ij - lam q_j), taken where it is above 0                        (2.2, 2.3)

Q_ij is the value of giving request i the action j, q_j its cost, C the budget, lam the price of a
unit of cost. Spending falls as lam rises, for any Q, so lam is found by bisection: first on a
sample, then on all requests, of which only those are asked again whose action differs at the two
ends. Whatever budget the last step leaves is filled by the upgrades that still fit, best first.

The loop printed in the paper does not converge: it raises lam when too little is spent, its upper
end min_ij(Q_ij / q_j) is too small for a real budget, and |cost - C| <= eps may never be met, since
spending is a step function of lam.
Reference: Jiang et al., DCAF, 2020 (arXiv 2006.09684); Sinha and Zoltners 1979 (the multiple-choice
knapsack problem).

Simplified: industry solves on a log of the last minutes, with C scaled by the present traffic.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from reclab.core.errors import ConfigError, DataError, check
from reclab.core.types import Array

NONE = -1  # the action of a request that gets no computing
BLOCK = 8_192  # requests priced at a time: their values stay in the processor's cache
SAMPLE = 20_000  # requests that a first price is found on
STEPS = 100  # prices tried at most; about twenty are needed
SLACK = 1e-6  # lam times what is left, as a share of the gain: less is not worth filling
SAME = 1e-12  # relative difference of prices that are one
FILLS = 64  # changes at most that spend what is left
NEAR = 128  # upgrades, and downgrades, that are looked at for each


@dataclass(frozen=True)
class Solution:
    """What was decided: the price ``lam`` (value a unit of cost), ``action`` (n,) int16 with -1 =
    none, the sums ``gain`` and ``cost``, and ``bound``, which no allocation within the budget can
    exceed (the dual value at ``lam``)."""

    lam: float
    action: Array = field(repr=False)
    gain: float
    cost: float
    bound: float

    @property
    def gap(self) -> float:
        """How far below the bound, as a share of it; 0 when there is nothing to gain."""
        return (self.bound - self.gain) / self.bound if self.bound > 0 else 0.0


def solve_lambda(gain: Array, cost: Array, budget: float, start: float | None = None) -> Solution:
    """Allocate ``budget`` among requests, never more than it.

    ``gain`` (n, m) Q_ij in any unit, in any shape (concave or not), below 0 = never taken; ``cost``
    (m,) or (n, m) q_j >= 0; ``start``, yesterday's price, spares the search for a first one.
    Raises ``DataError`` for NaN, infinite or ill-shaped input and ``ConfigError`` for a budget
    below 0. Source: equations 2.1-2.3.

    >>> gain = np.array([[3.0, 5.0], [1.0, 1.5]])
    >>> best = solve_lambda(gain, np.array([1.0, 2.0]), budget=3.0)
    >>> best.action.tolist(), best.gain, best.cost
    ([1, 0], 6.0, 3.0)
    """
    gain, cost = _checked(gain, cost)
    check(budget >= 0, "solve_lambda.budget", budget, "be >= 0", "half of what all would cost")
    if not len(gain):
        return Solution(0.0, np.zeros(0, np.int16), 0.0, 0.0, 0.0)
    free = _price(gain, cost, 0.0)
    if free.cost.sum() <= budget:
        return _solution(0.0, free, free.gain.sum(dtype=np.float64))
    low, high = _bracket(gain, cost, budget, start)
    lam, bound, best, over, rows = _halve(gain, cost, budget, low, high)
    _switch(best, over, rows, budget)
    _fill(gain, cost, best, budget, lam)
    return _solution(lam, best, bound)


def act(gain: Array, cost: Array, lam: float, most: float = np.inf) -> Array:
    """The policy executor (策略执行器), online: (n,) action of each request at the price ``lam``,
    -1 = none. No action dearer than ``most`` (MaxPower) is taken.

    ``gain`` (n, m) or (m,) for one request; NaN = not known, never taken. Takes no budget: what is
    spent follows from the price, which is why the price is solved again as traffic changes.
    """
    worth = np.atleast_2d(gain - lam * cost)
    worth = np.where((worth > 0) & (cost <= most), worth, 0)  # NaN is not > 0
    action = worth.argmax(1)
    return np.where(worth[np.arange(len(worth)), action] > 0, action, NONE)


class Priced(NamedTuple):
    """Each request's best action at a price, what it gains and what it costs, (n,) each."""

    action: Array
    gain: Array
    cost: Array


def _checked(gain: Array, cost: Array) -> tuple[Array, Array]:
    """Float arrays, or an error that says what is wrong with them."""
    gain, cost = np.asarray(gain), np.asarray(cost)
    if gain.dtype.kind != "f":
        gain = gain.astype(np.float64)
    cost = cost.astype(gain.dtype)
    if gain.ndim != 2 or gain.shape[1] == 0:
        raise DataError(f"gain must be (requests, actions) with an action, got shape {gain.shape}")
    if cost.shape not in (gain.shape[1:], gain.shape):
        fits = f"{gain.shape[1:]} or {gain.shape}"
        raise DataError(f"cost must have shape {fits}, got {cost.shape}")
    for name, values in (("gain", gain), ("cost", cost)):
        bad = values.size - int(np.isfinite(values).sum())
        if bad:
            raise DataError(f"{bad} of {values.size} values of {name} are NaN or infinite")
    if cost.min() < 0:
        raise ConfigError(f"cost must be >= 0, got {cost.min():g} (typical: measured milliseconds)")
    return gain, cost


def _price(gain: Array, cost: Array, lam: float) -> Priced:
    """Every request's best action at ``lam``; of equally good ones the cheapest at lam = 0."""
    n, shared = len(gain), cost.ndim == 1
    order = np.argsort(cost, kind="stable") if shared else None
    action = np.empty(n, np.int16)
    won, spent = np.empty(n, gain.dtype), np.empty(n, gain.dtype)
    for at in range(0, n, BLOCK):
        part = slice(at, at + BLOCK)
        q, c = gain[part], cost if shared else cost[part]
        if shared:
            q, c = q.take(order, 1), c[order]  # the first of equals is the cheapest
        worth = q - gain.dtype.type(lam) * c
        j = worth.argmax(1)
        rows = np.arange(len(q))
        none = worth[rows, j] <= 0
        won[part], spent[part] = q[rows, j], c[j] if shared else c[rows, j]
        action[part] = order[j] if order is not None else j
        for column, blank in ((action, NONE), (won, 0), (spent, 0)):
            column[part][none] = blank
    return Priced(action, won, spent)


def _bracket(gain: Array, cost: Array, budget: float, start: float | None) -> tuple[float, float]:
    """Prices between which the answer lies: around ``start``, or around a sample's own answer."""
    top = _dearest(gain, cost)
    if start is None or not 0 < start < top:
        if len(gain) <= 2 * SAMPLE:
            return 0.0, top
        rows = np.linspace(0, len(gain) - 1, SAMPLE).astype(np.int64)
        some = gain[rows], cost if cost.ndim == 1 else cost[rows]
        share = budget * SAMPLE / len(gain)
        start = _halve(*some, share, 0.0, top)[0]
    return start * 0.98, min(start * 1.02 + 1e-300, top)


def _dearest(gain: Array, cost: Array) -> float:
    """A price at which nothing with a cost is taken: just above the largest gain per cost."""
    most = 0.0
    for at in range(0, len(gain), BLOCK):
        part = slice(at, at + BLOCK)
        c = cost if cost.ndim == 1 else cost[part]
        with np.errstate(divide="ignore", invalid="ignore"):
            most = max(most, float(np.where(c > 0, gain[part] / c, 0).max()))
    return most * (1 + 1e-6) + 1e-30


def _halve(
    gain: Array, cost: Array, budget: float, low: float, high: float
) -> tuple[float, float, Priced, Priced, Array]:
    """The price found, the bound that it proves, the allocation there, which is within the budget,
    and the dearer one just below that price for the requests ``rows`` that would still switch."""
    top, over = _dearest(gain, cost) if high else high, None
    best = _price(gain, cost, high)
    while best.cost.sum() > budget and high < top:
        low, over, high = high, best, min(2 * high, top)
        best = _price(gain, cost, high)
    if over is None:
        over = _price(gain, cost, low)
    while over.cost.sum() <= budget and low > 0:
        high, best, low = low, over, low / 2 if low > 1e-12 * top else 0.0
        over = _price(gain, cost, low)
    rows = np.flatnonzero(over.action != best.action)
    over = Priced(*(column[rows] for column in over))
    spent = float(best.cost.sum())
    for _ in range(STEPS):
        if not len(rows):
            break
        # the price at which half of the contested requests switch, if they switch at once
        at = (over.gain - best.gain[rows]) / np.maximum(over.cost - best.cost[rows], 1e-300)
        middle = float(np.median(at))
        if not low * (1 + SAME) < middle < high * (1 - SAME):
            if at.max() - at.min() <= SAME * middle:
                break  # all switch at one price: the rest of the budget decides who does
            middle = (low + high) / 2
        if not low < middle < high:
            break
        some = _price(gain[rows], cost if cost.ndim == 1 else cost[rows], middle)
        now = spent + float((some.cost - best.cost[rows]).sum(dtype=np.float64))
        if now > budget:
            low, over = middle, some
            keep = some.action != best.action[rows]
        else:
            high, spent = middle, now
            for mine, new in zip(best, some, strict=True):
                mine[rows] = new
            keep = some.action != over.action
        rows, over = rows[keep], Priced(*(column[keep] for column in over))
    # the dual at both ends: below the budget nobody can gain more than the lower of the two
    dual = [
        lam * budget + float((end.gain - lam * end.cost).sum(dtype=np.float64))
        for lam, end in ((high, best), (low, _with(best, over, rows)))
    ]
    return high, min(dual), best, over, rows


def _with(best: Priced, over: Priced, rows: Array) -> Priced:
    """A copy in which ``rows`` have their dearer action."""
    every = [column.copy() for column in best]
    for mine, new in zip(every, over, strict=True):
        mine[rows] = new
    return Priced(*every)


def _switch(best: Priced, over: Priced, rows: Array, budget: float) -> None:
    """Let the contested requests switch to their dearer action while the budget lasts."""
    if not len(rows):
        return
    more, won = over.cost - best.cost[rows], over.gain - best.gain[rows]
    order = np.argsort(-won / np.maximum(more, 1e-300), kind="stable")
    left = budget - float(best.cost.sum(dtype=np.float64))
    fits = order[np.cumsum(more[order], dtype=np.float64) <= left]
    before = [column[rows] for column in best]
    for mine, new in zip(best, over, strict=True):
        mine[rows[fits]] = new[fits]
    while len(fits) and best.cost.sum(dtype=np.float64) > budget:  # sums round
        last, fits = fits[-1], fits[:-1]
        for mine, old in zip(best, before, strict=True):
            mine[rows[last]] = old[last]


def _fill(gain: Array, cost: Array, best: Priced, budget: float, lam: float) -> None:
    """Spend what is left: an upgrade that fits, alone or paid for by another request's downgrade,
    the one that gains most, until none gains. Only those near the price are worth a look."""
    left = budget - float(best.cost.sum(dtype=np.float64))
    enough = SLACK * float(best.gain.sum(dtype=np.float64))
    some = np.linspace(0, len(gain) - 1, min(len(gain), SAMPLE)).astype(np.int64)
    gain, cost = gain[some], np.broadcast_to(cost, gain.shape)[some]
    nothing = np.zeros((len(gain), 1), gain.dtype)
    gain, cost = np.append(gain, nothing, 1), np.append(cost, nothing, 1)  # last: no action
    for _ in range(FILLS):
        if lam * left <= enough:
            return
        won, more = gain - best.gain[some, None], cost - best.cost[some, None]
        loss = lam * more - won  # in value, against what the price says is best
        up, down = _near(loss, more > 0), np.append(_near(loss, more < 0), -1)
        d_up, d_down = more.flat[up][:, None], np.append(more.flat[down[:-1]], 0)
        g_up, g_down = won.flat[up][:, None], np.append(won.flat[down[:-1]], 0)
        width = won.shape[1]
        apart = up[:, None] // width != down // width
        net = np.where((d_up + d_down <= left) & apart, g_up + g_down, 0)
        if not net.size or net.max() <= 0:
            return
        i, k = divmod(int(net.argmax()), len(down))
        flat = np.array([up[i], down[k]])[: 1 + (down[k] >= 0)]
        row, j = np.divmod(flat, width)
        row = some[row]
        before = best.action[row], best.gain[row], best.cost[row]
        best.action[row] = np.where(j == width - 1, NONE, j)
        best.gain[row] += won.flat[flat]
        best.cost[row] += more.flat[flat]
        left = budget - float(best.cost.sum(dtype=np.float64))
        if left < 0:  # sums round
            best.action[row], best.gain[row], best.cost[row] = before
            return


def _near(loss: Array, which: Array) -> Array:
    """Flat positions of the least losses among ``which``, NEAR at most."""
    places = np.flatnonzero(which)
    if len(places) > NEAR:
        places = places[np.argpartition(loss.flat[places], NEAR)[:NEAR]]
    return places


def _solution(lam: float, best: Priced, bound: float) -> Solution:
    total = float(best.gain.sum(dtype=np.float64))
    return Solution(lam, best.action, total, float(best.cost.sum(dtype=np.float64)), float(bound))
