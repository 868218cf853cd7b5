"""Through the embedded Redis: requests and reports into the log, joined, samples back into it.

Serving's entries are appended as it does it. As many reports go through the gateway's intake,
without HTTP (JSON, checks, duplicates, log), into a log of their own, since it stamps them anew;
those that are joined are appended once more. One joiner in this process reads both streams, joins
and writes the samples, with its snapshots; they are compared with those of the batch.
An event is a shown card or a report; a page of ten cards is one entry, and rates of entries are
shown beside. CPU is that of this process and of Redis together.

Run: ``python -m tests.bench.end_to_end``.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

from reclab.offline_online.gateway.event_check import EventLimits
from reclab.offline_online.gateway.intake import Intake, Post
from reclab.offline_online.gateway.rate_limit import RateConfig, TokenBuckets
from reclab.offline_online.gateway.seen_events import SeenEvents
from reclab.offline_online.join.joiner import CARRY, Joiner, JoinerConfig
from reclab.offline_online.join.sample_join import SampleJoinConfig
from reclab.offline_online.join.window import FixedWindow
from reclab.offline_online.pipeline import DEAD_LETTERS, EVENTS, FEATURES, create_topics
from reclab.stores.event_log import EventLog, TopicConfig, open_log
from reclab.stores.kv import KV
from reclab.stores.redis_server import own_server
from tests.bench.gateway import cpu_s
from tests.bench.joiner import WIDTHS
from tests.offline_online.join_storm import (
    DISORDER_MS,
    REMEMBER_MS,
    WINDOW_MS,
    Storm,
    differences,
    found,
    storm,
)
from tests.offline_online.posts import NOW, batch, event

PAGES, CARDS = 10_000, 10
PARTITIONS = 4
Entry = tuple[int, str, bytes]


class Meter:
    """Seconds of wall, of this process's CPU and of Redis's, by step."""

    def __init__(self, redis_pid: int) -> None:
        self._redis = redis_pid
        self.spent: dict[str, tuple[float, float, float]] = {}

    def _now(self) -> tuple[float, float, float]:
        return time.perf_counter(), time.process_time(), cpu_s(self._redis)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Measure what is inside."""
        before = self._now()
        yield
        self.spent[name] = tuple(b - a for a, b in zip(before, self._now(), strict=True))  # type: ignore[assignment]

    def show(self, n: dict[str, int]) -> None:
        """A line a step, and all together."""
        total = tuple(map(sum, zip(*self.spent.values(), strict=True)))
        rows = {**self.spent, "all": total}
        print(f"{'':<18}{'events':>9}{'/s wall':>10}{'/s CPU':>10}   us an event: own, Redis")
        for name, (wall, own, redis) in rows.items():
            k = n[name]
            print(f"{name:<18}{k:>9,}{k / wall:>10,.0f}{k / (own + redis):>10,.0f}"
                  f"{1e6 * own / k:>13.1f}{1e6 * redis / k:>7.1f}", flush=True)  # fmt: skip


def append(log: EventLog, topic: str, entries: list[Entry], together: int) -> None:
    """As many in a round trip as arrive together."""
    for at in range(0, len(entries), together):
        part = entries[at : at + together]
        log.append(topic, [value for _, _, value in part], [key for _, key, _ in part])


def taken(n: int, together: int) -> None:
    """So many reports through the intake, in requests of 100."""
    size = min(together, 100)
    bodies = [batch(*[event(at + j) for j in range(size)]) for at in range(0, n, size)]
    with open_log(namespace=f"bench-intake-{together}") as log:
        create_topics(log, TopicConfig(partitions=PARTITIONS))
        seen = SeenEvents(KV(namespace=f"bench-seen-{together}"))
        free = TokenBuckets(RateConfig(per_s=1e9, burst=1e9, slots=1000))
        intake = Intake(log, seen, free, EventLimits(), (EVENTS, DEAD_LETTERS))
        for at in range(0, len(bodies), together // size):
            intake.take([Post("app", body) for body in bodies[at : at + together // size]], NOW)
        assert intake.counts["accepted"] == len(bodies) * size


def joined(log: EventLog, read_entries: int) -> Joiner:
    """A joiner that has read all, closed all and saved."""
    join = SampleJoinConfig(DISORDER_MS, 5_000, REMEMBER_MS, CARRY)
    kv = KV(namespace=f"{log.kv.namespace}-kv")  # type: ignore[attr-defined]
    config = JoinerConfig(join=join, read_entries=read_entries, snapshot_s=1.0)
    one = Joiner(log, kv, config, lambda: FixedWindow(WINDOW_MS))
    while one.step():
        pass
    one.drain()
    return one


def run(weather: Storm, together: int, read_entries: int) -> None:
    """Append and join, print the table."""
    with open_log(namespace=f"bench-e2e-{together}-{read_entries}") as log:
        create_topics(log, TopicConfig(partitions=PARTITIONS))
        meter = Meter(own_server().pid)
        with meter.step("append requests"):
            append(log, FEATURES, weather.pages, together)
        with meter.step("intake of reports"):
            taken(len(weather.events), together)
        with meter.step("append reports"):
            append(log, EVENTS, weather.events, together)
        with meter.step("join"):
            one = joined(log, read_entries)
        cards, reports = CARDS * len(weather.pages), len(weather.events)
        n = {"append requests": cards, "intake of reports": reports, "append reports": reports}
        n["join"] = n["all"] = cards + reports
        print(f"\n{together} entries an append, {read_entries:,} a read")
        meter.show(n)
        wrong = differences(found(log), weather.truth)
        wall, *cpu = map(sum, zip(*meter.spent.values(), strict=True))
        entries = len(weather.pages) + reports
        print(f"entries of both streams: {entries / wall:,.0f} a second, "
              f"{entries / sum(cpu):,.0f} a CPU second, all steps together")  # fmt: skip
        print(f"samples against the batch: {wrong or 'equal'}")
        one.close()


def main() -> None:
    """Print the tables."""
    print(f"load of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    weather = storm(PAGES, cards=CARDS, widths=WIDTHS)
    pages, events = weather.pages, weather.events
    sizes = [sum(len(value) for _, _, value in part) / len(part) for part in (pages, events)]
    print(f"{len(pages):,} requests of {CARDS} cards ({sizes[0]:.0f} bytes each), "
          f"{len(events):,} reports ({sizes[1]:.0f} bytes), {PARTITIONS} partitions")  # fmt: skip
    for together, read_entries in ((100, 1_000), (1_000, 4_000)):
        run(weather, together, read_entries)


if __name__ == "__main__":
    main()
