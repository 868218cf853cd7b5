"""Joiners and Redis killed with -9 in the middle of their work: the samples are still exact."""

import time
from functools import partial

import numpy as np
import pytest

from reclab.offline_online.pipeline import EVENTS, FEATURES, create_topics
from reclab.stores.event_log import TopicConfig, open_log
from reclab.stores.kv import KV
from tests.offline_online.fixed_redis import FixedRedis
from tests.offline_online.join_storm import differences, found, put, storm
from tests.offline_online.joiner_process import insist, n_out, start_joiner, until
from tests.offline_online.test_joiner import joiner, work

N_PAGES, TURNS = 1_500, 20
KILLS = {3: "first joiner", 7: "redis", 10: "second joiner", 13: "redis", 16: "first joiner"}


@pytest.mark.slow
def test_kills_of_joiners_and_redis_lose_and_double_nothing(tmp_path):
    weather, redis, chance = storm(N_PAGES, seed=3), FixedRedis(tmp_path), np.random.default_rng(3)
    log = open_log(redis.address, namespace="log")
    create_topics(log, TopicConfig(partitions=4))
    names, out = ("first joiner", "second joiner"), 0
    running = {name: start_joiner(redis.address) for name in names}
    try:
        for turn in range(TURNS):
            for topic, entries in ((FEATURES, weather.pages), (EVENTS, weather.events)):
                cut = [len(entries) * k // TURNS for k in (turn, turn + 1)]
                insist(log, partial(put, log, topic, entries[slice(*cut)]))
            if turn + 1 in KILLS:  # they are at work, so that the next kill strikes in the middle
                until(lambda out=out: n_out(log) > out)
            if turn in KILLS:
                time.sleep(0.2 * chance.random())
                if KILLS[turn] == "redis":
                    redis.kill()
                    redis.start()
                else:
                    name = KILLS[turn]
                    running[name].kill()
                    running[name].wait()
                    running[name] = start_joiner(redis.address)
                insist(log, partial(log.stats, "samples"))
                out = n_out(log)
        for process in running.values():
            process.kill()
            process.wait()
        last = joiner(log, KV(redis.address, "log-joiner"))
        until(lambda: last.step(wait_ms=50) >= 0 and len(last.parts) == 4)
        work(last)
        last.drain()
        assert len(weather.truth) == 10 * N_PAGES
        assert differences(found(log), weather.truth) == {}
        assert all(report.balanced for report in last.report().values())
        assert sum(part.count["gone"] for part in last.parts.values()) == 0
    finally:
        for process in running.values():
            process.kill()
            process.wait()
        redis.kill()
