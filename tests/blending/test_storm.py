"""Real processes under load, with one business killed, one hung and one returning garbage: every
request is answered with ten valid, different items, in time; what is mended is asked again.

The small storm is part of every run; the large one, 200 callers, is marked slow and holds their
times against the deadline; tests/bench/router.py prints them.
"""

import time

import numpy as np
import pytest

from reclab.blending.breaker import BreakerConfig
from reclab.blending.contract import monotonic_ms
from reclab.blending.router import Router, RouterConfig
from reclab.blending.servers import Servers
from reclab.core.types import Request
from tests.blending.small import NAMES, POOL, index
from tests.blending.storm import Report, Storm, break_three, wait_closed

BUSY_MS = 2000  # what a machine with other work adds to the time to recover
FACTORY = "tests.blending.small:open_business"


def weather(
    names: tuple[str, ...], callers: int, seconds: float, config: RouterConfig, pause_s: float
) -> Report:
    """Healthy, broken, mended, under load; asserts what has to hold at any speed."""
    with Servers(names, FACTORY) as servers:
        router = Router(servers.clients(), index(), POOL, config=config)
        router.recommend(Request(1, 0))  # connects
        with Storm(router, callers, pause_s) as storm:
            began = monotonic_ms()
            time.sleep(seconds / 2)
            broken = break_three(servers)
            time.sleep(seconds)
            opened = {name: [*router.breakers[name].history] for name in broken}
            back = {}
            for name in broken:
                servers.restart(name)
                back[name] = monotonic_ms()
            stated = config.breaker.recovery_ms(config.limit_ms(names[0]))
            closed = wait_closed(router, broken, (stated + 2 * BUSY_MS) / 1000)
            time.sleep(seconds / 4)
        whole = storm.since(began)
    assert storm.errors == []
    assert whole.good == 1.0 and whole.n > callers
    assert all(seen and seen[0][1] == "open" for seen in opened.values())
    recovery = {name: closed[name] - back[name] for name in broken}
    assert max(recovery.values()) <= stated + BUSY_MS, recovery
    assert all(storm.outcomes[f"{name} open"] for name in broken)
    assert not storm.outcomes["short_video failed"]
    return whole


def test_a_small_storm():
    breaker = BreakerConfig(in_a_row=2, open_ms=300, probes=1)
    config = RouterConfig(deadline_ms=400, finish_ms=40, breaker=breaker)
    weather(NAMES[:4], 12, 0.6, config, pause_s=0.05)


@pytest.mark.slow
def test_two_hundred_callers_and_six_businesses():
    config = RouterConfig(deadline_ms=400, finish_ms=40, breaker=BreakerConfig(open_ms=1000))
    whole = weather(NAMES, 200, 4.0, config, pause_s=0.0)
    assert whole.p99 <= 1.1 * config.deadline_ms


@pytest.mark.slow
def test_the_cascade_as_a_process_answers_as_in_this_one(lab):
    from reclab.blending.rpc import call
    from tests.blending.over_cascade import OverCascade

    requests = lab.requests(3)
    said = OverCascade("short_video", lab.trained).offer(requests, 30, None)
    with Servers(("short_video",), "tests.blending.over_cascade:open_business") as servers:
        got = call(servers.clients()[0], requests, 30, 30_000)
    assert got.item_id.tolist() == said.item_id.tolist()
    np.testing.assert_allclose(got.score, said.score, rtol=1e-5)
