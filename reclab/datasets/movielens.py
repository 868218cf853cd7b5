"""MovieLens: ratings of films. 100K in GroupLens' own files (u.data, u.item, u.user) or in
RecBole's atomic files (.inter, .item, .user), and latest-small (ratings.csv, movies.csv).

A rating becomes one interaction with ``rating`` (stars) and ``is_like = rating >= 4``. There are
no impressions and no watch times. Rows of one second are ordered by user and film, because the
publisher's files are shuffled. Times are epoch seconds (UTC).

Reference: Harper and Konstan, "The MovieLens Datasets: History and Context", TiiS 2015.

Simplified: stated preferences, given in bursts, are not what a feed sees; see datasets/README.md.
"""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from reclab.core.tables import Array, Table
from reclab.datasets.assemble import NO_DATE, Columns, assemble, named_tags
from reclab.datasets.cells import EPOCH_SEC, Field
from reclab.datasets.readers import Dialect, read_rows
from reclab.datasets.report import LoadedLogs, LoadReport

ROLES = {
    "u_data": r"u\.data(\.gz)?",
    "u_item": r"u\.item(\.gz)?",
    "u_user": r"u\.user(\.gz)?",
    "inter": r"ml-[\w-]+\.inter(\.gz)?",
    "item": r"ml-[\w-]+\.item(\.gz)?",
    "user": r"ml-[\w-]+\.user(\.gz)?",
    "ratings": r"ratings\.csv(\.gz)?",
    "movies": r"movies\.csv(\.gz)?",
}
LOG_ROLES = ("u_data", "inter", "ratings")
EXPECTED = (
    "u.data, u.item and u.user, or ml-100k.inter, .item and .user, or ratings.csv and movies.csv"
)
MARKS = ("rating", "timestamp")
LIKED = 4.0
GENRES = (
    "unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime",
    "Documentary", "Drama", "Fantasy", "Film-Noir", "Horror", "Musical", "Mystery", "Romance",
    "Sci-Fi", "Thriller", "War", "Western",
)  # fmt: skip

RATINGS = (
    Field("user_id", low=0),
    Field("item_id", low=0),
    Field("rating", "float", low=0.5, high=5.0),
    Field("timestamp", "float", **EPOCH_SEC),
)
RATINGS_CSV = (Field("userId", low=0), Field("movieId", low=0), *RATINGS[2:])
PEOPLE = (
    Field("user_id", low=0),
    Field("age", required=False, low=0, high=120),
    Field("gender", "text", required=False),
    Field("occupation", "text", required=False),
    Field("zip_code", "text", required=False),
)
U_ITEM = ("item_id", "movie_title", "release_date", "video_release_date", "url", *GENRES)
TABBED = Dialect(delimiter="\t")


def load(files: dict[str, list[Path]], report: LoadReport) -> LoadedLogs:
    """Read the recognised files; where a folder has several forms, the first of u.data, .inter
    and ratings.csv. Raises ``DataError``."""
    extra: dict[str, Table] = {}
    if "u_data" in files or ("u_item" in files and not {"inter", "ratings"} & set(files)):
        log = _ratings(files.get("u_data"), RATINGS, _plain("\t", RATINGS), report)
        users = _people(files.get("u_user"), _plain("|", PEOPLE), extra, report)
        items, tags = _u_item(files.get("u_item"), extra, report)
    elif "inter" in files or "item" in files:
        log = _ratings(files.get("inter"), RATINGS, TABBED, report)
        users = _people(files.get("user"), TABBED, extra, report)
        items, tags = _atomic(files.get("item"), extra, report)
    else:
        log = _ratings(files.get("ratings"), RATINGS_CSV, Dialect(), report)
        users = None
        items, tags = _movies(files.get("movies"), extra, report)
    for what, got in (("films", items), ("users", users)):
        if got is None:
            report.notes.append(f"the source says nothing about its {what} but their ids")
    return assemble(report, log, users, items, tags, extra)


def _plain(delimiter: str, fields: tuple[Field, ...]) -> Dialect:
    return Dialect(delimiter, names=tuple(field.name for field in fields), encoding="utf8")


