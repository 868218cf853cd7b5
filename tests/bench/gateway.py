"""The tracking gateway under load: events a second and latencies, beside its own steps.

Clients run in a process of their own, the gateway, its Redis and the clients on this machine's
cores together; times depend on what else runs, so CPU seconds are shown beside them. The last part
kills a consumer with -9 again and again while events come in, and counts what was lost.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from reclab.offline_online.gateway.event_check import EventLimits, check_events
from reclab.offline_online.gateway.gateway import GatewayConfig, run_gateway
from reclab.offline_online.gateway.rate_limit import RateConfig
from reclab.stores.event_log import ConsumerConfig, TopicConfig, open_log
from reclab.stores.kv import KV
from reclab.stores.redis_server import own_server
from tests.offline_online.posts import KEYS, NOW, event

FREE = GatewayConfig(rate=RateConfig(per_s=1e9, burst=1e9, slots=1000))
CLIENTS = "from tests.bench.gateway_clients import *; asyncio.run(main(sys.argv[1], "
CLIENTS += "*map(int, sys.argv[2:5]), float(sys.argv[5])))"
READER = """
import sys, json
from reclab.stores.event_log import ConsumerConfig, open_log
log = open_log(sys.argv[1], namespace=sys.argv[2])
with log.consumer("events", "g", ConsumerConfig(session_ms=1000, heartbeat_ms=100)) as consumer:
    while True:
        entries = consumer.read(200, wait_ms=100)
        print(*[json.loads(value)["video_id"] for value in entries.value], flush=True)
        consumer.commit()
"""


def python(code: str, *arguments: object, **options: Any) -> "subprocess.Popen[str]":
    """A process of its own."""
    words = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(words, stdout=subprocess.PIPE, text=True, **options)


def cpu_s(pid: int) -> float:
    """CPU seconds of a process so far."""
    spent = psutil.Process(pid).cpu_times()
    return float(spent.user + spent.system)


LOADS = ((2_000, 10, 600), (4_000, 20, 600), (0, 20, 900), (0, 100, 600))  # 0: all they can


def load(folder: Path | None) -> None:
    """Events a second at a given rate and as fast as it goes, by events in a request."""
    print(f"{'offered/s':>9}{'served/s':>10}{'a request':>11}{'p50':>9}{'p99':>9}{'load':>7}"
          "   CPU us an event: gateway, Redis, clients; cores in use")  # fmt: skip
    for rate, size, n_requests in LOADS:
        with open_log(namespace=f"bench-{size}-{rate}-{bool(folder)}", folder=folder) as log:
            seen = KV(namespace=f"{log.kv.namespace}-seen")  # type: ignore[attr-defined]
            with run_gateway(log, KEYS, FREE, seen, lambda: NOW) as gateway:
                redis = {own_server(folder).pid, own_server().pid}
                before = cpu_s(os.getpid()), sum(map(cpu_s, redis))
                clients = python(CLIENTS, gateway.url, 16, n_requests // 16, size, rate)
                out, _ = clients.communicate(timeout=120)
                spent = cpu_s(os.getpid()) - before[0], sum(map(cpu_s, redis)) - before[1]
            seconds, of_clients, took = json.loads(out)
            n = sum(accepted for _, accepted in took)
            lost = n - int(log.stats("events").end.sum())
            p50, p99 = 1000 * np.percentile([s for s, _ in took], [50, 99])
            parts = [*spent, of_clients]
            own, of_redis, theirs = (1e6 * s / n for s in parts)
            print(
                f"{f'{rate:,}' if rate else 'all':>9}{n / seconds:>10,.0f}{size:>11}"
                f"{p50:>6.1f} ms{p99:>6.1f} ms{os.getloadavg()[0]:>7.1f}"
                f"   {own:.0f}, {of_redis:.0f}, {theirs:.0f}; {sum(parts) / seconds:.2f} cores"
                f"; acknowledged and lost: {lost}",
                flush=True,
            )


def steps(n: int = 20_000) -> None:
    """CPU of the parts alone."""
    raw = [event(i) for i in range(n)]
    began = time.process_time()
    good = [e for _, e in check_events(raw, "app", 1, NOW, EventLimits()).good]
    checked = time.process_time() - began
    values = [json.dumps(e).encode() for e in good]
    keys = [f"{e['req_id']}:{e['video_id']}" for e in good]
    print(f"check alone: {1e6 * checked / n:.1f} us an event")
    for chunk in (100, 1_000, 20_000):
        with open_log(namespace=f"append-{chunk}") as log:
            log.create("events", TopicConfig())
            pid = own_server().pid
            before, began = cpu_s(pid), time.process_time()
            for at in range(0, n, chunk):
                log.append("events", values[at : at + chunk], keys[at : at + chunk])
            own, redis = time.process_time() - began, cpu_s(pid) - before
            with log.consumer("events", "g", ConsumerConfig()) as consumer:
                began, before = time.process_time(), cpu_s(pid)
                while len(consumer.read(5_000)):
                    consumer.commit()
                read = time.process_time() - began + cpu_s(pid) - before
        both = (own + redis) / n
        print(
            f"append by {chunk:>6}: {1e6 * both:5.1f} us an event, client and Redis together "
            f"({1 / both:,.0f} a CPU second); read and commit {1e6 * read / n:.1f} us"
        )


def kills(times: int = 5, n: int = 20_000) -> None:
    """A consumer killed again and again, while events come in."""
    with open_log(namespace="bench-kills") as log:
        seen = KV(namespace="bench-kills-seen")
        with run_gateway(log, KEYS, FREE, seen, lambda: NOW) as gateway:
            clients = python(CLIENTS, gateway.url, 10, n // 200, 20, 4_000)
            done: list[int] = []
            for left in range(times, -1, -1):
                reader = python(READER, own_server().address, "bench-kills")
                until = time.monotonic() + (1.5 if left else 60)
                while time.monotonic() < until and len(set(done)) < n:
                    assert reader.stdout
                    done += map(int, reader.stdout.readline().split())
                reader.kill()
                rest, _ = reader.communicate()
                done += [
                    int(word)
                    for line in rest.splitlines(True)
                    if line[-1:] == "\n"
                    for word in line.split()
                ]
            clients.communicate(timeout=60)
    print(
        f"{times} kills of the consumer, {n:,} events: lost {n - len(set(done))}, "
        f"read again {len(done) - len(set(done))}"
    )


def main() -> None:
    """Print the tables."""
    print(f"load of the machine before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    steps()
    print("\n16 clients, log in memory")
    load(None)
    print("\n16 clients, every event on the disk before it is acknowledged")
    with tempfile.TemporaryDirectory() as folder:
        load(Path(folder) / "log")
        own_server(Path(folder) / "log").stop()
    print()
    kills()
    print(f"load of the machine after: {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
