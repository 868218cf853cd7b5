"""Collaborative factors: what likes have in common that no field tells, by matrix factorisation.

    y_ui = m_u + b_i + x_u · w_i + s_u · v_i + noise,      y = mean of positive and long view

m_u the user's rate, b_i the item's effect, x_u the user's taste by tag (w_i the item's tag
weights, known), and s_u, v_i style vectors that are learned from who liked what. All by ridge
regression in turns: each of the four is solved exactly while the others stand still, so a fit takes
a second where gradient steps need minutes. An item's b_i and v_i are drawn towards its author's, so
that a new item has both. Models read s_u · v_i as one number, from a fit on strictly older events.
References: Zhou, Wilkinson, Schreiber, Pan, Large-Scale Parallel Collaborative Filtering (ALS-WR),
AAIM 2008; Koren, Bell, Volinsky, Computer 2009.

Simplified: industry refits daily on clusters, and folds the newest events in at serving.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
import scipy.sparse as sp

from reclab.core.chance import rng
from reclab.core.errors import check_float, check_int
from reclab.core.types import Array

DENSE = 20_000_000
"""cells of a table of users by authors up to which a dense one is faster (80 MB)"""


@dataclass(frozen=True)
class FactorsConfig:
    """Sizes and the strength of the pull to zero (ridge = noise variance / prior variance)."""

    dim: int = 8
    """length of the style vectors (2 … 64)"""
    ridge: float = 8.0
    """for style vectors, in events (1 … 100)"""
    tag_ridge: float = 8.0
    """for a user's tastes by tag, in events (1 … 100)"""
    prior: float = 10.0
    """for a user's rate and an item's effect, in events (1 … 100)"""
    sweeps: int = 8
    """turns of alternating style vectors (3 … 20)"""

    def __post_init__(self) -> None:
        check_int("FactorsConfig.dim", self.dim, 1, 256, "8")
        check_int("FactorsConfig.sweeps", self.sweeps, 1, 1000, "8")
        for name in ("ridge", "tag_ridge", "prior"):
            check_float(f"FactorsConfig.{name}", getattr(self, name), 1e-3, 1e6, "8")


@dataclass(frozen=True)
class Factors:
    """One fit. The last row of every array is all 0: an unknown user or item.

    taste (U + 1, G), style_u (U + 1, d), effect (N + 1,), style_i (N + 1, d), float32."""

    taste: Array
    style_u: Array
    effect: Array
    style_i: Array

    def users(self, user_row: Array) -> Array:
        """Rows that exist here; others become -1."""
        return np.where(user_row < len(self.taste) - 1, user_row, -1)

    def items(self, item_row: Array) -> Array:
        """Rows that exist here; items that came later become -1."""
        return np.where(item_row < len(self.effect) - 1, item_row, -1)


@dataclass(frozen=True)
class Observed:
    """Events to fit: rows of users and items (n,), outcome ``y`` (n,) 0 … 1; and the catalogue:
    ``author`` (N,) rows, -1 = none, ``tags`` (N, W) and their ``weight`` (N, W)."""

    user_row: Array
    item_row: Array
    y: Array
    author: Array
    tags: Array
    weight: Array
    n_users: int
    n_tags: int


def fit_factors(seen: Observed, config: FactorsConfig, seed: int = 0) -> Factors:
    """Fit rates, effects, tastes and styles in turns."""
    n_items = len(seen.author)
    author = np.where(seen.author < 0, seen.author.max(initial=-1) + 1, seen.author)
    shape = seen.n_users, n_items
    shown = sp.csr_matrix((np.ones(len(seen.y), np.float32), (seen.user_row, seen.item_row)), shape)
    effect, taste, left = _main_effects(seen, shown, author, config)
    rest = sp.csr_matrix((left, (seen.user_row, seen.item_row)), shape)
    belongs = sp.csr_matrix(
        (np.ones(n_items, np.float32), (np.arange(n_items), author)),
        (n_items, int(author.max(initial=0)) + 1),
    )
    style_u, style_i = _styles(shown, rest, belongs, author, config, seed)
    return Factors(_blank(taste), _blank(style_u), _blank(effect), _blank(style_i))


