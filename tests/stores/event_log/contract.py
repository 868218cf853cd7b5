"""One suite for every event log. Subclasses say where it is; all else is asked of them alike."""

import os
import signal
import subprocess
import sys
import time
import uuid
from collections import Counter
from typing import Any

import numpy as np
import pytest

from reclab.core.chance import rng
from reclab.core.errors import ConfigError, DataError
from reclab.stores.event_log import (
    Consumer,
    ConsumerConfig,
    Entries,
    EventLog,
    PartitionLost,
    TopicConfig,
    UnknownTopic,
    partition_of,
)

N = 4  # partitions: what librdkafka's cluster makes
QUICK = ConsumerConfig(session_ms=6_000, heartbeat_ms=200)
CHILD = """
import sys, time
from reclab.stores.event_log import ConsumerConfig, open_log
address, namespace, topic = sys.argv[1:]
log = open_log(address, namespace=namespace)
consumer = log.consumer(topic, "readers", ConsumerConfig(session_ms=6000, heartbeat_ms=200))
n = 0
while True:
    entries = consumer.read(20, wait_ms=100)
    n += len(entries)
    print(n, len(consumer.assigned), flush=True)
"""


def values(n: int, seed: int = 1) -> tuple[list[bytes], list[bytes]]:
    """Values that tell their order, and keys of which many are equal."""
    keys = [f"r{number}".encode() for number in rng(seed, "keys").integers(0, 40, n)]
    return [f"entry {i} 值".encode() for i in range(n)], keys


def drain(consumer: Consumer, n: int, within_s: float = 20.0) -> Entries:
    """Read until there are n entries."""
    parts, until = [], time.monotonic() + within_s
    while sum(map(len, parts)) < n and time.monotonic() < until:
        parts.append(consumer.read(500, wait_ms=100))
    return Entries.join(parts)


def until_assigned(wanted: dict[Consumer, int], within_s: float = 25.0) -> None:
    """Let consumers read until each has so many partitions; they must get nothing meanwhile."""
    until = time.monotonic() + within_s
    while any(len(c.assigned) != n for c, n in wanted.items()):
        assert time.monotonic() < until, [c.assigned for c in wanted]
        for consumer in wanted:
            consumer.read(1, wait_ms=50)


