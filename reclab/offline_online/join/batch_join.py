"""Batch join: the same samples from logs that lie still, by sorting; the truth that the stream is
held against.

    report -> row by sorting both sides by (request, item);  label <=> stamp <= close
    labels of a row = OR of kinds, longest watch, sum of money
Reference: chapter 2.3.1 (Hive over hourly or daily partitions); Chapelle 2014 (KDD) for the law.

Simplified: one machine's memory; industry shuffles both sides by a hash of the key.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from reclab.core.tables import Table
from reclab.core.types import Array
from reclab.offline_online.join.records import REPORT_COLUMNS, Columns, read
from reclab.offline_online.join.sample_join import PAY, WATCH, SampleJoinConfig
from reclab.offline_online.join.window import CloseRule

Batch = Table | Mapping[str, Array]


@dataclass(frozen=True)
class Matched:
    """Logs brought together but not yet cut by a window. ``shown`` (n rows) and ``told`` (m):
    good rows, each once, by stamp; ``row`` (m,): the impression of each report, -1 = unknown;
    ``early`` (m,) bool: reported before the impression."""

    shown: Columns
    told: Columns
    row: Array
    early: Array

    @property
    def delay_ms(self) -> Array:
        """(m,) ms from the request to the report; only meaningful where ``row >= 0``."""
        return np.asarray(self.told["report_ms"] - self.shown["time_ms"][self.row])


def match(
    impressions: Batch,
    reports: Batch,
    needs: tuple[str, ...] = (),
    config: SampleJoinConfig | None = None,
) -> Matched:
    """Find the impression of every report; doubles and bad rows are left out, the first stays.
    Raises ``DataError`` where a column is missing."""
    config = config or SampleJoinConfig()
    names = tuple(dict.fromkeys(("req_id", "video_id", "time_ms", *config.carry, *needs)))
    shown, _ = read(impressions, names, ("time_ms",))
    told, _ = read(reports, REPORT_COLUMNS, ("event_ms", "report_ms"))
    shown = _first(shown, "req_id", "video_id", "time_ms")
    told = _first(told, "event_id", "req_id", "report_ms")
    row = _rows(shown, told)
    time_ms = shown["time_ms"][row] if len(shown["time_ms"]) else np.zeros(len(row), np.int64)
    early = (told["event_ms"] < time_ms - config.skew_ms) | (told["report_ms"] < time_ms)
    return Matched(shown, told, row, early & (row >= 0))


def batch_join(
    impressions: Batch, reports: Batch, rule: CloseRule, config: SampleJoinConfig | None = None
) -> Table:
    """Samples (n,) in order of request and item, with the columns of ``Joined.samples``.

    >>> from reclab.offline_online.join.window import FixedWindow
    >>> shown = {"req_id": [1, 1], "video_id": [7, 8], "user_id": [5, 5], "time_ms": [0, 0]}
    >>> told = {"event_id": [1], "req_id": [1], "video_id": [8], "kind": [0], "value": [1],
    ...         "event_ms": [900], "report_ms": [1000]}
    >>> batch_join(shown, told, FixedWindow(), SampleJoinConfig(carry=()))["labels"].tolist()
    [0, 1]
    """
    config = config or SampleJoinConfig()
    both = match(impressions, reports, rule.needs, config)
    shown, n = both.shown, len(both.shown["time_ms"])
    close, on_time = closes(both, rule)
    row, kind = both.row[on_time], both.told["kind"][on_time]
    value = both.told["value"][on_time]
    labels = np.zeros(n, np.uint16)
    for k in np.unique(kind).tolist():
        labels[row[kind == k]] |= np.uint16(1 << k)
    longest = np.zeros(n, np.float32)
    np.maximum.at(longest, row[kind == WATCH], value[kind == WATCH].astype(np.float32))
    paid = np.bincount(row[kind == PAY], value[kind == PAY], n)
    columns = {name: shown[name] for name in ("req_id", "video_id", *config.carry, "time_ms")}
    columns |= {"labels": labels, "n_labels": np.bincount(row, minlength=n).astype(np.uint16)}
    columns |= {"watch_sec": longest, "pay_amount": paid, "close_ms": close}
    return Table(columns).take(np.lexsort((shown["video_id"], shown["req_id"])))


def closes(both: Matched, rule: CloseRule) -> tuple[Array, Array]:
    """(n,) closes of the rows and (m,) bool: reports in time."""
    good = np.flatnonzero((both.row >= 0) & ~both.early)
    row, stamp = both.row[good], both.told["report_ms"][good]
    close = rule.closes(both.shown["time_ms"], both.shown, row, stamp, both.told["kind"][good])
    on_time = np.zeros(len(both.row), bool)
    on_time[good] = stamp <= close[row]
    return close, on_time


def _first(rows: Columns, a: str, b: str, stamp: str) -> Columns:
    """The earliest row of each key (a, b), in order of stamps."""
    order = np.lexsort((rows[stamp], rows[b], rows[a]))
    keys = rows[a][order], rows[b][order]
    new = np.ones(len(order), bool)
    new[1:] = (keys[0][1:] != keys[0][:-1]) | (keys[1][1:] != keys[1][:-1])
    kept = np.sort(order[new])
    kept = kept[np.argsort(rows[stamp][kept], kind="stable")]
    return {name: column[kept] for name, column in rows.items()}


def _rows(shown: Columns, told: Columns) -> Array:
    """(m,) row of each report's key, -1 = none: both sides sorted together, rows before reports."""
    n, m = len(shown["time_ms"]), len(told["kind"])
    a, b = (np.concatenate([shown[key], told[key]]) for key in ("req_id", "video_id"))
    order = np.lexsort((np.arange(n + m) >= n, b, a))
    first = np.ones(n + m, bool)
    first[1:] = (a[order][1:] != a[order][:-1]) | (b[order][1:] != b[order][:-1])
    head = order[first][np.cumsum(first) - 1]  # what each key's run begins with
    row = np.empty(n + m, np.int64)
    row[order] = np.where(head < n, head, -1)
    return row[n:]
