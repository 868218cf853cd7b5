"""The whole path under fire: serving and devices send, gateway, joiners and Redis are killed -9.

Features go into the log, feedback over HTTP through a gateway process, two joiner processes join;
Redis keeps every write in an append-only file. At 20 random moments one of them is killed and
started again; clients repeat until they are answered. In the end the samples in the topic are held
against the batch over what was sent and what the log acknowledged: lost, doubled, different.

RECLAB_BENCH_PAGES: pages of ten impressions (default 100 000, some minutes).
"""

import asyncio
import json
import mmap
import os
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from reclab.core.chance import rng
from reclab.core.tables import Table
from reclab.offline_online.join.joiner import Joiner, JoinerConfig
from reclab.offline_online.join.records import KINDS
from reclab.offline_online.join.report_entries import event_number, read_reports
from reclab.offline_online.join.window import FixedWindow
from reclab.offline_online.pipeline import FEATURES, create_topics
from reclab.stores.event_log import ConsumerConfig, EventLog, TopicConfig, open_log
from reclab.stores.kv import KV
from tests.bench.joiner import JOIN, weather
from tests.offline_online import join_storm
from tests.offline_online.fixed_redis import FixedRedis
from tests.offline_online.joiner_process import insist, until
from tests.offline_online.posts import NOW, PATH, batch, signed

N_PAGES, N_KILLS, GROUP, A_POST = 100_000, 20, 16, 100
KINDS_KILLED = ("gateway", "first joiner", "second joiner", "redis")
GATEWAY = """
import mmap, struct, sys, time
from reclab.offline_online.gateway.gateway import GatewayConfig, run_gateway
from reclab.offline_online.gateway.rate_limit import RateConfig
from reclab.stores.event_log import open_log
from reclab.stores.kv import KV
from tests.offline_online.posts import KEYS
address, clock, port = sys.argv[1:]
file = open(clock, "r+b")
shared = mmap.mmap(file.fileno(), 8)
free = GatewayConfig(rate=RateConfig(per_s=1e9, burst=1e9, slots=1000))
now = lambda: struct.unpack("<q", shared[:])[0]
log, kv = open_log(address, namespace="log"), KV(address, "gateway")
with run_gateway(log, KEYS, free, kv, now, int(port)) as gateway:
    time.sleep(1e6)
"""


class Fleet:
    """The processes, by name; each can be killed and started again."""

    def __init__(self, folder: Path, port: int) -> None:
        self.redis, self.clock_file, self.port = FixedRedis(folder), folder / "clock", port
        self.clock_file.write_bytes(struct.pack("<q", NOW))
        self.clock = mmap.mmap(os.open(self.clock_file, os.O_RDWR), 8)
        self.killed: Counter[str] = Counter()
        self.running = {name: self.start(name) for name in KINDS_KILLED[:3]}

    def start(self, name: str) -> "subprocess.Popen[bytes]":
        """Start one of them."""
        if name == "gateway":
            more = [self.redis.address, str(self.clock_file), str(self.port)]
            words = ["-c", GATEWAY, *more]
        else:
            settings = {"address": self.redis.address, "window-ms": join_storm.WINDOW_MS,
                        "disorder-ms": JOIN.disorder_ms, "remember-ms": JOIN.remember_ms,
                        "session-ms": 3_000, "snapshot-s": 1.0}  # fmt: skip
            words = ["-m", "reclab.offline_online.join.joiner"]
            words += [word for key, value in settings.items() for word in (f"--{key}", str(value))]
        return subprocess.Popen([sys.executable, *words], stderr=subprocess.DEVNULL)

    def kill(self, name: str) -> None:
        """kill -9, and start it again."""
        self.killed[name] += 1
        if name == "redis":
            self.redis.kill()
            self.redis.start()
        else:
            self.running[name].kill()
            self.running[name].wait()
            self.running[name] = self.start(name)

    def end(self) -> None:
        """Kill all but Redis."""
        for process in self.running.values():
            process.kill()
            process.wait()


def as_sent(told: Table) -> list[tuple[int, dict[str, Any]]]:
    """Reports in order of time, as devices send them; one in ten twice."""
    names = ("req_id", "video_id", "kind", "value", "event_ms", "report_ms")
    found = []
    for i, row in enumerate(zip(*(told[name].tolist() for name in names), strict=True)):
        event = {**dict(zip(names, row, strict=True)), "event_id": f"e-{i:09d}", "user_id": 1}
        stamp, event["kind"] = event.pop("report_ms"), KINDS[event["kind"]]
        if event["kind"] not in ("watch", "pay"):
            del event["value"]
        found += [(stamp, event)] * (1 + (i % 10 == 0))
    return sorted(found, key=lambda one: one[0])


async def post(client: httpx.AsyncClient, events: list[dict[str, Any]], now_ms: int) -> int:
    """Send until it is answered 200; returns how many times it was sent."""
    asked, tries = signed(batch(*events), now_ms), 0
    while True:
        tries += 1
        try:
            answer = await client.post(PATH, **asked)
            if answer.status_code == 200:
                return tries
            assert answer.status_code == 503, answer.text
        except httpx.TransportError:
            assert tries < 600, "no gateway"
        await asyncio.sleep(0.1)


