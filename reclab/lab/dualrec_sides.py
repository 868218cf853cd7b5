"""The creator side of the days: which items need users, who gets them, and what becomes of D_u.

    needs     an item of at most so many days with fewer than ``target`` exposures
    match     items in order of their exposures: the best of the open users by taste, at most
              ``users_per_item``; a user with Q items in D_u is closed, at once
    D_u       an item leaves when it was shown, has its exposures, or is ``ttl_hours`` old

open = {u: |D_u| < Q and p(comes today) >= ``active``}, kept by ``UserPool``. A user's p: share
of the last days on which she came, recent ones counting more.

Reference: Chen et al. 2025 (WWW Companion), DualRec, equations 2.4 and 2.5 of the chapter.
Simplified: arrays in memory instead of Redis and a vector index; one score, no ranking stage; item
after item instead of blocks; activity is a running mean instead of boosted trees.
"""

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from scipy.special import expit

from reclab.core.clock import HOUR_MS
from reclab.core.errors import check, check_float, check_int
from reclab.core.types import Array
from reclab.dualrec.user_pool import UserPool, UserPoolConfig

MERGES = ("boost", "quota", "mix", "untargeted")
UNIT = 4096 * 256


@dataclass(frozen=True)
class CreatorSideConfig:
    """The creator side and how its items reach a page."""

    merge: str = "boost"
    """how D_u meets the user side: boost, quota, mix; or untargeted injection"""
    weight: float = 0.1
    """boost: λ in long views an exposure (0-1); quota: slots of a page (0-5); mix, untargeted:
    probability of a slot (0-0.5)"""
    users_per_item: int = 60
    """users matched with an item at a time (10-1000)"""
    capacity: int = 10
    """Q, items in D_u (1-100)"""
    target: int = 100
    """exposures after which an item needs no help (10-1000)"""
    oldest_days: float = 14.0
    """age after which an item gets no help, days (1-30)"""
    active: float = 0.5
    """least predicted probability of coming; 0 = everybody is in the pool (0-1)"""
    ttl_hours: float = 24.0
    """hours until a match is forgotten (1-72)"""

    def __post_init__(self) -> None:
        check(self.merge in MERGES, "CreatorSideConfig.merge", self.merge,
              f"be among {', '.join(MERGES)}", "boost")  # fmt: skip
        check_float("CreatorSideConfig.weight", self.weight, 0.0, 10.0, "0.1")
        check_int("CreatorSideConfig.users_per_item", self.users_per_item, 1, 10**6, "60")
        check_int("CreatorSideConfig.capacity", self.capacity, 0, 10_000, "10")
        check_int("CreatorSideConfig.target", self.target, 1, 10**6, "100")
        check_float("CreatorSideConfig.oldest_days", self.oldest_days, 0.0, 365.0, "14")
        check_float("CreatorSideConfig.active", self.active, 0.0, 1.0, "0.5")
        check_float("CreatorSideConfig.ttl_hours", self.ttl_hours, 0.1, 1000.0, "24")


class Needs(NamedTuple):
    """Every published item: ``item`` rows, ``age`` in days, exposures so ``far``, ``creator``."""

    item: Array
    age: Array
    far: Array
    creator: Array


class Given(NamedTuple):
    """D_u of the users of a page: ``item`` (n, Q), -1 = none, with scores ``f`` and ``g``."""

    item: Array
    f: Array
    g: Array


class Tastes(Protocol):
    """What the match reads of the feed: ``tastes`` (n_users, d); vectors of items, the column of
    the item's mean last; who was shown what; groups of users and creators."""

    tastes: Array

    @property
    def seen(self) -> "Seen": ...
    @property
    def groups(self) -> "Parts": ...
    def item_vectors(self, rows: Array) -> Array: ...


class Seen(Protocol):
    """Who was shown what, and how often each item was shown."""

    counts: Array

    def has(self, user: Array, item: Array) -> Array: ...
    def table(self, users: slice | Array, item: Array) -> Array: ...


class Parts(Protocol):
    """Group numbers of users and creators."""

    @property
    def user(self) -> Array: ...
    @property
    def creator(self) -> Array: ...


