"""What lesson 04 decides with: held-out requests, and who says what each action would gain them.

    gain_ij = Q_ij - D_i      Q_ij: the page of action j,  D_i: the degraded page, which needs no
                              computing; both predicted, from the tuning day, or both true
    D_i is predicted from Q_i0 and from whether there is a cached answer, by least squares on a log
    of degraded answers and what came of them

Simplified: a degraded answer's outcome is drawn as ten cards of equal chance.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from reclab.core.chance import rng
from reclab.core.types import Array
from reclab.degradation_dcaf.actions import REFERENCE
from reclab.degradation_dcaf.value_model import TARGETS, Estimator
from reclab.lab import dcaf_tables
from reclab.lab.action_values import ActionTable, action_table
from reclab.lab.dcaf_tables import Frontier, Row
from reclab.lab.lab import Lab, Progress
from reclab.lab.value_models import BEST, KINDS, value_models

CARDS = 10
ESTIMATORS = [f"{kind}, {target}" for kind in KINDS for target in TARGETS]
LEARNED, TRUTH, SAME, LIES = "learned", "knowable", "same for all", "lies"


@dataclass(frozen=True)
class Study:
    """``table`` of held-out requests; ``gains`` (n, m) above the degraded page by who says it;
    ``rows`` and ``money`` the paper's tables, for long views and for money; ``fronts`` value
    against cost of every policy, by aim and name."""

    table: ActionTable
    gains: dict[str, Array] = field(repr=False)
    rows: dict[str, Row]
    money: dict[str, Row]
    fronts: dict[str, dict[str, Frontier]] = field(repr=False)

    @property
    def net_cost(self) -> Array:
        """(m,) ms that an action takes beyond the degraded path; a hundredth of its own time where
        a busy machine measured the degraded path as the longer of the two."""
        total = self.table.costs.total_ms
        return np.maximum(total - self.table.costs.degraded_ms, 0.01 * total)

    @property
    def saved(self) -> dict[str, float]:
        """Share of the cost that each policy saves at equal value, where it gets there; what was
        learned is called so."""
        of = {name: row.saved for name, row in self.rows.items() if row.saved == row.saved}
        return {f"learned: {n}" if n in ESTIMATORS else n: saved for n, saved in of.items()}

    @property
    def changes(self) -> list[tuple[str, float]]:
        """What else changes when the best model saves at equal value: (what, per cent)."""
        row = self.rows[BEST]
        moved = {"clicks": row.clicks, "money": row.revenue, "long-tail cards": row.tail}
        return [(what, 100 * change) for what, change in moved.items()]

    def some_requests(self, shares: Sequence[float] = (0.05, 0.5, 0.95)) -> list[int]:
        """Requests that gain little, some and much from the usual action over the cheapest."""
        more = self.table.value[:, REFERENCE] - self.table.value[:, 0]
        order = np.argsort(more, kind="stable")
        return [int(order[round(share * (len(order) - 1))]) for share in shares]


def study(lab: Lab, progress: bool | Progress = True) -> Study:
    """Made when first asked for (minutes, with bars), then read. Raises ``DataError`` on real logs,
    whose truth is hidden."""
    aims = ("value", "revenue")
    rows, money = (dcaf_tables.tables(lab, aim, progress) for aim in aims)
    table = action_table(lab, "held_out", progress)
    fronts = {aim: dcaf_tables.frontiers(lab, aim) for aim in aims}
    return Study(table, gains(lab, table), rows, money, fronts)


def gains(lab: Lab, table: ActionTable) -> dict[str, Array]:
    """(n, m) gains above the degraded page by who says it. The last two are for breaking things:
    the same curve for everybody, and the opposite of what was learned."""
    before, model = action_table(lab, "tuning"), value_models(lab)[BEST]
    page = model.predict(table.x)
    learned = page - degraded_worth(model, before, lab.seed)(page, table)[:, None]
    usual = learned.mean(0)
    return {
        LEARNED: learned,
        TRUTH: table.value - table.fallback[:, None],
        SAME: np.tile(usual, (len(table), 1)),
        LIES: 2 * usual - learned,
    }


class DegradedWorth:
    """What the degraded page is worth, from ``Q_i0`` and from whether there is a cached one."""

    def __init__(self, page: Array, cached: Array, outcome: Array) -> None:
        self.weights = np.linalg.lstsq(_columns(page, cached), outcome, rcond=None)[0]

    def __call__(self, page: Array, table: ActionTable) -> Array:
        """(n,) for predicted pages (n, m) of the table's requests."""
        return _columns(page, table.cached) @ self.weights


def degraded_worth(model: Estimator, before: ActionTable, seed: int) -> DegradedWorth:
    """Learned from a day's degraded answers."""
    chance = rng(seed, "outcomes of degraded answers")
    outcome = chance.binomial(CARDS, np.clip(before.fallback / CARDS, 0, 1))
    return DegradedWorth(model.predict(before.x), before.cached, outcome)


def _columns(page: Array, cached: Array) -> Array:
    first, there = page[:, 0].astype(np.float64), cached.astype(np.float64)
    return np.stack([first * there, there, first * (1 - there), 1 - there], 1)
