"""Delay law: how late feedback comes, fitted from logs; it bounds what any window can join.

    P(delay <= w) = z + (1 - z) Σ_k π_k Φ((ln w - μ_k) / σ_k),  z = share that comes at once
    join rate of a window W <= mean over reports of P(delay <= W - what passed before sending)
Fitted by expectation and maximisation on ln(delay). Reference: Dempster, Laird and Rubin 1977;
Chapelle 2014 (KDD) fits one exponential where log-normals fit better here.

Simplified: one law for all feedback; industry has one for each business and network.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr

from reclab.core.errors import DataError, check_int
from reclab.core.types import Array

ROUNDS = 200
NARROWEST = 0.05  # of a part's sigma; narrower ones chase single values


@dataclass(frozen=True)
class DelayLaw:
    """``weight``, ``mu`` (ln ms) and ``sigma`` (K,) of the parts; ``at_once``: share of 0 ms."""

    weight: Array
    mu: Array
    sigma: Array
    at_once: float = 0.0

    @staticmethod
    def fit(delay_ms: Array, parts: int = 2) -> "DelayLaw":
        """From delays (n,) ms; ``parts`` log-normals (2-4). Raises ``DataError`` for too few.

        >>> chance = np.random.default_rng(0)
        >>> law = DelayLaw.fit(np.exp(9 + chance.standard_normal(4000)), parts=1)
        >>> bool(abs(law.mu[0] - 9) < 0.1), bool(abs(law.cdf(np.exp(9.0)) - 0.5) < 0.02)
        (True, True)
        """
        check_int("DelayLaw.parts", parts, 1, 8, "2-4")
        delay_ms = np.asarray(delay_ms, np.float64)
        if len(delay_ms) < 10 * parts or not np.isfinite(delay_ms).all() or delay_ms.min() < 0:
            raise DataError(
                f"a delay law of {parts} parts needs {10 * parts} delays >= 0, got {len(delay_ms)}"
            )
        later = delay_ms > 0
        if later.sum() < 10 * parts:
            return DelayLaw(np.ones(1), np.zeros(1), np.ones(1), 1.0)
        x = np.log(delay_ms[later])
        weight = np.full(parts, 1 / parts)
        mu = np.quantile(x, (np.arange(parts) + 0.5) / parts)
        sigma = np.full(parts, max(x.std() / parts, NARROWEST))
        for _ in range(ROUNDS):
            z = (x - mu[:, None]) / sigma[:, None]
            share = weight[:, None] / sigma[:, None] * np.exp(-0.5 * z * z) + 1e-300
            share /= share.sum(0)
            mass = share.sum(1)
            weight, mu = mass / len(x), share @ x / mass
            spread = (share * (x - mu[:, None]) ** 2).sum(1) / mass
            sigma = np.sqrt(np.maximum(spread, NARROWEST**2))
        return DelayLaw(weight, mu, sigma, float(1 - later.mean()))

    def cdf(self, delay_ms: Array | float) -> Array:
        """P(delay <= ``delay_ms``), any shape; 0 below 0."""
        wait = np.asarray(delay_ms, np.float64)
        x = np.log(np.maximum(wait, 1e-9))[..., None]
        inside = (ndtr((x - self.mu) / self.sigma) * self.weight).sum(-1)
        law = self.at_once + (1 - self.at_once) * np.where(wait > 0, inside, 0.0)
        return np.where(wait >= 0, law, 0.0)

    def ceiling(self, window_ms: Array, before_ms: Array | int = 0) -> Array:
        """(k,) highest join rate of windows (k,), when reports leave ``before_ms`` (m,) after the
        request: no join can have more than has come."""
        before = np.atleast_1d(before_ms)
        return np.array([self.cdf(window - before).mean() for window in np.atleast_1d(window_ms)])
