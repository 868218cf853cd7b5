"""The paper's two tables on this platform: gain at equal cost, and cost saved at equal value.

    reference     everybody gets one fixed level of ``ACTIONS``
    a policy      everybody gets the cheapest; upgrades go where Q_ij - Q_i0 > lam (q_j - q_0)
    frontier      (cost, value) of a policy for every lam; both tables are read off it

The policies differ in Q alone: hindsight Q is what will come of this very draw; knowable Q is the
expectation, which only the platform's truth knows; told Q is the ranker's own word after all ten
settings were run; learned Q is predicted before any is. Hindsight is judged on its own draw and so
wins by luck that nobody can have; the others are judged on expectations. What reads the request's
context pays for reading it. Settings were chosen on the tuning day; this is the held-out one.
Reference: Jiang et al., DCAF, 2020, section 4 (equal cost, equal revenue).

Simplified: industry measures both by A/B test, and its prices are of last minutes, not of a day.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

import numpy as np

from reclab.core.chance import rng
from reclab.core.types import Array
from reclab.degradation_dcaf import value_model, value_network
from reclab.degradation_dcaf.actions import REFERENCE
from reclab.degradation_dcaf.dcaf import act, solve_lambda
from reclab.lab.action_values import ActionTable, Drawn, action_table, draws, table_version
from reclab.lab.cache import built
from reclab.lab.lab import Lab, Progress
from reclab.lab.value_models import BEST, value_models

PRICES = 240  # on a frontier
DRAWS = (11, 12, 13, 14, 15)
"""draws that hindsight is judged on, one after the other"""
HINDSIGHT = "hindsight"
KNOWABLE = "knowable (truth)"
TOLD = "told after all ran"
FIXED = "quality factor"
"""one number for all"""
SHUFFLED = "random"
"""the best model's actions, dealt to the wrong requests"""


@dataclass(frozen=True)
class Frontier:
    """A policy at every price: ``lam`` (p,) rising, mean ``cost`` (ms), ``value`` (long views),
    ``clicks``, ``revenue`` and ``tail`` (share of the cards) a request, (p,) each."""

    lam: Array
    cost: Array
    value: Array
    clicks: Array
    revenue: Array
    tail: Array


@dataclass(frozen=True)
class Row:
    """A line of the tables, all as shares of the reference's: ``gain`` in what is aimed at, at its
    cost; ``saved`` cost at its value (NaN = never reached), and ``beyond``, the same as a share of
    what the quality factor needs for that value; what ``clicks``, the two aims and long-tail cards
    do there; ``spent`` more than the budget on the held-out day, at the price that was solved on
    the tuning day (NaN where nobody predicts)."""

    gain: float
    saved: float
    beyond: float
    clicks: float
    value: float
    revenue: float
    tail: float
    spent: float = float("nan")


# ---- policies ------------------------------------------------------------------------------


def upgrades(gain: Array, cost: Array, lam: float) -> Array:
    """(n,) action of each request at the price: at least the cheapest, dearer where it pays. A
    model that predicts a constant leaves everybody at the cheapest."""
    return np.maximum(act(gain - gain[:, :1], cost - cost[0], lam), 0)


def price_for(gain: Array, cost: Array, budget: float) -> float:
    """The price at which requests with these gains spend ``budget`` a request on average."""
    over = gain - gain[:, :1]
    return solve_lambda(over, cost - cost[0], (budget - cost[0]) * len(gain)).lam


def frontier(gain: Array, table: ActionTable, extra_ms: float = 0.0) -> Frontier:
    """Decide by ``gain`` (n, m) at every price, judge by the table's expectations."""
    cost, n = table.costs.total_ms, np.arange(len(table))
    over, more = gain - gain[:, :1], cost - cost[0]
    slope = np.where(more > 0, over / np.where(more > 0, more, 1), 0).ravel()
    slope = slope[slope > 0]
    if not len(slope):  # a constant: nobody is worth an upgrade
        slope = np.ones(1)
    lam = np.unique(np.append(0.0, np.quantile(slope, np.linspace(0, 1, PRICES)) * (1 + 1e-9)))
    found = []
    for price in lam:
        j = upgrades(gain, cost, price)
        judged = (table.value, table.clicks, table.revenue, table.tail)
        found.append([cost[j].mean() + extra_ms, *(what[n, j].mean() for what in judged)])
    return Frontier(lam, *np.array(found).T)


