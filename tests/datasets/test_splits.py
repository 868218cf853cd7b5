"""The fixed protocols: known answers on small logs, the published baselines on shared data."""

import hashlib

import numpy as np
import pyarrow.parquet as pq
import pytest

from reclab.core.clock import HOUR_MS
from reclab.core.errors import ConfigError, DataError
from reclab.core.metrics import auc
from reclab.core.tables import Logs, Table
from reclab.datasets.splits import (
    CUT_MS,
    LastOut,
    globo_day,
    movielens_leave_last_out,
    movielens_rank,
    next_clicks,
)

MINUTE = 60_000


def small_logs(rows: list[tuple[float, int, int, int]]) -> Logs:
    """(hour, user, session, item) in order of time."""
    hour, user, session, item = (np.array(column) for column in zip(*rows, strict=True))
    shown = Table(
        {
            "time_ms": (hour * HOUR_MS).astype(np.int64),
            "user_id": user,
            "session_id": session,
            "video_id": item,
        }
    )
    users, items = Table({"user_id": np.unique(user)}), Table({"video_id": np.unique(item)})
    return Logs(users, items, shown)


def test_tests_are_later_clicks_with_a_session_before_them():
    rows = [(17, 8, 1, 50), (17.5, 9, 2, 60), (18, 8, 1, 70), (18.5, 9, 3, 50), (19, 8, 1, 60)]
    day = next_clicks(small_logs([*rows, (24, 8, 1, 80)]))
    assert day.train.interactions["video_id"].tolist() == [50, 60]
    assert day.target.tolist() == [2, 1] and day.user_row.tolist() == [0, 0]
    assert day.history.tolist() == [[-1, 0], [0, 2]]
    assert day.time_ms.tolist() == [18 * HOUR_MS, 19 * HOUR_MS]
    assert day.session_id.tolist() == [1, 1]


def test_a_log_without_later_clicks_is_refused():
    with pytest.raises(DataError, match="no next clicks"):
        next_clicks(small_logs([(1, 1, 1, 1), (2, 1, 1, 2)]))


def test_hits_skip_what_the_session_has_read():
    rng = np.random.default_rng(3)
    rows = [(17.0, 0, s, int(rng.integers(12))) for s in range(6)]
    rows += [(18 + i / 100, 0, int(rng.integers(6)), int(rng.integers(12))) for i in range(80)]
    day = next_clicks(small_logs(rows))
    ranked = np.argsort(rng.random((len(day), 12)), axis=1)
    ranked[:, -2:] = -1
    for k in (1, 3, 9):
        expected = []
        for row in range(len(day)):
            read = set(day.history[row].tolist())
            rest = [i for i in ranked[row].tolist() if i >= 0 and i not in read]
            expected.append(int(day.target[row]) in rest[:k])
        assert day.hits(ranked, k).tolist() == expected
    with pytest.raises(ConfigError, match="k must be >= 1"):
        day.hits(ranked, 0)


def most_read(item_row: np.ndarray, n_items: int, k: int = 120) -> np.ndarray:
    return np.argsort(-np.bincount(item_row, minlength=n_items), kind="stable")[:k]


