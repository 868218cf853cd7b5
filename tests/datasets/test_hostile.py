"""Damaged files are refused in a sentence; bad rows are set aside and the rest is kept."""

import csv
import gzip
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reclab.core.errors import DataError
from reclab.datasets import load
from reclab.datasets.report import default_rejects

from .conftest import GLOBO_HEADER, NOON, write

GOOD = [f"{u},{u},{NOON},2,{u * 3},{NOON + u * 1000},4,1,17,1,25,2" for u in range(1, 6)]


def clicks(folder: Path, lines: list[str], header: str = GLOBO_HEADER) -> Path:
    return write(folder / "clicks_hour_000.csv", header + "\n".join(lines) + "\n")


def users_of(path: Path) -> list[int]:
    return load(path).interactions["user_id"].tolist()


BAD_LINES = {
    "3,4": "2 fields instead of 12",
    GOOD[0] + ",1": "13 fields instead of 12",
    GOOD[2]: "exact duplicate of an earlier row",
    GOOD[0].replace("1,1,", "x,1,", 1): "user_id is not a whole number",
    GOOD[0].replace("1,1,", "1.5,1,", 1): "user_id is not a whole number",
    GOOD[0].replace("1,1,", ",1,", 1): "user_id is missing",
    GOOD[0].replace("1,1,", "NaN,1,", 1): "user_id is missing",
    GOOD[0].replace("1,1,", "-1,1,", 1): "user_id is below 0",
    GOOD[0].replace("1,1,", "9" * 30 + ",1,", 1): "user_id is not a whole number",
    GOOD[0].replace("1,1,", '"1,1,', 1): "user_id is not a whole number",
    GOOD[0].replace("1,1,", "1\0,1,", 1): "user_id is not a whole number",
    GOOD[0].replace(str(NOON + 1000), "-5"): "click_timestamp is below 6.31152e+11",
    GOOD[0].replace(str(NOON + 1000), "1507636801"): "click_timestamp is below 6.31152e+11",
    GOOD[0].replace(str(NOON), "-1", 1): "session_start is below 0",
    "'; DROP TABLE users; --": "1 fields instead of 12",
}


@pytest.mark.parametrize("bad", BAD_LINES)
@pytest.mark.parametrize("at", [0, 2, 5])
def test_a_bad_line_is_set_aside_with_its_reason_and_the_rest_is_kept(bad, at, tmp_path):
    if BAD_LINES[bad].startswith("exact"):
        at = 5
    if bad.startswith('"'):
        bad = bad.replace('"', '"x')
    path = clicks(tmp_path / "in", [*GOOD[:at], bad, *GOOD[at:]])
    logs = load(path, rejected_to=tmp_path / "out" / "rejected.csv")
    assert logs.interactions["user_id"].tolist() == [1, 2, 3, 4, 5]
    assert list(logs.report.rejected.by_reason()) == [
        list(BAD_LINES.values())[list(BAD_LINES).index(bad.replace('"x', '"'))]
    ]
    assert logs.report.rows_read[path.name] == 6 and logs.report.rows_kept[path.name] == 5
    with (tmp_path / "out" / "rejected.csv").open(newline="", encoding="utf8") as file:
        rows = list(csv.DictReader(line.replace("\0", "") for line in file))
    assert [(row["file"], row["row"]) for row in rows] == [(path.name, str(at + 1))]


LINE = st.tuples(
    st.integers(0, 4),
    st.sampled_from(["good", "short", "long", "letters", "missing", "negative"]),
)


def _spoil(line: str, how: str) -> str:
    cells = line.split(",")
    if how == "short":
        return ",".join(cells[:-1])
    if how == "long":
        return line + ",9"
    cells[4] = {"good": cells[4], "letters": "abc", "missing": "", "negative": "-3"}[how]
    return ",".join(cells)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(LINE, min_size=1, max_size=30))
def test_rows_read_are_rows_kept_and_rejected_whatever_the_damage(tmp_path_factory, drawn):
    lines = [_spoil(GOOD[row], how) for row, how in drawn]
    good = {row + 1 for row, how in drawn if how == "good"}
    path = clicks(tmp_path_factory.mktemp("damage"), lines)
    try:
        logs = load(path)
    except DataError as error:
        assert not good and f"none of the {len(lines)} rows" in str(error)
        return
    assert set(logs.interactions["user_id"].tolist()) == good
    assert len(logs.interactions) == len(good)  # repetitions are rejected as duplicates
    assert logs.report.rows_read[path.name] == len(lines)
    assert len(logs.report.rejected) == len(lines) - len(good)


