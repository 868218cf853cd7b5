"""Lookup join: the chapter's own sample join. Wait a fixed window after the request, then look the
labels up in the key-value store by request and item.

    sample(request, item) = features + labels(req_id:item_id) as they stand at the lookup
Against ``sample_join``, which reads both streams: it keeps no labels and has no watermark, so what
it finds depends on how far the label consumer is, on expiry, and on the store being there.
Reference: chapter 2.3.1, figure 2.3: the consumer queries Redis within a window of 20 minutes.

Simplified: waiting rows lie in memory; industry waits in a delayed topic, or reads one later.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from reclab.core.errors import check, check_int
from reclab.core.tables import Table
from reclab.core.types import Array
from reclab.offline_online.join.records import Columns, concat, empty, read
from reclab.offline_online.join.window import LONGEST_MS, MINUTE_MS
from reclab.offline_online.labels.label_store import LabelStore
from reclab.stores.redis_server import StoreDown

WHEN_DOWN = ("wait", "no_labels")


@dataclass(frozen=True)
class LookupJoinConfig:
    """``wait_ms``: from request to lookup (1 min - 4 h; the chapter's example is 20 min);
    ``carry``: int64 columns taken from the impression; ``when_down``: without the store rows
    ``wait`` until it has been reconnected, or leave with ``no_labels``, as if nobody clicked."""

    wait_ms: int = 20 * MINUTE_MS
    carry: tuple[str, ...] = ("user_id", "features")
    when_down: str = "wait"

    def __post_init__(self) -> None:
        check_int("LookupJoinConfig.wait_ms", self.wait_ms, 1, LONGEST_MS, "1200000")
        known = self.when_down in WHEN_DOWN
        check(known, "LookupJoinConfig.when_down", self.when_down, f"be {WHEN_DOWN}", "wait")


class LookupJoin:
    """``update(impressions, now_ms)`` takes rows, and gives those whose wait is over. ``count``:
    samples, labelled, doubled; ``over``: samples with labels of after the window, which a slow
    lookup let in; ``unlabelled_down``: given out while the store did not answer."""

    def __init__(self, store: LabelStore, config: LookupJoinConfig | None = None) -> None:
        self.store, self.config = store, config or LookupJoinConfig()
        self._columns = tuple(dict.fromkeys(("req_id", "video_id", "time_ms", *self.config.carry)))
        self._waiting = empty(self._columns)
        names = ("samples", "labelled", "doubled", "bad", "over", "unlabelled_down")
        self.count = dict.fromkeys(names, 0)

    @property
    def waiting(self) -> int:
        """Rows whose window is open, or whose store is down."""
        return len(self._waiting["time_ms"])

    def update(self, impressions: Table | Mapping[str, Array] | None, now_ms: int) -> Table:
        """Samples of rows older than the window at ``now_ms``, with the columns of
        ``Joined.samples``. Raises ``DataError`` where a column is missing."""
        rows = self._waiting
        if impressions is not None:
            new, bad = read(impressions, self._columns, ("time_ms",))
            self.count["bad"] += sum(len(faulty) for faulty in bad.values())
            rows = self._once(concat([rows, new]))
        due = rows["time_ms"] + self.config.wait_ms < now_ms
        self._waiting = rows
        samples = self._looked_up(_some(rows, due), now_ms)
        if samples is None:
            return Table()
        self._waiting = _some(rows, ~due)
        self.count["samples"] += len(samples)
        self.count["labelled"] += int(np.count_nonzero(samples["labels"]))
        return samples

    def flush(self) -> Table:
        """Look up all that waits, when the last window is over: the stream has ended."""
        last = int(self._waiting["time_ms"].max(initial=0))
        return self.update(None, last + self.config.wait_ms + 1)

    def _once(self, rows: Columns) -> Columns:
        """The first of equal rows that wait together; a copy that comes later is a second sample,
        for what has left is not remembered."""
        order = np.lexsort((rows["video_id"], rows["req_id"]))
        req, item = rows["req_id"][order], rows["video_id"][order]
        new = np.ones(len(order), bool)
        new[1:] = (req[1:] != req[:-1]) | (item[1:] != item[:-1])
        self.count["doubled"] += int(len(new) - new.sum())
        return _some(rows, np.sort(order[new]))

    def _looked_up(self, rows: Columns, now_ms: int) -> Table | None:
        n, close = len(rows["time_ms"]), rows["time_ms"] + self.config.wait_ms
        zeros = np.zeros(n)
        found = (zeros.astype(np.uint16), zeros.astype(np.uint16), zeros.astype(np.float32), zeros)
        try:
            held = self.store.read(rows["req_id"], rows["video_id"], now_ms)
            self.count["over"] += int((held.last_ms > close).sum())
            counted = held.n_labels.astype(np.uint16), held.watch_sec.astype(np.float32)
            found = (held.labels, *counted, held.pay_amount)
        except StoreDown:
            if self.config.when_down == "wait":
                return None
            self.count["unlabelled_down"] += n
        names = ("labels", "n_labels", "watch_sec", "pay_amount")
        return Table({**rows, **dict(zip(names, found, strict=True)), "close_ms": close})


def _some(rows: Columns, which: Array) -> Columns:
    return {name: column[which] for name, column in rows.items()}
