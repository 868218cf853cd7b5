"""The lookup join: the stream join's samples while labels live, and what it says when not."""

import uuid
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from reclab.core.errors import ConfigError, DataError
from reclab.offline_online.join.batch_join import batch_join
from reclab.offline_online.join.lookup_join import LookupJoin, LookupJoinConfig
from reclab.offline_online.join.window import FixedWindow
from reclab.offline_online.labels.label_store import LabelStore, LabelStoreConfig, event_names
from reclab.stores.redis_server import StoreDown
from tests.offline_online.test_sample_join import CONFIG, W, case, tuples

Columns = dict[str, np.ndarray]
CARRY = LookupJoinConfig(W, CONFIG.carry)


@pytest.fixture
def store() -> Iterator[LabelStore]:
    made = LabelStore(namespace=f"lookup-{uuid.uuid4().hex}")
    yield made
    made.kv.delete(*made.kv.names())
    made.close()


def some(rows: Columns, which: Any) -> Columns:
    return {name: column[which] for name, column in rows.items()}


def without_late(shown: Columns, told: Columns) -> Columns:
    """Reports between the request and the end of its window, of known cards."""
    when = {(a, b): t for a, b, t in zip(*(shown[k].tolist() for k in
            ("req_id", "video_id", "time_ms")), strict=True)}  # fmt: skip
    keys = zip(told["req_id"].tolist(), told["video_id"].tolist(), strict=True)
    time_ms = np.array([when.get(key, -(10**9)) for key in keys])
    wait = told["report_ms"] - time_ms
    return some(told, (wait >= 0) & (wait <= W) & (told["event_ms"] >= time_ms - CONFIG.skew_ms))


def drive(join: LookupJoin, shown: Columns, told: Columns, step: int) -> list[Any]:
    """The label consumer a step ahead, then the join."""
    told = told | {"name": event_names([""] * len(told["kind"]), [0] * len(told["kind"]),
                                       told["event_id"].tolist())}  # fmt: skip
    out, last = [], -1
    for now in range(0, 40_000, step):
        pairs = ((told, "report_ms"), (shown, "time_ms"))
        told_now, shown_now = (
            some(rows, (rows[stamp] > last) & (rows[stamp] <= now)) for rows, stamp in pairs
        )
        join.store.merge(told_now)
        out.append(join.update(shown_now, now))
        last = now
    assert join.waiting == 0
    return [samples for samples in out if len(samples)]


@pytest.mark.parametrize("seed", range(3))
def test_without_late_reports_its_samples_are_the_stream_s(store: LabelStore, seed: int):
    shown, told = case(seed)
    told = without_late(shown, told)
    join = LookupJoin(store, CARRY)
    got = tuples(*drive(join, shown, told, 250))
    assert got == tuples(batch_join(shown, told, FixedWindow(W), CONFIG))
    assert join.count["over"] == 0 < join.count["labelled"] < join.count["samples"]


def test_a_slow_lookup_lets_late_labels_in_and_says_so(store: LabelStore):
    shown, told = case(3)
    join = LookupJoin(store, CARRY)
    got = drive(join, shown, told, 1_000)
    want = batch_join(shown, told, FixedWindow(W), CONFIG)
    n_more = sum(int(part["n_labels"].sum()) for part in got) - int(want["n_labels"].sum())
    assert n_more > 0 and 0 < join.count["over"] <= n_more


def test_labels_that_expire_within_the_window_are_lost(store: LabelStore):
    shown, told = case(4)
    told = without_late(shown, told)
    found = []
    for expire_ms in (10 * W, W // 2, 1):
        life = LabelStoreConfig(expire_ms)
        brief = LabelStore(None, f"{store.kv.namespace}-{expire_ms}", life)
        parts = drive(LookupJoin(brief, CARRY), shown, told, 250)
        found.append(sum(int(part["n_labels"].sum()) for part in parts))
    assert found[0] > found[1] > found[2] == 0


def test_without_its_store_it_waits_or_says_what_it_gave_out(store: LabelStore):
    shown, _ = case(5, doubles=False)

    def down(*_: Any) -> None:
        raise StoreDown("gone")

    read, store.read = store.read, down  # type: ignore[method-assign,assignment]
    bold = LookupJoin(store, LookupJoinConfig(W, CONFIG.carry, "no_labels"))
    patient = LookupJoin(store, CARRY)
    given = bold.update(shown, 50_000)
    assert len(given) == bold.count["unlabelled_down"] == len(shown["time_ms"])
    assert not given["labels"].any()
    assert len(patient.update(shown, 50_000)) == 0 and patient.waiting == len(given)
    store.read = read  # type: ignore[method-assign]
    assert len(patient.flush()) == len(given) and patient.waiting == 0


def test_copies_that_wait_together_are_one_and_a_later_copy_is_another(store: LabelStore):
    shown = {name: np.array([1, 1]) for name in ("req_id", "video_id", "user_id", "features")}
    shown |= {"time_ms": np.array([5, 6])}
    join = LookupJoin(store, CARRY)
    assert len(join.update(shown, 2_000)) == 1 and join.count["doubled"] == 1
    assert len(join.update(shown, 3_000)) == 1


def test_it_says_what_it_needs(store: LabelStore):
    with pytest.raises(ConfigError, match="wait_ms"):
        LookupJoinConfig(0)
    with pytest.raises(ConfigError, match="when_down"):
        LookupJoinConfig(when_down="hope")
    with pytest.raises(DataError, match="features"):
        LookupJoin(store).update({"req_id": [1], "video_id": [1], "time_ms": [1]}, 5)
    assert len(LookupJoin(store, CARRY).update(None, 10**6)) == 0
