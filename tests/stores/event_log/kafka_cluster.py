"""A Kafka of three brokers in this process, over the wire: librdkafka's own, for tests.

It keeps about 5 MB a partition, and makes topics of four partitions when asked for them.
"""

import confluent_kafka as kafka


class Cluster:
    """Three brokers that live as long as this producer."""

    def __init__(self) -> None:
        quiet = {"bootstrap.servers": "none", "test.mock.num.brokers": 3, "log_level": 0}
        self._keeper = kafka.Producer(quiet)
        brokers = self._keeper.list_topics(timeout=10).brokers.values()
        self.address = "kafka://" + ",".join(f"{b.host}:{b.port}" for b in brokers)

    def stop(self) -> None:
        del self._keeper
