"""Data sets are recognised by their files, and strangers are told what was expected."""

import gzip

import pytest

from reclab.core.errors import DataError
from reclab.datasets import load, recognise

from .conftest import write


@pytest.mark.parametrize(
    ("fixture", "name"),
    [
        ("globo", "globo"),
        ("ml_100k", "movielens"),
        ("ml_atomic", "movielens"),
        ("ml_small", "movielens"),
        ("kuairand", "kuairand"),
        ("kuairec", "kuairec"),
    ],
)
def test_a_folder_is_recognised_gz_or_not(fixture, name, request):
    folder = request.getfixturevalue(fixture)
    assert recognise(folder)[0] == name
    plain = load(folder)
    for path in [p for p in folder.rglob("*") if p.is_file() and p.suffix != ".gz"]:
        path.with_name(path.name + ".gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    packed = load(folder)
    assert len(packed.interactions) == len(plain.interactions) > 0
    assert len(packed.items) == len(plain.items)


def test_a_renamed_file_is_recognised_by_its_columns(globo, kuairand, kuairec, ml_small):
    logs = {
        "globo": globo / "clicks" / "clicks_hour_000.csv",
        "kuairand": kuairand / "data" / "log_random_4_22_to_5_08_pure.csv",
        "kuairec": kuairec / "data" / "big_matrix.csv",
        "movielens": ml_small / "ratings.csv",
    }
    for name, path in logs.items():
        renamed = path.rename(path.with_name("mine.csv"))
        assert recognise(renamed)[0] == name
        assert load(renamed).origin == name


def test_a_wrong_folder_says_in_one_line_what_was_expected_and_found(tmp_path):
    write(tmp_path / "notes.txt", "hello")
    write(tmp_path / "log_random_hourly.csv", "hour,n\n1,2\n")  # a statistic, not a log
    with pytest.raises(DataError) as caught:
        load(tmp_path)
    said = str(caught.value)
    assert "\n" not in said and "found log_random_hourly.csv, notes.txt" in said
    for expected in ("clicks_hour_*.csv", "u.data", "ratings.csv", "big_matrix", "log_standard_*"):
        assert expected in said


def test_an_empty_folder_and_no_folder_are_told_apart(tmp_path):
    with pytest.raises(DataError, match="found nothing"):
        load(tmp_path)
    with pytest.raises(DataError, match="does not exist"):
        load(tmp_path / "nowhere")


def test_a_folder_of_several_data_sets_is_refused(globo, ml_small, tmp_path):
    with pytest.raises(DataError, match="several data sets \\(globo, movielens\\)"):
        load(tmp_path)


def test_a_strange_file_is_refused_in_a_sentence(tmp_path):
    with pytest.raises(DataError, match="no known data set"):
        load(write(tmp_path / "a.csv", "a,b\n1,2\n"))
    with pytest.raises(DataError, match="damaged"):
        load(write(tmp_path / "a.parquet", "no parquet"))
    with pytest.raises(DataError, match="is empty"):
        load(write(tmp_path / "b.csv", ""))
