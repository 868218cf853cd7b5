"""What goes into the data path: some minutes of the lab's log again, time-lapsed.

    recommender   a request's cards and their features -> topic features, when it was answered
    phones        a phone's reports of a moment -> one signed POST to the gateway, when they came in

    platform's time = start + speed x (measured time since then);  the gateway stamps by it

A phone that gets no 200 sends the same events again, so that what is lost or doubled is lost or
doubled behind the gateway. Both go on when Redis is down, and are late then.

Simplified: a report that the world sends after the replay has ended is not sent.
"""

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import httpx
import numpy as np

from reclab.core.clock import DAY_MS, HOUR_MS
from reclab.core.errors import DataError
from reclab.core.types import Array
from reclab.lab.lab import Lab
from reclab.offline_online.feature_log import FeatureLog, Served, served
from reclab.offline_online.signature import signed_headers
from reclab.offline_online.tracking_schema import KINDS
from reclab.stores.event_log import EventLog, StoreDown

APP, KEY = "app", b"a key for this demonstration only"
MOST_EVENTS = 100  # in one request
TICK_S = 0.1


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


def _requests(lab: Lab, shown: Any) -> list[Served]:
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


def _rows(told: Any) -> Any:
    names = ("req_id", "video_id", "user_id", "kind", "value", "event_ms")
    return zip(*(told[name].tolist() for name in names), strict=True)


def _event(number: int, row: Sequence[Any]) -> dict[str, Any]:
    """A report as the app writes it."""
    req, video, user, kind, value, when = row
    event = {"event_id": f"event-{number:07d}", "req_id": f"r{req}", "video_id": f"v{video}",
             "user_id": user, "kind": KINDS[kind], "event_ms": when}  # fmt: skip
    return event | ({"value": value} if KINDS[kind] in ("watch", "pay") else {})


class PlatformClock:
    """The platform's time in ms: ``begin_ms`` until ``start``, then ``speed`` times as fast as
    measured time; ``jump`` puts it forward."""

    def __init__(self, begin_ms: int, speed: float) -> None:
        self.speed, self._at, self._since = speed, begin_ms, 0.0

    def start(self) -> None:
        """From now on it runs."""
        self._since = time.monotonic()

    def __call__(self) -> int:
        """Now."""
        passed = time.monotonic() - self._since if self._since else 0.0
        return self._at + int(1000 * self.speed * passed)

    def jump(self, to_ms: int) -> None:
        """Forward to this time, if that is later."""
        self._at += max(to_ms - self(), 0)


class Phones:
    """Posts to the gateway. ``accepted``: ids of events that were answered with 200; ``counts``:
    posts by status or "no answer"; ``latest`` posts: (device, events)."""

    def __init__(self, url: str, clock: PlatformClock, n_reports: Counter[int]) -> None:
        """``n_reports``: as in ``Traffic``; what is sent beside it is added."""
        self.clock, self.counts, self.n_reports = clock, Counter[str](), n_reports
        self.accepted: set[str] = set()
        self.rejected: Counter[str] = Counter()
        self.latest: list[tuple[int, list[dict[str, Any]]]] = []
        self._client = httpx.Client(base_url=url, timeout=5.0)

    def body(self, device: int, events: Sequence[dict[str, Any]]) -> bytes:
        """Of a request."""
        return json.dumps({"device_id": f"{device:08x}", "events": list(events)}).encode()

    def post(self, body: bytes, **headers: str) -> httpx.Response | None:
        """One request, signed now; None without an answer."""
        signed = signed_headers(KEY, APP, self.clock(), body) | headers
        try:
            answer = self._client.post("/v1/events", content=body, headers=signed)
        except httpx.TransportError:
            self.counts["no answer"] += 1
            return None
        self.counts[str(answer.status_code)] += 1
        return answer

    def send(
        self, device: int, events: list[dict[str, Any]], goes_on: Callable[[], bool]
    ) -> dict[str, Any]:
        """Until the gateway has it: 429 and 503 mean again, later. The answer."""
        while True:
            answer = self.post(self.body(device, events))
            if answer is not None and answer.status_code not in (429, 503):
                break
            if not goes_on():
                return {}
            time.sleep(0.1)
        told: dict[str, Any] = answer.json()
        if answer.status_code == 200:
            bad = {fault["index"] for fault in told["rejected"]}
            self.accepted |= {e["event_id"] for n, e in enumerate(events) if n not in bad}
            self.rejected.update(fault["reason"] for fault in told["rejected"])
            self.latest = [*self.latest[-19:], (device, events)]
        return told

    def close(self) -> None:
        """Hang up."""
        self._client.close()


class Replay:
    """Recommender and phones, each in a thread; ``done`` when all has been sent."""

    def __init__(self, what: Traffic, phones: Phones, log: EventLog, clock: PlatformClock) -> None:
        self.what, self.phones, self.log, self.clock = what, phones, log, clock
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=work, name=work.__name__, daemon=True)
            for work in (self._recommend, self._report)
        ]

    def start(self) -> None:
        """Let the platform's time run."""
        self.clock.start()
        for thread in self._threads:
            thread.start()

    @property
    def done(self) -> bool:
        """Everything has been sent."""
        return not any(thread.is_alive() for thread in self._threads)

    def wait(self, seconds: float) -> bool:
        """Wait until it is done; whether it is."""
        until = time.monotonic() + seconds
        while not self.done and time.monotonic() < until:
            time.sleep(0.02)
        return self.done

    def stop(self) -> None:
        """Send no more."""
        self._stop.set()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(10)

    def _recommend(self) -> None:
        features = FeatureLog(self.log)
        for part in self._due(self.what.asked_ms):
            self.insist(partial(features.append, self.what.requests[part], self.clock()))

    def insist(self, what: Callable[[], object]) -> None:
        """Again until the log answers: what a producer does, and why entries may come twice."""
        while not self._stop.is_set():
            try:
                what()
                return
            except StoreDown:
                time.sleep(0.05)
                try:
                    self.log.reconnect()
                except StoreDown:
                    pass

    def _report(self) -> None:
        with ThreadPoolExecutor(4, "phone") as pool:
            for part in self._due(self.what.told_ms):
                by_phone: dict[int, list[dict[str, Any]]] = {}
                for at in range(part.start, part.stop):
                    by_phone.setdefault(int(self.what.device[at]), []).append(self.what.events[at])
                list(pool.map(lambda item: self._send(*item), by_phone.items()))

    def _send(self, device: int, events: list[dict[str, Any]]) -> None:
        for first in range(0, len(events), MOST_EVENTS):
            self.phones.send(device, events[first : first + MOST_EVENTS], self._goes_on)

    def _goes_on(self) -> bool:
        return not self._stop.is_set()

    def _due(self, stamps: Array) -> Any:
        """Slices of what has come by now, tick by tick."""
        at = 0
        while at < len(stamps) and not self._stop.is_set():
            stop = int(np.searchsorted(stamps, self.clock()))
            if stop > at:
                yield slice(at, stop)
                at = stop
            else:
                time.sleep(TICK_S)
