"""What a tracking event (埋点事件) must be: its fields, their ranges, and one form for all of them.

A report tells of one reaction to one card: the columns of the late reports (``core.tables``), with
``r98765`` and ``v12345`` as the chapter prints them or as numbers. Out comes one form: numbers,
kinds by number, ``report_ms`` by the gateway's clock.
Reference: chapter 2.6.2, table 2.3; JSON as of RFC 8259 (no NaN, no Infinity).

Simplified: industry keeps schemas in a registry, with versions; here unknown fields are refused.
"""

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from reclab.core.tables import Table, conform

KINDS = ("click", "watch", "like", "comment", "share", "forward", "follow", "pay")
MOST_VALUE = {"watch": 86_400.0, "pay": 1_000_000.0}  # seconds, money; others count 1
MOST_DEPTH = 8
_encode = json.JSONEncoder(separators=(",", ":")).encode  # made once, not for each event
_EVENT_ID = re.compile(r"[A-Za-z0-9_-]{4,64}")


class Fault(NamedTuple):
    """Why something is refused: ``reason`` for machines, ``detail`` for people."""

    reason: str
    detail: str


class Refused(Exception):
    """Carries the ``Fault`` of one event."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.fault = Fault(reason, detail)


def _bad(name: str, value: object, rule: str) -> Refused:
    shown = json.dumps(value, ensure_ascii=True)[:60]
    return Refused("bad_value", f"{name} must be {rule}, got {shown}")


def _whole(name: str, value: object, low: int, high: int) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high:
        return value
    raise _bad(name, value, f"a whole number in {low}..{high}")


def _identity(prefix: str) -> Callable[[str, object], int]:
    """Reads ``v12345``, ``"12345"`` or ``12345``."""

    def read(name: str, value: object) -> int:
        if isinstance(value, str):
            digits = value[len(prefix) :] if value[:1] == prefix else value
            if not (digits.isascii() and digits.isdigit() and len(digits) <= 18):
                raise _bad(name, value, f"{prefix}NUMBER or a number")
            return int(digits)
        return _whole(name, value, 0, 10**18)

    return read


def device_number(name: str, value: object) -> int:
    """A device as the chapter prints it, eight hex digits -> its number. Raises ``Refused``."""
    if isinstance(value, str) and re.fullmatch(r"[0-9a-fA-F]{8}", value):
        return int(value, 16)
    raise _bad(name, value, "eight hex digits")


def _event_id(name: str, value: object) -> str:
    if isinstance(value, str) and _EVENT_ID.fullmatch(value):
        return value
    raise _bad(name, value, "4-64 letters, digits, '-' or '_'")


def _kind(name: str, value: object) -> int:
    plain = value.strip().lower() if isinstance(value, str) and len(value) <= 40 else value
    if plain in KINDS:
        return KINDS.index(str(plain))
    raise _bad(name, value, "one of " + ", ".join(KINDS))


def _network(name: str, value: object) -> int:
    if value in ("wifi", "mobile"):
        return int(value == "mobile")
    raise _bad(name, value, "wifi or mobile")


REQUIRED: dict[str, Callable[[str, object], Any]] = {
    "event_id": _event_id,
    "req_id": _identity("r"),
    "video_id": _identity("v"),
    "user_id": _identity("u"),
    "kind": _kind,
    "event_ms": lambda name, value: _whole(name, value, 0, 1 << 45),
}
OPTIONAL: dict[str, Callable[[str, object], Any]] = {
    "author_id": _identity("u"),
    "author_device_id": device_number,
    "position": lambda name, value: _whole(name, value, 0, 10_000),
    "network": _network,
}
FIELDS = {*REQUIRED, *OPTIONAL, "value"}


def read_event(raw: object) -> dict[str, Any]:
    """One event in its one form. Raises ``Refused`` with ``not_an_object``, ``missing_field``,
    ``unknown_field`` or ``bad_value``.

    >>> event = {"event_id": "e-01", "req_id": "r9", "video_id": "v5", "user_id": 3}
    >>> read_event({**event, "kind": "Like", "event_ms": 1000})["kind"]
    2
    """
    if not isinstance(raw, dict):
        raise Refused("not_an_object", f"an event is an object, got {type(raw).__name__}")
    for name in REQUIRED:
        if name not in raw:
            raise Refused("missing_field", f"{name} is missing")
    for name in raw:
        if name not in FIELDS:
            raise Refused("unknown_field", f"no field {str(name)[:40]!a}: {sorted(FIELDS)}")
    event = {name: read(name, raw[name]) for name, read in REQUIRED.items()}
    event["value"] = _value(KINDS[event["kind"]], raw.get("value"))
    for name, read in OPTIONAL.items():
        if name in raw:
            event[name] = read(name, raw[name])
    return event


def _value(kind: str, value: object) -> float:
    """Seconds of a watch, money of a payment; anything else counts 1 and needs no value."""
    most = MOST_VALUE.get(kind)
    if most is None:
        if value in (None, 1, True):
            return 1.0
        raise _bad("value", value, f"absent or 1 for {kind}")
    if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= most:
        return float(value)
    raise _bad("value", value, f"a number in 0..{most:g} for {kind}")


def load(text: bytes) -> Any:
    """JSON as RFC 8259 has it. Raises ``Refused`` ``not_json`` for anything else, ``too_deep`` for
    what is nested beyond ``MOST_DEPTH``, which could break whoever reads it later."""

    def no(name: str) -> float:
        raise ValueError(f"{name} is not JSON")

    def number(digits: str) -> float:
        if not math.isfinite(found := float(digits)):
            raise ValueError("a number beyond all bounds")
        return found

    try:
        found = json.loads(text, parse_constant=no, parse_float=number)
    except RecursionError:
        raise Refused("too_deep", f"nested deeper than {MOST_DEPTH}") from None
    except ValueError as error:
        raise Refused("not_json", f"the body is not JSON: {str(error)[:100]!a}") from None
    _check_depth(found, MOST_DEPTH)
    return found


def _check_depth(value: object, left: int) -> None:
    if isinstance(value, (dict, list)):
        if not left:
            raise Refused("too_deep", f"nested deeper than {MOST_DEPTH}")
        for inner in value.values() if isinstance(value, dict) else value:
            if isinstance(inner, (dict, list)):
                _check_depth(inner, left - 1)


def dump(event: Mapping[str, Any]) -> bytes:
    """The bytes that go into the log."""
    return _encode(event).encode()


def feedback_table(values: Sequence[bytes]) -> Table:
    """Entries of the events' topic as the table of late reports (``core.tables.FEEDBACK``)."""
    events = [json.loads(value) for value in values]
    names = ("req_id", "video_id", "user_id", "kind", "value", "event_ms", "report_ms")
    columns = {name: np.array([event[name] for event in events]) for name in names}
    return conform("feedback", Table(columns))
