"""Sample join (样本拼接): brings impressions and their feedback together, a micro-batch at a time.

    watermark w = newest stamp - disorder: every record stamped before w has been read
    a record is handled once its stamp < w;  a report is a label  <=>  report_ms <= close of its row
    a row is given out once its close < w, so no label can still come
All of it depends on stamps only: any cuts and any order within ``disorder_ms`` give one result.
Reference: Akidau et al. 2015 (VLDB), the dataflow model; chapter 2.3.1, figure 2.3.

Simplified: the state lies in memory and in snapshots; industry keeps it in RocksDB or Redis.
"""

import io
import zipfile
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import numpy as np

from reclab.core.errors import DataError, check, check_int
from reclab.core.tables import Table
from reclab.core.types import Array
from reclab.offline_online.join.keyed_ring import KeyedRing
from reclab.offline_online.join.records import (
    KINDS,
    REPORT_COLUMNS,
    Columns,
    Joined,
    concat,
    empty,
    read,
    ripe,
)
from reclab.offline_online.join.report import COUNTERS, JoinReport, by_delay
from reclab.offline_online.join.window import LONGEST_MS, NEVER, CloseRule, FixedWindow

CLOSED = NEVER  # the close of a row that has been given out
WATCH, PAY = KINDS.index("watch"), KINDS.index("pay")
BITS = 1 << np.arange(len(KINDS), dtype=np.uint16)
ONE = np.uint16(1)  # of the column's own type, or each addition would be cast by itself
Batch = Table | Mapping[str, Array]


@dataclass(frozen=True)
class SampleJoinConfig:
    """``disorder_ms``: how far behind the newest stamp a record may still be read (0-60 s);
    ``skew_ms``: how far a device's clock may put an event before its impression (1-60 s);
    ``remember_ms``: how long a given-out sample is still known, so that a late report can be told
    from an unknown one (0-1 h; costs state); ``carry``: int64 columns taken from the impression."""

    disorder_ms: int = 0
    skew_ms: int = 5_000
    remember_ms: int = 3_600_000
    carry: tuple[str, ...] = ("user_id", "features")

    def __post_init__(self) -> None:
        for name, typical in (("disorder_ms", "0-60000"), ("skew_ms", "5000"),
                              ("remember_ms", "3600000")):  # fmt: skip
            check_int(f"SampleJoinConfig.{name}", getattr(self, name), 0, LONGEST_MS, typical)
        own = {"a", "b", "req_id", "video_id", "time_ms", "close_ms", "mark", "labels", "n_labels",
               "watch_sec", "pay_amount"}  # fmt: skip
        clash = sorted(own & set(self.carry)) or len(set(self.carry)) < len(self.carry)
        check(not clash, "SampleJoinConfig.carry", self.carry, "name other columns", "user_id")


