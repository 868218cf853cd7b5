"""The label store and its consumer: whatever is doubled, killed or lost, the end is the truth."""

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reclab.core.chance import rng
from reclab.core.errors import ConfigError
from reclab.offline_online.labels.label_consumer import (
    LabelConsumer,
    LabelConsumerConfig,
    read_events,
)
from reclab.offline_online.labels.label_store import (
    MOST,
    LabelStore,
    LabelStoreConfig,
    event_names,
)
from reclab.offline_online.pipeline import DEAD_LETTERS, EVENTS, create_topics
from reclab.stores.event_log import ConsumerConfig, EventLog, StoreDown, TopicConfig, open_log
from reclab.stores.kv import KVConfig
from reclab.stores.redis_server import own_server
from tests.offline_online.posts import held
from tests.stores.event_log.kafka_cluster import Cluster

WATCH, PAY = 1, 7
Columns = dict[str, np.ndarray]


def reports(seed: int, m: int, n_cards: int = 50, doubles: float = 0.2) -> Columns:
    """Random feedback on ``n_cards`` cards, a share of it twice or more, in order of stamps."""
    chance = rng(seed, "label reports")
    told = {
        "event": np.arange(m),
        "req_id": chance.integers(0, n_cards, m) // 5,
        "video_id": chance.integers(0, n_cards, m),
        "kind": chance.integers(0, 8, m),
        "value": chance.integers(0, 400, m) / 4,
        "report_ms": chance.integers(1, 10**6, m),
    }
    again = chance.integers(0, m, int(doubles * m))
    told = {name: np.concatenate([column, column[again]]) for name, column in told.items()}
    order = chance.permutation(len(told["event"]))
    told = {name: column[order] for name, column in told.items()}
    nothing = [""] * len(order), [0] * len(order)
    return told | {"name": event_names(*nothing, told["event"].tolist())}


def entries(told: Columns) -> tuple[list[bytes], list[str]]:
    """The same as entries of the topic, and their keys."""
    names = ("req_id", "video_id", "kind", "value", "report_ms")
    rows = zip(told["event"].tolist(), *(told[k].tolist() for k in names), strict=True)
    values = [
        json.dumps(dict(zip(("event_id", *names), row, strict=True))).encode() for row in rows
    ]
    return values, [str(req) for req in told["req_id"].tolist()]


def truth(told: Columns) -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
    """Cards and what came on each, by plain NumPy: each event once."""
    once = np.unique(told["event"], return_index=True)[1]
    req, item, kind, value, stamp = (
        told[k][once] for k in ("req_id", "video_id", "kind", "value", "report_ms")
    )
    cards, at = np.unique(np.stack([req, item], 1), axis=0, return_inverse=True)
    labels, watch = np.zeros(len(cards), np.int64), np.zeros(len(cards))
    np.bitwise_or.at(labels, at, 1 << kind)
    np.maximum.at(watch, at[kind == WATCH], value[kind == WATCH])
    pay = np.bincount(at[kind == PAY], value[kind == PAY], len(cards))
    first, last = np.full(len(cards), 1 << 60), np.zeros(len(cards), np.int64)
    np.minimum.at(first, at, stamp)
    np.maximum.at(last, at, stamp)
    count = np.bincount(at, minlength=len(cards))
    return cards[:, 0], cards[:, 1], [labels, count, watch, pay, first, last]


def check(store: LabelStore, told: Columns) -> None:
    """The store holds exactly the truth."""
    req, item, want = truth(told)
    found = store.read(req, item, 0)
    names = ("labels", "n_labels", "watch_sec", "pay_amount", "first_ms", "last_ms")
    for name, column in zip(names, want, strict=True):
        assert getattr(found, name).tolist() == column.tolist(), name


@pytest.fixture
def store() -> Iterator[LabelStore]:
    made = LabelStore(namespace=f"labels-{uuid.uuid4().hex}")
    yield made
    made.close()


