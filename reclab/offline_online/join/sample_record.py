"""Sample record: a request's samples that closed together, (user, item, context, label) as bytes.

One entry of topic ``samples`` holds all samples of a request with one close, so that what belongs
to the request is stored once; features are the bytes of the feature log. ``epoch`` says which
joiner wrote it (``sample_topic.py``). ``to_samples`` makes training input of many entries.
Reference: chapter 2.3.1, (user, item, context, label).

Simplified: a layout of our own; industry writes Protobuf or Avro.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from reclab.core.errors import DataError
from reclab.core.tables import Table
from reclab.core.types import Array
from reclab.offline_online.features.entry_layout import Layout
from reclab.offline_online.features.feature_log import FEATURE_ENTRY, IDS, VERSIONS
from reclab.offline_online.join.records import is_label
from reclab.stores.forward_index import ForwardIndex

if TYPE_CHECKING:
    from reclab.cascade.ranking.features import Features
    from reclab.cascade.ranking.training import Samples

LABELS = {"pay_amount": "<f8", "watch_sec": "<f4", "labels": "<u2", "n_labels": "<u2"}
KEPT = ("n", "user", "request", "history", "pair", "network", *IDS, *VERSIONS)
SAMPLE_RECORD = Layout(
    "record of samples",
    0x53A1,
    np.dtype([*FEATURE_ENTRY.head.descr, ("close_ms", "<i8"), ("epoch", "<i8")]),
    np.dtype([*FEATURE_ENTRY.card.descr, *LABELS.items()]),
)
LONG_VIEW_SEC = 18.0  # a long view: clicked, and watched as long as min(duration, this)
REPORTED = {"p_click": "click", "p_like": "like", "p_share": "share", "p_follow": "follow"}


@dataclass(frozen=True)
class Records:
    """Many records: ``head`` (B,) and ``card`` (m,) as in ``SAMPLE_RECORD``, ``features`` of the B
    requests and m candidates; ``bad``: number of a value -> why it is no record."""

    head: Array
    card: Array
    features: "Features"
    bad: dict[int, str]

    def __len__(self) -> int:
        return len(self.card)

    def table(self) -> Table:
        """A row a sample: the IDS, network, close_ms, video_id, position, labels (bit k = kind k
        came), n_labels, watch_sec, pay_amount, index_version and model_version."""
        owner = self.features.request_row
        columns = {k: self.head[k][owner] for k in (*IDS, "network", "close_ms", *VERSIONS)}
        columns |= {k: self.card[k].copy() for k in ("video_id", "position", *LABELS)}
        return Table(columns)


def pack(
    entries: Sequence[bytes], n_cards: Array, cards: Array, labels: Table, epoch: int = 0
) -> list[bytes]:
    """Records from B entries of the feature log. ``n_cards`` (B,) samples of each record; of the m
    samples in that order, ``cards`` (m,) place in its entry and ``labels`` the join's rows, all of
    a record with one close. Raises ``DataError`` for a bad entry."""
    old, bad = FEATURE_ENTRY.heads(entries)
    if bad:
        at, why = next(iter(bad.items()))
        raise DataError(f"the features of sample {at} are {why}")
    last = np.cumsum(n_cards)
    first = last - n_cards
    head, card = np.zeros(len(old), SAMPLE_RECORD.head), np.zeros(len(cards), SAMPLE_RECORD.card)
    for name in KEPT:
        head[name] = old[name]
    head["magic"], head["n"], head["epoch"] = SAMPLE_RECORD.magic, n_cards, epoch
    head["close_ms"] = labels["close_ms"][first]
    begin = np.cumsum(old["n"], dtype=np.int64) - old["n"]
    shown = FEATURE_ENTRY.cards(entries, old)[np.repeat(begin, n_cards) + cards]
    for name in shown.dtype.names:
        card[name] = shown[name]
    for name in LABELS:
        card[name] = labels[name]
    heads, rows = head.tobytes(), card.tobytes()
    h, c = SAMPLE_RECORD.head.itemsize, SAMPLE_RECORD.card.itemsize
    start, sizes, own, _ = FEATURE_ENTRY.spans(old)
    cuts = zip(first.tolist(), last.tolist(), (start + sizes).tolist(), own.tolist(), strict=True)
    found = []
    for at, (a, b, middle, n_own) in enumerate(cuts):
        numbers = entries[at][middle : middle + n_own], entries[at][middle + n_own :]
        if b - a < old["n"][at]:
            numbers = numbers[0], _some(numbers[1], int(old["n"][at]), cards[a:b])
        found.append(b"".join([heads[at * h : at * h + h], rows[a * c : b * c], *numbers]))
    return found


def _some(pairs: bytes, n: int, cards: Array) -> bytes:
    """The pair numbers of some of the n cards."""
    return np.frombuffer(pairs, np.int32).reshape(n, -1)[cards].tobytes()


def unpack(values: Sequence[bytes]) -> Records:
    """Many records; bad ones are left out and named. Raises ``DataError`` for different widths."""
    head, bad = SAMPLE_RECORD.heads(values)
    if bad:
        good = [at for at in range(len(values)) if at not in bad]
        values, head = [values[at] for at in good], head[good]
    features, card = SAMPLE_RECORD.features(values, head)
    return Records(head, card, features, bad)


def identities(values: Sequence[bytes]) -> Array:
    """(m, 2) int64: request and item of every sample of good records, read without numbers."""
    head, _ = SAMPLE_RECORD.heads(values)
    card = SAMPLE_RECORD.cards(values, head)
    return np.stack([np.repeat(head["req_id"], head["n"]), card["video_id"]], 1)


def targets_of(records: Records, index: ForwardIndex) -> dict[str, Array]:
    """Targets (m,) float32 named as in ``ranking.targets``. What was not reported is a no; seconds
    without a report, and so the long view of a clicked card, are NaN (unknown)."""
    from reclab.cascade.ranking.targets import AD, WATCH  # torch: not for who only moves bytes

    rows, told = records.features.item_row, Table({k: records.card[k].copy() for k in LABELS})
    found = {name: is_label(told, kind).astype(np.float32) for name, kind in REPORTED.items()}
    seconds = np.where(is_label(told, "watch"), told["watch_sec"], np.float32(np.nan))
    enough: Array = np.full(len(rows), LONG_VIEW_SEC, np.float32)
    if "duration_sec" in index:
        enough = np.minimum(enough, index.get(rows, ["duration_sec"])["duration_sec"])
    long = np.where(np.isnan(seconds), np.nan, seconds >= enough)
    found["p_long_view"] = np.where(is_label(told, "click"), long, 0).astype(np.float32)
    paid = is_label(told, "pay") & (told["pay_amount"] > 0)
    if "business" in index:
        paid &= index.get(rows, ["business"])["business"] != AD
    return {**found, WATCH: seconds, "p_purchase": paid.astype(np.float32)}


def to_samples(records: Records, index: ForwardIndex) -> "Samples":
    """Training input in the order of the records, every sample with weight 1. Parts of a request
    that closed apart are requests of their own with the same features."""
    from reclab.cascade.ranking.training import Samples

    weight = np.ones(len(records), np.float32)
    return Samples(records.features, targets_of(records, index), weight)
