"""Join snapshots: the state of a partition's join in Redis, and who may write it.

    take      epoch += 1, and the joiner that had the partition before can write no more
    put       the snapshot, if the epoch is still the writer's: one step inside Redis

Reference: Carbone et al. 2015 (Flink: asynchronous snapshots); Gray and Cheriton 1989 (leases).

Simplified: a whole snapshot each time, at most ``MOST_BYTES``; industry writes what has changed.
"""

from typing import Any

from reclab.core.errors import DataError
from reclab.stores.event_log import PartitionLost
from reclab.stores.kv import KV

MOST_BYTES = 256 << 20  # Redis takes 512 MB in one value

# keys: epoch; argument: an epoch that is known to have been -> the new epoch
_TAKE = """
local epoch = math.max(tonumber(redis.call('GET', KEYS[1]) or '0'), tonumber(ARGV[1])) + 1
redis.call('SET', KEYS[1], string.format('%.0f', epoch))
return epoch
"""
# keys: epoch, snapshot; arguments: the writer's epoch, the snapshot -> 1 if written
_PUT = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[2], ARGV[2])
return 1
"""


class Snapshots:
    """Snapshots of the partitions of a group, in a ``KV`` that forgets nothing by itself. Raises
    ``StoreDown``."""

    def __init__(self, kv: KV, group: str) -> None:
        self.kv, self.group = kv, group

    def _key(self, partition: int, what: str) -> str:
        return self.kv.key(f"{{{self.group}/{partition}}}:{what}")

    def take(self, partition: int, beyond: int = 0) -> int:
        """A new epoch, above all before and above ``beyond``."""
        with self.kv.answering():
            epoch: Any = self.kv.redis.eval(_TAKE, 1, self._key(partition, "epoch"), str(beyond))
        return int(epoch)

    def check(self, partition: int, epoch: int) -> None:
        """Raise ``PartitionLost`` if another has taken the partition."""
        with self.kv.answering():
            now: Any = self.kv.redis.get(self._key(partition, "epoch"))
        if int(now or 0) != epoch:
            raise PartitionLost(
                f"partition {partition} of group {self.group!r} was taken by another joiner: "
                f"its epoch is {int(now or 0)}, not {epoch}"
            )

    def put(self, partition: int, epoch: int, data: bytes) -> None:
        """Replace the snapshot. Raises ``PartitionLost`` when another has taken the partition."""
        if len(data) > MOST_BYTES:
            raise DataError(
                f"a snapshot of {len(data):,} bytes is over {MOST_BYTES:,}: use more partitions, a "
                "shorter window, or a smaller SampleJoinConfig.remember_ms"
            )
        keys = self._key(partition, "epoch"), self._key(partition, "snapshot")
        with self.kv.answering():
            written: Any = self.kv.redis.eval(_PUT, 2, *keys, str(epoch), data)
        if not written:
            self.check(partition, epoch)

    def get(self, partition: int) -> bytes | None:
        """The latest snapshot."""
        with self.kv.answering():
            data: Any = self.kv.redis.get(self._key(partition, "snapshot"))
        return None if data is None else bytes(data)
