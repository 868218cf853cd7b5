"""The logging policy: the platform's own recommender during the month that is logged.

Slots come from four channels: a list per user (spectral matrix factorisation on creators, plus a
topic profile and item means, refitted every two days), hot, fresh, and uniformly random; the
random slots are flagged. Score of item i for user u, from residuals r = long view − rate of u:
    s_ui = profile_u · tags_i + F_u · G_creator(i) + m_i

Reference: Cremonesi et al. 2010 (RecSys), PureSVD; Schnabel et al. 2016 on logged randomness.
Simplified: no ranking model; one list a user, walked from the top.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse

from reclab.core.errors import check_float, check_int
from reclab.core.types import Array
from reclab.world.catalogue import Catalogue
from reclab.world.users import N_TOPICS

PERSONAL, HOT, FRESH, RANDOM = range(4)
CHANNELS = ("personal", "hot", "fresh", "random")


@dataclass(frozen=True)
class PolicyConfig:
    """Constants of the recommender that wrote the log."""

    mix: tuple[float, ...] = (0.58, 0.32, 0.07, 0.03)  # share of slots by channel; random flagged
    refit_days: int = 2  # days between fits of the personal lists
    rank: int = 8  # factors
    factor_weight: float = 0.2  # shrinkage of the factors: at this density most of them is noise
    mean_weight: float = 1.5  # of an item's mean beside the match of tastes
    list_length: int = 200  # items a user: two days of a heavy user
    pool: int = 4_000  # items in the index: two thirds the best by record, the rest at random
    hot_items: int = 400  # length of the hot list
    fresh_items: int = 300  # the latest items that the fresh channel draws from
    warm_up_days: int = 0  # days of uniformly random pages before the policy takes over
    spare: int = 4  # candidates beyond the page, for those already seen

    def __post_init__(self) -> None:
        check_float("sum of PolicyConfig.mix", sum(self.mix), 0.999, 1.001, "1")
        check_int("PolicyConfig.refit_days", self.refit_days, 1, 1000, "2")
        check_int("PolicyConfig.rank", self.rank, 1, 128, "8")
        check_int("PolicyConfig.list_length", self.list_length, 10, 10_000, "200")
        check_int("PolicyConfig.pool", self.pool, 100, 10_000_000, "4000")
        check_int("PolicyConfig.hot_items", self.hot_items, 1, 1_000_000, "400")


class SeenItems:
    """Which items each user was shown: one bit per user and item number modulo 2^15 (4 KB a user).
    Exact below 32,768 items; above, a few unseen items are taken for seen."""

    BITS = 1 << 15

    def __init__(self, n_users: int) -> None:
        self._bytes = np.zeros((n_users, self.BITS // 8), np.uint8)

    def has(self, user: Array, item: Array) -> Array:
        """(n, k) bool for users (n,) and items (n, k)."""
        slot = item & (self.BITS - 1)
        return (self._bytes[user[:, None], slot >> 3] >> (slot & 7).astype(np.uint8) & 1).astype(
            bool
        )

    def table(self, users: slice, item: Array) -> Array:
        """(n, k) bool for every one of ``users`` with every one of ``item`` (k,)."""
        bits = np.unpackbits(self._bytes[users], axis=1, bitorder="little").view(bool)
        return np.take(bits, item & (self.BITS - 1), axis=1)

    def add(self, user: Array, item: Array, shown: Array) -> None:
        """Mark items (n, k) where ``shown`` (n, k); each user appears once."""
        slot = item & (self.BITS - 1)
        bit = np.left_shift(1, slot & 7).astype(np.uint8) * shown
        for k in range(item.shape[1]):  # a user's items may share a byte: one position at a time
            self._bytes[user, slot[:, k] >> 3] |= bit[:, k]


class LoggingPolicy:
    """Learns from impressions only: ``learn`` after each day, ``refresh`` before it, ``page``."""

    def __init__(self, config: PolicyConfig, catalogue: Catalogue, declared: Array) -> None:
        self.config, self.catalogue = config, catalogue
        self.seen = SeenItems(len(declared))
        n = len(declared)
        self._profile_sum = np.zeros((n, N_TOPICS))
        self._profile_n = np.zeros((n, N_TOPICS))
        rows, cols = np.nonzero(declared >= 0)
        # A ticked topic counts like 15 exposures at +1/3 until behaviour outweighs it.
        self._profile_sum[rows, declared[rows, cols]] += 5.0
        self._profile_n[rows, declared[rows, cols]] += 15.0
        self._user_n = np.zeros(n)
        self._user_sum = np.zeros(n)
        self._item_n, self._item_sum, self._recent = np.zeros(0), np.zeros(0), np.zeros(0)
        self._by_creator = sparse.csr_array((n, len(catalogue.creators)))
        self._lists = np.zeros((n, 0), np.int32)
        self._next = np.zeros(n, np.int64)
        self._hot = np.zeros(0, np.int64)
        self._edges = np.cumsum(config.mix)[:-1]

    # -- learning ---------------------------------------------------------------------------

    def learn(self, user: Array, item: Array, long_view: Array) -> None:
        """Take in one day of impressions: users, items and outcomes, all (n,)."""
        self._grow()
        n_users, n_items = len(self._user_n), len(self._item_n)
        self._user_n += np.bincount(user, minlength=n_users)
        self._user_sum += np.bincount(user, long_view, minlength=n_users)
        rate = (self._user_sum + 2.0) / (self._user_n + 8.0)
        residual = long_view - rate[user]
        self._item_n += np.bincount(item, minlength=n_items)
        self._item_sum += np.bincount(item, residual, minlength=n_items)
        self._recent = 0.5 * self._recent + np.bincount(item, long_view, minlength=n_items)
        # topics over- or under-perform against the item's mean, or all would look alike
        gain = residual - 0.5 * (self._item_sum / (self._item_n + 10.0))[item]
        for k in range(3):
            tag = self.catalogue.tags[item, k].astype(np.int64)
            has = np.flatnonzero(tag >= 0)
            weight = self.catalogue.weights[item[has], tag[has]].astype(np.float64)
            cell, size = user[has] * N_TOPICS + tag[has], n_users * N_TOPICS
            self._profile_sum += np.bincount(cell, weight * gain[has], size).reshape(-1, N_TOPICS)
            self._profile_n += np.bincount(cell, weight, size).reshape(-1, N_TOPICS)
        creator = self.catalogue.creator[item]
        cells = sparse.coo_array((residual, (user, creator)), shape=self._by_creator.shape)
        self._by_creator = self._by_creator + cells.tocsr()

    def _grow(self) -> None:
        more = len(self.catalogue) - len(self._item_n)
        if more:
            self._item_n = np.pad(self._item_n, (0, more))
            self._item_sum = np.pad(self._item_sum, (0, more))
            self._recent = np.pad(self._recent, (0, more))

    def refresh(self, day: int, chance: np.random.Generator) -> None:
        """At midnight: the hot list, and every ``refit_days`` the personal lists."""
        self._grow()
        warm_up = day < self.config.warm_up_days
        self._edges = np.cumsum((0.0, 0.0, 0.0, 1.0) if warm_up else self.config.mix)[:-1]
        n_hot = min(self.config.hot_items, len(self.catalogue))
        popular = self._recent if self._recent.any() else self._audience()
        self._hot = np.argsort(-popular, kind="stable")[:n_hot]
        if day % self.config.refit_days == 0 or day in (1, self.config.warm_up_days):
            self._fit(chance)

    def _audience(self) -> Array:
        """Before the first impression, popularity is the creator's audience."""
        return self.catalogue.creators.audience[self.catalogue.creator]

    def _fit(self, chance: np.random.Generator) -> None:
        """Score every user against the pool and keep each one's best."""
        pool = self._pool(chance)
        users, items = self._vectors(pool)
        length = min(self.config.list_length, len(pool))
        lists = np.empty((len(users), length), np.int32)
        for start in range(0, len(users), 500):
            block = slice(start, start + 500)
            score = users[block] @ items.T
            score[self.seen.table(block, pool)] = -(2.0**24)
            lists[block] = pool[best_rows(score, length)]
        self._lists = lists
        self._next[:] = 0

    def _pool(self, chance: np.random.Generator) -> Array:
        """(m,) ascending item rows in the index: those with the best record, and a random rest."""
        n = len(self.catalogue)
        if n <= self.config.pool:
            return np.arange(n)
        n_known, n_tried = self.config.pool * 2 // 3, self.config.pool // 3
        record = self._item_sum / (self._item_n + 20.0)
        known = np.lexsort((-self._audience(), -record))[:n_known]
        return np.union1d(known, chance.choice(n, n_tried, replace=False))

    def _vectors(self, pool: Array) -> tuple[Array, Array]:
        """(n_users, d) and (m, d) whose inner product is the score, in whole numbers."""
        rank = min(self.config.rank, min(self._by_creator.shape) - 1)
        tags = self._profile_sum / (self._profile_n + 15.0)
        made = self.catalogue.creator
        creator_n = np.bincount(made, self._item_n, minlength=self._by_creator.shape[1])
        factors, creators = spectral(self._by_creator, self._user_n, creator_n, rank)
        factors *= self.config.factor_weight
        mean = (self._item_sum / (self._item_n + 20.0))[pool]
        users = np.concatenate([tags, factors, np.full((len(tags), 1), 0.125)], 1)
        creator = creators[self.catalogue.creator[pool]]
        items = np.concatenate(
            [self.catalogue.weights[pool], creator, 8.0 * self.config.mean_weight * mean[:, None]],
            1,
        )
        return whole(users, 4096), whole(items, 256)

    # -- serving ----------------------------------------------------------------------------

    def page(
        self, user: Array, time_ms: Array, size: int, chance: np.random.Generator
    ) -> tuple[Array, Array, Array]:
        """Fill a page for each of n users: items (n, size), channels (n, size), and which slots
        are filled (n, size); a slot stays empty only when the spare candidates run out."""
        n, width = len(user), size + self.config.spare
        channel = np.searchsorted(self._edges, chance.random((n, width)), side="right").astype(
            np.int8
        )
        item = self._draw(user, time_ms, channel, chance)
        fresh = ~self.seen.has(user, item)
        for j in range(1, width):
            fresh[:, j] &= (item[:, :j] != item[:, j : j + 1]).all(1)
        place = np.argsort(~fresh, axis=1, kind="stable")[:, :size]
        filled = np.take_along_axis(fresh, place, 1)
        # the walk down the list passes everything drawn up to the last slot used
        used = np.arange(width) <= np.where(filled, place, 0).max(1, keepdims=True)
        self._next[user] += ((channel == PERSONAL) & used).sum(1)
        return (
            np.take_along_axis(item, place, 1),
            np.take_along_axis(channel, place, 1),
            filled,
        )

    def _draw(
        self, user: Array, time_ms: Array, channel: Array, chance: np.random.Generator
    ) -> Array:
        """(n, width) item rows, one candidate for each slot by its channel."""
        alive = self.catalogue.n_alive(time_ms)[:, None]
        u = chance.random(channel.shape)
        personal = channel == PERSONAL
        depth = self._next[user][:, None] + np.cumsum(personal, 1) - personal
        ended = personal & (depth >= self._lists.shape[1])
        channel[ended] = FRESH  # a list that is used up
        item = np.floor(u * alive).astype(np.int64)  # uniformly random
        hot = (len(self._hot) * u * u).astype(np.int64)
        item = np.where(channel == HOT, self._hot[hot], item)
        n_fresh = np.minimum(self.config.fresh_items, alive)
        item = np.where(channel == FRESH, alive - 1 - np.floor(u * n_fresh).astype(np.int64), item)
        rows, slots = np.nonzero(channel == PERSONAL)
        item[rows, slots] = self._lists[user[rows], depth[rows, slots]]
        return item


