"""Feedback-label consumer (反馈标签消费者): reads the label stream and writes what users did into
the key-value store, under request and item.

topic events -> JSON -> bad entries aside -> LabelStore.merge with the offsets -> commit
A store or log that does not answer: it stops, commits nothing, connects again and goes on from the
offsets that the store holds. Killed anywhere, it does the same; merging twice changes nothing.
    python -m reclab.offline_online.labels.label_consumer --address redis://localhost:6379/0
Reference: chapter 2.3.1, figure 2.3; Kreps 2011 (offsets kept with the effects).

Simplified: one process a core, each with its partitions; industry's runs in Java, as many threads.
"""

import argparse
import json
import signal
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

import numpy as np

from reclab.core.errors import check_float, check_int
from reclab.offline_online.join.records import KINDS, LAST_MS, Columns
from reclab.offline_online.labels.label_store import LabelStore, LabelStoreConfig, event_names
from reclab.offline_online.pipeline import DEAD_LETTERS, EVENTS
from reclab.stores.event_log import (
    ConsumerConfig,
    Entries,
    EventLog,
    PartitionLost,
    StoreDown,
    open_log,
)

_FIELDS = ("req_id", "video_id", "kind", "report_ms", "value", "event_id")
_take = itemgetter(*_FIELDS)


@dataclass(frozen=True)
class LabelConsumerConfig:
    """``group`` of the topic; ``most``: entries a read (500-20 000); ``wait_ms``: for them
    (10-1000); ``retry_s``: between tries to connect again (0.1-5); ``patience_s``: after so long
    without an answer it gives up, and whoever runs it must know (60-3600)."""

    group: str = "labels"
    most: int = 10_000
    wait_ms: int = 200
    retry_s: float = 0.2
    patience_s: float = 600.0

    def __post_init__(self) -> None:
        check_int("LabelConsumerConfig.most", self.most, 1, 1_000_000, "10000")
        check_int("LabelConsumerConfig.wait_ms", self.wait_ms, 0, 60_000, "200")
        check_float("LabelConsumerConfig.retry_s", self.retry_s, 0.001, 60.0, "0.2")
        check_float("LabelConsumerConfig.patience_s", self.patience_s, 0.0, 1e6, "600")


class LabelConsumer:
    """``step()`` takes what is there, ``run()`` goes on. ``counts``: events merged, doubled, bad,
    refused; ``replays``: times it went back to the store's offsets; ``down``: times it waited."""

    def __init__(
        self,
        log: EventLog,
        store: LabelStore,
        config: LabelConsumerConfig | None = None,
        consumer: ConsumerConfig | None = None,
    ) -> None:
        self.log, self.store, self.config = log, store, config or LabelConsumerConfig()
        self.counts: Counter[str] = Counter()
        self._next: dict[int, int] = {}  # where the next batch of each partition has to begin
        changes = {"on_revoke": self._forget, "on_lost": self._forget}
        self._consumer = log.consumer(EVENTS, self.config.group, consumer, **changes)

    def step(self) -> int:
        """Read, merge, commit; how many events were new. Raises ``StoreDown``; then the next step
        must be ``recover``."""
        entries = self._consumer.read(self.config.most, self.config.wait_ms)
        if not len(entries):
            return 0
        told, bad = read_events(entries.value)
        if bad:
            self._set_aside(entries, bad)
        spans = self._spans(entries)
        merged = self.store.merge(told, spans)
        if not merged.whole:
            self._go_back()
            return 0
        self._next |= {p: stop for p, (_, stop) in spans.items()}
        self.counts.update(merged._asdict())
        self.counts["bad"] += len(bad)
        self._commit()
        return merged.merged

    def run(self, stop: Callable[[], bool], sleep: Callable[[float], None] = time.sleep) -> None:
        """Until ``stop()``. Raises ``StoreDown`` when nobody answers for ``patience_s``."""
        while not stop():
            try:
                self.step()
            except StoreDown:
                self.recover(sleep)

    def recover(self, sleep: Callable[[float], None] = time.sleep) -> None:
        """Connect to both again and go back to what the store holds."""
        self.counts["down"] += 1
        waited = 0.0
        while True:
            try:
                self.store.reconnect()
                self.log.reconnect()
                return self._go_back()
            except StoreDown:
                if waited >= self.config.patience_s:
                    raise
                sleep(self.config.retry_s)
                waited += self.config.retry_s

    def _spans(self, entries: Entries) -> dict[int, tuple[int, int]]:
        """First and next offset by partition. What was dropped from the log is gone: a partition
        that is read on begins where it was left, not at the first entry that is still there."""
        spans = {}
        for p in np.unique(entries.partition).tolist():
            offsets = entries.offset[entries.partition == p]
            spans[p] = (self._next.get(p, int(offsets[0])), int(offsets[-1]) + 1)
        return spans

    def _go_back(self) -> None:
        self.counts["replays"] += 1
        held = self.store.offsets()
        for p in self._consumer.assigned:
            self._next[p] = held.get(p, 0)
            self._consumer.seek(p, self._next[p])

    def _commit(self) -> None:
        try:
            self._consumer.commit()
        except PartitionLost:
            self.counts["lost"] += 1  # others read these again, and change nothing

    def _forget(self, partitions: Sequence[int]) -> None:
        for p in partitions:
            self._next.pop(p, None)

    def _set_aside(self, entries: Entries, bad: dict[int, str]) -> None:
        """Bad entries go to the dead letters with their reason; twice, when it is killed here."""
        letters = []
        for i, why in bad.items():
            where = {"partition": int(entries.partition[i]), "offset": int(entries.offset[i])}
            entry = entries.value[i][:4_000].decode("latin-1")
            letters.append({"reason": why, **where, "entry": entry})
        values = [json.dumps(letter).encode() for letter in letters]
        self.log.append(DEAD_LETTERS, values, [entries.key[i] for i in bad])

    def close(self) -> None:
        """Leave the group."""
        self._consumer.close()


