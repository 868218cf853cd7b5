"""Watching a data path: how fast its topics grow, how far groups are behind, what the join catches.

    rate = entries appended / second,   lag = end - committed,
    join rate = labels in the samples that came out / reports that the world has of those requests

A thread looks at everything five times a second for as long as the path lives; while Redis is down
it sees nothing (NaN). What is done to the path is marked at its moment.

Simplified: an operator's board keeps weeks of it, by minute.
"""

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from reclab.core.types import Array
from reclab.offline_online.join import sample_record
from reclab.offline_online.join.sample_topic import EpochFilter
from reclab.offline_online.pipeline import DEAD_LETTERS, EVENTS, FEATURES, SAMPLES
from reclab.stores.event_log import EventLog, StoreDown

LOOK_S = 0.2
TOPICS = (FEATURES, EVENTS, SAMPLES, DEAD_LETTERS)
GROUPS = ((FEATURES, "joiner"), (EVENTS, "labels"))
SMOOTH = 5  # looks over which the join rate is taken


@dataclass(frozen=True)
class Watched:
    """Looks (k,) at a path. ``at_s`` since it was started; ``entries`` (k, topics) appended so far,
    ``lag`` (k, groups), NaN while nobody answered; ``labels`` (k,) in samples so far, ``reports``
    (k,) that the world has of their requests; ``marks``: (second, what was done)."""

    topics: tuple[str, ...]
    groups: tuple[str, ...]
    at_s: Array
    entries: Array
    lag: Array
    labels: Array
    reports: Array
    marks: tuple[tuple[float, str], ...]

    @property
    def rate(self) -> Array:
        """(k, topics) entries a second since the look before; the first is 0."""
        step = np.maximum(np.diff(self.at_s, prepend=self.at_s[:1] - 1.0), 1e-3)
        grown = np.diff(self.entries, axis=0, prepend=self.entries[:1])
        return np.asarray(grown / step[:, None])

    @property
    def join_rate(self) -> Array:
        """(k,) over the last second; NaN while no sample came out."""
        back = np.maximum(np.arange(len(self.at_s)) - SMOOTH, 0)
        caught, wanted = (x - x[back] for x in (self.labels, self.reports))
        return np.where(wanted > 0, caught / np.maximum(wanted, 1), np.nan)

    def table(self) -> str:
        """Entries, mean and highest rate by topic; highest and last lag by group; the join rate."""
        lines = [f"{'topic':<14}{'entries':>9}{'mean/s':>8}{'most/s':>8}"]
        last = np.nanmax(self.entries, axis=0)
        span = max(float(self.at_s[-1] - self.at_s[0]), 1e-3)
        most = np.nan_to_num(self.rate).max(0)
        for n, topic in enumerate(self.topics):
            lines.append(f"{topic:<14}{last[n]:>9.0f}{last[n] / span:>8.0f}{most[n]:>8.0f}")
        lines.append(f"{'group':<14}{'most lag':>9}{'now':>8}")
        for n, group in enumerate(self.groups):
            lag = self.lag[:, n]
            lines.append(f"{group:<14}{np.nanmax(lag):>9.0f}{lag[-1]:>8.0f}")
        rate = self.labels[-1] / max(self.reports[-1], 1)
        return "\n".join([*lines, f"join rate so far: {rate:.1%}"])


class Watch:
    """The thread that looks, on a log of its own. ``mark`` notes what is done."""

    def __init__(self, log: EventLog, n_reports: Mapping[int, int]) -> None:
        self.log, self.n_reports = log, n_reports
        self.marks: list[tuple[float, str]] = []
        self._rows: list[tuple[float, list[float], list[float], int, int]] = []
        self._labels = self._reports = 0
        self._closed: set[int] = set()
        self._at: dict[int, int] = {}
        self._filters: dict[int, EpochFilter] = {}
        self._began, self._end = time.monotonic(), threading.Event()
        self._thread = threading.Thread(target=self._look_on, name="watch", daemon=True)
        self._thread.start()

    def now_s(self) -> float:
        """Seconds since it began."""
        return time.monotonic() - self._began

    def mark(self, what: str) -> None:
        """Something is done now."""
        self.marks.append((self.now_s(), what))

    def seen(self) -> Watched:
        """All looks so far, one at least."""
        while not self._rows and self._thread.is_alive():
            time.sleep(0.01)
        rows = [*self._rows]
        at_s, entries, lag, labels, reports = (
            np.array([row[k] for row in rows], float) for k in range(5)
        )
        names = tuple(group for _, group in GROUPS)
        marks = tuple(self.marks)
        return Watched(TOPICS, names, at_s, entries, lag, labels, reports, marks)

    def stop(self) -> None:
        """Look no more."""
        self._end.set()
        self._thread.join(5)

    def _look_on(self) -> None:
        while not self._end.wait(LOOK_S if self._rows else 0):
            at = self.now_s()
            try:
                entries, lag = self._look()
            except StoreDown:
                entries, lag = [np.nan] * len(TOPICS), [np.nan] * len(GROUPS)
                self._reconnect()
            self._rows.append((at, entries, lag, self._labels, self._reports))

    def _reconnect(self) -> None:
        try:
            self.log.reconnect()
        except StoreDown:
            return  # the next look tries again

    def _look(self) -> tuple[list[float], list[float]]:
        groups = dict(GROUPS)
        stats = {topic: self.log.stats(topic, groups.get(topic)) for topic in TOPICS}
        self._read_samples()
        lag = [float(stats[topic].lag.sum()) for topic, _ in GROUPS]
        return [float(stats[topic].end.sum()) for topic in TOPICS], lag

    def _read_samples(self) -> None:
        """Labels of the samples that are new, and the reports that their requests have."""
        for p in range(self.log.topics()[SAMPLES]):
            entries = self.log.read(SAMPLES, p, self._at.get(p, 0), 10_000)
            if not len(entries):
                continue
            self._at[p] = int(entries.offset[-1]) + 1
            kept = self._filters.setdefault(p, EpochFilter()).keep(entries.value)
            records = sample_record.unpack([entries.value[i] for i in np.flatnonzero(kept)])
            self._labels += int(records.card["n_labels"].sum())
            for req_id in set(records.head["req_id"].tolist()) - self._closed:
                self._closed.add(req_id)
                self._reports += self.n_reports.get(req_id, 0)
