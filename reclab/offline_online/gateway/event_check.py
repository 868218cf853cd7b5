"""The check of a batch of events: pure, apart from HTTP, Redis and the wall clock.

raw events, the clock -> events in one form, and a fault for each that has none. An event is from
the future when event_ms > now + ahead, and too old when event_ms < now − age.
Reference: chapter 2.3.1, "tracking gateway": validation (校验), normalisation (格式标准化).

Simplified: industry also scores events for fraud here.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from reclab.core.errors import check_int
from reclab.offline_online.gateway.tracking_schema import Fault, Refused, read_event


@dataclass(frozen=True)
class EventLimits:
    """``most_events``: in one request (50-1000); ``event_bytes``: of one event as JSON
    (500-10 000); ``ahead_ms``: a device's clock may be ahead by (10 000-600 000); ``age_ms``: an
    event may be old by (3 600 000-86 400 000)."""

    most_events: int = 200
    event_bytes: int = 2_000
    ahead_ms: int = 120_000
    age_ms: int = 86_400_000

    def __post_init__(self) -> None:
        check_int("EventLimits.most_events", self.most_events, 1, 100_000, "200")
        check_int("EventLimits.event_bytes", self.event_bytes, 100, 100_000, "2000")
        check_int("EventLimits.ahead_ms", self.ahead_ms, 0, 10**9, "120000")
        check_int("EventLimits.age_ms", self.age_ms, 1_000, 10**10, "86400000")


@dataclass(frozen=True)
class Checked:
    """``good``: events in their one form, with their place in the batch; ``faults``: the others."""

    good: list[tuple[int, dict[str, Any]]]
    faults: list[tuple[int, Fault]]


def check_events(
    raw: Sequence[object], app: str, device_id: int, now_ms: int, limits: EventLimits
) -> Checked:
    """Check each event for itself; one bad event stops no other.

    >>> check_events([5], "app", 1, 0, EventLimits()).faults[0][1].reason
    'not_an_object'
    """
    found = Checked([], [])
    for at, event in enumerate(raw):
        try:
            good = _read(event, limits)
            _check_clock(good["event_ms"], now_ms, limits)
        except Refused as refused:
            found.faults.append((at, refused.fault))
        else:
            good.update(device_id=device_id, app=app, report_ms=now_ms)
            found.good.append((at, good))
    return found


def _read(event: object, limits: EventLimits) -> dict[str, Any]:
    """Good events are short by their schema; a long one is called so, whatever else is wrong."""
    try:
        return read_event(event)
    except Refused:
        n_bytes = len(json.dumps(event))
        if n_bytes <= limits.event_bytes:
            raise
    detail = f"the event has {n_bytes} bytes, at most {limits.event_bytes}"
    raise Refused("event_too_large", detail)


def _check_clock(event_ms: int, now_ms: int, limits: EventLimits) -> None:
    if event_ms > now_ms + limits.ahead_ms:
        detail = (
            f"event_ms is {event_ms - now_ms} ms ahead, at most {limits.ahead_ms}: set the clock"
        )
        raise Refused("clock_ahead", detail)
    if event_ms < now_ms - limits.age_ms:
        detail = f"event_ms is {now_ms - event_ms} ms old, at most {limits.age_ms}"
        raise Refused("too_old", detail)
