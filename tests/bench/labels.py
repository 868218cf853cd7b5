"""The label consumer through the embedded Redis: events a CPU second, of the consumer and of Redis.

What comes in is the join bench's feedback (a median of 40 s, one report a card) and the platform's
kinds (several reports a card). The peer merges the same events one at a time with a dictionary in
Python, without Redis: what the store costs is the difference.

Run: ``python -m tests.bench.labels``.
"""

import json
import os
import time
import uuid
from typing import Any

import numpy as np
import psutil

from reclab.offline_online.labels.label_consumer import LabelConsumer, LabelConsumerConfig
from reclab.offline_online.labels.label_store import PAY, WATCH, LabelStore
from reclab.offline_online.pipeline import EVENTS, create_topics
from reclab.stores.event_log import open_log
from reclab.stores.redis_server import own_server
from tests.bench.join import stream

NAMES = ("event_id", "req_id", "video_id", "kind", "value", "report_ms")


def entries(n: int, per_card: int) -> tuple[list[bytes], list[str]]:
    """``n`` events of the gateway's form, ``per_card`` on each card, in order of arrival."""
    _, told = stream(5 * n // per_card)
    rows = list(zip(*(told[name].tolist() for name in NAMES), strict=True))
    events = []
    for k in range(per_card):
        for row in rows:
            event = dict(zip(NAMES, row, strict=True)) | {"event_id": f"e{row[0]}-{k}"}
            event["kind"] = (event["kind"] + k) % 8
            events.append(event | {"app": "app", "device_id": row[1] % 1000, "user_id": 1})
    events.sort(key=lambda event: event["report_ms"])
    values = [json.dumps(event, separators=(",", ":")).encode() for event in events]
    return values, [str(event["req_id"]) for event in events]


def dictionary(values: list[bytes]) -> float:
    """CPU seconds of the plain way."""
    began, held = time.process_time(), dict[tuple[int, int], list[Any]]()
    for value in values:
        event = json.loads(value)
        row = held.setdefault((event["req_id"], event["video_id"]), [0, 0.0, 0.0, set()])
        name = (event["app"], event["device_id"], event["event_id"])
        if name not in row[3]:
            row[3].add(name)
            row[0] |= 1 << event["kind"]
            if event["kind"] == WATCH:
                row[1] = max(row[1], event["value"])
            elif event["kind"] == PAY:
                row[2] += event["value"]
    return time.process_time() - began


def read_all(store: LabelStore, values: list[bytes]) -> tuple[int, float]:
    """Look every card up: how many, and CPU seconds of this process and of Redis."""
    pairs = {(event["req_id"], event["video_id"]) for event in map(json.loads, values)}
    cards = np.array(sorted(pairs), np.int64)
    server = psutil.Process(own_server().pid)
    used, began = sum(server.cpu_times()[:2]), time.process_time()
    assert store.read(cards[:, 0], cards[:, 1], 0).n_labels.sum() == len(values)
    return len(cards), time.process_time() - began + sum(server.cpu_times()[:2]) - used


def measure(n: int, per_card: int, most: int) -> None:
    """Print one line."""
    values, keys = entries(n, per_card)
    log = open_log(namespace=f"log-{uuid.uuid4().hex}")
    store = LabelStore(namespace=f"labels-{uuid.uuid4().hex}")
    create_topics(log)
    log.append(EVENTS, values, keys)
    server = psutil.Process(own_server().pid)
    consumer = LabelConsumer(log, store, LabelConsumerConfig(most=most, wait_ms=0))
    consumer.step()
    first = consumer.counts["merged"]
    used, began = sum(server.cpu_times()[:2]), time.process_time()
    wall = time.perf_counter()
    while log.stats(EVENTS, "labels").lag.any():
        consumer.step()
    wall = time.perf_counter() - wall
    ours, redis = time.process_time() - began, sum(server.cpu_times()[:2]) - used
    done = consumer.counts["merged"] - first
    before = store.kv.redis.info("memory")["used_memory"]  # type: ignore[index]
    n_read, read_s = read_all(store, values)
    log.trim(EVENTS, {p: int(end) for p, end in enumerate(log.stats(EVENTS).end)})
    memory = store.kv.redis.info("memory")["used_memory"]  # type: ignore[index]
    cards = len(values) // per_card
    print(f"{per_card:>9}{most:>8}{done / ours:>12,.0f}{done / redis:>12,.0f}"
          f"{done / (ours + redis):>12,.0f}{done / wall:>12,.0f}"
          f"{len(values) / dictionary(values):>12,.0f}{memory / cards:>10.0f} B"
          f"{(before - memory) / len(values):>10.0f} B{n_read / read_s:>12,.0f}")  # fmt: skip
    store.kv.redis.flushall()
    assert consumer.counts["merged"] == len(values)


def main() -> None:
    """Print the table."""
    print(f"load of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    print("events a second of CPU of the consumer, of its Redis, of both; by the clock; dictionary")
    heads = ("consumer", "Redis", "both", "clock", "dictionary")
    print("then bytes of Redis a card and an entry of the log, and cards looked up a second of CPU")
    print(f"{'per card':>9}{'a read':>8}" + "".join(f"{head:>12}" for head in heads), end="")
    print(f"{'a card':>12}{'an entry':>12}{'looked up':>12}")
    for per_card, most in ((1, 10_000), (2, 10_000), (4, 10_000), (1, 2_000), (1, 500)):
        measure(200_000, per_card, most)


if __name__ == "__main__":
    main()
