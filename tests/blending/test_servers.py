"""Businesses as processes: one call starts and stops them, and none is left behind."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from reclab.blending.contract import CallFailed, CallLate
from reclab.blending.rpc import call
from reclab.blending.servers import ServerDown, Servers
from reclab.blending.slow_down import SlowDown
from reclab.core.errors import ConfigError, DataError
from reclab.core.types import Request
from tests.blending.small import Small

ROOT = Path(__file__).resolve().parents[2]
FACTORY = "tests.blending.small:open_business"
REQUESTS = [Request(3, 0), Request(4, 0)]
OWNER = f"""
import sys, time
from reclab.blending.servers import Servers
with Servers(("live", "ad"), "{FACTORY}") as servers:
    servers.hang("ad")
    print(servers.pid("live"), servers.pid("ad"), servers.folder, flush=True)
    time.sleep(60)
"""


def gone(pid: int, within_s: float = 15.0) -> bool:
    until = time.monotonic() + within_s
    while time.monotonic() < until:
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.02)
    return False


def test_a_process_answers_dies_hangs_and_comes_back():
    with Servers(("live", "ad"), FACTORY) as servers:
        live, ad = servers.clients()
        pids, port = [servers.pid("live"), servers.pid("ad")], servers.ports["live"]
        said = Small("live").offer(REQUESTS, 5, _far())
        assert call(live, REQUESTS, 5, 5000).item_id.tolist() == said.item_id.tolist()
        servers.kill("live")
        assert not servers.running("live")
        with pytest.raises(CallFailed, match="unavailable"):
            call(live, REQUESTS, 5, 5000)
        servers.hang("ad")
        with pytest.raises(CallLate):
            call(ad, REQUESTS, 5, 100)
        servers.resume("ad")
        assert len(call(ad, REQUESTS, 5, 5000).item_id) == 10
        servers.restart("live")
        assert servers.ports["live"] == port and servers.pid("live") != pids[0]
        until = time.monotonic() + 3  # the client connects again by itself
        while time.monotonic() < until:
            try:
                again = call(live, REQUESTS, 5, 5000)
                break
            except CallFailed:
                time.sleep(0.05)
        assert again.item_id.tolist() == said.item_id.tolist()
        assert servers.log("live").count("ready live") == 2
        pids += [servers.pid("live")]
        folder = servers.folder
    assert all(gone(pid, 1.0) for pid in pids) and not folder.exists()


def _far():
    from reclab.blending.contract import Deadline

    return Deadline(1e6)


def test_a_name_may_have_spaces_and_the_environment_reaches_the_factory():
    told = {"SMALL_ITEMS_OF": "ad"}
    with Servers(
        ("short video",), "tests.blending.small:open_as_told", environment=told
    ) as servers:
        (client,) = servers.clients()
        said = call(client, REQUESTS, 5, 5000)
        assert said.item_id.tolist() == Small("ad").offer(REQUESTS, 5, _far()).item_id.tolist()


def test_a_slow_process_answers_in_its_own_time_and_may_die_meanwhile():
    with Servers(("live",), FACTORY) as servers:
        (client,) = servers.clients()
        with SlowDown(servers, "live", run_ms=5, pause_ms=20):
            states = {psutil.Process(servers.pid("live")).status() for _ in range(2000)}
            assert psutil.STATUS_STOPPED in states
            assert len(call(client, REQUESTS, 5, 20_000).item_id) == 10
            servers.kill("live")
            time.sleep(0.1)
            servers.start("live")
        assert psutil.Process(servers.pid("live")).status() != psutil.STATUS_STOPPED
        with pytest.raises(DataError, match="no server 'ads'"):
            SlowDown(servers, "ads").__enter__()


def test_a_release_that_does_not_start_is_told_with_its_last_words():
    with Servers(("live",), FACTORY) as servers:
        with pytest.raises(ServerDown, match="'live' left with code 1.*model of live is missing"):
            servers.restart("live", factory="tests.blending.small:open_nothing")
        assert "Traceback" in servers.log("live") and not servers.running("live")
        servers.start("live")
        assert servers.running("live")


def test_a_factory_that_is_none_is_named():
    with pytest.raises(ServerDown, match="--factory must name a function"):
        Servers(("live",), "tests.blending.small").__enter__()


def test_a_server_that_takes_too_long_is_given_up():
    servers = Servers(("live",), FACTORY, start_s=0.01)
    with pytest.raises(ServerDown, match="not ready in 0.01 s"):
        servers.start()
    assert not servers.running("live")
    servers.stop()


def test_wrong_names_are_named():
    with pytest.raises(ConfigError, match="Servers.names"):
        Servers(("live", "live"), FACTORY)
    servers = Servers(("live",), FACTORY)
    with pytest.raises(DataError, match="no server 'ads'"):
        servers.kill("ads")
    with pytest.raises(DataError, match="'live' is not running"):
        servers.hang("live")
    servers.stop()


@pytest.mark.slow
def test_when_the_owner_is_killed_its_servers_leave_also_one_that_hangs():
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    *pids, folder = owner.stdout.readline().split()
    owner.send_signal(signal.SIGKILL)
    owner.communicate(timeout=10)
    assert all(gone(int(pid)) for pid in pids)
    for log in Path(folder).iterdir():
        log.unlink()
    os.rmdir(folder)
