"""Degradation cache (降级缓存): ranks 11 to 30 of each healthy answer, kept for a bad hour.

    healthy:   put(u, ranks 11 ... 30 with their scores)      replaces what u had
    degraded:  take(u, 10), take(u, 10), ...                  best first, each item once

Every step is one command or one script in Redis, so that two requests of one user at the same
moment cannot be handed the same item, and none is lost between them.
Chapter 2, definition 2.2.

Simplified: industry keeps such lists for minutes, with the model's score, and re-applies all rules
on reading.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from reclab.core.errors import DataError, check_float, check_int
from reclab.core.types import Array, Slate
from reclab.stores.kv import KV

ENTRY = np.dtype([("item_id", "<i8"), ("score", "<f8")])

# KEYS[1] the user's list; ARGV[1] how many; the rest: item ids (8 bytes) that may not be handed
# out, and leave the list. Everything in front of the last entry handed out is gone after it.
TAKE = """
local out, barred, wanted, read = {}, {}, tonumber(ARGV[1]), 0
for i = 2, #ARGV do barred[ARGV[i]] = true end
for i, entry in ipairs(redis.call('LRANGE', KEYS[1], 0, -1)) do
  if #out == wanted then break end
  read = i
  if not barred[string.sub(entry, 1, 8)] then out[#out + 1] = entry end
end
if read > 0 then redis.call('LTRIM', KEYS[1], read, -1) end
return out
"""
# KEYS[1] the user's list; ARGV: entries wanted. Those that are still there leave it.
CLAIM = """
local got = {}
for i, entry in ipairs(ARGV) do got[i] = redis.call('LREM', KEYS[1], 1, entry) end
return got
"""


@dataclass(frozen=True)
class DegradationCacheConfig:
    """How much is kept, and how long."""

    first: int = 11
    """first rank of an answer that is kept: those before it are shown (2-101)"""
    last: int = 30
    """last rank that is kept (first ... 100)"""
    ttl_s: float = 86_400.0
    """seconds until a user's list is forgotten (180-259 200); minutes where things age fast, as
    news do; on the simulated platform a list of yesterday keeps nine tenths of its value"""

    def __post_init__(self) -> None:
        check_int("DegradationCacheConfig.first", self.first, 1, 1000, "11")
        check_int("DegradationCacheConfig.last", self.last, self.first, 1000, "30")
        check_float("DegradationCacheConfig.ttl_s", self.ttl_s, 0.001, 1e8, "86400")


class Cached(NamedTuple):
    """Items of one user, best first: ``item_id`` (k,) int64 and the model's ``score`` (k,)."""

    item_id: Array
    score: Array


class DegradationCache:
    """Lists under ``degraded:<user id>``. Raises ``StoreDown`` when Redis is gone."""

    def __init__(self, kv: KV, config: DegradationCacheConfig | None = None) -> None:
        self.kv, self.config = kv, config or DegradationCacheConfig()
        self._take = kv.redis.register_script(TAKE)
        self._claim = kv.redis.register_script(CLAIM)

    def _key(self, user_id: int) -> str:
        return self.kv.key(f"degraded:{int(user_id)}")

    def put(self, user_id: int, item_ids: Array, scores: Array) -> None:
        """Replace the user's list by these items, best first. Raises ``DataError`` for items twice
        or scores that are no numbers; then nothing is stored."""
        entries = np.zeros(len(item_ids), ENTRY)
        entries["item_id"], entries["score"] = item_ids, scores
        if len(np.unique(entries["item_id"])) < len(entries):
            raise DataError(f"degradation cache of user {user_id}: an item is listed twice")
        if np.isnan(entries["score"]).any():
            raise DataError(f"degradation cache of user {user_id}: a score is NaN")
        key, life_ms = self._key(user_id), round(self.config.ttl_s * 1000)
        with self.kv.answering(), self.kv.redis.pipeline(transaction=True) as pipe:
            pipe.delete(key)
            if len(entries):
                pipe.rpush(key, *(entry.tobytes() for entry in entries))
                pipe.pexpire(key, life_ms)
            pipe.execute()

    def remember(self, slate: Slate, score: str = "rank_score") -> Slate:
        """Keep ranks ``first`` ... ``last`` of a healthy answer that was asked with ``n = last``,
        and return what is in front of them, to be shown."""
        shown, kept = (
            slice(0, self.config.first - 1),
            slice(self.config.first - 1, self.config.last),
        )
        scores = np.nan_to_num(slate.columns[score][kept], nan=0.0)  # of the hot pool: no score
        self.put(slate.request.user_id, slate.item_id[kept], scores)
        columns = {name: values[shown] for name, values in slate.columns.items()}
        return Slate(slate.request, slate.item_id[shown], slate.item_row[shown], columns)

    def peek(self, user_ids: Sequence[int]) -> list[Cached]:
        """What each user has, best first, without taking it."""
        with self.kv.answering(), self.kv.redis.pipeline(transaction=False) as pipe:
            for user_id in user_ids:
                pipe.lrange(self._key(user_id), 0, -1)
            held = pipe.execute()
        return [_cached(entries) for entries in held]

    def take(self, user_id: int, k: int, exclude: Sequence[int] = ()) -> Cached:
        """Hand out the user's best ``k`` that are not in ``exclude``; they leave the list, and so
        do the excluded ones in front of them. The rest stays for the next time."""
        check_int("DegradationCache.take k", k, 1, 1000, "10")
        barred = [np.int64(item).tobytes() for item in exclude]
        with self.kv.answering():
            client, keys = self.kv.redis, [self._key(user_id)]
            return _cached(self._take(keys=keys, args=[k, *barred], client=client))

    def claim(self, user_ids: Sequence[int], wanted: Sequence[Cached]) -> list[Array]:
        """Take exactly these entries (as ``peek`` gave them): for each user, (k,) bool whether the
        entry was still there and is now the caller's."""
        with self.kv.answering(), self.kv.redis.pipeline(transaction=False) as pipe:
            for user_id, some in zip(user_ids, wanted, strict=True):
                entries = np.zeros(len(some.item_id), ENTRY)
                entries["item_id"], entries["score"] = some
                args = [entry.tobytes() for entry in entries]
                self._claim(keys=[self._key(user_id)], args=args, client=pipe)
            got = pipe.execute()
        return [np.array(flags, bool) for flags in got]


def _cached(entries: Sequence[bytes]) -> Cached:
    held = np.frombuffer(b"".join(entries), ENTRY)
    return Cached(held["item_id"].copy(), held["score"].copy())
