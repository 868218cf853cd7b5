"""Click model: a small logistic regression that learns again at every move of a knob, so that what
a join window catches has a measured price in the quality of a model.

    minimise  Σ_i log(1 + e^{-y_i x_i·w}) + (L2 / 2) |w|²,   y = +1 where a click came in time
    w ← w + (Xᵀ S X + L2)⁻¹ (Xᵀ (label - p) - L2 w),   S = p (1 - p)

A click that comes too late counts as none: a false negative. Quality is measured on impressions of
another day, whose clicks are all known. Newton's steps begin at the weights of all labels.
Reference: Chapelle 2014 (KDD) for delayed feedback; Bishop 2006, section 4.3.3.

Simplified: some twenty numbers as they were when served; industry's rankers have millions of
weights, and correct for the late labels when they learn.
"""

from dataclasses import dataclass

import numpy as np

from reclab.core.errors import DataError
from reclab.core.metrics import auc, log_loss
from reclab.core.types import Array

L2 = 1.0  # as scikit-learn's C = 1
ROUNDS, CLOSE = 12, 1e-4  # at most; until no weight moves by more


@dataclass(frozen=True)
class Quality:
    """On another day's impressions: ``auc``; ``log_loss``; ``said`` clicks predicted, as a share of
    those that came; ``bins`` (2, b) mean prediction and click rate of b equally large groups."""

    auc: float
    log_loss: float
    said: float
    bins: Array


class ClickModel:
    """``learn`` (n, k) and ``judged`` (m, k) numbers of impressions, ``truth`` (m,) their clicks;
    ``labels`` (n,): all clicks that ever came, which the first weights are learned from."""

    def __init__(self, learn: Array, labels: Array, judged: Array, truth: Array) -> None:
        if len(np.unique(labels)) < 2 or len(np.unique(truth)) < 2:
            raise DataError("a click model needs impressions with a click and such without one")
        mean, spread = learn.mean(0), np.maximum(learn.std(0), 1e-6)
        self.x, self.judged = (_with_one((x - mean) / spread) for x in (learn, judged))
        self.truth = np.asarray(truth, bool)
        self.start = np.zeros(self.x.shape[1])
        self.start = self.fit(labels)

    def fit(self, label: Array) -> Array:
        """(k + 1,) weights, the last one the intercept, which nothing pulls to zero."""
        x, w = self.x, self.start.copy()
        pull = np.full(len(w), L2)
        pull[-1] = 1e-9
        for _ in range(ROUNDS):
            p = _chance(x, w)
            steep = (x * (p * (1 - p))[:, None]).T @ x
            slope = (label - p) @ x - pull * w
            step = np.linalg.solve(steep + np.diag(pull), slope)
            w = w + np.clip(step, -4, 4)  # labels of one class only have no end
            if np.abs(step).max() < CLOSE:
                break
        return w

    def quality(self, w: Array, bins: int = 10) -> Quality:
        """How good weights (k + 1,) are."""
        p = _chance(self.judged, w)
        parts = np.array_split(np.argsort(p), bins)
        means = [[values[part].mean() for part in parts] for values in (p, self.truth)]
        said = float(p.sum() / self.truth.sum())
        return Quality(auc(self.truth, p), log_loss(self.truth, p), said, np.array(means))


def _with_one(x: Array) -> Array:
    return np.hstack([x, np.ones((len(x), 1))]).astype(np.float32)


def _chance(x: Array, w: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-(x @ w.astype(np.float32)))))
