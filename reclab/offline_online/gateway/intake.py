"""What the gateway does with requests that came together: one round trip each way for all of them.

signed bodies → JSON → rate limit → check of each event → duplicates → log → answers. Rejected
events go to the dead-letter topic (死信) with their reason; valid ones of the same request go on.
An answer of 200 means: what it calls accepted is in the log.
Reference: chapter 2.3.1, "tracking gateway" (埋点网关), figure 2.3.

Simplified: one log; industry sends events to the nearest of several data centres.
"""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from reclab.offline_online.gateway.event_check import Checked, EventLimits, check_events
from reclab.offline_online.gateway.rate_limit import TokenBuckets
from reclab.offline_online.gateway.seen_events import CLAIMED, NEW, SEEN, SeenEvents
from reclab.offline_online.gateway.tracking_schema import Fault, Refused, device_number, dump, load
from reclab.stores.event_log import EventLog
from reclab.stores.redis_server import StoreDown

STATUS = {
    "not_json": 400,
    "too_deep": 400,
    "not_a_batch": 400,
    "unsigned": 401,
    "unknown_app": 401,
    "bad_signature": 401,
    "stale": 401,
    "too_large": 413,
    "too_many_events": 413,
    "unsupported_type": 415,
    "not_an_object": 422,
    "missing_field": 422,
    "unknown_field": 422,
    "bad_value": 422,
    "event_too_large": 422,
    "clock_ahead": 422,
    "too_old": 422,
    "too_fast": 429,
    "log_down": 503,
    "under_way": 503,
    "too_busy": 503,
}
KEPT_BYTES = 4_000  # of what is rejected, for the dead letters: garbage must not fill the log


class Post(NamedTuple):
    """A signed request."""

    app: str
    body: bytes


@dataclass
class Answer:
    """What the client is told: HTTP ``status``, ``reason`` unless it is 200, and the counts.
    ``rejected``: place in the batch, reason and detail of each event that was."""

    status: int = 200
    reason: str = ""
    detail: str = ""
    accepted: int = 0
    duplicates: int = 0
    rejected: list[dict[str, Any]] = field(default_factory=list)


@dataclass
class _Open:
    """A request on its way through the steps."""

    post: Post
    answer: Answer = field(default_factory=Answer)
    device_id: int = 0
    raw: list[object] = field(default_factory=list)
    checked: Checked = field(default_factory=lambda: Checked([], []))
    names: list[str] = field(default_factory=list)

    def refuse(self, fault: Fault) -> None:
        self.answer.status, self.answer.reason = STATUS[fault.reason], fault.reason
        self.answer.detail = fault.detail


