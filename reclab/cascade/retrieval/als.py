"""Matrix factorisation (矩阵分解召回): a short vector for each user and item, fitted to all pairs.

    loss = sum over all pairs (u, i) of  c_ui (y_ui - x_u · v_i)^2  +  ridge (|X|^2 + |V|^2)
    y_ui = 1 where u liked i, else 0;   c_ui = 1 + a where u liked i, else z_i
    z_i = 1, or by popularity n_i:  n_i^p / mean_j n_j^p

With the items fixed, each user's vector is the answer of a small linear system, and the other way
round; a sweep solves both in turn. All that nobody liked enters through one d by d matrix,
G = sum_i z_i v_i v_i', so a sweep costs the likes, not the pairs:

    (G + ridge I + sum over liked i of (1 + a - z_i) v_i v_i') x_u = sum over liked i of (1 + a) v_i

A request solves the same for its user's history, so users who are new and likes that are fresh are
answered without a new fit; there the l-th latest like fades to d^l of a like. Search is the inner
product x_u · v_i over a vector index.

References: Hu, Koren, Volinsky, "Collaborative Filtering for Implicit Feedback Datasets", ICDM
2008; He et al., "Fast Matrix Factorization for Online Recommendation", SIGIR 2016 (z_i).
Simplified: industry sweeps on a cluster; an item's vector waits for the next fit.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
import torch

from reclab.cascade.batch import Batch
from reclab.cascade.ranking.training import OneThread
from reclab.cascade.retrieval.events import positives
from reclab.core.chance import rng
from reclab.core.errors import NotBuilt, check_float, check_int
from reclab.core.tables import Logs
from reclab.core.types import Array
from reclab.stores.forward_index import ForwardIndex
from reclab.stores.vector_index import VectorIndex

CELLS = 2_000_000  # numbers gathered at a time: 8 MB of vectors


@dataclass(frozen=True)
class ALSConfig:
    """Sizes, weights and the pull to zero."""

    dim: int = 64
    """d, length of the vectors (8-256)"""
    sweeps: int = 10
    """times that users and items are solved in turn (5-20)"""
    alpha: float = 1.0
    """a, what a like weighs more than a pair without one (1-100)"""
    ridge: float = 10.0
    """pull of the vectors to zero (0.1-1000)"""
    popularity: float = 0.0
    """p: 0, every pair without a like weighs 1; up to 1, popular items not liked weigh more"""
    position_decay: float = 0.95
    """d: the l-th latest like of a request's history weighs d^l of a like, the rest of its weight
    is that of a pair without one (0.8-1)"""
    seed: int = 0
    """of the first item vectors"""

    def __post_init__(self) -> None:
        check_int("ALSConfig.dim", self.dim, 1, 1024, "32-128")
        check_int("ALSConfig.sweeps", self.sweeps, 1, 1000, "10")
        check_float("ALSConfig.alpha", self.alpha, 0.0, 1e6, "1-100")
        check_float("ALSConfig.ridge", self.ridge, 1e-6, 1e6, "0.1-1000")
        check_float("ALSConfig.position_decay", self.position_decay, 0.0, 1.0, "0.9-1")
        check_float("ALSConfig.popularity", self.popularity, 0.0, 1.0, "0-0.5")


class ALSChannel:
    """``fit`` once a day, ``retrieve`` for a batch."""

    name = "als"

    def __init__(self, config: ALSConfig | None = None) -> None:
        self.config = config or ALSConfig()
        self._index: VectorIndex | None = None

    def fit(self, logs: Logs, index: ForwardIndex, until_ms: int) -> Self:
        """Learn from the positives strictly before ``until_ms``, each user and item once."""
        c, n = self.config, max(1, len(index))
        past = logs.interactions
        liked = positives(past.take(past["time_ms"] < until_ms), index)
        user = np.unique(liked.group, return_inverse=True)[1].astype(np.int64)
        pairs = np.unique(user * n + liked.item_row)
        user, item = pairs // n, pairs % n
        z = unobserved(np.bincount(item, minlength=len(index)), c.popularity)
        items = rng(c.seed, "als").normal(0.0, 0.1, (len(index), c.dim)).astype(np.float32)
        by_user, by_item = Likes.of(user, item), Likes.of(item, user, len(index))
        everyone = np.ones(len(by_user.counts), np.float32)
        for _ in range(c.sweeps if len(pairs) else 0):
            users = self._sweep(by_user, items, everyone, z)
            items = self._sweep(by_item, users, z, everyone)
        return self._serve(items, z)

    def _serve(self, items: Array, z: Array) -> Self:
        """Hold the item vectors, what a fold-in needs of them, and their index."""
        self._items, self._z = items, z
        self._gram = items.T @ (items * z[:, None])
        known = np.flatnonzero(items.any(1))  # a vector of zeros is never the answer
        self._index = VectorIndex(self.config.dim)
        self._index.add(known, items[known])
        return self

    def _sweep(self, likes: "Likes", other: Array, z_row: Array, z_other: Array) -> Array:
        """(R, d) every row solved anew, rows of like length together."""
        gram = other.T @ (other * z_other[:, None])
        solved = np.zeros((len(likes.counts), self.config.dim), np.float32)
        for rows in likes.blocks(self.config.dim):
            solved[rows] = self._solve(likes.padded(rows), other, gram, z_row[rows], z_other)
        return solved

    def _solve(
        self,
        liked: Array,
        other: Array,
        gram: Array,
        z_row: Array,
        z_other: Array,
        fade: Array | float = 1.0,
    ) -> Array:
        """(R, d) the formula above for rows that like ``liked`` (R, L), positions in ``other``
        (C, d), -1 padded. A pair without a like weighs ``z_row`` (R,) times ``z_other`` (C,).
        ``fade`` (R, L) 1 … 0: from a like to a pair without one."""
        c, there = self.config, (liked >= 0)[..., None]
        v = np.where(there, other[liked], np.float32(0))
        extra = ((1 + c.alpha) - z_row[:, None] * z_other[liked]) * fade
        free = z_row[:, None, None] * gram + c.ridge * np.eye(c.dim, dtype=np.float32)
        weight = np.broadcast_to(np.float32(1 + c.alpha) * fade, liked.shape)
        right = np.einsum("rl,rld->rd", weight.astype(np.float32), v)
        # torch, since NumPy's threads cost more than they do on many small products
        with OneThread():
            weighted = torch.from_numpy(v * extra.astype(np.float32)[..., None])
            left = torch.baddbmm(torch.from_numpy(free), weighted.mT, torch.from_numpy(v))
            return torch.linalg.solve(left, torch.from_numpy(right)).numpy()

    def users(self, history: Array) -> Array:
        """(B, d) vectors of users who like the items of ``history`` (B, L) rows, newest last, -1
        padded; items that came after the fit are left out, of repetitions the newest counts."""
        width = history.shape[1]
        age = np.arange(width)[::-1]
        key = np.sort(np.where(history < len(self._items), history, -1) * width + age, axis=1)
        liked, fade = key // width, self.config.position_decay ** (key % width)
        liked[:, 1:][liked[:, 1:] == liked[:, :-1]] = -1
        found = np.zeros((len(liked), self.config.dim), np.float32)
        block = max(1, CELLS // max(1, width * self.config.dim))
        held = self._items, self._gram
        for start in range(0, len(liked) if len(self._items) else 0, block):
            part = slice(start, start + block)
            one = np.ones(len(liked[part]), np.float32)
            found[part] = self._solve(liked[part], *held, one, self._z, fade[part])
        return found

    def retrieve(self, batch: Batch, k: int) -> tuple[Array, Array]:
        """The ``k`` largest products above 0, without the items of the history.

        Returns (B, k) item rows, best first, padded with -1 (a whole row of -1 for a user without
        history), and (B, k) float32 products, about 1 for what is surely liked.
        """
        if self._index is None:
            raise NotBuilt("ALSChannel.retrieve: call fit(logs, index, until_ms) first")
        history, n = batch.history, np.int64(len(self._items) + 1)
        score, row = self._index.search(self.users(history), k + history.shape[1])
        request = np.arange(len(history))[:, None] * n
        known = np.where(history < n - 1, history, -1)
        out = np.isin(row + request, known + request) | ~(score > 0)
        order = np.argsort(out, axis=1, kind="stable")[:, :k]  # those left stay best first
        row, score = np.where(out, -1, row), np.where(out, np.float32(0), score)
        return np.take_along_axis(row, order, 1), np.take_along_axis(score, order, 1)

    def save(self, folder: Path) -> None:
        """Write ``als.npz``."""
        if self._index is None:
            raise NotBuilt("ALSChannel.save: call fit(logs, index, until_ms) first")
        folder.mkdir(parents=True, exist_ok=True)
        config = json.dumps(asdict(self.config))
        np.savez(folder / "als.npz", config=config, items=self._items, z=self._z)

    @classmethod
    def load(cls, folder: Path, index: ForwardIndex | None = None) -> Self:
        """Read what ``save`` wrote; the vectors need no index."""
        with np.load(folder / "als.npz", allow_pickle=False) as held:
            channel = cls(ALSConfig(**json.loads(str(held["config"]))))
            return channel._serve(held["items"], held["z"])


def unobserved(n_likes: Array, power: float) -> Array:
    """(N,) z of the formula from each item's number of likes.

    >>> unobserved(np.array([1, 4, 4]), 0.5).tolist(), unobserved(np.array([0, 9]), 0.0).tolist()
    ([0.6000000238418579, 1.2000000476837158, 1.2000000476837158], [1.0, 1.0])
    """
    raised = n_likes.astype(np.float64) ** power
    mean = raised.mean() if len(raised) else 1.0
    return (raised / (mean or 1.0)).astype(np.float32)


class Likes(NamedTuple):
    """Who likes what, by row: row r's are ``liked[starts[r]:starts[r] + counts[r]]``."""

    starts: Array
    counts: Array
    liked: Array

    @classmethod
    def of(cls, row: Array, liked: Array, n: int = 0) -> Self:
        """From pairs (m,) in any order; at least ``n`` rows."""
        counts = np.bincount(row, minlength=n)
        return cls(np.cumsum(counts) - counts, counts, liked[np.argsort(row, kind="stable")])

    def blocks(self, dim: int) -> Iterator[Array]:
        """Rows with likes, in pieces of similar length that fit in memory."""
        order = np.argsort(self.counts, kind="stable")
        order = order[self.counts[order] > 0]
        while len(order):
            fits = np.arange(1, len(order) + 1) * self.counts[order] * dim <= CELLS
            n = max(1, int(np.count_nonzero(fits)))
            yield order[:n]
            order = order[n:]

    def padded(self, rows: Array) -> Array:
        """(len(rows), longest) what they like, -1 padded at the end."""
        place = np.arange(self.counts[rows].max())
        slot = self.starts[rows][:, None] + place
        inside = place < self.counts[rows][:, None]
        return np.where(inside, self.liked[np.where(inside, slot, 0)], -1)
