"""The request value estimator (请求价值估计器): Q_ij, what action j would be worth to request i.

    Q_ij = base(x_i) + sum over k <= j of step_k(x_i) + offset_j,        never falling in j
    LinearValue     base and steps linear in the context: ridge regression, the paper's kind
    MonotoneValue   steps = softplus(linear + a small network) >= 0       (value_network.py)

Learned from a log with exploration, in one of three ways:

    "outcomes"  what came of the one action that each request got: unbiased, and mostly noise
    "told"      what the ranker predicts for the pages of all actions, run in the shadow: hardly any
                noise and no traffic, but it inherits what the ranker believes wrongly
    "both"      shape from "told"; then offset_j = mean of (outcome - told) where j was taken,
                smoothed along the ladder: the ranker's word is the control variate

One request in ten says nothing of action j, and its long views differ by more than all actions do;
so what is averaged away is the whole point. Features that are NaN count as their mean.
Reference: Jiang et al., DCAF, 2020; doubly robust estimates, Dudik et al., ICML 2011.

Simplified: industry learns from millions of requests a day, and for each surface apart.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol, Self

import numpy as np

from reclab.core.chance import rng
from reclab.core.errors import DataError, NotBuilt, check, check_float, check_int
from reclab.core.types import Array

TARGETS = ("outcomes", "told", "both")
SMOOTHING = (1e-2, 1e0, 1e1, 1e2, 1e3, 1e4, 1e6)  # of the offsets, in requests; one is chosen
FOLDS = 5


@dataclass(frozen=True)
class ExplorationLog:
    """n requests: context ``x`` (n, f); the random ``action`` (n,) that each got, -1 = nobody
    noted one, and its ``outcome`` (n,); ``told`` (n, m) the ranker's word for the page of every
    action, NaN where it was not run."""

    x: Array
    action: Array
    outcome: Array
    told: Array

    def __post_init__(self) -> None:
        n, m = len(self.x), self.told.shape[1] if self.told.ndim == 2 else 0
        shapes = (self.action.shape, self.outcome.shape, self.told.shape)
        if not n or not m or shapes != ((n,), (n,), (n, m)):
            raise DataError(
                f"exploration log: {n} contexts, but action, outcome, told are {shapes}"
            )
        if self.action.max() >= m or self.action.min() < -1:
            bad = self.action[(self.action >= m) | (self.action < -1)][0]
            raise DataError(f"exploration log: action {bad} of {m} (known: -1 ... {m - 1})")
        if np.isnan(self.outcome[self.action >= 0]).any():
            raise DataError("exploration log: an action was taken, and its outcome is NaN")

    @property
    def explored(self) -> Array:
        """(e,) rows with an action and its outcome."""
        return np.flatnonzero(self.action >= 0)

    @property
    def shadowed(self) -> Array:
        """(s,) rows of which every action was told."""
        return np.flatnonzero(~np.isnan(self.told).any(1))


class ValueModel(Protocol):
    """``fit`` from a log, then ``predict``: (n, f) -> (n, m) values."""

    def fit(self, log: ExplorationLog) -> Self: ...

    def predict(self, x: Array) -> Array: ...


@dataclass(frozen=True)
class ValueConfig:
    """What is learned from, how strongly it is held back, and the size of the network."""

    target: str = "both"
    """outcomes, told or both"""
    monotone: bool = True
    """never falling in j; off where more computing may lose (money, when ranking asks for views)"""
    ridge: float = 1000.0
    """penalty of the linear model, in requests (10-100 000)"""
    hidden: int = 32
    """hidden units of the network (8-128)"""
    epochs: int = 15
    """passes over the log (5-100)"""
    weight_decay: float = 1.0
    """pull of the network's weights to zero (0.1-3)"""
    seed: int = 0

    def __post_init__(self) -> None:
        among = f"be one of {', '.join(TARGETS)}"
        check(self.target in TARGETS, "ValueConfig.target", self.target, among, "both")
        check_float("ValueConfig.ridge", self.ridge, 1e-6, 1e12, "1000")
        check_int("ValueConfig.hidden", self.hidden, 1, 4096, "32")
        check_int("ValueConfig.epochs", self.epochs, 1, 10_000, "15")
        check_float("ValueConfig.weight_decay", self.weight_decay, 0.0, 100.0, "1")


