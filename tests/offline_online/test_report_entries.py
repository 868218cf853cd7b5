"""Report entries: what the gateway writes comes back as numbers; broken entries are named."""

import json

import numpy as np

from reclab.offline_online.gateway.event_check import EventLimits, check_events
from reclab.offline_online.gateway.tracking_schema import dump
from reclab.offline_online.join.report_entries import event_number, read_reports
from tests.offline_online.posts import NOW, event


def written(n: int = 50) -> list[bytes]:
    raw = [event(i, kind=("watch", "like")[i % 2], **({"value": i / 8} if i % 2 == 0 else {}))
           for i in range(n)]  # fmt: skip
    return [dump(good) for _, good in check_events(raw, "app", 7, NOW, EventLimits()).good]


def test_columns_are_what_the_gateway_took():
    values = written()
    columns, bad = read_reports(values)
    assert not bad and len(values) == 50
    for name in ("req_id", "video_id", "kind", "value", "event_ms", "report_ms"):
        assert columns[name].tolist() == [json.loads(value)[name] for value in values]
    assert columns["event_id"].tolist() == [
        event_number("app", 7, f"event-{i:08d}") for i in range(50)
    ]
    assert all(c.dtype == (np.float64 if k == "value" else np.int64) for k, c in columns.items())


def test_the_same_id_on_another_device_or_app_is_another_event():
    numbers = {event_number(app, device, "e-01") for app in ("a", "b") for device in (1, 2)}
    assert len(numbers) == 4


def test_broken_entries_are_left_out_and_named():
    good = written(4)
    changed = [{"req_id": 1 << 70}, {"kind": 1.5}, {"event_ms": "48"}]
    odd = [b"{", b"5", b"1,2", b"{}", b"[]", b"null"]
    odd += [json.dumps({**json.loads(good[1]), **change}).encode() for change in changed]
    values = [good[0], *odd, *good[1:]]
    columns, bad = read_reports(values)
    assert set(bad) == set(range(1, len(odd) + 1))
    assert bad[1] == "not JSON" and "missing or wrong" in bad[4]
    expected, _ = read_reports([v for at, v in enumerate(values) if at not in bad])
    for name, column in columns.items():
        assert column.tolist() == expected[name].tolist()
