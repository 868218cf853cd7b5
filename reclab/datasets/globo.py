"""Globo.com: clicks of a news portal, October 2017, by hour, with the start of each session.

Read are the publisher's ``clicks/clicks_hour_*.csv`` (or ``clicks_sample.csv``) with
``articles_metadata.csv``, and Parquet files with the same columns. Times are epoch milliseconds
and are taken as stamped (UTC): 18:00 as stamped was 15:00 in Brasília. Only clicks were
published, no impressions: ``is_click`` is true in every row, and ``session_size`` counts them.

Reference: Moreira, Ferreira and da Cunha, "News Session-Based Recommendations using Deep Neural
Networks", DLRS 2018.

Simplified: the article embeddings of the publisher (a pickle) are not read.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from reclab.core.tables import Table
from reclab.datasets.assemble import Columns, assemble, tag_matrix
from reclab.datasets.cells import EPOCH_MS, Field
from reclab.datasets.keys import first_rows
from reclab.datasets.readers import read_rows
from reclab.datasets.report import LoadedLogs, LoadReport

ROLES = {
    "clicks": r"clicks_(hour_\d+|sample|\d+day.*)\.(csv|csv\.gz|parquet)",
    "articles": r"articles_metadata\.csv(\.gz)?",
}
LOG_ROLES = ("clicks",)
EXPECTED = "clicks/clicks_hour_*.csv and articles_metadata.csv"
MARKS = ("click_article_id", "click_timestamp")

CLICKS = (
    Field("user_id", low=0),
    Field("session_id", low=0),
    Field("session_start", required=False, low=0),
    Field("session_size", required=False, low=0),
    Field("click_article_id", low=0),
    Field("click_timestamp", **EPOCH_MS),
    Field("click_environment", required=False),
    Field("click_deviceGroup", required=False),
    Field("click_os", required=False),
    Field("click_country", required=False),
    Field("click_region", required=False, high=32_000),
    Field("click_referrer_type", required=False),
)
ARTICLES = (
    Field("article_id", low=0),
    Field("category_id", required=False, low=0, high=32_000),
    Field("created_at_ts", required=False),
    Field("publisher_id", required=False),
    Field("words_count", required=False, low=0),
)


def load(files: dict[str, list[Path]], report: LoadReport) -> LoadedLogs:
    """Read the recognised files. Raises ``DataError``."""
    clicks = _without_sample(files.get("clicks", []))
    log = read_rows(clicks, CLICKS, report) if clicks else None
    items, tag_names, extra = None, (), {}
    if "articles" in files:
        items, tag_names, extra = _articles(files["articles"], report)
    else:
        report.notes.append("no articles_metadata.csv: articles have no category or date")
    users = None
    if log is not None:
        users = _users(log)
        extra |= _sessions(log)
        log = {
            "epoch_ms": log["click_timestamp"],
            "user_id": log["user_id"],
            "video_id": log["click_article_id"],
            "session_id": log["session_id"],
            "is_click": np.ones(len(log["user_id"]), bool),
        }
    return assemble(report, log, users, items, tag_names, extra)


def _without_sample(paths: Sequence[Path]) -> list[Path]:
    """The sample repeats clicks of the hourly files, so it is read only where it is alone."""
    whole = [path for path in paths if "sample" not in path.name.lower()]
    return sorted(whole or paths)


def _users(log: Columns) -> Columns | None:
    """A user's region is the one of the user's last click."""
    if "click_region" not in log:
        return None
    order = np.argsort(log["click_timestamp"], kind="stable")[::-1]
    ids, last = np.unique(log["user_id"][order], return_index=True)
    return {"user_id": ids, "region": log["click_region"][order][last]}


def _sessions(log: Columns) -> dict[str, Table]:
    """Epoch time of the start of each session: the base of lateness."""
    if "session_start" not in log:
        return {}
    ids, first = first_rows(log["session_id"])
    start = log["session_start"][first]
    return {"sessions": Table({"session_id": ids, "start_epoch_ms": start})}


def _articles(
    paths: list[Path], report: LoadReport
) -> tuple[Columns, tuple[str, ...], dict[str, Table]]:
    rows = read_rows(paths, ARTICLES, report, key="article_id")
    items: Columns = {"video_id": rows["article_id"]}
    tag_names: tuple[str, ...] = ()
    if "created_at_ts" in rows:
        items["publish_epoch_ms"] = rows["created_at_ts"]
    if "category_id" in rows:
        known = np.flatnonzero(rows["category_id"] >= 0)
        tags = rows["category_id"][known]
        items["tags"] = tag_matrix(known, tags, len(rows["article_id"]))
        tag_names = tuple(f"category {n}" for n in range(int(tags.max(initial=-1)) + 1))
    words = {name: rows[name] for name in ("words_count", "publisher_id") if name in rows}
    extra = {"items": Table({"video_id": rows["article_id"], **words})} if words else {}
    return items, tag_names, extra
