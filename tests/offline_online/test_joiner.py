"""Joiner: exact samples from two streams, over snapshots, take-overs and zombies."""

from collections.abc import Iterator

import numpy as np
import pytest

from reclab.offline_online.features.feature_log import unpack
from reclab.offline_online.join import sample_record
from reclab.offline_online.join.joiner import CARRY, Joiner, JoinerConfig
from reclab.offline_online.join.partition import JoinTopics
from reclab.offline_online.join.sample_join import SampleJoinConfig
from reclab.offline_online.join.window import FixedWindow
from reclab.offline_online.pipeline import DEAD_LETTERS, EVENTS, FEATURES, create_topics
from reclab.stores.event_log import (
    ConsumerConfig,
    EventLog,
    PartitionLost,
    TopicConfig,
    open_log,
)
from reclab.stores.kv import KV
from tests.offline_online.join_storm import (
    DISORDER_MS,
    REMEMBER_MS,
    WINDOW_MS,
    Storm,
    differences,
    found,
    put,
    storm,
)

N = 3
JOIN = SampleJoinConfig(DISORDER_MS, 5_000, REMEMBER_MS, CARRY)
QUICK = ConsumerConfig(session_ms=400, heartbeat_ms=20)
STORM = storm(600)


@pytest.fixture
def log(request: pytest.FixtureRequest) -> Iterator[EventLog]:
    with open_log(namespace=f"joiner-{abs(hash(request.node.name))}") as log:
        create_topics(log, TopicConfig(partitions=N))
        yield log


def joiner(log: EventLog, kv: KV | None = None, **changes: object) -> Joiner:
    config = {"join": JOIN, "consumer": QUICK, "snapshot_s": 1e3, **changes}
    kv = kv or KV(namespace=f"{log.kv.namespace}-kv")  # type: ignore[attr-defined]
    return Joiner(log, kv, JoinerConfig(**config), lambda: FixedWindow(WINDOW_MS))


def put_all(log: EventLog, weather: Storm = STORM) -> None:
    put(log, FEATURES, weather.pages)
    put(log, EVENTS, weather.events)


def work(one: Joiner) -> int:
    total = 0
    while n := one.step():
        total += n
    return total


def test_samples_are_those_of_the_batch(log):
    put_all(log)
    one = joiner(log, read_entries=70)
    work(one)
    assert 0 < len(found(log)) < len(STORM.truth)  # the end of the streams is not known yet
    one.drain()
    assert differences(found(log), STORM.truth) == {}
    reports = one.report()
    assert all(report.balanced for report in reports.values())
    late = sum(report.count["late"] for report in reports.values())
    unmatched = sum(report.count["unmatched"] for report in reports.values())
    assert late > 50 and unmatched > 10
    one.close()


def test_features_of_a_sample_are_those_that_were_logged(log):
    put_all(log)
    one = joiner(log, payload_bytes=20_000)  # most are read again from the log
    work(one)
    one.drain()
    logged = {f"{s.req_id}": s.features for s in unpack([v for _, _, v in STORM.pages])}
    assert sum(part._payloads.n_again for part in one.parts.values()) > 100
    for p in range(N):
        records = sample_record.unpack(log.read("samples", p, 0, 10**6).value)
        for b, req_id in enumerate(records.head["req_id"].tolist()):
            mine, whole = records.features.take(np.array([b])), logged[str(req_id)]
            assert mine.request.tobytes() == whole.request.tobytes()
            assert mine.pair.tobytes() == whole.pair.tobytes()


@pytest.mark.parametrize("seed", range(6))
def test_a_joiner_that_dies_anywhere_is_taken_over_exactly(log, seed):
    chance, one = np.random.default_rng(seed), joiner(log, read_entries=50)
    pages, events = list(STORM.pages), list(STORM.events)
    while pages or events:
        n = int(chance.integers(1, 400))
        put(log, FEATURES, pages[:n])
        put(log, EVENTS, events[:n])
        del pages[:n], events[:n]
        for _ in range(int(chance.integers(1, 5))):
            one.step()
        if chance.random() < 0.5:
            one.save()
        if chance.random() < 0.5:
            one.step()
            one.consumer.close()  # as if dead, only that its lease ends at once
            one = joiner(log, read_entries=int(chance.integers(10, 200)))
    work(one)
    one.drain()
    assert differences(found(log), STORM.truth) == {}
    assert all(report.balanced for report in one.report().values())
    assert not any(part._out for part in one.parts.values())


def test_a_zombie_can_double_nothing(log):
    put_all(log)
    zombie = joiner(log, read_entries=200)
    zombie.step()
    part = zombie.parts[0]
    part.save()
    heir = joiner(log)
    heir._part(0)  # takes it while the zombie sleeps in the middle of an append
    part._snapshots.check = lambda *args: None  # it had looked just before
    before, end = len(found(log, (0,))), log.stats("samples").end[0]
    zombie.step()
    assert part.count["samples"] > 0 and log.stats("samples").end[0] > end  # it did append
    assert len(found(log, (0,))) == before
    with pytest.raises(PartitionLost, match="taken by another joiner"):
        del part._snapshots.check
        part.save()
    zombie.consumer.close()
    heir.parts.clear()
    work(heir)
    heir.drain()
    assert differences(found(log), STORM.truth) == {}


def test_lost_snapshots_cost_work_but_no_sample(log):
    put_all(log)
    one = joiner(log)
    one.step()
    one.save()
    one.step()
    one.consumer.close()
    one.kv.delete(*one.kv.names())
    heir = joiner(log)
    work(heir)
    heir.drain()
    assert differences(found(log), STORM.truth) == {}
    assert sum(part.count["again"] for part in heir.parts.values()) > 0


def test_silent_streams_close_by_the_platforms_time(log):
    put(log, FEATURES, STORM.pages)
    one = joiner(log, settle_ms=1_000)
    work(one)
    assert not len(found(log))  # no report has come: its stream might only be slow
    last = max(stamp for stamp, _, _ in STORM.pages)
    one.step(now_ms=last + WINDOW_MS + 1_000 + DISORDER_MS + 1)
    assert len(found(log)) == len(STORM.truth)


def test_late_labels_are_sent_as_corrections_when_asked(log):
    put_all(log)
    log.create("corrections", TopicConfig(partitions=N))
    one = joiner(log, topics=JoinTopics(corrections="corrections"))
    work(one)
    one.drain()
    late = sum(report.count["late"] for report in one.report().values())
    assert int(log.stats("corrections").end.sum()) == late > 0


def test_broken_entries_are_told_and_stop_nothing(log):
    put_all(log)
    log.append(FEATURES, [b"garbage", STORM.pages[0][2][:-3]], ["1", "2"])
    log.append(EVENTS, [b"{", b"5", b'{"req_id": 5}'], ["1", "2", "3"])
    one = joiner(log)
    work(one)
    one.drain()
    assert differences(found(log), STORM.truth) == {}
    assert sum(part.count["bad"] for part in one.parts.values()) == 5
    assert int(log.stats(DEAD_LETTERS).end.sum()) == 5
