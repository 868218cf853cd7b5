"""Joiner (样本拼接服务): a process of the sample join; several share the partitions of the streams.

    consumer group on ``features`` says whose a partition is  ->  JoinPartition joins it
    every so often: snapshot, then commit;  killed: another one goes on from the snapshot

    python -m reclab.offline_online.join.joiner --address redis://HOST:6379/0 --group joiner

Reference: chapter 2.3.1, sample join service; figure 2.3.

Simplified: one thread for all partitions of a process; add processes up to one a partition.
"""

import argparse
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from reclab.core.errors import check_float, check_int
from reclab.offline_online.join.partition import JoinPartition, JoinTopics
from reclab.offline_online.join.report import JoinReport
from reclab.offline_online.join.sample_join import SampleJoin, SampleJoinConfig
from reclab.offline_online.join.snapshots import Snapshots
from reclab.offline_online.join.window import CloseRule, FixedWindow
from reclab.stores.event_log import (
    Consumer,
    ConsumerConfig,
    Entries,
    EventLog,
    PartitionLost,
    StoreDown,
    open_log,
)
from reclab.stores.kv import KV

CARRY = ("user_id", "features")


@dataclass(frozen=True)
class JoinerConfig:
    """``group`` of the joiners; ``read_entries`` of the feature stream at a time (500-10 000);
    ``snapshot_s``: measured seconds between snapshots (0.2-60): what a kill makes to be read again;
    ``settle_ms``: how late an entry may come when its stream is silent (1000-60 000);
    ``payload_bytes``: features kept in memory, a partition (1-500 MB); ``patience_s``: how long a
    store may be down (1-600)."""

    group: str = "joiner"
    topics: JoinTopics = field(default_factory=JoinTopics)
    join: SampleJoinConfig = field(default_factory=lambda: SampleJoinConfig(carry=CARRY))
    consumer: ConsumerConfig = field(default_factory=ConsumerConfig)
    read_entries: int = 4_000
    snapshot_s: float = 5.0
    settle_ms: int = 5_000
    payload_bytes: int = 64 << 20
    patience_s: float = 60.0

    def __post_init__(self) -> None:
        check_int("JoinerConfig.read_entries", self.read_entries, 1, 1_000_000, "4000")
        check_float("JoinerConfig.snapshot_s", self.snapshot_s, 0.0, 3_600.0, "5")
        check_int("JoinerConfig.settle_ms", self.settle_ms, 0, 10**9, "5000")
        check_int("JoinerConfig.payload_bytes", self.payload_bytes, 0, 1 << 40, "64 MB")
        check_float("JoinerConfig.patience_s", self.patience_s, 0.0, 10.0**6, "60")