def test_globo_popularity_has_the_published_hit_rates(shared):
    day = globo_day(shared("globo"))
    n_items = len(day.logs.items)
    shown = day.logs.interactions
    item = np.searchsorted(day.logs.items["video_id"], shown["video_id"])
    when = shown["time_ms"]
    before, last_hour = when < CUT_MS, (when < CUT_MS) & (when >= CUT_MS - HOUR_MS)
    assert len(day) == 51_034 and len(day.train.interactions) == 173_451
    assert day.hit_rate(most_read(item[before], n_items)) == pytest.approx(0.245, abs=0.0005)
    assert day.hit_rate(most_read(item[last_hour], n_items)) == pytest.approx(0.369, abs=0.0005)
    starts = np.arange(CUT_MS, 24 * HOUR_MS, 5 * MINUTE)
    windows = [slice(*np.searchsorted(when, [at - HOUR_MS, at])) for at in starts]
    ranked = np.stack([most_read(item[window], n_items) for window in windows])
    rolling = ranked[(day.time_ms - CUT_MS) // (5 * MINUTE)]
    assert day.hit_rate(rolling) == pytest.approx(0.632, abs=0.0006)


def test_globo_histories_are_the_session_so_far(shared):
    day = globo_day(shared("globo"))
    shown = day.logs.interactions
    ids = day.logs.items["video_id"]
    for row in np.random.default_rng(0).choice(len(day), 50, replace=False):
        mine = shown["session_id"] == day.session_id[row]
        mine &= shown["time_ms"] < day.time_ms[row]
        expected = shown["video_id"][mine].tolist()
        history = day.history[row]
        got = ids[history[history >= 0]].tolist()
        assert got[: len(expected)] == expected  # clicks of the same millisecond come after


def test_the_movielens_split_is_the_fixed_one(shared):
    folder = shared("movielens_100k")
    split = movielens_rank(folder)
    assert [len(split.rows(part)) for part in ("train", "valid", "test")] == [
        80_000,
        10_000,
        10_000,
    ]
    table = pq.read_table(folder / "split" / "ml100k_rank.parquet").to_pandas()
    names = ["row", "split", "user_id", "item_id", "label", "timestamp", "hist_len"]
    from pandas.util import hash_pandas_object

    digest = hashlib.sha256(hash_pandas_object(table[names]).to_numpy().tobytes()).hexdigest()
    assert digest == "0bc92fdbe7d81407249eef8b342f425fb2cb62c4ab41502dd282a0e4cd7d345f"
    assert np.array_equal((split.history >= 0).sum(axis=1), table["hist_len"])
    assert np.array_equal(split.label, split.logs.interactions["is_like"])
    with pytest.raises(DataError, match="part must be one of"):
        split.rows("holdout")


def test_movielens_histories_are_liked_films_of_earlier_seconds(shared):
    split = movielens_rank(shared("movielens_100k"))
    for row in np.random.default_rng(1).choice(100_000, 60, replace=False):
        earlier = (split.user_row == split.user_row[row]) & split.label
        earlier &= split.time_ms < split.time_ms[row]
        history = split.history[row][split.history[row] >= 0]
        assert len(history) == min(20, int(earlier.sum()))
        assert set(history.tolist()) <= set(split.item_row[earlier].tolist())


def test_the_movielens_item_mean_has_the_published_auc(shared):
    split = movielens_rank(shared("movielens_100k"))
    train, test = split.rows("train"), split.rows("test")
    n_items = len(split.logs.items)
    seen = np.bincount(split.item_row[train], minlength=n_items)
    liked = np.bincount(split.item_row[train], split.label[train], n_items)
    mean = (liked + 5 * split.label[train].mean()) / (seen + 5)
    assert auc(split.label[test], mean[split.item_row[test]]) == pytest.approx(0.706, abs=0.001)


def test_a_missing_damaged_or_foreign_split_is_refused(ml_atomic):
    with pytest.raises(DataError, match="does not exist"):
        movielens_rank(ml_atomic)
    path = ml_atomic / "split" / "ml100k_rank.parquet"
    path.parent.mkdir()
    path.write_bytes(b"nothing")
    with pytest.raises(DataError, match="is damaged"):
        movielens_rank(ml_atomic)
    pq.write_table(Table({"row": np.arange(3)}).to_arrow(), path)
    with pytest.raises(DataError, match="lacks split, user_id"):
        movielens_rank(ml_atomic)


def test_the_place_of_the_last_film_counts_among_those_not_rated_before():
    history = np.array([[-1, 4], [0, 1], [2, 3]])
    tests = LastOut(small_logs([(1, 1, 1, 1)]), history, target=np.array([5, 3, 9]))
    ranked = np.array([[4, 7, 5], [3, 0, 1], [2, 3, 4]])  # places 1, 0, none
    assert tests.scores(ranked, 2) == pytest.approx((2 / 3, (1 / np.log2(3) + 1) / 3))
    assert tests.scores(ranked, 1) == pytest.approx((1 / 3, 1 / 3))
    assert tests.scores(np.array([-1, 9, 3, 5]), 1) == pytest.approx((1 / 3, 1 / 3))


@pytest.mark.parametrize("back", [0, 1])
def test_leave_last_out_learns_from_all_that_came_before(shared, back):
    tests = movielens_leave_last_out(shared("movielens_100k"), back)
    shown, films = tests.train.interactions, tests.train.items["video_id"]
    assert len(tests) == 943 and len(shown) == 100_000 - 943 * (1 + back)
    assert len(shown) == (tests.history >= 0).sum() and tests.train.positive.all()
    assert (np.diff(shown["time_ms"]) >= 0).all()
    assert not (tests.history == tests.target[:, None]).any()
    for user in (0, 17, 942):
        mine = films[tests.history[user][tests.history[user] >= 0]]
        assert sorted(mine) == sorted(shown["video_id"][shown["user_id"] == user + 1])
    n_rated = np.bincount(np.searchsorted(films, shown["video_id"]), minlength=len(films))
    most = tests.scores(np.argsort(-n_rated, kind="stable"))
    if not back:
        assert most == pytest.approx((0.086, 0.045), abs=0.0005)


def test_leave_last_out_of_other_ratings_is_refused(ml_atomic):
    with pytest.raises(DataError, match="does not exist"):
        movielens_leave_last_out(ml_atomic)
    path = ml_atomic / "split" / "ml100k_leave_last_out.parquet"
    path.parent.mkdir()
    rows = {name: np.array([0, 1]) for name in ("u", "i", "t", "rank_from_end")}
    pq.write_table(Table(rows).to_arrow(), path)
    with pytest.raises(DataError, match="does not belong to the ratings"):
        movielens_leave_last_out(ml_atomic)
