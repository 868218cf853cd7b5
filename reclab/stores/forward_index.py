"""Forward index: from an item to all of its features, columnar, in O(1).

row = lookup[id]; feature[name][row]. New and changed items are put; every put raises ``version``,
so that whatever was derived from the features can tell that it is out of date. The slot behind
the last row holds a blank, so that row -1 (unknown, padding) reads -1, 0.0 or False.
Reference: Büttcher, Clarke, Cormack, Information Retrieval (2010), ch. 4 on document stores.

Simplified: industry keeps it sharded and in memory on every ranking server, fed by a stream.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from reclab.core.errors import DataError
from reclab.core.tables import Table
from reclab.core.types import Array
from reclab.stores.arrays import Arrays, owned, save_arrays
from reclab.stores.row_lookup import RowLookup


def blank_of(dtype: "np.dtype[np.generic]") -> object:
    """What row -1 reads: -1 for signed integers, else zero of the type."""
    return -1 if dtype.kind == "i" else np.zeros((), dtype)[()]


def missing_values(columns: dict[str, Array]) -> dict[str, int]:
    """Rows that hold NaN or infinity, by column; columns without any are left out."""
    found: dict[str, int] = {}
    for name, values in columns.items():
        if values.dtype.kind == "f":
            bad = ~np.isfinite(values)
            rows = int(np.count_nonzero(bad if values.ndim == 1 else bad.any(1)))
            if rows:
                found[name] = rows
    return found


class ForwardIndex:
    """Columns of features under item ids; row ``i`` is the i-th row of ``items``.

    >>> index = ForwardIndex(Table({"video_id": np.array([7, 9]), "price": np.array([1.0, 2.0])}))
    >>> rows = index.rows(np.array([9, 8]))
    >>> rows.tolist(), index.get(rows, ["price"])["price"].tolist()
    ([1, -1], [2.0, 0.0])
    """

    def __init__(self, items: Table, key: str = "video_id") -> None:
        self.key = key
        self.lookup = RowLookup(items[key], key)
        self.version = 0
        self._columns: dict[str, Array] = {}
        for name in items:
            self._columns[name] = self._with_blank(items[name], len(items))
        self.missing = missing_values({name: items[name] for name in items})

    @staticmethod
    def _with_blank(values: Array, room: int) -> Array:
        held = np.full((room + 1, *values.shape[1:]), blank_of(values.dtype), values.dtype)
        held[: len(values)] = values
        return held

    def __len__(self) -> int:
        return len(self.lookup)

    def __contains__(self, name: str) -> bool:
        return name in self._columns

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    @property
    def ids(self) -> Array:
        """(n,) int64 identities in row order."""
        return self.lookup.ids

    def rows(self, ids: Array) -> Array:
        """Rows of ``ids`` (any shape), -1 = unknown."""
        return self.lookup.rows(ids)

    def __getitem__(self, name: str) -> Array:
        """The whole column, (n, …), as a read-only view."""
        view = self._column(name)[: len(self)]
        view.flags.writeable = False
        return view

    def _column(self, name: str) -> Array:
        if name not in self._columns:
            has = ", ".join(self._columns)
            raise DataError(f"the forward index holds no feature {name!r} (it holds: {has})")
        return self._columns[name]

    def get(
        self, rows: Array, names: list[str] | tuple[str, ...] | None = None
    ) -> dict[str, Array]:
        """Features at ``rows`` (any shape), each ``rows.shape + (…)``; row -1 reads the blank.

        Raises ``DataError`` for a row outside ``-1 … n - 1`` or an unknown name.
        """
        rows = np.asarray(rows)
        if rows.size and (int(rows.max()) >= len(self) or int(rows.min()) < -1):
            raise DataError(
                f"rows must lie in -1..{len(self) - 1}, got {int(rows.min())}..{int(rows.max())}"
            )
        wanted = self._columns if names is None else names
        return {name: self._column(name).take(rows, axis=0, mode="wrap") for name in wanted}

    def put(self, ids: Array, **columns: Array) -> None:
        """Store features of ``ids`` (m,): known items are overwritten, others get new rows.

        A new item needs every column, a new column needs every item. Raises ``DataError`` that
        names the column which holds NaN, has a wrong length or is missing; then nothing is stored.
        """
        ids = np.asarray(ids, np.int64)
        given = {name: np.asarray(values) for name, values in columns.items()}
        rows = self.rows(ids)
        fresh = rows < 0
        self._check(ids, given, fresh)
        if fresh.any():
            self.lookup.add(ids[fresh])
            self._grow()
            rows = self.rows(ids)
        stored = {**given, self.key: ids} if fresh.any() else given
        for name, values in stored.items():
            if name not in self._columns:
                empty = np.zeros((0, *values.shape[1:]), values.dtype)
                self._columns[name] = self._with_blank(empty, len(self))
            self._columns[name] = held = owned(self._columns[name])
            held[rows] = values
        self._recount_missing(given)
        self.version += 1

    def _recount_missing(self, given: dict[str, Array]) -> None:
        """Only what was put can fill a gap that the catalogue came with."""
        for name in self.missing.keys() & given.keys():
            left = missing_values({name: self[name]})
            self.missing = {k: n for k, n in self.missing.items() if k != name} | left

    def _check(self, ids: Array, given: dict[str, Array], fresh: Array) -> None:
        for name, values in given.items():
            known = self._columns.get(name)
            if len(values) != len(ids):
                raise DataError(f"feature {name!r} has {len(values)} values for {len(ids)} ids")
            if known is None and (fresh.any() or len(np.unique(ids)) < len(self)):
                raise DataError(f"new feature {name!r} must be given for all {len(self)} items")
            if known is not None and values.shape[1:] != known.shape[1:]:
                want, got = known.shape[1:], values.shape[1:]
                raise DataError(f"feature {name!r} has width {want} here, got {got}")
        bad = missing_values(given)
        if bad:
            which = ", ".join(f"{name!r} ({n} of {len(ids)} rows)" for name, n in bad.items())
            raise DataError(f"NaN or infinity in feature {which}: nothing was stored")
        absent = [name for name in self._columns if name not in given and name != self.key]
        if fresh.any() and absent:
            new = f"{int(np.count_nonzero(fresh))} new items (first: {int(ids[fresh][0])})"
            raise DataError(f"{new} lack the features {', '.join(absent)}")

    def _grow(self) -> None:
        """Room for the new rows, doubled so that many small puts stay cheap."""
        for name, held in self._columns.items():
            if len(held) < len(self) + 1:
                self._columns[name] = self._with_blank(held[:-1], 2 * len(self))

    def save(self, folder: Path) -> None:
        """Write ``forward_index`` into the folder."""
        held = {f"column.{name}": self[name] for name in self}
        held |= {"key": np.array(self.key), "version": np.array(self.version)}
        held["names"] = np.array(list(self), np.str_)
        save_arrays(folder / "forward_index", held)

    @staticmethod
    def load(folder: Path) -> "ForwardIndex":
        """Read what ``save`` wrote. Raises ``DataError`` naming a file that is damaged."""
        held = Arrays(folder / "forward_index")
        columns = {str(name): held[f"column.{name}"] for name in held["names"]}
        index = ForwardIndex(Table(columns), str(held["key"]))
        index.version = int(held["version"])
        return index