@pytest.fixture
def log() -> Iterator[EventLog]:
    log = open_log(namespace=f"log-{uuid.uuid4().hex}")
    create_topics(log)
    yield log
    log.close()


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), cuts=st.lists(st.integers(0, 240), max_size=6))
def test_any_cuts_order_and_repetition_end_in_the_truth(seed: int, cuts: list[int]):
    store = LabelStore(namespace=f"labels-{uuid.uuid4().hex}")
    told = reports(seed, 200)
    edges = [0, *sorted(cuts), 240]
    parts = list(zip(edges, edges[1:], strict=False))
    chance = rng(seed, "parts")
    for i in [*chance.permutation(len(parts)), *chance.integers(0, len(parts), 3)]:
        a, b = parts[i]
        store.merge({name: column[a:b] for name, column in told.items()})
    check(store, told)


def test_a_large_batch_is_merged_by_several_scripts_at_once(store: LabelStore):
    told = reports(1, 9_000, n_cards=2_000)
    done = store.merge(told)
    assert (done.merged, done.doubled) == (9_000, 1_800)
    check(store, told)
    again = store.merge(told)
    assert (again.merged, again.doubled) == (0, 10_800)
    check(store, told)


def test_a_card_with_no_feedback_reads_as_nothing(store: LabelStore):
    told = reports(2, 5)
    store.merge(told)
    found = store.read(np.array([10**9]), np.array([1]), 0)
    assert found.labels.tolist() == found.n_labels.tolist() == found.last_ms.tolist() == [0]
    assert len(store.read(np.zeros(0, int), np.zeros(0, int), 0).labels) == 0
    assert store.merge({name: column[:0] for name, column in told.items()}).merged == 0


def test_labels_expire_by_the_stamps_clock_and_leave_redis_by_its_own(store: LabelStore):
    brief = LabelStore(config=LabelStoreConfig(expire_ms=500))
    told = reports(3, 1)
    brief.merge(told)
    req, item, (labels, *_, first, _last) = truth(told)
    assert brief.read(req, item, int(first[0]) + 499).labels.tolist() == labels.tolist()
    assert brief.read(req, item, int(first[0]) + 500).labels.tolist() == [0]
    assert 0 < brief.kv.ttl_s(f"{req[0]}:{item[0]}") <= 0.5  # type: ignore[operator]
    until = time.monotonic() + 10
    while brief.kv.get(f"{req[0]}:{item[0]}") is not None and time.monotonic() < until:
        time.sleep(0.05)
    assert brief.read(req, item, 0).labels.tolist() == [0]


def test_a_repetition_does_not_lengthen_a_life(store: LabelStore):
    told = reports(3, 1)
    store.merge(told)
    name = f"{told['req_id'][0]}:{told['video_id'][0]}"
    store.kv.expire(name, 50)
    store.merge(told)
    assert store.kv.ttl_s(name) <= 50  # type: ignore[operator]


def test_a_card_takes_no_more_events_than_a_human_can_make(store: LabelStore):
    told = {name: column for name, column in reports(4, MOST + 50, n_cards=1, doubles=0).items()}
    done = store.merge(told)
    assert (done.merged, done.refused) == (MOST, 50)


def test_a_batch_after_a_gap_is_not_merged(store: LabelStore):
    told = reports(5, 10)
    assert not store.merge(told, {0: (7, 9)}).whole
    assert store.read(*truth(told)[:2], 0).labels.max() == 0 and store.offsets() == {}
    assert store.merge(told, {0: (0, 7), 3: (0, 2)}).whole
    assert store.merge(told, {0: (5, 9)}).whole and store.offsets() == {0: 9, 3: 2}
    assert store.merge(told, {0: (1, 4)}).whole and store.offsets() == {0: 9, 3: 2}


