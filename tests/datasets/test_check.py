"""``python -m reclab.datasets check`` and the committed samples."""

import csv
from pathlib import Path

import pytest

from reclab.core.tables import TABLES
from reclab.datasets import load
from reclab.datasets.__main__ import main
from reclab.datasets.check import abilities
from reclab.datasets.sample import write_sample

ROOT = Path(__file__).resolve().parents[2]


def able(logs) -> set[str]:
    return {what for what, yes, _ in abilities(logs) if yes}


def test_check_prints_format_counts_columns_range_and_rejected_rows(kuairec, tmp_path, capsys):
    assert main(["check", str(kuairec), "--rejected", str(tmp_path / "r.csv")]) == 0
    said = capsys.readouterr().out
    assert "recognised: kuairec" in said
    assert "rejected 1: exact duplicate of an earlier row" in said
    assert "interactions: 2 rows; columns " in said and "absent req_id" in said
    assert "2020-07-05 00:08:23 to 2020-07-05 00:13:41 (UTC+8)" in said
    assert "no  ranking for clicks (needs is_click, both yes and no)" in said
    assert (tmp_path / "r.csv").exists()


def test_check_fails_with_one_sentence_where_nothing_can_be_used(tmp_path, kuairec, capsys):
    assert main(["check", str(tmp_path / "nowhere")]) == 1
    assert capsys.readouterr().err.count("\n") == 1
    for matrix in (kuairec / "data").glob("*_matrix.csv"):
        matrix.unlink()
    assert main(["check", str(kuairec)]) == 1
    assert "without interactions" in capsys.readouterr().err
    assert main(["check", str(kuairec), "--catalogue-only"]) == 0
    assert "interactions: none" in capsys.readouterr().out


def test_abilities_follow_from_the_columns(globo, ml_100k, kuairand, kuairec):
    assert able(load(globo)) >= {"next item in a session", "freshness of items"}
    assert "ranking for clicks" not in able(load(globo))  # clicks only: nothing to tell apart
    assert {"ranking for likes", "ranking by stars"} <= able(load(ml_100k))
    assert {"ranking for clicks", "unbiased evaluation"} <= able(load(kuairand))
    assert "ranking for watch time" in able(load(kuairec))
    assert able(load(kuairec, catalogue_only=True)) >= {"diversity by category"}
    assert "retrieval from behaviour" not in able(load(kuairec, catalogue_only=True))


def test_a_sample_holds_rows_that_belong_together(kuairand, tmp_path):
    files = write_sample(load(kuairand), tmp_path / "sample")
    assert [path.stem for path in files] == ["users", "items", "interactions", "daily"]
    rows = {path.stem: list(csv.DictReader(path.read_text().splitlines())) for path in files}
    shown = {row["video_id"] for row in rows["interactions"]}
    assert shown == {row["video_id"] for row in rows["items"]}
    assert rows["items"][0]["tags"] == "[39]"


@pytest.mark.parametrize("name", list(TABLES))
def test_committed_samples_are_small_and_have_declared_columns(name):
    folder = ROOT / "datasets" / "sample"
    assert sum(path.stat().st_size for path in folder.iterdir()) < 200_000
    rows = list(csv.DictReader((folder / f"{name}.csv").read_text().splitlines()))
    assert rows and set(rows[0]) <= {column.name for column in TABLES[name]}
