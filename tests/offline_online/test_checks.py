"""The gateway's pure parts, and its bucket beside a plain one."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reclab.core.chance import rng
from reclab.offline_online.gateway.event_check import EventLimits, check_events
from reclab.offline_online.gateway.rate_limit import RateConfig, TokenBuckets
from reclab.offline_online.gateway.signature import check_signature, signed_headers
from reclab.offline_online.gateway.tracking_schema import Refused
from tests.offline_online.posts import KEY, KEYS, NOW, event

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
names = st.sampled_from([*event(), "value", "network", "position", "author_id"])


@settings(max_examples=300, deadline=None)
@given(st.lists(anything | st.dictionaries(names, anything, max_size=3).map(lambda d: event(**d))))
def test_every_event_is_either_good_or_has_a_fault(raw):
    found = check_events(raw, "app", 5, NOW, EventLimits())
    places = [at for at, _ in found.good] + [at for at, _ in found.faults]
    assert sorted(places) == list(range(len(raw)))
    for _, good in found.good:
        assert good["report_ms"] == NOW and 0 <= good["kind"] < 8 and good["value"] >= 0
        assert NOW - 86_400_000 <= good["event_ms"] <= NOW + 120_000
        assert all(isinstance(good[n], int) for n in ("req_id", "video_id", "user_id"))


@pytest.mark.parametrize(
    ("kind", "value", "good"),
    [
        ("watch", 0, True),
        ("watch", 86_400, True),
        ("watch", 86_401, False),
        ("watch", None, False),
        ("pay", 9.99, True),
        ("pay", -1, False),
        ("like", 1, True),
        ("like", 5, False),
    ],
)
def test_values_fit_their_kind(kind, value, good):
    found = check_events([event(kind=kind, value=value)], "app", 5, NOW, EventLimits())
    assert bool(found.good) == good


def plain_buckets(requests, rate, burst):
    """The textbook, one request at a time."""
    held, passed = {}, []
    for device, n, now in requests:
        tokens, last = held.get(device, (burst, now))
        tokens = min(burst, tokens + rate * (now - last) / 1000)
        passed.append(tokens >= n)
        held[device] = (tokens - n if tokens >= n else tokens, now)
    return passed


@pytest.mark.parametrize("seed", range(5))
def test_buckets_in_batches_are_the_plain_ones(seed):
    chance = rng(seed, "requests")
    now = np.cumsum(chance.integers(0, 500, 60)) + 10**6
    batches = [(chance.integers(0, 6, 9), chance.integers(1, 30, 9), int(t)) for t in now]
    flat = [(d, n, t) for devices, ns, t in batches for d, n in zip(devices, ns, strict=True)]
    buckets = TokenBuckets(RateConfig(per_s=64.0, burst=50.0, slots=1 << 20))
    got = np.concatenate([buckets.take(*one) for one in batches])
    assert got.tolist() == plain_buckets(flat, 64.0, 50.0)
    assert 0 < got.sum() < len(got)


def test_a_clock_that_goes_back_gives_nothing_and_takes_nothing():
    buckets = TokenBuckets(RateConfig(per_s=1.0, burst=10.0))
    one = np.array([7]), np.array([10])
    assert buckets.take(*one, 100_000).all()
    assert not buckets.take(*one, 50_000).any()
    assert not buckets.take(*one, 105_000).any()
    assert buckets.take(*one, 110_000).all()
    assert buckets.take(np.zeros(0, int), np.zeros(0, int), 0).shape == (0,)


@given(st.binary(max_size=50), st.integers(0, 63))
def test_a_signature_is_good_for_its_app_time_and_body_alone(body, at):
    headers = signed_headers(KEY, "app", NOW, body)
    assert check_signature(headers, body, KEYS, NOW, 1000) == "app"
    digits = headers["x-signature"]
    other = digits[:at] + ("0" if digits[at] != "0" else "1") + digits[at + 1 :]
    for changed in (
        ({**headers, "x-signature": other}, body, NOW),
        ({**headers, "x-sent-ms": str(NOW + 1)}, body, NOW),
        (headers, body + b" ", NOW),
        (headers, body, NOW + 1001),
    ):
        with pytest.raises(Refused):
            check_signature(*changed[:2], KEYS, changed[2], 1000)
