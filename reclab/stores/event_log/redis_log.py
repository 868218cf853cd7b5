"""The event log on Redis Streams: each partition a stream, an append one script a partition.

offset of an entry = its stream id − 1; a whole batch travels in one string each way. With a folder
every append is on the disk before it is acknowledged (append-only file, fsync always), so a killed
server comes back with all of it.
Reference: Redis documentation: streams, persistence; chapter 2.3.1.

By the address of a Redis Cluster the partitions are spread over its nodes.

Simplified: a partition has no replica here; Kafka, or a cluster with replicas, keeps several.
"""

import json
import struct
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self

import numpy as np

from reclab.core.errors import ConfigError, check_int
from reclab.core.types import Array
from reclab.stores.event_log import scripts
from reclab.stores.event_log.contract import (
    Appended,
    ConsumerConfig,
    Entries,
    OnChange,
    TopicConfig,
    TopicStats,
    check_entries,
    check_known,
    check_partition,
    check_topic,
    now_ms,
    partition_of,
)
from reclab.stores.event_log.redis_consumer import RedisConsumer
from reclab.stores.kv import KV, KVConfig

CHUNK = 2_000  # entries that one script appends: a few ms in which Redis hears nobody else
GO = 20_000  # entries that one round trip carries
BATCH_LIFE_MS = 60_000  # how long a batch is known by its name: longer than any client's retry
READ_BYTES = 8_000_000  # at most, from one partition in one read
_LENGTHS = struct.Struct("<II").pack
_HEAD = np.dtype([("offset", "<i8"), ("time_ms", "<i8"), ("key", "<i4"), ("value", "<i4")])


