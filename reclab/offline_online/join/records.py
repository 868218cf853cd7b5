"""Join records: the columns that the join reads, what makes a row bad, and what it hands back.

Reference: ``core.tables``: impressions are rows of ``INTERACTIONS``, reports rows of ``FEEDBACK``
with an ``event_id``. Stamps are ms in the platform's clock: ``time_ms`` when the recommender
answered, ``report_ms`` when the gateway took the report; ``event_ms`` is the device's word.

Simplified: industry checks messages against a schema registry.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from reclab.core.errors import DataError
from reclab.core.tables import Table
from reclab.core.types import Array

KINDS = ("click", "watch", "like", "comment", "share", "forward", "follow", "pay")
LAST_MS = 1 << 50  # stamps beyond it are nonsense
REPORT_COLUMNS = ("event_id", "req_id", "video_id", "kind", "value", "event_ms", "report_ms")
Columns = dict[str, Array]


@dataclass(frozen=True)
class Joined:
    """What one ``update`` gave. ``samples``: a row a closed impression: req_id, video_id, carried
    columns, time_ms, close_ms, labels (bit k = kind k came), n_labels, watch_sec (longest),
    pay_amount (sum). ``late``: reports whose sample had closed, with its carried columns; as
    corrections they go to a topic of their own. ``rejected``: reason -> the rows as they came."""

    samples: Table
    late: Table = field(default_factory=Table)
    rejected: Mapping[str, Table] = field(default_factory=dict)


def is_label(samples: Table, kind: str) -> Array:
    """(n,) bool: feedback of this kind came in time.

    >>> is_label(Table({"labels": np.array([0, 1, 4], np.uint16)}), "like").tolist()
    [False, False, True]
    """
    return np.asarray(samples["labels"] >> KINDS.index(kind) & 1).astype(bool)


def read(
    table: Table | Mapping[str, Array], names: tuple[str, ...], stamps: tuple[str, ...]
) -> tuple[Columns, dict[str, Table]]:
    """The named columns of the good rows, int64 (``value`` float64), and the bad rows by reason.
    Raises ``DataError`` where a column is missing or lengths differ."""
    missing = [name for name in names if name not in table]
    if missing:
        raise DataError(f"the join needs the columns {', '.join(missing)} (got: {list(table)})")
    raw = {name: np.asarray(table[name]) for name in names}
    n = len(raw[names[0]])
    if any(column.shape != (n,) for column in raw.values()):
        raise DataError("columns of one batch must be equally long and flat")
    rejected: dict[str, Table] = {}
    if not n:
        return empty(names), rejected
    why = _faults(raw, names, stamps)
    if why:
        bad = np.zeros(n, bool)
        for reason, rows in why.items():
            rows = rows & ~bad  # the first reason counts
            bad |= rows
            if rows.any():
                rejected[reason] = Table({name: column[rows] for name, column in raw.items()})
        raw = {name: column[~bad] for name, column in raw.items()}
    dtype = {"value": np.float64}
    return {k: np.ascontiguousarray(v, dtype.get(k, np.int64)) for k, v in raw.items()}, rejected


def _faults(raw: Columns, names: tuple[str, ...], stamps: tuple[str, ...]) -> dict[str, Array]:
    """Reason -> (n,) bool, only of reasons that occur; good batches pay a few reductions."""
    why: dict[str, Array] = {}
    for name in names:
        column = raw[name]
        if column.dtype.kind not in "iufb" or column.dtype == np.uint64:
            raise DataError(f"column {name} must hold numbers of int64's range, not {column.dtype}")
        if column.dtype.kind == "f":
            off = ~np.isfinite(column)
            if name != "value":
                with np.errstate(invalid="ignore"):
                    off |= (column != np.floor(column)) | (np.abs(column) > 2**53)
            if off.any():
                why[f"{name} is not a {'number' if name == 'value' else 'whole number'}"] = off
    for name, last in [*((stamp, LAST_MS) for stamp in stamps), ("kind", len(KINDS) - 1)]:
        if name not in raw or not len(raw[name]):
            continue
        column = raw[name]
        if column.dtype == np.int64:  # one pass: below 0 is beyond everything when unsigned
            inside = column.view(np.uint64).max() <= last
        else:
            inside = 0 <= column.min() <= column.max() <= last
        if not inside:
            with np.errstate(invalid="ignore"):
                off = ~((column >= 0) & (column <= last))
            why["unknown kind" if name == "kind" else f"{name} out of range"] = off
    value = raw.get("value")
    if value is not None and len(value) and value.min() < 0:
        why["value is negative"] = value < 0
    return why


def empty(names: tuple[str, ...]) -> Columns:
    """No rows of these columns."""
    return {name: np.zeros(0, np.float64 if name == "value" else np.int64) for name in names}


def concat(parts: list[Columns]) -> Columns:
    """Rows of several batches, one after the other."""
    parts = [part for part in parts if len(next(iter(part.values())))] or parts[:1]
    if len(parts) == 1:
        return parts[0]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def ripe(rows: Columns, stamp: str, now: int) -> tuple[Columns, Columns]:
    """Rows stamped before ``now`` in order of their stamps, and the others."""
    stamps = rows[stamp]
    if (stamps[1:] < stamps[:-1]).any():
        order = np.argsort(stamps, kind="stable")
        rows = {name: column[order] for name, column in rows.items()}
    n = int(rows[stamp].searchsorted(now))
    return {k: c[:n] for k, c in rows.items()}, {k: c[n:].copy() for k, c in rows.items()}