def _ratings(
    paths: list[Path] | None, fields: tuple[Field, ...], dialect: Dialect, report: LoadReport
) -> Columns | None:
    if paths is None:
        return None
    rows = read_rows(paths, fields, report, dialect)
    user, item, stars, when = (rows[field.name] for field in fields)
    order = np.lexsort([item, user, when])
    return {
        "epoch_ms": (when[order] * 1000).astype(np.int64),
        "user_id": user[order],
        "video_id": item[order],
        "rating": stars[order],
        "is_like": stars[order] >= LIKED,
    }


def _people(
    paths: list[Path] | None, dialect: Dialect, extra: dict[str, Table], report: LoadReport
) -> Columns | None:
    if paths is None:
        return None
    rows = read_rows(paths, PEOPLE, report, dialect, key="user_id")
    said = {name: rows[name] for name in ("occupation", "zip_code") if name in rows}
    extra["users"] = Table({"user_id": rows["user_id"], **said})
    users = {"user_id": rows["user_id"]}
    if "age" in rows:
        users["age"] = rows["age"]
    if "gender" in rows:
        gender = rows["gender"].astype(str)
        users["gender"] = np.where(gender == "M", 1, np.where(gender == "F", 0, -1))
    return users


def _u_item(
    paths: list[Path] | None, extra: dict[str, Table], report: LoadReport
) -> tuple[Columns | None, tuple[str, ...]]:
    if paths is None:
        return None, ()
    texts = [Field(name, "text", required=False) for name in ("movie_title", "release_date")]
    flags = [Field(name, required=False, low=0, high=1) for name in GENRES]
    dialect = Dialect("|", names=U_ITEM, encoding="latin-1")
    rows = read_rows(paths, [Field("item_id", low=0), *texts, *flags], report, dialect, "item_id")
    names = sorted(GENRES)
    has = np.stack([rows[name] == 1 for name in names], axis=1)
    words = np.array(["|".join(np.array(names)[row]) for row in has], object)
    tags, tag_names = named_tags(words, "|")
    extra["items"] = Table({"video_id": rows["item_id"], "title": rows["movie_title"]})
    day = [_epoch_ms(text) for text in rows["release_date"]]
    items = {"video_id": rows["item_id"], "tags": tags, "publish_epoch_ms": np.array(day, np.int64)}
    return items, tag_names


def _epoch_ms(text: str) -> int:
    """``01-Jan-1995`` as epoch ms; ``NO_DATE`` where there is none."""
    try:
        return int(datetime.strptime(text, "%d-%b-%Y").replace(tzinfo=UTC).timestamp() * 1000)
    except ValueError:
        return int(NO_DATE)


def _atomic(
    paths: list[Path] | None, extra: dict[str, Table], report: LoadReport
) -> tuple[Columns | None, tuple[str, ...]]:
    if paths is None:
        return None, ()
    texts = ("movie_title", "release_year", "class")
    fields = [Field("item_id", low=0), *(Field(name, "text", required=False) for name in texts)]
    rows = read_rows(paths, fields, report, TABBED, "item_id")
    empty = np.full(len(rows["item_id"]), "", object)
    tags, tag_names = _in_order(rows.get("class", empty), " ")
    kept = {"title": "movie_title", "release_year": "release_year"}
    said = {name: rows[source] for name, source in kept.items() if source in rows}
    extra["items"] = Table({"video_id": rows["item_id"], **said})
    return {"video_id": rows["item_id"], "tags": tags}, tag_names


def _in_order(text: Array, separator: str) -> tuple[Array, tuple[str, ...]]:
    """Tags with the genres of a film in alphabetical order, whatever the file's order."""
    words = [separator.join(sorted(cell.split(separator))) for cell in text]
    return named_tags(np.array(words, object), separator)


def _movies(
    paths: list[Path] | None, extra: dict[str, Table], report: LoadReport
) -> tuple[Columns | None, tuple[str, ...]]:
    if paths is None:
        return None, ()
    fields = [Field("movieId", low=0), Field("title", "text"), Field("genres", "text", False)]
    rows = read_rows(paths, fields, report, Dialect(quoted=True), "movieId")
    genres = np.full(len(rows["movieId"]), "", object)
    if "genres" in rows:
        genres = np.where(rows["genres"] == "(no genres listed)", "", rows["genres"])
    tags, tag_names = _in_order(genres, "|")
    extra["items"] = Table({"video_id": rows["movieId"], "title": rows["title"]})
    return {"video_id": rows["movieId"], "tags": tags}, tag_names
