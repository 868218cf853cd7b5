"""The event log on Redis: the contract, and what is true of this one alone."""

import os
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from reclab.core.errors import ConfigError
from reclab.stores.event_log import (
    ConsumerConfig,
    EventLog,
    PartitionLost,
    StoreDown,
    TopicConfig,
    UnknownTopic,
    open_log,
)
from reclab.stores.redis_server import RedisServer, own_server
from tests.stores.event_log.contract import QUICK, EventLogContract, N, drain, values
from tests.stores.redis_cluster import redis_cluster


class TestRedisLog(EventLogContract):
    def open(self) -> EventLog:
        return open_log(namespace="contract")


class TestRedisLogByAddress(EventLogContract):
    def open(self) -> EventLog:
        return open_log(own_server().address, namespace="by-address")


class TestRedisClusterLog(EventLogContract):
    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def cluster(cls):
        with redis_cluster() as cls.address:
            yield

    def open(self) -> EventLog:
        return open_log(self.address, namespace="in-a-cluster")

    def test_the_partitions_lie_on_several_nodes(self, log, topic):
        redis = log.kv.redis
        nodes = {redis.get_node_from_key(log.stream(topic, p)).port for p in range(N)}
        assert len(nodes) >= 2


@pytest.fixture
def server():
    server = RedisServer()
    yield server
    server.stop()


def kill(server):
    os.kill(server.pid, signal.SIGKILL)
    server._process.wait()


def test_all_that_was_acknowledged_survives_a_killed_server(tmp_path):
    log = open_log(folder=tmp_path / "log")
    log.create("events", TopicConfig(partitions=N))
    acknowledged: list[bytes] = []

    def work() -> None:
        try:
            for i in range(10**6):
                batch = [b"%d" % (i * 50 + j) for j in range(50)]
                log.append("events", batch, batch)
                acknowledged.extend(batch)
        except StoreDown:
            pass

    worker = threading.Thread(target=work)
    worker.start()
    with log.consumer("events", "g", QUICK) as consumer:
        while len(acknowledged) < 1_000:
            consumer.read(100, wait_ms=10)
            consumer.commit()
        kill(log.kv._server)
        worker.join()
        held = consumer.position()
    log.reconnect()
    kept = [value for p in range(N) for value in log.read("events", p, 0, 10**6).value]
    assert set(acknowledged) <= set(kept) and len(kept) == len(set(kept))
    assert len(kept) <= len(acknowledged) + 50  # the batch on its way may be there or not
    assert log.stats("events", "g").committed.tolist() == [held[p] for p in range(N)]
    more = log.append("events", [b"after"], [b"after"])
    assert more.offset[0] == log.stats("events").end[more.partition[0]] - 1
    log.close()
    log.kv._server.stop()


def test_redis_gone_is_an_error_that_names_address_and_mending(server):
    log = open_log(server.address, namespace="gone")
    log.create("events")
    consumer = log.consumer("events", "g", QUICK)
    consumer.read()
    kill(server)
    asks = [
        lambda: log.append("events", [b"x"]),
        lambda: log.read("events", 0, 0),
        lambda: log.stats("events", "g"),
        lambda: log.create("more"),
        lambda: log.topics(),
        lambda: consumer.read(10, wait_ms=50),
        lambda: consumer.commit(),
        lambda: log.trim("events"),
    ]
    for ask in asks:
        with pytest.raises(StoreDown, match="does not answer.*reconnect") as caught:
            ask()
        assert server.address in str(caught.value)
    consumer.close()
    log.close()


def test_a_server_that_came_back_empty_knows_no_topic():
    log = open_log(namespace="empty")
    log.create("events")
    log.kv.redis.flushall()
    log.reconnect()
    with pytest.raises(UnknownTopic, match="there are: none"):
        log.append("events", [b"x"])
    log.close()


def test_a_server_that_forgot_the_scripts_is_told_again():
    with open_log(namespace="scripts") as log:
        log.create("events")
        log.append("events", [b"x"], [b"k"])
        log.kv.redis.script_flush()
        assert log.append("events", *values(100)).offset.max() > 1


def test_an_append_whose_answer_was_lost_is_not_repeated(monkeypatch):
    """redis-py sends a command again when the connection broke; the batch's name gives it away."""
    with open_log(namespace="repeat") as log:
        log.create("events", TopicConfig(partitions=1))
        run = log.run
        monkeypatch.setattr(log, "run", lambda *call: (run(*call), run(*call))[1])
        assert log.append("events", [b"a", b"b"]).offset.tolist() == [0, 1]
        assert log.append("events", [b"c"]).offset.tolist() == [2]
        assert log.stats("events").end.tolist() == [3]


