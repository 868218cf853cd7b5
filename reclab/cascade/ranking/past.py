"""The past as counters: who was shown what, and what came of it, strictly before a time.

    shown(x, t), pos(x, t), long(x, t) = sums over events of x before t,   x = item, author, user x author

and, for a user, the latest events themselves, to be summed by tag. All are as-of reads on sorted
events (``stores.as_of``), so that a row of training and a live request are answered alike.

Simplified: industry keeps such counters per minute in a stream processor.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from reclab.core.types import Array
from reclab.stores.as_of import SPAN, AsOfSums, Timeline, ragged


class Counts(NamedTuple):
    """(n,) float32 each: exposures, positives and long views so far."""

    shown: Array
    positive: Array
    long: Array


class Events(NamedTuple):
    """The latest events of B users, one after the other: ``owner`` (m,) whose, ``item_row`` (m,),
    ``age_ms`` (m,) before the time asked, ``positive`` and ``long`` (m,) 0 or 1."""

    owner: Array
    item_row: Array
    age_ms: Array
    positive: Array
    long: Array


class Past:
    """Events are appended, in any order; reads never see the time asked for, or later."""

    def __init__(self, n_users: int) -> None:
        self.by_user = Timeline(n_users, dtype=np.float32)
        self.sums = {name: _empty() for name in ("item", "author", "user_author")}

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
        outcome = positive.astype(np.int64) + 2 * long.astype(np.int64)
        self.by_user.append(user_row, time_ms, (item_row * 4 + outcome).astype(np.int32))
        values = np.stack([positive, long], 1).astype(np.float32)
        self.sums["item"].append(item_row, time_ms, values)
        if len(author_row) and author_row.max() >= 0:
            self.sums["author"].append(author_row, time_ms, values)
            self.sums["user_author"].append(_pair(user_row, author_row), time_ms, values)

    def item(self, item_row: Array, time_ms: Array) -> Counts:
        """Counts of items (n,) before their times (n,)."""
        return _read(self.sums["item"], item_row, time_ms)

    def author(self, author_row: Array, time_ms: Array) -> Counts:
        """Counts of authors."""
        return _read(self.sums["author"], author_row, time_ms)

    def user_author(self, user_row: Array, author_row: Array, time_ms: Array) -> Counts:
        """Counts of what a user did with an author's items."""
        return _read(self.sums["user_author"], _pair(user_row, author_row), time_ms)

    def events(self, user_row: Array, time_ms: Array, n: int) -> Events:
        """The latest ``n`` events of each user (B,) before ``time_ms`` (B,)."""
        line = self.by_user
        stop = line.stops(user_row, time_ms)
        start = np.maximum(line.starts[user_row], stop - n)
        slots = ragged(start, stop - start)
        owner = np.repeat(np.arange(len(user_row)), stop - start)
        carried = line.carried[slots]
        age_ms = (time_ms + user_row * SPAN)[owner] - line.when[slots]
        positive, long = (carried & 1).astype(np.float32), (carried >> 1 & 1).astype(np.float32)
        return Events(owner, carried >> 2, age_ms, positive, long)

    def save(self, folder: Path) -> None:
        """Write the counters into the folder."""
        folder.mkdir(parents=True, exist_ok=True)
        np.savez(folder / "by_user.npz", **self.by_user.arrays("user"))
        for name, sums in self.sums.items():
            sums.save(folder, name)

    @staticmethod
    def load(folder: Path) -> "Past":
        """Read what ``save`` wrote."""
        past = Past(0)
        with np.load(folder / "by_user.npz", allow_pickle=False) as held:
            past.by_user = Timeline.from_arrays(held, "user")
        past.sums = {name: AsOfSums.load(folder, name) for name in past.sums}
        return past


def _empty() -> AsOfSums:
    none = np.zeros(0, np.int64)
    return AsOfSums(none, none, np.zeros((0, 2), np.float32))


def _pair(user_row: Array, author_row: Array) -> Array:
    """One int64 key for a user and an author; -1, never seen, where either is unknown."""
    key = user_row.astype(np.int64) * (1 << 32) + author_row
    return np.where((user_row >= 0) & (author_row >= 0), key, -1)


def _read(sums: AsOfSums, keys: Array, time_ms: Array) -> Counts:
    if not len(sums):
        zero = np.zeros(len(keys), np.float32)
        return Counts(zero, zero, zero)
    shown, total = sums.read(keys, time_ms)
    return Counts(shown.astype(np.float32), *total.T.astype(np.float32))
