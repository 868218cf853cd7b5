"""Feature log (特征流): what the recommender knew of each request when it answered, bit for bit.

One entry of topic ``features`` a request, keyed by its ``req_id``: ids, the features that the
ranker scored the shown cards with, and the versions of index and model. A join reads the ids
alone; the numbers go on to the sample as they are.
Reference: chapter 2.3.1, feature stream; Sculley et al. 2015 (NIPS): log features at serving time.

Simplified: every request is logged whole; industry samples, compresses and drops unused features.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from reclab.core.errors import DataError
from reclab.core.types import Array
from reclab.offline_online.features.entry_layout import MOST_CARDS, SIZES, WIDTHS, Layout, codes
from reclab.offline_online.pipeline import FEATURES
from reclab.stores.event_log import Appended, EventLog

if TYPE_CHECKING:
    from reclab.cascade.ranking.features import Features

IDS = ("req_id", "user_id", "session_id", "time_ms")
VERSIONS = ("index_version", "model_version")
FEATURE_ENTRY = Layout(
    "entry of the feature log",
    0x46A1,
    np.dtype([*SIZES, ("network", "<i4"), *((name, "<i8") for name in (*IDS, *VERSIONS))]),
    np.dtype([("video_id", "<i8"), ("item_row", "<i4"), ("position", "<i4")]),
)


@dataclass(frozen=True)
class Served:
    """A request as it was answered: ``video_id`` and ``position`` (n,) of the cards shown,
    ``features`` of this one request with these n cards as candidates, versions of what served it.
    ``network`` 0 wifi, 1 mobile. Rows count in that index; an index only grows, so they stay."""

    req_id: int
    user_id: int
    session_id: int
    time_ms: int
    network: int
    video_id: Array
    position: Array
    index_version: int
    model_version: int
    features: "Features"


@dataclass(frozen=True)
class Ids:
    """Cards of many entries without their numbers: ``columns`` (m,) int64 each, by name: IDS,
    video_id, position, network. ``entry`` (m,) which of the values a card is from, ``card`` (m,)
    its place there; ``bad``: number of a value -> why it is no entry."""

    columns: dict[str, Array]
    entry: Array
    card: Array
    bad: dict[int, str]


class FeatureLog:
    """Appends requests to topic ``features``: ``FeatureLog(log).append(served(…))``. Raises
    ``StoreDown`` when the log does not answer."""

    def __init__(self, log: EventLog, topic: str = FEATURES) -> None:
        self.log, self.topic = log, topic

    def append(self, requests: Sequence[Served], time_ms: int | None = None) -> Appended:
        """An entry for each request; when it returns they are in the log."""
        values = [pack(one) for one in requests]
        return self.log.append(self.topic, values, [str(one.req_id) for one in requests], time_ms)


def served(
    features: "Features",
    req_id: Array,
    user_id: Array,
    session_id: Array,
    time_ms: Array,
    network: Array,
    video_id: Array,
    position: Array,
    versions: tuple[int, int],
) -> list[Served]:
    """Requests of a batch (B,) and their cards (n,) in the order of ``features.request_row``;
    ``versions`` of the index and of the model. A request without cards is left out."""
    ids = (column.tolist() for column in (req_id, user_id, session_id, time_ms, network))
    edges, found = features.starts.tolist(), []
    for b, one in enumerate(zip(*ids, strict=True)):
        first, stop = edges[b], edges[b + 1]
        if first < stop:
            cards = video_id[first:stop], position[first:stop]
            found.append(Served(*one, *cards, *versions, features.between(first, stop)))
    return found


def pack(one: Served) -> bytes:
    """The bytes of an entry. Raises ``DataError`` for what they could not give back as it was."""
    f, n, what = one.features, len(one.video_id), f"request {one.req_id}"
    if len(f.user) != 1 or len(f) != n or len(one.position) != n or not 1 <= n <= MOST_CARDS:
        raise DataError(
            f"{what}: an entry holds one request with 1..{MOST_CARDS} cards, got features of "
            f"{len(f.user)} requests and {len(f)} candidates for {n} cards"
        )
    if f.request.dtype != np.float32 or f.pair.dtype != np.float32:
        raise DataError(f"{what}: numbers must be float32, got {f.request.dtype}, {f.pair.dtype}")
    head, card = np.zeros(1, FEATURE_ENTRY.head), np.zeros(n, FEATURE_ENTRY.card)
    widths = (getattr(f, name).shape[1] for name in WIDTHS)
    ids = (getattr(one, name) for name in ("network", *IDS, *VERSIONS))
    head[0] = (FEATURE_ENTRY.magic, n, *widths, *ids)
    card["video_id"], card["position"] = one.video_id, one.position
    card["item_row"] = codes(f.item_row, what)
    parts = (head, card, codes(f.user, what), f.request, codes(f.history, what), f.pair)
    return b"".join([part.tobytes() for part in parts])


def read_ids(values: Sequence[bytes]) -> Ids:
    """The ids of all cards of many entries; bad entries are left out and named."""
    head, bad = FEATURE_ENTRY.heads(values)
    card, n = FEATURE_ENTRY.cards(values, head), head["n"].astype(np.int64)
    entry = np.repeat(np.arange(len(n)), n)
    columns = {name: head[name][entry].astype(np.int64) for name in (*IDS, "network")}
    columns |= {name: card[name].astype(np.int64) for name in ("video_id", "position")}
    place = np.arange(len(entry)) - np.repeat(np.cumsum(n) - n, n)
    return Ids(columns, entry, place, bad)


def unpack(values: Sequence[bytes]) -> Iterator[Served]:
    """Requests as they were given to ``pack``. Raises ``DataError`` for a bad entry."""
    head, bad = FEATURE_ENTRY.heads(values)
    for at, value in enumerate(values):
        if at in bad:
            raise DataError(f"value {at} of {len(values)} is {bad[at]}")
        one = head[at : at + 1]
        features, card = FEATURE_ENTRY.features([value], one)
        ids = {name: int(one[name][0]) for name in (*IDS, "network", *VERSIONS)}
        cards = {name: card[name].astype(np.int64) for name in ("video_id", "position")}
        yield Served(**ids, **cards, features=features)
