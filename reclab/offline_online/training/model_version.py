"""Model version (模型版本): immutable weights with their number and age, and the guard that decides
whether they may serve.

    refuse  <=>  LL_new > LL_serving (1 + a)   or   AUC_new < AUC_serving - b
            or   |ln c_new| > |ln c_serving| + ln(1 + d)     c = sum of predictions / of labels
            or   |ln c_serving| > ln(1 + e)                  the labels themselves have jumped
all of it on the newest rows that neither has learned from. The first three keep bad models out.
They cannot keep bad labels out, for a model that has learned them is the better one by them: hence
the fourth, which asks whether the world could have changed so much since the serving version.

Reference: Breck et al. 2017 (IEEE Big Data), the ML test score; chapter 2.3.1.
Simplified: industry then shows a version to one per cent of users before the rest.
"""

from collections.abc import Mapping
from copy import copy, deepcopy
from dataclasses import dataclass
from math import isfinite, log

import numpy as np
from torch import Tensor

from reclab.cascade.ranking.ranker import Ranker
from reclab.cascade.ranking.targets import WATCH, Objective
from reclab.cascade.ranking.training import Samples
from reclab.core.errors import check_float, check_int
from reclab.core.metrics import auc, log_loss
from reclab.core.types import Array


@dataclass(frozen=True)
class Scores:
    """What a model says of ``rows`` labels of one target: ``log_loss``; ``auc`` (NaN with one
    class only); ``calibration``, sum of predictions over sum of labels."""

    rows: int
    log_loss: float
    auc: float
    calibration: float

    @classmethod
    def of(cls, label: Array, p: Array) -> "Scores":
        """From (n,) labels 0 or 1, NaN = unknown, and (n,) predictions."""
        known = ~np.isnan(label)
        label, p = label[known], p[known].astype(np.float64)
        if not len(label):
            return cls(0, float("nan"), float("nan"), float("nan"))
        ratio = (float(p.sum()) + 0.5) / (float(label.sum()) + 0.5)  # finite without positives
        return cls(len(label), log_loss(label > 0.5, p), auc(label > 0.5, p), ratio)


def validate(ranker: Ranker, held_out: Samples) -> dict[str, Scores]:
    """Scores by target for all probabilities that the ranker has learned and the rows tell."""
    told = ranker.score_features(held_out.features)
    names = [name for name in told if name != WATCH and name in held_out.targets]
    return {name: Scores.of(held_out.targets[name], told[name]) for name in names}


@dataclass(frozen=True)
class ModelVersion:
    """Weights that serving may take; nothing of it is ever changed.

    ``number`` 0, 1, 2, …; ``trained_until_ms`` request time of the newest row learned;
    ``rows`` learned so far; ``validation`` by target; ``objective`` how outputs are read;
    ``weights`` of the network by name."""

    number: int
    trained_until_ms: int
    rows: int
    validation: Mapping[str, Scores]
    objective: Objective
    weights: Mapping[str, Tensor]

    @classmethod
    def of(
        cls, ranker: Ranker, number: int, until_ms: int, rows: int, told: Mapping[str, Scores]
    ) -> "ModelVersion":
        """A copy of what a ranker has learned by now."""
        weights = {name: value.clone() for name, value in ranker.net.state_dict().items()}
        return cls(number, until_ms, rows, dict(told), ranker.objective, weights)

    def into(self, ranker: Ranker) -> Ranker:
        """A ranker like the given one that answers with this version; the given one stays."""
        ranker.net.eval()  # forgets the item vectors of other weights
        made = copy(ranker)
        made.net, made.history = deepcopy(ranker.net), deepcopy(ranker.history)
        made.net.load_state_dict(dict(self.weights))
        made.net.eval()
        made.targets, made.objective = self.objective.names, self.objective
        return made


@dataclass(frozen=True)
class Refused:
    """Why a version was not published: ``reason`` is one of "log_loss", "auc", "calibration",
    "labels", "not_finite"; ``detail`` says the numbers."""

    reason: str
    detail: str


@dataclass(frozen=True)
class GuardConfig:
    """How much worse than the serving version a new one may be."""

    log_loss: float = 0.01
    """share by which the log loss may be higher (0.002 … 0.1)"""
    auc: float = 0.01
    """by how much the AUC may be lower (0.002 … 0.05)"""
    calibration: float = 0.05
    """share by which the calibration may be farther off (0.02 … 0.3)"""
    labels: float = 0.3
    """share by which the labels may differ from what the serving version expects (0.1 … 1)"""
    min_rows: int = 300
    """held-out rows below which nothing is judged and everything is published (100 … 100 000)"""

    def __post_init__(self) -> None:
        check_float("GuardConfig.log_loss", self.log_loss, 0.0, 10.0, "0.01")
        check_float("GuardConfig.auc", self.auc, 0.0, 1.0, "0.01")
        check_float("GuardConfig.calibration", self.calibration, 0.0, 10.0, "0.05")
        check_float("GuardConfig.labels", self.labels, 0.0, 1e9, "0.3")
        check_int("GuardConfig.min_rows", self.min_rows, 1, 10**9, "300")


@dataclass(frozen=True)
class Guard:
    """``judge(new, serving)``: None, or why the new version must not serve."""

    config: GuardConfig = GuardConfig()

    def judge(self, new: Mapping[str, Scores], serving: Mapping[str, Scores]) -> Refused | None:
        """Scores of both on the same rows, by target; a target that only one has is not judged.

        >>> was, now = Scores(1000, 0.50, 0.80, 1.0), Scores(1000, 0.52, 0.80, 1.0)
        >>> Guard().judge({"p_click": now}, {"p_click": was}).reason
        'log_loss'
        """
        for name in new:
            if name in serving and (refused := self._one(name, new[name], serving[name])):
                return refused
        return None

    def _one(self, name: str, new: Scores, old: Scores) -> Refused | None:
        c = self.config
        if not new.rows:
            return None
        if not (isfinite(new.log_loss) and isfinite(new.calibration)):
            return Refused("not_finite", f"{name}: log loss {new.log_loss}")
        if new.rows < c.min_rows:
            return None
        off_new, off_old = abs(log(new.calibration)), abs(log(old.calibration))
        bad = {
            "labels": off_old > log(1 + c.labels),
            "log_loss": new.log_loss > old.log_loss * (1 + c.log_loss),
            "auc": new.auc < old.auc - c.auc,
            "calibration": off_new > off_old + log(1 + c.calibration),
        }
        for reason in (reason for reason, is_bad in bad.items() if is_bad):
            if reason == "labels":
                expects = f"{old.calibration:.3f} times the labels"
                return Refused(reason, f"{name}: the serving version expects {expects}")
            values = getattr(new, reason), getattr(old, reason)
            return Refused(reason, f"{name}: {values[0]:.4f} against {values[1]:.4f}")
        return None
