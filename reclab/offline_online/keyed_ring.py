"""Keyed ring: rows that come and go in order of time, found by a pair of numbers, by batches.

Columns lie in a ring; a row's key (a, b) hashes to two slots of a table four times as large, and
the row takes the first that is free. A slot counts only while the row it names says that it holds
that slot, so rows that leave need no tombstones. The few that find both slots taken go to a dict.
    slots: s1 = h mod m, s2 = (h >> 32) mod m;  slot s is taken  <=>  own[slots[s]] = s
Reference: Azar, Broder, Karlin and Upfal 1994 (two choices); Pagh and Rodler 2004 (two probes).

Simplified: the ring grows by doubling and never shrinks; industry keeps such state on disk too.
"""

from collections.abc import Mapping

import numpy as np

from reclab.core.types import Array

DEAD, SPILLED = -2, -1  # own[position] of a row without a slot: gone, or in the dict
SLOTS = 4  # slots a place of the ring
MIX_A, MIX_B, MIX = (np.uint64(0x9E3779B97F4A7C15 + step) for step in (0, 0x1234567E, 0x3F58476E))
HALF = np.uint64(32)


def _mixed(a: Array, b: Array) -> Array:
    """(n,) uint64 hash of the pairs."""
    h = a.view(np.uint64) * MIX_A
    h ^= (b.view(np.uint64) + MIX_B) * MIX
    h ^= h >> HALF
    h *= MIX_B
    h ^= h >> HALF
    return h


