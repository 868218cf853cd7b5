"""The four log tables of the chapter (2.1 users, 2.2 items, 2.3 interactions, 2.3 by day) and
the late reports of feedback: which columns they have, in which unit, and how they are held.

A ``Table`` is a set of equally long NumPy arrays under declared names. Identities are numbers
(``video_id``, ``user_id``, ``req_id``); the chapter prints them as ``v12345`` or ``r98765``, and
``device_id`` as eight hex digits. Tags are an ``(n, width)`` matrix of tag numbers, -1 = none.
A column that a source does not have is absent: nothing is invented.

Simplified: industry keeps these as Hive tables with hundreds of columns.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from reclab.core.clock import DAY_MS
from reclab.core.errors import DataError

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class Column:
    """One declared column: dtype when held in memory, unit or coding, and whether it must exist."""

    name: str
    dtype: str
    about: str
    required: bool = False


def _columns(*rows: tuple[str, str, str] | tuple[str, str, str, bool]) -> tuple[Column, ...]:
    return tuple(Column(*row) for row in rows)


USERS = _columns(
    ("user_id", "int64", "identity of the user", True),
    ("day", "int32", "day of the snapshot, 0 = first day of the log"),
    ("device_id", "int64", "32-bit device number, printed as 8 hex digits"),
    ("age", "int16", "years"),
    ("gender", "int8", "0 female, 1 male, -1 not said"),
    ("region", "int16", "region number"),
    ("interest_tags", "int16", "(n, width) tag numbers, strongest first, -1 = none"),
    ("phone_model", "int16", "model number"),
    ("os", "int8", "0 Android, 1 iOS"),
    ("app_version", "int16", "version number, 341 = v3.4.1"),
    ("is_new_user", "bool", "first seen at most 7 days before the snapshot"),
    ("is_logged_in", "bool", "logged in when the snapshot was taken"),
)
ITEMS = _columns(
    ("video_id", "int64", "identity of the item", True),
    ("author_id", "int64", "user id of the creator"),
    ("author_device_id", "int64", "device number of the creator"),
    ("publish_ms", "int64", "time of publication, ms since the first midnight of the log"),
    ("duration_sec", "float32", "seconds"),
    ("business", "int8", "0 short video, 1 live, 2 product, 3 ad, 4 image-text, 5 campaign"),
    ("tags", "int16", "(n, width) tag numbers, main topic first, -1 = none"),
    ("like_cnt", "int32", "likes at the end of the log"),
    ("comment_cnt", "int32", "comments at the end of the log"),
    ("share_cnt", "int32", "shares at the end of the log"),
    ("forward_cnt", "int32", "forwards at the end of the log"),
    ("price", "float32", "money, products only"),
    ("bid", "float32", "money per click, ads only"),
)
INTERACTIONS = _columns(
    ("req_id", "int64", "identity of the request (one page)"),
    ("session_id", "int64", "identity of the session"),
    ("time_ms", "int64", "time of the request, ms since the first midnight of the log", True),
    ("user_id", "int64", "identity of the user", True),
    ("device_id", "int64", "32-bit device number, printed as 8 hex digits"),
    ("video_id", "int64", "identity of the item", True),
    ("author_id", "int64", "user id of the creator"),
    ("author_device_id", "int64", "device number of the creator"),
    ("position", "int16", "place on the page, 0 = first"),
    ("channel", "int8", "what brought the item: number of the logging policy's channel"),
    ("is_random", "bool", "the slot was filled uniformly at random, and flagged (unbiased sample)"),
    ("network", "int8", "0 wifi, 1 mobile"),
    ("watch_sec", "float32", "seconds watched"),
    ("is_click", "bool", "the user opened the item"),
    ("is_long_view", "bool", "clicked and watched >= min(duration, 18 s)"),
    ("is_short_watch", "bool", "watched < 3 s"),
    ("is_valid_play", "bool", "watched > 6 s"),
    ("is_complete", "bool", "watched to the end"),
    ("is_like", "bool", "liked (MovieLens: rating >= 4)"),
    ("is_comment", "bool", "commented"),
    ("is_share", "bool", "shared"),
    ("is_forward", "bool", "forwarded"),
    ("is_follow", "bool", "followed the creator"),
    ("pay_amount", "float32", "money paid (purchase or tip) or ad revenue"),
    ("rating", "float32", "stars, where the source has ratings"),
)
DAILY = _columns(
    ("day", "int32", "day number", True),
    ("req_id", "int64", "first request of the day with this pair"),
    ("user_id", "int64", "identity of the user", True),
    ("device_id", "int64", "32-bit device number"),
    ("video_id", "int64", "identity of the item", True),
    ("author_id", "int64", "user id of the creator"),
    ("author_device_id", "int64", "device number of the creator"),
    ("impressions", "int32", "times shown"),
    ("clicks", "int32", "times clicked"),
    ("watch_sec", "float32", "seconds watched in the day"),
    ("like_cnt", "int32", "likes in the day"),
    ("comment_cnt", "int32", "comments in the day"),
    ("share_cnt", "int32", "shares in the day"),
    ("forward_cnt", "int32", "forwards in the day"),
)
FEEDBACK = _columns(
    ("req_id", "int64", "request that the feedback belongs to", True),
    ("video_id", "int64", "item that the feedback belongs to", True),
    ("user_id", "int64", "identity of the user"),
    ("kind", "int8", "0 click, 1 watch, 2 like, 3 comment, 4 share, 5 forward, 6 follow, 7 pay"),
    ("value", "float32", "seconds for watch, money for pay, else 1"),
    ("event_ms", "int64", "when it happened on the device"),
    ("report_ms", "int64", "when the report reached the gateway", True),
)


class LazyColumns(Mapping[str, Array]):
    """Columns of ``n_rows`` rows that are made when first asked for, and then kept."""

    def __init__(self, names: Iterable[str], n_rows: int, make: Callable[[str], Array]) -> None:
        self.n_rows, self._names, self._make = n_rows, tuple(names), cache(make)

    def __getitem__(self, name: str) -> Array:
        if name not in self._names:
            raise KeyError(name)
        return self._make(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __contains__(self, name: object) -> bool:
        return name in self._names


@dataclass(frozen=True)
class Table:
    """Equally long arrays under names. ``table["col"]``, ``len(table)``, ``"col" in table``.

    >>> t = Table({"user_id": np.array([3, 5]), "age": np.array([28, 19])})
    >>> len(t), "os" in t, int(t.take(np.array([1]))["age"][0])
    (2, False, 19)
    """

    columns: Mapping[str, Array] = field(default_factory=dict)

    def __post_init__(self) -> None:
        lazy = isinstance(self.columns, LazyColumns)
        lengths = {} if lazy else {name: len(values) for name, values in self.columns.items()}
        if len(set(lengths.values())) > 1:
            raise DataError(f"columns of one table must be equally long, got {lengths}")

    def __len__(self) -> int:
        if isinstance(self.columns, LazyColumns):
            return self.columns.n_rows
        return len(next(iter(self.columns.values()))) if self.columns else 0

    def __contains__(self, name: str) -> bool:
        return name in self.columns

    def __iter__(self) -> Iterator[str]:
        return iter(self.columns)

    def __getitem__(self, name: str) -> Array:
        if name not in self.columns:
            raise DataError(
                f"this table has no column {name!r} (it has: {', '.join(self.columns)})"
            )
        return self.columns[name]

    def take(self, rows: Array) -> "Table":
        """The rows given by positions or by a boolean mask; of a lazy table, lazily."""
        if isinstance(self.columns, LazyColumns):
            n = int(np.count_nonzero(rows)) if rows.dtype == bool else len(rows)
            return Table(LazyColumns(self, n, lambda name: self[name][rows]))
        return Table({name: values[rows] for name, values in self.columns.items()})

    def with_columns(self, **new: Array) -> "Table":
        """A copy with columns added or replaced."""
        return Table({**self.columns, **new})

    def to_arrow(self) -> pa.Table:
        """As an Arrow table; an ``(n, width)`` column becomes a list column."""
        return pa.table({name: _to_arrow(values) for name, values in self.columns.items()})

    @staticmethod
    def from_arrow(table: pa.Table) -> "Table":
        """From an Arrow table with columns in any order."""
        return Table({name: _from_arrow(table.column(name)) for name in table.column_names})


def _to_arrow(values: Array) -> pa.Array:
    if values.ndim == 1:
        return pa.array(values)
    flat = pa.array(np.ascontiguousarray(values).reshape(-1))
    return pa.FixedSizeListArray.from_arrays(flat, values.shape[1])


def _from_arrow(column: pa.ChunkedArray) -> Array:
    merged = column.combine_chunks()
    if isinstance(merged, pa.ChunkedArray):  # pyarrow keeps an empty column chunked
        merged = pa.concat_arrays(merged.chunks) if merged.num_chunks else merged.cast(merged.type)
    if pa.types.is_fixed_size_list(column.type):
        return _plain(merged.flatten()).reshape(-1, column.type.list_size)
    return _plain(merged)


def _plain(values: pa.Array) -> Array:
    kind = values.type  # to_numpy is kept for the rest: it imports pandas, half a second
    if not values.null_count and pa.types.is_boolean(kind):
        return np.from_dlpack(values.cast(pa.uint8())).view(bool)
    if not values.null_count and (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
        return np.from_dlpack(values)
    return np.asarray(values.to_numpy(zero_copy_only=False))


@dataclass(frozen=True)
class Logs:
    """What a recommender may see: the four tables and the late reports. ``tag_names[t]`` names
    tag ``t``. ``origin`` says where the logs come from ("world", "globo", …). Interactions are
    sorted by time."""

    users: Table
    items: Table
    interactions: Table
    daily: Table = field(default_factory=Table)
    feedback: Table = field(default_factory=Table)
    tag_names: tuple[str, ...] = ()
    origin: str = "world"

    @property
    def positive(self) -> Array:
        """(n,) bool: the interactions that count as liked: click, else like, else all of them."""
        for name in ("is_click", "is_like"):
            if name in self.interactions:
                return self.interactions[name].astype(bool)
        return np.ones(len(self.interactions), bool)

    def between(self, start_ms: int, end_ms: int) -> "Logs":
        """The same logs with the interactions and reports of ``start_ms <= time < end_ms`` only."""
        when = self.interactions["time_ms"]
        shown = self.interactions.take((when >= start_ms) & (when < end_ms))
        late = self.feedback
        if "report_ms" in late:
            late = late.take((late["report_ms"] >= start_ms) & (late["report_ms"] < end_ms))
        return replace(self, interactions=shown, feedback=late)


TABLES: dict[str, tuple[Column, ...]] = {
    "users": USERS,
    "items": ITEMS,
    "interactions": INTERACTIONS,
    "daily": DAILY,
    "feedback": FEEDBACK,
}


def conform(name: str, table: Table) -> Table:
    """Check a table, its columns in any order, and give every declared column its dtype. Raises
    ``DataError`` that names what is missing."""
    declared = _declared(name, list(table))
    return Table({n: table[n].astype(dtype, copy=False) for n, dtype in declared.items()})


def _declared(name: str, has: list[str]) -> dict[str, str]:
    """dtype of every declared column that a table has. ``DataError`` if a required one is not."""
    missing = [c.name for c in TABLES[name] if c.required and c.name not in has]
    if missing:
        raise DataError(
            f"table {name!r} lacks {', '.join(missing)} (it has: {', '.join(has) or 'nothing'})"
        )
    return {c.name: c.dtype for c in TABLES[name] if c.name in has}


def write_logs(logs: Logs, folder: Path) -> None:
    """Write the tables as Parquet; interactions, daily and feedback partitioned by ``day=``."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in TABLES:
        table: Table = getattr(logs, name)
        if not len(table):
            continue
        day = {"interactions": "time_ms", "feedback": "report_ms"}.get(name)
        if day is None and "day" not in table:
            (folder / name).mkdir(exist_ok=True)
            pq.write_table(table.to_arrow(), folder / name / "part.parquet")
            continue
        days = table["day"] if day is None else table[day] // DAY_MS
        order = np.argsort(days, kind="stable")
        cuts = np.flatnonzero(np.diff(days[order])) + 1
        arrow = table.to_arrow()
        for rows in np.split(order, cuts):
            part = folder / name / f"day={int(days[rows[0]]):04d}"
            part.mkdir(parents=True, exist_ok=True)
            whole = len(rows) == rows[-1] - rows[0] + 1
            piece = arrow.slice(rows[0], len(rows)) if whole else arrow.take(rows)
            pq.write_table(piece, part / "part.parquet")
    (folder / "tags.txt").write_text("\n".join(logs.tag_names), encoding="utf-8")
    (folder / "origin.txt").write_text(logs.origin, encoding="utf-8")


