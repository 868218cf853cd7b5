"""Keyed ring: rows that come and go in order of time, found by a pair of numbers, by batches.

Columns lie in a ring; a row's key (a, b) hashes to three slots of a table four times as large, and
the row takes the first that is free. A slot counts only while the row it names says that it holds
that slot, so rows that leave need no tombstones. The few that find all three taken go to a dict.
    slots: s_k = (h >> 21 k) mod m, k = 0, 1, 2;  slot s is taken  <=>  own[slots[s]] = s
Reference: Azar, Broder, Karlin and Upfal 1994 (more choices); Pagh and Rodler 2004 (few probes).

Simplified: the ring grows by doubling and never shrinks; industry keeps such state on disk too.
"""

from collections.abc import Mapping

import numpy as np

from reclab.core.types import Array

DEAD, SPILLED = -2, -1  # own[position] of a row without a slot: gone, or in the dict
SLOTS = 4  # slots a place of the ring
FEW = 8  # rows for which the dict costs less than another round of claims
# odd numbers without a pattern in their bits
MIX = (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
MIX_A, MIX_B, MIX_C = (np.array(number, np.uint64) for number in MIX)
HALF = np.array(32, np.uint64)
SHIFTS = np.array([[0], [21], [42]], np.uint64)  # of a hash: a row of bits for each probe


def _mixed(a: Array, b: Array) -> Array:
    """(n,) uint64 hash of the pairs."""
    h = a.view(np.uint64) * MIX_A
    h += b.view(np.uint64) * MIX_B
    h ^= h >> HALF
    h *= MIX_C
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

    def _probe(self, a: Array, b: Array) -> tuple[Array, Array, Array]:
        """(3, n) each: slots of the keys, positions that they name, whether a row has the slot."""
        slots = ((_mixed(a, b) >> SHIFTS) & self._mask).view(np.int64)
        named = self._slots.take(slots)
        return slots, named, self._own.take(named) == slots

    def find(self, a: Array, b: Array) -> Array:
        """(n,) positions of the keys, int64 contiguous arrays; -1 = not here."""
        return self._find(a, b, *self._probe(a, b))

    def _find(self, a: Array, b: Array, slots: Array, named: Array, taken: Array) -> Array:
        at = np.full(len(a), -1)
        probe = taken.ravel().nonzero()[0]
        row, place = probe % max(len(a), 1), named.ravel().take(probe)
        same = self._has(place, a.take(row), b.take(row))
        at[row[same]] = place[same]
        if self._spilled:
            lost = (at < 0).nonzero()[0]
            lost = lost[self._spills.take(slots[0].take(lost)) > 0]
            pairs = zip(a[lost].tolist(), b[lost].tolist(), strict=True)
            at[lost] = [self._spilled.get(pair, -1) for pair in pairs]
        return at

    def _has(self, at: Array, a: Array, b: Array) -> Array:
        """(n,) bool: the row there, dead or alive, has this key."""
        return (self._columns["a"].take(at) == a) & (self._columns["b"].take(at) == b)

    def add(self, a: Array, b: Array) -> tuple[Array, Array]:
        """Rows for the keys that are new: (n,) positions, and (n,) bool which are new. A key that
        is here, or earlier in the batch, keeps its row. A new row's columns are the caller's."""
        if len(self) + len(a) > self.capacity:
            self._grow(len(self) + len(a))
        slots, named, taken = self._probe(a, b)
        at = self._find(a, b, slots, named, taken)
        fresh = at < 0
        new = fresh.nonzero()[0]
        if len(new) < len(a):
            a, b, slots, taken = a[new], b[new], slots[:, new], taken[:, new]
        place = np.arange(self.head, self.head + len(new)) & (self.capacity - 1)
        self.head += len(new)
        self._columns["a"][place], self._columns["b"][place] = a, b
        at[new], fresh[new] = self._claim(place, a, b, slots, taken)
        return at, fresh

    def _claim(
        self, place: Array, a: Array, b: Array, slots: Array, taken: Array
    ) -> tuple[Array, Array]:
        """Give the rows at ``place`` their slots: (n,) positions and which were not twins."""
        at, fresh = place.copy(), np.ones(len(place), bool)
        full = taken[0] & taken[1] & taken[2]
        wanted = np.where(taken[0], np.where(taken[1], slots[2], slots[1]), slots[0])
        rows = (~full).nonzero()[0][::-1]  # backwards, so that of twins the first one stays
        wanted, mine = wanted.take(rows), place.take(rows)
        self._slots[wanted] = mine
        holder = self._slots.take(wanted)
        won = holder == mine
        self._own[mine[won]] = wanted[won]
        if len(rows) < len(place):
            self._spill(full.nonzero()[0], a, b, slots, at, fresh)
        if not won.all():
            lost, holder = rows[~won], holder[~won]
            twin = self._has(holder, a[lost], b[lost])
            at[lost[twin]], fresh[lost[twin]] = holder[twin], False
            left = lost[~twin][::-1]  # another key of the batch took their slot
            if len(left) > FEW:
                at[left], fresh[left] = self._claim_anew(place[left], a[left], b[left])
            else:
                self._spill(left, a, b, slots, at, fresh)
        return at, fresh

    def _claim_anew(self, place: Array, a: Array, b: Array) -> tuple[Array, Array]:
        slots, _, taken = self._probe(a, b)
        return self._claim(place, a, b, slots, taken)

    def _spill(
        self, rows: Array, a: Array, b: Array, slots: Array, at: Array, fresh: Array
    ) -> None:
        """Rows without a slot go to the dict."""
        for row in rows.tolist():
            mine = int(at[row])
            at[row] = self._spilled.setdefault((int(a[row]), int(b[row])), mine)
            fresh[row] = at[row] == mine
            if fresh[row]:
                self._own[mine] = SPILLED
                self._count(int(slots[0, row]), 1)

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
        return np.asarray(self._own.take(at) != DEAD)

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
        spilled = at[self._own.take(at) == SPILLED]
        if len(spilled):
            a, b = self._columns["a"][spilled], self._columns["b"][spilled]
            for pair in zip(a.tolist(), b.tolist(), strict=True):
                del self._spilled[pair]
            for slot in (_mixed(a, b) & self._mask).tolist():
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
        self._claim_anew(at[alive], a, b)

    def state(self) -> dict[str, Array]:
        """What ``restore`` needs: the rows in order; the table of slots is built again."""
        return {**self._dump(), "tail": np.array(self.tail)}

    def restore(self, state: Mapping[str, Array]) -> None:
        """Take the rows of a ``state``."""
        n = max(len(state["alive"]), 1024)
        self._load(state, 1 << (n - 1).bit_length(), int(state["tail"]))
