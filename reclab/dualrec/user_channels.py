"""User channels (i2i2u, i2u2u, 作者粉丝): further ways from an item to users who may like it.

    i2i2u(i, u) = sum over similar items j, and their last V viewers v_l, of  w_ij d^l [v_l = u]
    i2u2u(i, u) = sum over the last V viewers v_l of i of  d^l w_{v_l u}
    fans(i, u)  = 1 if u follows the creator of i, else 1 - (1 - s)^(likes, comments, shares)

w_ij are the user side's item-to-item weights. w_vu are the same computation with the columns of
users and items exchanged: who lately liked what v liked. A new item has few viewers or none and
then lives on the vector and the fans; one without item-to-item neighbours takes the nearest items
by vector. Whoever has liked the item is no answer, and only users in the pool are.
References: chapter 2, section 2.5; Chen et al., WWW 2025 Companion; Linden, Smith and York 2003.

Simplified: industry reads viewers from a stream and keeps the fans of large creators sampled.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import numpy as np

from reclab.cascade.retrieval.events import positives
from reclab.cascade.retrieval.item_cf import ItemCFChannel, ItemCFConfig
from reclab.cascade.retrieval.packed import write_best
from reclab.cascade.retrieval.social import TIES
from reclab.core.errors import NotBuilt, check_float, check_int
from reclab.core.tables import Logs, Table
from reclab.core.types import Array
from reclab.stores.as_of import ragged
from reclab.stores.forward_index import ForwardIndex
from reclab.stores.row_lookup import RowLookup
from reclab.stores.user_features import UserFeatures
from reclab.stores.vector_index import VectorIndex

BLOCK, SLOTS = 256, 1 << 22  # items, and votes, counted at a time
Similar = Callable[[Array], tuple[Array, Array]]
"""(B,) item rows -> (B, N) similar items' rows, -1 padded, and (B, N) weights"""


@dataclass(frozen=True)
class UserChannelsConfig:
    """How far the ways reach."""

    viewers: int = 20
    """V, latest viewers of an item that count (5-200)"""
    similar: int = 20
    """items like it, and users like them, that are asked (5-100)"""
    position_decay: float = 0.95
    """d, weight of each older viewer against the next newer one (0.5-1)"""
    like_tie: float = 0.2
    """s, tie to a creator after one like, comment or share without a follow (0 = follows only)"""

    def __post_init__(self) -> None:
        check_int("UserChannelsConfig.viewers", self.viewers, 1, 10_000, "20")
        check_int("UserChannelsConfig.similar", self.similar, 1, 1000, "20")
        check_float("UserChannelsConfig.position_decay", self.position_decay, 0.0, 1.0, "0.95")
        check_float("UserChannelsConfig.like_tie", self.like_tie, 0.0, 1.0, "0.2")


