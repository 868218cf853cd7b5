"""The degradation cache under stress: 200 takers at once, and a Redis that is killed.

Takers: threads, each with a connection of its own, start together and want an item of the same few
users. Three ways to take:

    script          one script inside Redis: read, cut, hand out in one step
    claim           read, then claim in one script what is still there (the degraded path's way)
    read and write  read, hand out, write the rest back: what no cache should do

Killed: pages are served by several threads, and in the middle of it the server gets a SIGKILL.

Simplified: industry's takers sit on many machines, and its Redis has a replica that takes over.
"""

import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np

from reclab.core.types import Array, Request, Slate
from reclab.degradation_dcaf.cache import Cached, DegradationCache
from reclab.degradation_dcaf.pipeline import DegradedPath
from reclab.lab.cached_answers import hot_pool
from reclab.lab.lab import Lab
from reclab.stores.exposures import RecentExposures
from reclab.stores.forward_index import ForwardIndex
from reclab.stores.kv import KV
from reclab.stores.redis_server import RedisServer

KEPT = 20  # items of a user: ranks 11 to 30
WAIT_S = 60.0  # a taker that cannot connect must not keep the others waiting for ever
Take = Callable[[DegradationCache, int], Array]


@dataclass(frozen=True)
class Taken:
    """Items that were ``put``, ``handed`` out in all, handed out more than once (``twice``, counted
    beyond the first time), that are ``left``, that are left although they were handed out
    (``again``), and that are neither (``lost``)."""

    put: int
    handed: int
    twice: int
    left: int
    again: int
    lost: int


def _script(cache: DegradationCache, user: int) -> Array:
    return cache.take(user, 1).item_id


def _claim(cache: DegradationCache, user: int) -> Array:
    while True:
        held = cache.peek([user])[0]
        best = Cached(held.item_id[:1], held.score[:1])
        got = cache.claim([user], [best])[0]
        if got.all():  # also when there was nothing
            return best.item_id


def _read_and_write(cache: DegradationCache, user: int) -> Array:
    held = cache.peek([user])[0]
    cache.put(user, held.item_id[1:], held.score[1:])
    return held.item_id[:1]


WAYS: dict[str, Take] = {"script": _script, "claim": _claim, "read and write": _read_and_write}


def takers(n_takers: int = 200, n_users: int = 5) -> dict[str, Taken]:
    """``n_takers`` threads at once, each for one item of one of ``n_users`` users; by way."""
    return {name: _run(way, n_takers, n_users) for name, way in WAYS.items()}


def _run(way: Take, n_takers: int, n_users: int) -> Taken:
    server = RedisServer()
    handed: list[tuple[int, int]] = []
    gate = threading.Barrier(n_takers)

    def taker(user: int) -> None:
        with KV(server.address, "cache-stress") as kv:
            cache = DegradationCache(kv)
            gate.wait(WAIT_S)
            handed.extend((user, item) for item in way(cache, user).tolist())

    try:
        with KV(server.address, "cache-stress") as kv:
            cache = DegradationCache(kv)
            for user in range(n_users):
                cache.put(user, np.arange(KEPT), np.linspace(1, 0, KEPT))
            with ThreadPoolExecutor(n_takers) as pool:
                list(pool.map(taker, [number % n_users for number in range(n_takers)]))
            held = cache.peek(range(n_users))
            left = {(user, item) for user in range(n_users) for item in held[user].item_id.tolist()}
    finally:
        server.stop()
    once, put = set(handed), KEPT * n_users
    twice, again = len(handed) - len(once), len(left & once)
    return Taken(put, len(handed), twice, len(left), again, put - len(left | once))


# ---- Redis is killed -------------------------------------------------------------------------


@dataclass(frozen=True)
class Survived:
    """Degraded requests around the kill: how many were ``asked``, ``answered`` without an error,
    and with ten different items of the catalogue (``full``); share of cards from the cache among
    the requests asked before and after the kill."""

    asked: int
    answered: int
    full: int
    cached_before: float
    cached_after: float


def killed(lab: Lab, n: int = 200, after: int = 100, workers: int = 8) -> Survived:
    """Serve ``n`` degraded requests by ``workers`` threads; once ``after`` are answered, kill the
    Redis that holds the cache and the exposures. The server is one of its own: the lab's stays."""
    p, server = lab.trained.parts, RedisServer()
    kv = KV(server.address, "killed")
    cache, exposures = DegradationCache(kv), RecentExposures(kv)
    path = DegradedPath(cache, p.index, p.users, hot_pool(lab), exposures)
    try:
        requests = _remembered(lab, path.cache, n)
        gone, half = threading.Event(), threading.Semaphore(0)

        def serve(request: Request) -> tuple[bool, Slate | None]:
            late = gone.is_set()
            try:
                return late, path.recommend(request)[0]
            except Exception:  # whatever it is, the request was not answered: that is counted
                return late, None
            finally:
                half.release()

        with ThreadPoolExecutor(workers) as pool:
            running = [pool.submit(serve, request) for request in requests]
            for _ in range(min(after, len(requests) - 1)):
                half.acquire()
            os.kill(server.pid, signal.SIGKILL)
            while server.running:  # a killed process may still answer for a moment
                time.sleep(0.001)
            gone.set()
            answers = [one.result() for one in running]
    finally:
        kv.redis.close()
        server.stop()
    return _counted(answers, p.index)


def _remembered(lab: Lab, cache: DegradationCache, n: int) -> list[Request]:
    """Requests for ten of different users, whose healthy answers have just filled the cache; users
    come again when there are fewer than ``n``."""
    by_user = {request.user_id: replace(request, n=30) for request in lab.requests(2 * n)}
    asked = list(by_user.values())[:n]
    for at in range(0, len(asked), 20):
        for slate in lab.trained.recommend_batch(asked[at : at + 20])[0]:
            cache.remember(slate)
    return [replace(asked[row % len(asked)], n=10) for row in range(n)]


def _counted(answers: Sequence[tuple[bool, Slate | None]], index: ForwardIndex) -> Survived:
    slates = [(late, slate) for late, slate in answers if slate is not None]
    full = sum(
        len(np.unique(slate.item_id)) == 10 and bool((index.rows(slate.item_id) >= 0).all())
        for _, slate in slates
    )
    cached = [[], []]
    for late, slate in slates:
        cached[late].append(float((~np.isnan(slate.columns["rank_score"])).mean()))
    before, after = (float(np.mean(part)) if part else float("nan") for part in cached)
    return Survived(len(answers), len(slates), full, before, after)
