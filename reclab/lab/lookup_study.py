"""Lookup study: what the chapter's own join, a lookup after a fixed wait, finds of an evening's
feedback, beside the stream join with the same window; and what it loses when its store fails.

    lost  = labels of the stream join that the lookup did not find
    extra = labels that it found beyond the window, because it looked late
The cases share the events; each has a label store of its own on a real Redis. Where the store is
down, its server is killed with -9 and comes back later from its append-only file.

Reference: chapter 2.3.1, figure 2.3.
Simplified: the label consumer merges by the clock of the stamps here; its process is tested apart.
"""

import os
import signal
import tempfile
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from reclab.core.clock import DAY_MS
from reclab.core.tables import Logs, Table
from reclab.core.types import Array
from reclab.lab.join_study import platform_streams
from reclab.lab.lab import Progress, progress_bar
from reclab.offline_online.join.batch_join import batch_join
from reclab.offline_online.join.lookup_join import LookupJoin, LookupJoinConfig
from reclab.offline_online.join.sample_join import SampleJoinConfig
from reclab.offline_online.join.window import MINUTE_MS, FixedWindow
from reclab.offline_online.labels.label_store import LabelStore, LabelStoreConfig, event_names
from reclab.stores.kv import KVConfig
from reclab.stores.redis_server import own_server

HOUR_MS = 60 * MINUTE_MS
STEP_MS = 10_000  # events of a micro-batch
CLICK = 1
COLUMNS = ("name", "req_id", "video_id", "kind", "value", "report_ms")


@dataclass(frozen=True)
class Case:
    """One way to run the lookup join. ``expire_min``: life of labels; ``behind_min``: how far the
    label consumer lags; ``down_min``: minutes without the store, from the middle on."""

    name: str
    expire_min: float = 1_440
    behind_min: float = 0
    down_min: float = 0
    when_down: str = "wait"


CASES = (
    Case("all is well"),
    Case("labels expire after 20 min", expire_min=20),
    Case("labels expire after 5 min", expire_min=5),
    Case("consumer 5 min behind", behind_min=5),
    Case("consumer 15 min behind", behind_min=15),
    Case("store down 30 min, rows wait", down_min=30),
    Case("store down 30 min, no labels", down_min=30, when_down="no_labels"),
)


@dataclass(frozen=True)
class LookupStudy:
    """By case (k,): ``samples``, ``labels`` found, ``lost`` and ``extra`` labels against the stream
    join (the first row: nothing lost), ``click_rate`` of the samples, ``wait_s`` mean wait until
    given out. ``equal``: the same samples with the same labels, to the last bit."""

    name: tuple[str, ...]
    samples: Array
    labels: Array
    lost: Array
    extra: Array
    click_rate: Array
    wait_s: Array
    equal: tuple[bool, ...]

    def table(self) -> str:
        """As text."""
        lines = [
            f"{'':<30}{'samples':>9}{'labels':>9}{'lost':>8}{'extra':>7}{'clicks':>8}{'wait s':>8}"
        ]
        numbers = (self.samples, self.labels, self.lost, self.extra, self.click_rate, self.wait_s)
        for name, *row in zip(self.name, *numbers, strict=True):
            whole = "".join(f"{n:>9,}" for n in row[:4])
            lines.append(f"{name:<30}{whole}{row[4]:>9.2%}{row[5]:>9,.0f}")
        return "\n".join(lines)


