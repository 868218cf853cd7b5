"""The warehouse: tables in folders, asked in HiveQL; both engines give one answer."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from reclab.core.errors import ConfigError, DataError
from reclab.core.tables import Logs, Table, write_logs
from reclab.stores.warehouse import Warehouse, substitute

DAY_MS = 86_400_000


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    chance = np.random.default_rng(0)
    n = 1_000
    shown = {"time_ms": np.sort(chance.integers(0, 12 * DAY_MS, n)),
             "user_id": chance.integers(0, 20, n), "video_id": chance.integers(0, 50, n),
             "is_click": chance.random(n) < 0.3}  # fmt: skip
    items = Table({"video_id": np.arange(50), "tags": np.zeros((50, 2), np.int16)})
    daily = Table({"day": np.arange(3, dtype=np.int32), "user_id": np.arange(3),
                   "video_id": np.arange(3)})  # fmt: skip
    where = tmp_path_factory.mktemp("warehouse")
    write_logs(Logs(Table({"user_id": np.arange(20)}), items, Table(shown), daily), where)
    return where


@pytest.fixture(params=["duckdb", pytest.param("local[1]", marks=pytest.mark.slow)])
def warehouse(request: pytest.FixtureRequest, folder: Path) -> Iterator[Warehouse]:
    if request.param == "duckdb":
        made = Warehouse(folder)
    else:
        pytest.importorskip("pyspark", reason="the extra 'spark' is not installed")
        made = Warehouse(folder, request.param)
    yield made
    made.close()


def test_partitions_are_numbers_and_hive_s_functions_work(warehouse: Warehouse):
    assert warehouse.tables == ("daily", "interactions", "items", "users")
    query = """
        SELECT day, COUNT(*) AS n, SUM(IF(is_click, 1, 0)) AS clicks,
          MIN(time_ms) >= day * ${day_ms} AS good, SIZE(COLLECT_SET(user_id)) AS users
        FROM interactions WHERE day BETWEEN ${first} AND 9 GROUP BY day ORDER BY day
    """
    found = warehouse.run(query, day_ms=DAY_MS, first=2)
    assert found["day"].tolist() == list(range(2, 10)) and found["good"].all()
    whole = warehouse.run("SELECT time_ms, user_id, is_click FROM interactions")
    days = whole["time_ms"] // DAY_MS
    assert found["n"].tolist() == [int((days == day).sum()) for day in range(2, 10)]
    clicks = [int(whole["is_click"][days == day].sum()) for day in range(2, 10)]
    assert found["clicks"].tolist() == clicks
    users = [len(np.unique(whole["user_id"][days == day])) for day in range(2, 10)]
    assert found["users"].tolist() == users
    assert warehouse.run("SELECT day FROM daily ORDER BY day")["day"].tolist() == [0, 1, 2]
    assert warehouse.run("SELECT COUNT(*) AS n FROM items")["n"].tolist() == [50]


def test_a_query_that_fails_says_why(warehouse: Warehouse):
    for query in ("SELECT nothing FROM interactions", "SELEC 1", "SELECT 1 AS a FROM nowhere"):
        with pytest.raises(DataError, match="the query failed in"):
            warehouse.run(query)


def test_variables_are_numbers_and_quoted_texts_and_all_are_used(folder: Path):
    with Warehouse(folder) as warehouse:
        assert warehouse.run("SELECT ${s} AS s", s="it's; --")["s"].tolist() == ["it's; --"]
        with pytest.raises(DataError, match="one statement"):
            warehouse.run("SELECT 1 AS a; SELECT 2 AS a")
    assert substitute("SELECT ${n} -- of ${n}", {"n": 2}) == "SELECT 2 -- of 2"
    for query, params in (("SELECT ${n}", {}), ("SELECT 1", {"n": 1})):
        with pytest.raises(DataError, match="variables"):
            substitute(query, params)
    for value in (True, float("nan"), None, "a\\", "a\nb"):
        with pytest.raises(DataError, match="variable n"):
            substitute("SELECT ${n}", {"n": value})  # type: ignore[dict-item]


def test_a_folder_without_tables_and_a_wrong_address_are_refused(tmp_path: Path, folder: Path):
    with pytest.raises(DataError, match="no tables"):
        Warehouse(tmp_path)
    with pytest.raises(ConfigError, match=r"local\[2\]"):
        Warehouse(folder, "http://localhost")
