"""The stream, the batch and the served version together: no gap, nothing twice."""

import json
import threading
import time

import numpy as np
import pytest

from reclab.cascade.ranking.features import Features
from reclab.core.chance import rng
from reclab.core.clock import DAY_MS
from reclab.core.tables import Table
from reclab.lab import Lab
from reclab.offline_online.features.feature_log import FeatureLog, Served
from reclab.offline_online.features.feature_update import (
    FeatureUpdateConfig,
    FeatureUpdater,
    read_impressions,
    read_reports,
)
from reclab.offline_online.features.live_features import LiveFeatures
from reclab.offline_online.pipeline import EVENTS, create_topics
from reclab.offline_online.serving.versions import Versions
from reclab.stores.event_log import TopicConfig, open_log
from tests.offline_online.test_live_features import LONG, same, streams

NOW = 14 * DAY_MS
AT_ONCE = FeatureUpdateConfig(publish_ms=0, batch_entries=300)
NONE = np.zeros((1, 0), np.float32)


@pytest.fixture(scope="module")
def day(lab: Lab) -> tuple[Table, Table]:
    shown, told = streams(lab.logs, 12, 1)
    first = np.unique(shown["req_id"])[:300]
    keep = (np.isin(table["req_id"], first) for table in (shown, told))
    return tuple(t.take(k) for t, k in zip((shown, told), keep, strict=True))


@pytest.fixture
def log(request):
    with open_log(namespace=request.node.name[:60]) as log:
        create_topics(log, TopicConfig(partitions=2))
        yield log


def send(log, shown: Table, told: Table) -> None:
    """Feature log and gateway, as they write to the topics."""
    requests = []
    for req in np.unique(shown["req_id"]):
        mine = shown.take(shown["req_id"] == req)
        n, user = len(mine), np.zeros((1, 1), np.int64)
        rows = np.zeros(n, np.int64)
        features = Features(user, NONE, user, rows, rows, np.zeros((n, 0), np.float32))
        who = int(req), int(mine["user_id"][0]), 0, int(mine["time_ms"][0]), 0
        requests.append(Served(*who, mine["video_id"], np.arange(n), 1, 1, features))
    FeatureLog(log).append(requests)
    names = ("req_id", "video_id", "user_id", "kind", "value", "report_ms")
    rows = zip(*(told[name].tolist() for name in names), told["event_id"].tolist(), strict=True)
    events = [
        {
            **dict(zip(names, row, strict=False)),
            "app": "a",
            "device_id": 1,
            "event_id": f"e{row[-1]}",
        }
        for row in rows
    ]
    keys = [str(event["req_id"]) for event in events]
    log.append(EVENTS, [json.dumps(event).encode() for event in events], keys)


def parts(day: tuple[Table, Table], n: int) -> list[tuple[Table, Table]]:
    shown, told = day
    return [
        (shown.take(shown["req_id"] % n == i), told.take(told["req_id"] % n == i)) for i in range(n)
    ]


def drain(updater: FeatureUpdater) -> None:
    while updater.step(NOW):
        pass


def test_the_stream_from_the_topics_equals_the_batch_from_the_tables(lab: Lab, day, log):
    versions = Versions(LiveFeatures(lab.logs, LONG))
    updater = FeatureUpdater(log, versions, AT_ONCE)
    for shown, told in parts(day, 3):
        send(log, shown, told)
        send(log, shown, told)  # the gateway and the recommender repeat themselves
        drain(updater)
    live = versions.current.state
    assert updater.report.bad == 0 and updater.report.published > 3
    assert live.repeated == len(day[0]) + len(day[1])
    same(versions.draft(), LiveFeatures.build(lab.logs, *day), NOW)


