"""Calibration (校准): predictions that are as large as what they predict, their order kept.

    isotonic:  c(p) = the rising step function with the least squared error, by pooling neighbours
               that stand the wrong way round (PAV), linear between its steps
    platt:     c(p) = sigma(a ln(p / (1 - p)) + b),  a > 0          (seconds: c(s) = e^b s)

A ranker trained on what an old policy chose to show is right on average there, and not on what
that policy held back: a sum of targets, an auction or a threshold would then mix quantities that
are not what they say. Isotonic needs thousands of rows and bends anywhere; Platt needs tens of
positives and only shifts and stretches the log odds. Neither changes a target's order beyond ties.
References: Zadrozny and Elkan, KDD 2002 (isotonic); Platt 1999.

Simplified: industry calibrates by slice (business, country, position) and again every hour.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from reclab.cascade.batch import Batch
from reclab.cascade.ranking.targets import WATCH
from reclab.cascade.stages import Predictor
from reclab.core.errors import DataError, NotBuilt, check, check_int
from reclab.core.types import Array, Candidates

FEWEST = 10
"""positives and negatives that a curve needs; with fewer a target is left as it is"""
DAY_SEC = 86_400.0
"""no view is longer (seconds)"""


@dataclass(frozen=True)
class CalibrationConfig:
    """How predictions are put right."""

    kind: str = "isotonic"
    """"isotonic" for thousands of rows, "platt" for few"""
    steps: int = 200
    """points kept of an isotonic curve at most (10 … 10 000)"""

    def __post_init__(self) -> None:
        known = self.kind in ("isotonic", "platt")
        check(known, "CalibrationConfig.kind", self.kind, "be isotonic or platt", "isotonic")
        check_int("CalibrationConfig.steps", self.steps, 2, 1_000_000, "200")


@dataclass(frozen=True)
class Curve:
    """One target's correction: rising points ``x`` -> ``y`` (m,), straight lines between them and
    level beyond; with ``odds`` one endless line on the scale of log odds, by two points."""

    x: Array
    y: Array
    odds: bool = False

    def __call__(self, p: Array) -> Array:
        """(n,) float32; NaN stays NaN."""
        if self.odds:
            slope = (self.y[1] - self.y[0]) / (self.x[1] - self.x[0])
            line = self.y[0] + slope * (_logit(p) - self.x[0])
            return np.asarray(1.0 / (1.0 + np.exp(-np.clip(line, -30, 30))), np.float32)
        return np.asarray(np.interp(p, self.x, self.y), np.float32)


class Calibrator:
    """``fit(predictions, labels)`` once on rows the model has not seen, then ``apply``.

    >>> told = {"p_click": np.repeat([0.2, 0.4], 100)}
    >>> label = np.tile(np.r_[np.ones(30), np.zeros(70)], 2)
    >>> Calibrator().fit(told, {"p_click": label}).apply(told)["p_click"][[0, -1]].tolist()
    [0.30000001192092896, 0.30000001192092896]
    """

    def __init__(self, config: CalibrationConfig | None = None) -> None:
        self.config = config or CalibrationConfig()
        self.curves: dict[str, Curve] = {}
        self.left_out: dict[str, str] = {}

    def fit(self, predictions: Mapping[str, Array], labels: Mapping[str, Array]) -> "Calibrator":
        """Learn a curve for each target in both; labels (n,), NaN = unknown. A target with fewer
        than ``FEWEST`` positives or negatives stays as it is, and ``left_out`` says so. Raises
        ``DataError`` for a prediction that is NaN or infinite."""
        self.curves, self.left_out = {}, {}
        for name in predictions:
            if name not in labels:
                self.left_out[name] = "no labels"
                continue
            known = ~np.isnan(labels[name])
            p, y = (np.asarray(v[name], np.float64)[known] for v in (predictions, labels))
            if not np.isfinite(p).all():
                raise DataError(f"calibration of {name}: {int((~np.isfinite(p)).sum())} of {len(p)}"
                                " predictions are NaN or infinite")  # fmt: skip
            positives = int((y > 0).sum())
            seconds = name == WATCH
            if positives < FEWEST or (not seconds and len(y) - positives < FEWEST):
                self.left_out[name] = f"{positives} of {len(y)} labels are positive"
                continue
            self.curves[name] = self._curve(p, y, seconds)
        return self

    def _curve(self, p: Array, y: Array, seconds: bool) -> Curve:
        if self.config.kind == "isotonic":
            return isotonic(p, y, self.config.steps)
        if seconds:
            factor = y.sum() / max(p.sum(), 1e-9)
            return Curve(np.array([0.0, DAY_SEC]), np.array([0.0, factor * DAY_SEC]))
        return platt(p, y)

    def apply(self, predictions: Mapping[str, Array]) -> dict[str, Array]:
        """The predictions put right; targets without a curve as they are. ``NotBuilt`` before
        ``fit``."""
        if not self.curves and not self.left_out:
            raise NotBuilt("Calibrator.apply before fit or load")
        curves = self.curves
        return {n: curves[n](p) if n in curves else np.asarray(p) for n, p in predictions.items()}

    def save(self, folder: Path) -> None:
        """Write ``calibration.json``."""
        folder.mkdir(parents=True, exist_ok=True)
        curves = {n: [c.x.tolist(), c.y.tolist(), c.odds] for n, c in self.curves.items()}
        text = json.dumps({"curves": curves, "left_out": self.left_out})
        (folder / "calibration.json").write_text(text, encoding="utf-8")

    @staticmethod
    def load(folder: Path, config: CalibrationConfig | None = None) -> "Calibrator":
        """Read what ``save`` wrote. Raises ``DataError`` naming the folder when damaged."""
        made = Calibrator(config)
        try:
            held = json.loads((folder / "calibration.json").read_text(encoding="utf-8"))
            made.left_out = dict(held["left_out"])
            for name, (x, y, odds) in held["curves"].items():
                made.curves[name] = Curve(np.array(x), np.array(y), bool(odds))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(f"cannot load the calibration from {folder}: {error}") from error
        return made


def isotonic(p: Array, y: Array, steps: int = 200) -> Curve:
    """The rising curve of least squared error, thinned to ``steps`` points (scikit-learn's PAV)."""
    from sklearn.isotonic import IsotonicRegression  # a second that serving need not wait

    found = IsotonicRegression(out_of_bounds="clip").fit(p, y)
    x, level = found.X_thresholds_, found.y_thresholds_
    if len(x) > steps:
        some = np.unique(np.linspace(0, len(x) - 1, steps).round().astype(int))
        x, level = x[some], level[some]
    return Curve(np.asarray(x, np.float64), np.asarray(level, np.float64))


def platt(p: Array, y: Array) -> Curve:
    """A line on the log odds by logistic regression; never falling."""
    from sklearn.linear_model import LogisticRegression

    logit = _logit(p)
    found = LogisticRegression(C=1e6).fit(logit[:, None], y > 0.5)
    slope, level = float(found.coef_[0, 0]), float(found.intercept_[0])
    if slope <= 0:  # the predictions say nothing here: keep their order and correct the level
        slope = 1e-6
        level = float(_logit(np.array([y.mean()]))[0])
    return Curve(np.array([0.0, 1.0]), np.array([level, level + slope]), odds=True)


def _logit(p: Array) -> Array:
    p = np.clip(np.asarray(p, np.float64), 1e-7, 1 - 1e-7)
    return np.asarray(np.log(p / (1 - p)))


@dataclass(frozen=True)
class CalibratedRanker:
    """A ranker whose predictions are put right on the way out: ``with_parts(ranker=…)``."""

    ranker: Predictor
    calibrator: Calibrator = field(default_factory=Calibrator)

    @property
    def macs_per_candidate(self) -> int:
        """Multiply-adds spent on one candidate; the curves are looked up."""
        return self.ranker.macs_per_candidate

    def predict(self, batch: Batch, candidates: Candidates) -> dict[str, Array]:
        """Calibrated predictions of every target for every candidate, each (n,) float32."""
        return self.calibrator.apply(self.ranker.predict(batch, candidates))
