"""The past as counters: who was shown what, and what came of it, strictly before a time.

    shown(x, t), pos(x, t), long(x, t) = sums over events of x before t,   x = item or author

and, for a user, past events themselves, to be summed by tag or by author. All are as-of reads on
sorted events (``stores.as_of``), so that a row of training and a live request are answered alike.

Simplified: industry keeps such counters per minute in a stream processor.
"""

from collections.abc import Mapping
from typing import NamedTuple, Self

import numpy as np

from reclab.core.types import Array
from reclab.stores.as_of import SPAN, Timeline, ragged


class Counts(NamedTuple):
    """(n,) float32 each: exposures, positives and long views so far."""

    shown: Array
    positive: Array
    long: Array


class Events(NamedTuple):
    """Past events of B users, one after the other: ``owner`` (m,) whose, ``item_row`` (m,),
    ``positive`` (m,) bool."""

    owner: Array
    item_row: Array
    positive: Array


class Spans(NamedTuple):
    """Slots of the events of B requests' users: all of them in ``start`` … ``stop - 1``, the
    latest from ``since`` on."""

    user_row: Array
    start: Array
    since: Array
    stop: Array


class Past:
    """Events are appended, in any order; reads never see the time asked for, or later."""

    def __init__(self, n_users: int) -> None:
        self.by_user = Timeline(n_users, 2, np.float32)
        self.by_item = Timeline(0, 2, np.float32)
        self.by_author = Timeline(0, 2, np.float32)

    def arrays(self) -> dict[str, Array]:
        """What ``from_arrays`` needs."""
        lines = {"user": self.by_user, "item": self.by_item, "author": self.by_author}
        return {k: v for name, line in lines.items() for k, v in line.arrays(f"by_{name}").items()}

    @classmethod
    def from_arrays(cls, held: Mapping[str, Array]) -> Self:
        """The past that ``arrays`` described."""
        past = cls(0)
        past.by_user = Timeline.from_arrays(held, "by_user")
        past.by_item = Timeline.from_arrays(held, "by_item")
        past.by_author = Timeline.from_arrays(held, "by_author")
        return past

    def append(
        self,
        user_row: Array,
        item_row: Array,
        author_row: Array,
        time_ms: Array,
        positive: Array,
        long: Array,
    ) -> None:
        """Add events, all (n,); ``author_row`` -1 = the item has no author."""
        carried = (item_row * 2 + positive.astype(np.int64)).astype(np.int32)
        self.by_user.append(user_row, time_ms, carried, (positive, long))
        _append(self.by_item, item_row, time_ms, positive, long)
        has = author_row >= 0
        if has.any():
            rows = slice(None) if has.all() else has
            _append(self.by_author, author_row[rows], time_ms[rows], positive[rows], long[rows])

    def item(self, item_row: Array, time_ms: Array) -> Counts:
        """Counts of items (n,) before their times (n,)."""
        return _read(self.by_item, item_row, time_ms)

    def author(self, author_row: Array, time_ms: Array) -> Counts:
        """Counts of authors (n,), -1 = none."""
        return _read(self.by_author, author_row, time_ms)

    def spans(self, user_row: Array, time_ms: Array, since_ms: Array) -> Spans:
        """Where the events of users (B,) before their times lie."""
        line = self.by_user
        stop, since = line.stops(user_row, time_ms), line.stops(user_row, since_ms)
        return Spans(user_row, line.starts[user_row], since, stop)

    def user(self, spans: Spans) -> tuple[Counts, Counts]:
        """Counts of users (B,) since ever, and of those events since ``since_ms`` only."""
        total, before = self.by_user.sums[spans.stop - 1], self.by_user.sums[spans.since - 1]
        lately = total - before
        shown = (spans.stop - spans.start).astype(np.float32)
        session = (spans.stop - spans.since).astype(np.float32)
        ever = Counts(shown, total[:, 0], total[:, 1])
        return ever, Counts(session, lately[:, 0], lately[:, 1])

    def idle_ms(self, spans: Spans, time_ms: Array, most: int) -> Array:
        """(B,) time since the user's last event, at most ``most`` (also when there is none)."""
        last = self.by_user.when[spans.stop - 1] - spans.user_row * SPAN
        return np.where(spans.stop > spans.start, np.minimum(time_ms - last, most), most)

    def news_and_lately(self, spans: Spans) -> Events:
        """For B requests sorted by user and time: the events of each since the user's request
        before (owners 0 … B - 1), so that every event is owned once and sums to date are running
        sums; and once more those since ``since_ms`` (owners B … 2 B - 1)."""
        start, user_row = spans.start.copy(), spans.user_row
        start[1:] = np.where(user_row[1:] == user_row[:-1], spans.stop[:-1], start[1:])
        starts, stops = (start, spans.since), (spans.stop, spans.stop)
        return self._between(np.concatenate(starts), np.concatenate(stops))

    def latest(self, user_row: Array, time_ms: Array, n: int) -> Events:
        """The latest ``n`` events of each user before ``time_ms``."""
        stop = self.by_user.stops(user_row, time_ms)
        return self._between(np.maximum(self.by_user.starts[user_row], stop - n), stop)

    def _between(self, start: Array, stop: Array) -> Events:
        counts = stop - start
        slots, owner = ragged(start, counts), np.arange(len(start)).repeat(counts)
        carried = self.by_user.carried[slots]
        return Events(owner, carried >> 1, (carried & 1).astype(bool))


def _append(line: Timeline, key_row: Array, time_ms: Array, positive: Array, long: Array) -> None:
    missing = int(key_row.max(initial=-1)) + 1 - line.n_keys
    if missing > 0:
        line.add_keys(missing)
    line.append(key_row, time_ms, None, (positive, long))


def _read(line: Timeline, key_row: Array, time_ms: Array) -> Counts:
    """Keys that never had an event read zeros."""
    known = np.where(key_row < line.n_keys, key_row, -1)
    stop = line.stops(known, time_ms)
    total = line.sums[stop - 1]
    shown = (stop - line.starts[known]).astype(np.float32)
    return Counts(shown, total[:, 0], total[:, 1])
