"""Watch time (观看时长): what is learned in its place, so that length alone does not win.

    ratio:     r = T / m_g,     f = argmin  ln(1 + e^f) + r ln(1 + e^-f),   so that  e^f = E[r]
               E[T] = m_g e^f
    quantile:  u = share of the views in group g that were shorter,   E[u] = sigma(f),
               T = F_g^-1(E[u])
    log:       y = ln(1 + T),   f = E[y],   T = e^f - 1

Seconds grow with the length of a video, liked or not (duration bias, 时长偏差). g is one of
some twenty groups of equally many views by the video's duration, m_g the group's mean and F_g its
distribution: a network learns what is more or less than usual for that length, and the length is
put back in afterwards. The ratio is a weighted logistic regression, every view a negative of
weight 1 and a positive of weight r, and its prediction is a mean. The other two are kept to be
compared with it: undoing the logarithm gives a geometric mean and undoing the quantile something
like a median, and both lie below the arithmetic mean. The length is a feature too, so a network
could find m_g by itself; given it, it has less to learn, and e^f is a score without the length.
References: Covington, Adams, Sargin, RecSys 2016 (weighted logistic); Zhan, Pei, Su et al.,
Deconfounding Duration Bias in Watch-time Prediction (D2Q), KDD 2022 (groups, quantiles).

Simplified: industry also models the whole distribution, for complete plays are a peak of their own.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from reclab.core.errors import DataError, check
from reclab.core.types import Array

KINDS = ("ratio", "quantile", "log")
POINTS = 101
"""quantiles kept of each group (11 … 1001)"""


@dataclass(frozen=True)
class WatchTime:
    """``learn`` once on training rows; ``encode`` seconds, ``loss`` of outputs, ``decode`` outputs.

    ``edges`` (G - 1,) seconds between the groups; ``levels`` (G, 1) mean seconds for "ratio",
    (G, POINTS) quantiles for "quantile", (G, 0) for "log"."""

    kind: str
    edges: Array
    levels: Array

    @classmethod
    def learn(cls, kind: str, seconds: Array, duration_sec: Array, groups: int = 20) -> "WatchTime":
        """From (n,) seconds watched, NaN = unknown, and the (n,) videos' durations."""
        check(kind in KINDS, "TrainConfig.watch", kind, f"be {' or '.join(KINDS)}", "ratio")
        known = ~np.isnan(seconds)
        seconds, duration_sec = seconds[known].astype(np.float64), duration_sec[known]
        if not len(seconds):
            raise DataError("watch time: no row has known seconds (all NaN)")
        said, cuts = duration_sec[~np.isnan(duration_sec)], np.arange(1, groups) / groups
        edges = np.unique(np.quantile(said, cuts)) if len(said) else np.zeros(0)
        group = _group(edges, duration_sec)
        order = np.argsort(group, kind="stable")
        parts = np.split(
            seconds[order], np.searchsorted(group[order], np.arange(1, len(edges) + 1))
        )
        parts = [part if len(part) else seconds for part in parts]
        if kind == "ratio":
            levels = np.array([[max(part.mean(), 1e-3)] for part in parts])
        elif kind == "quantile":
            levels = np.array([np.quantile(p, np.linspace(0, 1, POINTS)) for p in parts])
        else:
            levels = np.zeros((len(parts), 0))
        return cls(kind, edges.astype(np.float32), levels.astype(np.float32))

    def encode(self, seconds: Array, duration_sec: Array) -> Array:
        """(n,) float32 what the network learns; NaN stays NaN."""
        if self.kind == "log":
            return np.log1p(np.maximum(seconds, 0)).astype(np.float32)
        group = self._group(duration_sec)
        if self.kind == "ratio":
            return np.asarray(np.maximum(seconds, 0) / self.levels[group, 0], np.float32)
        out = np.full(len(seconds), np.nan, np.float32)
        share = np.linspace(0, 1, self.levels.shape[1])
        for g in np.unique(group):
            rows = np.flatnonzero(group == g)
            out[rows] = np.interp(seconds[rows], self.levels[g], share)
        return out

    def loss(self, out: Tensor, learned: Tensor) -> Tensor:
        """(n,) losses of outputs for encoded seconds, about 0.5 to 1.5 each in the mean."""
        if self.kind == "log":
            return 0.1 * (learned - out) ** 2
        if self.kind == "ratio":
            return F.softplus(out) + learned * F.softplus(-out)
        return F.softplus(out) - learned * out

    def start(self, learned: Array) -> float:
        """The output that says of every row what is usual."""
        mean = float(np.nanmean(learned))
        if self.kind == "log":
            return mean
        mean = max(mean, 1e-3)
        return float(np.log(mean if self.kind == "ratio" else mean / max(1 - mean, 1e-3)))

    def decode(self, out: Array, duration_sec: Array) -> Array:
        """(n,) float32 predicted seconds of outputs."""
        if self.kind == "log":
            return np.expm1(np.clip(out, 0.0, 9.0)).astype(np.float32)
        group = self._group(duration_sec)
        if self.kind == "ratio":
            return np.asarray(self.levels[group, 0] * np.exp(np.clip(out, -9.0, 9.0)), np.float32)
        last = self.levels.shape[1] - 1
        at = last / (1.0 + np.exp(-np.clip(out, -30.0, 30.0)))
        low = np.minimum(at.astype(np.int64), last - 1)
        below, above = self.levels[group, low], self.levels[group, low + 1]
        return np.asarray(below + (at - low) * (above - below), np.float32)

    def usual(self, duration_sec: Array) -> Array:
        """(n,) mean seconds of the group of each duration ("ratio" only)."""
        return np.asarray(self.levels[self._group(duration_sec), 0])

    def _group(self, duration_sec: Array) -> Array:
        return _group(self.edges, duration_sec)

    def as_lists(self) -> dict[str, Any]:
        """For a JSON file."""
        return {"kind": self.kind, "edges": self.edges.tolist(), "levels": self.levels.tolist()}

    @classmethod
    def from_lists(cls, held: dict[str, Any]) -> "WatchTime":
        """Read what ``as_lists`` gave."""
        edges = np.array(held["edges"], np.float32)
        levels = np.array(held["levels"], np.float32).reshape(len(edges) + 1, -1)
        return cls(held["kind"], edges, levels)


def _group(edges: Array, duration_sec: Array) -> Array:
    """(n,) group of each duration; an unknown one (NaN) is taken for one in between."""
    group = np.searchsorted(edges, duration_sec)
    return np.where(np.isnan(duration_sec), len(edges) // 2, group)


def tensor_nan_to(values: Array, fill: float) -> tuple[Tensor, Tensor]:
    """The values with NaN filled, and (same shape) 1 where they were known."""
    found = torch.from_numpy(values)
    known = ~torch.isnan(found)
    return torch.where(known, found, fill), known.float()