# ---- pieces --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Scale:
    """Mean and spread (f,) of the context; what is no number counts as the mean."""

    mean: Array
    spread: Array

    @staticmethod
    def of(x: Array) -> "Scale":
        """Learned from x (n, f); a column without a number has mean 0, a constant one spread 1."""
        known = np.isfinite(x)
        n = np.maximum(known.sum(0), 1)
        mean = np.where(known, x, 0).sum(0, dtype=np.float64) / n
        var = (np.where(known, x - mean, 0) ** 2).sum(0, dtype=np.float64) / n
        spread = np.where(var > 1e-12, np.sqrt(var), 1.0)
        return Scale(mean.astype(np.float32), spread.astype(np.float32))

    def clean(self, x: Array) -> Array:
        """x with the mean in place of NaN and infinity."""
        if np.isfinite(x.sum()):  # one sum is cheaper than a look at each
            return x
        return np.where(np.isfinite(x), x, self.mean)

    def __call__(self, x: Array) -> Array:
        """(n, f) float32 of mean 0 and spread 1."""
        return np.asarray((self.clean(x) - self.mean) / self.spread, np.float32)


def ridge(x: Array, y: Array, strength: float) -> tuple[Array, Array]:
    """Weights (f, k) and intercept (k,) of least squares with penalty ``strength`` |w|^2, for
    centred x (n, f) and y (n, k)."""
    mean = y.mean(0, dtype=np.float64)
    x = x.astype(np.float64)
    left = x.T @ x + strength * np.eye(x.shape[1])
    return np.linalg.solve(left, x.T @ (y - mean)), mean


def smoothed_means(residual: Array, action: Array, m: int, strength: float) -> Array:
    """(m,) means of the residuals (e,) by action, neighbours drawn together:
    min sum_e (r_e - c_{a_e})^2 + strength sum_j (c_j - c_{j-1})^2."""
    n = np.bincount(action, minlength=m).astype(float)
    total = np.bincount(action, residual, minlength=m)
    step = np.diff(np.eye(m), axis=0)
    return np.linalg.solve(np.diag(n) + strength * step.T @ step + 1e-9 * np.eye(m), total)


def offsets(residual: Array, action: Array, m: int, seed: int = 0) -> Array:
    """(m,) offsets by action; how strongly they are smoothed is chosen by cross-validation."""
    if not len(residual):
        return np.zeros(m)
    fold = rng(seed, "folds of offsets").integers(0, FOLDS, len(residual))
    lost = []
    for strength in SMOOTHING:
        error = 0.0
        for f in range(FOLDS):
            learn, test = fold != f, fold == f
            c = smoothed_means(residual[learn], action[learn], m, strength)
            error += float(((residual[test] - c[action[test]]) ** 2).sum())
        lost.append(error)
    return smoothed_means(residual, action, m, SMOOTHING[int(np.argmin(lost))])


def control_variate(log: ExplorationLog, predicted: Array) -> tuple[Array, Array]:
    """(e,) outcome less the ranker's word for the page that was shown (less ``predicted`` (n, m)
    where it has none), and (e,) the action."""
    rows = log.explored
    action = log.action[rows]
    said = log.told[rows, action]
    said = np.where(np.isnan(said), predicted[rows, action], said)
    return log.outcome[rows] - said, action


