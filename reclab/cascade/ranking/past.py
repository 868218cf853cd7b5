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

    def user(self, user_row: Array, time_ms: Array) -> Counts:
        """Counts of users (n,) before their times (n,)."""
        return _read(self.by_user, user_row, time_ms)

    def idle_ms(self, user_row: Array, time_ms: Array, most: int) -> Array:
        """(B,) time since the user's last event, at most ``most`` (also when there is none)."""
        line = self.by_user
        stop = line.stops(user_row, time_ms)
        last = line.when[stop - 1] - user_row * SPAN
        return np.where(stop > line.starts[user_row], np.minimum(time_ms - last, most), most)

    def events(self, user_row: Array, time_ms: Array, since_ms: Array) -> Events:
        """The events of each user (B,) with ``since_ms <= t < time_ms``."""
        start, stop = self.by_user.stops(user_row, since_ms), self.by_user.stops(user_row, time_ms)
        return self._between(start, stop)

    def latest(self, user_row: Array, time_ms: Array, n: int) -> Events:
        """The latest ``n`` events of each user before ``time_ms``."""
        stop = self.by_user.stops(user_row, time_ms)
        return self._between(np.maximum(self.by_user.starts[user_row], stop - n), stop)

    def news(self, user_row: Array, time_ms: Array) -> Events:
        """For requests sorted by user and time: the events of each since the user's request
        before, so that every event is owned once and sums to date are running sums."""
        stop = self.by_user.stops(user_row, time_ms)
        start = self.by_user.starts[user_row]
        start[1:] = np.where(user_row[1:] == user_row[:-1], stop[:-1], start[1:])
        return self._between(start, stop)

    def _between(self, start: Array, stop: Array) -> Events:
        slots = ragged(start, stop - start)
        owner = np.repeat(np.arange(len(start)), stop - start)
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