def _blank(rows: Array) -> Array:
    """The same with a row of zeros at the end."""
    return np.concatenate([rows, np.zeros_like(rows[:1])]).astype(np.float32)


def _main_effects(
    seen: Observed, shown: Any, author: Array, config: FactorsConfig
) -> tuple[Array, Array, Array]:
    """effect (N,), taste (U, G) and what they leave unexplained (n,)."""
    u, i, k = seen.user_row, seen.item_row, config.prior
    n_items, n_tags = len(author), seen.n_tags
    tags = np.where(seen.tags < 0, 0, seen.tags)
    w = sp.csr_matrix(
        (seen.weight.ravel(), (np.repeat(np.arange(n_items), tags.shape[1]), tags.ravel())),
        (n_items, max(1, n_tags)),
    )
    gram = _gram(shown, w.toarray(), config.tag_ridge)
    by_user, by_item = np.bincount(u, minlength=seen.n_users), np.bincount(i, minlength=n_items)
    by_author = np.bincount(author[i], minlength=int(author.max(initial=0)) + 1)
    mean = float(seen.y.mean())
    effect, taste = np.zeros(n_items, np.float32), np.zeros((seen.n_users, max(1, n_tags)))
    wish: Array = np.zeros(len(u), np.float32)
    for _ in range(2):
        total = np.bincount(u, seen.y - effect[i] - wish, seen.n_users)
        rate = ((total + k * mean) / (by_user + k)).astype(np.float32)
        rest = sp.csr_matrix((seen.y - rate[u] - effect[i], (u, i)), shown.shape)
        taste = np.linalg.solve(gram, (rest @ w).toarray()[..., None])[..., 0].astype(np.float32)
        wish = np.zeros(len(u), np.float32)
        for place in range(tags.shape[1]):
            wish += taste[u, tags[i, place]] * seen.weight[i, place]
        left = seen.y - rate[u] - wish
        mine = np.bincount(author[i], left, len(by_author)) / (by_author + k)
        effect = np.bincount(i, left, n_items) + k * mine[author]
        effect = (effect / (by_item + k)).astype(np.float32)
    return effect, taste[:, :n_tags], (left - effect[i]).astype(np.float32)


def _styles(
    shown: Any, rest: Any, belongs: Any, author: Array, config: FactorsConfig, seed: int
) -> tuple[Array, Array]:
    """(U, d) and (N, d): first users against authors, who have many events, then against items."""
    by_author, rest_author = shown @ belongs, rest @ belongs
    if by_author.shape[0] * by_author.shape[1] < DENSE:
        by_author, rest_author = by_author.toarray(), rest_author.toarray()
    shape = belongs.shape[1], config.dim
    style_a = rng(seed, "styles").normal(0.0, 0.1, shape).astype(np.float32)
    for _ in range(config.sweeps):
        style_u = _ridge(by_author, rest_author, style_a, config.ridge)
        style_a = _ridge(by_author.T, rest_author.T, style_u, config.ridge)
        # the same product, shared evenly, so that one ridge suits both
        even = np.sqrt(np.sqrt((style_a**2).mean() / max(1e-12, float((style_u**2).mean()))))
        style_u, style_a = style_u * even, style_a / max(1e-12, even)
    to_users, rest_t = shown.T.tocsr(), rest.T.tocsr()
    style_i = _ridge(to_users, rest_t, style_u, config.ridge, style_a[author])
    style_u = _ridge(shown, rest, style_i, config.ridge)
    return style_u, _ridge(to_users, rest_t, style_u, config.ridge, style_a[author])


