"""Creator side (作者侧推荐): an item asks which users in the pool are likely to want it.

    retrieve  u near V(i)  +  i2i2u  +  i2u2u  +  fans,    u in the pool, not shown i before
    rank      g_ui: nearness of the vectors, or predicted feedback less the user's bias
    give      greedy by g: want_i users an item, room_u items a user; who is full leaves the pool

The mirror of the cascade: the item is the request, users are the candidates. A block of items is
answered together, so that they compete by g and not by place in the file; between blocks the order
is drawn. Items that fell short because others took their users ask again in a smaller pool. Where
all items together want more than the pool has room for, each gets an equal share (or, "first", the
first ones get all). Nobody is ever given more than Q.
References: chapter 2, section 2.5, definition 2.4, figure 2.10; Chen et al., WWW 2025 Companion.

Simplified: industry runs this as a stream, each new item minutes after it is posted.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from reclab.core.chance import rng
from reclab.core.errors import DataError, check, check_int
from reclab.core.types import Array
from reclab.dualrec.capacity import best_first, resolve
from reclab.dualrec.matches import REASONS, Matches, MatchReport
from reclab.dualrec.pairs import Pairs, keys, known, shown_before
from reclab.dualrec.user_index import UserIndex
from reclab.dualrec.user_pool import UserPool
from reclab.stores.forward_index import ForwardIndex
from reclab.stores.user_features import UserFeatures

Channel = Callable[[Array, int, Array], tuple[Array, Array]]
"""(item rows (B,), k, open (n_users,) bool) -> (B, k) user rows, -1 padded, and scores"""
PART = 65_536  # pairs whose vectors are multiplied at a time: they stay in the cache


class Scorer(Protocol):
    """What gives g: ``fair_ranker.CreatorScore``."""

    def score(self, item_row: Array, user_row: Array, now_ms: int) -> Array:
        """(n,) float32 g of pairs."""


@dataclass(frozen=True)
class CreatorSideConfig:
    """How many users are sought and given."""

    per_item: int = 200
    """users for each item (10-1000; the paper: 200)"""
    near: int = 400
    """users retrieved by vector (per_item … 5 per_item): reserve for those lost to other items"""
    each: int = 100
    """users retrieved by each other channel (0 … per_item)"""
    block: int = 1024
    """items answered together (1 … 8192): the more, the fairer; the fewer, the fresher the pool"""
    rounds: int = 2
    """how often an item may ask (1 … 5)"""
    short: str = "share"
    """where the pool has too little room for all: "share" it equally, or the "first" get all"""
    seed: int = 0
    """of the order in which blocks are drawn"""

    def __post_init__(self) -> None:
        check_int("CreatorSideConfig.per_item", self.per_item, 1, 100_000, "200")
        check_int("CreatorSideConfig.near", self.near, 1, 1_000_000, "400")
        check_int("CreatorSideConfig.each", self.each, 0, 100_000, "100")
        check_int("CreatorSideConfig.block", self.block, 1, 65_536, "1024")
        check_int("CreatorSideConfig.rounds", self.rounds, 1, 100, "2")
        among = ("share", "first")
        check(
            self.short in among, "CreatorSideConfig.short", self.short, "be share or first", "share"
        )


class CreatorSide:
    """``match(item_ids, now_ms)``; the pool's counts move with every block.

    ``item_vectors`` (n_items, d) go with the vectors of ``index``; ``channels`` by reason (i2i2u,
    i2u2u, fans); ``users`` gives who was shown what before (None = nobody); without a ``scorer``
    g is the product of the vectors.
    """

    def __init__(
        self,
        items: ForwardIndex,
        user_ids: Array,
        index: UserIndex,
        item_vectors: Array,
        pool: UserPool,
        channels: Mapping[str, Channel] | None = None,
        users: UserFeatures | None = None,
        scorer: Scorer | None = None,
        config: CreatorSideConfig | None = None,
    ) -> None:
        self.config = config or CreatorSideConfig()
        self.items, self.user_ids, self.index, self.pool = items, user_ids, index, pool
        self.channels = dict(channels or {})
        self.item_vectors, self.users, self.scorer = item_vectors, users, scorer
        strange = set(self.channels) - set(REASONS[1:])
        if strange:
            raise DataError(f"channels must be among {', '.join(REASONS[1:])}, got {strange}")
        if not len(user_ids) == len(pool) == len(index.vectors):
            sizes = f"{len(user_ids)} ids, {len(pool)} counts, {len(index.vectors)} vectors"
            raise DataError(f"users must be the same everywhere, got {sizes}")

    def match(
        self,
        item_ids: Array,
        now_ms: int,
        withdrawn_ids: Array | None = None,
        progress: Callable[[float, str], None] | None = None,
    ) -> tuple[Matches, MatchReport]:
        """Users for ``item_ids`` (m,), by item in the order given, best first; and the account.

        An empty pool, Q = 0 or no items give no matches; unknown, repeated and withdrawn items
        (``withdrawn_ids``, or not published by ``now_ms``) are counted. Call it again for what is
        new: what was matched before is known to the store (``regroup``), not here.
        """
        report = MatchReport(items=len(item_ids), open_before=len(self.pool.open_rows()))
        rows = self._wanted(np.asarray(item_ids, np.int64), now_ms, withdrawn_ids, report)
        room = int(self.pool.room.sum())
        want = np.full(len(rows), self.config.per_item if room else 0)
        if self.config.short == "share" and len(rows):
            want[:] = np.minimum(want, -(-room // len(rows)))
        report.want = int(want.max(initial=0))
        given = self._rounds(rows, want, now_ms, report, progress or (lambda done, text: None))
        counts = np.bincount(given.item, minlength=len(rows))
        report.matches, report.matched = len(given.item), int(np.count_nonzero(counts))
        report.without = len(rows) - report.matched
        report.short = int(np.count_nonzero((counts > 0) & (counts < want)))
        report.open_after = len(self.pool.open_rows())
        order = best_first(given.item, given.score)
        item, user, score, reason = (part[order] for part in given)
        ids = self.items.ids[rows[item]], self.user_ids[user]
        return Matches(*ids, score, reason), report

    def _wanted(
        self, ids: Array, now_ms: int, withdrawn_ids: Array | None, report: MatchReport
    ) -> Array:
        """(n,) rows of the items to be answered, each once."""
        rows = self.items.rows(ids)
        report.unknown = int(np.count_nonzero(rows < 0))
        rows = rows[rows >= 0]
        first = np.sort(np.unique(rows, return_index=True)[1])
        report.twice = len(rows) - len(first)
        rows = rows[first]
        out = np.zeros(len(rows), bool)
        if withdrawn_ids is not None:
            out |= np.isin(rows, self.items.rows(np.asarray(withdrawn_ids, np.int64)))
        if "publish_ms" in self.items:
            out |= self.items["publish_ms"][rows] > now_ms
        out |= rows >= len(self.item_vectors)  # joined after the vectors were made
        report.withdrawn = int(np.count_nonzero(out))
        return rows[~out]

    def _rounds(
        self, rows: Array, want: Array, now_ms: int, report: MatchReport,
        progress: Callable[[float, str], None],
    ) -> Pairs:  # fmt: skip
        """All blocks of the first round, then once more what fell short."""
        self.index.open(self.pool.open_rows())
        parts, want = [Pairs.none()], want.copy()
        shown = np.zeros(0, np.int64)
        if self.users is not None and len(rows):
            shown = shown_before(self.users, self.pool.open_rows(), rows, now_ms)
        for turn in range(self.config.rounds):
            todo = np.flatnonzero(want > 0)
            todo = rng(self.config.seed, "match order", turn).permutation(todo)
            if not len(todo):
                break
            if turn:  # what these items have already must not be given again
                had = Pairs.joined(parts)
                had = had.take(want[had.item] > 0)
                had_keys = keys(rows[had.item], had.user, len(self.pool))
                shown = np.sort(np.concatenate([shown, had_keys]))
            for start in range(0, len(todo), self.config.block):
                if not len(self.index.index):
                    break
                at = np.sort(todo[start : start + self.config.block])
                pairs = self._block(rows[at], want[at], shown, now_ms, report)
                parts.append(pairs.of_items(at))
                want -= np.bincount(at[pairs.item], minlength=len(want))
                progress((turn + start / max(1, len(todo))) / self.config.rounds, "matching")
        return Pairs.joined(parts)

    def _block(
        self, rows: Array, want: Array, shown: Array, now_ms: int, report: MatchReport
    ) -> Pairs:
        """Retrieve, rank and give for one block of items; the pool and the index follow."""
        pairs = self._retrieve(rows)
        if len(shown):
            new = ~known(keys(rows[pairs.item], pairs.user, len(self.pool)), shown)
            report.shown += int(len(new) - np.count_nonzero(new))
            pairs = pairs.take(new)
        report.found += len(pairs.item)
        pairs = self._ranked(pairs, rows, now_ms)
        room = self.pool.room
        taken = resolve(pairs.item, pairs.user, pairs.score, want, room)
        first = np.searchsorted(pairs.item, np.arange(len(rows)))
        best = np.arange(len(pairs.item)) - first[pairs.item] < want[pairs.item]
        report.lost += int(np.count_nonzero(best & ~taken))
        won = pairs.take(taken)
        granted = self.pool.take(won.user)
        if not granted.all():
            raise DataError(f"{int((~granted).sum())} matches beyond Q: the pool changed meanwhile")
        self.index.leave(won.user[~self.pool.open[won.user]])
        return won

    def _retrieve(self, rows: Array) -> Pairs:
        """All channels' users of a block, each once, under the rarest way that found it; g by
        vectors."""
        c = self.config
        near, score = self.index.find(self.item_vectors[rows], c.near)
        if not self.channels:
            item, user, reason = _listed(0, near)
            return Pairs(item, user, score[near >= 0], reason)
        found = [(REASONS.index(name), channel(rows, c.each, self.pool.open)[0])
                 for name, channel in self.channels.items() if c.each]  # fmt: skip
        found = [*sorted(found, key=lambda one: -one[0]), (0, near)]
        item, user, reason = (
            np.concatenate(part) for part in zip(*(_listed(*one) for one in found), strict=True)
        )
        first = np.unique(item * np.int64(len(self.pool)) + user, return_index=True)[1]
        item, user, reason = item[first], user[first], reason[first]
        return Pairs(item, user, self._nearness(rows[item], user), reason)

    def _nearness(self, item_row: Array, user_row: Array) -> Array:
        """(n,) products of the vectors of pairs."""
        found = np.zeros(len(item_row), np.float32)
        for start in range(0, len(found), PART):
            part = slice(start, start + PART)
            mine, theirs = self.item_vectors[item_row[part]], self.index.vectors[user_row[part]]
            found[part] = np.einsum("nd,nd->n", mine, theirs)
        return found

    def _ranked(self, pairs: Pairs, rows: Array, now_ms: int) -> Pairs:
        """The same pairs with g, each item's best first."""
        if self.scorer is None and not self.channels:
            return pairs  # as the index gave them
        g = pairs.score
        if self.scorer is not None:
            g = self.scorer.score(rows[pairs.item], pairs.user, now_ms)
        order = best_first(pairs.item, g)
        return Pairs(pairs.item, pairs.user, g, pairs.reason).take(order)


def _listed(reason: int, user_rows: Array) -> tuple[Array, Array, Array]:
    """(B, k) user rows, -1 padded -> items, users and reasons of all that are there."""
    there = user_rows >= 0
    item = np.repeat(np.arange(len(user_rows)), np.count_nonzero(there, axis=1))
    return item, user_rows[there], np.full(len(item), reason, np.int8)
