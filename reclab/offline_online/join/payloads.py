"""Join payloads: the features of closing samples, fetched by the offset of their entry.

The join carries one number a card, offset << 12 | card; features stay in the log. What was read
lately is still in memory (oldest out first, by bytes), the rest is read again in runs.
Reference: chapter 2.3.1; Flink keeps such rows in RocksDB instead.

Simplified: a log that dropped an entry before its window closed loses the sample, and counts it.
"""

from collections import OrderedDict
from collections.abc import Sequence

import numpy as np

from reclab.core.types import Array
from reclab.stores.event_log import EventLog

CARD_BITS = 12
NEAR = 64  # offsets that are read along rather than asked for apart
READ = 5_000


def pointer(offset: Array, card: Array) -> Array:
    """(n,) int64: where a card is in its partition."""
    return np.asarray(offset << CARD_BITS | card)


class Payloads:
    """Entries of one partition of a topic; at most ``max_bytes`` of them in memory."""

    def __init__(self, log: EventLog, topic: str, partition: int, max_bytes: int) -> None:
        self._log, self._topic, self._partition = log, topic, partition
        self._max_bytes, self._bytes, self.n_again = max_bytes, 0, 0
        self._held: OrderedDict[int, bytes] = OrderedDict()

    def put(self, offsets: Sequence[int], values: Sequence[bytes]) -> None:
        """Keep entries that were read."""
        self._held.update(zip(offsets, values, strict=True))
        self._bytes += sum(map(len, values))
        while self._bytes > self._max_bytes and self._held:
            self._bytes -= len(self._held.popitem(last=False)[1])

    def get(self, offsets: Array) -> dict[int, bytes]:
        """Entries by offset, of rising offsets (n,); those that the log has dropped are missing."""
        wanted = offsets.tolist()
        found = {at: self._held[at] for at in wanted if at in self._held}
        missing = np.array([at for at in wanted if at not in found], np.int64)
        cuts = np.flatnonzero(np.diff(missing) > NEAR) + 1
        for run in np.split(missing, cuts) if len(missing) else []:
            found |= self._again(run)
        return found

    def _again(self, run: Array) -> dict[int, bytes]:
        found, at, stop = {}, int(run[0]), int(run[-1]) + 1
        asked = set(run.tolist())
        while at < stop:
            entries = self._log.read(self._topic, self._partition, at, min(stop - at, READ))
            if not len(entries):
                break
            pairs = zip(entries.offset.tolist(), entries.value, strict=True)
            found |= {offset: value for offset, value in pairs if offset in asked}
            at = int(entries.offset[-1]) + 1
        self.n_again += len(found)
        return found
