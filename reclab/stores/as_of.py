"""As-of reads: what was known of a key strictly before a time, for millions of questions at once.

    count(key, t) = #{e : key_e = key, t_e < t}      sum(key, t) = sum of v_e over the same events

Events lie sorted by (key, time) under one number, when = key * 2^40 + t, so one binary search
finds where the past of a question ends; running sums within the key make any sum one difference.
The comparison is strict: an event never sees itself, nor others of the same millisecond, which is
what keeps labels out of features. Each key's block starts with a header slot (running sum 0) and
may end with spare slots, so that streamed events are placed without moving the other keys.
Reference: point-in-time joins of feature stores; prefix sums, Blelloch 1990.

Simplified: industry keeps windows in a stream processor and old events on disk.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from reclab.core.errors import DataError
from reclab.core.types import Array
from reclab.stores.arrays import Arrays, owned, save_arrays
from reclab.stores.row_lookup import RowLookup

SPAN = 1 << 40  # ms of one key's axis: 34 years, which leaves 23 bits for 8 million keys
MAX_KEYS = 1 << 23
SLACK = 32  # spare slots of a key with few events: a newcomer's first pages move nobody else


def ragged(starts: Array, counts: Array) -> Array:
    """All positions of the ranges ``starts[i] … starts[i] + counts[i] - 1``, one after the other.

    >>> ragged(np.array([5, 0]), np.array([2, 3])).tolist()
    [5, 6, 0, 1, 2]
    """
    if len(counts) == 1:
        return np.arange(starts[0], starts[0] + counts[0])
    before = np.cumsum(counts) - counts
    return np.repeat(starts - before, counts) + np.arange(int(counts.sum()))


def running_sums(values: Array, counts: Array) -> Array:
    """Inclusive running sums (float64) that start anew in each group of ``counts`` values."""
    total = np.cumsum(values, dtype=np.float64)
    first = np.cumsum(counts) - counts
    return np.asarray(total - np.repeat(total[first] - values[first], counts))


def _count(key_row: Array, n_keys: int) -> tuple[Array, Array]:
    """Distinct key rows, ascending, and how often each occurs; counting beats sorting a batch."""
    if len(key_row) < n_keys // 8:
        return np.unique(key_row, return_counts=True)
    counts = np.bincount(key_row, minlength=n_keys)
    keys = np.flatnonzero(counts)
    return keys, counts[keys]


def check_times(time_ms: Array) -> None:
    """Raise ``DataError`` unless all times lie on the axis of a key."""
    if len(time_ms) and (int(time_ms.min()) < 0 or int(time_ms.max()) >= SPAN - 1):
        raise DataError(
            f"event times must be ms in 0..{SPAN - 2}, got {int(time_ms.min())}.."
            f"{int(time_ms.max())} (ms since the first midnight of the log)"
        )


class Timeline:
    """Events of ``n_keys`` keys in time order; each carries a number (an item row) and has
    ``width`` running sums. Key row -1 is a key without events. Events of one key and one time
    keep the order of their arrival."""

    def __init__(self, n_keys: int, width: int = 0, dtype: type = np.float64) -> None:
        self.starts: Array = np.ones(1, np.int64)
        self.counts: Array = np.zeros(0, np.int64)
        self.when: Array = np.full(1, -1, np.int64)
        self.carried: Array = np.full(1, -1, np.int32)
        self.sums: Array = np.zeros((1, width), dtype)
        self.add_keys(n_keys)

    @property
    def n_keys(self) -> int:
        """Keys that events may have."""
        return len(self.counts)

    def __len__(self) -> int:
        return int(self.counts.sum())

    def add_keys(self, n: int, room: int = 0) -> None:
        """Append ``n`` keys without events, with room for some; at most 8 million keys in all."""
        if self.n_keys + n > MAX_KEYS:
            raise DataError(f"a timeline holds at most {MAX_KEYS} keys, got {self.n_keys + n}")
        rooms = np.concatenate([np.diff(self.starts) - 1, np.full(n, room, np.int64)])
        self._lay_out(np.concatenate([self.counts, np.zeros(n, np.int64)]), rooms)

    def _lay_out(self, counts: Array, room: Array) -> None:
        """Give each key a header and ``room`` slots, and move the events there."""
        starts = np.ones(len(room) + 1, np.int64)
        starts[1:] += np.cumsum(room + 1)
        ends_of_axis = np.arange(len(room) + 1) * SPAN - 1
        when = np.repeat(ends_of_axis, np.append(1, room + 1))
        when[starts - 1] = ends_of_axis
        carried = np.full(len(when), -1, self.carried.dtype)
        sums = np.zeros((len(when), self.sums.shape[1]), self.sums.dtype)
        held = len(self.counts)
        source = ragged(self.starts[:held], self.counts)
        target = ragged(starts[:held], self.counts)
        when[target], carried[target] = self.when[source], self.carried[source]
        sums[target] = self.sums[source]
        self.starts, self.counts = starts, counts
        self.when, self.carried, self.sums = when, carried, sums

    def append(
        self, key_row: Array, time_ms: Array, carried: Array | None, values: Sequence[Array] = ()
    ) -> None:
        """Add events (n,), late ones at their place in time; ``values``: one (n,) per sum.

        Costs the length of the histories touched, not of the whole store.
        """
        if not len(key_row):
            return
        self._check(key_row)
        check_times(time_ms)
        keys, more = _count(key_row, self.n_keys)
        counts = self.counts.copy()
        counts[keys] += more
        room = np.diff(self.starts) - 1
        if (counts[keys] > room[keys]).any():
            # the first events come as one batch and get no slack: most stores are built once
            slack = counts // 2 + SLACK if self.counts.any() else 0
            self._lay_out(self.counts, np.maximum(room, counts + slack))
        self.when, self.carried = owned(self.when), owned(self.carried)
        self.sums = owned(self.sums)
        old = ragged(self.starts[keys], self.counts[keys])
        new = ragged(self.starts[keys], counts[keys])
        when = np.concatenate([self.when[old], key_row.astype(np.int64) * SPAN + time_ms])
        order = np.argsort(when, kind="stable")
        self._place_sums(old, new, order, values, counts[keys])
        self.when[new] = when[order]
        if carried is not None:
            self.carried[new] = np.concatenate([self.carried[old], carried])[order]
        self.counts = counts

    def _place_sums(
        self, old: Array, new: Array, order: Array, values: Sequence[Array], counts: Array
    ) -> None:
        """Running sums of the merged events; differences of the old ones give their values back."""
        for j, added in enumerate(values):
            held = self.sums[old, j].astype(np.float64) - self.sums[old - 1, j]
            total = running_sums(np.concatenate([held, added])[order], counts)
            if self.sums.dtype == np.uint16 and total.max() > 65_535:
                self.sums = self.sums.astype(np.uint32)
            self.sums[new, j] = total

    def _check(self, key_row: Array) -> None:
        if int(key_row.min()) < 0 or int(key_row.max()) >= self.n_keys:
            raise DataError(f"key rows must lie in 0..{self.n_keys - 1}")

    def stops(self, key_row: Array, time_ms: Array) -> Array:
        """Slot behind the last event of each key strictly earlier than ``time_ms``.

        Shapes broadcast; the key's first slot when there is none, so ``stops - 1`` is a slot with
        the running sums of the past, the header at worst.
        """
        until = np.asarray(np.minimum(time_ms, SPAN - 1) + key_row * np.int64(SPAN))
        if until.size < 512:
            found = self.when.searchsorted(until)
        else:  # in ascending order the searches share the processor's cache: three times faster
            order = np.argsort(until, axis=None)
            found = np.empty(until.shape, np.int64)
            found.reshape(-1)[order] = self.when.searchsorted(until.reshape(-1)[order])
        return np.maximum(found, self.starts[key_row])

    def arrays(self, name: str) -> dict[str, Array]:
        """What ``from_arrays`` needs, under names that start with ``name``."""
        parts = ("starts", "counts", "when", "carried", "sums")
        return {f"{name}.{part}": getattr(self, part) for part in parts}

    @staticmethod
    def from_arrays(held: Mapping[str, Array], name: str) -> "Timeline":
        """The timeline that ``arrays`` described."""
        timeline = Timeline(0)
        for part in ("starts", "counts", "when", "carried", "sums"):
            setattr(timeline, part, held[f"{name}.{part}"])
        return timeline


class AsOfSums:
    """Counts and sums of ``values`` (n,) or (n, d) of events under any int64 ``keys`` (n,).

    >>> ratings = AsOfSums(np.array([7, 7, 8]), np.array([10, 20, 20]), np.array([1.0, 3.0, 5.0]))
    >>> count, total = ratings.read(np.array([7, 7, 8, 9]), np.array([20, 21, 20, 99]))
    >>> count.tolist(), total.tolist()
    ([1, 2, 0, 0], [1.0, 4.0, 0.0, 0.0])
    """

    def __init__(self, keys: Array, time_ms: Array, values: Array) -> None:
        values = np.asarray(values)
        self._scalar = values.ndim == 1
        self._keys = RowLookup(np.zeros(0, np.int64), "key")
        self._events = Timeline(0, 1 if self._scalar else values.shape[1])
        self.append(keys, time_ms, values)

    def __len__(self) -> int:
        return len(self._events)

    def append(self, keys: Array, time_ms: Array, values: Array) -> None:
        """Add events, late ones too; keys never seen before are welcome. NaN is refused."""
        values = np.asarray(values)
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise DataError("values of AsOfSums must be finite numbers, got NaN or infinity")
        keys, time_ms = np.asarray(keys, np.int64), np.asarray(time_ms, np.int64)
        check_times(time_ms)
        unique = np.unique(keys)
        fresh = unique[self._keys.rows(unique) < 0]
        if len(fresh):
            self._keys.add(fresh)
            self._make_room(len(self._keys) - self._events.n_keys)
        columns = [values] if self._scalar else list(values.T)
        self._events.append(self._keys.rows(keys), time_ms, None, columns)

    def _make_room(self, n_missing: int) -> None:
        """Keys that come one by one get company, so that most of them find their place ready."""
        held = self._events.n_keys
        if n_missing > 0:
            self._events.add_keys(max(n_missing, held // 2), room=4 if held else 0)

    def read(
        self, keys: Array, time_ms: Array, since_ms: Array | int | None = None
    ) -> tuple[Array, Array]:
        """Count (int64) and sum (float64) of the events with ``since_ms <= t < time_ms``.

        ``keys`` and times broadcast to a shape S; returns S and S (or S + (d,)). Unknown keys: 0.
        """
        rows = self._keys.rows(keys)
        stop = self._events.stops(rows, np.asarray(time_ms))
        if since_ms is None:
            start, total = self._events.starts[rows], self._events.sums[stop - 1]
        else:
            start = np.minimum(self._events.stops(rows, np.asarray(since_ms)), stop)
            total = self._events.sums[stop - 1] - self._events.sums[start - 1]
        return stop - start, total[..., 0] if self._scalar else total

    def save(self, folder: Path, name: str = "as_of") -> None:
        """Write the folder ``<name>`` into the folder."""
        arrays = self._events.arrays("events")
        arrays |= {"keys": self._keys.ids, "scalar": np.array(self._scalar)}
        save_arrays(folder / name, arrays)

    @staticmethod
    def load(folder: Path, name: str = "as_of") -> "AsOfSums":
        """Read what ``save`` wrote. Raises ``DataError`` naming a file that is damaged."""
        none = np.zeros(0, np.int64)
        sums, held = AsOfSums(none, none, np.zeros(0)), Arrays(folder / name)
        sums._keys = RowLookup(held["keys"], "key")
        sums._scalar = bool(held["scalar"])
        sums._events = Timeline.from_arrays(held, "events")
        return sums
