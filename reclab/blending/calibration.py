"""Calibration across businesses (跨业务校准): each business's own score becomes a probability.

    isotonic:  p = rising step function of the score, by least squares     (thousands of rows)
    platt:     p = sigma(a (s - mean) / deviation + b),   a > 0            (tens of positives)

Scores of different businesses have nothing in common: a logit here, an eCPM there. A curve for each
business, learned from what was shown and what came of it, makes .1 mean the same everywhere: one in
ten. Within a business the order stays. The isotonic fit is the cascade's; Platt's line differs, for
a score need not be a probability to begin with.
References: Zadrozny and Elkan, KDD 2002; Platt 1999.

Simplified: industry calibrates by slice of each business as well, and again every hour.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from scipy.special import expit

from reclab.blending.allocation.rules import BUSINESSES
from reclab.cascade.ranking.calibration import FEWEST, isotonic
from reclab.core.errors import DataError, NotBuilt, check, check_int
from reclab.core.metrics import ece, reliability
from reclab.core.stage import StageResult
from reclab.core.types import Array, Candidates


@dataclass(frozen=True)
class ScoreCalibrationConfig:
    """Which curve, and of how many points."""

    kind: str = "isotonic"
    """"isotonic" for thousands of rows a business, "platt" for few"""
    steps: int = 200
    """points kept of an isotonic curve at most (10-10 000)"""

    def __post_init__(self) -> None:
        known = self.kind in ("isotonic", "platt")
        check(known, "ScoreCalibrationConfig.kind", self.kind, "be isotonic or platt", "isotonic")
        check_int("ScoreCalibrationConfig.steps", self.steps, 2, 1_000_000, "200")


class Line(NamedTuple):
    """Platt's line on a business's own scale; ``slope`` 0 = a constant."""

    mean: float
    deviation: float
    slope: float
    level: float

    def __call__(self, score: Array) -> Array:
        """(n,) probabilities; NaN stays NaN."""
        if self.slope == 0:
            return np.where(np.isnan(score), np.nan, expit(self.level))
        return np.asarray(expit(self.slope * (score - self.mean) / self.deviation + self.level))


class ScoreCalibration:
    """``fit`` on shown cards, ``apply`` to candidates.

    >>> score = np.r_[np.full(200, 7.0), np.full(200, 90.0)]
    >>> label = np.tile([1, 0, 0, 0], 50).tolist() + np.tile([1, 1, 0, 0], 50).tolist()
    >>> made = ScoreCalibration(("ad",)).fit(np.zeros(400, int), score, np.array(label))
    >>> made.apply(np.zeros(2, int), np.array([7.0, 90.0])).tolist()
    [0.25, 0.5]
    """

    def __init__(
        self,
        businesses: tuple[str, ...] = BUSINESSES,
        config: ScoreCalibrationConfig | None = None,
    ) -> None:
        self.businesses, self.config = businesses, config or ScoreCalibrationConfig()
        self.curves: list[Any] = []
        self.left_out: dict[str, str] = {}

    def fit(self, business: Array, score: Array, label: Array) -> "ScoreCalibration":
        """Learn from shown cards (n,): the business's code, its score, and whether it came true
        (NaN = not known). A business with fewer than ``FEWEST`` positives or negatives gets the
        rate of all its rows as a constant (one of each added), and ``left_out`` says so."""
        score, label = np.asarray(score, np.float64), np.asarray(label, np.float64)
        known = ~np.isnan(label)
        bad = known & ~np.isfinite(score)
        if bad.any():
            raise DataError(f"{int(bad.sum())} of {len(score)} scores of shown cards are NaN or "
                            "infinite (leave those rows out)")  # fmt: skip
        self.curves, self.left_out = [], {}
        for code, name in enumerate(self.businesses):
            mine = known & (business == code)
            s, y = score[mine], label[mine] > 0.5
            hits = int(y.sum())
            if min(hits, len(y) - hits) < FEWEST:
                self.left_out[name] = f"{hits} of {len(y)} labels are positive"
                self.curves.append(Line(0.0, 1.0, 0.0, np.log((hits + 1) / (len(y) - hits + 1))))
            elif self.config.kind == "isotonic":
                self.curves.append(isotonic(s, y, self.config.steps))
            else:
                self.curves.append(platt_line(s, y))
        return self

    def apply(self, business: Array, score: Array) -> Array:
        """(n,) float64 probabilities; NaN where the score is not a number."""
        if not self.curves:
            raise NotBuilt("ScoreCalibration.apply before fit")
        score = np.asarray(score, np.float64)
        score = np.where(np.isfinite(score), score, np.nan)
        outside = (business < 0) | (business >= len(self.curves))
        if outside.any():
            raise DataError(f"business {business[outside][0]} has no curve "
                            f"(there are 0..{len(self.curves) - 1})")  # fmt: skip
        p = np.full(len(score), np.nan)
        for code in np.unique(business):
            mine = business == code
            p[mine] = self.curves[code](score[mine])
        return p

    def report(self, business: Array, score: Array, label: Array, bins: int = 10) -> dict[str, Any]:
        """For each business with rows: ``ece`` and the points of its ``reliability`` plot, on rows
        that ``fit`` has not seen."""
        p, found = self.apply(business, score), {}
        for code, name in enumerate(self.businesses):
            mine = (business == code) & np.isfinite(p)
            if mine.any():
                points = reliability(label[mine], p[mine], bins)
                found[name] = {"ece": ece(label[mine], p[mine], bins), "reliability": points}
        return found


def platt_line(score: Array, y: Array) -> Line:
    """Logistic regression on the score, standardised; a score that says nothing, or the wrong way
    round, becomes the business's rate."""
    from sklearn.linear_model import LogisticRegression  # a second that serving need not wait

    mean, deviation = float(score.mean()), float(score.std())
    rate = float(np.log(y.mean() / (1 - y.mean())))
    if deviation <= 0:
        return Line(mean, 1.0, 0.0, rate)
    found = LogisticRegression(C=1e6).fit(((score - mean) / deviation)[:, None], y)
    slope, level = float(found.coef_[0, 0]), float(found.intercept_[0])
    return Line(mean, deviation, slope, level) if slope > 0 else Line(mean, 1.0, 0.0, rate)


@dataclass(frozen=True)
class CalibrateStage:
    """Adds the column ``p``; a candidate whose score is not a number is dropped."""

    calibration: ScoreCalibration
    name: str = "calibration"

    def __call__(self, batch: Any, candidates: Candidates) -> StageResult:
        p = self.calibration.apply(candidates["business"], candidates["score"])
        good = np.isfinite(p)
        lost = candidates.take(~good)
        lost = lost.with_columns(reason=np.zeros(len(lost), np.int16))
        kept = candidates.with_columns(p=p).take(good)
        return StageResult(kept, lost, ("its score is not a number",))
