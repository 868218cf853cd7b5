"""KuaiRand (Pure, 1K, 27K): exposures of short videos with every feedback, and a part of the slots
filled uniformly at random.

Read are ``log_standard_*.csv``, ``log_random_*.csv``, ``user_features_*.csv`` and
``video_features_basic_*.csv``. ``is_rand`` becomes ``is_random``, ``long_view`` ``is_long_view``,
``play_time_ms / 1000`` ``watch_sec``. ``is_short_watch``, ``is_valid_play`` and ``is_complete``
are computed from watch time and duration by the definitions of table 2.3. Clock: Beijing, UTC+8,
as in the source's own ``date`` and ``hourmin``.

Reference: Gao et al., "KuaiRand: An Unbiased Sequential Recommendation Dataset with Randomly
Exposed Videos", CIKM 2022.

Simplified: 27K (322 million rows) needs about 40 GB here; industry would read it with Spark.
"""

import re
from pathlib import Path

import numpy as np

from reclab.core.errors import DataError
from reclab.core.tables import Array, Table
from reclab.datasets.assemble import NO_DATE, Columns, assemble, numbered_tags, overlay
from reclab.datasets.cells import EPOCH_MS, Field
from reclab.datasets.keys import first_rows
from reclab.datasets.readers import Dialect, read_rows
from reclab.datasets.report import LoadedLogs, LoadReport

CSV = r"\.csv(\.gz)?"
ROLES = {
    "log": r"log_(standard|random)_\d+_\d+_to_\d+_\d+_(pure|1k|27k).*" + CSV,
    "users": r"user_features_(pure|1k|27k)" + CSV,
    "videos": r"video_features_basic_(pure|1k|27k).*" + CSV,
}
LOG_ROLES = ("log",)
EXPECTED = (
    "log_standard_*.csv, log_random_*.csv, user_features_*.csv and video_features_basic_*.csv"
)
MARKS = ("play_time_ms", "is_rand")
UTC_OFFSET_H = 8

FLAGS = {
    "is_click": "is_click",
    "is_like": "is_like",
    "is_follow": "is_follow",
    "is_comment": "is_comment",
    "is_forward": "is_forward",
    "long_view": "is_long_view",
    "is_rand": "is_random",
}
LOG = (
    Field("user_id", low=0),
    Field("video_id", low=0),
    Field("time_ms", **EPOCH_MS),
    *(Field(name, low=0, high=1) for name in FLAGS),
    Field("play_time_ms", low=0),
    Field("duration_ms", low=0),
    *(
        Field(name, required=False)
        for name in ("is_hate", "profile_stay_time", "comment_stay_time", "is_profile_enter", "tab")
    ),
)
PEOPLE = (
    Field("user_id", low=0),
    Field("user_active_degree", "text", required=False),
    *(
        Field(name, "float", required=False)
        for name in ("follow_user_num", "fans_user_num", "friend_user_num", "register_days")
    ),
)
VIDEOS = (
    Field("video_id", low=0),
    Field("author_id", required=False, low=0),
    Field("video_type", "text", required=False),
    Field("upload_dt", "text", required=False),
    Field("video_duration", "float", required=False, low=0),
    Field("music_id", "float", required=False),
    Field("tag", "text", required=False),
)


def load(files: dict[str, list[Path]], report: LoadReport) -> LoadedLogs:
    """Read the recognised files of one variant. Raises ``DataError`` where a folder holds logs of
    several variants, whose user numbers do not belong together."""
    report.utc_offset_h = UTC_OFFSET_H
    variants = sorted({_variant(path) for path in files.get("log", [])})
    if len(variants) > 1:
        raise DataError(
            f"{report.source} holds logs of several variants ({', '.join(variants)}) whose ids do "
            "not belong together; give the folder of one of them"
        )
    rows = read_rows(files["log"], LOG, report) if "log" in files else None
    extra: dict[str, Table] = {}
    users = _users(_matching(files, "users", variants, report), extra, report)
    items, tag_names = _videos(files.get("videos"), extra, report)
    if items is not None and rows is not None:
        items = _checked(items, rows, files["videos"], variants, report)
    if rows is not None:
        items = with_logged_duration(items, rows["video_id"], rows["duration_ms"])
    log = _log(rows) if rows is not None else None
    return assemble(report, log, users, items, tag_names if items else (), extra)


def _variant(path: Path) -> str:
    found = re.findall(r"_(pure|1k|27k)", path.name.lower())
    return found[-1] if found else "unknown"


def _matching(
    files: dict[str, list[Path]], role: str, variants: list[str], report: LoadReport
) -> list[Path] | None:
    """The files of the log's own variant: user numbers were given anew for each."""
    paths = files.get(role)
    if paths is None:
        return None
    fitting = [path for path in paths if not variants or _variant(path) in variants]
    for path in paths:
        if path not in fitting:
            report.notes.append(f"{path.name} left out: the log is of variant {variants[0]}")
    return fitting or None


