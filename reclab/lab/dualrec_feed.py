"""Two sides of a feed on the living platform: the user side, alone or beside a creator side.

    every night       each user's best unseen items by what the log has taught (personal)
    every few hours   new items by the same match (content), followed creators' newest (social);
                      new or starving items are matched with users of the pool: D_u
    every page        slots by channel: personal, content, social, hot, random; D_u merged in

f_ui = match of tastes + item mean, in long views an exposure; g_ui = the same without the mean,
standardised over the pool and squashed to 0 … 1.
    boost   personal slots by f + λ g for what is in D_u      quota   λ slots of a page for D_u
    mix     each slot from D_u with probability λ
    untargeted   each slot with probability λ: any starving item, to anyone

Reference: Chen et al. 2025 (WWW Companion), DualRec.
Simplified: the match is the logging policy's factorisation and topic profile, not the cascade;
``dualrec_sides`` has the creator side.
"""

from dataclasses import dataclass

import numpy as np

from reclab.core.clock import DAY_MS
from reclab.core.errors import check_float, check_int
from reclab.core.types import Array
from reclab.lab.dualrec_sides import CreatorSide, Given, Needs
from reclab.world.logging_policy import (
    FRESH,
    HOT,
    PERSONAL,
    RANDOM,
    LoggingPolicy,
    SeenItems,
    best_rows,
    spectral,
    whole,
)

SOCIAL, CREATOR = 4, 5  # channels beside the logging policy's four; FRESH is the content channel
UNIT = 4096 * 256  # of the whole-number scores
SEEN = -(2.0**24)


@dataclass(frozen=True)
class UserSideConfig:
    """The user side, which has cold-start duties of its own."""

    content: float = 0.10
    """share of slots for new items, by the user's taste (0-0.3)"""
    social: float = 0.04
    """share of slots for the newest of creators one follows (0-0.2)"""
    hot: float = 0.05
    """share of slots for what most people watched lately (0-0.3)"""
    random: float = 0.03
    """share of slots drawn uniformly (0-0.3)"""
    new_days: float = 3.0
    """age of items in the content channel, days (1-7)"""
    new_exposures: int = 50
    """exposures after which an item is not new any more (10-1000)"""
    list_length: int = 150
    """items of a personal list: a night's work for the heaviest user (50-1000)"""

    newcomers: bool = True
    """whether personal lists hold items without an exposure, by their tags and creator"""

    def __post_init__(self) -> None:
        for name in ("content", "social", "hot", "random"):
            check_float(f"UserSideConfig.{name}", getattr(self, name), 0.0, 0.5, "0.05")
        check_float("UserSideConfig.new_days", self.new_days, 0.1, 60.0, "3")
        check_int("UserSideConfig.new_exposures", self.new_exposures, 1, 10**6, "50")
        check_int("UserSideConfig.list_length", self.list_length, 20, 10_000, "150")

    @property
    def edges(self) -> Array:
        """Upper edges of the channels' shares, personal first."""
        rest = 1.0 - self.content - self.social - self.hot - self.random
        return np.cumsum([rest, self.hot, self.content, self.random])


@dataclass(frozen=True)
class Groups:
    """Who may see whom: a user meets items of creators of the own group. ``user`` (n_users,) and
    ``creator`` (n_creators,) group numbers from 0; one group: the whole platform."""

    user: Array
    creator: Array

    @property
    def n(self) -> int:
        """How many groups."""
        return int(self.user.max()) + 1


class Exposed(SeenItems):
    """Which items each user was shown, and how often each item was, by the minute."""

    def __init__(self, before: SeenItems, counts: Array, side: CreatorSide | None) -> None:
        self._bytes, self.side = before._bytes, side
        self.counts = counts.astype(np.int64)

    def table(self, users: slice | Array, item: Array) -> Array:
        if len(item) > self.BITS // 16:
            return super().table(users, item)  # type: ignore[arg-type]
        slot = item & (self.BITS - 1)  # few items: their bits alone, not every bit of a user
        bits = self._bytes[users][:, slot >> 3] >> (slot & 7).astype(np.uint8) & 1
        return np.asarray(bits.astype(bool))

    def add(self, user: Array, item: Array, shown: Array) -> None:
        super().add(user, item, shown)
        self.grow(int(item.max(initial=0)) + 1)
        self.counts += np.bincount(item[shown], minlength=len(self.counts))
        if self.side is not None:
            self.side.took(user, item, shown)

    def grow(self, n: int) -> None:
        """Room for ``n`` items."""
        self.counts = np.pad(self.counts, (0, max(n - len(self.counts), 0)))