@pytest.mark.parametrize(
    "damage",
    [lambda data: data[: len(data) // 2], lambda data: data[:-4], lambda data: b"PAR1" * 9],
)
def test_a_damaged_gz_or_parquet_file_is_refused_in_a_sentence_that_names_it(damage, tmp_path):
    text = (GLOBO_HEADER + "\n".join(GOOD * 200)).encode()
    packed = tmp_path / "clicks_hour_000.csv.gz"
    packed.write_bytes(damage(gzip.compress(text)))
    with pytest.raises(DataError, match="clicks_hour_000.csv.gz is damaged or not of its kind"):
        load(packed)
    ids = np.arange(1000)
    columns = {name: ids for name in GLOBO_HEADER.strip().split(",")}
    path = tmp_path / "clicks_1day_a.parquet"
    pq.write_table(pa.table(columns), path)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError, match="clicks_1day_a.parquet is damaged or not of its kind"):
        load(path)


def test_a_truncated_gz_of_quoted_text_is_refused_too(ml_small):
    movies = ml_small / "movies.csv"
    packed = gzip.compress(movies.read_bytes())
    (ml_small / "movies.csv.gz").write_bytes(packed[:-6])
    movies.unlink()
    with pytest.raises(DataError, match="movies.csv.gz is damaged"):
        load(ml_small)


def test_columns_may_come_in_any_order_with_others_between_and_a_mark_before(tmp_path):
    names = GLOBO_HEADER.strip().split(",")
    order = [*range(11, -1, -1)]
    lines = [",".join([line.split(",")[i] for i in order] + ["more"]) for line in GOOD]
    header = "\ufeff" + ",".join([names[i] for i in order] + ["unknown"]) + "\r\n"
    path = write(tmp_path / "clicks_hour_000.csv", header + "\r\n".join(lines))
    assert users_of(path) == [1, 2, 3, 4, 5]


def test_a_missing_required_column_is_named_and_a_missing_optional_one_is_absent(tmp_path):
    with pytest.raises(DataError, match="lacks the column user_id"):
        load(clicks(tmp_path, GOOD, GLOBO_HEADER.replace("user_id", "uid")))
    logs = load(clicks(tmp_path, GOOD, GLOBO_HEADER.replace("click_region", "other")))
    assert "region" not in logs.users and len(logs.interactions) == 5


def test_empty_files_are_refused_alone_and_noted_among_others(globo, tmp_path):
    for text in ("", GLOBO_HEADER):
        with pytest.raises(DataError, match="is empty|none of the 0 rows"):
            load(write(tmp_path / "one" / "clicks_hour_000.csv", text))
    (globo / "clicks" / "clicks_hour_002.csv").touch()
    logs = load(globo)
    assert len(logs.interactions) == 4 and "clicks_hour_002.csv is empty" in str(logs.report)
    for path in (globo / "clicks").iterdir():
        path.write_text("")
    with pytest.raises(DataError, match="all 3 files are empty"):
        load(globo)


def test_quoted_numbers_and_whole_floats_are_numbers(tmp_path):
    lines = [
        GOOD[0].replace("1,1,", '"1","1",', 1),
        GOOD[1].replace("2,2,", "2.0,2,", 1),
        *GOOD[2:],
    ]
    assert users_of(clicks(tmp_path, lines)) == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("stray", ['2,"A,Drama', '2,"A "quoted" b,Drama', '2,A","Drama'])
def test_a_stray_quote_in_a_title_costs_its_own_row_only(stray, ml_small):
    rows = ['1,"One, the first",Drama', stray, "3,Three,Drama", '4,"Four",Comedy', "5,Five,Drama"]
    write(ml_small / "movies.csv", "movieId,title,genres\n" + "\n".join(rows) + "\n")
    logs = load(ml_small)
    known = logs.extra["items"]
    titles = dict(zip(known["video_id"].tolist(), known["title"].tolist(), strict=True))
    assert {1: "One, the first", 3: "Three", 4: "Four", 5: "Five"}.items() <= titles.items()
    assert logs.report.rows_read["movies.csv"] == 5
    assert len(logs.report.rejected) == 1 - (2 in titles)


def test_two_stray_quotes_do_not_swallow_the_rows_between_them(ml_small):
    rows = ["1,One,Drama", '2,"Two,Drama', "3,Three,Drama", '4,"Four,Drama', "5,Five,Drama"]
    write(ml_small / "movies.csv", "movieId,title,genres\n" + "\n".join(rows) + "\n")
    logs = load(ml_small)
    assert logs.extra["items"]["title"].tolist() == ["One", "Three", "Five"]
    assert len(logs.report.rejected) == 2


def test_bytes_that_are_no_utf8_survive_as_the_replacement_sign(ml_small):
    write(
        ml_small / "movies.csv",
        b"movieId,title,genres\n1,Caf\xe9\0 <b>,Drama\n3,Zo\xc3\xab,Drama\n",
    )
    assert load(ml_small).extra["items"]["title"].tolist() == ["Caf\ufffd\0 <b>", "Zoë"]


def test_the_second_row_of_the_same_user_is_rejected(ml_100k):
    people = ml_100k / "u.user"
    people.write_text(people.read_text() + "186|40|M|artist|1\n")
    logs = load(ml_100k)
    assert logs.users["age"].tolist() == [39, 49, 7]
    assert logs.report.rejected.by_reason() == {"second row of the same user_id": 1}


def test_infinite_and_impossible_numbers_are_rejected(ml_small):
    write(
        ml_small / "ratings.csv",
        "userId,movieId,rating,timestamp\n1,1,4.0,inf\n1,3,nan,964981247\n1,3,6,964981247\n"
        "2,11,3.5,964982224\n2,3,3.5,1e30\n",
    )
    logs = load(ml_small)
    assert logs.interactions["video_id"].tolist() == [11]
    assert len(logs.report.rejected) == 4


def test_rejected_rows_are_written_outside_the_source_folder_by_default(tmp_path):
    path = clicks(tmp_path / "in", [*GOOD, "=cmd|' /C calc'!A0,\"\n"])
    logs = load(path)
    where = logs.report.rejected_path
    assert where == default_rejects(path) and tmp_path not in where.parents
    assert where.exists() and [p.name for p in path.parent.iterdir()] == [path.name]
    assert str(where) in str(logs.report)


def test_a_place_where_rejected_rows_cannot_be_written_is_named(tmp_path):
    path = clicks(tmp_path, [*GOOD, "x"])
    with pytest.raises(DataError, match="cannot write the rejected rows to"):
        load(path, rejected_to=path / "below" / "a_file.csv")


def test_clean_data_leaves_no_file_of_rejected_rows(tmp_path):
    logs = load(clicks(tmp_path / "in", GOOD), rejected_to=tmp_path / "rejected.csv")
    assert logs.report.rejected_path is None and not (tmp_path / "rejected.csv").exists()


@pytest.mark.parametrize(
    ("column", "sentence"),
    [
        (pa.array([[1], [2]]), "column user_id of type list<.*> cannot be read as a whole number"),
        (pa.array([2**64 - 1, 1], pa.uint64()), "column user_id of type uint64 cannot be read"),
        (pa.array([None, None]), "none of the 2 rows of globo can be used .*user_id is missing"),
        (pa.array(["a", "b"]), "none of the 2 rows .*user_id is not a whole number"),
        (pa.array([1.5, None]), "none of the 2 rows .*user_id is not a whole number"),
    ],
)
def test_a_parquet_column_of_another_type_is_refused_in_a_sentence(column, sentence, tmp_path):
    columns = {name: pa.array([NOON, NOON]) for name in GLOBO_HEADER.strip().split(",")}
    path = tmp_path / "clicks_1day_a.parquet"
    pq.write_table(pa.table({**columns, "user_id": column}), path)
    with pytest.raises(DataError, match=sentence):
        load(path)


def test_whole_numbers_held_as_floats_or_words_in_parquet_are_numbers(tmp_path):
    columns = {name: pa.array([NOON, NOON + 1]) for name in GLOBO_HEADER.strip().split(",")}
    columns |= {"user_id": pa.array([3.0, 4.0]), "session_id": pa.array(["5", "6"])}
    columns["click_region"] = pa.array([7, None])
    path = tmp_path / "clicks_1day_a.parquet"
    pq.write_table(pa.table(columns), path)
    logs = load(path)
    assert logs.interactions["user_id"].tolist() == [3, 4]
    assert logs.interactions["session_id"].tolist() == [5, 6]
    assert logs.users["region"].tolist() == [7, -1]
