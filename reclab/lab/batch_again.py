"""The evening's samples once more, overnight: the stream join beside the HiveQL query and the batch
join, on the same days of the platform's log.

    days read: those asked for, and as many before them as counters look back
Chapter 2.3.1. Simplified: DuckDB in this process; by address the same file runs on Spark.
"""

import itertools
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from reclab.core.clock import DAY_MS
from reclab.core.errors import check_int
from reclab.core.tables import Logs, Table, write_logs
from reclab.lab.join_study import STEP_MS
from reclab.lab.lab import Lab
from reclab.offline_online.join.batch_join import batch_join
from reclab.offline_online.join.records import concat
from reclab.offline_online.join.sample_join import SampleJoin, SampleJoinConfig
from reclab.offline_online.join.window import FixedWindow
from reclab.offline_online.pipeline import SAMPLE_JOIN_QUERY
from reclab.stores.warehouse import Warehouse

LABELS = ("labels", "n_labels", "watch_sec", "pay_amount", "close_ms")
CONFIG = SampleJoinConfig(carry=("user_id",))


@dataclass(frozen=True)
class Again:
    """``samples`` of the three ways, how many of them differ from the query's in ``stream`` and
    ``batch``, ``labelled`` ones, the most clicks that an item had before one (``most_clicks``), and
    seconds of the query."""

    days: tuple[int, int]
    samples: int
    stream_differs: int
    batch_differs: int
    labelled: int
    most_clicks: int
    query_s: float

    def __str__(self) -> str:
        return (
            f"{self.samples:,} samples by the query, of day {self.days[0]}"
            f"{f' to {self.days[1]}' if self.days[1] > self.days[0] else ''}; "
            f"{self.labelled / max(self.samples, 1):.1%} with a click\n"
            f"samples or labels that differ: {self.stream_differs} from the stream join's, "
            f"{self.batch_differs} from the batch join's"
        )


def batch_again(lab: Lab, days: int = 1, back: int = 3, window_min: int = 20) -> Again:
    """The last ``days`` but two of the log (so that late reports are in), with ``back`` days
    before."""
    check_int("batch_again.days", days, 1, 7, "1")
    check_int("batch_again.back", back, 0, 30, "3")
    logs = lab.logs
    last = int(logs.interactions["time_ms"].max()) // DAY_MS - 2
    first = last - days + 1
    shown = _between(logs.interactions, "time_ms", first - back, last)
    told = logs.feedback.with_columns(event_id=np.arange(len(logs.feedback)))
    told = _between(told, "report_ms", first - back, last + 1)
    window_ms = window_min * 60_000
    query = {"first_day": first, "last_day": last, "window_ms": window_ms}
    with tempfile.TemporaryDirectory(prefix="reclab-warehouse-") as folder:
        write_logs(Logs(Table(), Table(), interactions=shown, feedback=told), Path(folder))
        with Warehouse(Path(folder)) as warehouse:
            began = time.perf_counter()
            asked = warehouse.run(SAMPLE_JOIN_QUERY, **query, skew_ms=CONFIG.skew_ms)
            seconds = time.perf_counter() - began
    asked_for = _between(shown, "time_ms", first, last)
    told = told.take(np.isin(told["req_id"], np.unique(asked_for["req_id"])))
    rule = FixedWindow(window_ms)
    stream = _stream(asked_for, told, rule)
    batch = batch_join(asked_for, told, rule, CONFIG)
    return Again(
        (first, last),
        len(asked),
        _differing(asked, stream),
        _differing(asked, batch),
        int((asked["labels"] & 1).sum()),
        int(asked["item_clicks"].max(initial=0)),
        seconds,
    )


def _between(table: Table, stamp: str, first: int, last: int) -> Table:
    """Rows of the days first … last."""
    day = table[stamp] // DAY_MS
    return table.take((day >= first) & (day <= last))


def _stream(shown: Table, told: Table, rule: FixedWindow) -> Table:
    """Samples of the stream join, in order of request and item."""
    join, parts = SampleJoin(rule, CONFIG), []
    stamps = shown["time_ms"], told["report_ms"]
    begin, end = int(stamps[0][0]), int(stamps[0][-1]) + rule.max_wait_ms
    edges = np.arange(begin, end + 2 * STEP_MS, STEP_MS)
    cuts = [np.searchsorted(stamp, edges) for stamp in stamps]
    for (a, b), (c, d) in zip(*(itertools.pairwise(cut.tolist()) for cut in cuts), strict=True):
        parts.append(join.update(_part(shown, a, b), _part(told, c, d)).samples)
    parts.append(join.flush().samples)
    columns = concat([dict(part.columns) for part in parts if len(part)])
    return Table(columns).take(np.lexsort((columns["video_id"], columns["req_id"])))


def _part(table: Table, first: int, stop: int) -> Table:
    return Table({name: table[name][first:stop] for name in table})


def _differing(one: Table, other: Table) -> int:
    """Samples that only one has, or that have other labels in the other; both in order."""
    keys = [np.stack([t["req_id"], t["video_id"]], 1).view("i8,i8").ravel() for t in (one, other)]
    both, at, where = np.intersect1d(*keys, return_indices=True)
    same = np.ones(len(both), bool)
    for name in LABELS:
        same &= np.asarray(one[name][at] == other[name][where])
    return len(one) + len(other) - 2 * len(both) + int((~same).sum())
