"""What goes into the data path: some minutes of an evening of the lab's log, to be lived again.

    requests   cards and the features that the lab's ranker reads of them, as of the request's time
    events     reports as a phone writes them, in the order in which the world's gateway had them

Simplified: a report that the world sends after the replay has ended is not sent.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from reclab.core.clock import DAY_MS, HOUR_MS
from reclab.core.errors import DataError
from reclab.core.tables import Table
from reclab.core.types import Array
from reclab.lab.lab import Lab
from reclab.offline_online.features.feature_log import Served, served
from reclab.offline_online.gateway.tracking_schema import KINDS


@dataclass(frozen=True)
class Traffic:
    """``requests`` as they are logged, by time, and when (B,); ``events`` as a phone writes them,
    by arrival, when they come in (m,) and whose phone (m,); ``n_reports``: request -> reports that
    the world has of it, however late. ``begin_ms`` … ``end_ms`` of the platform's time."""

    requests: list[Served]
    asked_ms: Array
    events: list[dict[str, Any]]
    told_ms: Array
    device: Array
    n_reports: Counter[int]
    begin_ms: int
    end_ms: int


def traffic(lab: Lab, minutes: float, most_requests: int) -> Traffic:
    """The last evening of the lab from 20:00 on; of so many users that the requests are few
    enough. Raises ``DataError`` without reports."""
    logs = lab.logs
    if "report_ms" not in logs.feedback:
        raise DataError("the data path replays reports: open a lab of the platform, not of data")
    log = logs.interactions
    begin = int(log["time_ms"].max()) // DAY_MS * DAY_MS + 20 * HOUR_MS
    begin -= DAY_MS * (begin >= int(log["time_ms"].max()))
    end = begin + int(minutes * 60_000)
    rows = np.flatnonzero((log["time_ms"] >= begin) & (log["time_ms"] < end))
    share = min(1.0, most_requests / max(len(np.unique(log["req_id"][rows])), 1))
    rows = rows[log["user_id"][rows] * 2_654_435_761 % 1_000 < 1_000 * share]
    if not len(rows):
        raise DataError(f"nobody came in {minutes} minutes from 20:00: replay more minutes")
    shown = log.take(rows[np.lexsort((log["position"][rows], log["req_id"][rows]))])
    requests = _requests(lab, shown)
    told = logs.feedback.take(np.isin(logs.feedback["req_id"], shown["req_id"]))
    n_reports = Counter(told["req_id"].tolist())
    told = told.take(told["report_ms"] < end)
    device = dict(zip(shown["user_id"].tolist(), shown["device_id"].tolist(), strict=True))
    phones = np.array([device[user] for user in told["user_id"].tolist()], np.int64)
    stamps = np.array([one.time_ms for one in requests], np.int64)
    events = [_event(n, row) for n, row in enumerate(_rows(told))]
    return Traffic(requests, stamps, events, told["report_ms"], phones, n_reports, begin, end)


def _requests(lab: Lab, shown: Table) -> list[Served]:
    """With the features that the lab's ranker reads of the cards, as of the request's time."""
    features = lab.trained.parts.features
    _, first, owner = np.unique(shown["req_id"], return_index=True, return_inverse=True)
    asked = shown.take(first)
    users, network = features.users.rows(asked["user_id"]), asked["network"]
    cards = features.index.rows(shown["video_id"])
    built = features.build(users, asked["time_ms"], network, owner, cards)
    found = served(
        built, asked["req_id"], asked["user_id"], asked["session_id"], asked["time_ms"], network,
        shown["video_id"], shown["position"], (features.index.version, 1),
    )  # fmt: skip
    return sorted(found, key=lambda one: one.time_ms)


def _rows(told: Table) -> Iterator[tuple[Any, ...]]:
    names = ("req_id", "video_id", "user_id", "kind", "value", "event_ms")
    return zip(*(told[name].tolist() for name in names), strict=True)


def _event(number: int, row: Sequence[Any]) -> dict[str, Any]:
    """A report as the app writes it."""
    req, video, user, kind, value, when = row
    event = {"event_id": f"event-{number:07d}", "req_id": f"r{req}", "video_id": f"v{video}",
             "user_id": user, "kind": KINDS[kind], "event_ms": when}  # fmt: skip
    return event | ({"value": value} if KINDS[kind] in ("watch", "pay") else {})
