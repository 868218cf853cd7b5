"""Recent exposures: what each user was shown since the log was last written, in Redis.

put(u, items) appends and keeps the newest ``length``; get(users) -> item ids, oldest first.
Chapter 2.2 (filter of what was already exposed); it closes the gap between a page shown and the
log that will tell of it.

Simplified: industry keeps months of exposures in a Bloom filter per user.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from reclab.core.errors import check_int
from reclab.core.types import Array
from reclab.stores.kv import KV


@dataclass(frozen=True)
class ExposuresConfig:
    """``length``: newest exposures kept a user (items, 10-10 000); ``ttl_s``: seconds until a
    user's list is forgotten, by when the log has it (60-604 800)."""

    length: int = 500
    ttl_s: int = 86_400

    def __post_init__(self) -> None:
        check_int("ExposuresConfig.length", self.length, 1, 1_000_000, "500")
        check_int("ExposuresConfig.ttl_s", self.ttl_s, 1, 10**8, "86400")


class RecentExposures:
    """Lists of item ids under ``exposed:<user id>``. Raises ``StoreDown`` when Redis is gone."""

    def __init__(self, kv: KV, config: ExposuresConfig | None = None) -> None:
        self.kv, self.config = kv, config or ExposuresConfig()

    def put(self, user_id: int, item_ids: Array) -> None:
        """Remember that these items were shown to the user, in this order."""
        if not len(item_ids):
            return
        key = self.kv.key(f"exposed:{int(user_id)}")
        packed = np.asarray(item_ids, np.int64).tobytes()
        with self.kv.answering(), self.kv.redis.pipeline(transaction=True) as pipe:
            pipe.append(key, packed)
            pipe.getrange(key, -8 * self.config.length, -1)
            pipe.expire(key, self.config.ttl_s)
            held = pipe.execute()
        if held[0] > 16 * self.config.length:  # now and then, cut off what is too old
            with self.kv.answering():
                self.kv.redis.set(key, held[1], ex=self.config.ttl_s)

    def get(self, user_ids: Sequence[int]) -> list[Array]:
        """Item ids shown to each user, oldest first; empty for who was shown nothing."""
        keys = [self.kv.key(f"exposed:{int(user)}") for user in user_ids]
        with self.kv.answering():
            held: Sequence[bytes | None] = self.kv.redis.mget(keys)  # type: ignore[assignment]
        return [np.frombuffer(data or b"", np.int64)[-self.config.length :] for data in held]
