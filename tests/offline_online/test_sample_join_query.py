"""The batch join in HiveQL gives the samples of the other two, and features of the past only."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reclab.core.clock import DAY_MS
from reclab.core.tables import Logs, Table, write_logs
from reclab.lab import Lab
from reclab.offline_online.join.batch_join import batch_join
from reclab.offline_online.join.sample_join import SampleJoinConfig
from reclab.offline_online.join.window import FixedWindow
from reclab.offline_online.pipeline import SAMPLE_JOIN_QUERY
from reclab.stores.warehouse import Warehouse
from tests.offline_online.test_sample_join import Columns, W, case

SLOWER = 10_000  # the cases last twenty seconds; here, two days and a half
WINDOW_MS, SKEW_MS = W * SLOWER, 50 * SLOWER
CONFIG = SampleJoinConfig(skew_ms=SKEW_MS, carry=("user_id",))
ENGINES = ["", pytest.param("local[1]", marks=pytest.mark.slow)]


def slower(seed: int, n: int = 300) -> tuple[Columns, Columns]:
    """A random case with doubles, late, early and unknown reports, over three days."""
    shown, told = case(seed, n)
    shown["time_ms"] *= SLOWER
    for name in ("event_ms", "report_ms"):
        told[name] *= SLOWER
    shown["video_id"] %= 23  # items and users that meet again
    told["video_id"] %= 23
    return shown, told


def asked(folder: Path, shown: Any, told: Any, engine: str, **params: int) -> Table:
    """The query's answer over these logs."""
    none = Table({"user_id": np.zeros(1, int)}), Table({"video_id": np.zeros(1, int)})
    write_logs(Logs(*none, interactions=_table(shown), feedback=_table(told)), folder)
    if engine:
        pytest.importorskip("pyspark", reason="the extra 'spark' is not installed")
    with Warehouse(folder, engine or None) as warehouse:
        return warehouse.run(SAMPLE_JOIN_QUERY, **params)


def _table(rows: Table | Columns) -> Table:
    return rows if isinstance(rows, Table) else Table(rows)


def known(shown: Columns, told: Columns) -> dict[tuple[int, int], list[int]]:
    """(request, item) -> cards and clicks of item and user before it, by looking at every event."""
    first: dict[tuple[int, int], tuple[int, int]] = {}
    order = np.argsort(shown["time_ms"], kind="stable")
    for req, item, user, t in zip(
        *(shown[k][order].tolist() for k in ("req_id", "video_id", "user_id", "time_ms")),
        strict=True,
    ):
        first.setdefault((req, item), (user, t))
    clicks, seen = [], set()
    order = np.argsort(told["report_ms"], kind="stable")
    names = ("event_id", "req_id", "video_id", "kind", "event_ms", "report_ms")
    for event, req, item, kind, happened, report in zip(
        *(told[k][order].tolist() for k in names), strict=True
    ):
        again = (event, req) in seen
        seen.add((event, req))
        if again or kind != 0 or (req, item) not in first:
            continue
        user, t = first[req, item]
        if report >= t and happened >= t - SKEW_MS:
            clicks.append((item, user, report))
    cards = [(item, user, t) for (_, item), (user, t) in first.items()]
    found = {}
    for (req, item), (user, t) in first.items():
        found[req, item] = [sum(e[at] == who and e[2] < t for e in events)
                            for at, who in ((0, item), (1, user))
                            for events in (cards, clicks)]  # fmt: skip
    return found


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("seed", "days"), [(0, (0, 2)), (1, (1, 1)), (2, (1, 2))])
def test_it_gives_the_batch_join_s_samples_and_counts_of_the_past(
    tmp_path: Path, engine: str, seed: int, days: tuple[int, int]
):
    shown, told = slower(seed)
    got = asked(tmp_path, shown, told, engine, first_day=days[0], last_day=days[1],
                window_ms=WINDOW_MS, skew_ms=SKEW_MS)  # fmt: skip
    whole = batch_join(shown, told, FixedWindow(WINDOW_MS), CONFIG)
    day = whole["time_ms"] // DAY_MS
    want = whole.take((day >= days[0]) & (day <= days[1]))
    assert len(want) > 50 and want["labels"].any()
    for name in want:
        assert got[name].tolist() == want[name].tolist(), name
    past = known(shown, told)
    names = ("item_cards", "item_clicks", "user_cards", "user_clicks")
    rows = zip(*(got[name].tolist() for name in ("req_id", "video_id", *names)), strict=True)
    for req, item, *counts in rows:
        assert counts == past[req, item]
    assert got["item_clicks"].any() and got["user_clicks"].any()


def test_it_gives_the_platform_s_samples(lab: Lab, tmp_path: Path):
    logs = lab.logs
    told = logs.feedback.with_columns(event_id=np.arange(len(logs.feedback)))
    got = asked(tmp_path, logs.interactions, told, "", first_day=9, last_day=10,
                window_ms=1_200_000, skew_ms=5_000)  # fmt: skip
    config = SampleJoinConfig(carry=("user_id",))
    whole = batch_join(logs.interactions, told, FixedWindow(), config)
    want = whole.take(np.isin(whole["time_ms"] // DAY_MS, (9, 10)))
    for name in want:
        assert np.array_equal(got[name], want[name]), name
    assert (got["item_clicks"] <= got["item_cards"]).all() and got["item_clicks"].max() > 10


def test_the_query_reads_no_partition_after_the_window(tmp_path: Path):
    shown, told = slower(4)
    params = {"first_day": 0, "last_day": 0, "window_ms": WINDOW_MS, "skew_ms": SKEW_MS}
    want = asked(tmp_path / "all", shown, told, "", **params)
    near = {name: column[told["report_ms"] < 2 * DAY_MS] for name, column in told.items()}
    today = {name: column[shown["time_ms"] < DAY_MS] for name, column in shown.items()}
    got = asked(tmp_path / "near", today, near, "", **params)
    assert all(got[name].tolist() == want[name].tolist() for name in want)
