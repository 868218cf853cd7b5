"""Was anything lost or doubled? The topics of a data path against what they should hold.

    events    what the phones were told is in the log   =   ids in topic events
    samples   topic samples                             =   ``batch_join`` of the two streams
    labels    the store, under request and item         =   the union of the events in the log

An event or a request may be in the log twice, when a sender had no answer and sent it again; a
sample must not be, and a label cannot.

Simplified: all is read into memory; a platform compares hourly partitions.
"""

import json
from collections.abc import Set
from dataclasses import dataclass

import numpy as np

from reclab.core.tables import Table
from reclab.core.types import Array
from reclab.offline_online.features.feature_log import read_ids
from reclab.offline_online.join import sample_record
from reclab.offline_online.join.batch_join import batch_join
from reclab.offline_online.join.report_entries import read_reports
from reclab.offline_online.join.sample_join import SampleJoinConfig
from reclab.offline_online.join.sample_topic import EpochFilter
from reclab.offline_online.join.window import FixedWindow
from reclab.offline_online.labels.label_store import LabelStore
from reclab.offline_online.pipeline import EVENTS, FEATURES, SAMPLES
from reclab.stores.event_log import EventLog

COMPARED = ("user_id", "labels", "n_labels", "watch_sec", "pay_amount", "close_ms")


@dataclass(frozen=True)
class PathCheck:
    """Counts. ``accepted`` events that phones were told are stored; ``events_lost`` and
    ``events_twice`` of them in the log; ``shown`` cards of the requests in the log, ``shown_lost``
    and ``shown_twice``; ``samples`` in the topic, ``lost``, ``doubled`` and ``wrong`` against the
    batch join; ``labels_wrong`` cards in the label store; ``reports`` of them in the log, ``late``
    ones after their window."""

    accepted: int
    events_lost: int
    events_twice: int
    shown: int
    shown_lost: int
    shown_twice: int
    samples: int
    lost: int
    doubled: int
    wrong: int
    labels_wrong: int
    reports: int
    late: int

    @property
    def exact(self) -> bool:
        """Nothing was lost, and nothing doubled where that would matter."""
        return not (
            self.shown_lost
            + self.events_lost
            + self.lost
            + self.doubled
            + self.wrong
            + self.labels_wrong
        )

    def table(self) -> str:
        """A line a topic."""
        head = f"{'':<9}{'there':>8}{'lost':>7}{'twice':>7}{'wrong':>7}"
        rows = (
            ("cards", self.shown, self.shown_lost, self.shown_twice, 0),
            ("events", self.accepted, self.events_lost, self.events_twice, 0),
            ("samples", self.samples, self.lost, self.doubled, self.wrong),
            ("labels", self.shown, 0, 0, self.labels_wrong),
        )
        lines = [f"{name:<9}{n:>8}{a:>7}{b:>7}{c:>7}" for name, n, a, b, c in rows]
        rate = 1 - self.late / max(self.reports, 1)
        return "\n".join([head, *lines, f"reports in time: {rate:.1%} of {self.reports}"])


def compare(
    log: EventLog,
    labels: LabelStore,
    n_cards: int,
    accepted: Set[str],
    window_ms: int,
    before_ms: int,
    now_ms: int,
) -> PathCheck:
    """Of requests answered before ``before_ms``, with ``n_cards``, whose windows have all ended by
    ``now_ms``; ``accepted``: ids of the events that phones were told are stored."""
    features, events = _values(log, FEATURES), _values(log, EVENTS)
    ids = read_ids(features)
    names = ("req_id", "video_id", "user_id", "time_ms")
    shown = Table({name: ids.columns[name] for name in names})
    shown = shown.take(shown["time_ms"] < before_ms)
    told, _ = read_reports(events)
    known = np.isin(told["req_id"], shown["req_id"])
    reports = Table({name: column[known] for name, column in told.items()})
    truth = batch_join(shown, reports, FixedWindow(window_ms), SampleJoinConfig(carry=("user_id",)))
    lost, doubled, wrong, n = _samples(log, truth, before_ms)
    written = [json.loads(value)["event_id"] for value in events]
    distinct = len(np.unique(reports["event_id"]))
    return PathCheck(
        accepted=len(accepted),
        events_lost=len(accepted - set(written)),
        events_twice=len(written) - len(set(written)),
        shown=len(truth),
        shown_lost=n_cards - len(truth),
        shown_twice=len(shown) - len(truth),
        samples=n,
        lost=lost,
        doubled=doubled,
        wrong=wrong,
        labels_wrong=_labels_wrong(labels, truth, reports, now_ms),
        reports=distinct,
        late=distinct - int(truth["n_labels"].sum()),
    )


def _values(log: EventLog, topic: str) -> list[bytes]:
    """All entries, by partition."""
    return [v for p in range(log.topics()[topic]) for v in _partition(log, topic, p)]


def _partition(log: EventLog, topic: str, p: int) -> list[bytes]:
    values: list[bytes] = []
    while len(entries := log.read(topic, p, len(values), 10_000)):
        values += entries.value
    return values


def _samples(log: EventLog, truth: Table, before_ms: int) -> tuple[int, int, int, int]:
    """Lost, doubled, wrong, and how many there are."""
    values: list[bytes] = []
    for p in range(log.topics()[SAMPLES]):
        entries = _partition(log, SAMPLES, p)
        keep = EpochFilter().keep(entries)
        values += [entries[i] for i in np.flatnonzero(keep).tolist()]
    if not values:
        return len(truth), 0, 0, 0
    got = sample_record.unpack(values).table()
    got = got.take(got["time_ms"] < before_ms)
    keys = np.stack([got["req_id"], got["video_id"]], 1)
    unique, first = np.unique(keys, axis=0, return_index=True)
    wanted = np.stack([truth["req_id"], truth["video_id"]], 1)
    at, there = _find(wanted, unique)
    rows = first[at[there]]
    same = np.ones(len(rows), bool)
    for name in COMPARED:
        same &= got[name][rows] == truth[name][there].astype(got[name].dtype)
    strange = len(unique) - int(there.sum())  # samples of what was never shown
    wrong = int((~same).sum()) + strange
    return int((~there).sum()), len(keys) - len(unique), wrong, len(got)


def _find(wanted: Array, pairs: Array) -> tuple[Array, Array]:
    """Rows of ``wanted`` (n, 2) in the sorted ``pairs`` (m, 2), and which are there (n,)."""
    both, at = np.unique(np.concatenate([pairs, wanted]), axis=0, return_inverse=True)
    row = np.full(len(both), -1)
    row[at[: len(pairs)]] = np.arange(len(pairs))
    found = row[at[len(pairs) :]]
    return found, found >= 0


def _labels_wrong(labels: LabelStore, truth: Table, reports: Table, now_ms: int) -> int:
    """Cards whose labels in the store are not all that was reported of them, late or not."""
    pairs = np.stack([reports["req_id"], reports["video_id"]], 1)
    at, there = _find(pairs, np.stack([truth["req_id"], truth["video_id"]], 1))
    bits = np.zeros(len(truth), np.int64)
    np.bitwise_or.at(bits, at[there], 1 << reports["kind"][there])
    held = labels.read(truth["req_id"], truth["video_id"], now_ms)
    return int((np.asarray(held.labels) != bits).sum())
