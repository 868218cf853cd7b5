"""Two streams as they come in bad weather, and what an exact join must make of them.

Impressions in pages, feedback with doubles, late and unknown ones, both out of order by at most
``DISORDER_MS``; written into a log as serving and the gateway write them.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from reclab.core.chance import rng
from reclab.core.tables import Table
from reclab.core.types import Array
from reclab.offline_online.features.feature_log import Served, pack, served
from reclab.offline_online.gateway.tracking_schema import dump
from reclab.offline_online.join import sample_record
from reclab.offline_online.join.batch_join import batch_join
from reclab.offline_online.join.records import KINDS
from reclab.offline_online.join.report_entries import event_number
from reclab.offline_online.join.sample_join import SampleJoinConfig
from reclab.offline_online.join.sample_topic import EpochFilter
from reclab.offline_online.join.window import FixedWindow
from reclab.stores.event_log import EventLog
from tests.offline_online.served_pages import WIDTHS, some_features

WINDOW_MS = 10_000
PAGE_MS = 50  # between two pages
DELAY_MS = 3_000  # median of feedback
SPREAD = 0.9  # of its logarithm
LONGEST_MS = 40_000_000
DISORDER_MS = 2_000
REMEMBER_MS = 600_000
Widths = tuple[int, int, int, int]
COMPARED = ("req_id", "video_id", "user_id", "time_ms", "close_ms", "labels", "n_labels",
            "watch_sec", "pay_amount")  # fmt: skip


class Storm(NamedTuple):
    """``pages`` and ``events`` as they come, (stamp, key, bytes) each; the tables ``shown`` and
    ``told`` behind them, and the ``truth`` by the batch over these."""

    pages: list[tuple[int, str, bytes]]
    events: list[tuple[int, str, bytes]]
    truth: Table
    shown: Table
    told: Table


def storm(
    n_pages: int, seed: int = 0, cards: int = 10, start_ms: int = 0, widths: Widths = WIDTHS
) -> Storm:
    """A page every ``PAGE_MS``, feedback on one card in five."""
    chance = rng(seed, "storm")
    time_ms = start_ms + np.sort(chance.integers(0, PAGE_MS * n_pages, n_pages))
    asked = _pages(n_pages, cards, time_ms, seed, widths)
    shown = Table({
        "req_id": np.repeat([one.req_id for one in asked], cards),
        "user_id": np.repeat([one.user_id for one in asked], cards),
        "video_id": np.concatenate([one.video_id for one in asked]),
        "time_ms": np.repeat(time_ms, cards),
    })  # fmt: skip
    told = _reports(shown, chance)
    entries = [(one.time_ms, str(one.req_id), pack(one)) for one in asked]
    entries += [entries[i] for i in chance.integers(0, n_pages, n_pages // 20)]
    come = _disordered(entries, chance), _disordered([*_sent(told)], chance)
    return Storm(*come, truth_of(shown, told), shown, told)


def truth_of(shown: Table, told: Table) -> Table:
    """What the join must find."""
    config = SampleJoinConfig(carry=("user_id",))
    return batch_join(shown, told, FixedWindow(WINDOW_MS), config)


def _pages(n: int, cards: int, time_ms: Array, seed: int, widths: Widths) -> list[Served]:
    chance, m = rng(seed, "storm pages"), n * cards
    ids = np.arange(n) + 5_000_000, chance.integers(0, 500, n), np.arange(n) // 3
    shown = chance.integers(1, 1 << 40, m), np.tile(np.arange(cards), n)
    features = some_features(np.full(n, cards), seed, widths)
    return served(features, *ids, time_ms, chance.integers(0, 2, n), *shown, versions=(1, 2))


def _reports(shown: Table, chance: np.random.Generator) -> Table:
    n = len(shown)
    of = chance.choice(n, n // 5)
    delay = DELAY_MS * np.exp(SPREAD * chance.standard_normal(len(of)))
    delay = np.minimum(delay, LONGEST_MS).astype(np.int64)
    kind = chance.integers(0, len(KINDS), len(of))
    value = np.where(np.isin(kind, (1, 7)), chance.integers(1, 400, len(of)) / 4, 1.0)
    req_id = np.where(chance.random(len(of)) < 0.02, 77, shown["req_id"][of])  # of no request
    when = shown["time_ms"][of] + delay
    number = [event_number("app", 9, f"e-{i:09d}") for i in range(len(of))]
    return Table({"event_id": np.array(number), "req_id": req_id, "video_id": shown["video_id"][of],
                  "kind": kind, "value": value, "event_ms": when - delay // 2,
                  "report_ms": when})  # fmt: skip


def _sent(told: Table) -> Iterator[tuple[int, str, bytes]]:
    """Entries as the gateway writes them, one in ten twice, the second one later or at once."""
    names = ("req_id", "video_id", "kind", "value", "event_ms", "report_ms")
    for i, row in enumerate(zip(*(told[name].tolist() for name in names), strict=True)):
        event: dict[str, Any] = dict(zip(names, row, strict=True))
        event |= {"event_id": f"e-{i:09d}", "app": "app", "device_id": 9, "user_id": 1}
        yield event["report_ms"], str(event["req_id"]), dump(event)
        if i % 10 == 0:
            event["report_ms"] += i % 3 * 5_000
            yield event["report_ms"], str(event["req_id"]), dump(event)


def _disordered(
    entries: list[tuple[int, str, bytes]], chance: np.random.Generator
) -> list[tuple[int, str, bytes]]:
    stamps = np.array([stamp for stamp, _, _ in entries])
    order = np.argsort(stamps + chance.integers(0, DISORDER_MS, len(entries)), kind="stable")
    return [entries[i] for i in order.tolist()]


def put(log: EventLog, topic: str, entries: list[tuple[int, str, bytes]]) -> None:
    """Append them."""
    log.append(topic, [value for _, _, value in entries], [key for _, key, _ in entries])


def found(log: EventLog, partitions: tuple[int, ...] | None = None) -> Table:
    """All samples that count, in order of request and item."""
    topic, values = "samples", []
    for p in range(log.topics()[topic]) if partitions is None else partitions:
        at, filtered = 0, EpochFilter()
        while len(entries := log.read(topic, p, at, 5_000)):
            keep = filtered.keep(entries.value).tolist()
            values += [v for v, good in zip(entries.value, keep, strict=True) if good]
            at = int(entries.offset[-1]) + 1
    table = sample_record.unpack(values).table()
    return table.take(np.lexsort((table["video_id"], table["req_id"])))


def differences(got: Table, truth: Table) -> dict[str, int]:
    """Samples lost, doubled and invented, and, where none are, values that differ by column."""
    ours, theirs = (
        np.stack([table["req_id"], table["video_id"]], 1).tolist() for table in (got, truth)
    )
    a, b = set(map(tuple, ours)), set(map(tuple, theirs))
    assert len(b) == len(theirs)
    wrong = {"lost": len(b - a), "doubled": len(ours) - len(a), "invented": len(a - b)}
    if not any(wrong.values()):
        wrong |= {name: int((got[name] != truth[name]).sum()) for name in COMPARED}
    return {name: n for name, n in wrong.items() if n}
