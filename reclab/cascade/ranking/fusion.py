"""Fusion: one score from several predicted targets.

    sum:      s = sum_k w_k y_k
    product:  s = prod_k (e_k + y_k)^{w_k},   computed as exp sum_k w_k ln(e_k + y_k)

with y any of the targets, watch_sec / 60 (minutes) among them. A sum trades targets one for one; a
product asks for something of everything, since a target near zero pulls the whole score down, and a
target's unit does not matter in it. In a sum it does: a like is some twenty times rarer than a
click, so that its weight must be larger to be felt.
Reference: chapter 2, section 2.2 (3).

Simplified: industry searches the weights online, by user group, against retention.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from reclab.cascade.ranking.targets import FREQUENT, RARE, TARGETS
from reclab.core.errors import DataError, check, check_float
from reclab.core.types import Array

FLOOR = dict.fromkeys(FREQUENT, 1e-3) | dict.fromkeys(RARE, 1e-5)
"""e_k: keeps the logarithm finite (of the order of the smallest useful prediction)"""
UNIT = {"watch_sec": 60.0}
"""what a prediction is divided by (seconds in a minute)"""


@dataclass(frozen=True)
class FusionConfig:
    """Weights of the targets: 0 … 10 for frequent ones, 0 … 1000 for the rare; a target with
    weight 0 is not read."""

    kind: str = "sum"
    """"sum" of weighted targets, or "product" of their powers"""
    p_click: float = 0.0
    p_long_view: float = 1.0
    watch_sec: float = 0.0
    """weight of a minute"""
    p_like: float = 0.0
    p_share: float = 0.0
    p_follow: float = 0.0
    p_purchase: float = 0.0

    def __post_init__(self) -> None:
        known = self.kind in ("sum", "product")
        check(known, "FusionConfig.kind", self.kind, "be sum or product", "sum")
        for name in TARGETS:
            check_float(f"FusionConfig.{name}", getattr(self, name), 0.0, 1000.0, "0-2")
        check(
            any(self.weights.values()), "FusionConfig", 0, "have a weight above 0", "p_long_view=1"
        )

    @property
    def weights(self) -> dict[str, float]:
        """Weight by target."""
        return {name: getattr(self, name) for name in TARGETS}


class Fusion:
    """``fusion(predictions) -> (n,) float32`` score.

    >>> both = Fusion(FusionConfig(p_click=1.0, p_long_view=2.0))
    >>> both({"p_click": np.array([0.5]), "p_long_view": np.array([0.25])}).tolist()
    [1.0]
    """

    def __init__(self, config: FusionConfig | None = None) -> None:
        self.config = config or FusionConfig()

    @classmethod
    def over(cls, targets: Iterable[str]) -> "Fusion":
        """The default fusion over what a ranker predicts: the long view, else the click."""
        known = set(targets)
        long = "p_long_view" in known
        return cls(FusionConfig(p_click=0.0 if long else 1.0, p_long_view=1.0 if long else 0.0))

    def __call__(self, predictions: Mapping[str, Array]) -> Array:
        """Fuse predictions (n,) of each target. Targets that the log did not have are left out;
        if none of the weighted ones is there, ``p_click`` alone decides."""
        weights = {n: w for n, w in self.config.weights.items() if w and n in predictions}
        if not weights and "p_click" not in predictions:
            has = ", ".join(predictions) or "nothing"
            raise DataError(f"fusion needs p_click or a weighted target, got {has}")
        weights = weights or {"p_click": 1.0}
        parts = {n: np.asarray(predictions[n], np.float32) / UNIT.get(n, 1.0) for n in weights}
        if self.config.kind == "sum":
            score = sum(weight * parts[name] for name, weight in weights.items())
        else:
            score = np.exp(
                sum(w * np.log(FLOOR[n] + np.maximum(parts[n], 0)) for n, w in weights.items())
            )
        return np.asarray(score, np.float32)