def fixed_levels(table: ActionTable) -> Frontier:
    """Each level for everybody; by falling level, as a frontier has rising prices."""
    judged = (table.value, table.clicks, table.revenue, table.tail)
    means = (what.mean(0)[::-1] for what in judged)
    cost = table.costs.total_ms[::-1]
    return Frontier(np.arange(len(cost), dtype=float), cost, *means)


def quality_factor(table: ActionTable, aim: str = "value") -> Frontier:
    """One factor for all between two fixed levels, some of the requests at each; levels that a mix
    of others beats are left out (the upper hull of what is aimed at over cost)."""
    every: Frontier = fixed_levels(table)
    keep: list[int] = []
    worth = getattr(every, aim)

    def slope(a: int, b: int) -> float:
        return float((worth[b] - worth[a]) / max(every.cost[b] - every.cost[a], 1e-12))

    for j in np.argsort(every.cost, kind="stable").tolist():
        if keep and worth[j] <= worth[keep[-1]]:
            continue
        while len(keep) > 1 and slope(keep[-2], j) >= slope(keep[-2], keep[-1]):
            keep.pop()
        keep.append(j)
    return Frontier(*(getattr(every, f.name)[keep] for f in fields(Frontier)))


def shuffled(gain: Array, seed: int) -> Array:
    """The gains dealt to the wrong requests: the same mix of actions, without aim."""
    return gain[rng(seed, "gains dealt at random").permutation(len(gain))]


# ---- reading a frontier --------------------------------------------------------------------


def by_cost(front: Frontier, aim: str = "value") -> tuple[Array, Array]:
    """(k,) costs rising, and the best of the aim that is had for at most that."""
    order = np.argsort(front.cost, kind="stable")
    return front.cost[order], np.maximum.accumulate(getattr(front, aim)[order])


def gain_at(front: Frontier, cost: float, aim: str = "value") -> float:
    """What is had for this cost, between points of the frontier in a line; NaN below its first."""
    costs, best = by_cost(front, aim)
    return float(np.interp(cost, costs, best, left=np.nan))


def cost_of(front: Frontier, value: float, aim: str = "value") -> float:
    """The least cost at which this much is had; NaN if it never is."""
    costs, best = by_cost(front, aim)
    right = int(np.searchsorted(best, value))
    if right == 0:
        return float(costs[0])
    if right == len(best):
        return float("nan")
    part = (value - best[right - 1]) / (best[right] - best[right - 1])
    return float(costs[right - 1] + part * (costs[right] - costs[right - 1]))


def read(front: Frontier, table: ActionTable, level: int = REFERENCE, aim: str = "value") -> Row:
    """A line of both tables against a fixed level of this table, and against one factor for all."""
    cost, means = float(table.costs.total_ms[level]), _means(table, level)
    there = cost_of(front, means[aim], aim)
    order = np.argsort(front.cost, kind="stable")
    beside = {
        name: float(np.interp(there, front.cost[order], getattr(front, name)[order])) / mean - 1
        for name, mean in means.items()
    }
    gain = gain_at(front, cost, aim) / means[aim] - 1
    beyond = 1 - there / cost_of(quality_factor(table, aim), means[aim], aim)
    return Row(gain=gain, saved=1 - there / cost, beyond=beyond, **beside)


def _means(table: ActionTable, level: int) -> dict[str, float]:
    names = ("clicks", "value", "revenue", "tail")
    return {name: float(getattr(table, name)[:, level].mean()) for name in names}


# ---- the tables ----------------------------------------------------------------------------


def judged_by(table: ActionTable, drawn: Drawn) -> ActionTable:
    """The table with a draw in place of the expectations."""
    return replace(table, value=drawn.value, revenue=drawn.revenue)


def level_of(table: ActionTable, aim: str) -> int:
    """What the policies are measured against: ``REFERENCE``; for money the level that earns most,
    for there deeper ranking, which looks for long views, earns less."""
    return REFERENCE if aim == "value" else int(table.revenue.mean(0).argmax())


def gains(lab: Lab, split: str, aim: str = "value") -> dict[str, Array]:
    """(n, m) gains that decide, by policy, for the requests of a split."""
    table = action_table(lab, split)
    told = table.told if aim == "value" else table.told_revenue
    learned = {name: model.predict(table.x) for name, model in value_models(lab, aim).items()}
    dealt = {SHUFFLED: shuffled(learned[BEST], lab.seed)}
    return {KNOWABLE: getattr(table, aim), TOLD: told, **learned, **dealt}