def drained(consumer: LabelConsumer) -> None:
    """Steps until nothing is left."""
    while sum(consumer.log.stats(EVENTS, "labels").lag.tolist()):
        try:
            consumer.step()
        except StoreDown:
            consumer.recover(lambda s: None)


def test_the_consumer_writes_what_is_in_the_topic(log: EventLog, store: LabelStore):
    told = reports(6, 3_000, n_cards=300)
    log.append(EVENTS, *entries(told))
    consumer = LabelConsumer(log, store, LabelConsumerConfig(most=700, wait_ms=0))
    drained(consumer)
    check(store, told)
    assert consumer.counts["merged"] == 3_000 and consumer.counts["doubled"] == 600
    assert consumer.counts["replays"] == 0


def test_bad_entries_go_aside_and_stop_nothing(log: EventLog, store: LabelStore):
    told = reports(7, 20)
    values, keys = entries(told)
    good = json.loads(values[0])
    bad = [b"?", b"5", b"null", b"1],[2", b"[" * 5_000, b"{}", b'{"req_id": NaN}']
    for name, value in (
        ("kind", 8),
        ("kind", -1),
        ("kind", "like"),
        ("value", -1.0),
        ("value", float("nan")),
        ("value", None),
        ("req_id", 1.5),
        ("req_id", 1 << 70),
        ("report_ms", -1),
        ("report_ms", 1 << 60),
    ):
        bad.append(json.dumps(good | {name: value}).encode())
    log.append(EVENTS, [*values, *bad], [*keys, *["0"] * len(bad)])
    consumer = LabelConsumer(log, store, LabelConsumerConfig(wait_ms=0))
    drained(consumer)
    check(store, told)
    letters = held(log, DEAD_LETTERS)
    assert len(letters) == consumer.counts["bad"] == len(bad)
    assert all(letter["reason"] for letter in letters)
    assert read_events([])[1] == {}


def test_two_consumers_and_every_event_twice_change_nothing(log: EventLog, store: LabelStore):
    told = reports(8, 2_000)
    log.append(EVENTS, *entries(told))
    config, member = LabelConsumerConfig(most=150, wait_ms=0), ConsumerConfig(2_000, 10)
    one, two = (LabelConsumer(log, store, config, member) for _ in range(2))
    until = time.monotonic() + 30
    while log.stats(EVENTS, "labels").lag.sum() and time.monotonic() < until:
        one.step()
        two.step()
    check(store, told)
    assert one.counts["merged"] and two.counts["merged"]
    other = LabelConsumer(log, store, LabelConsumerConfig("again", wait_ms=0))
    for _ in range(10):
        other.step()
    assert other.counts["merged"] == 0 and other.counts["doubled"] == 2_400
    check(store, told)


def test_a_store_that_comes_back_empty_is_filled_from_the_log_again(log: EventLog):
    store = LabelStore(namespace=f"labels-{uuid.uuid4().hex}")
    told = reports(9, 2_000)
    values, keys = entries(told)
    log.append(EVENTS, values[:1_500], keys[:1_500])
    consumer = LabelConsumer(log, store, LabelConsumerConfig(most=400, wait_ms=0))
    drained(consumer)
    store.kv.delete(*store.kv.names())
    log.append(EVENTS, values[1_500:], keys[1_500:])
    drained(consumer)
    check(store, told)
    assert consumer.counts["replays"] == 1


def test_redis_killed_again_and_again_loses_and_doubles_nothing(tmp_path: Path):
    config = KVConfig(folder=tmp_path)
    log, store = open_log(folder=tmp_path), LabelStore(kv=config)
    create_topics(log, TopicConfig(partitions=2))
    told, waits = reports(10, 4_000, n_cards=400), list[float]()
    log.append(EVENTS, *entries(told))
    consumer = LabelConsumer(log, store, LabelConsumerConfig(most=300, wait_ms=0))
    chance = rng(10, "kills")
    for _ in range(4):
        for _ in range(int(chance.integers(1, 4))):
            consumer.step()
        os.kill(own_server(tmp_path).pid, signal.SIGKILL)
        with pytest.raises(StoreDown):
            consumer.step()
        consumer.recover(waits.append)
    drained(consumer)
    check(store, told)
    assert consumer.counts["down"] == 4
    own_server(tmp_path).stop()