def whole(vectors: Array, per_unit: int) -> Array:
    """Vectors in whole numbers of 1 / ``per_unit``, as float32. Sums of products of whole numbers
    below 2^24 are exact in float32, so that no machine's rounding decides who is shown what."""
    return np.rint(vectors * per_unit).astype(np.float32)


def best_rows(score: Array, k: int) -> Array:
    """(n, k) columns of the largest of ``score`` (n, m, whole numbers) in each row, best first, the
    first of equals first. A threshold read
    off every eighth column cuts a head somewhat longer than ``k``, which alone is sorted."""
    n, m = score.shape
    # 1.25 k plus three standard deviations of the sampled count: too short a head is rare
    place = int(np.ceil((1.25 * k + 3.0 * np.sqrt(8.0 * k)) / 8.0))
    sample = score[:, ::8]
    if place >= sample.shape[1]:
        return np.argsort(-score, axis=1, kind="stable")[:, :k]
    threshold = np.partition(sample, -place, axis=1)[:, -place, None]
    flat = np.flatnonzero(score >= threshold)
    row = flat // m
    count = np.bincount(row, minlength=n)
    slot = np.arange(len(row)) - np.repeat(np.cumsum(count) - count, count)
    # whole scores and columns in one number: no two are equal, and one plain sort orders both
    key = np.full((n, max(k, int(count.max()))), np.iinfo(np.int64).max)
    key[row, slot] = -score.ravel()[flat].astype(np.int64) * m + (flat - row * m)
    key.sort(axis=1)
    return key[:, :k] % m


