"""Two joiners share the partitions; one is killed, the other goes on with all: Redis and Kafka."""

import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from reclab.offline_online.pipeline import EVENTS, FEATURES, create_topics
from reclab.stores.event_log import ConsumerConfig, TopicConfig, open_log
from reclab.stores.kv import KV
from reclab.stores.redis_server import own_server
from tests.offline_online.join_storm import differences, found, put, storm
from tests.offline_online.joiner_process import start_joiner, until
from tests.offline_online.test_joiner import joiner, work
from tests.stores.event_log.kafka_cluster import Cluster

SESSION_MS = {"redis": 1_000, "kafka": 6_000}


@pytest.fixture(params=["redis", "kafka"])
def address(request: pytest.FixtureRequest) -> Iterator[str]:
    if request.param == "redis":
        yield own_server().address
    else:
        cluster = Cluster()
        yield cluster.address
        cluster.stop()


def shares(said: Path) -> tuple[int, ...]:
    """The partitions that a joiner said it has."""
    lines = re.findall(r"^partitions \((.*)\)$", said.read_text(), re.M)
    return tuple(int(number) for number in re.findall(r"\d+", lines[-1])) if lines else ()


@pytest.mark.slow
def test_a_killed_joiners_partitions_go_to_the_other(address, tmp_path):
    weather = storm(1_000, seed=5)
    log = open_log(address, namespace="rebalance")
    create_topics(log, TopicConfig(partitions=4))
    kv = KV(own_server().address, "rebalance-joiner")
    kv.delete(*kv.names())
    kind = address.partition("://")[0].replace("unix", "redis")
    names, running = [tmp_path / "one", tmp_path / "two"], []
    half = [len(entries) // 2 for entries in (weather.pages, weather.events)]
    put(log, FEATURES, weather.pages[: half[0]])
    put(log, EVENTS, weather.events[: half[1]])
    try:
        for name in names:
            more = ("--kv", own_server().address, "--namespace", "rebalance")
            session_ms = SESSION_MS[kind]
            with name.open("w") as says:
                running.append(start_joiner(address, *more, session_ms=session_ms, says=says))
        until(lambda: sorted(shares(names[0]) + shares(names[1])) == [0, 1, 2, 3])
        until(lambda: all(len(shares(name)) == 2 for name in names))
        until(lambda: log.stats("samples").end.sum() > 20)
        running[0].kill()
        put(log, FEATURES, weather.pages[half[0] :])
        put(log, EVENTS, weather.events[half[1] :])
        until(lambda: shares(names[1]) == (0, 1, 2, 3))
        running[1].terminate()
        assert running[1].wait(30) == 0
    finally:
        for process in running:
            process.kill()
            process.wait()
    consumer = ConsumerConfig(SESSION_MS[kind], SESSION_MS[kind] // 10)
    last = joiner(log, kv, consumer=consumer)
    until(lambda: last.step(wait_ms=50) >= 0 and len(last.parts) == 4)
    work(last)
    last.drain()
    last.close()
    assert differences(found(log), weather.truth) == {}
    assert all(report.balanced for report in last.report().values())


@pytest.mark.slow
def test_a_joiner_that_slept_through_its_lease_doubles_nothing(tmp_path):
    weather, address, names = storm(1_000, seed=6), own_server().address, ("one", "two")
    log, said = open_log(address, namespace="sleeper"), [tmp_path / name for name in names]
    create_topics(log, TopicConfig(partitions=4))
    kv, running = KV(address, "sleeper-joiner"), []
    thirds = [[len(entries) * k // 3 for k in range(4)] for entries in weather[:2]]
    try:
        for name in said:
            with name.open("w") as says:
                running.append(start_joiner(address, "--namespace", "sleeper", says=says))
        until(lambda: all(len(shares(name)) == 2 for name in said))
        for turn in range(3):
            for topic, entries, cuts in zip((FEATURES, EVENTS), weather, thirds, strict=False):
                put(log, topic, entries[cuts[turn] : cuts[turn + 1]])
            if turn == 0:
                until(lambda: log.stats("samples").end.sum() > 20)
            elif turn == 1:  # in the middle of what just came
                os.kill(running[0].pid, signal.SIGSTOP)
                until(lambda: shares(said[1]) == (0, 1, 2, 3))
                os.kill(running[0].pid, signal.SIGCONT)
        until(lambda: all(len(shares(name)) == 2 for name in said))
    finally:
        for process in running:
            process.kill()
            process.wait()
    last = joiner(log, kv)
    until(lambda: last.step(wait_ms=50) >= 0 and len(last.parts) == 4)
    work(last)
    last.drain()
    last.close()
    assert differences(found(log), weather.truth) == {}