class UserChannels:
    """``fit`` once, ``update`` every few minutes; then ``i2i2u``, ``i2u2u`` and ``fans``, each
    (item rows (B,), k, open (n_users,) bool) -> (B, k) user rows, best first, -1 padded, and their
    scores (B, k) float32."""

    def __init__(
        self, similar: Similar, users: UserFeatures, config: UserChannelsConfig | None = None
    ) -> None:
        self.config = config or UserChannelsConfig()
        self.similar, self.users = similar, users
        self._items: ForwardIndex | None = None

    def fit(self, logs: Logs, index: ForwardIndex, until_ms: int) -> Self:
        """Read who liked what, and whom, strictly before ``until_ms``."""
        c = self.config
        self._items = index
        self._viewer = np.full((len(index), c.viewers), -1, np.int32)
        self._tie_key, self._tie = np.zeros(0, np.int64), np.zeros(0, np.float32)
        self._creators = RowLookup(np.zeros(0, np.int64), "author_id")
        past = logs.interactions.take(logs.interactions["time_ms"] < until_ms)
        mirrored, lookup = self._mirrored(past), RowLookup(self.users.user_ids, "user_id")
        self.user_cf = ItemCFChannel(ItemCFConfig(neighbours=c.similar))
        self.user_cf.fit(Logs(Table(), Table(), mirrored), lookup, until_ms)  # type: ignore[arg-type]
        return self._fold(past)

    def update(self, events: Table) -> Self:
        """Fold in new interactions."""
        if self._items is None:
            raise NotBuilt("UserChannels.update: call fit(logs, index, until_ms) first")
        self.user_cf.update(self._mirrored(events))
        return self._fold(events)

    @staticmethod
    def _mirrored(events: Table) -> Table:
        """The positives with users and items exchanged."""
        names = {"user_id": "video_id", "video_id": "user_id", "time_ms": "time_ms"}
        if not len(events):
            return Table({name: np.zeros(0, np.int64) for name in names})
        liked = events.take(Logs(Table(), Table(), events).positive)
        return Table({name: liked[other] for name, other in names.items()})

    def _fold(self, events: Table) -> Self:
        assert self._items is not None
        more = len(self._items) - len(self._viewer)
        if more > 0:
            self._viewer = np.pad(self._viewer, ((0, more), (0, 0)), constant_values=-1)
        if len(events):
            liked = positives(events, self._items)
            self._see(liked.item_row, self.users.rows(liked.group), liked.time_ms)
            self._bind(events)
        return self

    def _see(self, item: Array, user: Array, time_ms: Array) -> None:
        """Put new viewers in front of each item's older ones, newest first."""
        known = user >= 0
        order = np.lexsort((-time_ms[known], item[known]))
        item, user = item[known][order], user[known][order]
        old_item, place = np.nonzero(self._viewer >= 0)
        item = np.concatenate([item, old_item])
        user = np.concatenate([user, self._viewer[old_item, place]])
        order = np.argsort(item, kind="stable")  # the new ones stay in front
        item, user = item[order], user[order]
        place = np.arange(len(item)) - np.searchsorted(item, item)
        fits = place < self._viewer.shape[1]
        self._viewer = np.full_like(self._viewer, -1)
        self._viewer[item[fits], place[fits]] = user[fits]

    def _bind(self, events: Table) -> None:
        """Ties of users to creators: 1 for a follow, else by the number of likes and the like."""
        index, c, n = self._items, self.config, np.int64(len(self.users) + 1)
        assert index is not None
        if "author_id" not in index:
            return
        item, user = index.rows(events["video_id"]), self.users.rows(events["user_id"])
        author = index.get(item, ["author_id"])["author_id"]
        fresh = np.unique(author[(item >= 0) & (self._creators.rows(author) < 0)])
        self._creators.add(fresh)
        known = (item >= 0) & (user >= 0)
        key = self._creators.rows(author) * n + user
        free = np.ones(len(events))  # (1 - s)^likes: what is missing to a whole tie
        for name in (name for name in TIES if name in events):
            free *= np.where(events[name], 1.0 - c.like_tie, 1.0)
        if "is_follow" in events:
            free[events["is_follow"].astype(bool)] = 0.0
        tied = known & (free < 1.0)
        keys = np.concatenate([self._tie_key, key[tied]])
        free = np.concatenate([1.0 - self._tie, free[tied]])
        order = np.argsort(keys, kind="stable")
        keys, free = keys[order], free[order]
        first = np.flatnonzero(np.append(True, keys[1:] != keys[:-1])[: len(keys)])
        self._tie_key = keys[first]
        missing = np.multiply.reduceat(free, first) if len(first) else free
        self._tie = (1.0 - missing).astype(np.float32)

    # -- find -------------------------------------------------------------------------------

    def viewers(self, item_row: Array) -> Array:
        """(…, V) user rows of the latest viewers, newest first, -1 padded."""
        known = (item_row >= 0) & (item_row < len(self._viewer))
        return np.where(known[..., None], self._viewer[np.where(known, item_row, 0)], -1)

    def i2i2u(self, item_row: Array, k: int, open: Array) -> tuple[Array, Array]:
        """Viewers of similar items."""

        def votes(rows: Array) -> tuple[Array, Array, Array]:
            near, weight = (part[:, : self.config.similar] for part in self.similar(rows))
            users = self.viewers(near)
            return _flat(users, weight[..., None] * self._fade(users.shape[-1]))

        return self._elect(item_row, k, open, votes)

    def i2u2u(self, item_row: Array, k: int, open: Array) -> tuple[Array, Array]:
        """Users like the item's viewers."""

        def votes(rows: Array) -> tuple[Array, Array, Array]:
            seen = self.viewers(rows)
            near, weight = self.user_cf.neighbours(np.maximum(seen, 0))
            near = np.where((seen >= 0)[..., None], near, -1)
            return _flat(near, weight * self._fade(seen.shape[1])[:, None])

        return self._elect(item_row, k, open, votes)

    def fans(self, item_row: Array, k: int, open: Array) -> tuple[Array, Array]:
        """Followers of the creator, and who liked the creator's items."""

        def votes(rows: Array) -> tuple[Array, Array, Array]:
            assert self._items is not None
            n = np.int64(len(self.users) + 1)
            if "author_id" not in self._items:
                return _flat(np.zeros((len(rows), 0), np.int64), np.zeros((len(rows), 0)))
            author = self._items.get(rows, ["author_id"])["author_id"]
            creator = self._creators.rows(author)
            first = self._tie_key.searchsorted(creator * n)
            stop = np.where(creator >= 0, self._tie_key.searchsorted(creator * n + n), first)
            at, owner = ragged(first, stop - first), np.repeat(np.arange(len(rows)), stop - first)
            return owner, self._tie_key[at] % n, self._tie[at]

        return self._elect(item_row, k, open, votes)

    def _fade(self, n: int) -> Array:
        return np.float32(self.config.position_decay) ** np.arange(n, dtype=np.float32)

    def _elect(
        self,
        item_row: Array,
        k: int,
        open: Array,
        votes: Callable[[Array], tuple[Array, Array, Array]],
    ) -> tuple[Array, Array]:
        """The ``k`` users in the pool with most votes of each item, its viewers left out."""
        if self._items is None:
            raise NotBuilt("UserChannels: call fit(logs, index, until_ms) first")
        rows = np.full((len(item_row), k), -1, np.int64)
        score = np.zeros((len(item_row), k), np.float32)
        todo = [slice(at, at + BLOCK) for at in range(0, len(item_row), BLOCK)]
        while todo:
            part = todo.pop()
            items = item_row[part]
            owner, user, value = votes(items)
            if len(owner) > SLOTS and len(items) > 1:  # creators with very many fans
                middle = part.start + len(items) // 2
                todo += [slice(part.start, middle), slice(middle, part.start + len(items))]
                continue
            mine = open[user] & (value > 0)
            if mine.any():
                at, place = np.nonzero(self.viewers(items) >= 0)
                seen = self.viewers(items)[at, place]
                write_best(
                    np.concatenate([owner[mine], at]),
                    np.concatenate([user[mine], seen]),
                    np.append(value[mine], np.full(len(at), -np.inf)).astype(np.float32),
                    rows[part],
                    score[part],
                )  # who liked it is no answer
        return rows, score


def similar_items(item_cf: ItemCFChannel, vectors: Array, k: int = 20) -> Similar:
    """Item-to-item neighbours; where there are none, the ``k`` nearest by vector (n_items, d)."""
    index = VectorIndex(vectors.shape[1])
    index.add(np.arange(len(vectors)), vectors)

    def similar(rows: Array) -> tuple[Array, Array]:
        ids, weights = (part[:, :k].copy() for part in item_cf.neighbours(rows))
        lonely = np.flatnonzero((ids[:, 0] < 0) & (rows < len(vectors)))
        if len(lonely):
            scores, near = index.search(vectors[rows[lonely]], k)
            near = np.where(near == rows[lonely, None], -1, near)[:, : ids.shape[1]]
            ids[lonely, : near.shape[1]] = near
            weights[lonely, : near.shape[1]] = np.maximum(scores[:, : near.shape[1]], 0.0)
        return ids, weights

    return similar


def _flat(users: Array, weight: Array) -> tuple[Array, Array, Array]:
    """(B, …) users and their weights -> whose each is, user rows and weights, padding left out."""
    weight = np.broadcast_to(weight, users.shape)
    there = users >= 0
    return np.nonzero(there)[0], users[there].astype(np.int64), weight[there]
