"""lab.data_path: all of figure 2.3 as processes, broken in every way, and exact afterwards."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np
import psutil
import pytest

from reclab.core.errors import ConfigError, DataError
from reclab.lab import data_path_check
from reclab.lab.data_path import DataPathConfig, data_path
from reclab.lab.data_path_processes import Consumers, PartDown
from reclab.lab.data_path_replay import PlatformClock
from reclab.lab.data_path_traffic import traffic
from reclab.offline_online.join.sample_topic import EpochFilter
from reclab.offline_online.labels.label_store import LabelStore
from reclab.offline_online.pipeline import SAMPLES

QUICK = DataPathConfig(minutes=90, seconds=5, requests=120, partitions=2)


@pytest.fixture(scope="module")
def broken(lab):
    """A path that was hurt in every way, inside a running event loop as in Jupyter."""

    async def live():
        path = data_path(lab, QUICK, show=False)
        assert httpx.get(f"{path.url}/v1/health").json()["log"] == "up"
        path.watch(1.5)
        told = [path.kill("joiner"), path.double_send(), path.garbage(20), path.skew_clock(1_000)]
        told += [path.kill("redis")]
        path.watch(0.6)
        told += [path.restart("redis"), path.kill("labels"), path.restart("joiner")]
        told += [path.skew_clock(-60)]
        return path, told, path.check()  # which starts the label consumer again

    with ThreadPoolExecutor(1) as apart:  # the browser's tests leave a loop running in this thread
        path, told, checked = apart.submit(asyncio.run, live()).result()
    yield path, told, checked
    path.close()


def test_nothing_is_lost_or_doubled_whatever_was_killed(broken):
    path, _, checked = broken
    assert checked.exact, checked.table()
    assert checked.samples == sum(len(one.video_id) for one in path.what.requests) > 200
    assert checked.accepted > 300 and 0 < checked.late < 0.2 * checked.reports
    assert all(path.running().values())


def test_each_break_says_what_happened(broken):
    path, told, _ = broken
    killed, twice, garbage, ahead, *_, behind = told
    assert killed.what == "killed joiner 1" and "joiner 2" in killed.told["left"]
    assert twice.told["duplicates"] == twice.told["sent"] > 0 == twice.told["accepted"]
    assert sum(garbage.told.values()) == 20
    assert all(name[:3] in ("400", "401", "413", "415", "422") for name in garbage.told)
    assert ahead.told["clock_ahead"] == ahead.told["sent"] > 0 == ahead.told["accepted"]
    assert behind.told["accepted"] == behind.told["sent"] > 0
    assert [what for _, what in path.watch(0).marks][0] == "killed joiner 1"


def test_rates_and_lag_were_seen_and_the_outage_is_a_gap(broken):
    path, _, checked = broken
    seen = path.watch(0.3)
    assert np.isnan(seen.lag).any() and not np.isnan(seen.lag[-1]).any()
    assert np.nanmax(seen.rate[:, seen.topics.index("events")]) > 20
    assert (seen.lag[-1] <= 2).all()
    events = seen.entries[-1, seen.topics.index("events")]
    assert events >= checked.accepted
    assert 0.7 < seen.labels[-1] / seen.reports[-1] <= 1.0


def test_the_check_finds_what_is_lost_and_doubled(broken):
    path, _, checked = broken
    cards = checked.shown + 3
    accepted = path.phones.accepted | {"event-that-vanished"}
    entries = path.log.read(SAMPLES, 0, 0, 10_000)
    one = int(np.flatnonzero(EpochFilter().keep(entries.value))[-2])
    path.log.append(SAMPLES, [entries.value[one]], [entries.key[one]])
    labels = LabelStore(path.redis.address)
    key = f"{path.what.requests[0].req_id}:{path.what.requests[0].video_id[0]}"
    labels.kv.redis.delete(labels.kv.key(key))
    found = data_path_check.compare(
        path.log, labels, cards, accepted, path.window_ms, path.what.end_ms, path.clock()
    )
    assert (found.events_lost, found.shown_lost) == (1, 3)
    assert found.doubled >= 1 and found.labels_wrong <= 1
    assert not found.exact and found.lost == 0
    # a shorter window than the joiner had: its samples hold labels that came too late
    short = data_path_check.compare(
        path.log, labels, cards, accepted, 1_000, path.what.end_ms, path.clock()
    )
    assert short.wrong > 100
    labels.close()


def test_what_cannot_be_done_is_told(broken):
    path, *_ = broken
    with pytest.raises(DataError, match="joiner 1, joiner 2, labels, redis"):
        path.kill("gateway")
    with pytest.raises(DataError, match="labels runs already"):
        path.restart("labels")


def test_closing_leaves_no_process_and_no_folder(broken):
    path, *_ = broken
    pids = [path.redis.pid, *(p.pid for p in path.consumers._processes.values())]
    assert len(pids) == 4
    path.close()
    path.close()
    assert not any(psutil.pid_exists(pid) for pid in pids) and not path.folder.exists()
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{path.url}/v1/health")


def test_a_consumer_that_does_not_start_says_its_last_words(tmp_path):
    consumers = Consumers(tmp_path)
    consumers.start("joiner 1", "reclab.offline_online.join.joiner", {"address": "nonsense://x"})
    for _ in range(400):
        if not consumers.running("joiner 1"):
            break
        time.sleep(0.02)
    with pytest.raises(PartDown, match="joiner 1 did not start: .*nonsense"):
        consumers.check(("joiner 1",))
    consumers.stop()


def test_a_consumer_ends_with_an_owner_that_was_killed(tmp_path):
    code = (
        "import sys, time, pathlib\n"
        "from reclab.lab.data_path_processes import Consumers\n"
        "one = Consumers(pathlib.Path(sys.argv[1]))\n"
        "print(one.start('sleeper', 'sleeper', {}), flush=True)\ntime.sleep(60)"
    )
    (tmp_path / "sleeper.py").write_text("import time\ntime.sleep(60)\n")
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    owner = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, env=env
    )
    assert owner.stdout
    child = psutil.Process(int(owner.stdout.readline()))
    time.sleep(0.3)
    owner.send_signal(signal.SIGKILL)
    owner.wait()
    owner.stdout.close()
    child.wait(10)  # raises TimeoutExpired


def test_traffic_is_that_of_the_lab_of_fewer_users_where_there_are_more(lab):
    much, little = traffic(lab, 120, 10_000), traffic(lab, 120, 40)
    assert 0 < len(little.requests) < len(much.requests)
    assert {one.req_id for one in little.requests} <= {one.req_id for one in much.requests}
    for what in (much, little):
        assert (np.diff(what.asked_ms) >= 0).all() and (np.diff(what.told_ms) >= 0).all()
        assert what.begin_ms <= what.asked_ms[0] and what.asked_ms[-1] < what.end_ms
        assert sum(what.n_reports.values()) >= len(what.events)
    with pytest.raises(ConfigError, match="DataPathConfig.joiners"):
        DataPathConfig(joiners=0)


def test_the_platforms_time_stands_until_it_is_started_and_can_jump():
    clock = PlatformClock(5_000, 100.0)
    assert clock() == clock() == 5_000
    clock.start()
    time.sleep(0.02)
    assert clock() >= 7_000
    clock.jump(10**9)
    assert 10**9 <= clock() < 10**9 + 60_000