class EventLogContract:
    """``open`` gives the log, ``address`` and ``namespace`` how another process gets to it."""

    def open(self) -> EventLog:
        raise NotImplementedError

    @pytest.fixture
    def log(self) -> Any:
        with self.open() as log:
            yield log

    @pytest.fixture
    def topic(self, log: EventLog) -> str:
        name = f"t-{uuid.uuid4().hex[:10]}"
        log.create(name, TopicConfig(partitions=N))
        return name

    def child(self, log: EventLog, topic: str) -> "subprocess.Popen[str]":
        """A consumer of the group "readers" in a process of its own."""
        where = [log.address, getattr(getattr(log, "kv", None), "namespace", "log"), topic]
        return subprocess.Popen(
            [sys.executable, "-c", CHILD, *where], stdout=subprocess.PIPE, text=True
        )

    # -- topics -------------------------------------------------------------------------------

    def test_a_topic_is_there_once_created_and_may_be_created_again(self, log, topic):
        log.create(topic, TopicConfig(partitions=N))
        assert log.topics()[topic] == N

    def test_a_topic_keeps_its_partitions(self, log, topic):
        with pytest.raises(ConfigError, match=f"has {N} partitions, and cannot get 7"):
            log.create(topic, TopicConfig(partitions=7))

    @pytest.mark.parametrize("n", [0, -1, 2000, 1.5])
    def test_a_bad_number_of_partitions_is_named(self, log, n):
        with pytest.raises(ConfigError, match=r"TopicConfig.partitions must .* \(typical: 4\)"):
            log.create("never", TopicConfig(partitions=n))
        assert "never" not in log.topics()

    @pytest.mark.parametrize("name", ["", "a b", "{a}", "a:b", "A", "x" * 101, None])
    def test_a_bad_name_is_named(self, log, name):
        with pytest.raises(ConfigError, match="topic or group must be a-z"):
            log.create(name)

    def test_an_unknown_topic_is_an_error_that_lists_the_known(self, log, topic):
        asks = [
            lambda: log.append("nobody", [b"x"]),
            lambda: log.read("nobody", 0, 0),
            lambda: log.stats("nobody"),
            lambda: log.consumer("nobody", "g"),
            lambda: log.trim("nobody"),
        ]
        for ask in asks:
            with pytest.raises(UnknownTopic, match=f"no topic 'nobody'.*{topic}"):
                ask()
        assert "nobody" not in log.topics()

    # -- append and read ----------------------------------------------------------------------

    def test_what_is_appended_is_read_with_offset_key_and_time(self, log, topic):
        data, keys = values(300)
        went = log.append(topic, data, keys, time_ms=1_234_567)
        for p in range(N):
            rows = np.flatnonzero(went.partition == p)
            assert went.offset[rows].tolist() == list(range(len(rows)))
            got = log.read(topic, p, 0)
            assert got.value == [data[i] for i in rows] and got.key == [keys[i] for i in rows]
            assert got.offset.tolist() == list(range(len(rows)))
            assert set(got.time_ms.tolist()) == {1_234_567} and set(got.partition.tolist()) == {p}

    def test_offsets_go_on_from_batch_to_batch(self, log, topic):
        first = log.append(topic, [b"a", b"b"], ["k", "k"])
        second = log.append(topic, [b"c"], [b"k"])
        assert [*first.offset, *second.offset] == [0, 1, 2]
        p = int(first.partition[0])
        assert [entry.value for entry in log.read(topic, p, 1)] == [b"b", b"c"]
        assert len(log.read(topic, p, 0, max_entries=2)) == 2
        assert len(log.read(topic, p, 3)) == 0

    def test_equal_keys_share_a_partition_everywhere(self, log, topic):
        data, keys = values(200)
        went = log.append(topic, data, keys)
        assert went.partition.tolist() == [partition_of(key, N) for key in keys]
        assert len(set(went.partition.tolist())) == N

    def test_without_keys_batches_take_turns(self, log, topic):
        went = [log.append(topic, [b"x", b"y"]).partition.tolist() for _ in range(N)]
        assert sorted(went) == [[p, p] for p in range(N)]

    def test_any_bytes_come_back(self, log, topic):
        data = [
            b"",
            b"\0" * 9,
            bytes(range(256)) * 40,
            "猫".encode(),
            b"\r\n$5\r\n",
            b"x" * 900_000,
        ]
        p = int(log.append(topic, data, ["k"] * len(data)).partition[0])
        assert log.read(topic, p, 0).value == data

    def test_bad_entries_are_named_and_none_of_the_batch_is_stored(self, log, topic):
        bad = [
            (lambda: log.append(topic, [b"x", "text"]), "entry 1 must be bytes, got str"),
            (lambda: log.append(topic, [b"x"], ["a", "b"]), "2 keys for 1 entries"),
            (lambda: log.append(topic, [b"x" * 1_000_001]), "entry 0 has 1000001 bytes"),
        ]
        for append, words in bad:
            with pytest.raises(DataError, match=words):
                append()
        assert log.stats(topic).end.sum() == 0
        assert len(log.append(topic, []).offset) == 0

    def test_a_partition_that_is_not_there_is_named(self, log, topic):
        with pytest.raises(DataError, match="no partition 4: the topic has 0..3"):
            log.read(topic, 4, 0)

    # -- groups -------------------------------------------------------------------------------

    def test_a_group_reads_all_of_it_in_order_and_then_nothing(self, log, topic):
        data, keys = values(1_000)
        log.append(topic, data[:600], keys[:600])
        log.append(topic, data[600:], keys[600:])
        with log.consumer(topic, "readers", QUICK) as consumer:
            got = drain(consumer, 1_000)
            assert consumer.assigned == (0, 1, 2, 3)
            assert len(consumer.read(10)) == 0
        assert sorted(got.value) == sorted(data)
        for p in range(N):
            assert got.offset[got.partition == p].tolist() == list(
                range((got.partition == p).sum())
            )

    def test_what_was_committed_is_not_read_again_and_what_was_not_is(self, log, topic):
        data, keys = values(400)
        log.append(topic, data, keys)
        with log.consumer(topic, "readers", QUICK) as one:
            first = drain(one, 400)
            done = {p: int(n) // 2 for p, n in enumerate(np.bincount(first.partition))}
            one.commit(done)
            assert one.committed() == done
        stats = log.stats(topic, "readers")
        assert stats.committed.tolist() == [done[p] for p in range(N)]
        assert stats.lag.sum() == 400 - sum(done.values())
        with log.consumer(topic, "readers", QUICK) as two:
            again = drain(two, 400 - sum(done.values()))
            two.commit()
        for p in range(N):
            assert again.offset[again.partition == p].min() == done[p]
        assert log.stats(topic, "readers").lag.sum() == 0

    def test_reading_one_at_a_time_gets_all_of_it(self, log, topic):
        log.append(topic, [b"%d" % i for i in range(30)], [b"k%d" % (i % 2) for i in range(30)])
        got: list[bytes] = []
        with log.consumer(topic, "readers", QUICK) as consumer:
            until = time.monotonic() + 20
            while len(got) < 30 and time.monotonic() < until:
                one = consumer.read(1, wait_ms=500)
                assert len(one) <= 1
                got += one.value
        assert sorted(got) == sorted(b"%d" % i for i in range(30))

    def test_groups_do_not_see_each_other(self, log, topic):
        log.append(topic, *values(50))
        with log.consumer(topic, "one", QUICK) as one, log.consumer(topic, "two", QUICK) as two:
            assert len(drain(one, 50)) == 50
            one.commit()
            assert len(drain(two, 50)) == 50
        assert log.stats(topic, "two").lag.sum() == 50

    def test_seek_replays(self, log, topic):
        data, keys = values(100)
        log.append(topic, data, keys)
        with log.consumer(topic, "readers", QUICK) as consumer:
            first = drain(consumer, 100)
            consumer.commit()
            for p in consumer.assigned:
                consumer.seek(p, 0)
            assert sorted(drain(consumer, 100).value) == sorted(first.value)
            end = consumer.position()[0]
            with pytest.raises(DataError, match=f"no offset {end + 1} in partition 0"):
                consumer.seek(0, end + 1)
            with pytest.raises(PartitionLost, match="partition 9 is not"):
                consumer.seek(9, 0)

    def test_latest_begins_at_the_end_and_earliest_at_the_start(self, log, topic):
        log.append(topic, *values(40))
        late = ConsumerConfig(session_ms=6_000, heartbeat_ms=200, start="latest")
        with log.consumer(topic, "late", late) as consumer:
            until_assigned({consumer: N})
            log.append(topic, [b"new"], ["k"])
            assert drain(consumer, 1).value == [b"new"]

    def test_two_consumers_share_the_partitions_and_one_who_leaves_gives_them_back(
        self, log, topic
    ):
        heard: list[tuple[str, tuple[int, ...]]] = []
        one = log.consumer(
            topic,
            "readers",
            QUICK,
            on_assign=lambda p: heard.append(("assign", p)),
            on_revoke=lambda p: heard.append(("revoke", p)),
        )
        with one:
            until_assigned({one: 4})
            with log.consumer(topic, "readers", QUICK) as two:
                until_assigned({one: 2, two: 2})
                assert set(one.assigned) | set(two.assigned) == set(range(N))
                log.append(topic, *values(200))
                parts = [c.read(500, wait_ms=200) for _ in range(8) for c in (one, two)]
                got = Entries.join(parts)
                assert Counter(got.value) == Counter(values(200)[0])
                one.commit()
                two.commit()
            until_assigned({one: 4})
            assert len(one.read(10)) == 0
        gained = [p for what, ps in heard for p in ps if what == "assign"]
        given = [p for what, ps in heard for p in ps if what == "revoke"]
        assert len(given) == 2 and sorted(gained) == sorted([0, 1, 2, 3, *given])

    def test_a_commit_while_partitions_go_is_still_good(self, log, topic):
        log.append(topic, *values(200))
        one = log.consumer(topic, "readers", QUICK, on_revoke=lambda p: one.commit())
        with one:
            drain(one, 200)
            with log.consumer(topic, "readers", QUICK) as two:
                until_assigned({one: 2, two: 2})
                held = log.stats(topic, "readers")
                assert all(held.lag[p] == 0 for p in two.assigned)

    def test_a_commit_for_what_is_anothers_is_refused_and_changes_nothing(self, log, topic):
        log.append(topic, *values(200))
        with log.consumer(topic, "readers", QUICK) as one:
            drain(one, 200)
            before = one.position()
            with log.consumer(topic, "readers", QUICK) as two:
                until_assigned({one: 2, two: 2})
                p = two.assigned[0]
                with pytest.raises(PartitionLost, match=rf"partitions \[{p}\] of"):
                    one.commit({p: before[p]})
                assert p not in one.committed()

    def test_a_closed_consumer_says_so(self, log, topic):
        consumer = log.consumer(topic, "readers", QUICK)
        consumer.close()
        consumer.close()
        with pytest.raises(DataError, match="is closed"):
            consumer.read()

    @pytest.mark.slow
    def test_what_a_killed_consumer_had_not_committed_is_read_by_another(self, log, topic):
        data, keys = values(400)
        log.append(topic, data, keys)
        child = self.child(log, topic)
        try:
            for line in child.stdout:  # it reads without ever committing
                if int(line.split()[0]) >= 100:
                    break
            with log.consumer(topic, "readers", QUICK) as other:
                until = time.monotonic() + 25
                while len(other.assigned) != 2:  # both live
                    assert time.monotonic() < until
                    other.read(1, wait_ms=50)
                os.kill(child.pid, signal.SIGKILL)
                child.communicate(timeout=20)
                for p in other.assigned:
                    other.seek(p, 0)
                got = drain(other, 400, within_s=40)
                other.commit()
                assert set(got.value) == set(data)
                assert other.assigned == (0, 1, 2, 3)
            assert log.stats(topic, "readers").lag.sum() == 0
        finally:
            child.kill()
            child.communicate()

    # -- what there is ------------------------------------------------------------------------

    def test_stats_tell_ends_lag_and_rates(self, log, topic):
        before = log.stats(topic, "readers")
        assert before.start.tolist() == before.end.tolist() == [0] * N
        log.append(topic, *values(120))
        time.sleep(0.01)
        after = log.stats(topic, "readers")
        assert after.end.sum() == after.lag.sum() == 120
        appended, committed = after.rates_since(before)
        assert appended == pytest.approx(120 / (after.at_s - before.at_s)) and committed == 0
