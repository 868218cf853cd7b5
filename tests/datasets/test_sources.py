"""Each data set, in its publisher's format, becomes the four tables."""

import numpy as np
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest

from reclab.core.clock import DAY_MS, HOUR_MS
from reclab.core.tables import TABLES
from reclab.datasets import load

from .conftest import BEIJING_8AM, NOON, write


@pytest.mark.parametrize(
    "name", ["globo", "ml_100k", "ml_atomic", "ml_small", "kuairand", "kuairec"]
)
def test_tables_hold_only_declared_columns_of_the_declared_type(name, request):
    logs = load(request.getfixturevalue(name))
    for table_name, declared in TABLES.items():
        table = getattr(logs, table_name)
        types = {column.name: column.dtype for column in declared}
        assert {column: str(table[column].dtype) for column in table}.items() <= types.items()


@pytest.mark.parametrize(
    "name", ["globo", "ml_100k", "ml_atomic", "ml_small", "kuairand", "kuairec"]
)
def test_time_starts_on_the_first_day_and_every_id_of_the_log_has_its_row(name, request):
    logs = load(request.getfixturevalue(name))
    when = logs.interactions["time_ms"]
    assert 0 <= when[0] < DAY_MS and (np.diff(when) >= 0).all()
    assert np.isin(logs.interactions["user_id"], logs.users["user_id"]).all()
    assert np.isin(logs.interactions["video_id"], logs.items["video_id"]).all()
    for table, key in ((logs.users, "user_id"), (logs.items, "video_id")):
        assert (np.diff(table[key]) > 0).all()


def test_globo_clicks_become_interactions_on_the_stamped_clock(globo):
    logs = load(globo)
    shown = logs.interactions
    assert logs.origin == "globo"
    assert shown["video_id"].tolist() == [30, 30, 10, 20]
    assert shown["time_ms"][0] == 12 * HOUR_MS + 1000
    assert shown["session_id"].tolist() == [1, 2, 1, 2]
    assert shown["is_click"].all() and "is_like" not in shown
    assert logs.report.first_midnight_ms == NOON - 12 * HOUR_MS
    assert logs.report.moment(shown["time_ms"][0]) == "2017-10-10 12:00:01"
    assert logs.users["region"].tolist() == [9, 25]  # of the last click
    assert logs.items["tags"][:, 0].tolist() == [0, 2, 1, 2]
    assert logs.items["publish_ms"][0] == 12 * HOUR_MS - DAY_MS
    sessions = logs.extra["sessions"]
    assert sessions["start_epoch_ms"].tolist() == [NOON, NOON + 5000]


def test_globo_has_clicks_but_no_impressions_in_the_day_table(globo):
    daily = load(globo).daily
    assert "impressions" not in daily and daily["clicks"].tolist() == [1] * 4
    assert daily["day"].tolist() == [0, 0, 0, 1]


def test_globo_parquet_with_shuffled_columns_reads_like_the_csv(globo, tmp_path):
    files = sorted((globo / "clicks").iterdir())
    table = pacsv.read_csv(files[0])
    assert table.num_rows == 2
    path = tmp_path / "clicks_1day_x.parquet"
    pq.write_table(table.select(table.column_names[::-1]), path)
    one, other = load(files[0]), load(path)
    for column in one.interactions:
        assert np.array_equal(one.interactions[column], other.interactions[column])


def test_the_globo_sample_is_read_only_where_it_is_alone(globo):
    hours = sorted((globo / "clicks").iterdir())
    sample = write(globo / "clicks_sample.csv", hours[0].read_text())
    assert len(load(globo).interactions) == 4
    assert len(load(sample).interactions) == 2


def test_movielens_forms_agree(ml_100k, ml_atomic):
    one, other = load(ml_100k), load(ml_atomic)
    for name in ("users", "interactions"):
        a, b = getattr(one, name), getattr(other, name)
        assert list(a) == list(b) and all(np.array_equal(a[c], b[c]) for c in a)
    words = [
        [[logs.tag_names[t] for t in row if t >= 0] for row in logs.items["tags"]]
        for logs in (one, other)
    ]
    assert words[0] == words[1] == [["Drama", "Romance", "War", "Western"], ["Comedy"]]


def test_movielens_likes_are_ratings_of_four_and_more(ml_100k):
    logs = load(ml_100k)
    shown = logs.interactions
    assert shown["video_id"].tolist() == [51, 242, 242]  # one second: by user and film
    assert shown["rating"].tolist() == [4.0, 3.0, 5.0]
    assert shown["is_like"].tolist() == [True, False, True] == logs.positive.tolist()
    assert "is_click" not in shown and "watch_sec" not in shown
    assert logs.users["gender"].tolist() == [0, 1, -1]
    assert logs.extra["items"]["title"].tolist() == ["Légendes (1994)", "Kolya (1996)"]
    release = np.datetime64("1997-01-24", "ms").astype(int) - logs.report.first_midnight_ms
    assert logs.items["publish_ms"][1] == release


def test_movielens_latest_small_reads_titles_with_commas_and_quotes(ml_small):
    logs = load(ml_small)
    titles = logs.extra["items"]["title"].tolist()
    assert titles == ["Toy Story (1995)", "American President, The (1995)", 'Say "Hi" (1995)']
    assert (logs.items["tags"][2] == -1).all() and "(no genres listed)" not in logs.tag_names
    assert logs.users["user_id"].tolist() == [1, 2] and list(logs.users) == ["user_id"]