class TwoSidedFeed(LoggingPolicy):
    """Takes over from a logging policy with all that it has learned."""

    seen: Exposed

    def __init__(
        self,
        base: LoggingPolicy,
        follows: Array,
        groups: Groups,
        config: UserSideConfig,
        side: CreatorSide | None = None,
    ) -> None:
        """``follows`` (n_users, w) creator rows, -1 = none; the platform keeps them current."""
        self.__dict__.update(base.__dict__)
        self.follows, self.groups, self.side, self.own = follows, groups, side, config
        self._grow()
        self.seen = Exposed(base.seen, self._item_n, side)
        self._edges = config.edges
        self._new = self._social = np.zeros((len(follows), 0), np.int64)

    # -- every night --------------------------------------------------------------------------

    def refresh(self, day: int, chance: np.random.Generator) -> None:
        self._grow()
        self.seen.grow(len(self.catalogue))
        self._hot = np.argsort(-self._recent, kind="stable")[: self.config.hot_items]
        self._learned()
        alive = np.arange(len(self.catalogue))
        if not self.own.newcomers:
            alive = alive[self._item_n > 0]
        self._lists, self._scores = self._best(alive, self.own.list_length)

    def _learned(self) -> None:
        """Users (n, d) and creators' factors, for the day."""
        made, n_creators = self.catalogue.creator, self._by_creator.shape[1]
        shown = np.bincount(made, self._item_n, minlength=n_creators)
        rank = min(self.config.rank, min(self._by_creator.shape) - 1)
        factors, self._factors = spectral(self._by_creator, self._user_n, shown, rank)
        tags = self._profile_sum / (self._profile_n + 15.0)
        mean = np.full((len(tags), 1), 0.125)
        self.tastes = whole(
            np.concatenate([tags, factors * self.config.factor_weight, mean], 1), 4096
        )

    def item_vectors(self, rows: Array) -> Array:
        """(m, d) of any items: tags, the creator's factors, and the item's mean, last."""
        known = rows < len(self._item_n)
        at = np.where(known, rows, 0)
        mean = np.where(known, self._item_sum[at] / (self._item_n[at] + 20.0), 0.0)
        column = 8.0 * self.config.mean_weight * mean[:, None]
        factors = self._factors[self.catalogue.creator[rows]]
        return whole(np.concatenate([self.catalogue.weights[rows], factors, column], 1), 256)

    def _best(self, pool: Array, length: int) -> tuple[Array, Array]:
        """(n_users, length) the best unseen of ``pool`` for each user and their f; -1 = none."""
        n = len(self.tastes)
        lists, scores = np.full((n, length), -1), np.zeros((n, length), np.float32)
        for group in range(self.groups.n):
            mine = pool[self.groups.creator[self.catalogue.creator[pool]] == group]
            users, items = np.flatnonzero(self.groups.user == group), self.item_vectors(mine)
            width = min(length, len(mine))
            for start in range(0, len(users) if width else 0, 500):
                block = users[start : start + 500]
                score = self.tastes[block] @ items.T
                score[self.seen.table(block, mine)] = SEEN
                best = best_rows(score, width)
                value = np.take_along_axis(score, best, 1)
                lists[block, :width] = np.where(value > SEEN, mine[best], -1)
                scores[block, :width] = value / UNIT
        return lists, scores

    # -- every few hours ----------------------------------------------------------------------

    def open_window(self, now_ms: int, chance: np.random.Generator) -> None:
        """New items, followed creators' newest, and the creator side's matches, as of now."""
        alive = int(self.catalogue.n_alive(np.array(now_ms)))
        rows = np.arange(alive)
        self.seen.grow(len(self.catalogue))
        new = self.catalogue.publish_ms[:alive] > now_ms - self.own.new_days * DAY_MS
        new &= self.seen.counts[:alive] < self.own.new_exposures
        self._new, _ = self._best(rows[new], 40)
        newest = np.full(self._by_creator.shape[1] + 1, -1)
        newest[self.catalogue.creator[:alive]] = rows
        self._social = newest[self.follows]  # -1 picks the last place, which stays -1
        same = self.groups.creator[self.follows] == self.groups.user[:, None]
        self._social = np.where(same, self._social, -1)
        if self.side is not None:
            age = (now_ms - self.catalogue.publish_ms[:alive]) / DAY_MS
            needs = Needs(rows, age, self.seen.counts[:alive], self.catalogue.creator[:alive])
            self.side.match(now_ms, needs, self, chance)

    # -- every page ---------------------------------------------------------------------------

    def page(
        self, user: Array, time_ms: Array, size: int, chance: np.random.Generator
    ) -> tuple[Array, Array, Array]:
        n, width = len(user), size + self.config.spare
        lists = self._candidates(user, time_ms, width, chance)
        channel = np.searchsorted(self._edges, chance.random((n, width)), side="right")
        if self.side is not None:
            mine = self.side.slots(user, size, chance)
            channel[:, :size] = np.where(mine, CREATOR, channel[:, :size])
        for code in (HOT, FRESH, RANDOM, SOCIAL, CREATOR):  # what a channel lacks is personal
            mine = channel == code
            there = (lists[code][0] >= 0).sum(1)[:, None]
            channel[mine & (np.cumsum(mine, 1) > there)] = PERSONAL
        item, source = np.zeros((n, width), np.int64), np.zeros((n, width), np.int8)
        for code, (rows, of) in lists.items():
            at = np.nonzero(channel == code)
            depth = (np.cumsum(channel == code, 1) - 1)[at]
            item[at], source[at] = rows[at[0], depth], of[at[0], depth]
        good = (item >= 0) & ~self.seen.has(user, np.maximum(item, 0))
        for j in range(1, width):
            good[:, j] &= (item[:, :j] != item[:, j : j + 1]).all(1)
        place = np.argsort(~good, axis=1, kind="stable")[:, :size]
        page, of, filled = (np.take_along_axis(x, place, 1) for x in (item, source, good))
        return np.maximum(page, 0), of, filled

    def _candidates(
        self, user: Array, time_ms: Array, width: int, chance: np.random.Generator
    ) -> dict[int, tuple[Array, Array]]:
        """By channel: (n, width) unseen items, -1 = no more, and which channel each is of."""
        n, alive = len(user), self.catalogue.n_alive(time_ms)[:, None]
        drawn = np.floor(chance.random((n, width)) * alive).astype(np.int64)
        hot = self._hot[(len(self._hot) * chance.random((n, width)) ** 2).astype(np.int64)]
        own, f = self._lists[user], self._scores[user]
        at = self._first(user, own, width)
        lists: dict[int, Array] = {
            PERSONAL: _taken(own, at, -1),
            HOT: self._open(user, hot, width),
            FRESH: self._open(user, self._new[user], width),
            RANDOM: self._open(user, drawn, width),
            SOCIAL: self._open(user, self._social[user], width),
            CREATOR: np.full((n, width), -1),
        }
        source: dict[int, Array] = {code: np.full((n, width), code, np.int8) for code in lists}
        if self.side is not None:
            given = self.side.given(user, self.seen, chance)
            if self.side.config.merge == "boost":
                score = _taken(f, at, -9.0)
                lists[PERSONAL], source[PERSONAL] = self._boosted(lists[PERSONAL], score, given)
            else:
                order = np.argsort(-given.f - given.g, axis=1, kind="stable")[:, :width]
                rows = np.take_along_axis(given.item, order, 1)
                lists[CREATOR][:, : rows.shape[1]] = rows
        return {code: (lists[code], source[code]) for code in lists}

    def _boosted(self, item: Array, f: Array, given: Given) -> tuple[Array, Array]:
        """The best by f + λ g of the personal list (n, width) and of D_u."""
        assert self.side is not None
        own = np.full(item.shape, PERSONAL, np.int8)
        theirs = np.full(given.item.shape, CREATOR, np.int8)
        weighted = given.f + self.side.weight * given.g
        score = np.concatenate([f, np.where(given.item >= 0, weighted, -9.0)], 1)
        order = np.argsort(-score, axis=1, kind="stable")[:, : item.shape[1]]
        every = np.concatenate([item, given.item], 1)
        source = np.concatenate([own, theirs], 1)
        return np.take_along_axis(every, order, 1), np.take_along_axis(source, order, 1)

    def _open(self, user: Array, item: Array, width: int) -> Array:
        """(n, width) the first unseen of ``item`` (n, m), -1 = no more."""
        return _taken(item, self._first(user, item, width), -1)

    def _first(self, user: Array, item: Array, width: int) -> Array:
        """(n, width) columns of the first unseen of ``item`` (n, m), -1 = no more."""
        known = np.maximum(item, 0)
        good = (item >= 0) & ~self.seen.has(user, known)
        if self.groups.n > 1:
            of = self.groups.creator[self.catalogue.creator[known]]
            good &= of == self.groups.user[user][:, None]
        place = np.cumsum(good, 1) - 1
        rows, columns = np.nonzero(good & (place < width))
        found = np.full((len(user), width), -1)
        found[rows, place[rows, columns]] = columns
        return found


def _taken(values: Array, at: Array, empty: float) -> Array:
    """``values`` (n, m) at columns ``at`` (n, k), ``empty`` where that is -1."""
    if not values.shape[1]:
        return np.full(at.shape, empty, values.dtype)
    return np.where(at >= 0, np.take_along_axis(values, np.maximum(at, 0), 1), empty)
