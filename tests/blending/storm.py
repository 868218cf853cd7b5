"""A storm: many callers at once, in a closed loop, while businesses are killed, hung, and replaced
by releases that return garbage. What every page was, and how long it took."""

import threading
import time
from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from reclab.blending.contract import monotonic_ms
from reclab.blending.router import Router
from reclab.blending.servers import Servers
from reclab.core.types import Request
from tests.blending.small import N_USERS


@dataclass
class Storm:
    """``callers`` threads, each asking for the next page when it has got one."""

    router: Router
    callers: int
    pages: list[tuple[float, float, bool, int]] = field(default_factory=list)
    """(end in ms, ms taken, ten different known items, of them from the pool)"""
    outcomes: Counter[str] = field(default_factory=Counter)
    errors: list[str] = field(default_factory=list)

    def __enter__(self) -> "Storm":
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._call, args=(n,)) for n in range(self.callers)
        ]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _call(self, caller: int) -> None:
        user = caller
        while not self._stop.is_set():
            user = (user + self.callers) % N_USERS
            began = monotonic_ms()
            try:
                slate, trace = self.router.recommend(Request(user, 0))
            except Exception as error:  # the one thing that must never happen: counted, reported
                self.errors.append(repr(error))
                continue
            now = monotonic_ms()
            known = self.router.index.rows(slate.item_id) >= 0
            good = len(slate) == 10 and len({*slate.item_id.tolist()}) == 10 and bool(known.all())
            self.pages.append((now, now - began, good, trace.from_pool))
            self.outcomes.update(f"{one.business} {one.outcome}" for one in trace.calls)

    def since(self, began_ms: float) -> "Report":
        """What happened from then until now."""
        ended = [page for page in [*self.pages] if page[0] >= began_ms]
        _, ms, good, pool = np.array(ended, float).T
        seconds = (monotonic_ms() - began_ms) / 1000
        p50, p99 = np.percentile(ms, [50, 99])
        pooled = float(pool.sum() / (10 * len(pool)))
        return Report(len(ms), len(ms) / seconds, p50, p99, ms.max(), float(good.mean()), pooled)


@dataclass(frozen=True)
class Report:
    """``good``: share of pages with ten valid, different items; ``pooled``: share of cards that
    came from the last-resort pool; times in ms."""

    n: int
    per_s: float
    p50: float
    p99: float
    most: float
    good: float
    pooled: float

    def __str__(self) -> str:
        sizes = f"{self.n:>7,} pages {self.per_s:>6,.0f}/s"
        times = f"p50 {self.p50:>5.0f}  p99 {self.p99:>5.0f}  max {self.most:>5.0f} ms"
        return f"{sizes}  {times}  good {self.good:7.2%}  from pool {self.pooled:6.2%}"


def wait_closed(router: Router, names: tuple[str, ...], within_s: float) -> dict[str, float]:
    """When (ms) each of these breakers was closed for good; those that are not are left out."""
    until = time.monotonic() + within_s
    while time.monotonic() < until:
        if all(router.breakers[name].state == "closed" for name in names):
            break
        time.sleep(0.01)
    closed = {name: router.breakers[name] for name in names}
    return {n: b.history[-1][0] for n, b in closed.items() if b.state == "closed" and b.history}


def break_three(servers: Servers) -> tuple[str, str, str]:
    """One business killed, one hung, one replaced by a release that returns garbage."""
    servers.kill("live")
    servers.hang("product")
    servers.restart("ad", factory="tests.blending.small:open_garbage")
    return "live", "product", "ad"
