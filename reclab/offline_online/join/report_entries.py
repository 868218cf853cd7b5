"""Report entries: what the gateway put into topic ``events``, as columns for the join.

An event is known by a number of 64 bits made of app, device and its id:
    P(two of n events share a number) < n² / 2⁶⁵;  taken for one only if they share the request too
Reference: chapter 2.3.1, label stream (标签流).

Simplified: JSON is read again here; industry's events are binary from the gateway on.
"""

import json
from collections.abc import Sequence
from hashlib import blake2b
from typing import Any

import numpy as np

from reclab.core.types import Array
from reclab.offline_online.join.records import REPORT_COLUMNS

NUMBERS = REPORT_COLUMNS[1:]
KEPT = (*REPORT_COLUMNS, "user_id", "device_id", "app")


def read_reports(values: Sequence[bytes]) -> tuple[dict[str, Array], dict[int, str]]:
    """``REPORT_COLUMNS`` (m,) of the good entries in order, int64 and ``value`` float64; and number
    -> fault of each entry that is no event of the gateway."""
    try:
        found: list[Any] = json.loads(b"[" + b",".join(values) + b"]")
        bad = {} if len(found) == len(values) else {-1: "shifted"}
    except ValueError:
        found, bad = [], {-1: "not JSON"}
    if bad:  # one of them is broken: look at each for itself
        found, bad = _each(values)
    columns = _columns(found)
    if columns is None:
        faults = [_fault(event) for event in found]
        places = [at for at in range(len(values)) if at not in bad]
        bad |= {places[k]: fault for k, fault in enumerate(faults) if fault}
        columns = _columns([e for e, fault in zip(found, faults, strict=True) if not fault])
        assert columns is not None
    return columns, bad


def _each(values: Sequence[bytes]) -> tuple[list[Any], dict[int, str]]:
    found, bad = [], {}
    for at, value in enumerate(values):
        try:
            found.append(json.loads(value))
        except ValueError:
            bad[at] = "not JSON"
    return found, bad


def _columns(events: Sequence[Any]) -> dict[str, Array] | None:
    """None if some event lacks a field or has one of a wrong kind."""
    try:
        ids = [event_number(e["app"], e["device_id"], e["event_id"]) for e in events]
        columns = {"event_id": np.array(ids, np.int64)}
        for name in NUMBERS:
            column = np.array([e[name] for e in events] or np.zeros(0, np.int64))
            if column.dtype.kind not in ("if" if name == "value" else "i") or column.ndim != 1:
                return None
            columns[name] = column.astype(np.float64 if name == "value" else np.int64)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        return None
    return columns


def _fault(event: Any) -> str:
    columns = _columns([event])
    if columns is not None:
        return ""
    missing = [name for name in KEPT if not isinstance(event, dict) or name not in event]
    return f"no event of the gateway: {', '.join(missing) or 'a field'} is missing or wrong"


def event_number(app: str, device_id: int, event_id: str) -> int:
    """The event's name as a whole number of 64 bits, the same in every process.

    >>> event_number("app", 7, "e-01")
    7717476029367725521
    """
    name = f"{app}\0{device_id}\0{event_id}".encode()
    return int.from_bytes(blake2b(name, digest_size=8).digest(), "little", signed=True)
