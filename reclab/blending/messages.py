"""Messages: requests and offers as the messages of blending.proto, and back.

Every message carries ``VERSION``. Who gets another one says so and does not guess: fields that
have changed their meaning would be read without an error and be wrong.
Reference: Kleppmann, Designing Data-Intensive Applications (2017), ch. 4.

Simplified: industry lets two versions live side by side while servers are replaced one by one.
"""

from collections.abc import Sequence

import numpy as np

from reclab.blending.blending_pb2 import Ask, Clicked, Column, History, Offered
from reclab.blending.contract import CLICK, Clicks, Offers
from reclab.core.errors import DataError
from reclab.core.types import Array, Request

VERSION = 1
FIELDS = ("user_id", "time_ms", "req_id", "n", "network")


def check_version(version: int, who: str) -> None:
    """Raise ``DataError`` for a message of another version than ours."""
    if version != VERSION:
        raise DataError(
            f"{who} speaks version {version} of blending.proto and this side version {VERSION}: "
            "start both from the same release"
        )


def encode_ask(requests: Sequence[Request], k: int) -> Ask:
    """The message that asks for ``k`` candidates a request."""
    columns = {name: [getattr(request, name) for request in requests] for name in FIELDS}
    ask = Ask(version=VERSION, n_offers=k, **columns)
    if any(request.history is not None for request in requests):
        for request in requests:
            items = request.history or ()
            ask.history.append(History(given=request.history is not None, item_id=items))
    return ask


def decode_ask(ask: Ask, who: str = "the caller") -> tuple[list[Request], int]:
    """The requests and how many candidates each wants; ``DataError`` when it is not usable."""
    check_version(ask.version, who)
    columns = [getattr(ask, name) for name in FIELDS]
    if len({len(values) for values in columns}) > 1 or len(ask.history) not in (0, len(ask.n)):
        sizes = ", ".join(f"{n} {len(v)}" for n, v in zip(FIELDS, columns, strict=True))
        raise DataError(f"{who} sent columns of different lengths: {sizes}")
    histories = [tuple(h.item_id) if h.given else None for h in ask.history]
    rows = zip(*columns, histories or [None] * len(ask.n), strict=True)
    names = (*FIELDS, "history")
    return [Request(**dict(zip(names, row, strict=True))) for row in rows], ask.n_offers


def encode_offers(offers: Offers) -> Offered:
    """The answer as a message."""
    return Offered(
        version=VERSION,
        count=offers.counts.tolist(),
        item_id=offers.item_id.astype("<i8").tobytes(),
        score=offers.score.astype("<f4").tobytes(),
        column=[
            Column(name=name, values=values.astype("<f4").tobytes())
            for name, values in offers.columns.items()
        ],
    )


def decode_offers(offered: Offered, n_requests: int, who: str) -> Offers:
    """The answer to ``n_requests``; ``DataError`` for another version or wrong lengths."""
    check_version(offered.version, who)
    if len(offered.count) != n_requests:
        raise DataError(f"{who} answered {len(offered.count)} requests, asked were {n_requests}")
    columns = {one.name: _numbers(one.values, "<f4", f"{who}.{one.name}") for one in offered.column}
    return Offers(
        np.array(offered.count, np.int64),
        _numbers(offered.item_id, "<i8", f"{who}.item_id"),
        _numbers(offered.score, "<f4", f"{who}.score"),
        columns,
    )


def encode_clicks(clicks: Clicks) -> Clicked:
    """The report as a message."""
    return Clicked(version=VERSION, **{name: getattr(clicks, name).tolist() for name in CLICK})


def decode_clicks(clicked: Clicked, who: str = "the caller") -> Clicks:
    """The report; ``DataError`` for another version or columns of different lengths."""
    check_version(clicked.version, who)
    return Clicks(*(np.array(getattr(clicked, name), np.int64) for name in CLICK))


def _numbers(raw: bytes, dtype: str, what: str) -> Array:
    size = np.dtype(dtype).itemsize
    if len(raw) % size:
        raise DataError(f"{what} has {len(raw)} bytes, not a multiple of {size}")
    return np.frombuffer(raw, dtype)