class SampleJoin:
    """``update(impressions, reports)`` reads a batch and gives what it closed; ``flush()`` closes
    the rest. ``report()`` has the numbers. ``state()`` and ``restore()`` carry it over a restart:
    the same input after them gives the same output, byte for byte.

    >>> join = SampleJoin(config=SampleJoinConfig(carry=("user_id",)))
    >>> shown = {"req_id": [1, 1], "video_id": [7, 8], "user_id": [5, 5], "time_ms": [0, 0]}
    >>> told = {"event_id": [1], "req_id": [1], "video_id": [8], "kind": [0], "value": [1],
    ...         "event_ms": [900], "report_ms": [1000]}
    >>> len(join.update(shown, told).samples), join.flush().samples["labels"].tolist()
    (0, [0, 1])
    """

    def __init__(
        self, rule: CloseRule | None = None, config: SampleJoinConfig | None = None
    ) -> None:
        self.rule: CloseRule = FixedWindow() if rule is None else rule
        self.config = config or SampleJoinConfig()
        columns = ("req_id", "video_id", "time_ms", *self.config.carry, *self.rule.needs)
        self._shown_columns = tuple(dict.fromkeys(columns))
        carried = dict.fromkeys(self.config.carry, "i8")
        marks = {"mark": "i8"} if self.rule.needs else {}
        self._rows = KeyedRing({"time_ms": "i8", "close_ms": "i8", **marks, **carried,
                                "labels": "u2", "n_labels": "u2",
                                "watch_sec": "f4", "pay_amount": "f8"})  # fmt: skip
        self._events = KeyedRing({"report_ms": "i8"})  # event ids that have been handled
        self._open_from = 0  # every row before this number has closed
        self._shown, self._told = empty(self._shown_columns), empty(REPORT_COLUMNS)
        self._newest = self._watermark = -1
        self._report = JoinReport()

    def update(
        self,
        impressions: Batch | None = None,
        reports: Batch | None = None,
        watermark_ms: int | None = None,
    ) -> Joined:
        """Read a batch. ``watermark_ms``: what a consumer of several partitions knows better than
        the newest stamp does; it never goes back. Raises ``DataError`` where a column is missing.
        """
        rejected: dict[str, Table] = {}
        shown, told = [self._shown], [self._told]
        if impressions is not None:
            new, bad = read(impressions, self._shown_columns, ("time_ms",))
            shown.append(self._taken(new, bad, "impressions", "time_ms"))
            rejected |= {f"impression: {reason}": rows for reason, rows in bad.items()}
        if reports is not None:
            new, bad = read(reports, REPORT_COLUMNS, ("event_ms", "report_ms"))
            told.append(self._taken(new, bad, "reports", "report_ms"))
            rejected |= {f"report: {reason}": rows for reason, rows in bad.items()}
        by_itself = self._newest - self.config.disorder_ms
        now = by_itself if watermark_ms is None else watermark_ms
        before, self._watermark = self._watermark, max(self._watermark, now)
        now = self._watermark
        ready, self._shown = ripe(concat(shown), "time_ms", now)
        self._open(ready, before, rejected)
        ready, self._told = ripe(concat(told), "report_ms", now)
        late = self._label(ready, rejected)
        return Joined(self._close(now), late, rejected)

    def flush(self) -> Joined:
        """Handle all that waits and close every sample: the log has ended."""
        return self.update(watermark_ms=int(NEVER) - 1)

    def _taken(self, new: Columns, bad: dict[str, Table], what: str, stamp: str) -> Columns:
        n_bad = sum(len(rows) for rows in bad.values())
        self._report.count[what] += len(new[stamp]) + n_bad
        self._report.count[f"bad_{what}"] += n_bad
        if len(new[stamp]):
            self._newest = max(self._newest, int(new[stamp].max()))
        return new

    def _open(self, new: Columns, before: int, rejected: dict[str, Table]) -> None:
        """Open rows for impressions that are new, in order of time."""
        count, n = self._report.count, len(new["time_ms"])
        if not n:
            return
        # Its first copy, if there was one, may be forgotten: opening it could double the sample.
        gone = new["time_ms"] < before - self.rule.max_wait_ms
        if gone.any():
            rejected["impression: late"] = Table({k: v[gone] for k, v in new.items()})
            count["late_impressions"] += int(gone.sum())
            new = {name: column[~gone] for name, column in new.items()}
        at, fresh = self._rows.add(new["req_id"], new["video_id"])
        if not fresh.all():
            count["duplicate_impressions"] += int(len(fresh) - fresh.sum())
            at, new = at[fresh], {name: column[fresh] for name, column in new.items()}
        count["opened"] += len(at)
        time_ms, rows = new["time_ms"], self._rows
        close, mark = self.rule.opened(time_ms, new)
        rows["time_ms"][at], rows["close_ms"][at] = time_ms, close
        if self.rule.needs:
            rows["mark"][at] = mark
        for name in self.config.carry:
            rows[name][at] = new[name]
        for name in ("labels", "n_labels", "watch_sec", "pay_amount"):
            rows[name][at] = 0

    def _label(self, told: Columns, rejected: dict[str, Table]) -> Table:
        """Give reports to their rows, and return those that came too late."""
        count, rows = self._report.count, self._rows
        if not len(told["kind"]):
            return Table()
        event, fresh = self._events.add(told["event_id"], told["req_id"])
        if not fresh.all():
            count["duplicate_reports"] += int(len(fresh) - fresh.sum())
            event, told = event[fresh], {k: column[fresh] for k, column in told.items()}
        self._events["report_ms"][event] = told["report_ms"]
        at = rows.find(told["req_id"], told["video_id"])
        known = at >= 0
        if not known.all():
            count["unmatched"] += int(len(known) - known.sum())
            rejected["report: no such impression"] = _some(told, ~known)
            at, told = at[known], {name: column[known] for name, column in told.items()}
        time_ms = rows["time_ms"].take(at)
        early = (told["event_ms"] < time_ms - self.config.skew_ms) | (told["report_ms"] < time_ms)
        if early.any():
            count["early"] += int(early.sum())
            rejected["report: before its impression"] = _some(told, early)
            at, told = at[~early], {name: column[~early] for name, column in told.items()}
        on_time = self._give(at, told)
        delay = told["report_ms"] - rows["time_ms"].take(at)
        count["on_time"] += int(on_time.sum())
        self._report.on_time_by_delay += by_delay(delay[on_time])
        if on_time.all():
            return Table()
        late = ~on_time
        count["late"] += int(late.sum())
        self._report.late_by_delay += by_delay(delay[late])
        carried = {name: rows[name][at[late]] for name in ("time_ms", *self.config.carry)}
        return Table({**{name: column[late] for name, column in told.items()}, **carried})

    def _give(self, at: Array, told: Columns) -> Array:
        """(n,) bool: which reports became labels of the rows at ``at``."""
        if not self.rule.on_label:
            return self._mark(at, told, np.arange(len(at)))
        # the k-th reports of all rows at once, as each may move the close that the next one meets
        order = np.argsort(at, kind="stable")
        begins = np.flatnonzero(np.diff(at[order], prepend=-1))
        sizes = np.diff(begins, append=len(at))
        on_time = np.zeros(len(at), bool)
        for k in range(int(sizes.max(initial=0))):
            turn = order[begins[sizes > k] + k]
            on_time[turn] = self._mark(at[turn], told, turn)
            got = turn[on_time[turn]]
            rows, here = self._rows, at[got]
            state = rows["time_ms"][here], rows["labels"][here], rows["n_labels"][here]
            rows["close_ms"][here] = self.rule.told(told["report_ms"][got], *state)
        return on_time

    def _mark(self, at: Array, told: Columns, which: Array) -> Array:
        """(n,) bool: the reports ``which`` that are in time; their labels are written."""
        rows, stamp = self._rows, told["report_ms"][which]
        close = rows["close_ms"].take(at)
        if self.rule.needs:
            due = np.flatnonzero((stamp > close) & (close != CLOSED))
            here = at[due]
            close[due] = self.rule.renewed(close[due], rows["time_ms"][here], rows["mark"][here])
        good = (stamp <= close) & (close != CLOSED)
        at, which = at[good], which[good]
        kind, value = told["kind"][which], told["value"][which]
        np.bitwise_or.at(rows["labels"], at, BITS.take(kind))
        np.add.at(rows["n_labels"], at, ONE)
        some = kind == WATCH
        np.maximum.at(rows["watch_sec"], at[some], value[some].astype(np.float32))
        some = kind == PAY
        np.add.at(rows["pay_amount"], at[some], value[some])
        return np.asarray(good)

    def _close(self, now: int) -> Table:
        """Give out the rows whose close has passed, and forget what no record can ask for."""
        rows = self._rows
        due = [part < now for part in rows.parts("close_ms", self._open_from)]
        places = (np.concatenate(due).nonzero()[0] + self._open_from) & (rows.capacity - 1)
        alive = rows.alive(places)
        at = places[alive]
        close = rows["close_ms"].take(at)
        if self.rule.needs and len(at):
            close = self.rule.renewed(close, rows["time_ms"][at], rows["mark"][at])
            rows["close_ms"][at] = close
            at, close = at[close < now], close[close < now]
        order = np.argsort(close, kind="stable")
        samples = self._sample(at[order], close[order])
        rows["close_ms"][at] = rows["close_ms"][places[~alive]] = CLOSED
        self.rule.passed(now)
        self._forget(now)
        return samples

    def _forget(self, now: int) -> None:
        """Rows and event ids so old that a record of theirs would be late by its stamp alone."""
        horizon = now - self.rule.max_wait_ms - self.config.remember_ms
        rows, events = self._rows, self._events
        self._open_from += rows.leading("close_ms", self._open_from, rows.head, int(CLOSED))
        rows.drop(rows.leading("time_ms", rows.tail, self._open_from, horizon, below=True))
        events.drop(events.leading("report_ms", events.tail, events.head, horizon, below=True))

    def _sample(self, at: Array, close: Array) -> Table:
        rows, count = self._rows, self._report.count
        columns = {"req_id": rows["a"].take(at), "video_id": rows["b"].take(at)}
        names = (*self.config.carry, "time_ms", "labels", "n_labels", "watch_sec", "pay_amount")
        columns |= {name: rows[name].take(at) for name in names}
        columns["close_ms"] = close
        count["samples"] += len(at)
        count["labelled"] += int(np.count_nonzero(columns["labels"]))
        count["waited_ms"] += int((close - columns["time_ms"]).sum())
        return Table(columns)

    def report(self) -> JoinReport:
        """The numbers up to now."""
        told = self._report
        told.open = told.count["opened"] - told.count["samples"]
        told.waiting_impressions = len(self._shown["time_ms"])
        told.waiting_reports = len(self._told["kind"])
        waiting = (*self._shown.values(), *self._told.values())
        told.state_bytes = self._rows.nbytes + self._events.nbytes + sum(c.nbytes for c in waiting)
        return deepcopy(told)

    def state(self) -> bytes:
        """Everything that the rest of the stream depends on."""
        told = self._report
        parts: dict[str, Any] = {
            "rows": self._rows.state(),
            "events": self._events.state(),
            "shown": self._shown,
            "told": self._told,
            "rule": self.rule.state(),
            "delay": {"on_time": told.on_time_by_delay, "late": told.late_by_delay},
        }
        arrays = {f"{part}.{k}": v for part, named in parts.items() for k, v in named.items()}
        arrays["count"] = np.array([told.count[name] for name in COUNTERS])
        arrays["at"] = np.array([self._newest, self._watermark, self._open_from])
        arrays["who"] = np.array(self._who())
        out = io.BytesIO()
        np.savez(out, **arrays)
        return out.getvalue()

    def restore(self, state: bytes) -> "SampleJoin":
        """Go on from a ``state`` of a join of the same settings. Raises ``DataError`` otherwise."""
        try:
            with np.load(io.BytesIO(state), allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
        except (ValueError, OSError, zipfile.BadZipFile, EOFError) as error:
            raise DataError(f"these bytes are no state of a SampleJoin: {error}") from error
        if str(arrays.get("who")) != self._who():
            raise DataError(f"a state of {arrays.get('who')} cannot go on as {self._who()}")

        def part(name: str) -> Columns:
            start = len(name) + 1
            return {k[start:]: v for k, v in arrays.items() if k.startswith(f"{name}.")}

        self._rows.restore(part("rows"))
        self._events.restore(part("events"))
        self._shown, self._told = part("shown"), part("told")
        self.rule.restore(part("rule"))
        counts = dict(zip(COUNTERS, arrays["count"].tolist(), strict=True))
        delay = part("delay")
        self._report = JoinReport(counts, delay["on_time"], delay["late"])
        self._newest, self._watermark, self._open_from = arrays["at"].tolist()
        return self

    def _who(self) -> str:
        rule = self.rule
        settings = getattr(rule, "config", rule)  # FixedWindow is its own settings
        return f"{type(rule).__name__}({settings}), {self.config}"


def _some(rows: Columns, which: Array) -> Table:
    return Table({name: column[which] for name, column in rows.items()})