def test_more_than_a_script_carries_stays_in_order():
    with open_log(namespace="much") as log:
        log.create("events", TopicConfig(partitions=2))
        data, keys = values(50_000)
        went = log.append("events", data, keys)
        for p in range(2):
            rows = np.flatnonzero(went.partition == p)
            assert went.offset[rows].tolist() == list(range(len(rows)))
            assert log.read("events", p, 0, 10**5).value == [data[i] for i in rows]


def test_a_consumer_that_slept_through_its_lease_cannot_commit_and_begins_anew():
    short = ConsumerConfig(session_ms=200, heartbeat_ms=50)
    with open_log(namespace="asleep") as log:
        log.create("events", TopicConfig(partitions=N))
        log.append("events", *values(100))
        lost: list[int] = []
        one = log.consumer("events", "g", short, on_lost=lost.extend)
        assert len(drain(one, 100)) == 100
        time.sleep(0.3)
        with log.consumer("events", "g", short) as two:
            assert len(drain(two, 100)) == 100
            with pytest.raises(PartitionLost, match=r"partitions \[0, 1, 2, 3\]"):
                one.commit()
            two.commit()
        assert len(one.read(10)) == 0  # from the other's commit
        assert lost == [0, 1, 2, 3] and one.assigned == (0, 1, 2, 3)
        one.close()


def test_more_consumers_than_partitions_wait_idle():
    with open_log(namespace="crowd") as log:
        log.create("events", TopicConfig(partitions=3))
        crowd = [log.consumer("events", "g", QUICK) for _ in range(5)]
        for _ in range(3):
            for consumer in crowd:
                consumer._next_beat = 0.0
                consumer.read(1)
        assert sorted(len(c.assigned) for c in crowd) == [0, 0, 1, 1, 1]
        for consumer in crowd:
            consumer.close()


def test_a_topic_keeps_its_newest_entries_but_none_that_a_group_still_needs():
    with open_log(namespace="bounded") as log:
        log.create("events", TopicConfig(partitions=1, max_entries=100))
        for i in range(50):
            log.append("events", [b"%d" % (i * 10 + j) for j in range(10)])
        assert 100 <= 500 - log.stats("events").start[0] <= 110
        with log.consumer("events", "slow", QUICK) as slow:
            slow.read(5)
            slow.commit()
            at = slow.position()[0]
            for _ in range(30):
                log.append("events", [b"x"] * 10)
            assert log.stats("events").start[0] == at
            slow.seek(0, 700)
            slow.commit()
            assert log.trim("events") == 700 - at
            assert log.trim("events", {0: 750}) == 50  # told so: committed or not
            assert [e.offset for e in slow.read(3)] == [750, 751, 752]
            assert slow.n_missed == 50


def test_a_dead_group_does_not_hold_a_topic_that_does_not_wait():
    with open_log(namespace="hasty") as log:
        log.create("events", TopicConfig(1, max_entries=100, wait_for_groups=False))
        log.consumer("events", "dead", QUICK).close()
        for _ in range(50):
            log.append("events", [b"x"] * 10)
        assert log.stats("events").start[0] >= 390


@pytest.mark.parametrize("n", [1, 7, 64])
def test_entries_older_than_the_limit_are_dropped(n):
    with open_log(namespace=f"aged{n}") as log:
        log.create("events", TopicConfig(1, max_age_ms=1_000, wait_for_groups=False))
        for i in range(n):
            log.append("events", [b"x"], time_ms=100 * i)
        log._trim_to_limits("events", when=100 * n)
        kept = log.read("events", 0, 0).time_ms
        assert kept.tolist() == [100 * i for i in range(n) if 100 * i >= 100 * n - 1_000]
        log._trim_to_limits("events", when=10**9)
        assert len(log.read("events", 0, 0)) == 0
        assert log.append("events", [b"new"]).offset[0] == n


def test_a_consumer_wakes_as_soon_as_something_comes():
    with open_log(namespace="wake") as log, open_log(namespace="wake") as other:
        log.create("events", TopicConfig(1))
        with log.consumer("events", "g", ConsumerConfig()) as consumer:
            consumer.read()
            threading.Timer(0.05, other.append, ["events", [b"x"]]).start()
            began = time.monotonic()
            assert len(consumer.read(10, wait_ms=20_000)) == 1
            assert time.monotonic() - began < 10


@pytest.mark.parametrize("address", ["localhost:9092", "kafka://", "ftp://x", "http://x:1"])
def test_an_address_that_is_none_is_refused_with_good_ones(address):
    with pytest.raises(ConfigError, match="kafka://localhost:9092 or redis://"):
        open_log(address)


def test_the_address_may_come_from_the_environment(server, monkeypatch):
    monkeypatch.setenv("RECLAB_LOG_URL", server.address)
    with open_log() as log:
        assert log.address == server.address


def test_a_folder_is_written_through_to_the_disk(tmp_path: Path):
    log = open_log(folder=tmp_path / "log")
    assert log.kv.redis.config_get("appendfsync")["appendfsync"] == "always"
    log.close()
    log.kv._server.stop()
