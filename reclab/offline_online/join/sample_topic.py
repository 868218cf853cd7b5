"""Sample topic: who may write a partition of ``samples``, told in the log itself.

    claim(e) = "from here on joiner e writes";  e rises with every joiner that takes the partition
    an entry counts  <=>  its epoch e = the highest epoch before it, in offset order

A joiner that was taken for dead and wakes up may still append; its epoch is old, so every reader
leaves its entries out, all of them the same ones. Claims are repeated, so that a reader that
begins anywhere finds the latest near by. Without claims (epoch 0) everything counts.
Reference: Kleppmann, Designing Data-Intensive Applications, "fencing tokens"; KIP-98 (Kafka's
producer epochs).

Simplified: readers fence; Kafka's transactions let the broker do it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from reclab.core.errors import DataError
from reclab.core.types import Array
from reclab.offline_online.join.sample_record import SAMPLE_RECORD
from reclab.offline_online.pipeline import SAMPLES
from reclab.stores.event_log import ConsumerConfig, Entries, EventLog

CLAIM = np.dtype([("magic", "<u2"), ("epoch", "<i8")])
CLAIM_MAGIC = 0x43A1
CLAIM_EVERY = 5_000  # entries of one joiner between two claims
READ = 2_000


def claim(epoch: int) -> bytes:
    """The entry by which a joiner begins to write a partition."""
    return np.array((CLAIM_MAGIC, epoch), CLAIM).tobytes()


def epochs_of(values: Sequence[bytes]) -> tuple[Array, Array]:
    """(n,) int64 epoch of each entry, -1 where it is no entry of this topic; (n,) bool: a claim."""
    size = SAMPLE_RECORD.head.itemsize
    flat = b"".join([value[:size].ljust(size, b"\0") for value in values])
    record = np.frombuffer(flat, SAMPLE_RECORD.head)
    raw = np.frombuffer(flat, np.uint8).reshape(len(values), size)
    first = np.ascontiguousarray(raw[:, : CLAIM.itemsize]).view(CLAIM)[:, 0]
    is_claim = np.asarray(first["magic"] == CLAIM_MAGIC)
    known = is_claim | (first["magic"] == SAMPLE_RECORD.magic)
    return np.where(known, np.where(is_claim, first["epoch"], record["epoch"]), -1), is_claim


class EpochFilter:
    """Reads one partition in order of offsets. ``epoch``: the highest one so far.

    >>> EpochFilter().keep([claim(1)]).tolist()
    [False]
    """

    def __init__(self, epoch: int = 0) -> None:
        self.epoch = epoch

    def keep(self, values: Sequence[bytes]) -> Array:
        """(n,) bool: the next n entries that are samples and count."""
        if not len(values):
            return np.zeros(0, bool)
        epoch, is_claim = epochs_of(values)
        highest = np.maximum(np.maximum.accumulate(epoch), self.epoch)
        self.epoch = int(highest[-1])
        return np.asarray((epoch == highest) & ~is_claim & (epoch >= 0))


def filter_at(log: EventLog, topic: str, partition: int, offset: int) -> EpochFilter:
    """A filter for who begins to read at this offset: looks back to the latest claim."""
    found, stop = EpochFilter(), offset
    while stop > 0:
        start = max(0, stop - READ)
        values = _between(log, topic, partition, start, stop)
        if values:
            epoch, is_claim = epochs_of(values)
            found.epoch = max(found.epoch, int(epoch.max()))
            if is_claim.any():
                break
        stop = start
    return found


def _between(log: EventLog, topic: str, partition: int, start: int, stop: int) -> list[bytes]:
    """Entries that are still kept of offsets start..stop − 1."""
    values: list[bytes] = []
    while start < stop:
        entries = log.read(topic, partition, start, stop - start)
        inside = int((entries.offset < stop).sum())
        values += entries.value[:inside]
        if not inside:
            break
        start = int(entries.offset[inside - 1]) + 1
    return values


@dataclass(frozen=True)
class ReadSamples:
    """Records that count, ``partition`` (n,), ``offset`` (n,), ``value`` n; ``n_fenced`` entries
    of joiners that had lost the partition."""

    partition: Array
    offset: Array
    value: list[bytes]
    n_fenced: int = 0

    def __len__(self) -> int:
        return len(self.value)


class SampleReader:
    """A member of a group that reads ``samples``: every sample once for each time it is committed.
    ``with SampleReader(log, "trainer") as reader: … reader.read(1000).value … reader.commit()``."""

    def __init__(
        self,
        log: EventLog,
        group: str,
        config: ConsumerConfig | None = None,
        topic: str = SAMPLES,
    ) -> None:
        self._log, self._topic = log, topic
        self._filters: dict[int, EpochFilter] = {}
        forget = self._forget
        self.consumer = log.consumer(topic, group, config, forget, forget, forget)

    def _forget(self, partitions: tuple[int, ...]) -> None:
        for p in partitions:
            self._filters.pop(p, None)

    def read(self, max_entries: int = 1000, wait_ms: int = 0) -> ReadSamples:
        """The next records that count; none does not mean that there were no entries."""
        entries = self.consumer.read(max_entries, wait_ms)
        keep = np.zeros(len(entries), bool)
        for p in np.unique(entries.partition).tolist():
            mine = np.flatnonzero(entries.partition == p)
            keep[mine] = self._filter(p, entries, mine).keep([entries.value[i] for i in mine])
        kept = np.flatnonzero(keep)
        values = [entries.value[i] for i in kept.tolist()]
        epoch, is_claim = epochs_of(entries.value) if len(entries) else (keep, keep)
        fenced = len(entries) - len(kept) - int(is_claim.sum()) - int((epoch < 0).sum())
        return ReadSamples(entries.partition[kept], entries.offset[kept], values, fenced)

    def _filter(self, p: int, entries: Entries, mine: Array) -> EpochFilter:
        if p not in self._filters:
            self._filters[p] = filter_at(self._log, self._topic, p, int(entries.offset[mine[0]]))
        return self._filters[p]

    def seek(self, partition: int, offset: int) -> None:
        """Replay from here."""
        if offset < 0:
            raise DataError(f"offset must be >= 0, got {offset}")
        self.consumer.seek(partition, offset)
        self._filters.pop(partition, None)

    def commit(self) -> None:
        """The group reads on from here. Raises ``PartitionLost`` as a consumer does."""
        self.consumer.commit()

    def close(self) -> None:
        """Leave the group."""
        self.consumer.close()

    def __enter__(self) -> "SampleReader":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
