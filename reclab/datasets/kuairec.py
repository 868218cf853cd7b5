"""KuaiRec: short-video views with watch times, and one small matrix that is fully observed.

Read are ``big_matrix.csv`` or ``small_matrix.csv`` with ``user_features.csv``,
``item_categories.csv``, ``item_daily_features.csv`` and ``kuairec_caption_category.csv`` (names of
the categories). There is no click: ``watch_sec`` is ``play_duration / 1000``, and
``is_long_view``, ``is_short_watch``, ``is_valid_play`` and ``is_complete`` are computed from watch
time and duration by the definitions of table 2.3. Clock: Beijing, UTC+8, as in the source's own
``time`` and ``date``.

Reference: Gao et al., "KuaiRec: A Fully-Observed Dataset and Insights for Evaluating Recommender
Systems", CIKM 2022.

Simplified: of the daily statistics of a video only the sums of likes, comments and shares are kept.
"""

from pathlib import Path

import numpy as np

from reclab.core.tables import Table
from reclab.datasets.assemble import Columns, assemble, numbered_tags, overlay
from reclab.datasets.cells import EPOCH_SEC, Field
from reclab.datasets.kuairand import PEOPLE, midnight_ms, watched, with_logged_duration
from reclab.datasets.readers import Dialect, read_rows
from reclab.datasets.report import LoadedLogs, LoadReport

CSV = r"\.csv(\.gz)?"
ROLES = {
    "big": "big_matrix" + CSV,
    "small": "small_matrix" + CSV,
    "users": "user_features" + CSV,
    "categories": "item_categories" + CSV,
    "daily": "item_daily_features" + CSV,
    "captions": "kuairec_caption_category" + CSV,
}
LOG_ROLES = ("small", "big")
EXPECTED = "big_matrix.csv or small_matrix.csv, user_features.csv and item_categories.csv"
MARKS = ("play_duration", "watch_ratio")
UTC_OFFSET_H = 8
LONG_VIEW_SEC = 18.0

VIEWS = (
    Field("user_id", low=0),
    Field("video_id", low=0),
    Field("play_duration", low=0),
    Field("video_duration", low=0),
    Field("timestamp", "float", **EPOCH_SEC),
)
CATEGORIES = (Field("video_id", low=0), Field("feat", "text", required=False))
CAPTIONS = (
    Field("video_id", low=0),
    Field("caption", "text", required=False),
    Field("manual_cover_text", "text", required=False),
    Field("first_level_category_id", "float", required=False),
    Field("first_level_category_name", "text", required=False),
)
COUNTS = ("like_cnt", "comment_cnt", "share_cnt")
DAYS = (
    Field("video_id", low=0),
    Field("date", low=0),
    Field("author_id", required=False, low=0),
    Field("upload_dt", "text", required=False),
    Field("video_duration", "float", required=False, low=0),
    *(Field(name, "float", required=False, low=0) for name in COUNTS),
)
QUOTED = Dialect(quoted=True)


def load(files: dict[str, list[Path]], report: LoadReport) -> LoadedLogs:
    """Read the recognised files; the big matrix where both are there. Raises ``DataError``."""
    report.utc_offset_h = UTC_OFFSET_H
    views = files.get("big") or files.get("small")
    if "big" in files and "small" in files:
        report.notes.append("small_matrix left out: give that file alone to load it")
    rows = read_rows(views, VIEWS, report) if views else None
    extra: dict[str, Table] = {}
    users = None
    if "users" in files:
        people = read_rows(files["users"], PEOPLE, report, QUOTED, "user_id")
        extra["users"] = Table(people)
        users = {"user_id": people["user_id"]}
        if "register_days" in people and not np.isnan(people["register_days"]).any():
            users["is_new_user"] = people["register_days"] <= 7
    items, tag_names = _items(files, rows, extra, report)
    return assemble(report, _log(rows), users, items, tag_names, extra)


def _log(rows: Columns | None) -> Columns | None:
    if rows is None:
        return None
    watch, length = rows["play_duration"] / 1000, rows["video_duration"] / 1000
    log = {name: rows[name] for name in ("user_id", "video_id")} | watched(watch, length)
    log["is_long_view"] = (watch >= np.minimum(length, LONG_VIEW_SEC)) & (length > 0)
    return log | {"epoch_ms": np.round(rows["timestamp"] * 1000).astype(np.int64)}


def _items(
    files: dict[str, list[Path]], rows: Columns | None, extra: dict[str, Table], report: LoadReport
) -> tuple[Columns | None, tuple[str, ...]]:
    """Items from up to four files that each know a part, laid over one list of ids."""
    parts: list[Columns] = []
    tag_names: tuple[str, ...] = ()
    if "categories" in files:
        said = read_rows(files["categories"], CATEGORIES, report, QUOTED, "video_id")
        tags, tag_names = numbered_tags(said["feat"], ",")
        parts.append({"video_id": said["video_id"], "tags": tags})
    if "captions" in files:
        said = read_rows(files["captions"], CAPTIONS, report, QUOTED, "video_id")
        tag_names = _category_names(tag_names, said)
        words = {n: said[n] for n in ("caption", "manual_cover_text") if n in said}
        extra["items"] = Table({"video_id": said["video_id"], **words})
        parts.append({"video_id": said["video_id"]})
    if "daily" in files:
        parts.append(_days(read_rows(files["daily"], DAYS, report, QUOTED)))
    items = overlay(parts) if parts else None
    if rows is not None:
        items = with_logged_duration(items, rows["video_id"], rows["video_duration"])
    return items, tag_names


def _category_names(numbers: tuple[str, ...], said: Columns) -> tuple[str, ...]:
    """Category numbers of the first level get the names that the caption file has for them."""
    if "first_level_category_id" not in said or "first_level_category_name" not in said:
        return numbers
    names = list(numbers)
    pairs = zip(said["first_level_category_id"], said["first_level_category_name"], strict=True)
    for number, name in set(pairs):
        if 0 <= number < len(names) and name not in ("", "UNKNOWN"):
            names[int(number)] = name
    return tuple(names)


def _days(rows: Columns) -> Columns:
    """One row a video: what its last day says, and sums of the counts over the days observed."""
    order = np.lexsort([rows["date"], rows["video_id"]])
    ids, starts = np.unique(rows["video_id"][order], return_index=True)
    last = order[np.append(starts[1:], len(order)) - 1]
    items: Columns = {"video_id": ids}
    if "author_id" in rows:
        items["author_id"] = rows["author_id"][last]
    if "video_duration" in rows:
        items["duration_sec"] = rows["video_duration"][last] / 1000
    if "upload_dt" in rows:
        items["publish_epoch_ms"] = midnight_ms(rows["upload_dt"][last], UTC_OFFSET_H)
    for name in (name for name in COUNTS if name in rows):
        items[name] = np.add.reduceat(np.nan_to_num(rows[name][order]), starts).astype(np.int64)
    return items