def read_events(values: Sequence[bytes]) -> tuple[Columns, dict[int, str]]:
    """Entries of the events' topic as what ``LabelStore.merge`` takes; and place -> reason of the
    entries that are none.

    >>> told, bad = read_events([b'{"req_id": 1}', b"?"])
    >>> len(told["kind"]), bad
    (0, {0: "no 'video_id'", 1: 'not JSON'})
    """
    try:
        events = json.loads(b"[" + b",".join(values) + b"]")
        if len(events) == len(values):
            return _columns(events), {}
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        pass  # at least one is bad: each by itself
    good, bad = [], {}
    for at, value in enumerate(values):
        try:
            event = json.loads(value)
            _columns([event])
            good.append(event)
        except KeyError as error:
            bad[at] = f"no {error}"
        except (ValueError, RecursionError) as error:
            bad[at] = "not JSON" if isinstance(error, json.JSONDecodeError) else str(error)[:100]
        except (TypeError, OverflowError):
            bad[at] = "a field of the wrong type"
    return _columns(good), bad


def _columns(events: list[dict[str, Any]]) -> Columns:
    """Columns (m,). Raises ``KeyError``, ``TypeError``, ``OverflowError`` or ``ValueError``."""
    rows = list(zip(*map(_take, events), strict=True)) or [()] * len(_FIELDS)
    told = {}
    for name, column in zip(_FIELDS[:4], rows, strict=False):
        told[name] = np.array(column or np.zeros(0, np.int64))
        if told[name].dtype != np.int64:
            raise TypeError(name)
    told["value"] = np.array(rows[4], np.float64)
    for name, least, most in (("kind", 0, len(KINDS) - 1), ("report_ms", 0, LAST_MS)):
        if len(events) and not least <= told[name].min() <= told[name].max() <= most:
            raise ValueError(f"{name} out of range")
    if not (np.isfinite(told["value"]) & (told["value"] >= 0)).all():
        raise ValueError("value must be a number >= 0")
    apps = [event.get("app", "") for event in events]
    devices = [event.get("device_id", 0) for event in events]
    return told | {"name": event_names(apps, devices, rows[5])}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run as a process until SIGTERM or SIGINT; with ``--idle-s``, until nothing has come for so
    long. The last line is what it counted, as JSON."""
    ask = argparse.ArgumentParser(prog="label_consumer", description=(__doc__ or "").split("\n")[0])
    ask.add_argument("--address", help="of the event log: redis://…, unix://… or kafka://…")
    ask.add_argument("--labels", help="of the store's Redis; default: the log's, if that is one")
    ask.add_argument("--log-namespace", default="log")
    ask.add_argument("--namespace", default="labels")
    ask.add_argument("--group", default="labels")
    ask.add_argument("--most", type=int, default=LabelConsumerConfig.most)
    ask.add_argument("--session-ms", type=int, default=ConsumerConfig.session_ms)
    ask.add_argument("--expire-s", type=float, default=86_400.0)
    ask.add_argument("--idle-s", type=float, default=None)
    said = ask.parse_args(arguments)
    if said.labels is None and not (said.address or "").startswith("kafka:"):
        said.labels = said.address
    log = open_log(said.address, namespace=said.log_namespace)
    life = LabelStoreConfig(round(said.expire_s * 1000))
    store = LabelStore(said.labels, said.namespace, life)
    member = ConsumerConfig(said.session_ms, min(1_000, said.session_ms // 3))
    consumer = LabelConsumer(log, store, LabelConsumerConfig(said.group, said.most), member)
    stopped: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda got, _: stopped.append(got))
    idle = _idle(consumer.counts, said.idle_s)
    consumer.run(lambda: bool(stopped) or idle())
    consumer.close()
    print(json.dumps(consumer.counts), flush=True)


def _idle(counts: Counter[str], idle_s: float | None) -> Callable[[], bool]:
    """Asks whether the counts have stood still for so long."""
    seen, since = dict(counts), time.monotonic()

    def idle() -> bool:
        nonlocal seen, since
        if seen != counts:
            seen, since = dict(counts), time.monotonic()
        return idle_s is not None and time.monotonic() - since >= idle_s

    return idle


if __name__ == "__main__":
    main()