class RedisEventLog:
    """``EventLog`` on a Redis by ``url``, or on a server of our own, which keeps what it holds in
    ``folder`` (None = only in memory). Who gives the same address and namespace shares the log."""

    def __init__(
        self, url: str | None = None, namespace: str = "log", folder: Path | None = None
    ) -> None:
        self.kv = KV(url, namespace, KVConfig(folder=folder))
        self._durable = folder is not None
        self._set_up()

    def _set_up(self) -> None:
        self.address = self.kv.address
        self._known: dict[str, TopicConfig] = {}
        self._turn = 0
        self._untrimmed: dict[str, int] = {}
        if self._durable:
            with self.kv.answering():
                self.kv.redis.config_set("appendfsync", "always")

    # -- topics -------------------------------------------------------------------------------

    def create(self, topic: str, config: TopicConfig | None = None) -> None:
        """Create a topic; its limits may be changed by creating it again, its partitions not."""
        config, name = config or TopicConfig(), check_topic(topic)
        text = json.dumps(asdict(config))
        with self.kv.answering():
            if not self.kv.redis.hsetnx(self.kv.key("topics"), name, text):
                there = self._topic(topic, anew=True).partitions
                if there != config.partitions:
                    raise ConfigError(
                        f"topic {topic!r} has {there} partitions, and cannot get "
                        f"{config.partitions}: that would move keys; create another topic"
                    )
                self.kv.redis.hset(self.kv.key("topics"), name, text)
        self._known[topic] = config

    def topics(self) -> dict[str, int]:
        """Number of partitions of every topic."""
        with self.kv.answering():
            held: Any = self.kv.redis.hgetall(self.kv.key("topics"))
        found = {name.decode(): TopicConfig(**json.loads(text)) for name, text in held.items()}
        self._known = dict(found)
        return {name: config.partitions for name, config in sorted(found.items())}

    def _topic(self, topic: str, anew: bool = False) -> TopicConfig:
        if anew or topic not in self._known:
            check_known(topic, self.topics())
        return self._known[topic]

    def stream(self, topic: str, partition: int) -> str:
        """Key of a partition's stream. What is in braces decides the slot of a Redis Cluster."""
        return self.kv.key(f"{{{topic}/{partition}}}:entries")

    def _counter(self, topic: str, partition: int) -> str:
        return self.kv.key(f"{{{topic}/{partition}}}:next")

    def group_key(self, topic: str, group: str, what: str) -> str:
        """Key of a group's ``leases``, ``owners`` or ``committed``."""
        return self.kv.key(f"{{{topic}}}:{group}:{what}")

    def run(self, script: str, calls: Sequence[tuple[Sequence[str], Sequence[Any]]]) -> list[Any]:
        """Answers of one script to several calls (keys, arguments), in one round trip. The first
        call carries the script's text, so that the others find it whatever restarted before."""
        with self.kv.answering(), self.kv.redis.pipeline(transaction=False) as pipe:
            for at, (keys, arguments) in enumerate(calls):
                if at == 0 or self.kv.is_cluster:  # any of its nodes may not know the script yet
                    # named as a command: a cluster's pipeline has it, but not as a method
                    pipe.execute_command(  # type: ignore[no-untyped-call]
                        "EVAL", script, len(keys), *keys, *arguments
                    )
                else:
                    pipe.evalsha(scripts.SHA[script], len(keys), *keys, *arguments)
            answers: list[Any] = pipe.execute()
        return answers

    # -- append and read ----------------------------------------------------------------------

    def append(
        self,
        topic: str,
        values: Sequence[bytes],
        keys: Sequence[bytes | str] | None = None,
        time_ms: int | None = None,
    ) -> Appended:
        """Append entries, ``CHUNK`` a script, ``GO`` a round trip."""
        plain, n = check_entries(values, keys), self._topic(topic).partitions
        where = self._partitions(plain, keys is not None, n)
        offset = np.zeros(len(values), np.int64)
        when = now_ms() if time_ms is None else int(time_ms)
        for start in range(0, len(values), GO):
            chunks, calls = [], []
            for p in np.unique(where[start : start + GO]).tolist():
                rows = start + np.flatnonzero(where[start : start + GO] == p)
                for chunk in np.split(rows, range(CHUNK, len(rows), CHUNK)):
                    packed = _pack([plain[i] for i in chunk], [values[i] for i in chunk])
                    chunks.append(chunk)
                    calls.append((self._keys(topic, p), (when, BATCH_LIFE_MS, packed)))
            for chunk, base in zip(chunks, self.run(scripts.APPEND, calls), strict=True):
                offset[chunk] = base + np.arange(len(chunk))
        self._bound(topic, len(values), when)
        return Appended(where, offset)

    def _partitions(self, keys: list[bytes], keyed: bool, n: int) -> Array:
        """(n,) int32: by key; what has none goes together, each batch to the next partition."""
        if keyed:
            return np.array([partition_of(key, n) if key else 0 for key in keys], np.int32)
        self._turn += 1
        return np.full(len(keys), self._turn % n, np.int32)

    def _keys(self, topic: str, partition: int) -> tuple[str, str, str]:
        batch = self.kv.key(f"{{{topic}/{partition}}}:batch:{uuid.uuid4().hex}")
        return self.stream(topic, partition), self._counter(topic, partition), batch

    def fetch(self, topic: str, offsets: Mapping[int, int], max_entries: int) -> Entries:
        """At most so many entries of each of the partitions, each from its offset on."""
        if not offsets:
            return Entries.join([])
        calls = [
            ((self.stream(topic, p),), (offset, max_entries, READ_BYTES))
            for p, offset in offsets.items()
        ]
        found = zip(offsets, self.run(scripts.READ, calls), strict=True)
        return Entries.join([_unpack(p, *answer) for p, answer in found if answer[0]])

    def read(self, topic: str, partition: int, offset: int, max_entries: int = 1000) -> Entries:
        """Entries of one partition from an offset on, without any group."""
        check_partition(partition, self._topic(topic).partitions)
        check_int("max_entries", max_entries, 1, 1_000_000, "1000")
        return self.fetch(topic, {partition: max(int(offset), 0)}, max_entries)

    def consumer(
        self,
        topic: str,
        group: str,
        config: ConsumerConfig | None = None,
        on_assign: OnChange | None = None,
        on_revoke: OnChange | None = None,
        on_lost: OnChange | None = None,
    ) -> RedisConsumer:
        """A new member of a group; partitions come with its first reads."""
        n = self._topic(topic, anew=True).partitions
        with self.kv.answering():
            self.kv.redis.sadd(self.kv.key(f"{{{topic}}}:groups"), check_topic(group))
        changes = (on_assign, on_revoke, on_lost)
        return RedisConsumer(self, topic, group, n, config or ConsumerConfig(), changes)

    # -- what there is, and what is dropped ---------------------------------------------------

    def ends(self, topic: str) -> tuple[Array, Array]:
        """(n_partitions,) int64 each: oldest offset kept, next offset."""
        partitions = range(self._topic(topic).partitions)
        with self.kv.answering(), self.kv.redis.pipeline(transaction=False) as pipe:
            for p in partitions:
                pipe.get(self._counter(topic, p))
                pipe.xrange(self.stream(topic, p), count=1)
            found = pipe.execute()
        end = np.array([int(number or 0) for number in found[::2]])
        oldest = [int(first[0][0].split(b"-")[0]) - 1 if first else -1 for first in found[1::2]]
        return np.where(np.array(oldest) < 0, end, oldest), end

    def committed(self, topic: str, group: str) -> dict[int, int]:
        """Committed offset of each partition that has one."""
        with self.kv.answering():
            held: Any = self.kv.redis.hgetall(self.group_key(topic, group, "committed"))
        return {int(p): int(offset) for p, offset in held.items()}

    def stats(self, topic: str, group: str | None = None) -> TopicStats:
        """Offsets and lag."""
        start, end = self.ends(topic)
        committed = start.copy()
        for p, offset in (self.committed(topic, group) if group else {}).items():
            committed[p] = offset
        return TopicStats(start, end, committed, time.monotonic())

    def _bound(self, topic: str, n_new: int, when: int) -> None:
        """Trim now and then: after a twentieth of what is kept, or a thousand entries."""
        config = self._known[topic]
        if config.max_entries is None and config.max_age_ms is None:
            return
        new = self._untrimmed.get(topic, 0) + n_new
        if new >= max(1, (config.max_entries or 20_000) * config.partitions // 20):
            self._trim_to_limits(topic, when)
            new = 0
        self._untrimmed[topic] = new

    def trim(self, topic: str, before: Mapping[int, int] | None = None) -> int:
        """Drop what the topic's limits say (its age by the wall clock), or all before offsets."""
        config = self._topic(topic, anew=True)
        if before is None:
            return self._trim_to_limits(topic, now_ms())
        for p in before:
            check_partition(p, config.partitions)
        return self._drop(topic, {p: (offset, -1, 1 << 52) for p, offset in before.items()})

    def _trim_to_limits(self, topic: str, when: int) -> int:
        config, (_, end) = self._known[topic], self.ends(topic)
        keep = end - config.max_entries if config.max_entries else np.zeros_like(end)
        oldest = -1 if config.max_age_ms is None else max(0, when - config.max_age_ms)
        never = np.full(len(end), 1 << 52)
        if config.wait_for_groups:
            with self.kv.answering():
                groups: Any = self.kv.redis.smembers(self.kv.key(f"{{{topic}}}:groups"))
            for group in groups:
                held = self.committed(topic, group.decode())
                never = np.minimum(never, [held.get(p, 0) for p in range(len(end))])
        rows = zip(keep.tolist(), never.tolist(), strict=True)
        return self._drop(topic, {p: (max(k, 0), oldest, n) for p, (k, n) in enumerate(rows)})

    def _drop(self, topic: str, limits: Mapping[int, tuple[int, int, int]]) -> int:
        calls = [
            ((self.stream(topic, p), self._counter(topic, p)), limit) for p, limit in limits.items()
        ]
        return sum(self.run(scripts.TRIM, calls)) if calls else 0

    # -- life ---------------------------------------------------------------------------------

    def reconnect(self) -> None:
        """Connect again: an own server that died is started anew, and reads its folder back."""
        self.kv.reconnect()
        self._set_up()

    def close(self) -> None:
        """Close the connection; an own server leaves with this process."""
        self.kv.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def _pack(keys: Sequence[bytes], values: Sequence[bytes]) -> bytes:
    """Entries in one string: two lengths, key, value, and so on."""
    pairs = zip(keys, values, strict=True)
    return b"".join([part for k, v in pairs for part in (_LENGTHS(len(k), len(v)), k, v)])


def _unpack(partition: int, heads: bytes, bodies: bytes) -> Entries:
    """Entries from what the read script gave: records of 24 bytes, and keys and values in turn."""
    head = np.frombuffer(heads, _HEAD)
    lengths = np.stack([head["key"], head["value"]], 1).ravel()
    stops = np.cumsum(lengths, dtype=np.int64).tolist()
    parts = [bodies[a:b] for a, b in zip([0, *stops], stops, strict=False)]
    of = np.full(len(head), partition, np.int32)
    return Entries(of, head["offset"], head["time_ms"], parts[::2], parts[1::2])
