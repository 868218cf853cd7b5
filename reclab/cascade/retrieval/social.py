"""Social retrieval (关注关系召回): what the creators you follow posted, and what your circle liked.

    t_uc     = 1 if u follows c, else 1 - (1 - s)^likes     s = what one like, comment, share ties
    post(i)  = t_{u, author(i)} * 2^(-(now - published_i) / fresh)
    c_uv     = cosine of the rows f_u, f_v of follows (c = 1 if u follows v);  the F nearest stay
    circle(i) = sum over friends v and their last L likes i of  c_uv * 2^(-(now - liked) / fresh)
    score(i) = post(i) + b * circle(i)

Followed creators who are users themselves count as friends. Where creators and users are different
identities, as on the simulated platform, nobody's own likes can be read from a follow: the circle
is then those who follow the same creators.

Reference: Ma, Zhou, Liu, Lyu and King, Recommender Systems with Social Regularization, WSDM 2011.
Simplified: co-follows stand in for friends where the logs know creators but not their accounts;
industry fans a post out to its followers' inboxes and learns the strength of each tie.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

import numpy as np
import scipy.sparse as sp

from reclab.cascade.batch import Batch
from reclab.cascade.retrieval.content import unit_rows
from reclab.cascade.retrieval.events import halvings
from reclab.cascade.retrieval.packed import write_best
from reclab.core.errors import NotBuilt, check_float, check_int
from reclab.core.tables import Logs, Table
from reclab.core.types import Array
from reclab.stores.arrays import Arrays, save_arrays
from reclab.stores.as_of import ragged
from reclab.stores.forward_index import ForwardIndex
from reclab.stores.row_lookup import RowLookup

SLOTS = 200_000  # posts and likes weighed at a time: bounds the memory of one block of requests
BLOCK = 2048  # users whose friends are sought at a time
TIES = ("is_like", "is_comment", "is_share", "is_forward")


@dataclass(frozen=True)
class SocialConfig:
    """How strong a tie is, how far the circle reaches, and how long news lasts."""

    like_tie: float = 0.2
    """s, tie to a creator after one like, comment or share without a follow (0 = follows only)"""
    creators: int = 30
    """strongest ties of a user that are followed up (10-200)"""
    posts: int = 20
    """latest posts of each creator that are looked at (5-100)"""
    friends: int = 20
    """F, friends kept for each user (5-200)"""
    likes: int = 20
    """L, latest likes of each friend that are looked at (5-100)"""
    fresh_hours: float = 72.0
    """half-life of a post and of a friend's like (news: 4, short video: 24-200)"""
    circle: float = 0.5
    """b, weight of the circle's likes against a followed creator's own post (0-5)"""

    def __post_init__(self) -> None:
        check_float("SocialConfig.like_tie", self.like_tie, 0.0, 1.0, "0.2")
        for name, typical in (("creators", "30"), ("posts", "20"), ("friends", "20")):
            check_int(f"SocialConfig.{name}", getattr(self, name), 1, 10_000, typical)
        check_int("SocialConfig.likes", self.likes, 1, 1000, "20")
        check_float("SocialConfig.fresh_hours", self.fresh_hours, 0.01, float("inf"), "24-200")
        check_float("SocialConfig.circle", self.circle, 0.0, 100.0, "0.5")