def lookup_study(
    logs: Logs,
    hours: tuple[int, int] = (20, 23),
    wait_min: int = 20,
    cases: Sequence[Case] = CASES,
    progress: bool | Progress = True,
) -> LookupStudy:
    """The cases on the requests of an evening of the fourth last day."""
    streams = platform_streams(logs)
    day = int(streams.impressions["time_ms"].min()) // DAY_MS * DAY_MS
    when = streams.impressions["time_ms"] - day
    evening = (when >= hours[0] * HOUR_MS) & (when < hours[1] * HOUR_MS)
    shown = streams.impressions.take(evening)
    told = streams.reports.take(np.isin(streams.reports["req_id"], shown["req_id"]))
    config = SampleJoinConfig(carry=())
    truth = batch_join(shown, told, FixedWindow(wait_min * MINUTE_MS), config)
    given = truth["time_ms"] + wait_min * MINUTE_MS
    rows, equal = [_against(truth, truth, given)], [True]
    names = ("req_id", "video_id", "labels", "n_labels", "watch_sec", "pay_amount")
    with progress_bar("lookup join", progress) as say:
        for i, case in enumerate(cases):
            say(i / len(cases), case.name)
            found, given = _run(shown, told, case, wait_min * MINUTE_MS)
            rows.append(_against(found, truth, given))
            equal.append(all(np.array_equal(found[name], truth[name]) for name in names))
    names = ("stream join", *(case.name for case in cases))
    return LookupStudy(
        names, *(np.array(column) for column in zip(*rows, strict=True)), tuple(equal)
    )


def _against(
    found: Table, truth: Table, given_ms: Array
) -> tuple[int, int, int, int, float, float]:
    """Of samples in order of request and item; both have the same."""
    more = found["n_labels"].astype(np.int64) - truth["n_labels"]
    lost, extra = -int(more[more < 0].sum()), int(more[more > 0].sum())
    clicks = float((found["labels"] & CLICK).mean())
    wait = float((given_ms - found["time_ms"]).mean()) / 1000
    return len(found), int(found["n_labels"].sum()), lost, extra, clicks, wait


def _run(shown: Table, told: Table, case: Case, wait_ms: int) -> tuple[Table, Array]:
    """Samples in order of request and item, and when each was given out."""
    with tempfile.TemporaryDirectory(prefix="reclab-labels-") as folder:
        own = KVConfig(folder=Path(folder)) if case.down_min else None
        life = LabelStoreConfig(round(case.expire_min * MINUTE_MS))
        store = LabelStore(None, f"labels-{uuid.uuid4().hex[:8]}", life, own)
        try:
            return _drive(shown, _named(told), store, case, wait_ms)
        finally:
            if own:
                own_server(own.folder).stop()
            else:
                store.kv.delete(*store.kv.names())
                store.close()


def _named(told: Table) -> Table:
    n = len(told)
    return told.with_columns(name=event_names([""] * n, [0] * n, told["event_id"].tolist()))


def _drive(
    shown: Table, told: Table, store: LabelStore, case: Case, wait_ms: int
) -> tuple[Table, Array]:
    """Event time in steps: the label consumer merges, then the join looks up."""
    join = LookupJoin(store, LookupJoinConfig(wait_ms, (), case.when_down))
    stamps, reports = shown["time_ms"], told["report_ms"]
    first, last = int(stamps.min()), int(stamps.max())
    down_ms, behind_ms = (round(m * MINUTE_MS) for m in (case.down_min, case.behind_min))
    n_merged, n_read, up, parts, given = 0, 0, True, list[Table](), list[Array]()
    for now in range(first, last + wait_ms + down_ms + 2 * STEP_MS, STEP_MS):
        up = _power(store, up, not 0 <= now - (first + last) // 2 < down_ms)
        if up:
            stop = int(np.searchsorted(reports, now - behind_ms, "right"))
            store.merge({name: told[name][n_merged:stop] for name in COLUMNS})
            n_merged = stop
        stop = int(np.searchsorted(stamps, now, "right"))
        parts.append(join.update(shown.take(np.arange(n_read, stop)), now))
        given.append(np.full(len(parts[-1]), now))
        n_read = stop
    whole = [part for part in parts if len(part)]
    samples = Table({name: np.concatenate([part[name] for part in whole]) for name in whole[0]})
    order = np.lexsort((samples["video_id"], samples["req_id"]))
    return samples.take(order), np.concatenate(given)[order]


def _power(store: LabelStore, up: bool, wanted: bool) -> bool:
    """Kill the store's server, or start it again, if it is not as wanted."""
    if up and not wanted and store.kv.config.folder:
        os.kill(own_server(store.kv.config.folder).pid, signal.SIGKILL)
    if wanted and not up:
        store.reconnect()
    return wanted
