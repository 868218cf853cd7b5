"""What an event log (消息队列) is, whoever keeps it: topics cut into partitions, numbered entries.

partition(key) = CRC32(key) mod n, so a key's entries stay in order; lag = end − committed. A group
shares the partitions of a topic. It reads on from what it committed, so what a dead member had
read and not committed is read again: at least once, and effects downstream must bear repetition.
Reference: chapter 2.3.1, "Kafka"; Kreps, Narkhede, Rao: Kafka (NetDB 2011).

Simplified: no transactions over several partitions, no compaction, a topic keeps its partitions.
"""

import re
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, Self

import numpy as np

from reclab.core.errors import DataError, ReclabError, check, check_int
from reclab.core.types import Array

MAX_ENTRY = 1_000_000  # bytes of key and value: what Kafka takes unless told otherwise
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}")

Partitions = tuple[int, ...]
OnChange = Callable[[Partitions], object]


class UnknownTopic(DataError):
    """Nobody created this topic; the message lists those that there are."""


class PartitionLost(ReclabError, RuntimeError):
    """A commit for partitions that belong to another consumer of the group by now."""


class Unsupported(ReclabError, NotImplementedError):
    """This server cannot do that; the message says what to do instead."""


class Entry(NamedTuple):
    """One entry; ``key`` is empty when it was given none."""

    partition: int
    offset: int
    time_ms: int
    key: bytes
    value: bytes


@dataclass(frozen=True)
class Entries:
    """What a read gave: equally long columns; in order within each partition.

    ``partition`` (n,) int32; ``offset`` (n,) int64, 0, 1, 2, … in its partition; ``time_ms`` (n,)
    int64, when appended; ``key`` and ``value`` n byte strings each.
    """

    partition: Array
    offset: Array
    time_ms: Array
    key: list[bytes]
    value: list[bytes]

    def __len__(self) -> int:
        return len(self.value)

    def __iter__(self) -> Iterator[Entry]:
        columns = (self.partition.tolist(), self.offset.tolist(), self.time_ms.tolist())
        return map(Entry, *columns, self.key, self.value)

    def first(self, n: int) -> "Entries":
        """At most n of them."""
        if len(self) <= n:
            return self
        columns = (self.partition[:n], self.offset[:n], self.time_ms[:n])
        return Entries(*columns, self.key[:n], self.value[:n])

    @staticmethod
    def join(parts: Sequence["Entries"]) -> "Entries":
        """All of the parts, one after the other."""
        if len(parts) == 1:
            return parts[0]
        if not parts:
            return Entries(np.zeros(0, np.int32), np.zeros(0, int), np.zeros(0, int), [], [])
        columns = zip(*((p.partition, p.offset, p.time_ms) for p in parts), strict=True)
        partition, offset, time_ms = (np.concatenate(column) for column in columns)
        keys = [key for part in parts for key in part.key]
        return Entries(partition, offset, time_ms, keys, [v for part in parts for v in part.value])


@dataclass(frozen=True)
class Appended:
    """Where each entry went: ``partition`` (n,) int32 and ``offset`` (n,) int64."""

    partition: Array
    offset: Array


@dataclass(frozen=True)
class TopicConfig:
    """``partitions``: how many consumers can share the work (1-1024); ``max_entries``: kept in each
    partition (1000-10**8, None = all); ``max_age_ms``: kept for so long (60 000-10**10, None =
    ever). ``wait_for_groups``: what some group has not committed is kept beyond both limits, so a
    group that never comes back lets the topic grow; False drops it all the same. On Kafka the
    limits are those of the cluster, which never wait for a group.
    """

    partitions: int = 4
    max_entries: int | None = None
    max_age_ms: int | None = None
    wait_for_groups: bool = True

    def __post_init__(self) -> None:
        check_int("TopicConfig.partitions", self.partitions, 1, 1024, "4")
        if self.max_entries is not None:
            check_int("TopicConfig.max_entries", self.max_entries, 1, 10**10, "1000000")
        if self.max_age_ms is not None:
            check_int("TopicConfig.max_age_ms", self.max_age_ms, 1, 10**12, "3600000")


@dataclass(frozen=True)
class ConsumerConfig:
    """``session_ms``: a consumer that neither reads nor commits for so long has died, and others
    take its partitions (1000-60 000); ``heartbeat_ms``: how often it looks who else is in the
    group (50 to a third of the session); ``start``: where a group that has not committed begins,
    "earliest" or "latest"."""

    session_ms: int = 10_000
    heartbeat_ms: int = 1_000
    start: str = "earliest"

    def __post_init__(self) -> None:
        check_int("ConsumerConfig.session_ms", self.session_ms, 100, 600_000, "10000")
        most = self.session_ms // 2
        check_int("ConsumerConfig.heartbeat_ms", self.heartbeat_ms, 10, most, "a third of it")
        known = self.start in ("earliest", "latest")
        check(known, "ConsumerConfig.start", self.start, "be earliest or latest", "earliest")


@dataclass(frozen=True)
class TopicStats:
    """A topic at one moment, by partition (n_partitions,) int64: ``start`` oldest offset kept,
    ``end`` next offset, ``committed`` by the group asked for (``start`` where it has not yet);
    ``at_s``: measured time, in seconds from any origin."""

    start: Array
    end: Array
    committed: Array
    at_s: float

    @property
    def lag(self) -> Array:
        """(n_partitions,) entries that the group has not committed."""
        return self.end - np.maximum(self.committed, self.start)

    def rates_since(self, earlier: "TopicStats") -> tuple[float, float]:
        """Entries per second appended, and committed by the group, since an earlier look."""
        seconds = max(self.at_s - earlier.at_s, 1e-9)
        appended = int((self.end - earlier.end).sum()) / seconds
        return appended, int((self.committed - earlier.committed).sum()) / seconds