def test_after_a_rebuild_the_stream_goes_on_without_gap_or_doubling(lab: Lab, day, log):
    a, b, c = parts(day, 3)
    versions = Versions(LiveFeatures(lab.logs, LONG), now_ms=NOW)
    updater = FeatureUpdater(log, versions, FeatureUpdateConfig(3_600_000, 300))
    send(log, *a)
    updater.step(NOW)  # a draft that will be thrown away
    send(log, *b)
    made = updater.rebuild(NOW, LiveFeatures(lab.logs, LONG))
    ends = log.stats(EVENTS).end.tolist()
    assert made.offsets[EVENTS] == dict(enumerate(ends))
    send(log, *c)
    drain(updater)
    updater.publish(NOW)
    assert updater.report.superseded == 1
    same(versions.draft(), LiveFeatures.build(lab.logs, *day), NOW)


def test_a_crash_and_a_roll_back_read_again_from_the_offsets_of_what_is_served(lab: Lab, day, log):
    a, b, c = parts(day, 3)
    versions = Versions(LiveFeatures(lab.logs, LONG))
    updater = FeatureUpdater(log, versions, AT_ONCE)
    send(log, *a)
    drain(updater)
    FeatureUpdater(log, versions, FeatureUpdateConfig(3_600_000)).step(NOW)  # dies with its draft
    send(log, *b)
    drain(FeatureUpdater(log, versions, AT_ONCE))
    versions.publish(
        LiveFeatures(lab.logs, LONG), versions.current.offsets
    )  # a batch that went wrong
    send(log, *c)
    drain(updater)
    versions.roll_back()
    drain(updater)
    same(versions.draft(), LiveFeatures.build(lab.logs, *day), NOW)


def test_a_rebuild_heals_what_a_lossy_stream_lost(lab: Lab, day, log):
    chance = rng(0, "loss")

    def lossy(values):
        table, bad = read_reports(values)
        return table.take(chance.random(len(table)) > 0.2), bad

    versions = Versions(LiveFeatures(lab.logs, LONG))
    updater = FeatureUpdater(log, versions, AT_ONCE, read_impressions, lossy)
    truth = LiveFeatures.build(lab.logs, *day).counters(lab.logs.items["video_id"], NOW)
    send(log, *day)
    drain(updater)

    def lost() -> float:
        held = versions.current.state.counters(lab.logs.items["video_id"], NOW)
        return 1 - held["click"].sum() / truth["click"].sum()

    assert 0.1 < lost() < 0.3
    updater.reports = read_reports
    updater.rebuild(NOW, LiveFeatures(lab.logs, LONG))
    assert lost() == 0


def test_bad_entries_are_counted_and_stop_nothing(lab: Lab, day, log):
    versions = Versions(LiveFeatures(lab.logs, LONG))
    updater = FeatureUpdater(log, versions, AT_ONCE)
    log.append(EVENTS, [b"{", b"[]", b'{"app": 1}', b'{"app":"a","device_id":1,"event_id":"x"}'])
    send(log, *day)
    drain(updater)
    assert updater.report.bad == 4
    same(versions.draft(), LiveFeatures.build(lab.logs, *day), NOW)


def test_requests_see_whole_micro_batches_while_stream_and_rebuilds_publish(lab: Lab, day, log):
    """In every version the refreshed columns agree with the events behind them."""
    versions = Versions(LiveFeatures(lab.logs, LONG))
    updater = FeatureUpdater(log, versions, FeatureUpdateConfig(0, 20))
    ids, wrong, n, done = lab.logs.items["video_id"], [], [0], threading.Event()

    def serve() -> None:
        while not done.is_set():
            live = versions.current.state
            column = live.items["impressions_30d"].copy()
            time.sleep(0.0005)
            counted = live.counters(ids, NOW)["impressions"]
            n[0] += 1
            if live is not first and (column != counted).any():
                wrong.append(versions.current.number)

    first = versions.current.state
    reader = threading.Thread(target=serve)
    reader.start()
    for at, some in enumerate(parts(day, 12)):
        send(log, *some)
        drain(updater)
        if at % 4 == 3:
            updater.rebuild(NOW, LiveFeatures(lab.logs, LONG))
    done.set()
    reader.join()
    assert n[0] > 10 and versions.current.number > 20 and not wrong