def spectral(cells: Any, user_n: Array, creator_n: Array, rank: int) -> tuple[Array, Array]:
    """Factors F (n_users, rank) and G (n_creators, rank), F · G = expected residual of one more
    impression, from the residual sums ``cells`` and the impressions of each: the sums divided by
    sqrt(n_u n_c) are cut to ``rank`` by four steps of subspace iteration, in float64."""
    left, right = 1.0 / np.sqrt(user_n + 30.0), 1.0 / np.sqrt(creator_n + 10.0)
    scaled = (sparse.diags_array(left) @ cells @ sparse.diags_array(right)).tocsr()
    turned = scaled.T.tocsr()
    basis = np.cos(np.outer(np.arange(1, cells.shape[1] + 1), np.arange(1, rank + 1)))
    for _ in range(4):
        basis = orthonormal(turned @ (scaled @ orthonormal(basis)))
    users, creators = (scaled @ basis) * left[:, None], basis * right[:, None]
    size = np.abs(creators).max() + 1e-12  # balance, so that both survive rounding
    return users * (size * user_n.sum()), creators / size


def orthonormal(basis: Array) -> Array:
    """Columns spanning the same space, orthonormal (Cholesky of the small Gram matrix)."""
    gram = basis.T @ basis
    gram[np.diag_indices_from(gram)] += 1e-12 * np.trace(gram) + 1e-300
    return np.asarray(np.linalg.solve(np.linalg.cholesky(gram), basis.T).T)
