"""Feature update: two streams keep the feature stores current, a batch rebuilds them (流批更新).

    step:     entries from the version's offsets on -> draft -> publish(draft, offsets)
    rebuild:  everything up to the ends of the topics, in one go -> publish; go on from those ends
Offsets are part of the version: what a crash, a roll-back or a newer batch throws away is read
again from where the served version ends, and nothing is counted twice. A publication costs a copy
of the stores' arrays, so micro-batches gather for ``publish_ms`` before they are shown.
Reference: chapter 2.3.1; Marz and Warren 2015 (batch and speed layers); Kreps 2014.

Simplified: one updater reads all partitions; industry gives each server a share of the users.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Protocol

import numpy as np

from reclab.core.errors import check_int
from reclab.core.tables import Table
from reclab.offline_online.features.feature_log import read_ids
from reclab.offline_online.features.live_features import LiveFeatures
from reclab.offline_online.pipeline import EVENTS, FEATURES
from reclab.offline_online.serving.versions import Superseded, Version, Versions
from reclab.stores.event_log import EventLog

Read = Callable[[Sequence[bytes]], tuple[Table, int]]
NUMBERS = ("req_id", "user_id", "video_id", "kind", "value", "report_ms")


@dataclass(frozen=True)
class FeatureUpdateConfig:
    """``publish_ms``: how often the stores are shown to requests (1000-60 000, 0 = after each
    step); ``batch_entries``: read from a partition at a time (100-10 000)."""

    publish_ms: int = 10_000
    batch_entries: int = 2_000

    def __post_init__(self) -> None:
        check_int("FeatureUpdateConfig.publish_ms", self.publish_ms, 0, 86_400_000, "10000")
        check_int("FeatureUpdateConfig.batch_entries", self.batch_entries, 1, 1_000_000, "2000")


class Live(Protocol):
    """What is kept current: ``LiveFeatures``, or whatever holds one beside a cascade."""

    def apply(self, impressions: Table, reports: Table) -> None: ...

    def refresh(self, now_ms: int) -> None: ...


@dataclass
class UpdateReport:
    """Entries read, bad ones among them, publications, drafts thrown away, rebuilds."""

    entries: int = 0
    bad: int = 0
    published: int = 0
    superseded: int = 0
    rebuilt: int = 0


def read_impressions(values: Sequence[bytes]) -> tuple[Table, int]:
    """Cards of entries of the feature log, and how many entries were bad."""
    ids = read_ids(values)
    return Table(ids.columns), len(ids.bad)


def read_reports(values: Sequence[bytes]) -> tuple[Table, int]:
    """Reports of entries of the events' topic, and how many entries were bad."""
    rows: list[tuple[float, ...]] = []
    for value in values:
        try:
            e = json.loads(value)
            name = f"{e['app']}\0{e['device_id']}\0{e['event_id']}".encode()
            event = int.from_bytes(blake2b(name, digest_size=8).digest(), "little", signed=True)
            rows.append((event, *(e[number] + 0 for number in NUMBERS)))
        except (ValueError, KeyError, TypeError):
            continue
    if not rows:
        return Table(), len(values)
    named = zip(("event_id", *NUMBERS), zip(*rows, strict=True), strict=True)
    return Table({name: np.array(column) for name, column in named}), len(values) - len(rows)


@dataclass
class FeatureUpdater:
    """``step(now_ms)`` again and again; ``rebuild(now_ms, empty)`` now and then. ``readers``: topic
    -> its entries as a table. Raises ``StoreDown`` when the log does not answer; the next step
    reads the same entries."""

    log: EventLog
    versions: Versions[LiveFeatures]
    config: FeatureUpdateConfig = field(default_factory=FeatureUpdateConfig)
    impressions: Read = read_impressions
    reports: Read = read_reports

    def __post_init__(self) -> None:
        self.report = UpdateReport()
        self._follow()

    def _follow(self) -> None:
        """A new draft of what is served now, and its offsets."""
        self._base: Version[LiveFeatures] = self.versions.current
        self._draft: LiveFeatures | None = None
        topics = self.log.topics()
        self._next = {
            topic: dict.fromkeys(range(topics[topic]), 0) | dict(self._base.offsets.get(topic, {}))
            for topic in (FEATURES, EVENTS)
        }

    def step(self, now_ms: int) -> int:
        """Read a micro-batch of each partition and add it; publish when it is time. Returns the
        number of entries read."""
        if self.versions.current is not self._base:
            self.report.superseded += self._draft is not None
            self._follow()
        next_offsets = {topic: dict(parts) for topic, parts in self._next.items()}
        tables, n = self._read(next_offsets, self.config.batch_entries)
        if n:
            if self._draft is None:
                self._draft = self.versions.draft(self._base)
            self._draft.apply(*tables)
            self._next = next_offsets  # only now: a step that fails is made again
        if self._draft is not None and now_ms >= self._base.made_ms + self.config.publish_ms:
            self.publish(now_ms)
        return n

    def publish(self, now_ms: int) -> None:
        """Show what was added; if a batch came in between, begin again from its offsets."""
        draft = self._draft
        if draft is None:
            return
        draft.refresh(now_ms)
        try:
            self._base = self.versions.publish(draft, _copy(self._next), now_ms, self._base)
            self._draft, self.report.published = None, self.report.published + 1
        except Superseded:
            self.report.superseded += 1
            self._follow()

    def rebuild(self, now_ms: int, empty: LiveFeatures) -> Version[LiveFeatures]:
        """Fill ``empty`` from all that the topics hold up to their present ends, and publish it:
        whatever the stream had lost or spoilt is healed. The stream goes on from those ends."""
        ends = {topic: self.log.stats(topic).end.tolist() for topic in (FEATURES, EVENTS)}
        offsets = {topic: dict.fromkeys(range(len(stop)), 0) for topic, stop in ends.items()}
        tables, _ = self._read(offsets, None, {t: dict(enumerate(e)) for t, e in ends.items()})
        empty.apply(*tables)
        empty.refresh(now_ms)
        self.report.rebuilt += 1
        return self.versions.publish(empty, offsets, now_ms)

    def _read(
        self,
        offsets: dict[str, dict[int, int]],
        most: int | None,
        ends: dict[str, dict[int, int]] | None = None,
    ) -> tuple[tuple[Table, Table], int]:
        """Impressions and reports from ``offsets`` on, which move along: ``most`` entries of each
        partition, or all before ``ends``."""
        found: list[Table] = []
        total = 0
        for topic, read in ((FEATURES, self.impressions), (EVENTS, self.reports)):
            values: list[bytes] = []
            for partition in offsets[topic]:
                while True:
                    at = offsets[topic][partition]
                    left = ends[topic][partition] - at if ends else most or 0
                    some = self.log.read(topic, partition, at, min(left, 10_000)) if left else []
                    if not len(some):
                        break
                    values += some.value
                    offsets[topic][partition] = int(some.offset[-1]) + 1
                    if not ends:
                        break
            table, bad = read(values) if values else (Table(), 0)
            found.append(table)
            total, self.report.bad = total + len(values), self.report.bad + bad
        self.report.entries += total
        return (found[0], found[1]), total


def _copy(offsets: dict[str, dict[int, int]]) -> dict[str, dict[int, int]]:
    return {topic: dict(parts) for topic, parts in offsets.items()}
