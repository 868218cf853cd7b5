"""The event log on Kafka, by its bootstrap servers: the same contract over librdkafka.

Appends wait until every replica in sync has the entries; retries are numbered, so that the broker
drops repetitions. The partition of a key is computed here, so that both logs agree on it.
Reference: Kafka documentation, "Producer configs"; librdkafka's INTRODUCTION (idempotent producer).

Simplified: no schema registry, no transactions; limits of a topic go to the cluster as they are.
"""

import logging
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Self

import confluent_kafka as kafka
import numpy as np
from confluent_kafka import admin as kafka_admin

from reclab.core.errors import ConfigError, check_int
from reclab.stores.event_log.contract import (
    Appended,
    ConsumerConfig,
    Entries,
    OnChange,
    TopicConfig,
    TopicStats,
    Unsupported,
    check_entries,
    check_known,
    check_partition,
    check_topic,
    now_ms,
    partition_of,
)
from reclab.stores.event_log.kafka_consumer import KafkaConsumer, entries_of
from reclab.stores.redis_server import StoreDown

admin: Any = kafka_admin  # its types leave out half of what it has
GONE = {
    kafka.KafkaError._TRANSPORT,
    kafka.KafkaError._ALL_BROKERS_DOWN,
    kafka.KafkaError._TIMED_OUT,
    kafka.KafkaError._MSG_TIMED_OUT,
    kafka.KafkaError.REQUEST_TIMED_OUT,
    kafka.KafkaError.NOT_ENOUGH_REPLICAS,
    kafka.KafkaError.NOT_ENOUGH_REPLICAS_AFTER_APPEND,
}