class KeyedRing:
    """``columns``: name -> dtype of what a row carries beside its key. ``ring["name"]`` is a whole
    column, to be read and written at positions. Positions hold until the next ``add``.

    >>> ring = KeyedRing({"x": "f4"})
    >>> at, fresh = ring.add(np.array([7, 7, 8]), np.array([1, 1, 1]))
    >>> fresh.tolist(), (ring.find(np.array([8, 9]), np.array([1, 1])) >= 0).tolist()
    ([True, False, True], [True, False])
    """

    def __init__(self, columns: Mapping[str, str], capacity: int = 1024) -> None:
        self.dtypes = {"a": "i8", "b": "i8", **columns}
        self.tail = self.head = 0  # numbers of the oldest row kept and of the next one
        self._make(capacity)

    def _make(self, capacity: int) -> None:
        self.capacity = capacity
        self._columns = {name: np.zeros(capacity, kind) for name, kind in self.dtypes.items()}
        self._own = np.full(capacity, DEAD, np.int32)
        self._slots = np.zeros(SLOTS * capacity, np.int32)
        self._mask = np.uint64(SLOTS * capacity - 1)
        self._spilled: dict[tuple[int, int], int] = {}
        # how many pairs of the dict have this first slot: keys elsewhere need not ask the dict
        self._spills = np.zeros(SLOTS * capacity, np.uint8)

    def __getitem__(self, name: str) -> Array:
        return self._columns[name]

    def __len__(self) -> int:
        return self.head - self.tail

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays, and about 200 for a pair in the dict."""
        arrays = (*self._columns.values(), self._own, self._slots, self._spills)
        return sum(column.nbytes for column in arrays) + 200 * len(self._spilled)

    def _two_slots(self, a: Array, b: Array) -> tuple[Array, Array]:
        h = _mixed(a, b)
        return (h & self._mask).view(np.int64), ((h >> HALF) & self._mask).view(np.int64)

    def find(self, a: Array, b: Array) -> Array:
        """(n,) positions of the keys, int64 contiguous arrays; -1 = not here."""
        return self._find(a, b, *self._two_slots(a, b))

    def _find(self, a: Array, b: Array, first: Array, second: Array) -> Array:
        at = self._slots.take(first)
        missing = (~self._holds(at, a, b)).nonzero()[0]
        if len(missing):
            then = self._slots.take(second.take(missing))
            there = self._holds(then, a.take(missing), b.take(missing))
            at[missing] = np.where(there, then, -1)
            if self._spilled:
                lost = missing[~there]
                lost = lost[self._spills.take(first.take(lost)) > 0]
                pairs = zip(a[lost].tolist(), b[lost].tolist(), strict=True)
                at[lost] = [self._spilled.get(pair, -1) for pair in pairs]
        return at.astype(np.int64)

    def _holds(self, at: Array, a: Array, b: Array) -> Array:
        same = self._columns["a"].take(at) == a
        same &= self._columns["b"].take(at) == b
        same &= self._own.take(at) != DEAD
        return np.asarray(same)

    def add(self, a: Array, b: Array) -> tuple[Array, Array]:
        """Rows for the keys that are new: (n,) positions, and (n,) bool which are new. A key that
        is here, or earlier in the batch, keeps its row. A new row's columns are the caller's."""
        if len(self) + len(a) > self.capacity:
            self._grow(len(self) + len(a))
        first, second = self._two_slots(a, b)
        at = self._find(a, b, first, second)
        fresh = at < 0
        new = fresh.nonzero()[0]
        if len(new) < len(a):
            a, b, first, second = a[new], b[new], first[new], second[new]
        place = np.arange(self.head, self.head + len(new)) & (self.capacity - 1)
        self.head += len(new)
        self._columns["a"][place], self._columns["b"][place] = a, b
        at[new], fresh[new] = self._claim(place, a, b, first, second)
        return at, fresh

    def _claim(
        self, place: Array, a: Array, b: Array, first: Array, second: Array
    ) -> tuple[Array, Array]:
        """Give the rows at ``place`` their slots: (n,) positions and which were not twins."""
        at, left, fresh = place.copy(), np.arange(len(place)), np.ones(len(place), bool)
        for slot in (first, second):
            wanted, mine = slot.take(left), place.take(left)
            free = (self._own.take(self._slots.take(wanted)) != wanted).nonzero()[0]
            # backwards, so that of twins in one batch the first one stays
            free = free[::-1]
            self._slots[wanted.take(free)] = mine.take(free)
            holder = self._slots.take(wanted)
            won = holder == mine
            self._own[mine[won]] = wanted[won]
            lost = (~won).nonzero()[0]
            left, holder = left[lost], holder[lost].astype(np.int64)
            twin = self._holds(holder, a[left], b[left])
            at[left[twin]], fresh[left[twin]] = holder[twin], False
            left = left[~twin]
            if not len(left):
                return at, fresh
        for row in left.tolist():
            mine_at = int(place[row])
            at[row] = self._spilled.setdefault((int(a[row]), int(b[row])), mine_at)
            fresh[row] = at[row] == mine_at
            self._own[mine_at] = SPILLED if fresh[row] else DEAD
            if fresh[row]:
                self._count(int(first[row]), 1)
        return at, fresh

    def _count(self, slot: int, by: int) -> None:
        if self._spills[slot] < 255:  # a full counter stays full, which is safe
            self._spills[slot] = int(self._spills[slot]) + by

    def positions(self, start: int | None = None) -> Array:
        """(n,) positions of the rows from number ``start`` on (the oldest by default), in order;
        some may be gone (see ``alive``)."""
        start = self.tail if start is None else start
        return np.arange(start, self.head) & (self.capacity - 1)

    def alive(self, at: Array) -> Array:
        """(n,) bool: the position holds a row (a twin's place does not)."""
        return np.asarray(self._own[at] != DEAD)

    def parts(self, name: str, start: int) -> list[Array]:
        """A column from row number ``start`` on, as one or two views in order."""
        low, n = start & (self.capacity - 1), self.head - start
        column = self._columns[name]
        return [column[low : low + n], column[: max(low + n - self.capacity, 0)]]

    def leading(self, name: str, start: int, end: int, value: int, below: bool = False) -> int:
        """How many rows from number ``start`` on have this value (``below``: a smaller one) before
        the first that has not; only so many are looked at."""
        n, step = 0, 1024
        while start + n < end:
            at = np.arange(start + n, min(start + n + step, end)) & (self.capacity - 1)
            column = self._columns[name].take(at)
            other = column >= value if below else column != value
            if other.any():
                return n + int(other.argmax())
            n, step = n + len(at), 2 * step
        return n

    def drop(self, n: int) -> None:
        """Forget the ``n`` oldest rows."""
        if not n:
            return
        at = np.arange(self.tail, self.tail + n) & (self.capacity - 1)
        spilled = at[self._own[at] == SPILLED]
        if len(spilled):
            a, b = self._columns["a"][spilled], self._columns["b"][spilled]
            for pair in zip(a.tolist(), b.tolist(), strict=True):
                del self._spilled[pair]
            for slot in self._two_slots(a, b)[0].tolist():
                self._count(slot, -1)
        self._own[at] = DEAD
        self.tail += n

    def _grow(self, n: int) -> None:
        self._load(self._dump(), 1 << max(n - 1, 1023).bit_length(), self.tail)

    def _dump(self) -> dict[str, Array]:
        at = self.positions()
        return {
            "alive": self.alive(at),
            **{name: column[at] for name, column in self._columns.items()},
        }

    def _load(self, rows: Mapping[str, Array], capacity: int, tail: int) -> None:
        """Lay rows out again under the same numbers, so that pointers into the order stay good."""
        self._make(capacity)
        self.tail, self.head = tail, tail + len(rows["alive"])
        at = self.positions()
        for name, column in self._columns.items():
            column[at] = rows[name]
        alive = rows["alive"]
        a, b = (np.ascontiguousarray(rows[key][alive]) for key in "ab")
        self._claim(at[alive], a, b, *self._two_slots(a, b))

    def state(self) -> dict[str, Array]:
        """What ``restore`` needs: the rows in order; the table of slots is built again."""
        return {**self._dump(), "tail": np.array(self.tail)}

    def restore(self, state: Mapping[str, Array]) -> None:
        """Take the rows of a ``state``."""
        n = max(len(state["alive"]), 1024)
        self._load(state, 1 << (n - 1).bit_length(), int(state["tail"]))