class Joiner:
    """``step`` joins what there is; ``save`` makes it durable. ``rule()`` gives each partition its
    own close rule. It sees the requests of one partition, so a rule by session needs streams that
    are keyed by session. One thread."""

    def __init__(
        self,
        log: EventLog,
        kv: KV,
        config: JoinerConfig | None = None,
        rule: Callable[[], CloseRule] = FixedWindow,
    ) -> None:
        self.log, self.kv, self.config, self._rule = log, kv, config or JoinerConfig(), rule
        self.parts: dict[int, JoinPartition] = {}
        self._barred: dict[int, float] = {}
        self._snapshots = Snapshots(kv, self.config.group)
        self._join()

    def _join(self) -> None:
        c = self.config
        changes = (self._assigned, self._revoked, self._dropped)
        self._saved = time.monotonic()
        self.consumer: Consumer = self.log.consumer(
            c.topics.features, c.group, c.consumer, *changes
        )

    # -- partitions come and go ---------------------------------------------------------------

    def _assigned(self, partitions: tuple[int, ...]) -> None:
        for p in partitions:
            self._barred.pop(p, None)

    def _revoked(self, partitions: tuple[int, ...]) -> None:
        for p in partitions:
            self._save(p)
            self.parts.pop(p, None)

    def _dropped(self, partitions: tuple[int, ...]) -> None:
        for p in partitions:
            self.parts.pop(p, None)

    def _part(self, p: int) -> JoinPartition:
        if p not in self.parts:
            c = self.config
            join = SampleJoin(self._rule(), c.join)
            sizes = c.settle_ms, c.payload_bytes
            self.parts[p] = JoinPartition(self.log, self._snapshots, p, join, c.topics, *sizes)
        return self.parts[p]

    def _lost(self, p: int) -> None:
        """Another joiner has it; the group will say so soon, until then it is left alone."""
        self.parts.pop(p, None)
        self._barred[p] = time.monotonic() + self.config.consumer.session_ms / 1000

    # -- work ---------------------------------------------------------------------------------

    def step(self, now_ms: int | None = None, wait_ms: int = 0) -> int:
        """Read and join; snapshots when it is time. ``now_ms``: the platform's time, None = only
        stamps tell. Returns how many entries were new. Raises ``StoreDown``."""
        entries = self.consumer.read(self.config.read_entries, wait_ms)
        total = 0
        for p in self.consumer.assigned:
            if self._barred.get(p, 0.0) > time.monotonic():
                continue
            try:
                total += self._part(p).step(_of(entries, p), now_ms)
            except PartitionLost:
                self._lost(p)
        if time.monotonic() - self._saved >= self.config.snapshot_s:
            self.save()
        return total

    def save(self) -> None:
        """Snapshots of all partitions that have read something, and commits."""
        for p in list(self.parts):
            if self.parts[p].unsaved:
                self._save(p)
        self._saved = time.monotonic()

    def _save(self, p: int) -> None:
        if p not in self.parts:
            return
        try:
            self.parts[p].save()
            self.consumer.commit({p: self.parts[p].position})
        except PartitionLost:
            self._lost(p)

    def drain(self) -> None:
        """The streams have ended: close every sample of its partitions, and save."""
        for p in list(self.parts):
            try:
                self.parts[p].drain()
            except PartitionLost:
                self._lost(p)
            else:
                self._save(p)

    def report(self) -> dict[int, JoinReport]:
        """The numbers of each partition that it has, since the beginning of the streams."""
        return {p: part.join.report() for p, part in sorted(self.parts.items())}

    def recover(self) -> None:
        """After ``StoreDown``: forget what is in memory, connect again, go on from the snapshots.
        Raises ``StoreDown`` if there is still no answer."""
        self.parts.clear()
        self._barred.clear()
        self.consumer.close()
        self.log.reconnect()
        self.kv.reconnect()
        self._join()

    def close(self) -> None:
        """Save, and leave the group at once."""
        self.save()
        self.consumer.close()

    def run(
        self,
        stop: Callable[[], bool] = lambda: False,
        until_idle_s: float | None = None,
        clock: Callable[[], int] | None = None,
        tell: Callable[[tuple[int, ...]], object] = lambda partitions: None,
    ) -> None:
        """Join until ``stop``, or until nothing came for ``until_idle_s``: then the streams count
        as ended. A store that is down is waited for. ``clock`` gives the platform's time in ms;
        ``tell`` hears its partitions whenever they change."""
        quiet_s = max(until_idle_s or 0.0, 1.2 * self.config.consumer.session_ms / 1000)
        busy, down_since, told = time.monotonic(), 0.0, ()
        while not stop():
            try:
                if down_since:
                    self.recover()
                if self.step(clock() if clock else None, wait_ms=50) or down_since:
                    busy, down_since = time.monotonic(), 0.0
                if told != (told := tuple(sorted(self.parts))):
                    tell(told)
                idle = time.monotonic() - busy > quiet_s  # the dead have lost their leases by then
                if until_idle_s is not None and idle and self.parts:
                    self.drain()
                    break
            except StoreDown:
                down_since = down_since or time.monotonic()
                if time.monotonic() - down_since > self.config.patience_s:
                    raise
                time.sleep(0.05)
        self.close()


def _of(entries: Entries, p: int) -> Entries:
    mine = np.flatnonzero(entries.partition == p)
    if len(mine) == len(entries):
        return entries
    rows = mine.tolist()
    columns = (entries.partition[mine], entries.offset[mine], entries.time_ms[mine])
    return Entries(*columns, [entries.key[i] for i in rows], [entries.value[i] for i in rows])


def main(words: list[str] | None = None) -> None:
    """The process. SIGTERM: it saves and leaves; killed otherwise: another goes on."""
    parser = argparse.ArgumentParser("joiner", description=__doc__.splitlines()[0])
    parser.add_argument("--address", required=True, help="of the event log, as in open_log")
    parser.add_argument("--kv", help="Redis of the snapshots (default: the log's own Redis)")
    parser.add_argument("--namespace", default="log", help="of the log on its Redis")
    parser.add_argument("--group", default="joiner")
    parser.add_argument("--window-ms", type=int, default=1_200_000)
    parser.add_argument("--disorder-ms", type=int, default=10_000)
    parser.add_argument("--skew-ms", type=int, default=5_000)
    parser.add_argument("--remember-ms", type=int, default=1_200_000)
    parser.add_argument("--session-ms", type=int, default=10_000)
    parser.add_argument("--snapshot-s", type=float, default=5.0)
    parser.add_argument("--corrections", help="topic of late labels (default: only counted)")
    parser.add_argument("--until-idle", type=float, help="seconds of silence that end the streams")
    parser.add_argument("--wall-clock", action="store_true", help="stamps are ms since 1970")
    asked = parser.parse_args(words)
    config = JoinerConfig(
        asked.group,
        JoinTopics(corrections=asked.corrections),
        SampleJoinConfig(asked.disorder_ms, asked.skew_ms, asked.remember_ms, CARRY),
        ConsumerConfig(asked.session_ms, max(10, asked.session_ms // 5)),
        snapshot_s=asked.snapshot_s,
    )
    ended: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: ended.append(number))
    log = open_log(asked.address, namespace=asked.namespace)
    kv = KV(asked.kv or asked.address, f"{asked.namespace}-joiner")
    joiner = Joiner(log, kv, config, lambda: FixedWindow(asked.window_ms))
    clock = (lambda: time.time_ns() // 1_000_000) if asked.wall_clock else None
    say = partial(print, file=sys.stderr, flush=True)
    joiner.run(lambda: bool(ended), asked.until_idle, clock, partial(say, "partitions"))
    for p, report in joiner.report().items():
        say(f"partition {p}\n{report}")


if __name__ == "__main__":
    main()
