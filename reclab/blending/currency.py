"""One currency (统一价值): what a full exposure of a card is worth to the platform.

    E[o | score] = p m1_bo + (1 - p) m0_bo      o: watch seconds, revenue, satisfaction
    value        = sum_o weight_o E[o | score]

p is the calibrated probability of the business's own event (a click, a long view, an order), m1 and
m0 what that event brings of objective o, and what an exposure without it brings, on average in its
logs. The weights are the platform's decision and nobody's prediction: what is a minute of watching
worth in money? A lesson moves them and sees the page change.
Reference: chapter 2, section 2.1 (constrained multi-objective optimisation by scalarisation).

Simplified: industry predicts the amounts as well, by item and user, and searches the weights by
experiment, against long-term return.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from reclab.blending.allocation.rules import BUSINESSES
from reclab.core.errors import DataError, NotBuilt, check, check_float
from reclab.core.stage import StageResult, split
from reclab.core.types import Array, Candidates

OBJECTIVES = {"watch_sec": 1 / 60, "revenue": 1.0, "satisfaction": 1.0}


@dataclass(frozen=True)
class Currency:
    """Weights of the objectives: value of one unit of each (0-10; 0 = does not count)."""

    weights: Mapping[str, float] = field(default_factory=lambda: dict(OBJECTIVES))

    def __post_init__(self) -> None:
        check(bool(self.weights), "Currency.weights", self.weights, "name objectives", "3 of them")
        for name, weight in self.weights.items():
            check_float(f"Currency.weights of {name}", weight, -1e6, 1e6, "0-10")

    def value(self, expected: Mapping[str, Array]) -> Array:
        """(n,) value of what is ``expected`` of each objective (n,). An objective with a weight but
        without a column is an error; NaN makes the value NaN.

        >>> currency = Currency({"watch_sec": 0.1, "revenue": 2.0})
        >>> currency.value({"watch_sec": np.array([30.0]), "revenue": np.array([0.5])}).tolist()
        [4.0]
        """
        missing = sorted(set(self.weights) - set(expected))
        if missing:
            has = ", ".join(expected) or "none"
            raise DataError(f"nothing is expected of {', '.join(missing)} (there are: {has})")
        terms = [w * np.asarray(expected[name], np.float64) for name, w in self.weights.items()]
        return np.asarray(sum(terms))


class Outcomes:
    """What an exposure brings of each objective, by business, with its event and without.
    ``fit`` on shown cards, ``expected`` for candidates."""

    def __init__(self, businesses: tuple[str, ...] = BUSINESSES) -> None:
        self.businesses = businesses
        self.means: dict[str, Array] = {}
        self.factors: dict[str, Array] = {}
        """(businesses,) what came of an objective / what the businesses' own predictions said"""

    def fit(self, business: Array, label: Array, amounts: Mapping[str, Array]) -> "Outcomes":
        """Learn means (businesses, 2) of each objective's ``amounts`` (n,), given ``label`` (n,) 0
        or 1. Where a business has no such row the mean is 0."""
        group = np.asarray(business) * 2 + (np.asarray(label) > 0.5)
        size = 2 * len(self.businesses)
        rows = np.maximum(np.bincount(group, minlength=size), 1)
        self.means = {}
        for name, amount in amounts.items():
            if not np.isfinite(amount).all():
                bad = int((~np.isfinite(amount)).sum())
                raise DataError(f"{bad} of {len(amount)} amounts of {name} are NaN or infinite")
            sums = np.bincount(group, amount, minlength=size)
            self.means[name] = (sums / rows).reshape(-1, 2)
        return self

    def expected(self, business: Array, p: Array) -> dict[str, Array]:
        """(n,) expected amount of each objective at probabilities ``p`` (n,)."""
        if not self.means:
            raise NotBuilt("Outcomes.expected before fit")
        found = {}
        for name, means in self.means.items():
            without, with_event = means[business].T
            found[name] = p * with_event + (1 - p) * without
        return found

    def corrected(self, name: str, business: Array, told: Array) -> Array:
        """(n,) the businesses' own predictions of an objective, made honest by its factors."""
        return told * self.factors[name][business] if name in self.factors else told


@dataclass(frozen=True)
class ValueStage:
    """Adds a column for each objective and ``value``; drops what has no finite value. Objectives
    that candidates already carry, such as an ad's bid times its probability, are taken from them,
    times the factor of their business where one was learned."""

    outcomes: Outcomes
    currency: Currency = field(default_factory=Currency)
    name: str = "value"

    def __call__(self, batch: Any, candidates: Candidates) -> StageResult:
        business = candidates["business"]
        expected = self.outcomes.expected(business, candidates["p"])
        for name in expected.keys() & candidates.columns.keys():
            expected[name] = self.outcomes.corrected(name, business, candidates[name])
        value = self.currency.value(expected)
        valued = candidates.with_columns(**expected, value=value)
        return split(valued, np.isfinite(value), "its value is not a number")
