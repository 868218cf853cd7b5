"""Sample feed: entries of the sample topic become training input, in order, each that counts once.

    entries of a read -> those whose joiner still owned the partition -> records -> Samples
What cannot be read is counted and kept aside with its reason; it neither passes nor stops the rest.
Reference: chapter 2.3.1, from the sample topic to training.

Simplified: industry shuffles a little within a buffer, for neighbours in a stream are alike.
"""

from collections import deque

import numpy as np

from reclab.cascade.ranking.training import Samples
from reclab.offline_online.join.sample_record import to_samples, unpack
from reclab.offline_online.join.sample_topic import EpochFilter, epochs_of, filter_at
from reclab.offline_online.pipeline import SAMPLES
from reclab.stores.event_log import Entries, EventLog
from reclab.stores.forward_index import ForwardIndex

KEPT_ASIDE = 1_000  # bad entries that are remembered


class SampleFeed:
    """The ``convert`` of a ``TrainingLoop``: ``feed(entries)`` -> samples and the newest request's
    time. ``n_records``, ``n_fenced`` (of joiners that had lost the partition), ``n_bad``;
    ``bad``: the latest of them as (partition, offset, reason)."""

    def __init__(self, log: EventLog, index: ForwardIndex, topic: str = SAMPLES) -> None:
        self._log, self._index, self._topic = log, index, topic
        self._filters: dict[int, tuple[int, EpochFilter]] = {}  # with the next offset
        self.n_records = self.n_fenced = self.n_bad = 0
        self.bad: deque[tuple[int, int, str]] = deque(maxlen=KEPT_ASIDE)

    def __call__(self, entries: Entries) -> tuple[Samples | None, int]:
        """Samples of the good records in order of arrival, None without one. Raises ``DataError``
        where records have features of different widths: two rankers wrote one topic."""
        keep = self._counting(entries)
        records = unpack([entries.value[at] for at in keep.tolist()])
        for at, why in records.bad.items():
            self._aside(entries, int(keep[at]), why)
        n = len(records.head)
        self.n_records += n
        newest = int(records.head["time_ms"].max()) if n else 0
        return (to_samples(records, self._index) if n else None), newest

    def _counting(self, entries: Entries) -> np.ndarray:
        """Positions of the entries that are samples and count."""
        keep = np.zeros(len(entries), bool)
        for p in np.unique(entries.partition).tolist():
            mine = np.flatnonzero(entries.partition == p)
            first = int(entries.offset[mine[0]])
            due, found = self._filters.get(p, (-1, EpochFilter()))
            if due != first:  # it begins here, or reads again
                found = filter_at(self._log, self._topic, p, first)
            keep[mine] = found.keep([entries.value[at] for at in mine.tolist()])
            self._filters[p] = (int(entries.offset[mine[-1]]) + 1, found)
        epoch, is_claim = epochs_of(entries.value)
        for at in np.flatnonzero(epoch < 0).tolist():
            self._aside(entries, at, "no entry of this topic")
        self.n_fenced += int((~keep & ~is_claim & (epoch >= 0)).sum())
        return np.flatnonzero(keep)

    def _aside(self, entries: Entries, at: int, why: str) -> None:
        self.n_bad += 1
        self.bad.append((int(entries.partition[at]), int(entries.offset[at]), why))