def test_kuairand_feedback_gets_the_names_of_the_chapter(kuairand):
    logs = load(kuairand)
    shown = logs.interactions
    assert shown["time_ms"].tolist() == [8 * HOUR_MS - 1, 8 * HOUR_MS, 8 * HOUR_MS]  # Beijing
    assert logs.report.first_midnight_ms == BEIJING_8AM - 8 * HOUR_MS
    assert shown["is_random"].tolist() == [True, False, False]
    assert shown["watch_sec"].tolist() == pytest.approx([6.5, 20.5, 0.9])
    expected = {
        "is_click": [1, 1, 0],
        "is_long_view": [0, 1, 0],
        "is_short_watch": [0, 0, 1],
        "is_valid_play": [1, 1, 0],
        "is_complete": [0, 1, 0],
        "is_follow": [1, 0, 0],
        "is_comment": [1, 0, 0],
        "is_forward": [0, 1, 0],
        "is_like": [0, 1, 0],
    }
    for name, values in expected.items():
        assert shown[name].tolist() == [bool(v) for v in values], name
    assert "is_share" not in shown


def test_kuairand_items_keep_author_tags_and_date_and_take_a_lacking_duration_from_the_log(
    kuairand,
):
    logs = load(kuairand)
    items = logs.items
    assert items["video_id"].tolist() == [2, 5, 9]
    assert items["author_id"].tolist() == [77, 79, 78]
    assert items["tags"].tolist() == [[39, -1], [-1, -1], [39, 4]]
    assert logs.tag_names[39] == "39"
    assert items["duration_sec"].tolist() == [20.0, 7.0, 20.0]
    assert items["publish_ms"].tolist() == [-DAY_MS, 0, -1]  # -1: not said
    assert logs.users["is_new_user"].tolist() == [False, True, False]


def test_kuairand_logs_of_two_variants_are_refused_and_features_of_another_are_left_out(kuairand):
    data = kuairand / "data"
    log = data / "log_standard_4_08_to_4_21_pure.csv"
    other = data / "log_standard_4_08_to_4_21_1k.csv"
    other.write_text(log.read_text())
    with pytest.raises(ValueError, match="several variants \\(1k, pure\\)"):
        load(kuairand)
    for path in data.glob("log_*pure.csv"):
        path.unlink()
    logs = load(kuairand)
    assert logs.users["user_id"].tolist() == [3]
    assert "user_features_pure.csv left out" in str(logs.report)
    assert "author_id" in logs.items  # the durations prove that video ids agree
    other.write_text(other.read_text().replace(",20000,", ",20001,"))
    assert "author_id" not in load(kuairand).items


def test_kuairec_views_have_watch_times_and_no_click(kuairec):
    logs = load(kuairec)
    shown = logs.interactions
    assert "is_click" not in shown
    assert shown["watch_sec"].tolist() == pytest.approx([13.838, 1.0])
    assert shown["is_long_view"].tolist() == [True, False]
    assert shown["is_complete"].tolist() == [True, False]
    assert shown["time_ms"][0] == 8 * 60_000 + 23_438  # 00:08:23.438 in Beijing
    assert logs.report.rejected.by_reason() == {"exact duplicate of an earlier row": 1}


def test_kuairec_items_join_four_files(kuairec):
    logs = load(kuairec)
    items = logs.items
    assert items["tags"].tolist() == [[27, 9], [8, -1]]
    assert (logs.tag_names[27], logs.tag_names[8], logs.tag_names[9]) == ("高新数码", "颜值", "9")
    assert items["like_cnt"].tolist() == [17, 1]
    assert items["author_id"].tolist() == [5, 6]
    assert items["duration_sec"].tolist() == pytest.approx([30, 10.867])  # the second of the log
    assert logs.extra["items"]["caption"].tolist() == ['one\ntwo, "three"', ""]


def test_kuairec_small_matrix_alone_loses_rows_without_a_time(kuairec):
    logs = load(kuairec / "data" / "small_matrix.csv")
    assert logs.interactions["user_id"].tolist() == [2]
    assert logs.report.rejected.by_reason() == {"timestamp is missing": 1}


def test_kuairec_without_interactions_says_so_and_loads_its_catalogue_on_request(kuairec):
    for name in ("big_matrix.csv", "small_matrix.csv"):
        (kuairec / "data" / name).unlink()
    with pytest.raises(ValueError, match="without interactions: expected big_matrix.csv .* found"):
        load(kuairec)
    logs = load(kuairec, catalogue_only=True)
    assert len(logs.interactions) == 0 and len(logs.daily) == 0
    assert logs.users["user_id"].tolist() == [0] and len(logs.items) == 2


def test_what_only_some_files_know_is_absent_for_the_other_items(kuairec, kuairand):
    categories = kuairec / "data" / "item_categories.csv"
    categories.write_text(categories.read_text() + "8,[5]\n")
    items = load(kuairec).items
    assert items["video_id"].tolist() == [1, 3, 8]
    assert items["publish_ms"][2] == items["author_id"][2] == items["like_cnt"][2] == -1
    assert np.isnan(items["duration_sec"][2]) and (items["publish_ms"][:2] < -DAY_MS).all()
    log = kuairand / "data" / "log_random_4_22_to_5_08_pure.csv"
    log.write_text(log.read_text().replace("4,2,", "400,600,"))
    logs = load(kuairand)
    assert logs.items["video_id"].tolist() == [2, 5, 9, 600]
    assert logs.items["duration_sec"][3] == 20 and logs.items["author_id"][3] == -1
    assert logs.users["user_id"].tolist() == [3, 4, 8, 400]
    assert "is_new_user" not in logs.users  # nothing is known of user 400, so no flag is guessed
