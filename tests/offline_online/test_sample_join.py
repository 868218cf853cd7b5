"""The sample join against brute force and against the batch: cuts, disorder, doubles, restarts."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reclab.core.errors import ConfigError, DataError
from reclab.core.tables import Table
from reclab.offline_online.join.batch_join import batch_join
from reclab.offline_online.join.hazard import Hazard, HazardConfig, PricedWait, PricedWaitConfig
from reclab.offline_online.join.records import KINDS, is_label
from reclab.offline_online.join.sample_join import SampleJoin, SampleJoinConfig
from reclab.offline_online.join.window import (
    FixedWindow,
    SessionEnd,
    SessionEndConfig,
)

W = 1_000
CONFIG = SampleJoinConfig(skew_ms=50, remember_ms=3_000, carry=("user_id", "features"))
NAMES = ("req_id", "video_id", "user_id", "features", "time_ms", "labels", "n_labels",
         "watch_sec", "pay_amount", "close_ms")  # fmt: skip
Columns = dict[str, np.ndarray]


def hazard() -> Hazard:
    """Learned from a log of its own; labels come in bursts, so that quiet means something."""
    chance = np.random.default_rng(5)
    time_ms, row = np.zeros(400, np.int64), chance.integers(0, 400, 900)
    stamp = (chance.integers(0, 2, 900) * 300 + chance.exponential(60, 900)).astype(np.int64)
    config = HazardConfig(threshold=0.2, max_wait_ms=W, ages_ms=(50, 200), n_least=20)
    return Hazard(config).fit(time_ms, row, stamp, chance.integers(0, 3, 900))


def session_end() -> SessionEnd:
    """Sessions end after 200 ms."""
    return SessionEnd(SessionEndConfig(gap_ms=200, slack_ms=30, max_wait_ms=W))


def priced_wait() -> PricedWait:
    """Learned like the other."""
    chance = np.random.default_rng(6)
    row, stamp = chance.integers(0, 400, 900), chance.exponential(150, 900).astype(np.int64)
    config = PricedWaitConfig(max_wait_ms=W, ages_ms=(50, 200), n_least=20, label_s=0.5)
    kind = chance.integers(0, 3, 900)
    return PricedWait(config).fit(np.zeros(400, np.int64), row, stamp, kind)


RULES: list[Callable[[], Any]] = [lambda: FixedWindow(W), session_end, hazard, priced_wait]


def case(seed: int, n: int = 300, doubles: bool = True) -> tuple[Columns, Columns]:
    """Random impressions and reports, in order of stamps: doubles, late, unknown and early ones;
    keys that meet again, stamps that tie."""
    chance = np.random.default_rng(seed)
    page = np.sort(chance.integers(0, n // 2, n))
    time_ms = np.sort(chance.integers(0, 20_000, n // 2))[page] // 7 * 7
    item = chance.permutation(n) if seed % 2 else np.arange(n) + (1 << 40)
    shown = {"req_id": page - 5, "video_id": item, "user_id": page % 9, "features": np.arange(n),
             "session_id": page // 4 % 11, "time_ms": time_ms}  # fmt: skip
    m = n
    of = chance.integers(0, n, m)
    delay = (
        chance.choice([3, 80, 400, 900, 1000, 1001, 2000, 9000], m)
        - (chance.random(m) < 0.05) * 500
    )
    told = {"event_id": np.arange(m), "req_id": shown["req_id"][of].copy(), "video_id": item[of],
            "kind": chance.integers(0, len(KINDS), m),
            "value": chance.integers(1, 100, m).astype(np.float32) / 4,
            "event_ms": np.maximum(time_ms[of] + delay // 2, 0),
            "report_ms": np.maximum(time_ms[of] + delay, 0)}  # fmt: skip
    told["req_id"][chance.random(m) < 0.03] = 10**9
    if doubles:
        again = chance.integers(0, n, n // 5)
        shown = {k: np.concatenate([v, v[again]]) for k, v in shown.items()}
        told = {k: np.concatenate([v, v[again]]) for k, v in told.items()}
        told["report_ms"][m:] += chance.integers(0, 3000, len(again)) * (
            chance.random(len(again)) < 0.5
        )
    return by_stamp(shown, "time_ms"), by_stamp(told, "report_ms")


def by_stamp(rows: Columns, stamp: str) -> Columns:
    order = np.argsort(rows[stamp], kind="stable")
    return {k: v[order] for k, v in rows.items()}


def cut(rows: Columns, stamp: str, edges: np.ndarray) -> list[Columns]:
    places = np.searchsorted(rows[stamp], edges)
    return [{k: v[a:b] for k, v in rows.items()} for a, b in zip(places, places[1:], strict=False)]


def pieces(shown: Columns, told: Columns, seed: int, n: int = 12) -> list[tuple[Columns, Columns]]:
    """The log in random micro-batches of time."""
    edges = np.sort(np.random.default_rng(seed).integers(0, 32_000, n))
    edges = np.concatenate([[-1], edges, [1 << 40]])
    return list(zip(cut(shown, "time_ms", edges), cut(told, "report_ms", edges), strict=True))


def tuples(*tables: Table) -> list[tuple[Any, ...]]:
    """Samples as sorted tuples."""
    columns = [np.concatenate([t[name] for t in tables]).tolist() for name in NAMES]
    return sorted(zip(*columns, strict=True))


def run(join: SampleJoin, parts: list[tuple[Columns, Columns]]) -> list[Table]:
    return [join.update(*part).samples for part in parts] + [join.flush().samples]


def brute_force(shown: Columns, told: Columns, window_ms: int) -> list[tuple[Any, ...]]:
    """One report at a time, over a dictionary; a fixed window."""
    rows: dict[tuple[int, int], list[Any]] = {}
    for req, item, user, features, time_ms in zip(
        *(shown[k].tolist() for k in NAMES[:5]), strict=True
    ):
        rows.setdefault((req, item), [user, features, time_ms, 0, 0, 0.0, 0.0, time_ms + window_ms])
    seen = set()
    names = ("event_id", "req_id", "video_id", "kind", "value", "event_ms", "report_ms")
    for event, req, item, kind, value, happened, stamp in zip(
        *(told[k].tolist() for k in names), strict=True
    ):
        row = rows.get((req, item))
        if (event, req) in seen:
            continue
        seen.add((event, req))
        if row is None or not row[2] <= stamp <= row[2] + window_ms or happened < row[2] - 50:
            continue
        row[3] |= 1 << kind
        row[4] += 1
        row[5] = max(row[5], value) if KINDS[kind] == "watch" else row[5]
        row[6] += value if KINDS[kind] == "pay" else 0
    return sorted((*key, *row) for key, row in rows.items())


@pytest.mark.parametrize("seed", range(6))
def test_a_fixed_window_gives_what_a_dictionary_gives(seed: int):
    shown, told = case(seed)
    join = SampleJoin(FixedWindow(W), CONFIG)
    assert tuples(*run(join, pieces(shown, told, seed))) == brute_force(shown, told, W)
    assert tuples(batch_join(shown, told, FixedWindow(W), CONFIG)) == brute_force(shown, told, W)
    assert join.report().balanced


@pytest.mark.parametrize("make", RULES)
@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), cuts=st.integers(1, 60), disorder=st.sampled_from([0, 300]))
def test_any_cuts_and_any_order_within_the_bound_give_the_batch_s_samples(
    make: Callable[[], Any], seed: int, cuts: int, disorder: int
):
    shown, told = case(seed, n=120)
    want = tuples(batch_join(shown, told, make(), CONFIG))
    parts = pieces(shown, told, seed, cuts)
    if disorder:
        parts = shuffled(shown, told, seed, cuts, disorder)
    config = SampleJoinConfig(disorder, 50, 3_000, CONFIG.carry)
    join = SampleJoin(make(), config)
    assert tuples(*run(join, parts)) == want
    assert join.report().balanced


def shuffled(
    shown: Columns, told: Columns, seed: int, cuts: int, bound: int
) -> list[tuple[Columns, Columns]]:
    """Micro-batches in which a record is read up to ``bound`` later than its stamp says."""
    chance = np.random.default_rng(seed)
    read = []
    for rows, stamp in ((shown, "time_ms"), (told, "report_ms")):
        when = rows[stamp] + chance.integers(0, bound, len(rows[stamp]))
        order = np.argsort(when, kind="stable")
        read.append({k: v[order] for k, v in (rows | {"read_ms": when}).items()})
    edges = np.concatenate([[-1], np.sort(chance.integers(0, 32_000, cuts)), [1 << 40]])
    return list(zip(*(cut(rows, "read_ms", edges) for rows in read), strict=True))


@pytest.mark.parametrize("make", RULES)
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), at=st.integers(0, 13), disorder=st.sampled_from([0, 200]))
def test_a_restart_from_a_snapshot_gives_the_same_bytes(
    make: Callable[[], Any], seed: int, at: int, disorder: int
):
    parts = pieces(*case(seed, n=120), seed)
    config = SampleJoinConfig(disorder, 50, 3_000, CONFIG.carry)
    whole = SampleJoin(make(), config)
    for part in parts[:at]:
        whole.update(*part)
    state = whole.state()
    again = SampleJoin(make(), config).restore(state)
    assert again.state() == state
    for part in parts[at:]:
        a, b = whole.update(*part), again.update(*part)
        for left, right in ((a.samples, b.samples), (a.late, b.late)):
            assert list(left) == list(right)
            assert all(np.array_equal(left[name], right[name]) for name in left)
        assert a.rejected.keys() == b.rejected.keys()
    assert tuples(whole.flush().samples) == tuples(again.flush().samples)
    assert whole.state() == again.state()
    assert whole.report().count == again.report().count


@pytest.mark.parametrize("make", RULES)
def test_reading_a_batch_twice_changes_nothing_but_the_counts_of_doubles(make: Callable[[], Any]):
    shown, told = case(3, doubles=False)
    parts = pieces(shown, told, 3)
    once, twice = SampleJoin(make(), CONFIG), SampleJoin(make(), CONFIG)
    want = tuples(*run(once, parts))
    got = [t.update(*part).samples for part in parts for t in (twice, twice)]
    assert tuples(*got, twice.flush().samples) == want
    count, first = twice.report().count, once.report().count
    assert twice.report().balanced
    for name in ("on_time", "late", "samples", "labelled"):
        assert count[name] == first[name]


def test_every_label_comes_with_the_sample_as_a_correction_or_is_set_aside():
    shown, told = case(11)
    join = SampleJoin(FixedWindow(W), CONFIG)
    out = [join.update(*part) for part in pieces(shown, told, 2)] + [join.flush()]
    count = join.report().count
    assert sum(int(o.samples["n_labels"].sum()) for o in out) == count["on_time"]
    assert sum(len(o.late) for o in out) == count["late"] > 0
    aside = sum(len(o.rejected.get("report: no such impression", Table())) for o in out)
    assert aside == count["unmatched"] > 0
    early = sum(len(o.rejected.get("report: before its impression", Table())) for o in out)
    assert early == count["early"] > 0
    report = join.report()
    assert report.on_time_by_delay.sum() == count["on_time"]
    assert report.late_by_delay.sum() == count["late"]
    good = count["on_time"] + count["late"] + count["unmatched"] + count["early"]
    assert report.join_rate == count["on_time"] / good
    late = next(o.late for o in out if len(o.late))
    assert (late["report_ms"] > late["time_ms"] + W).all() and "features" in late


def one(n: int = 1, **columns: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """One impression at 1,000 ms and one click at 1,500 ms; columns of the report may differ."""
    shown = {"req_id": [1], "video_id": [2], "user_id": [3], "features": [4], "time_ms": [1000]}
    told = {"event_id": [1], "req_id": [1], "video_id": [2], "kind": [0], "value": [1.0],
            "event_ms": [1400], "report_ms": [1500]}  # fmt: skip
    return shown, told | {name: [value] for name, value in columns.items()}


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({"kind": 8}, "report: unknown kind"),
        ({"kind": -1}, "report: unknown kind"),
        ({"report_ms": float("nan")}, "report: report_ms is not a whole number"),
        ({"event_ms": float("inf")}, "report: event_ms is not a whole number"),
        ({"event_ms": -1}, "report: event_ms out of range"),
        ({"report_ms": 1 << 60}, "report: report_ms out of range"),
        ({"value": float("nan")}, "report: value is not a number"),
        ({"value": -2.0}, "report: value is negative"),
        ({"req_id": 1.5}, "report: req_id is not a whole number"),
        ({"event_ms": 900}, "report: before its impression"),
        ({"report_ms": 999}, "report: before its impression"),
        ({"video_id": 9}, "report: no such impression"),
    ],
)
def test_a_bad_report_is_set_aside_with_its_reason(columns: dict[str, Any], reason: str):
    join = SampleJoin(FixedWindow(W), CONFIG)
    shown, told = one(**columns)
    good = one(event_id=2, kind=2)[1]
    both = {name: np.array(told[name] + good[name]) for name in told}
    out = [join.update(shown, both), join.flush()]
    rejected = {why: rows for o in out for why, rows in o.rejected.items()}
    assert list(rejected) == [reason] and len(rejected[reason]) == 1
    samples = Table({name: np.concatenate([o.samples[name] for o in out]) for name in NAMES})
    assert is_label(samples, "like").tolist() == [True] and samples["n_labels"].tolist() == [1]
    assert join.report().balanced


def test_a_report_read_before_its_impression_waits_for_it():
    shown, told = one()
    join = SampleJoin(FixedWindow(W), SampleJoinConfig(disorder_ms=600, carry=CONFIG.carry))
    join.update(None, told)
    assert join.report().waiting_reports == 1
    join.update(shown, None)
    assert join.flush().samples["labels"].tolist() == [1]


def test_an_impression_read_after_its_window_is_not_opened_again():
    shown, told = one()
    join = SampleJoin(FixedWindow(W), CONFIG)
    assert join.update(shown, told, watermark_ms=10_000).samples["labels"].tolist() == [1]
    again = join.update(shown, told, watermark_ms=10_001)
    assert len(again.samples) == 0 and len(again.rejected["impression: late"]) == 1
    assert join.report().balanced


def test_a_label_at_the_very_close_counts_and_one_a_millisecond_later_does_not():
    shown, told = one(report_ms=1000 + W)
    assert batch_join(shown, told, FixedWindow(W), CONFIG)["labels"].tolist() == [1]
    shown, told = one(report_ms=1001 + W)
    join = SampleJoin(FixedWindow(W), CONFIG)
    out = [join.update(shown, told).samples, join.flush().samples]
    assert [t["labels"].tolist() for t in out] == [[0], []]


def test_a_join_says_what_it_needs():
    shown, told = one()
    with pytest.raises(DataError, match="features"):
        SampleJoin().update({k: v for k, v in shown.items() if k != "features"})
    with pytest.raises(DataError, match="equally long"):
        SampleJoin().update(shown | {"user_id": [1, 2]})
    with pytest.raises(DataError, match="numbers"):
        SampleJoin().update(None, told | {"event_id": ["a1"]})
    with pytest.raises(DataError, match="session_id"):
        SampleJoin(SessionEnd()).update(shown)
    with pytest.raises(ConfigError, match="disorder_ms"):
        SampleJoinConfig(disorder_ms=-1)
    with pytest.raises(ConfigError, match="carry"):
        SampleJoinConfig(carry=("labels",))


def test_a_state_goes_on_only_with_the_same_settings():
    state = SampleJoin(FixedWindow(W), CONFIG).state()
    with pytest.raises(DataError, match="cannot go on"):
        SampleJoin(FixedWindow(W + 1), CONFIG).restore(state)
    for damaged in (b"", b"no state", state[: len(state) // 2]):
        with pytest.raises(DataError, match="no state"):
            SampleJoin(FixedWindow(W), CONFIG).restore(damaged)


def test_nothing_in_gives_nothing_out():
    join = SampleJoin()
    assert len(join.update().samples) == len(join.flush().samples) == 0
    assert join.report().join_rate == 0 and join.report().balanced
    nothing = {k: v[:0] for k, v in one()[0].items()}, {k: v[:0] for k, v in one()[1].items()}
    assert len(batch_join(*nothing, FixedWindow(), CONFIG)) == 0
