"""The last two rungs (高热内容池, 运营内容池): pools kept in memory, which answer anybody at once.

    hot pool        what was popular at the last refresh; refused when empty or older than ``life``
    editors' pool   picked by hand, each with a time of publication and of expiry; enough of its
                    picks never expire, so that it always answers

A page is the first n of a pool that are published, not expired, and not in the history that the
client sent. What a client has seen comes last, before nothing at all.

Simplified: industry keeps a pool for each region and age group, and audits what editors pick.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from reclab.core.errors import DataError, check, check_float, check_int
from reclab.core.types import Array, Request, Slate
from reclab.stores.forward_index import ForwardIndex

NEVER = int(np.iinfo(np.int64).max)


class PoolEmpty(DataError):
    """A pool that has too little for a page."""


@dataclass(frozen=True)
class Pool:
    """Columns, best first: ``item_id``, ``item_row``, ``publish_ms``, ``expires_ms`` (m,)."""

    item_id: Array
    item_row: Array
    publish_ms: Array
    expires_ms: Array

    @staticmethod
    def of(index: ForwardIndex, item_ids: Array, expires_ms: Array | None = None) -> "Pool":
        """Items by id with the index's times of publication. Raises ``DataError`` for unknown ids
        or an id that is there twice."""
        ids = np.asarray(item_ids, np.int64)
        rows = index.rows(ids)
        if (rows < 0).any() or len(np.unique(ids)) < len(ids):
            raise DataError(f"a pool's items must be known and different: {int((rows < 0).sum())} "
                            f"of {len(ids)} are unknown")  # fmt: skip
        publish = np.zeros(len(ids), np.int64)
        if "publish_ms" in index:
            publish = index.get(rows, ["publish_ms"])["publish_ms"].astype(np.int64)
        expires = np.full(len(ids), NEVER) if expires_ms is None else np.asarray(expires_ms)
        return Pool(ids, rows, publish, expires)

    def __len__(self) -> int:
        return len(self.item_id)

    def page(self, request: Request) -> Slate:
        """The request's page. Raises ``PoolEmpty`` when there is not enough for it."""
        now = request.time_ms
        out = np.flatnonzero((self.publish_ms <= now) & (now < self.expires_ms))
        if request.history:
            seen = np.isin(self.item_id[out], request.history)
            out = np.concatenate([out[~seen], out[seen]])
        if len(out) < request.n:
            raise PoolEmpty(f"{len(out)} of {len(self)} items may be shown, {request.n} are wanted")
        rows = out[: request.n]
        return Slate(request, self.item_id[rows], self.item_row[rows])


class HotPool:
    """What is popular, as of the last ``refresh``; ``life_s`` until it is too old (60-86 400)."""

    def __init__(self, now_ms: Callable[[], float], life_s: float = 3600.0) -> None:
        check_float("HotPool.life_s", life_s, 0.001, 1e8, "3600")
        self.now_ms, self.life_ms = now_ms, 1000 * life_s
        self._held: tuple[Pool, float] | None = None

    def refresh(self, pool: Pool) -> None:
        """Put a new list in place of the old one, in one assignment."""
        self._held = pool, self.now_ms()

    def clear(self) -> None:
        """Forget the list."""
        self._held = None

    def page(self, request: Request) -> Slate:
        """Raises ``PoolEmpty`` when there is no list, or an old one, or a short one."""
        if self._held is None:
            raise PoolEmpty("the hot pool was never filled")
        pool, since = self._held
        if self.now_ms() - since > self.life_ms:
            age = (self.now_ms() - since) / 1000
            raise PoolEmpty(f"the hot pool is {age:.0f} s old, more than {self.life_ms / 1000:g}")
        return pool.page(request)


class EditorsPool:
    """Always answers a request for up to ``most_n`` cards made at ``since_ms`` or later: that many
    of its picks never expire, and were out by then. Raises ``ConfigError`` if they are fewer."""

    def __init__(self, picks: Pool, since_ms: int, most_n: int = 10) -> None:
        check_int("EditorsPool.most_n", most_n, 1, 100, "10")
        lasting = int(((picks.expires_ms == NEVER) & (picks.publish_ms <= since_ms)).sum())
        rule = f"hold {most_n} picks that never expire, published by {since_ms}"
        check(lasting >= most_n, "EditorsPool.picks", lasting, rule, "20-50")
        self.picks, self.since_ms, self.most_n = picks, since_ms, most_n

    def page(self, request: Request) -> Slate:
        """Never raises for a request that the pool was checked for; ``DataError`` for others."""
        if request.n > self.most_n or request.time_ms < self.since_ms:
            raise DataError(
                f"the editors' pool answers up to {self.most_n} cards from {self.since_ms} ms on, "
                f"asked for {request.n} at {request.time_ms}"
            )
        return self.picks.page(request)


def first_rows(index: ForwardIndex, score: Array, n: int, published_by_ms: int) -> Array:
    """(n,) item ids with the highest ``score`` (n_items,) among those published by a time."""
    out = np.full(len(score), True)
    if "publish_ms" in index:
        out = index["publish_ms"] <= published_by_ms
    order = np.argsort(np.where(out, -score, np.inf), kind="stable")
    return index.ids[order[: min(n, int(out.sum()))]]


__all__: Sequence[str] = ["NEVER", "EditorsPool", "HotPool", "Pool", "PoolEmpty", "first_rows"]
