"""The Router on real gRPC processes under 200 concurrent requests: faults, recovery, and what the
door is worth; then its overhead in one process.

Callers, Router and the six businesses share this machine's cores; times depend on what else runs.
"""

import os
import threading
import time

import numpy as np

from reclab.blending.breaker import BreakerConfig
from reclab.blending.contract import monotonic_ms
from reclab.blending.router import Router, RouterConfig
from reclab.blending.rpc import Local
from reclab.blending.servers import Servers
from reclab.core.types import Request
from tests.blending.small import NAMES, POOL, Small, index
from tests.blending.storm import Storm, break_three, wait_closed

CALLERS, DEADLINE_MS = 200, 300.0
CONFIG = RouterConfig(deadline_ms=DEADLINE_MS, breaker=BreakerConfig(open_ms=1000))


def faults(seconds: float = 4.0) -> None:
    """Healthy, then three businesses broken, then mended."""
    stated = CONFIG.breaker.recovery_ms(CONFIG.limit_ms("live"))
    factory = "tests.blending.small:open_business"
    print(f"{CALLERS} callers, six businesses, deadline {DEADLINE_MS:g} ms")
    with Servers(NAMES, factory) as servers:
        router = Router(servers.clients(), index(), POOL, config=CONFIG)
        with Storm(router, CALLERS) as storm:
            began = monotonic_ms()
            time.sleep(seconds)
            print(f"{'healthy':<22}{storm.since(began)}", flush=True)
            broken_ms = monotonic_ms()
            broken = break_three(servers)
            time.sleep(seconds)
            print(f"{'killed, hung, garbage':<22}{storm.since(broken_ms)}", flush=True)
            states = ", ".join(f"{name} {router.breakers[name].state}" for name in broken)
            restarted = {}
            for name in broken:
                servers.restart(name)
                restarted[name] = monotonic_ms()
            closed = wait_closed(router, broken, 10.0)
            mended_ms = monotonic_ms()
            time.sleep(seconds)
            print(f"{'mended':<22}{storm.since(mended_ms)}", flush=True)
        whole = storm.since(began)
    print(f"{'all of it':<22}{whole}")
    print(f"breakers while broken: {states}; requests that raised: {len(storm.errors)}")
    for name in broken:
        took = f"{closed[name] - restarted[name]:.0f} ms" if name in closed else "not in 10 s"
        print(f"  {name:<9} closed {took} after its restart (stated: {stated:.0f} ms)")
    print(f"p99 / deadline {whole.p99 / DEADLINE_MS:.2f};  calls: {dict(storm.outcomes)}")


def door(seconds: float = 3.0) -> None:
    """Requests that go together against each for itself."""
    with Servers(NAMES, "tests.blending.small:open_business") as servers:
        for most in (64, 1):
            config = RouterConfig(deadline_ms=DEADLINE_MS, most=most)
            router = Router(servers.clients(), index(), POOL, config=config)
            with Storm(router, CALLERS) as storm:
                began = monotonic_ms()
                time.sleep(seconds)
                print(f"{most:>3} at most together    {storm.since(began)}", flush=True)


class Timed(Small):
    """Knows how long its latest answer took."""

    def offer(self, *asked):  # noqa: ANN002, ANN201
        began = monotonic_ms()
        offers = super().offer(*asked)
        self.took_ms = monotonic_ms() - began
        return offers


def bare(businesses: list[Timed], request: Request) -> float:
    """Overhead of threads alone: all businesses asked at once, nothing checked, nothing blended."""
    from reclab.blending.contract import Deadline

    began = monotonic_ms()
    threads = [
        threading.Thread(target=one.offer, args=([request], 20, Deadline(1000)))
        for one in businesses
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return monotonic_ms() - began - max(one.took_ms for one in businesses)


def overhead(times: int = 300) -> None:
    """Wall time of a page beyond that of the slowest business, in one process."""
    print(f"{'business takes':<18}{'overhead p10':>13}{'p50':>7}{'p90':>7}{'bare threads p50':>18}")
    for name, each in (("0 ms", [0] * 6), ("2, 4 ... 12 ms", [2, 4, 6, 8, 10, 12])):
        businesses = [Timed(n, float(ms)) for n, ms in zip(NAMES, each, strict=True)]
        router = Router([Local(one) for one in businesses], index(), POOL)
        request, over, kernel = Request(3, 0), [], []
        for _ in range(times):
            began = monotonic_ms()
            router.recommend(request)
            over.append(monotonic_ms() - began - max(one.took_ms for one in businesses))
            kernel.append(bare(businesses, request))
        p10, p50, p90 = np.percentile(over, [10, 50, 90])
        print(f"{name:<18}{p10:>10.2f} ms{p50:>7.2f}{p90:>7.2f}{np.median(kernel):>18.2f}")


def main() -> None:
    """Print the tables."""
    print(f"load of the machine before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    faults()
    print("\nthe door, no faults")
    door()
    print("\nin one process")
    overhead()
    print(f"load of the machine after: {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