class SocialChannel:
    """``fit`` once, ``update`` every few minutes, ``retrieve`` for a batch. What a creator posts
    after that is found as soon as it joins the forward index."""

    name = "social"

    def __init__(self, config: SocialConfig | None = None) -> None:
        self.config = config or SocialConfig()
        self._index: ForwardIndex | None = None

    def fit(self, logs: Logs, index: ForwardIndex, until_ms: int) -> Self:
        """Read who follows and likes whom strictly before ``until_ms``. Items without an author
        have no followers, and the channel answers with the circle's likes alone."""
        self._index = index
        self._users = np.unique(logs.users["user_id"])
        self._creators = RowLookup(np.unique(_authors(index)), "author_id")
        shape = len(self._users), len(self._creators)
        self._follows = sp.csr_matrix(shape, dtype=np.float32)
        self._liked = sp.csr_matrix(shape, dtype=np.float32)
        n_likes = len(self._users), self.config.likes
        self._like_row, self._like_ms = np.full(n_likes, -1), np.zeros(n_likes, np.int64)
        past = logs.interactions
        return self.update(past.take(past["time_ms"] < until_ms))

    def update(self, events: Table) -> Self:
        """Fold in new follows and likes."""
        if self._index is None:
            raise NotBuilt("SocialChannel.update: call fit(logs, index, until_ms) first")
        self._meet()
        if len(events):
            item, user = self._index.rows(events["video_id"]), self._user_rows(events["user_id"])
            known = (item >= 0) & (user >= 0)
            creator = self._creators.rows(_authors(self._index)[item])
            ties = [events[name].astype(bool) for name in TIES if name in events]
            liked = known & np.any(ties, axis=0) if ties else np.zeros(len(known), bool)
            follow = events["is_follow"].astype(bool) if "is_follow" in events else ~known
            self._follows = self._counted(self._follows, user, creator, known & follow)
            self._follows.data[:] = 1.0
            self._liked = self._counted(self._liked, user, creator, liked)
            shown = liked if "is_like" in events else known & _positive(events)
            self._remember(user[shown], item[shown], events["time_ms"][shown])
        return self._tie()

    def _user_rows(self, user_ids: Array) -> Array:
        at = np.searchsorted(self._users, user_ids).clip(max=max(0, len(self._users) - 1))
        if not len(self._users):
            return np.full(len(user_ids), -1)
        return np.where(self._users[at] == user_ids, at, -1)

    def _counted(
        self, held: sp.csr_matrix, user: Array, creator: Array, mask: Array
    ) -> sp.csr_matrix:
        """``held`` plus one for each (user, creator) where the mask is true."""
        mask = mask & (creator >= 0)
        ones = np.ones(int(mask.sum()), np.float32)
        added = sp.csr_matrix((ones, (user[mask], creator[mask])), held.shape)
        return sp.csr_matrix(held + added)

    def _remember(self, user: Array, item: Array, time_ms: Array) -> None:
        """Put new likes in front of each user's older ones, newest first, and keep ``likes``."""
        known = self._like_row >= 0
        user = np.concatenate([np.nonzero(known)[0], user])
        item = np.concatenate([self._like_row[known], item])
        time_ms = np.concatenate([self._like_ms[known], time_ms])
        order = np.lexsort((item, -time_ms, user))
        user, item, time_ms = user[order], item[order], time_ms[order]
        place = np.arange(len(user)) - np.searchsorted(user, user)
        fits = place < self.config.likes
        shape = self._like_row.shape
        self._like_row, self._like_ms = np.full(shape, -1), np.zeros(shape, np.int64)
        self._like_row[user[fits], place[fits]] = item[fits]
        self._like_ms[user[fits], place[fits]] = time_ms[fits]

    def _meet(self) -> None:
        """Make room for creators whose items joined the forward index, and lay out all posts."""
        index = self._index
        assert index is not None
        author = _authors(index)
        fresh = np.unique(author[self._creators.rows(author) < 0])
        if len(fresh):
            self._creators.add(fresh)
        for held in (self._follows, self._liked):
            held.resize(len(self._users), len(self._creators))
        none = np.zeros(len(index), np.int64)
        self._publish = index["publish_ms"].astype(np.int64) if "publish_ms" in index else none
        creator = self._creators.rows(author)
        self._posted = np.lexsort((self._publish, creator))
        # ranks of times are small, so that (creator, time) fits one number and one binary search
        self._times, rank = np.unique(self._publish, return_inverse=True)
        self._key = (creator * np.int64(len(self._times) + 1) + rank)[self._posted]
        self._version = index.version

    def _tie(self) -> Self:
        """Choose the strongest ties and the nearest friends of every user."""
        c, n = self.config, len(self._users)
        liked = self._liked.copy()
        liked.data = 1.0 - (1.0 - np.float32(c.like_tie)) ** liked.data
        ties = self._follows.maximum(liked)
        self._creator, self._strength = _strongest(sp.csr_matrix(ties), c.creators)
        account = self._user_rows(self._creators.ids)
        named = np.flatnonzero(account >= 0)
        parts = np.ones(len(named), np.float32), (named, account[named])
        met = self._follows @ sp.csr_matrix(parts, (len(self._creators), n))
        follows = unit_rows(self._follows)
        self._friend = np.full((n, c.friends), -1)
        self._closeness = np.zeros((n, c.friends), np.float32)
        for start in range(0, n, BLOCK):  # all pairs of users would not fit in memory
            rows = slice(start, start + BLOCK)
            near = sp.csr_matrix((follows[rows] @ follows.T).maximum(met[rows]))
            owner = start + np.repeat(np.arange(near.shape[0]), np.diff(near.indptr))
            near.data[near.indices == owner] = 0.0  # nobody is their own friend
            self._friend[rows], self._closeness[rows] = _strongest(near, c.friends)
        return self

    def retrieve(self, batch: Batch, k: int) -> tuple[Array, Array]:
        """The ``k`` best by the formula among those out at each request's time, without the items
        of the history.

        Returns (B, k) item rows, best first, padded with -1 (a whole row of -1 for a user without
        ties), and (B, k) float32 scores.
        """
        if self._index is None:
            raise NotBuilt("SocialChannel.retrieve: call fit(logs, index, until_ms) first")
        if self._index.version != self._version:
            self._meet()
        n, c = len(batch.user_row), self.config
        item_row, score = np.full((n, k), -1, np.int64), np.zeros((n, k), np.float32)
        block = max(1, min(256, SLOTS // (c.creators * c.posts + c.friends * c.likes)))
        for start in range(0, n, block):
            part = slice(start, start + block)
            who, now = batch.user_row[part], batch.time_ms[part]
            owner, item, value = self._voices(who, now)
            reader, at = np.nonzero(batch.history[part] >= 0)
            if len(owner):
                write_best(
                    np.concatenate([owner, reader]),
                    np.concatenate([item, batch.history[part][reader, at]]),
                    np.append(value, np.full(len(at), -np.inf)).astype(np.float32),
                    item_row[part],
                    score[part],
                )  # what the user liked is no answer
        return item_row, score

    def _voices(self, user_row: Array, time_ms: Array) -> tuple[Array, Array, Array]:
        """Whose post or friend's like speaks for which item, and how loudly."""
        c, known = self.config, np.flatnonzero((user_row >= 0) & (user_row < len(self._users)))
        owner, place = np.nonzero(self._creator[user_row[known]] >= 0)
        creator = self._creator[user_row[known]][owner, place]
        tie, owner = self._strength[user_row[known]][owner, place], known[owner]
        first = creator * np.int64(len(self._times) + 1)
        stop = self._key.searchsorted(first + self._times.searchsorted(time_ms[owner], "right"))
        start = np.maximum(self._key.searchsorted(first), stop - c.posts)
        posted = self._posted[ragged(start, stop - start)] if len(stop) else stop
        tie, owner = np.repeat(tie, stop - start), np.repeat(owner, stop - start)
        post = tie * halvings(time_ms[owner] - self._publish[posted], c.fresh_hours)
        friend = self._friend[user_row[known]]
        likes, when = self._like_row[friend], self._like_ms[friend]  # (B', F, L)
        said = (friend[:, :, None] >= 0) & (likes >= 0) & (when < time_ms[known][:, None, None])
        reader, f, at = np.nonzero(said)
        item, liked_ms = likes[reader, f, at], when[reader, f, at]
        near, reader = self._closeness[user_row[known]][reader, f], known[reader]
        heard = c.circle * near * halvings(time_ms[reader] - liked_ms, c.fresh_hours)
        return (
            np.concatenate([owner, reader]),
            np.concatenate([posted, item]),
            np.concatenate([post, heard]),
        )

    def save(self, folder: Path) -> None:
        """Write ``social`` into the folder."""
        if self._index is None:
            raise NotBuilt("SocialChannel.save: call fit(logs, index, until_ms) first")
        held = {
            "config": np.array(json.dumps(asdict(self.config))),
            "ids": self._index.ids,
            "author": _authors(self._index),
            "publish": self._publish,
            "users": self._users,
            "creators": self._creators.ids,
            "like_row": self._like_row,
            "like_ms": self._like_ms,
        }
        for name, matrix in (("follows", self._follows), ("liked", self._liked)):
            for part in ("data", "indices", "indptr"):
                held[f"{name}_{part}"] = getattr(matrix, part)
        save_arrays(folder / "social", held)

    @classmethod
    def load(cls, folder: Path, index: ForwardIndex | None = None) -> Self:
        """Read what ``save`` wrote. With ``index``, items that join it later are found too."""
        held = Arrays(folder / "social")
        channel = cls(SocialConfig(**json.loads(str(held["config"]))))
        if index is None:
            names = {"video_id": "ids", "author_id": "author", "publish_ms": "publish"}
            index = ForwardIndex(Table({name: held[kept] for name, kept in names.items()}))
        channel._index, channel._users = index, held["users"]
        channel._creators = RowLookup(held["creators"], "author_id")
        channel._like_row, channel._like_ms = held["like_row"], held["like_ms"]
        shape = len(channel._users), len(channel._creators)
        for name in ("follows", "liked"):
            parts = tuple(held[f"{name}_{part}"] for part in ("data", "indices", "indptr"))
            setattr(channel, f"_{name}", sp.csr_matrix(parts, shape))
        return channel.update(Table())


def _authors(index: ForwardIndex) -> Array:
    """(n_items,) creators; without that column, one that nobody can follow."""
    return index["author_id"] if "author_id" in index else np.full(len(index), -1, np.int64)


def _positive(events: Table) -> Array:
    return Logs(Table(), Table(), events).positive


def _strongest(matrix: sp.csr_matrix, most: int) -> tuple[Array, Array]:
    """(n, most) columns of each row's largest values above 0, best first, -1 padded; the values.

    >>> columns, values = _strongest(sp.csr_matrix(np.array([[0, 2, 5], [0, 0, 0]])), 2)
    >>> columns.tolist(), values.tolist()
    ([[2, 1], [-1, -1]], [[5.0, 2.0], [0.0, 0.0]])
    """
    row = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    order = np.lexsort((matrix.indices, -matrix.data, row))
    place = np.arange(len(order)) - matrix.indptr[row]
    good = (place < most) & (matrix.data[order] > 0)
    order, row, place = order[good], row[good], place[good]
    columns = np.full((matrix.shape[0], most), -1)
    values = np.zeros((matrix.shape[0], most), np.float32)
    columns[row, place], values[row, place] = matrix.indices[order], matrix.data[order]
    return columns, values
