"""A consumer of a group on Kafka: librdkafka's, with commits by hand and cooperative rebalancing.

The group's coordinator shares out the partitions; a member keeps those that stay its own while
others move. ``session_ms`` is both Kafka's session and the longest time between two reads.
Reference: Kafka documentation, "Consumer configs"; KIP-429 (incremental cooperative rebalancing).

Simplified: one topic a consumer.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

import confluent_kafka as kafka
import numpy as np

from reclab.core.errors import DataError, check_int
from reclab.stores.event_log.contract import (
    ConsumerConfig,
    Entries,
    OnChange,
    PartitionLost,
    Partitions,
)

if TYPE_CHECKING:
    from reclab.stores.event_log.kafka_log import KafkaEventLog

FENCED = {
    kafka.KafkaError.ILLEGAL_GENERATION,
    kafka.KafkaError.UNKNOWN_MEMBER_ID,
    kafka.KafkaError.REBALANCE_IN_PROGRESS,
    kafka.KafkaError.FENCED_INSTANCE_ID,
    kafka.KafkaError._ASSIGNMENT_LOST,
}
SLEPT = kafka.KafkaError._MAX_POLL_EXCEEDED  # it learns from on_lost, and joins again


def entries_of(messages: Sequence[Any]) -> Entries:
    """Messages of Kafka as columns."""
    return Entries(
        np.array([m.partition() for m in messages], np.int32),
        np.array([m.offset() for m in messages], np.int64),
        np.array([m.timestamp()[1] for m in messages], np.int64),
        [m.key() or b"" for m in messages],
        [m.value() or b"" for m in messages],
    )


class KafkaConsumer:
    """One member of a group; made by ``KafkaEventLog.consumer``."""

    def __init__(
        self,
        log: "KafkaEventLog",
        topic: str,
        group: str,
        n_partitions: int,
        config: ConsumerConfig | None,
        changes: tuple[OnChange | None, OnChange | None, OnChange | None],
    ) -> None:
        self._log, self.topic, self.group = log, topic, group
        self.config = config or ConsumerConfig()
        self._n_partitions, self._closed, self._gone = n_partitions, False, ""
        self._on_assign, self._on_revoke, self._on_lost = changes
        self._position: dict[int, int] = {}
        self._consumer = kafka.Consumer(
            {
                **log.settings,
                "group.id": group,
                "enable.auto.commit": False,
                "auto.offset.reset": self.config.start,
                "partition.assignment.strategy": "cooperative-sticky",
                "session.timeout.ms": self.config.session_ms,
                "heartbeat.interval.ms": self.config.heartbeat_ms,
                "max.poll.interval.ms": self.config.session_ms,
                "topic.metadata.refresh.interval.ms": 10_000,
                "error_cb": self._note,
            }
        )
        self._consumer.subscribe(
            [topic], on_assign=self._assign, on_revoke=self._revoke, on_lost=self._lose
        )

    def _note(self, error: Any) -> None:
        if error.code() == kafka.KafkaError._ALL_BROKERS_DOWN:
            self._gone = error.str()

    @property
    def assigned(self) -> Partitions:
        """Partitions that are this member's, as of the last read."""
        return tuple(sorted(self._position))

    def position(self) -> dict[int, int]:
        """The next offset to read of each of its partitions."""
        return dict(self._position)

    def committed(self) -> dict[int, int]:
        """The group's committed offset of each partition of the topic that has one."""
        asked = [kafka.TopicPartition(self.topic, p) for p in range(self._n_partitions)]
        with self._log.answering():
            found = self._consumer.committed(asked, timeout=self._log.timeout_s)
        return {at.partition: at.offset for at in found if at.offset >= 0}

    # -- partitions come and go ---------------------------------------------------------------

    def _assign(self, consumer: Any, given: list[Any]) -> None:
        if self._closed:  # the group was moving while this member left
            consumer.incremental_assign(given)
            return
        committed = self.committed()
        start, end = self._ends()
        first = start if self.config.start == "earliest" else end
        for at in given:
            at.offset = max(committed.get(at.partition, first[at.partition]), start[at.partition])
            self._position[at.partition] = at.offset
        consumer.incremental_assign(given)
        if given and self._on_assign:
            self._on_assign(tuple(sorted(at.partition for at in given)))

    def _ends(self) -> tuple[list[int], list[int]]:
        spans = [
            self._consumer.get_watermark_offsets(
                kafka.TopicPartition(self.topic, p), timeout=self._log.timeout_s
            )
            for p in range(self._n_partitions)
        ]
        return [low for low, _ in spans], [high for _, high in spans]

    def _revoke(self, consumer: Any, taken: list[Any]) -> None:
        self._give_up(taken, self._on_revoke)

    def _lose(self, consumer: Any, taken: list[Any]) -> None:
        self._give_up(taken, self._on_lost)

    def _give_up(self, taken: list[Any], tell: OnChange | None) -> None:
        partitions = tuple(sorted(at.partition for at in taken if at.partition in self._position))
        if partitions and tell and not self._closed:
            tell(partitions)
        for p in partitions:
            del self._position[p]

    # -- read and commit ----------------------------------------------------------------------

    def read(self, max_entries: int = 1000, wait_ms: int = 0) -> Entries:
        """The next entries of its partitions: waits for one, then takes what is there."""
        check_int("max_entries", max_entries, 1, 1_000_000, "1000")
        check_int("wait_ms", wait_ms, 0, 3_600_000, "100")
        if self._closed:
            raise DataError(f"this consumer of {self.topic!r} is closed: make another")
        with self._log.answering():
            found: list[Any] = self._consumer.consume(1, wait_ms / 1000)
            if found and max_entries > 1:
                found += self._consumer.consume(max_entries - 1, 0.0)
        good = [m for m in found if not m.error() and m.partition() in self._position]
        for message in found:
            error = message.error()
            if error and not error.retriable() and error.code() != SLEPT:
                raise kafka.KafkaException(message.error())
        if not good and self._gone:
            self._log.topics()  # raises StoreDown if it is still gone
        self._gone = ""
        for message in good:
            self._position[message.partition()] = message.offset() + 1
        return entries_of(good)

    def commit(self, offsets: Mapping[int, int] | None = None) -> None:
        """The group reads on from here."""
        pairs = self._position if offsets is None else offsets
        own = {p: offset for p, offset in pairs.items() if p in self._position}
        try:
            if own:
                at = [kafka.TopicPartition(self.topic, p, offset) for p, offset in own.items()]
                with self._log.answering():
                    self._consumer.commit(offsets=at, asynchronous=False)
        except kafka.KafkaException as error:
            if error.args[0].code() not in FENCED:
                raise
            raise self._lost(sorted(pairs)) from error
        if len(own) < len(pairs):
            raise self._lost(sorted(set(pairs) - set(own)))

    def _lost(self, partitions: list[int]) -> PartitionLost:
        return PartitionLost(
            f"partitions {partitions} of {self.topic!r} are not this consumer's now: others read "
            "them again from the last commit (read at least once in session_ms)"
        )

    def seek(self, partition: int, offset: int) -> None:
        """Replay: the next read of this partition begins here."""
        if partition not in self._position:
            raise PartitionLost(f"partition {partition} is not this consumer's: {self.assigned}")
        at = kafka.TopicPartition(self.topic, partition, offset)
        with self._log.answering():
            end = self._consumer.get_watermark_offsets(at, timeout=self._log.timeout_s)[1]
            if not 0 <= offset <= end:
                raise DataError(f"no offset {offset} in partition {partition}: it has 0..{end}")
            self._consumer.incremental_unassign([kafka.TopicPartition(self.topic, partition)])
            self._consumer.incremental_assign([at])
        self._position[partition] = offset

    def close(self) -> None:
        """Leave the group at once."""
        if not self._closed:
            self._closed = True
            self._consumer.close()
            self._position = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
