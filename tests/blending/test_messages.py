"""Messages come back as they were; another version and lengths that do not fit are named."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reclab.blending.blending_pb2 import Ask, Offered
from reclab.blending.contract import Offers, no_offers
from reclab.blending.messages import (
    VERSION,
    decode_ask,
    decode_offers,
    encode_ask,
    encode_offers,
)
from reclab.core.errors import DataError
from reclab.core.types import Request

int64 = st.integers(-(2**63), 2**63 - 1)
histories = st.none() | st.lists(int64, max_size=4).map(tuple)
asked = st.builds(
    Request,
    user_id=int64,
    time_ms=int64,
    req_id=int64,
    n=st.integers(1, 100),
    network=st.integers(0, 3),
    history=histories,
)


@given(st.lists(asked, max_size=5), st.integers(0, 10_000))
def test_requests_come_back_as_they_were(requests, k):
    sent = Ask.FromString(encode_ask(requests, k).SerializeToString())
    assert decode_ask(sent) == (requests, k)


@given(st.lists(st.integers(0, 5), max_size=6), st.integers(0, 3))
def test_offers_come_back_as_they_were(counts, n_columns):
    n = sum(counts)
    columns = {f"c{i}": np.arange(n, dtype=np.float32) * i for i in range(n_columns)}
    columns["worst"] = np.full(n, np.nan, np.float32)
    sent = Offers(np.array(counts, int), np.arange(n) - 3, np.arange(n) / np.float32(7), columns)
    wire = Offered.FromString(encode_offers(sent).SerializeToString())
    back = decode_offers(wire, len(counts), "x")
    assert back.counts.tolist() == counts and back.item_id.tolist() == sent.item_id.tolist()
    assert back.score.tobytes() == sent.score.astype(np.float32).tobytes()
    assert {k: v.tobytes() for k, v in back.columns.items()} == {
        k: v.tobytes() for k, v in columns.items()
    }


def test_another_version_is_said_and_not_guessed():
    ask = encode_ask([Request(1, 0)], 5)
    ask.version = VERSION + 1
    with pytest.raises(DataError, match=f"version {VERSION + 1} .* this side version {VERSION}"):
        decode_ask(ask)
    answer = encode_offers(no_offers(1))
    answer.version = 0
    with pytest.raises(DataError, match="live speaks version 0"):
        decode_offers(answer, 1, "live")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"count": [3]}, "add up to 2 = len.item_id., got 3"),
        ({"count": [1, 1]}, "answered 2 requests, asked were 1"),
        ({"item_id": b"123"}, "live.item_id has 3 bytes, not a multiple of 8"),
        ({"score": b""}, r"Offers.score must have shape \(2,\), got \(0,\)"),
        ({"score": b"12345"}, "live.score has 5 bytes"),
    ],
)
def test_lengths_that_do_not_fit_are_named(change, words):
    answer = encode_offers(Offers(np.array([2]), np.arange(2), np.ones(2, np.float32)))
    for name in change:
        answer.ClearField(name)
    answer.MergeFrom(Offered(**change))
    with pytest.raises(DataError, match=words):
        decode_offers(answer, 1, "live")


def test_requests_of_different_lengths_are_named():
    ask = encode_ask([Request(1, 0), Request(2, 0)], 5)
    ask.time_ms.append(7)
    with pytest.raises(DataError, match="different lengths: user_id 2, time_ms 3"):
        decode_ask(ask)


def test_offers_are_checked_where_they_are_made():
    one = np.ones(1, np.float32)
    with pytest.raises(DataError, match="'score': the Router's own"):
        Offers(np.array([1]), np.array([7]), one, {"score": one})
    with pytest.raises(DataError, match="got -1"):
        Offers(np.array([2, -1]), np.array([7]), one)
    with pytest.raises(DataError, match=r"Offers.p_click must have shape"):
        Offers(np.array([1]), np.array([7]), one, {"p_click": np.ones((1, 2))})
