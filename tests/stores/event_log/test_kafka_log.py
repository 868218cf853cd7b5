"""The event log on Kafka: the contract over the wire, on librdkafka's cluster in this process."""

import time

import pytest

from reclab.stores.event_log import EventLog, StoreDown, TopicConfig, Unsupported, open_log
from reclab.stores.event_log.kafka_log import KafkaEventLog
from tests.stores.event_log.contract import QUICK, EventLogContract, drain, values
from tests.stores.event_log.kafka_cluster import Cluster

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cluster():
    return Cluster()


class TestKafkaLog(EventLogContract):
    @pytest.fixture(autouse=True)
    def _cluster(self, cluster):
        self.cluster = cluster

    def open(self) -> EventLog:
        return open_log(self.cluster.address)


def test_a_cluster_that_cannot_drop_by_offset_says_what_to_do_instead(cluster):
    with open_log(cluster.address) as log:
        log.create("trimmed", TopicConfig(4))
        log.append("trimmed", *values(10))
        assert log.trim("trimmed") == 0
        with pytest.raises(Unsupported, match="set retention.ms of the topic"):
            log.trim("trimmed", {0: 1})


def test_a_member_that_slept_through_its_session_learns_it_and_joins_again(cluster):
    with open_log(cluster.address) as log:
        log.create("slept", TopicConfig(4))
        log.append("slept", *values(200))
        heard = []
        changes = [lambda p, what=what: heard.append((what, p)) for what in ("own", "up", "lost")]
        with log.consumer("slept", "g", QUICK, *changes) as consumer:
            assert len(drain(consumer, 200)) == 200
            time.sleep(QUICK.session_ms / 1000 + 0.8)
            assert len(drain(consumer, 200)) == 200  # it had not committed: all is read again
    assert heard == [("own", (0, 1, 2, 3)), ("lost", (0, 1, 2, 3)), ("own", (0, 1, 2, 3))]


def test_nobody_at_the_address_is_an_error_that_names_it():
    with pytest.raises(StoreDown, match="Kafka at kafka://localhost:1 does not answer"):
        KafkaEventLog("localhost:1", timeout_s=0.5)


def test_a_cluster_that_left_is_an_error_that_says_how_much_is_stored():
    cluster = Cluster()
    log = KafkaEventLog(cluster.address.partition("://")[2], timeout_s=2.0)
    log.create("events", TopicConfig(4))
    log.append("events", *values(10))
    consumer = log.consumer("events", "g", QUICK)
    cluster.stop()
    asks = [
        lambda: log.append("events", [b"x"]),
        lambda: log.topics(),
        lambda: log.stats("events"),
        lambda: consumer.read(10, wait_ms=3_000),
    ]
    for ask in asks:
        with pytest.raises(StoreDown, match="does not answer"):
            ask()
    consumer.close()
