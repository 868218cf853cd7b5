"""Calibration (分数校准): what a channel's score says of the chance to be liked.

    p_c(s)  = P(long view | channel c gives score s), never falling in s      (isotonic regression)
    points(i) = sum over the channels c that found i of  w_c [ logit p_c(s_ci) - logit p_c0 ]

An inner product, a count and a cosine have no common unit; their p_c have one. p_c0 is the rate of
items that c did not find, so finding an item less often liked than that costs points. Channels
overlap: the weights w_c >= 0 are those of a logistic regression on all of them together, and the
sum is the log-odds of a long view up to a constant, the same for all items.

References: Zadrozny and Elkan, Transforming Classifier Scores into Accurate Multiclass Probability
Estimates, KDD 2002; Ayer et al. 1955 (isotonic regression); Wolpert 1992 (stacking).
Simplified: the channels have learned from the calibration day too, which flatters those that learn
most; industry calibrates on the stream, an hour behind.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit, logit

from reclab.cascade.batch import Batch, read_batch
from reclab.core.chance import rng
from reclab.core.clock import DAY_MS
from reclab.core.errors import DataError
from reclab.core.tables import Logs
from reclab.core.types import Array, Request
from reclab.stores.arrays import Arrays, save_arrays
from reclab.stores.forward_index import ForwardIndex
from reclab.stores.user_features import UserFeatures

DEPTH = 1000  # answers of each channel among which an item counts as found
PAGES = 1500  # logged requests that the curves are fitted on
FEWEST = 50  # scored rows, liked and not, that a curve needs
PRIOR = 5.0  # rows that the mean rate weighs in each step of a curve
RIDGE = 1.0  # pull of the weights to 1, in squared log-odds


class Pages(NamedTuple):
    """Logged requests and what became of items there: ``owner`` (n,) ascending positions in the
    batch, ``item_row`` (n,), ``liked`` (n,) bool. ``exposed_only``: nothing is known of others;
    else, in logs of positives alone, every other item counts as not chosen."""

    batch: Batch
    owner: Array
    item_row: Array
    liked: Array
    exposed_only: bool = True


def logged_pages(
    logs: Logs, users: UserFeatures, index: ForwardIndex, until_ms: int, n: int = PAGES
) -> Pages:
    """At most ``n`` requests of the day before ``until_ms``, drawn by chance; of the whole past
    where that day has fewer than a tenth of it."""
    shown = logs.interactions
    row = index.rows(shown["video_id"])
    stop = int(np.searchsorted(shown["time_ms"], until_ms))
    first = int(np.searchsorted(shown["time_ms"], until_ms - DAY_MS))
    rows = np.arange(first if stop - first >= 10 * n else max(0, stop - 100 * n), stop)
    rows = rows[row[rows] >= 0]
    liked = shown["is_long_view"] if "is_long_view" in shown else logs.positive
    pair = np.stack([shown["time_ms"][rows], shown["user_id"][rows]], 1)
    asked, owner = np.unique(pair, axis=0, return_inverse=True)
    drawn = rng(0, "pages").permutation(len(asked))[:n]
    place = np.full(len(asked), -1)
    place[np.sort(drawn)] = np.arange(len(drawn))
    owner = place[owner.ravel()]
    order = np.argsort(owner, kind="stable")[np.count_nonzero(owner < 0) :]
    requests = [Request(int(user), int(when)) for when, user in asked[place >= 0]]
    batch = read_batch(requests, users, index)
    rows, both = rows[order], liked[rows[order]].astype(bool)
    return Pages(batch, owner[order], row[rows], both, not both.all())


@dataclass(frozen=True)
class Calibration:
    """``names`` (C,); ``curves[c]``: scores, rising, and log-odds at them, read by straight lines
    in between; ``absent`` (C,) log-odds of what a channel did not find; ``weight`` (C,)."""

    names: tuple[str, ...]
    curves: tuple[tuple[Array, Array], ...]
    absent: Array
    weight: Array

    @classmethod
    def fit(cls, channels: Sequence[Any], pages: Pages, depth: int = DEPTH) -> Self:
        """Ask the channels, and learn from what became of logged items."""
        answers = [channel.retrieve(pages.batch, depth) for channel in channels]
        return cls.learn([channel.name for channel in channels], answers, pages)

    @classmethod
    def learn(
        cls, names: Sequence[str], answers: Sequence[tuple[Array, Array]], pages: Pages
    ) -> Self:
        """Learn every channel's curve, and their weights, from their answers to ``pages``: (B, k)
        item rows and scores each. A channel that found too few items of known fate, or only liked
        ones, gives no points."""
        score, liked = _scored(answers, pages)
        odds, curves, absent = np.zeros(score.shape), [], np.zeros(len(names))
        for c in range(len(names)):
            found = np.isfinite(score[:, c])
            curve = _curve(score[found, c], liked[found])
            absent[c] = _log_odds(liked[~found].sum(), (~found).sum())
            if curve is None:
                curve, absent[c] = (np.zeros(1), np.zeros(1)), 0.0
            odds[:, c] = np.where(found, np.interp(score[:, c], *curve), absent[c]) - absent[c]
            curves.append(curve)
        return cls(tuple(names), tuple(curves), absent, _weights(odds, liked))

    def chance(self, name: str, score: Array) -> Array:
        """P(long view) of items that the channel found with these scores (any shape)."""
        return np.asarray(expit(np.interp(score, *self.curves[self.names.index(name)])))

    def points(self, name: str, item_row: Array, score: Array) -> Array:
        """(B, k) item rows and scores of a channel -> (B, k) float32 points, 0 for padding and
        for a channel that was not calibrated."""
        if name not in self.names:
            return np.zeros(item_row.shape, np.float32)
        c = self.names.index(name)
        gained = self.weight[c] * (np.interp(score, *self.curves[c]) - self.absent[c])
        return np.where(item_row >= 0, gained, 0.0).astype(np.float32)

    def save(self, folder: Path) -> None:
        """Write ``calibration`` into the folder."""
        held: Mapping[str, Array] = {
            "names": np.array(json.dumps(self.names)),
            "absent": self.absent,
            "weight": self.weight,
            "lengths": np.array([len(x) for x, _ in self.curves], np.int64),
            "scores": np.concatenate([np.zeros(0), *(x for x, _ in self.curves)]),
            "odds": np.concatenate([np.zeros(0), *(y for _, y in self.curves)]),
        }
        save_arrays(folder / "calibration", held)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what ``save`` wrote."""
        held = Arrays(folder / "calibration")
        cuts = np.cumsum(held["lengths"])[:-1]
        both = (np.split(held[name], cuts) for name in ("scores", "odds"))
        curves = tuple(zip(*both, strict=True)) if len(held["lengths"]) else ()
        names = tuple(json.loads(str(held["names"])))
        if len(names) != len(curves):
            raise DataError(f"calibration in {folder}: {len(names)} names, {len(curves)} curves")
        return cls(names, curves, held["absent"], held["weight"])