class CreatorSide:
    """State of D_u: ``item``, ``f``, ``g``, ``made_ms`` (n_users, Q). ``helped`` (n_creators,) and
    ``served`` (n_users,): whose items are matched, and with whom; ``weight`` may be moved."""

    def __init__(
        self, config: CreatorSideConfig, comes: Array, helped: Array, served: Array
    ) -> None:
        """``comes`` (n_users,): share of the days so far on which each user came."""
        shape = len(comes), config.capacity
        self.config, self.p, self.helped, self.served = config, comes.copy(), helped, served
        self.weight = config.weight
        self.item, self.made_ms = np.full(shape, -1), np.zeros(shape, np.int64)
        self.f, self.g = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
        self.needing = np.zeros(0, np.int64)
        self.sizes, self.waiting = np.zeros(len(comes), np.int64), np.zeros(len(comes), np.int64)
        self.hits = 0
        self.pool = UserPool(len(comes), UserPoolConfig(config.capacity, "both", config.active))

    def see_day(self, came: Array) -> None:
        """At night: who came, (n_users,) bool."""
        self.p += 0.15 * (came - self.p)

    def hit_rate(self) -> float:
        """Share of the matches since the last call whose user has been served since."""
        total = self.hits + int(self.waiting.sum())
        rate = self.hits / total if total else float("nan")
        self.hits, self.waiting[:] = 0, 0
        return rate

    def match(self, now_ms: int, needs: Needs, feed: Tastes, chance: np.random.Generator) -> None:
        """Fill D_u for the next hours."""
        c = self.config
        need = (needs.age <= c.oldest_days) & (needs.far < c.target) & self.helped[needs.creator]
        self.needing = needs.item[need]
        self._forget(now_ms, feed)
        if c.merge != "untargeted" and c.capacity and len(self.needing):
            order = np.lexsort((chance.random(len(self.needing)), needs.far[need]))
            self._fill(now_ms, self.needing[order], needs.creator[need][order], feed)
        self.sizes = (self.item >= 0).sum(1)

    def _forget(self, now_ms: int, feed: Tastes) -> None:
        enough = feed.seen.counts[np.maximum(self.item, 0)] >= self.config.target
        old = now_ms - self.made_ms >= self.config.ttl_hours * HOUR_MS
        self.item[enough | old] = -1

    def _fill(self, now_ms: int, items: Array, creator: Array, feed: Tastes) -> None:
        """Item after item, each with its best open users."""
        vectors = feed.item_vectors(items)
        self.pool.refresh((self.item >= 0).sum(1))
        self.pool.set_active(self.p)
        who = np.flatnonzero(self.pool.open & self.served)
        mean = feed.tastes[who, -1:] * vectors[:, -1] / UNIT
        liking = feed.tastes[who] @ vectors.T / UNIT - mean
        closed = feed.seen.table(who, items)
        closed |= feed.groups.user[who][:, None] != feed.groups.creator[creator]
        for j, item in enumerate(items.tolist()):
            free = np.flatnonzero(self.pool.open[who] & ~closed[:, j])
            free = free[(self.item[who[free]] != item).all(1)]
            if not len(free):
                continue
            score = liking[free, j]
            best = np.argsort(-score, kind="stable")[: self.config.users_per_item]
            chosen = who[free[best]]
            slot = (self.item[chosen] < 0).argmax(1)
            self.item[chosen, slot], self.made_ms[chosen, slot] = item, now_ms
            self.f[chosen, slot] = score[best] + mean[free[best], j]
            self.g[chosen, slot] = expit((score[best] - score.mean()) / (score.std() + 1e-9))
            self.pool.take(chosen)
            self.waiting[chosen] += 1

    # -- a page -------------------------------------------------------------------------------

    def slots(self, user: Array, size: int, chance: np.random.Generator) -> Array:
        """(n, size) bool: slots that are D_u's."""
        draw, c = chance.random((len(user), size)), self.config
        if c.merge == "boost":
            return np.zeros(draw.shape, bool)
        mine = self.served[user][:, None]
        if c.merge == "quota":  # so many of each page, at places drawn anew
            whole, part = int(self.weight), self.weight % 1
            many = whole + (chance.random((len(user), 1)) < part)
            return np.asarray((np.argsort(np.argsort(draw, 1), 1) < many) & mine)
        return np.asarray((draw < self.weight) & mine)

    def given(self, user: Array, seen: Seen, chance: np.random.Generator) -> Given:
        """D_u without what was shown elsewhere or has enough; for untargeted, any that need it."""
        if self.config.merge == "untargeted":
            draw = chance.random((len(user), 8)) * len(self.needing)
            some = len(self.needing) > 0
            item = self.needing[draw.astype(np.int64)] if some else np.full(draw.shape, -1)
            f = g = np.zeros(item.shape, np.float32)
        else:
            item, f, g = self.item[user], self.f[user], self.g[user]
        known = np.maximum(item, 0)
        good = (item >= 0) & ~seen.has(user, known) & (seen.counts[known] < self.config.target)
        return Given(np.where(good, item, -1), f, np.where(good, g, -9.0))

    def took(self, user: Array, item: Array, shown: Array) -> None:
        """Items (n, k) that were ``shown`` leave D_u."""
        self.hits += int(self.waiting[user].sum())
        self.waiting[user] = 0
        mine = self.item[user]
        gone = ((mine[:, :, None] == item[:, None, :]) & shown[:, None, :]).any(2)
        self.item[user] = np.where(gone, -1, mine)
