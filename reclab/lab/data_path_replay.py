"""The replay of a data path: recommender and phones live some minutes again, time-lapsed.

    recommender   requests -> topic features, when they were answered
    phones        a phone's reports of a moment -> one signed POST to the gateway, when they came in

    platform's time = start + speed x (measured time since then);  the gateway stamps by it

A phone that gets no 200 sends the same events again, so that what is lost or doubled is lost or
doubled behind the gateway. Both go on when Redis is down, and are late then.

Simplified: four posts at a time, from one machine.
"""

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import httpx
import numpy as np

from reclab.lab.data_path_traffic import Traffic
from reclab.offline_online.features.feature_log import FeatureLog
from reclab.offline_online.gateway.signature import signed_headers
from reclab.stores.event_log import EventLog, StoreDown

APP, KEY = "app", b"a key for this demonstration only"
MOST_EVENTS = 100  # in one request
TICK_S = 0.1
PATIENCE_S = 20.0  # longer than a gateway that died holds a claim to an event
Post = tuple[int, list[dict[str, Any]]]


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
        self.latest: list[Post] = []
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

    def send(self, device: int, events: list[dict[str, Any]]) -> dict[str, Any] | None:
        """One try. The answer; None = the gateway does not have them: send them again later."""
        answer = self.post(self.body(device, events))
        if answer is None or answer.status_code in (429, 503):
            return None
        told: dict[str, Any] = answer.json()
        if answer.status_code == 200:
            bad = {fault["index"] for fault in told["rejected"]}
            self.accepted |= {e["event_id"] for n, e in enumerate(events) if n not in bad}
            self.rejected.update(fault["reason"] for fault in told["rejected"])
            self.latest = [*self.latest[-19:], (device, events)]
        return told

    def insist(self, device: int, events: list[dict[str, Any]]) -> dict[str, Any]:
        """Until the gateway has them. Raises ``StoreDown`` after ``PATIENCE_S``."""
        until = time.monotonic() + PATIENCE_S
        while (told := self.send(device, events)) is None:
            if time.monotonic() > until:
                raise StoreDown(f"the gateway did not take events in {PATIENCE_S:g} s")
            time.sleep(TICK_S)
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
        features, at = FeatureLog(self.log), 0
        while at < len(self.what.requests) and not self._stop.wait(TICK_S):
            stop = int(np.searchsorted(self.what.asked_ms, self.clock()))
            if stop > at:
                self._insist(partial(features.append, self.what.requests[at:stop], self.clock()))
                at = stop

    def _insist(self, what: Callable[[], object]) -> None:
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
        at, posts = 0, list[Post]()
        with ThreadPoolExecutor(4, "phone") as pool:
            while (posts or at < len(self.what.events)) and not self._stop.wait(TICK_S):
                stop = int(np.searchsorted(self.what.told_ms, self.clock()))
                posts += self._posts(at, stop)
                at = max(at, stop)
                taken = pool.map(lambda post: self.phones.send(*post) is not None, posts)
                # whoever was not served tries again with the next tick, and keeps nobody waiting
                posts = [post for post, done in zip(posts, taken, strict=True) if not done]

    def _posts(self, first: int, stop: int) -> list[Post]:
        """A phone's events of a tick in one request, or in several that are not too long."""
        by_phone: dict[int, list[dict[str, Any]]] = {}
        for at in range(first, stop):
            by_phone.setdefault(int(self.what.device[at]), []).append(self.what.events[at])
        return [
            (device, events[cut : cut + MOST_EVENTS])
            for device, events in by_phone.items()
            for cut in range(0, len(events), MOST_EVENTS)
        ]
