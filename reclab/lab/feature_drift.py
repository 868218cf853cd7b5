"""Feature drift: what a lossy stream does to counters, and how a rebuild heals it (批量重建纠偏).

    error(t) = sum_i |c_i(t) - c*_i(t)| / sum_i c*_i(t),   c* from the whole log, c as served
The stream loses a share of the reports; every so many hours a batch over the log tables is
published and the stream goes on behind it. Counters look back a day, so without any rebuild the
error levels off at the share lost.
Reference: chapter 2.3.1, Batch + Streaming; Marz and Warren 2015.

Simplified: losses strike at random; in industry they come in outages, and doubles come beside.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from reclab.core.chance import rng
from reclab.core.clock import DAY_MS, HOUR_MS
from reclab.core.errors import check_float, check_int
from reclab.core.tables import Logs, Table
from reclab.core.types import Array
from reclab.lab.kept import kept
from reclab.lab.lab import Lab, Progress, progress_bar
from reclab.offline_online.features.live_features import LiveFeatures, LiveFeaturesConfig
from reclab.offline_online.serving.versions import Versions

MOST_REQUESTS = 1_500  # of the days that are replayed, chosen evenly
CONFIG = LiveFeaturesConfig(windows=(("1d", DAY_MS),), remember_ms=7 * DAY_MS)


@dataclass(frozen=True)
class Drift:
    """``hours`` (h,) since the stream began; ``error`` (k, h) of the clicks by item, for rebuilds
    ``every_h`` hours (0 = never); ``loss``: share of the reports that the stream lost; ``cost``
    (k,) rows that rebuilds read for one of the stream's."""

    hours: Array
    every_h: tuple[int, ...]
    error: Array
    loss: float
    cost: Array

    def table(self) -> str:
        """A line a schedule: the error by the hour, and what rebuilding read."""
        lines = [f"{'rebuilt every':>14}{'mean error':>12}{'largest':>9}{'at the end':>12}"
                 f"{'rows rebuilt / stream':>23}"]  # fmt: skip
        for k, every in enumerate(self.every_h):
            e, name = self.error[k], f"{every} h" if every else "never"
            lines.append(
                f"{name:>14}{e.mean():12.2%}{e.max():9.2%}{e[-1]:12.2%}{self.cost[k]:23.2f}"
            )
        return "\n".join(lines)


def drift(
    lab: Lab,
    loss: float = 0.05,
    every_h: Sequence[int] = (0, 24, 6, 1),
    days: int = 2,
    progress: bool | Progress = True,
) -> Drift:
    """Two days of the platform through a stream that loses a share of the reports (0 … 0.5)."""
    check_float("drift.loss", loss, 0.0, 0.9, "0.05")
    check_int("drift.days", days, 1, 7, "2")
    for every in every_h:
        check_int("drift.every_h", every, 0, 24 * 7, "0, 24, 6, 1")
    name = f"drift-{loss:g}-{'-'.join(map(str, every_h))}-{days}"

    def compute() -> dict[str, Drift]:
        with progress_bar("a lossy stream and its rebuilds", progress) as say:
            shown, told = _streams(lab.logs, days)
            errors, costs = [], []
            for k, every in enumerate(every_h):
                say(k / len(every_h), f"rebuilt every {every} h" if every else "never rebuilt")
                error, cost = _replay(lab.logs, shown, told, loss, every, days)
                errors.append(error)
                costs.append(cost)
            hours = np.arange(1, 24 * days + 1)
            return {"drift": Drift(hours, tuple(every_h), np.array(errors), loss, np.array(costs))}

    return kept(lab, name, Drift, compute)["drift"]


def _streams(logs: Logs, days: int) -> tuple[Table, Table]:
    """The last days' impressions and reports, in order of arrival, times from 0 on."""
    log = logs.interactions
    start = (int(log["time_ms"].max()) // DAY_MS + 1 - days) * DAY_MS
    rows = np.flatnonzero(log["time_ms"] >= start)
    req = np.unique(log["req_id"][rows])
    chosen = req[:: max(1, len(req) // MOST_REQUESTS)]
    rows = rows[np.isin(log["req_id"][rows], chosen)]
    names = ("req_id", "user_id", "video_id", "time_ms")
    shown = Table({name: log[name][rows] for name in names})
    told = logs.feedback.take(np.isin(logs.feedback["req_id"], chosen))
    columns = {name: told[name] for name in ("req_id", "user_id", "video_id", "kind", "value")}
    columns |= {"report_ms": told["report_ms"] - start, "event_id": np.arange(len(told))}
    told = Table(columns).take(np.argsort(columns["report_ms"], kind="stable"))
    return shown.with_columns(time_ms=shown["time_ms"] - start), told


def _replay(
    logs: Logs, shown: Table, told: Table, loss: float, every_h: int, days: int
) -> tuple[Array, float]:
    """(h,) error by the hour, and how many rows rebuilds read for one of the stream's."""
    arrives = rng(0, "lossy stream").random(len(told)) >= loss
    versions = Versions(LiveFeatures(logs, CONFIG))
    truth = LiveFeatures.build(logs, shown, told, CONFIG)
    ids, errors, rebuilt, streamed = truth.items.ids, [], 0, 0
    for hour in range(1, 24 * days + 1):
        now = hour * HOUR_MS
        a, b = (
            slice(*np.searchsorted(table[stamp], (now - HOUR_MS, now)))
            for table, stamp in ((shown, "time_ms"), (told, "report_ms"))
        )
        batch = _cut(shown, a), _cut(told, b).take(arrives[b])
        versions.change(lambda live, rows=batch: live.apply(*rows), now_ms=now)
        streamed += len(batch[0]) + len(batch[1])
        if every_h and hour % every_h == 0:
            past = _cut(shown, slice(0, a.stop)), _cut(told, slice(0, b.stop))
            versions.publish(LiveFeatures.build(logs, *past, CONFIG), now_ms=now)
            rebuilt += len(past[0]) + len(past[1])
        held, right = (
            live.counters(ids, now, DAY_MS)["click"] for live in (versions.current.state, truth)
        )
        errors.append(np.abs(held - right).sum() / max(right.sum(), 1.0))
    return np.array(errors), rebuilt / max(streamed, 1)


def _cut(table: Table, rows: slice) -> Table:
    return Table({name: table[name][rows] for name in table})
