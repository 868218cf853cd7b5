"""From what one source says to the four tables: one clock, one row per user and item, tags as
numbers, and the roll-up by day.

``time_ms = epoch_ms - first_midnight_ms``, where the first midnight is that of the source's own
clock on the day of its first row. ``users`` and ``items`` are the union of the source's catalogue
and of everybody and everything in the log; what the catalogue does not say is -1 or NaN.

Reference: the tables of the chapter, ``reclab/core/tables.py``.

Simplified: industry keeps one snapshot of users and items per day, not the last one.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from reclab.core.clock import DAY_MS, HOUR_MS
from reclab.core.tables import Array, Table, conform
from reclab.datasets.keys import codes, stable_order
from reclab.datasets.report import LoadedLogs, LoadReport, no_rows

Columns = dict[str, Array]
NO_DATE = np.iinfo(np.int64).min  # a moment that the source does not say


def assemble(
    report: LoadReport,
    log: Columns | None,
    users: Columns | None = None,
    items: Columns | None = None,
    tag_names: Sequence[str] = (),
    extra: Mapping[str, Table] | None = None,
) -> LoadedLogs:
    """The four tables of a source.

    ``log`` has ``epoch_ms``, ``user_id``, ``video_id`` and declared columns; ``items`` may have
    ``publish_epoch_ms``. With ``log`` None only users and items are filled. Rows of one moment
    keep the order in which they came.
    """
    shown = _log_table(report, log) if log is not None else _no_log()
    people = _catalogue("user_id", users, shown["user_id"])
    things = _catalogue("video_id", _on_log_clock(report, items), shown["video_id"])
    return LoadedLogs(
        users=conform("users", people),
        items=conform("items", things),
        interactions=shown,
        daily=roll_up(shown) if len(shown) else Table(),
        tag_names=tuple(tag_names),
        origin=report.origin,
        report=report,
        extra=extra or {},
    )


def _log_table(report: LoadReport, log: Columns) -> Table:
    when = log["epoch_ms"]
    if not len(when):
        raise no_rows(report)
    shift = report.utc_offset_h * HOUR_MS
    report.first_midnight_ms = int((when.min() + shift) // DAY_MS * DAY_MS - shift)
    columns = {name: values for name, values in log.items() if name != "epoch_ms"}
    columns["time_ms"] = when - report.first_midnight_ms
    table = conform("interactions", Table(columns))
    if (np.diff(when) >= 0).all():
        return table
    return table.take(stable_order(when))


def _no_log() -> Table:
    none = np.zeros(0, np.int64)
    return Table({"time_ms": none, "user_id": none, "video_id": none})


def _on_log_clock(report: LoadReport, items: Columns | None) -> Columns | None:
    if items is None or "publish_epoch_ms" not in items:
        return items
    rest = dict(items)
    when = rest.pop("publish_epoch_ms")
    if report.first_midnight_ms is not None:  # without a log there is no clock to tell it on
        rest["publish_ms"] = np.where(when == NO_DATE, -1, when - report.first_midnight_ms)
    return rest


def _catalogue(key: str, known: Columns | None, logged: Array) -> Table:
    """One row per id, sorted; ids that only the log knows get -1 or NaN, and no flag is guessed."""
    if known is None:
        return Table({key: np.unique(logged)})
    order = np.argsort(known[key], kind="stable")
    if not len(logged) or np.isin(logged, known[key]).all():
        return Table({name: values[order] for name, values in known.items()})
    ids = np.union1d(known[key], logged)
    at = np.searchsorted(ids, known[key])
    columns = {key: ids}
    for name, values in known.items():
        if name == key or values.dtype == bool:
            continue
        empty = np.nan if values.dtype.kind == "f" else -1
        columns[name] = np.full((len(ids), *values.shape[1:]), empty, values.dtype)
        columns[name][at] = values
    return Table(columns)


def overlay(parts: Sequence[Columns]) -> Columns:
    """Parts of a catalogue, each with ``video_id`` (unique), laid over one sorted list of ids;
    what no part says is -1, NaN or ``NO_DATE``."""
    ids = np.unique(np.concatenate([part["video_id"] for part in parts]))
    items: Columns = {"video_id": ids}
    for part in parts:
        at = np.searchsorted(ids, part["video_id"])
        for name in (name for name in part if name != "video_id"):
            values = part[name]
            empty = np.nan if values.dtype.kind == "f" else -1
            empty = NO_DATE if name == "publish_epoch_ms" else empty
            items[name] = np.full((len(ids), *values.shape[1:]), empty, values.dtype)
            items[name][at] = values
    return items


SUMS = {
    "clicks": "is_click",
    "watch_sec": "watch_sec",
    "like_cnt": "is_like",
    "comment_cnt": "is_comment",
    "share_cnt": "is_share",
    "forward_cnt": "is_forward",
}


def roll_up(shown: Table) -> Table:
    """Table 2.3 by day: one row per (day, user, item). ``impressions`` only where the log holds
    what was shown and not only what was clicked or rated."""
    users, user_row = codes(shown["user_id"])
    items, item_row = codes(shown["video_id"])
    day = shown["time_ms"] // DAY_MS
    key = (day * len(users) + user_row) * len(items) + item_row
    order = np.argsort(key)
    near = key[order]
    starts = np.flatnonzero(np.concatenate([[True], near[1:] != near[:-1]]))
    first = order[starts]
    columns = {name: shown[name][first] for name in ("user_id", "video_id")}
    columns["day"] = day[first]
    if holds_impressions(shown):
        columns["impressions"] = np.diff(np.append(starts, len(order)))
    for name, source in SUMS.items():
        if source in shown:
            values = shown[source][order]
            wide = np.float64 if values.dtype.kind == "f" else np.int64
            columns[name] = np.add.reduceat(values.astype(wide), starts)
    return conform("daily", Table(columns))


def holds_impressions(shown: Table) -> bool:
    """A log of exposures says how long each was watched, or has rows without a click."""
    if "watch_sec" in shown:
        return True
    return "is_click" in shown and not shown["is_click"].all()


def tag_matrix(rows: Array, tags: Array, n: int) -> Array:
    """(n, width) int16 from pairs (row, tag) in any order of rows; the order of tags within a row
    is kept; -1 = none.

    >>> tag_matrix(np.array([0, 2, 0]), np.array([7, 1, 5]), 3).tolist()
    [[7, 5], [-1, -1], [1, -1]]
    """
    order = np.argsort(rows, kind="stable")
    rows, tags = rows[order], tags[order]
    counts = np.bincount(rows, minlength=n)
    matrix = np.full((n, max(1, int(counts.max(initial=0)))), -1, np.int16)
    place = np.arange(len(rows)) - (np.cumsum(counts) - counts)[rows]
    matrix[rows, place] = tags
    return matrix


def split_tags(text: Array, separator: str) -> tuple[Array, list[str]]:
    """(row of each word, the words) of texts that hold words with a separator between them."""
    pairs = [
        (row, word.strip())
        for row, cell in enumerate(text.tolist())
        for word in cell.split(separator)
        if word.strip()
    ]
    return np.array([row for row, _ in pairs], np.int64), [word for _, word in pairs]


def named_tags(text: Array, separator: str) -> tuple[Array, tuple[str, ...]]:
    """(tags (n, width), names in alphabetical order) of texts such as ``Comedy|Drama``."""
    rows, words = split_tags(text, separator)
    names = sorted(set(words))
    number = {name: at for at, name in enumerate(names)}
    tags = np.array([number[word] for word in words], np.int64)
    return tag_matrix(rows, tags, len(text)), tuple(names)


def numbered_tags(
    text: Array, separator: str, highest: int = 32_000
) -> tuple[Array, tuple[str, ...]]:
    """(tags (n, width), names) of texts such as ``[27, 9]``: the source's numbers are kept, and a
    tag's name is its number. Words that are no number up to ``highest`` are left out."""
    rows, words = split_tags(text, separator)
    bare = [word.strip("[]'\" ").removesuffix(".0") for word in words]
    good = np.array([w.isdecimal() and len(w) < 6 and int(w) <= highest for w in bare], bool)
    tags = np.array([int(w) for w, ok in zip(bare, good, strict=True) if ok], np.int64)
    names = tuple(str(number) for number in range(int(tags.max(initial=-1)) + 1))
    return tag_matrix(rows[good], tags, len(text)), names
