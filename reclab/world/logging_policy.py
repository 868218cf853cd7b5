"""The logging policy: the platform's own recommender during the month that is logged.

Slots come from four channels: a list per user (spectral matrix factorisation on creators, plus a
topic profile and item means, refitted every two days), hot, fresh, and uniformly random; the
random slots are flagged. Score of item i for user u, from residuals r = long view − rate of u:
    s_ui = profile_u · tags_i + F_u · G_creator(i) + m_i

Reference: Cremonesi et al. 2010 (RecSys), PureSVD; Schnabel et al. 2016 on logged randomness.
Simplified: no ranking model; one list a user, walked from the top.
"""

from dataclasses import dataclass

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

    mix: tuple[float, ...] = (0.75, 0.12, 0.10, 0.03)  # share of slots by channel; random flagged
    refit_days: int = 2  # days between fits of the personal lists
    rank: int = 16  # factors: the hidden style has 8
    list_length: int = 400  # items a user: two days of a heavy user
    pool: int = 25_000  # most items that a fit scores: keeps a million items affordable
    hot_items: int = 300  # length of the hot list
    fresh_items: int = 500  # the latest items that the fresh channel draws from
    spare: int = 4  # candidates beyond the page, for those already seen

    def __post_init__(self) -> None:
        check_float("sum of PolicyConfig.mix", sum(self.mix), 0.999, 1.001, "1")
        check_int("PolicyConfig.refit_days", self.refit_days, 1, 1000, "2")
        check_int("PolicyConfig.rank", self.rank, 1, 128, "16")
        check_int("PolicyConfig.list_length", self.list_length, 10, 10_000, "400")
        check_int("PolicyConfig.pool", self.pool, 100, 10_000_000, "25000")
        check_int("PolicyConfig.hot_items", self.hot_items, 1, 1_000_000, "300")


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
        # A ticked topic counts like six exposures at +.5 until behaviour outweighs it.
        self._profile_sum[rows, declared[rows, cols]] += 3.0
        self._profile_n[rows, declared[rows, cols]] += 6.0
        self._user_n = np.zeros(n)
        self._user_sum = np.zeros(n)
        self._item_n, self._item_sum, self._recent = np.zeros(0), np.zeros(0), np.zeros(0)
        self._by_creator = sparse.csr_array((n, len(catalogue.creators)))
        self._lists = np.zeros((n, 0), np.int32)
        self._next = np.zeros(n, np.int64)
        self._hot = np.zeros(0, np.int64)

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
        weights = self.catalogue.weights[item]
        shape = (len(user), n_users)
        who = sparse.csr_array((np.ones(len(user)), (np.arange(len(user)), user)), shape=shape)
        # topics over- or under-perform against the item's mean, or all would look alike
        mean = self._item_sum / (self._item_n + 10.0)
        self._profile_sum += who.T @ (weights * (residual - 0.5 * mean[item])[:, None])
        self._profile_n += who.T @ weights
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
        n_hot = min(self.config.hot_items, len(self.catalogue))
        popular = self._recent if self._recent.any() else self._audience()
        self._hot = np.argsort(-popular, kind="stable")[:n_hot]
        if day % self.config.refit_days == 0 or day == 1:
            self._fit(chance)

    def _audience(self) -> Array:
        """Before the first impression, popularity is the creator's audience."""
        return self.catalogue.creators.audience[self.catalogue.creator]

    def _fit(self, chance: np.random.Generator) -> None:
        """Score every user against the pool and keep each one's best."""
        pool = self._pool(chance)
        users, items = self._vectors(pool)
        length = min(self.config.list_length, len(pool))
        keep = min(len(pool) - 1, length + length // 4)
        lists = np.empty((len(users), length), np.int32)
        rough_items = items.T.astype(np.float32)
        for start in range(0, len(users), 500):
            block = users[start : start + 500]
            # float32 finds the head; float64 orders it, so that no machine's rounding decides
            rough = block.astype(np.float32) @ rough_items
            head = np.argpartition(-rough, keep, axis=1)[:, :keep]
            head.sort(1)
            score = np.einsum("nd,nkd->nk", block, items[head])
            order = np.argsort(-score, axis=1, kind="stable")[:, :length]
            lists[start : start + 500] = pool[np.take_along_axis(head, order, 1)]
        self._lists = lists
        self._next[:] = 0

    def _pool(self, chance: np.random.Generator) -> Array:
        """(m,) ascending item rows that the fit scores: all, or the popular and a random rest."""
        n = len(self.catalogue)
        if n <= self.config.pool:
            return np.arange(n)
        known = np.argsort(-(self._item_sum + 1e-9 * self._audience()), kind="stable")
        picked = chance.choice(n, self.config.pool // 2, replace=False)
        return np.union1d(known[: self.config.pool // 2], picked)

    def _vectors(self, pool: Array) -> tuple[Array, Array]:
        """(n_users, d) and (m, d) whose inner product is the score, float64."""
        rank = min(self.config.rank, min(self._by_creator.shape) - 1)
        tags = self._profile_sum / (self._profile_n + 6.0)
        factors, creators = spectral(self._by_creator, self._user_n, rank)
        mean = (self._item_sum / (self._item_n + 20.0))[pool]
        users = np.concatenate([tags, factors, np.ones((len(tags), 1))], 1)
        creator = self.catalogue.creator[pool]
        items = [self.catalogue.weights[pool].astype(np.float64), creators[creator], mean[:, None]]
        return users, np.concatenate(items, 1)

    # -- serving ----------------------------------------------------------------------------

    def page(
        self, user: Array, time_ms: Array, size: int, chance: np.random.Generator
    ) -> tuple[Array, Array, Array]:
        """Fill a page for each of n users: items (n, size), channels (n, size), and which slots
        are filled (n, size); a slot stays empty only when the spare candidates run out."""
        n, width = len(user), size + self.config.spare
        edges = np.cumsum(self.config.mix)[:-1]
        channel = np.searchsorted(edges, chance.random((n, width)), side="right").astype(np.int8)
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


def spectral(cells: sparse.csr_array, user_n: Array, rank: int) -> tuple[Array, Array]:
    """Factors (n_users, rank), (n_creators, rank) of the residual sums ``cells``, damped for those
    with few impressions, by four steps of subspace iteration in float64."""
    creator_n = np.maximum(np.asarray(abs(cells).sum(0)).ravel(), 0.0)
    left, right = 1.0 / np.sqrt(user_n + 30.0), 1.0 / np.sqrt(creator_n + 10.0)
    scaled = (sparse.diags_array(left) @ cells @ sparse.diags_array(right)).tocsr()
    turned = scaled.T.tocsr()
    basis = np.cos(np.outer(np.arange(1, cells.shape[1] + 1), np.arange(1, rank + 1)))
    basis, _ = np.linalg.qr(basis)
    for _ in range(4):
        basis, _ = np.linalg.qr(turned @ (scaled @ basis))
    users = scaled @ basis
    # back to the scale of a residual per impression
    return users * left[:, None] * 4.0, basis / right[:, None] * 0.25
