"""The fixed evaluation protocols on real logs, as arrays.

Globo's day: learn from the clicks before 18:00 as stamped (UTC); test every later click of that
day that has an earlier click in its session, given the session so far. What the session has read
already is never recommended, so with k(s) the first k items of a ranking that s has not read,

    HR@k = mean over tests of [target in k(s)].

Frozen models stop at 18:00; refreshed ones may use every click strictly before the test's time
(or before the last multiple of five minutes).

MovieLens 100K: ``split/ml100k_rank.parquet``, rows in global time order, 80/10/10 by time, label
``rating >= 4``, history = the last 20 liked films of strictly earlier seconds. And
``split/ml100k_leave_last_out.parquet``: each user's last film is the test, found among all films
that the user has not rated before; every rating counts as a positive.

Reference: Ludewig and Jannach, "Evaluation of session-based recommendation algorithms", UMUAI
2018, for next-item tests within sessions.

Simplified: industry tests on several days and reports each; one day has one news cycle.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from reclab.core.clock import DAY_MS, HOUR_MS
from reclab.core.errors import DataError, check_int
from reclab.core.tables import Array, Logs, Table
from reclab.datasets.recognise import load
from reclab.datasets.report import LoadedLogs

CUT_MS = 18 * HOUR_MS


@dataclass(frozen=True)
class NextClicks:
    """Tests of the protocol ``next click in the session``; n tests in order of time.

    ``train``: logs with the clicks before the cut only. ``logs``: with all clicks, for refreshed
    models. ``history`` (n, longest): the session so far as item rows of ``logs.items``, newest
    last, padded at the left with -1. ``target`` (n,) item row, ``time_ms`` (n,), ``session_id``
    (n,), ``user_row`` (n,) position in ``logs.users``.
    """

    logs: Logs
    train: Logs
    history: Array
    target: Array
    time_ms: Array
    session_id: Array
    user_row: Array

    def __len__(self) -> int:
        return len(self.target)

    def hits(self, ranked: Array, k: int = 20) -> Array:
        """(n,) bool: is the target among the first ``k`` items not yet read in the session?

        ``ranked``: (n, m) or (m,) item rows, best first, -1 = none, each item at most once;
        ``m >= k + longest history`` for an exact answer, since read items are skipped.
        """
        check_int("NextClicks.hits k", k, 1, 100_000, "20")
        each = np.broadcast_to(ranked, (len(self), ranked.shape[-1]))
        hit = np.zeros(len(self), bool)
        for start in range(0, len(self), 4096):
            part = slice(start, start + 4096)
            hit[part] = _hits(each[part], self.history[part], self.target[part], k)
        return hit

    def hit_rate(self, ranked: Array, k: int = 20) -> float:
        """HR@k of a ranking, see ``hits``."""
        return float(self.hits(ranked, k).mean())


def _hits(ranked: Array, history: Array, target: Array, k: int) -> Array:
    """The target's place, less the read items ranked before it, is below ``k``."""
    match = ranked == target[:, None]
    place = np.where(match.any(axis=1), match.argmax(axis=1), ranked.shape[1])
    above = np.zeros(len(target), np.int64)
    longest = int((history >= 0).sum(axis=1).max(initial=0))
    for step in range(1, longest + 1):
        read = history[:, -step]
        some = np.flatnonzero(read >= 0)
        found = ranked[some] == read[some, None]
        before = found.any(axis=1) & (found.argmax(axis=1) < place[some])
        again = (history[some, history.shape[1] - step + 1 :] == read[some, None]).any(axis=1)
        above[some] += before & ~again
    unread = ~(history == target[:, None]).any(axis=1)
    return unread & (place < ranked.shape[1]) & (place - above < k)