def frontiers(lab: Lab, aim: str = "value", split: str = "held_out") -> dict[str, Frontier]:
    """Every policy's frontier, judged by expectations; hindsight's by the draw that it knows."""
    table = action_table(lab, split)
    drawn = judged_by(table, draws(table, DRAWS[0]))
    found = {HINDSIGHT: frontier(getattr(drawn, aim), drawn), FIXED: quality_factor(table, aim)}
    for name, gain in gains(lab, split, aim).items():
        pays = name not in (KNOWABLE, TOLD)  # for reading the context
        found[name] = frontier(gain, table, table.costs.context_ms * pays)
    return found


def tables(lab: Lab, aim: str = "value", progress: bool | Progress = True) -> dict[str, Row]:
    """A line for each policy, on the held-out day; computed once and kept."""
    value_models(lab, aim, progress)  # makes what it needs, with a bar
    action_table(lab, "held_out", progress)

    def compute(folder: Path) -> None:
        rows = {name: asdict(row) for name, row in _rows(lab, aim).items()}
        (folder / "rows.json").write_text(json.dumps(rows), encoding="utf-8")

    version = table_version(lab, value_model, value_network)
    folder = built(f"dcaf_{aim}-{lab.scale}-{lab.seed}", version, compute)
    held = json.loads((folder / "rows.json").read_text(encoding="utf-8"))
    return {name: Row(**row) for name, row in held.items()}


def _rows(lab: Lab, aim: str) -> dict[str, Row]:
    table, today = action_table(lab, "tuning"), action_table(lab, "held_out")
    level = level_of(table, aim)
    before, now = gains(lab, "tuning", aim), gains(lab, "held_out", aim)
    rows = {}
    for name, front in frontiers(lab, aim).items():
        if name == HINDSIGHT:
            rows[name] = _of_draws(today, level, aim)
            continue
        rows[name] = read(front, today, level, aim)
        if name in before and name != SHUFFLED:
            spent = spends(before[name], now[name], today.costs.total_ms, level)
            rows[name] = replace(rows[name], spent=spent)
    return rows


def _of_draws(table: ActionTable, level: int, aim: str) -> Row:
    """Hindsight: decides by a draw and is judged on that very draw; the mean of several."""
    rows = []
    for seed in DRAWS:
        drawn = judged_by(table, draws(table, seed))
        rows.append(read(frontier(getattr(drawn, aim), drawn), drawn, level, aim))
    return Row(**{f.name: float(np.mean([getattr(r, f.name) for r in rows])) for f in fields(Row)})


def spends(before: Array, now: Array, cost: Array, level: int) -> float:
    """What today's requests ``now`` (n, m) cost at yesterday's price, which was solved for the
    level's cost on ``before``, as a share of that cost, less 1."""
    lam = price_for(before, cost, cost[level])
    return float(cost[upgrades(now, cost, lam)].mean() / cost[level] - 1)


@dataclass(frozen=True)
class Cloud:
    """One decision a request at a price: the predicted and the true ``gain`` of its action over the
    cheapest, the ``cost`` of the action (ms), and the ``action``, (n,) each."""

    predicted: Array
    gain: Array
    cost: Array
    action: Array


def cloud(gain: Array, table: ActionTable, lam: float) -> Cloud:
    """What each request of the table gets by ``gain`` (n, m) at the price, and what it is worth."""
    cost, n = table.costs.total_ms, np.arange(len(table))
    action = upgrades(gain, cost, lam)
    true = table.value[n, action] - table.value[:, 0]
    return Cloud(gain[n, action] - gain[:, 0], true, cost[action], action)


def text(rows: Mapping[str, Row]) -> str:
    """The rows as text: gain at equal cost; at equal value what is saved, and what moves beside."""
    names = ("gain", "saved", "beyond", "clicks", "views", "money", "tail", "spent")
    lines = [f"{'':26s}" + "".join(f"{name:>8}" for name in names)]
    for name, r in rows.items():
        numbers = (r.gain, r.saved, r.beyond, r.clicks, r.value, r.revenue, r.tail, r.spent)
        told = ("" if x != x else f"{x:+.1%}" for x in numbers)
        lines.append(f"{name:26s}" + "".join(f"{cell:>8}" for cell in told))
    return "\n".join(lines)