class Consumer(Protocol):
    """One member of a group. ``with log.consumer(topic, group) as consumer: …``; one thread."""

    topic: str
    group: str

    @property
    def assigned(self) -> Partitions:
        """Partitions that are this member's, as of the last read."""

    def read(self, max_entries: int = 1000, wait_ms: int = 0) -> Entries:
        """The next entries of its partitions, none when none came within ``wait_ms``. It also is
        the heartbeat and the moment when partitions come and go: on_revoke is called while they
        are still its own (commit there), on_lost when they are another's already, on_assign when
        they have become its own."""

    def commit(self, offsets: Mapping[int, int] | None = None) -> None:
        """The group reads on from here: ``{partition: next offset}``, default all that was read.
        Raises ``PartitionLost`` if some are not its own; the others are committed."""

    def seek(self, partition: int, offset: int) -> None:
        """Replay: the next read of this partition begins here."""

    def position(self) -> dict[int, int]:
        """The next offset to read of each of its partitions."""

    def committed(self) -> dict[int, int]:
        """The group's committed offset of each partition of the topic that has one."""

    def close(self) -> None:
        """Leave the group at once; what was not committed goes to the others."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *exc: object) -> None: ...


class EventLog(Protocol):
    """A set of topics at an address. Raises ``StoreDown`` when it does not answer,
    ``UnknownTopic`` for a topic that nobody created."""

    address: str

    def create(self, topic: str, config: TopicConfig | None = None) -> None:
        """Create a topic; nothing happens when it is there with as many partitions."""

    def topics(self) -> dict[str, int]:
        """Number of partitions of every topic."""

    def append(
        self,
        topic: str,
        values: Sequence[bytes],
        keys: Sequence[bytes | str] | None = None,
        time_ms: int | None = None,
    ) -> Appended:
        """Append entries; when it returns they are in the log. Equal keys share a partition, in
        order; without keys a batch goes to one partition, the next batch to the next. ``time_ms``:
        now, by the caller's clock (default the wall clock). After a ``StoreDown`` a part may have
        been stored. Raises ``DataError`` for entries that no log takes; then none is stored."""

    def consumer(
        self,
        topic: str,
        group: str,
        config: ConsumerConfig | None = None,
        on_assign: OnChange | None = None,
        on_revoke: OnChange | None = None,
        on_lost: OnChange | None = None,
    ) -> Consumer:
        """A new member of a group; partitions come with its first reads."""

    def read(self, topic: str, partition: int, offset: int, max_entries: int = 1000) -> Entries:
        """Entries of one partition from an offset on, without any group."""

    def stats(self, topic: str, group: str | None = None) -> TopicStats:
        """Offsets and lag."""

    def trim(self, topic: str, before: Mapping[int, int] | None = None) -> int:
        """Drop what the topic's limits say, or all ``{partition: offset}`` before these offsets,
        committed or not. Returns the number of entries dropped."""

    def reconnect(self) -> None:
        """Connect again after ``StoreDown``."""

    def close(self) -> None:
        """Let go of the connection."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *exc: object) -> None: ...


def partition_of(key: bytes, n_partitions: int) -> int:
    """The partition of a key, the same in every process and in librdkafka's own partitioner.

    >>> partition_of(b"r98765:v12345", 4)
    2
    """
    return zlib.crc32(key) % n_partitions


def now_ms() -> int:
    """The wall clock, for who gives no time."""
    return time.time_ns() // 1_000_000


def check_topic(topic: str) -> str:
    """A topic's or group's name; raises ``ConfigError`` unless every server takes it."""
    good = isinstance(topic, str) and bool(_NAME.fullmatch(topic))
    check(good, "topic or group", topic, "be a-z, 0-9, '.', '_', '-', at most 100", "events")
    return topic


def check_entries(values: Sequence[bytes], keys: Sequence[bytes | str] | None) -> list[bytes]:
    """Keys as bytes, one for each value. Raises ``DataError`` naming the first bad entry."""
    if keys is not None and len(keys) != len(values):
        raise DataError(f"{len(keys)} keys for {len(values)} entries")
    plain = [k.encode() if isinstance(k, str) else k for k in keys or [b""] * len(values)]
    for at, (key, value) in enumerate(zip(plain, values, strict=True)):
        if not isinstance(value, bytes) or not isinstance(key, bytes):
            raise DataError(f"entry {at} must be bytes, got {type(value).__name__}")
        if len(key) + len(value) > MAX_ENTRY:
            raise DataError(
                f"entry {at} has {len(key) + len(value)} bytes: at most {MAX_ENTRY} fit (store it "
                "elsewhere and append its key)"
            )
    return plain


def check_known(topic: str, known: Mapping[str, int]) -> int:
    """Partitions of a topic. Raises ``UnknownTopic``."""
    if topic not in known:
        listed = ", ".join(sorted(known)) or "none"
        raise UnknownTopic(f"no topic {topic!r} (there are: {listed}): create it first")
    return known[topic]


def check_partition(partition: int, n_partitions: int) -> None:
    """Raise ``DataError`` for a partition that the topic does not have."""
    if not 0 <= partition < n_partitions:
        raise DataError(f"no partition {partition}: the topic has 0..{n_partitions - 1}")
