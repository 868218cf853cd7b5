"""Cards: what a learned re-ranker may know of a request's candidates: scores, and who is alike.

    g_i  = (ln s_i / (1 - s_i) - mean) / spread       the score as it adds up (s_i itself, unless
                                                      all scores seen in training lie in 0 ... 1)
    R_ij = [same category, same creator, cosine of tags]

No ids: what is learned is what scores and repetition are worth, and holds for items, tags and
creators that are new. Items without tags or creators are like nobody.
Reference: a score beside the scores around it, Zhuang, Ou, Wang, IJCAI 2018.
Simplified: industry adds the ranker's hidden vectors of user and item, prices, freshness.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from reclab.core.types import Array

RELATIONS = ("same category", "same creator", "cosine of tags")
WORST = -5.0
"""g of a candidate without a finite score; others lie within -5 … 5 (spreads)"""
ODDS = 1e-4
"""scores are kept this far from 0 and 1 before the logarithm"""
PAIRS = 100_000
"""pairs of candidates in a block of requests; each takes some fifty bytes"""


@dataclass(frozen=True)
class Cards:
    """Candidates of B requests, n each, or the cards of B pages in order: ``score`` (B, n)
    float32, -inf = no candidate, NaN = no score; ``category``, ``creator`` (B, n) whole numbers,
    -1 = none; ``vectors`` (B, n, d) unit tag vectors, or zero."""

    score: Array
    category: Array
    creator: Array
    vectors: Array

    def __len__(self) -> int:
        return len(self.score)

    def take(self, rows: Array | slice) -> "Cards":
        """Those of some requests."""
        return Cards(self.score[rows], self.category[rows], self.creator[rows], self.vectors[rows])

    @property
    def real(self) -> Array:
        """(B, n) bool: there is a candidate."""
        return np.asarray(self.score != -np.inf)

    def blocks(self) -> Iterator[slice]:
        """All requests, some at a time."""
        step = block_size(self.score.shape[1])
        for start in range(0, max(1, len(self)), step):
            yield slice(start, start + step)

    def pick(self, rows: Array, lists: Array) -> "Cards":
        """The cards of ``lists`` (S, K), positions among the candidates of the requests ``rows``
        (S,), -1 = none."""
        at, there, row = np.maximum(lists, 0), lists >= 0, rows[:, None]
        return Cards(
            np.where(there, self.score[row, at], -np.inf).astype(np.float32),
            np.where(there, self.category[row, at], -1),
            np.where(there, self.creator[row, at], -1),
            self.vectors[row, at] * there[..., None],
        )


def block_size(n: int) -> int:
    """Requests of ``n`` candidates to attend at a time: what every two candidates have to do with
    each other then stays in the processor's cache."""
    return max(1, PAIRS // max(1, n * n))


def relations(cards: Cards) -> Tensor:
    """(B, 3, n, n) float32, symmetric: how much two cards have of each of ``RELATIONS``."""
    category, creator = torch.from_numpy(cards.category), torch.from_numpy(cards.creator)
    vectors = torch.from_numpy(np.ascontiguousarray(cards.vectors, np.float32))
    n_requests, n = category.shape
    out = torch.empty((n_requests, len(RELATIONS), n, n))
    for r, group in enumerate((category, creator)):
        out[:, r] = (group[:, :, None] == group[:, None, :]) & (group >= 0)[:, None, :]
    torch.matmul(vectors, vectors.transpose(1, 2), out=out[:, 2])
    return out


def places(score: Array) -> Array:
    """(B, n) place of each candidate by score, 0 = best; ties keep their order, candidates without
    a finite score come last.

    >>> places(np.array([[0.2, np.nan, 0.9, 0.2]])).tolist()
    [[1, 3, 0, 2]]
    """
    sure = np.where(np.isfinite(score), score, -np.inf)
    order = np.argsort(-sure, axis=1, kind="stable")
    place = np.empty_like(order)
    np.put_along_axis(place, order, np.arange(score.shape[1])[None], 1)
    return place


class ScoreScale(nn.Module):
    """g of the formula above; learns from training scores whether they are probabilities, their
    mean and their spread."""

    odds: Tensor
    mean: Tensor
    spread: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("odds", torch.tensor(False))
        self.register_buffer("mean", torch.tensor(0.0))
        self.register_buffer("spread", torch.tensor(1.0))

    def learn(self, score: Array) -> None:
        """From all finite scores (any shape); without any the scale stays as it is."""
        known = score[np.isfinite(score)]
        if not len(known):
            return
        self.odds.fill_(bool((known > 0).all() and (known < 1).all()))
        known = self._bent(known)
        self.mean.fill_(float(known.mean()))
        self.spread.fill_(float(known.std()) or 1.0)

    def _bent(self, score: Array) -> Array:
        if not self.odds:
            return score
        score = np.clip(score, ODDS, 1 - ODDS)
        return np.asarray(np.log(score / (1 - score)))

    def forward(self, score: Array) -> Tensor:
        """(B, n) g, float32."""
        finite = np.isfinite(score)
        g = (self._bent(np.where(finite, score, 0.5)) - self.mean.item()) / self.spread.item()
        g = np.where(finite, np.clip(g, WORST, -WORST), WORST)
        return torch.from_numpy(g.astype(np.float32))
