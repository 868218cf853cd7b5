"""What phones, and others, do to a gateway: send twice, send nonsense, have a wrong clock.

Each call sends at once, beside the replay, and says what the gateway made of it.

Simplified: one device; a platform meets thousands of them at a time.
"""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from reclab.core.errors import DataError, check_float, check_int
from reclab.lab.data_path_replay import Phones

DEVICE = 0xBAD0BAD0
_SERIAL = iter(range(10**9))


@dataclass(frozen=True)
class Happened:
    """What was done, when (seconds since the path began), and what came of it by name."""

    what: str
    at_s: float
    told: Mapping[str, float | str]

    def __str__(self) -> str:
        numbers = ", ".join(f"{name} {value}" for name, value in self.told.items())
        return f"{self.at_s:.1f} s: {self.what} ({numbers})"


def double_send(phones: Phones) -> dict[str, int]:
    """Every event of the latest posts once more, as after an answer that was lost on the way."""
    if not phones.latest:
        raise DataError("no phone has sent anything yet: path.watch(1) first")
    told: Counter[str] = Counter()
    for device, events in list(phones.latest):
        answer = phones.post(phones.body(device, events))
        told["sent"] += len(events)
        if answer is None or answer.status_code != 200:
            told["no answer"] += 1
            continue
        found = answer.json()
        told.update(accepted=found["accepted"], duplicates=found["duplicates"])
        told["rejected"] += len(found["rejected"])
    return dict(told)


def garbage(phones: Phones, n: int) -> dict[str, int]:
    """``n`` requests (1-10 000) that must not enter; how many got which status and reason."""
    check_int("garbage.n", n, 1, 10_000, "50")
    told: Counter[str] = Counter()
    for k in range(n):
        body, headers = _nonsense(phones, k)
        answer = phones.post(body, **headers)
        if answer is None:
            told["no answer"] += 1
            continue
        found = answer.json()
        reasons = [fault["reason"] for fault in found["rejected"]] or [
            found["reason"] or "accepted"
        ]
        told[f"{answer.status_code} {reasons[0]}"] += 1
    return dict(told)


def _nonsense(phones: Phones, k: int) -> tuple[bytes, dict[str, str]]:
    good = _event(phones, 0)
    kinds: tuple[tuple[bytes, dict[str, str]], ...] = (
        (b"{" * (1 + k % 40), {}),
        (b"[" * 5_000, {}),
        (phones.body(DEVICE, [good]), {"x-signature": "0" * 64}),
        (phones.body(DEVICE, [good]), {"x-app": "nobody"}),
        (phones.body(DEVICE, [good]), {"content-type": "text/xml"}),
        (phones.body(DEVICE, [{**good, "kind": "hack"}]), {}),
        (phones.body(DEVICE, [{**good, "drop": "table"}]), {}),
        (phones.body(DEVICE, [{**good, "event_ms": -1}]), {}),
        (json.dumps({"device_id": "zz", "events": [good]}).encode(), {}),
        (phones.body(DEVICE, [good] * 300), {}),
    )
    return kinds[k % len(kinds)]


def _event(phones: Phones, off_ms: int, req_id: str = "r1", video_id: str = "v1") -> dict[str, Any]:
    return {"event_id": f"odd-{next(_SERIAL):06d}", "req_id": req_id, "video_id": video_id,
            "user_id": 1, "kind": "like", "event_ms": phones.clock() + off_ms}  # fmt: skip


def skew_clock(phones: Phones, seconds: float) -> dict[str, int]:
    """Another like on each card of the latest posts, from phones whose clocks are wrong by so much
    (-10**6 to 10**6 s)."""
    check_float("skew_clock.seconds", seconds, -1e6, 1e6, "300")
    if not phones.latest:
        raise DataError("no phone has sent anything yet: path.watch(1) first")
    told: Counter[str] = Counter()
    for device, events in list(phones.latest):
        cards = {(event["req_id"], event["video_id"]) for event in events}
        odd = [_event(phones, int(1000 * seconds), *card) for card in sorted(cards)]
        found = phones.send(device, odd) or {}
        told.update(sent=len(odd), accepted=found.get("accepted", 0))
        bad = {fault["index"]: fault["reason"] for fault in found.get("rejected", ())}
        told.update(bad.values())
        if found:
            good = (event for n, event in enumerate(odd) if n not in bad)
            phones.n_reports.update(int(event["req_id"][1:]) for event in good)
    return dict(told)