async def send(
    fleet: Fleet, log: EventLog, streams: join_storm.Storm, kills: dict[int, str]
) -> Counter[str]:
    """Both streams in order of time, a group of posts after the other; kills strike within."""
    sent, pages, at = as_sent(streams.told), streams.pages, 0
    count, chance = Counter(pages=0, events=len(sent), posts=0, tries=0), rng(1, "kill moments")
    step = GROUP * A_POST
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{fleet.port}", timeout=20) as client:
        for k, first in enumerate(range(0, len(sent), step)):
            group = sent[first : first + step]
            now_ms = group[-1][0]
            fleet.clock[:] = struct.pack("<q", now_ms)
            strike = None
            if k in kills:
                wait_s = 0.3 * float(chance.random())
                strike = threading.Timer(wait_s, fleet.kill, [kills[k]])
                strike.start()
            stop = at
            while stop < len(pages) and (pages[stop][0] <= now_ms or first + step >= len(sent)):
                stop += 1
            for a in range(at, stop, 2_000):
                some = pages[a : min(a + 2_000, stop)]
                await asyncio.to_thread(insist, log, partial(join_storm.put, log, FEATURES, some))
            at = stop
            posts = [
                [event for _, event in group[a : a + A_POST]] for a in range(0, len(group), A_POST)
            ]
            tries = await asyncio.gather(*[post(client, some, now_ms) for some in posts])
            count["posts"] += len(tries)
            count["tries"] += sum(tries)
            if strike:
                strike.join()
    count["pages"] = at
    return count


def acknowledged(log: EventLog) -> tuple[Table, int]:
    """What the gateway wrote, and how many entries."""
    parts, n = [], 0
    for p in range(4):
        at = 0
        while len(entries := log.read("events", p, at, 5_000)):
            columns, bad = read_reports(entries.value)
            assert not bad
            parts.append(columns)
            n, at = n + len(entries), int(entries.offset[-1]) + 1
    return Table({name: np.concatenate([part[name] for part in parts]) for name in parts[0]}), n


def judge(fleet: Fleet, log: EventLog, streams: join_storm.Storm) -> dict[str, int]:
    """Drain what is left by a last joiner, and compare."""
    kv = KV(fleet.redis.address, "log-joiner")
    config = JoinerConfig(join=JOIN, consumer=ConsumerConfig(3_000, 300))
    last = Joiner(log, kv, config, lambda: FixedWindow(join_storm.WINDOW_MS))
    until(lambda: last.step(wait_ms=50) >= 0 and len(last.parts) == 4)
    while last.step():
        pass
    last.drain()
    told, n = acknowledged(log)
    numbers = [event_number("app", 0xD7A3B2C1, f"e-{i:09d}") for i in range(len(streams.told))]
    lost = len(set(numbers) - set(told["event_id"].tolist()))
    print(f"events in the log: {n:,} of {len(numbers):,} sent; lost {lost}, there twice "
          f"{n - len(np.unique(told['event_id'])):,}")  # fmt: skip
    truth = join_storm.truth_of(streams.shown, told)
    labelled = int((truth["labels"] > 0).sum())
    print(f"samples by the batch: {len(truth):,}, {labelled:,} with a label")
    wrong = join_storm.differences(join_storm.found(log), truth)
    reports = last.report().values()
    assert all(report.balanced for report in reports)
    names = ("late", "unmatched", "duplicate_impressions", "duplicate_reports")
    print({name: sum(report.count[name] for report in reports) for name in names})
    return wrong | ({"events": lost} if lost else {})


def main() -> None:
    """Send, kill, judge."""
    n_pages = int(os.environ.get("RECLAB_BENCH_PAGES", N_PAGES))
    streams = weather(n_pages, NOW)
    n_groups = -(-len(as_sent(streams.told)) // (GROUP * A_POST))
    chance = rng(0, "kills")
    n_kills = min(N_KILLS, n_groups - 1)
    when = chance.choice(np.arange(1, n_groups), n_kills, replace=False).tolist()
    kills = {k: KINDS_KILLED[i % 4] for i, k in enumerate(when)}
    with tempfile.TemporaryDirectory() as folder:
        fleet = Fleet(Path(folder), 20_000 + os.getpid() % 20_000)
        log, began = open_log(fleet.redis.address, namespace="log"), time.perf_counter()
        create_topics(log, TopicConfig(partitions=4))
        count = asyncio.run(send(fleet, log, streams, kills))
        fleet.end()
        print(f"{json.dumps(count)} in {time.perf_counter() - began:.0f} s; killed "
              f"{json.dumps(fleet.killed)}")  # fmt: skip
        wrong = judge(fleet, log, streams)
        verdict = wrong or "nothing lost, doubled or different"
        print(f"{10 * n_pages:,} impressions, {n_kills} kills: {verdict}")
        fleet.redis.kill()


if __name__ == "__main__":
    main()