def test_it_gives_up_when_nobody_answers_for_so_long(log: EventLog, store: LabelStore):
    consumer = LabelConsumer(log, store, LabelConsumerConfig(retry_s=1.0, patience_s=3.0))
    waits: list[float] = []

    def down() -> None:
        raise StoreDown("gone")

    store.reconnect = down  # type: ignore[method-assign]
    with pytest.raises(StoreDown):
        consumer.recover(waits.append)
    assert waits == [1.0, 1.0, 1.0]


def test_settings_are_checked():
    with pytest.raises(ConfigError, match="expire_ms"):
        LabelStoreConfig(expire_ms=0)
    with pytest.raises(ConfigError, match="most"):
        LabelConsumerConfig(most=0)


def process(address: str, *more: str) -> "subprocess.Popen[str]":
    """The consumer as a process of its own."""
    command = [
        sys.executable,
        "-m",
        "reclab.offline_online.labels.label_consumer",
        "--address",
        address,
    ]
    command += ["--session-ms", "900"]
    return subprocess.Popen([*command, *more], stdout=subprocess.PIPE, text=True)


def _kill_at_work(
    child: "subprocess.Popen[str]", store: LabelStore, before: int, more_s: float
) -> None:
    """With -9, some time after it has begun to merge."""
    until = time.monotonic() + 30
    while sum(store.offsets().values()) == before and time.monotonic() < until:
        time.sleep(0.002)
    time.sleep(more_s)
    child.kill()


def test_killed_with_9_anywhere_it_ends_in_the_truth(tmp_path: Path):
    log, store = open_log(folder=tmp_path), LabelStore(kv=KVConfig(folder=tmp_path))
    create_topics(log)
    told = reports(11, 40_000, n_cards=4_000)
    values, keys = entries(told)
    chance, cuts, killed = rng(11, "kills"), np.linspace(0, len(values), 4).astype(int), 0
    for a, b in zip(cuts, cuts[1:], strict=False):
        log.append(EVENTS, values[a:b], keys[a:b])
        before = sum(store.offsets().values())
        with process(store.kv.address, "--most", "100") as child:
            _kill_at_work(child, store, before, float(chance.uniform(0, 0.1)))
        killed += sum(store.offsets().values()) < b
    assert killed >= 2  # in the middle of its work
    with process(store.kv.address, "--idle-s", "2.5") as last:
        counts: dict[str, Any] = json.loads(last.communicate(timeout=60)[0].splitlines()[-1])
    check(store, told)
    assert counts["merged"] > 0 and log.stats(EVENTS, "labels").lag.sum() == 0
    own_server(tmp_path).stop()


def test_on_kafka_with_labels_on_redis_it_does_the_same(store: LabelStore):
    cluster = Cluster()
    log = open_log(cluster.address)
    create_topics(log)
    told = reports(12, 2_000)
    values, keys = entries(told)
    log.append(EVENTS, values[:1_200], keys[:1_200])
    consumer = LabelConsumer(log, store, LabelConsumerConfig(most=500, wait_ms=100))
    until = time.monotonic() + 30
    while consumer.counts["merged"] + consumer.counts["doubled"] < 1_200:
        consumer.step()
        assert time.monotonic() < until
    store.kv.delete(*store.kv.names())  # comes back empty
    log.append(EVENTS, values[1_200:], keys[1_200:])
    while sum(store.offsets().values()) < len(values):
        consumer.step()
        assert time.monotonic() < until
    check(store, told)
    assert consumer.counts["replays"] >= 1
    consumer.close()
    log.close()
    cluster.stop()