def next_clicks(logs: Logs, cut_ms: int = CUT_MS, end_ms: int = DAY_MS) -> NextClicks:
    """The protocol on any log with ``session_id``: train before ``cut_ms``, test from there until
    ``end_ms``. Raises ``DataError`` where nothing is left to train on or to test."""
    shown = logs.interactions
    when, session = shown["time_ms"], shown["session_id"]
    order = np.lexsort([when, session])
    sessions = session[order]
    first = np.flatnonzero(np.concatenate([[True], sessions[1:] != sessions[:-1]]))
    lengths = np.diff(np.append(first, len(order)))
    step = np.arange(len(order)) - np.repeat(first, lengths)
    tested = (step > 0) & (when[order] >= cut_ms) & (when[order] < end_ms)
    at = np.flatnonzero(tested)
    at = at[np.argsort(order[at], kind="stable")]  # from order of sessions to order of time
    train = logs.between(0, cut_ms)
    if not len(at) or not len(train.interactions):
        raise DataError(
            f"no next clicks between {cut_ms} and {end_ms} ms with clicks before them "
            f"(the log has {len(shown)} rows; typical cut: {CUT_MS}, 18:00)"
        )
    item_row = np.searchsorted(logs.items["video_id"], shown["video_id"])[order]
    longest = int(step[at].max())
    back = at[:, None] - np.arange(longest, 0, -1)
    inside = np.arange(longest, 0, -1) <= step[at][:, None]
    rows = order[at]
    return NextClicks(
        logs=logs,
        train=train,
        history=np.where(inside, item_row[np.maximum(back, 0)], -1),
        target=item_row[at],
        time_ms=when[rows],
        session_id=session[rows],
        user_row=np.searchsorted(np.unique(logs.users["user_id"]), shown["user_id"][rows]),
    )


def globo_day(folder: str | Path) -> NextClicks:
    """Globo's day: cut at 18:00 of the first day, tests until its midnight."""
    return next_clicks(load(folder))


@dataclass(frozen=True)
class RankSplit:
    """MovieLens 100K for rankers. Row i is row i of ``logs.interactions`` (100,000 rows in order
    of time, user, film).

    ``user_row``, ``item_row``, ``label`` (n,) bool, ``time_ms`` (n,), ``part`` (n,) int8 with 0
    train, 1 valid, 2 test by global time, ``part_user`` the same by each user's own time,
    ``history`` (n, 20) item rows of liked films, newest last, padded at the left with -1, ``age``
    (n,) years, ``age_bin`` (n,), ``gender`` (n,) 0 female, 1 male, ``occupation`` (n,) number in
    ``occupations``, ``tags`` (n, width) genre numbers of ``logs.tag_names``.
    """

    logs: LoadedLogs
    user_row: Array
    item_row: Array
    label: Array
    time_ms: Array
    part: Array
    part_user: Array
    history: Array
    age: Array
    age_bin: Array
    gender: Array
    occupation: Array
    occupations: tuple[str, ...]
    tags: Array

    def rows(self, part: str) -> Array:
        """Positions of the rows of ``train``, ``valid`` or ``test`` by global time."""
        return np.flatnonzero(self.part == _part(part))


PARTS = ("train", "valid", "test")


def _part(name: str) -> int:
    if name not in PARTS:
        raise DataError(f"part must be one of {', '.join(PARTS)}, got {name!r}")
    return PARTS.index(name)


NEEDED = (
    "split", "user_id", "item_id", "rating", "label", "timestamp", "age", "age_bin", "gender",
    "occupation", "hist", "split_user",
)  # fmt: skip


def movielens_rank(folder: str | Path) -> RankSplit:
    """Read ``split/ml100k_rank.parquet`` together with the ratings, films and users beside it.

    Raises ``DataError`` if the split is absent, damaged, or not of these ratings.
    """
    path = Path(folder) / "split" / "ml100k_rank.parquet"
    table = _read_split(path)
    logs = load(folder)
    shown = logs.interactions
    pairs = (("user_id", "user_id"), ("item_id", "video_id"), ("rating", "rating"))
    same = table.num_rows == len(shown) and all(
        (table[theirs].to_numpy() == shown[ours]).all() for theirs, ours in pairs
    )
    if not same:
        raise DataError(f"{path} does not belong to the ratings in {folder}")
    item_row = np.searchsorted(logs.items["video_id"], shown["video_id"])
    jobs, job = np.unique(table["occupation"].to_numpy().astype(str), return_inverse=True)
    return RankSplit(
        logs=logs,
        user_row=np.searchsorted(logs.users["user_id"], shown["user_id"]),
        item_row=item_row,
        label=table["label"].to_numpy() == 1,
        time_ms=shown["time_ms"],
        part=_codes(table["split"]),
        part_user=_codes(table["split_user"]),
        history=_histories(table["hist"], logs.items["video_id"]),
        age=table["age"].to_numpy(),
        age_bin=table["age_bin"].to_numpy(),
        gender=np.asarray(pc.equal(table["gender"], "M")).astype(np.int8),
        occupation=job,
        occupations=tuple(jobs.tolist()),
        tags=logs.items["tags"][item_row],
    )