class Estimator:
    """What both estimators share: scales, offsets, and the last step to values."""

    SERVED: tuple[str, ...] = ("w", "b")

    def __init__(self, config: ValueConfig | None = None) -> None:
        self.config = config or ValueConfig()
        self.scale: Scale | None = None
        self.offset: Array = np.zeros(0, np.float32)

    def fit(self, log: ExplorationLog) -> Self:
        """Learn from the log. Raises ``DataError`` when it lacks what the target needs."""
        need = {"outcomes": len(log.explored), "told": len(log.shadowed)}
        need["both"] = min(need.values())
        if not need[self.config.target]:
            raise DataError(
                f"value model: target {self.config.target!r}, but {len(log.explored)} outcomes and "
                f"{len(log.shadowed)} requests told in full (typical: thousands)"
            )
        self.scale, m = Scale.of(log.x), log.told.shape[1]
        self.offset = np.zeros(m, np.float32)
        x = self.scale(log.x)
        if self.config.target == "outcomes":
            self._fit_outcomes(x, log)
        else:
            rows = log.shadowed
            told = log.told[rows].astype(np.float64)
            self._fit_told(x[rows], told)
            # a model held back by penalties misses means; of these there is no doubt
            self.offset = (told - self._raw(x[rows])).mean(0).astype(np.float32)
        if self.config.target == "both":
            residual, action = control_variate(log, self._raw(x) + self.offset)
            self.offset += offsets(residual, action, m, self.config.seed).astype(np.float32)
        self._ready()
        return self

    def predict(self, x: Array) -> Array:
        """(n, m) float32 values of every action, for context (n, f); never NaN."""
        if self.scale is None:
            raise NotBuilt(f"{type(self).__name__}.predict before fit")
        if x.shape[-1] != len(self.scale.mean):
            raise DataError(f"context must have {len(self.scale.mean)} columns, got {x.shape}")
        q = self._serve(np.asarray(self.scale.clean(np.atleast_2d(x)), np.float32))
        return np.maximum.accumulate(q, axis=1, out=q) if self.config.monotone else q

    def save(self, folder: Path) -> None:
        """Write what ``predict`` needs into the folder."""
        if self.scale is None:
            raise NotBuilt(f"{type(self).__name__}.save before fit")
        held = {name: getattr(self, f"_{name}") for name in self.SERVED}
        held |= {"mean": self.scale.mean, "spread": self.scale.spread, "offset": self.offset}
        held["config"] = np.array(json.dumps(asdict(self.config)))
        folder.mkdir(parents=True, exist_ok=True)
        np.savez(folder / f"{type(self).__name__}.npz", **held)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what ``save`` wrote; ready to predict."""
        with np.load(folder / f"{cls.__name__}.npz") as arrays:
            held = {name: arrays[name] for name in arrays.files}
        model = cls(ValueConfig(**json.loads(str(held["config"]))))
        model.scale, model.offset = Scale(held["mean"], held["spread"]), held["offset"]
        for name in cls.SERVED:
            setattr(model, f"_{name}", held[name])
        return model


class LinearValue(Estimator):
    """Ridge regression of all actions at once; one matrix product to predict.

    >>> x = np.arange(8.0)[:, None]
    >>> told = np.hstack([x, 2 * x])
    >>> log = ExplorationLog(x, np.full(8, -1), np.full(8, np.nan), told)
    >>> model = LinearValue(ValueConfig(target="told", ridge=1e-6)).fit(log)
    >>> model.predict(np.array([[3.0]])).round(3).tolist()
    [[3.0, 6.0]]
    """

    def _fit_told(self, x: Array, told: Array) -> None:
        self.weight, self.bias = ridge(x, told, self.config.ridge)

    def _fit_outcomes(self, x: Array, log: ExplorationLog) -> None:
        """One value for all actions, and slopes for "above the first" and "per level": ten separate
        regressions would have a tenth of the log each."""
        rows, m = log.explored, log.told.shape[1]
        action, y = log.action[rows], log.outcome[rows]
        shape = np.stack([np.ones(m), np.arange(m) > 0, np.linspace(0, 1, m)]).astype(float)
        mean = offsets(y - y.mean(), action, m, self.config.seed) + y.mean()
        wide = (shape[:, action, None] * x[rows]).transpose(1, 0, 2).reshape(len(rows), -1)
        weight, _ = ridge(wide, (y - mean[action])[:, None], self.config.ridge)
        self.weight = np.einsum("rf,rm->fm", weight.reshape(len(shape), -1), shape)
        self.bias = mean

    def _raw(self, x: Array) -> Array:
        return x @ self.weight + self.bias

    def _ready(self) -> None:
        assert self.scale is not None
        weight = self.weight / self.scale.spread[:, None]
        self._w = weight.astype(np.float32)
        self._b = (self.bias + self.offset - self.scale.mean @ weight).astype(np.float32)

    def _serve(self, x: Array) -> Array:
        return x @ self._w + self._b


class ScalarValue(LinearValue):
    """What a user is worth times one curve for all: the usual short cut, and it loses. Who watches
    much would get much, whether or not more computing finds him anything better."""

    def _fit_told(self, x: Array, told: Array) -> None:
        curve = told.mean(0) / max(float(told.mean()), 1e-9)
        weight, mean = ridge(x, told.mean(1, keepdims=True), self.config.ridge)
        self.weight, self.bias = weight * curve, mean * curve