def _log(rows: Columns) -> Columns:
    watch, length = rows["play_time_ms"] / 1000, rows["duration_ms"] / 1000
    log = {name: rows[source].astype(bool) for source, name in FLAGS.items()}
    log |= watched(watch, length)
    log |= {name: rows[name] for name in ("user_id", "video_id")}
    return log | {"epoch_ms": rows["time_ms"]}


def watched(watch_sec: Array, duration_sec: Array) -> Columns:
    """Watch time and the three flags of table 2.3 that follow from it."""
    return {
        "watch_sec": watch_sec,
        "is_short_watch": watch_sec < 3,
        "is_valid_play": watch_sec > 6,
        "is_complete": (watch_sec >= duration_sec) & (duration_sec > 0),
    }


def _users(paths: list[Path] | None, extra: dict[str, Table], report: LoadReport) -> Columns | None:
    if paths is None:
        return None
    rows = read_rows(paths, PEOPLE, report, Dialect(quoted=True), "user_id")
    extra["users"] = Table(rows)
    users = {"user_id": rows["user_id"]}
    if "register_days" in rows and not np.isnan(rows["register_days"]).any():
        users["is_new_user"] = rows["register_days"] <= 7
    return users


def _videos(
    paths: list[Path] | None, extra: dict[str, Table], report: LoadReport
) -> tuple[Columns | None, tuple[str, ...]]:
    if paths is None:
        return None, ()
    rows = read_rows(paths, VIDEOS, report, Dialect(quoted=True), "video_id")
    items: Columns = {"video_id": rows["video_id"]}
    tag_names: tuple[str, ...] = ()
    if "author_id" in rows:
        items["author_id"] = rows["author_id"]
    if "video_duration" in rows:
        items["duration_sec"] = rows["video_duration"] / 1000
    if "upload_dt" in rows:
        items["publish_epoch_ms"] = midnight_ms(rows["upload_dt"])
    if "tag" in rows:
        items["tags"], tag_names = numbered_tags(rows["tag"], ",")
    rest = {name: rows[name] for name in ("video_type", "music_id") if name in rows}
    extra["items"] = Table({"video_id": rows["video_id"], **rest})
    return items, tag_names


def midnight_ms(days: Array, utc_offset_h: int = UTC_OFFSET_H) -> Array:
    """Epoch ms of the local midnight of texts such as ``2022-04-10``; ``NO_DATE`` where none."""
    said, code = np.unique(days.astype(str), return_inverse=True)
    good = [re.fullmatch(r"\d{4}-[01]\d-[0-3]\d", text) is not None for text in said]
    when = [
        int(np.datetime64(text, "ms").astype(np.int64)) - utc_offset_h * 3_600_000
        if fine
        else int(NO_DATE)
        for text, fine in zip(said, good, strict=True)
    ]
    return np.array(when, np.int64)[code]


def _checked(
    items: Columns, rows: Columns, paths: list[Path], variants: list[str], report: LoadReport
) -> Columns | None:
    """Video features of another variant are joined only if durations prove that ids agree."""
    if any(_variant(path) in variants for path in paths) or "duration_sec" not in items:
        return items
    order = np.argsort(items["video_id"])
    at = np.searchsorted(items["video_id"][order], rows["video_id"])
    at = order[np.minimum(at, len(order) - 1)]
    joint = items["video_id"][at] == rows["video_id"]
    known = joint & ~np.isnan(items["duration_sec"][at])
    agree = np.isclose(items["duration_sec"][at], rows["duration_ms"] / 1000)[known]
    names = ", ".join(path.name for path in paths)
    if len(agree) and agree.mean() > 0.99:
        report.notes.append(
            f"{names} is of another variant than the log; joined, because the durations agree in "
            f"{int(agree.sum()):,} of {len(agree):,} rows"
        )
        return items
    report.notes.append(f"{names} left out: of another variant, and the durations do not agree")
    return None


def with_logged_duration(items: Columns | None, logged: Array, duration_ms: Array) -> Columns:
    """Durations that the catalogue lacks are read off the log (0 there means unknown)."""
    ids, first = first_rows(logged)
    whole = overlay([{"video_id": ids}] if items is None else [items, {"video_id": ids}])
    length = whole.get("duration_sec", np.full(len(whole["video_id"]), np.nan))
    at = np.searchsorted(whole["video_id"], ids)
    said = duration_ms[first] / 1000
    length[at] = np.where(np.isnan(length[at]) & (said > 0), said, length[at])
    return {**whole, "duration_sec": length}
