"""Event log: topics, partitions, offsets, consumer groups; append and read.

contract        what an event log is, with its words and errors
redis_log       on Redis Streams: a server of our own, or one by address
redis_consumer  its consumer groups
scripts         what it does inside Redis
kafka_log       on Kafka, by address

``open_log()`` gives the one that the address names.
"""

import os
from pathlib import Path

from reclab.core.errors import ConfigError
from reclab.stores.event_log.contract import (
    Appended,
    Consumer,
    ConsumerConfig,
    Entries,
    Entry,
    EventLog,
    PartitionLost,
    TopicConfig,
    TopicStats,
    UnknownTopic,
    Unsupported,
    partition_of,
)
from reclab.stores.redis_server import StoreDown

__all__ = [
    "Appended",
    "Consumer",
    "ConsumerConfig",
    "Entries",
    "Entry",
    "EventLog",
    "PartitionLost",
    "StoreDown",
    "TopicConfig",
    "TopicStats",
    "UnknownTopic",
    "Unsupported",
    "open_log",
    "partition_of",
]

ADDRESS_SETTING = "RECLAB_LOG_URL"


def open_log(
    address: str | None = None, *, namespace: str = "log", folder: Path | None = None
) -> EventLog:
    """The event log at an address: ``kafka://HOST:PORT,HOST:PORT``, ``redis://HOST:PORT/DB``,
    ``redis+cluster://HOST:PORT`` or ``unix://PATH``; None = RECLAB_LOG_URL, else Redis as ``KV``
    finds it (one of our own).

    ``namespace`` keeps logs on one Redis apart; ``folder``: where a Redis of our own keeps its
    entries (None = in memory). Raises ``StoreDown`` when nobody answers there.
    """
    address = address or os.environ.get(ADDRESS_SETTING) or None
    scheme, _, rest = (address or "").partition("://")
    if scheme == "kafka" and rest:
        from reclab.stores.event_log.kafka_log import KafkaEventLog

        return KafkaEventLog(rest)
    if address is None or scheme in ("redis", "redis+cluster", "rediss", "unix"):
        from reclab.stores.event_log.redis_log import RedisEventLog

        return RedisEventLog(address, namespace, folder)
    good = "kafka://localhost:9092 or redis://localhost:6379/0"
    raise ConfigError(f"{address!r} is not the address of an event log: {good}")