class Intake:
    """Takes requests into topic ``events`` and ``dead_letters`` of a log. ``counts``: events and
    requests by what became of them."""

    def __init__(
        self,
        log: EventLog,
        seen: SeenEvents,
        buckets: TokenBuckets,
        limits: EventLimits,
        topics: tuple[str, str],
    ) -> None:
        self.log, self.seen, self.buckets, self.limits = log, seen, buckets, limits
        self.topic, self.dead = topics
        self.counts: Counter[str] = Counter()

    def take(self, posts: Sequence[Post], now_ms: int) -> list[Answer]:
        """An answer for each request; ``StoreDown`` becomes 503, and nothing is lost: what was not
        acknowledged may be sent again."""
        opened = [_Open(post) for post in posts]
        letters: list[dict[str, Any]] = []
        for one in opened:
            self._open(one, now_ms, letters)
        self._limit(opened, now_ms)
        for one in opened:
            if one.answer.status == 200:
                self._check(one, now_ms, letters)
        try:
            if letters:
                keys = [f"{letter['app']}:{letter['device_id']}" for letter in letters]
                self.log.append(self.dead, [dump(letter) for letter in letters], keys, now_ms)
            self._store([one for one in opened if one.checked.good], now_ms)
        except StoreDown as error:
            for one in opened:
                if one.answer.status in (200, 422):
                    one.refuse(Fault("log_down", f"not stored, send it again: {error}"[:300]))
        for one in opened:
            self._count(one.answer)
        return [one.answer for one in opened]

    def _count(self, answer: Answer) -> None:
        self.counts[answer.reason or "ok"] += 1
        if answer.status == 200:
            self.counts["accepted"] += answer.accepted
            self.counts["duplicates"] += answer.duplicates
            self.counts["rejected"] += len(answer.rejected)

    # -- the steps ----------------------------------------------------------------------------

    def _open(self, one: _Open, now_ms: int, letters: list[dict[str, Any]]) -> None:
        """Body -> device and raw events."""
        try:
            body = load(one.post.body)
            if not (isinstance(body, dict) and body.keys() == {"device_id", "events"}):
                raise Refused("not_a_batch", "the body must be {device_id, events}")
            if not isinstance(body["events"], list) or not body["events"]:
                raise Refused("not_a_batch", "events must be a list with something in it")
            if len(body["events"]) > self.limits.most_events:
                many = f"{len(body['events'])} events, at most {self.limits.most_events} a request"
                raise Refused("too_many_events", many)
            one.device_id, one.raw = device_number("device_id", body["device_id"]), body["events"]
        except Refused as refused:
            one.refuse(refused.fault)
            kept = one.post.body[:KEPT_BYTES].decode("latin-1")
            letters.append(_letter(refused.fault, one, now_ms, kept))

    def _limit(self, opened: list[_Open], now_ms: int) -> None:
        """Requests of devices that send too fast are refused whole; they may come again."""
        asking = [one for one in opened if one.answer.status == 200]
        devices = np.array([one.device_id for one in asking], np.int64)
        n_events = np.array([len(one.raw) for one in asking], np.int64)
        passed = self.buckets.take(devices, n_events, now_ms)
        for one, good in zip(asking, passed.tolist(), strict=True):
            if not good:
                rate = self.buckets.config.per_s
                one.refuse(Fault("too_fast", f"at most {rate:g} events a second from a device"))

    def _check(self, one: _Open, now_ms: int, letters: list[dict[str, Any]]) -> None:
        one.checked = check_events(one.raw, one.post.app, one.device_id, now_ms, self.limits)
        for at, fault in one.checked.faults:
            one.answer.rejected.append({"index": at, **fault._asdict()})
            letters.append(_letter(fault, one, now_ms, one.raw[at]))
        if not one.checked.good:
            one.refuse(one.checked.faults[0][1])
        one.names = [
            self.seen.name(one.post.app, one.device_id, event["event_id"])
            for _, event in one.checked.good
        ]

    def _store(self, storing: list[_Open], now_ms: int) -> None:
        """Claim, append, confirm; the same event twice among these requests goes in once."""
        names = list(dict.fromkeys(name for one in storing for name in one.names))
        state = dict(zip(names, self.seen.claim(names), strict=True))
        new = [name for name in names if state[name] == NEW]
        events = {
            name: event
            for one in reversed(storing)
            for name, (_, event) in reversed(list(zip(one.names, one.checked.good, strict=True)))
        }
        try:
            if new:
                keys = [str(events[name]["req_id"]) for name in new]  # where its features are
                self.log.append(self.topic, [dump(events[name]) for name in new], keys, now_ms)
        except StoreDown:
            self._release(new)
            raise
        self.seen.confirm(new)
        for one in storing:
            self._tell(one, state)

    def _release(self, names: list[str]) -> None:
        try:
            self.seen.release(names)
        except StoreDown:
            pass  # the claims end by themselves, within seconds

    def _tell(self, one: _Open, state: dict[str, int]) -> None:
        """What became of its events; the first of equal ones was accepted, the others repeat it."""
        for name in one.names:
            one.answer.accepted += state[name] == NEW
            one.answer.duplicates += state[name] == SEEN
            if state[name] == NEW:
                state[name] = SEEN
        if any(state[name] == CLAIMED for name in one.names):
            one.refuse(Fault("under_way", "the same events are being stored: send them again"))


def _letter(fault: Fault, one: _Open, now_ms: int, event: object) -> dict[str, Any]:
    """What is kept of a rejected event: all of it, unless it is long; then its beginning."""
    text = json.dumps(event)
    event = event if len(text) <= KEPT_BYTES else text[:KEPT_BYTES]
    about = {"app": one.post.app, "device_id": one.device_id, "report_ms": now_ms}
    return {**fault._asdict(), **about, "event": event}
