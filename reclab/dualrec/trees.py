"""Gradient-boosted trees (梯度提升树) as plain arrays: learned by scikit-learn, kept as numbers.

    score(x) = base + sum over trees of value[leaf that x falls into]      p = sigma(score)

Every node is one number in five arrays; a leaf points at itself, so all rows walk all trees in as
many steps as the deepest tree has levels.
References: Friedman 2001; Ke et al. 2017 (LightGBM, histograms); scikit-learn's histogram trees.

Simplified: industry compiles the trees to machine code (treelite) and ranks by several of them.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.special import expit

from reclab.core.errors import DataError
from reclab.core.types import Array
from reclab.stores.arrays import Arrays, save_arrays

CHUNK = 1 << 13  # rows that walk at once: their places stay in the processor's cache


@dataclass(frozen=True)
class Trees:
    """Nodes (m,): ``feature``, ``threshold``, ``left``, ``right``, ``value``; ``roots`` (t,) where
    the trees begin, ``base`` (1,) the score before any, ``depth`` (1,) steps of the deepest."""

    feature: Array
    threshold: Array
    left: Array
    right: Array
    value: Array
    roots: Array
    base: Array
    depth: Array

    @staticmethod
    def fit(
        x: Array, y: Array, trees: int, leaves: int, rate: float, least: int, seed: int = 0
    ) -> "Trees":
        """Learn P(y) from ``x`` (n, f), finite, and ``y`` (n,) bool. ``least``: rows of a leaf."""
        from sklearn.ensemble import HistGradientBoostingClassifier  # a second serving can spare

        if y.all() or not y.any():
            raise DataError(f"trees need both answers, got {int(y.sum())} yes of {len(y)}")
        model = HistGradientBoostingClassifier(
            max_iter=trees, max_leaf_nodes=leaves, learning_rate=rate, min_samples_leaf=least,
            early_stopping=False, random_state=seed,
        ).fit(x, y)  # fmt: skip
        return _flat([one.nodes for (one,) in model._predictors], model._baseline_prediction)

    def score(self, x: Array) -> Array:
        """(n,) log odds."""
        x = np.asarray(x, np.float32)
        parts = [self._walk(x[i : i + CHUNK]) for i in range(0, len(x), CHUNK)]
        return np.concatenate(parts) if parts else np.zeros(0)

    def _walk(self, x: Array) -> Array:
        flat, width = np.ascontiguousarray(x).reshape(-1), x.shape[1]
        at = np.arange(len(x)) * width
        total = np.full(len(x), self.base[0])
        for root in self.roots:
            node = np.full(len(x), root)
            for _ in range(int(self.depth[0])):
                goes_left = flat[at + self.feature[node]] <= self.threshold[node]
                node = np.where(goes_left, self.left[node], self.right[node])
            total += self.value[node]
        return total

    def predict(self, x: Array) -> Array:
        """(n,) probabilities, as the loss left them: calibrate before use."""
        return np.asarray(expit(self.score(x)))

    def save(self, folder: Path) -> None:
        """Write one array a file."""
        save_arrays(folder, vars(self))

    @staticmethod
    def load(folder: Path) -> "Trees":
        """Read what ``save`` wrote. Raises ``DataError`` naming a file that is missing."""
        held = Arrays(folder)
        return Trees(**{name: held[name] for name in Trees.__dataclass_fields__})


def _flat(trees: list[Array], base: Array) -> Trees:
    """scikit-learn's nodes of all trees, one after the other."""
    sizes = np.array([len(nodes) for nodes in trees])
    roots = np.cumsum(sizes) - sizes
    nodes, shift = np.concatenate(trees), np.repeat(roots, sizes)
    leaf = nodes["is_leaf"].astype(bool)
    here = np.arange(len(nodes))
    return Trees(
        feature=np.where(leaf, 0, nodes["feature_idx"]).astype(np.int64),
        threshold=np.where(leaf, np.inf, nodes["num_threshold"]),
        left=np.where(leaf, here, nodes["left"] + shift),
        right=np.where(leaf, here, nodes["right"] + shift),
        value=np.asarray(nodes["value"], np.float64),
        roots=roots,
        base=np.asarray(base, np.float64).reshape(1),
        depth=np.array([int(nodes["depth"].max())]),
    )