def _gram(shown: Any, other: Array, ridge: float) -> Array:
    """(R, d, d) sum over a row's events of v v^T, plus the ridge; one matrix product for all."""
    if sp.issparse(shown):  # of a million items most were never shown: they add nothing
        shown = shown.tocsr()
        met = np.flatnonzero(np.bincount(shown.indices, minlength=shown.shape[1]))
        if len(met) < len(other) / 2:
            shown, other = shown[:, met], other[met]
    d = other.shape[1]
    first, second = np.triu_indices(d)
    outer = other[:, first] * other[:, second]
    sparse = np.count_nonzero(outer) < 0.1 * outer.size
    sums = shown @ (sp.csr_matrix(outer) if sparse else outer)
    sums = sums.toarray() if sp.issparse(sums) else np.asarray(sums)
    gram = np.empty((len(sums), d, d), np.float32)
    gram[:, first, second] = sums
    gram[:, second, first] = sums
    return gram + ridge * np.eye(d, dtype=np.float32)


def _ridge(shown: Any, rest: Any, other: Array, ridge: float, prior: Array | float = 0.0) -> Array:
    """(R, d) ridge regression of each row's outcomes on ``other`` (C, d), drawn to ``prior``; a row
    without events is its prior."""
    found = np.zeros((shown.shape[0], other.shape[1]), np.float32) + np.asarray(prior, np.float32)
    right = np.asarray(rest @ other) + ridge * found
    some: Array | slice = slice(None)
    if sp.issparse(shown):
        shown = shown.tocsr()
        rows = np.flatnonzero(np.diff(shown.indptr))
        if len(rows) < len(found) / 2:
            some, shown, right = rows, shown[rows], right[rows]
    found[some] = np.linalg.solve(_gram(shown, other, ridge), right[..., None])[..., 0]
    return found


class Snapshots:
    """Fits made at several times; a question at time t is answered by the latest fit made by t,
    which saw strictly older events only. Before the first fit everything is 0."""

    def __init__(self) -> None:
        self.times: list[int] = []
        self.fits: list[Factors] = []

    def arrays(self) -> dict[str, Array]:
        """What ``from_arrays`` needs."""
        held = {"fit_times": np.array(self.times, np.int64)}
        for at, fit in enumerate(self.fits):
            held |= {f"fit_{at}.{part.name}": getattr(fit, part.name) for part in fields(fit)}
        return held

    @classmethod
    def from_arrays(cls, held: Mapping[str, Array]) -> Self:
        """The fits that ``arrays`` described."""
        snapshots = cls()
        for at, now_ms in enumerate(held["fit_times"].tolist()):
            parts = {part.name: held[f"fit_{at}.{part.name}"] for part in fields(Factors)}
            snapshots.add(now_ms, Factors(**parts))
        return snapshots

    def add(self, now_ms: int, fit: Factors) -> None:
        """Keep a fit on the events before ``now_ms``, which must be later than those kept."""
        self.times.append(now_ms)
        self.fits.append(fit)

    def _each(self, time_ms: Array) -> Iterator[tuple[Factors, Array | slice]]:
        """Each fit that is needed, and the positions (m,) that it answers."""
        current = np.searchsorted(self.times, time_ms, side="right") - 1
        low, high = int(current.min(initial=0)), int(current.max(initial=-1))
        if low == high >= 0:  # a live batch is answered by one fit
            yield self.fits[low], slice(None)
            return
        for at in range(max(low, 0), high + 1):
            yield self.fits[at], np.flatnonzero(current == at)

    def taste(self, user_row: Array, time_ms: Array, n_tags: int) -> Array:
        """(B, G) tastes by tag."""
        found = np.zeros((len(user_row), n_tags), np.float32)
        for fit, rows in self._each(time_ms):
            found[rows] = fit.taste[fit.users(user_row[rows])]
        return found

    def effect(self, item_row: Array, time_ms: Array) -> Array:
        """(n,) effects of items."""
        found = np.zeros(len(item_row), np.float32)
        for fit, rows in self._each(time_ms):
            found[rows] = fit.effect[fit.items(item_row[rows])]
        return found

    def style(self, user_row: Array, item_row: Array, time_ms: Array) -> Array:
        """(n,) products of the styles of users and items."""
        found = np.zeros(len(item_row), np.float32)
        for fit, rows in self._each(time_ms):
            u, v = fit.style_u[fit.users(user_row[rows])], fit.style_i[fit.items(item_row[rows])]
            found[rows] = np.einsum("nd,nd->n", u, v)
        return found