def _scored(answers: Sequence[tuple[Array, Array]], pages: Pages) -> tuple[Array, Array]:
    """(n, C) scores, NaN where a channel did not find the item, and (n,) whether it was liked, of
    the exposed items, or of everything found where the log holds positives alone."""
    wide = 1 + max((int(rows.max(initial=0)) for rows, _ in answers), default=0)
    wide = max(wide, 1 + int(pages.item_row.max(initial=0)))
    chosen = pages.owner * wide + pages.item_row
    keys, scores = [], []
    for rows, score in answers:
        owner, place = np.nonzero(rows >= 0)
        key = owner * wide + rows[owner, place]
        order = np.argsort(key)
        keys.append(key[order])
        scores.append(score[owner, place][order])
    asked = np.unique(chosen if pages.exposed_only else np.concatenate(keys))
    liked = np.isin(asked, chosen[pages.liked])
    found = np.full((len(asked), len(answers)), np.nan)
    for c, (key, score) in enumerate(zip(keys, scores, strict=True)):
        if len(key):
            at = np.searchsorted(key, asked).clip(max=len(key) - 1)
            found[:, c] = np.where(key[at] == asked, score[at], np.nan)
    some = np.isfinite(found).any(1)
    return found[some], liked[some]


def _log_odds(n_liked: float, n: float) -> float:
    """Of a rate with one liked and one not added, so that it is finite."""
    return float(logit((n_liked + 1) / (n + 2)))


def _curve(score: Array, liked: Array) -> tuple[Array, Array] | None:
    """Knots of the isotonic regression, in log-odds; None where there is too little to learn.

    Each step is drawn to the mean by ``PRIOR`` rows, so that a short one at an end is not certain.
    """
    if min(liked.sum(), (~liked).sum()) < 5 or len(score) < FEWEST:
        return None
    from sklearn.isotonic import IsotonicRegression  # a second that serving need not wait

    fitted = IsotonicRegression().fit(score, liked.astype(np.float64))
    rate, rows = np.unique(fitted.predict(score), return_counts=True)
    drawn = np.maximum.accumulate((rows * rate + PRIOR * liked.mean()) / (rows + PRIOR))
    step = np.searchsorted(rate, fitted.y_thresholds_).clip(max=len(rate) - 1)
    return fitted.X_thresholds_, logit(drawn[step])


def _weights(odds: Array, liked: Array) -> Array:
    """(C,) non-negative weights of a logistic regression with intercept, pulled softly to 1."""
    n = odds.shape[1]
    if not len(liked) or liked.all() or not liked.any():
        return np.ones(n)

    def loss(w: Array) -> tuple[float, Array]:
        z, free = odds @ w[:n] + w[n], w[:n] - 1.0
        slope = expit(z) - liked
        value = np.logaddexp(0, z).sum() - z[liked].sum() + RIDGE / 2 * (free**2).sum()
        return float(value), np.append(odds.T @ slope + RIDGE * free, slope.sum())

    start = np.append(np.ones(n), _log_odds(liked.sum(), len(liked)))
    bounds = [(0.0, None)] * n + [(None, None)]
    return np.asarray(minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds).x[:n])