def _read_split(path: Path, needed: tuple[str, ...] = NEEDED) -> pa.Table:
    if not path.exists():
        raise DataError(f"{path} does not exist (expected the fixed split of MovieLens 100K)")
    try:
        with pq.ParquetFile(path) as file:
            missing = [name for name in needed if name not in file.schema_arrow.names]
            if missing:
                raise DataError(f"{path} lacks {', '.join(missing)}")
            return file.read(columns=list(needed))
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path} is damaged: {str(error).splitlines()[0]}") from error


def _codes(column: pa.ChunkedArray) -> Array:
    return np.asarray(pc.index_in(column, value_set=pa.array(PARTS))).astype(np.int8)


def _histories(column: pa.ChunkedArray, ids: Array, width: int = 20) -> Array:
    """(n, width) item rows, newest last, padded at the left with -1."""
    lists = column.combine_chunks()
    counts = pc.list_value_length(lists).to_numpy(zero_copy_only=False)
    films = np.searchsorted(ids, pc.list_flatten(lists).to_numpy(zero_copy_only=False))
    rows = np.repeat(np.arange(len(counts)), counts)
    place = np.arange(len(films)) - np.repeat(np.cumsum(counts) - counts, counts)
    history = np.full((len(counts), width), -1, np.int64)
    history[rows, width - np.repeat(counts, counts) + place] = films
    return history


@dataclass(frozen=True)
class LastOut:
    """Tests of the protocol ``each user's last film``; one a user, in order of users.

    ``train``: logs with the ratings before it only, without ``is_like``: every rating counts.
    ``history`` (U, longest): all of them as item rows, newest last, -1 padded at the left.
    ``target`` (U,) item row.
    """

    train: Logs
    history: Array
    target: Array

    def __len__(self) -> int:
        return len(self.target)

    def scores(self, ranked: Array, k: int = 10) -> tuple[float, float]:
        """HR@k and NDCG@k = mean of 1 / log2(place + 2) of targets at a place < k.

        ``ranked``: (U, m) or (m,) item rows, best first, -1 = none. What a user rated before is
        skipped, so ``m >= k + longest history`` for an exact answer unless it is left out already.
        """
        check_int("LastOut.scores k", k, 1, 100_000, "10")
        each = np.broadcast_to(ranked, (len(self), ranked.shape[-1]))
        gains = np.zeros(len(self))
        for user, (row, rated) in enumerate(zip(each, self.history, strict=True)):
            left = row[(row >= 0) & ~np.isin(row, rated)][:k]
            place = np.flatnonzero(left == self.target[user])
            gains[user] = 1.0 / np.log2(place[0] + 2.0) if len(place) else 0.0
        return float((gains > 0).mean()), float(gains.mean())


def movielens_leave_last_out(folder: str | Path, back: int = 0) -> LastOut:
    """Read ``split/ml100k_leave_last_out.parquet`` together with the films beside it.

    ``back`` 0: the test, learning from all ratings before each user's last; 1: the validation, one
    rating earlier. Ties in time keep the order of the split's file. Raises ``DataError`` if the
    split is absent, damaged, or not of these ratings.
    """
    check_int("movielens_leave_last_out back", back, 0, 10, "0 (test) or 1 (validation)")
    path = Path(folder) / "split" / "ml100k_leave_last_out.parquet"
    table, logs = _read_split(path, ("u", "i", "t", "rank_from_end")), load(folder)
    user, item, when, left = (table[n].to_numpy() for n in ("u", "i", "t", "rank_from_end"))
    ids = logs.interactions
    theirs, ours = np.lexsort([item, user]), np.lexsort([ids["video_id"], ids["user_id"]])
    pairs = (user[theirs] + 1, ids["user_id"][ours]), (item[theirs] + 1, ids["video_id"][ours])
    if len(user) != len(ids) or not all((a == b).all() for a, b in pairs):
        raise DataError(f"{path} does not belong to the ratings in {folder}")
    item_row = np.searchsorted(logs.items["video_id"], item + 1)
    learn = left > back
    by_time = np.argsort(when[learn], kind="stable")
    shown = {"user_id": user[learn] + 1, "video_id": item[learn] + 1}
    shown["time_ms"] = (when[learn] - when.min()) * 1000
    train = Table({name: values[by_time] for name, values in shown.items()})
    counts = np.bincount(user[learn])
    history = np.full((len(counts), counts.max()), -1, np.int64)
    history[np.arange(counts.max()) >= counts.max() - counts[:, None]] = item_row[learn]
    return LastOut(replace(logs, interactions=train), history, item_row[left == back])