def read_logs(folder: Path, only: tuple[str, ...] = tuple(TABLES)) -> Logs:
    """Open what ``write_logs`` wrote: which columns and how many rows now, each column when it is
    first asked for. Raises ``DataError`` naming the table that is damaged, now or then."""
    found = {name: sorted((folder / name).rglob("*.parquet")) for name in only}
    tables = {name: _stored(name, files) for name, files in found.items() if files}
    absent = sorted({"users", "items", "interactions"} & set(only) - set(tables))
    if absent:
        raise DataError(
            f"{folder} holds no {', '.join(absent)} (expected folders of .parquet files)"
        )
    tags = (folder / "tags.txt").read_text(encoding="utf-8").splitlines()
    origin = (folder / "origin.txt").read_text(encoding="utf-8")
    whole = {name: tables.get(name, Table()) for name in TABLES}
    return Logs(**whole, tag_names=tuple(tags), origin=origin)


def _stored(name: str, files: list[Path]) -> Table:
    """A table over Parquet files, whose rows follow each other in that order."""
    with _reading(name, files):
        heads = [pq.read_metadata(file) for file in files]
    declared = _declared(name, heads[0].schema.to_arrow_schema().names)

    def read(column: str) -> Array:
        pairs = zip(files, heads, strict=True)
        with _reading(name, files):
            parts = [pq.ParquetFile(f, metadata=head).read(columns=[column]) for f, head in pairs]
            values = _from_arrow(pa.concat_tables(parts).column(column))
        return values.astype(declared[column], copy=False)

    return Table(LazyColumns(declared, sum(head.num_rows for head in heads), read))


@contextmanager
def _reading(name: str, files: list[Path]) -> Iterator[None]:
    try:
        yield
    except (OSError, KeyError, pa.ArrowException) as error:
        raise DataError(f"cannot read table {name!r}, {files[0].parent} …: {error}") from error