class KafkaEventLog:
    """``EventLog`` on the Kafka at ``bootstrap`` (HOST:PORT, several with commas). ``settings``:
    librdkafka's own, such as those of security; ``timeout_s``: longest wait for an answer."""

    def __init__(
        self, bootstrap: str, settings: Mapping[str, Any] | None = None, timeout_s: float = 10.0
    ) -> None:
        self.address, self.timeout_s = f"kafka://{bootstrap}", timeout_s
        quiet = logging.getLogger("reclab.kafka")
        quiet.setLevel(logging.ERROR)  # that a broker left is told by StoreDown, once
        self.settings = {"bootstrap.servers": bootstrap, "logger": quiet, **(settings or {})}
        self._turn, self._connect_lock = 0, threading.Lock()
        self._connect()

    def _connect(self) -> None:
        self._known: dict[str, int] = {}
        ms = int(self.timeout_s * 1000)
        own = {"enable.idempotence": True, "linger.ms": 5, "message.timeout.ms": ms}
        self._producer = kafka.Producer({**self.settings, **own})
        self._admin = admin.AdminClient(self.settings)
        self.topics()

    @contextmanager
    def answering(self) -> Iterator[None]:
        """Turns a Kafka that does not answer into ``StoreDown``."""
        try:
            yield
        except kafka.KafkaException as error:
            if error.args[0].code() in GONE:
                raise self.down(error.args[0].str()) from error
            raise

    def down(self, why: str) -> StoreDown:
        """The error that names where and how to mend it."""
        return StoreDown(
            f"Kafka at {self.address} does not answer ({why}): start it, or set RECLAB_LOG_URL to "
            "another address; it reconnects by itself"
        )

    # -- topics -------------------------------------------------------------------------------

    def create(self, topic: str, config: TopicConfig | None = None) -> None:
        """Create a topic with the replicas that are the cluster's default. A cluster without a
        controller makes topics as it likes when asked for them; then it is asked."""
        config, name = config or TopicConfig(), check_topic(topic)
        if name not in self.topics():
            with self.answering():
                cluster = self._producer.list_topics(timeout=self.timeout_s)
                if cluster.controller_id not in cluster.brokers:
                    self._producer.list_topics(name, timeout=self.timeout_s)
                else:
                    self._create(name, config)
            self._await_topic(name)
        there = self.topics().get(name)
        if there != config.partitions:
            raise ConfigError(
                f"topic {topic!r} has {there} partitions, and cannot get {config.partitions}: that "
                "would move keys; create another topic"
            )

    def _create(self, name: str, config: TopicConfig) -> None:
        limits = {}
        if config.max_age_ms is not None:
            limits["retention.ms"] = str(config.max_age_ms)
        new = admin.NewTopic(name, config.partitions, config=limits)
        try:
            self._admin.create_topics([new], request_timeout=self.timeout_s)[name].result()
        except kafka.KafkaException as error:
            if error.args[0].code() != kafka.KafkaError.TOPIC_ALREADY_EXISTS:
                raise

    def _await_topic(self, name: str) -> None:
        until = time.monotonic() + self.timeout_s
        while name not in self.topics():
            if time.monotonic() > until:
                raise self.down(f"topic {name!r} was created and did not appear")
            time.sleep(0.05)

    def topics(self) -> dict[str, int]:
        """Number of partitions of every topic, those of Kafka itself left out."""
        with self.answering():
            found = self._producer.list_topics(timeout=self.timeout_s).topics
        sizes = {name: len(topic.partitions) for name, topic in found.items()}
        self._known = {name: n for name, n in sorted(sizes.items()) if n and name[:2] != "__"}
        return dict(self._known)

    def n_partitions(self, topic: str) -> int:
        """Partitions of a topic; raises ``UnknownTopic``."""
        return check_known(topic, self._known if topic in self._known else self.topics())

    # -- append and read ----------------------------------------------------------------------

    def append(
        self,
        topic: str,
        values: Sequence[bytes],
        keys: Sequence[bytes | str] | None = None,
        time_ms: int | None = None,
    ) -> Appended:
        """Append entries and wait until the cluster has them all."""
        plain, n = check_entries(values, keys), self.n_partitions(topic)
        self._turn += 1
        turn, when = (0 if keys is not None else self._turn % n), time_ms
        where = np.array([partition_of(k, n) if k else turn for k in plain], np.int32)
        offset, errors = np.full(len(values), -1, np.int64), []
        stamp = now_ms() if when is None else int(when)

        def delivered(at: int) -> Any:
            def note(error: Any, message: Any) -> None:
                if error:
                    errors.append(error)
                else:
                    offset[at] = message.offset()

            return note

        for at, (key, value) in enumerate(zip(plain, values, strict=True)):
            self._produce(topic, key, value, int(where[at]), stamp, delivered(at))
        self._producer.flush(self.timeout_s + 1.0)
        if errors or (offset < 0).any():
            why = errors[0].str() if errors else "no acknowledgement in time"
            if errors and errors[0].code() not in GONE:
                raise kafka.KafkaException(errors[0])
            raise self.down(f"{why}; {(offset >= 0).sum()} of {len(values)} entries are stored")
        return Appended(where, offset)

    def _produce(
        self, topic: str, key: bytes, value: bytes, partition: int, when: int, note: Any
    ) -> None:
        """Hand one entry to the producer; while its queue is full, let it work."""
        until = time.monotonic() + self.timeout_s
        while True:
            try:
                self._producer.produce(
                    topic, value, key or None, partition, on_delivery=note, timestamp=when
                )
                return
            except BufferError:
                if time.monotonic() > until:
                    raise self.down("its queue here is full") from None
                self._producer.poll(0.1)

    def read(self, topic: str, partition: int, offset: int, max_entries: int = 1000) -> Entries:
        """Entries of one partition from an offset on, without any group."""
        check_partition(partition, self.n_partitions(topic))
        check_int("max_entries", max_entries, 1, 1_000_000, "1000")
        own = {"group.id": "reclab-read", "enable.auto.commit": False}
        own |= {"auto.offset.reset": "earliest", "enable.partition.eof": True}
        own |= {"fetch.wait.max.ms": 10}  # an end is told when a fetch comes back empty
        reader = kafka.Consumer({**self.settings, **own})
        found: list[Any] = []
        try:
            reader.assign([kafka.TopicPartition(topic, partition, max(int(offset), 0))])
            with self.answering():
                while len(found) < max_entries:
                    got = reader.consume(1, self.timeout_s)  # more would wait for as many
                    got += reader.consume(max_entries - len(found), 0.0)
                    if not got:
                        raise self.down("no entries and no end of the partition in time")
                    found += [m for m in got if not m.error()]
                    codes = [m.error() for m in got if m.error()]
                    if any(e.code() != kafka.KafkaError._PARTITION_EOF for e in codes if e):
                        raise kafka.KafkaException(codes[0])
                    if codes:
                        break
        finally:
            reader.close()
        return entries_of(found[:max_entries])

    def consumer(
        self,
        topic: str,
        group: str,
        config: ConsumerConfig | None = None,
        on_assign: OnChange | None = None,
        on_revoke: OnChange | None = None,
        on_lost: OnChange | None = None,
    ) -> KafkaConsumer:
        """A new member of a group; partitions come with its first reads."""
        n = check_known(topic, self.topics())
        changes = (on_assign, on_revoke, on_lost)
        return KafkaConsumer(self, topic, check_topic(group), n, config, changes)

    # -- what there is, and what is dropped ---------------------------------------------------

    def offsets(self, topic: str, which: Any) -> np.ndarray[Any, np.dtype[Any]]:
        """(n_partitions,) int64: offsets by an ``OffsetSpec``."""
        n = self.n_partitions(topic)
        asked = {kafka.TopicPartition(topic, p): which for p in range(n)}
        with self.answering():
            answers = self._admin.list_offsets(asked, request_timeout=self.timeout_s)
            found = {at.partition: answer.result().offset for at, answer in answers.items()}
        return np.array([found[p] for p in range(n)], np.int64)

    def committed(self, topic: str, group: str) -> dict[int, int]:
        """Committed offset of each partition that has one."""
        asker = kafka.Consumer({**self.settings, "group.id": group, "enable.auto.commit": False})
        asked = [kafka.TopicPartition(topic, p) for p in range(self.n_partitions(topic))]
        try:
            with self.answering():
                found = asker.committed(asked, timeout=self.timeout_s)
        finally:
            asker.close()
        return {at.partition: at.offset for at in found if at.offset >= 0}

    def stats(self, topic: str, group: str | None = None) -> TopicStats:
        """Offsets and lag."""
        start = self.offsets(topic, admin.OffsetSpec.earliest())
        end = self.offsets(topic, admin.OffsetSpec.latest())
        committed = start.copy()
        for p, offset in (self.committed(topic, group) if group else {}).items():
            committed[p] = offset
        return TopicStats(start, end, committed, time.monotonic())

    def trim(self, topic: str, before: Mapping[int, int] | None = None) -> int:
        """Drop all before offsets. What a topic's limits say the cluster drops by itself."""
        n = self.n_partitions(topic)
        if before is None:
            return 0
        for p in before:
            check_partition(p, n)
        start = self.offsets(topic, admin.OffsetSpec.earliest())
        cut = [kafka.TopicPartition(topic, p, offset) for p, offset in before.items()]
        try:
            with self.answering():
                for answer in self._admin.delete_records(cut).values():
                    answer.result()
        except kafka.KafkaException as error:
            if error.args[0].code() == kafka.KafkaError._UNSUPPORTED_FEATURE:
                raise Unsupported(
                    f"{self.address} cannot drop entries by offset: set retention.ms of the topic"
                ) from error
            raise
        return int((self.offsets(topic, admin.OffsetSpec.earliest()) - start).sum())

    # -- life ---------------------------------------------------------------------------------

    def reconnect(self) -> None:
        """Connect anew; librdkafka also does so by itself."""
        with self._connect_lock:
            self._connect()

    def close(self) -> None:
        """Send what is still on its way."""
        self._producer.flush(self.timeout_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
