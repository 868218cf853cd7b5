"""Exercise 3.5: how many machines for 21:00 (容量规划).

smallest m:  late(busiest QPS, service time, (m - spare) · cores, limit) <= 1 %
late(λ, s, c, t) = C(c, λ s) e^{-(c - λ s) t / s}   (Erlang C; 1 when λ s >= c)

Traffic is a tide: the evening has several times the mean. A queue does not forgive full use: near
100 % the wait grows without bound, so the peak is served at less, and one machine may be down.
Reference: Erlang 1917; Gross and Harris, Fundamentals of Queueing Theory.

Simplified: service times vary like an exponential, requests come at random, any core takes any.
"""

from collections.abc import Callable

import numpy as np

from reclab.core.chance import rng
from reclab.core.types import Array
from reclab.learn.exercise import Task
from reclab.learn.probe import Case, Misconception, Probe
from reclab.offline_online.serving.capacity import erlang_c, wait_scale_ms

SHARE = 0.01  # of requests may wait longer than the limit
Late = Callable[[float, float, int, float], float]


def machines(qps, service_ms, cores, limit_ms, spare, late):
    """(24,) hourly QPS, ms of one core a request -> machines to buy."""
    peak, m = qps.max(), 1
    while late(peak, service_ms, m * cores, limit_ms) > 0.01:
        m += 1
    return m + spare


class ErlangC:
    """``late(qps, service_ms, servers, limit_ms)``: share of requests that wait longer for one of
    ``servers`` cores.

    >>> round(ErlangC()(10.0, 100.0, 2, 0.0), 3)  # two servers, one of them busy on average
    0.333
    """

    def __call__(self, qps: float, service_ms: float, servers: int, limit_ms: float) -> float:
        load = qps * service_ms / 1000
        if load >= servers:
            return 1.0
        mean = wait_scale_ms(qps, servers, service_ms, 1.0)  # of those who wait
        return float(erlang_c(servers, load) * np.exp(-limit_ms / mean))

    def __repr__(self) -> str:
        return "late(qps, service_ms, servers, limit_ms) -> share that waits longer"


def _sized(qps: float, service_ms: float, cores: int, limit_ms: float, late: Late) -> int:
    m = 1
    while late(qps, service_ms, m * cores, limit_ms) > SHARE:
        m += 1
    return m


def _mean(q: Array, s: float, cores: int, limit: float, spare: int, late: Late) -> int:
    return _sized(float(q.mean()), s, cores, limit, late) + spare


def _fully_used(q: Array, s: float, cores: int, limit: float, spare: int, late: Late) -> int:
    return max(int(np.ceil(q.max() * s / 1000 / cores)), 1) + spare


def _no_spare(q: Array, s: float, cores: int, limit: float, spare: int, late: Late) -> int:
    return _sized(float(q.max()), s, cores, limit, late)


def _cores_bought(q: Array, s: float, cores: int, limit: float, spare: int, late: Late) -> int:
    return _sized(float(q.max()), s, 1, limit, late) + spare


def _at_nine(q: Array, s: float, cores: int, limit: float, spare: int, late: Late) -> int:
    return _sized(float(q[21]), s, cores, limit, late) + spare


def _day_average(q: Array, s: float, cores: int, limit: float, spare: int, late: Late) -> int:
    m = 1
    while q @ [late(one, s, m * cores, limit) for one in q] > SHARE * q.sum():
        m += 1
    return m + spare


def _no_waiting(q: Array, s: float, cores: int, limit: float, spare: int, late: Late) -> int:
    return _sized(float(q.max()), s, cores, 0.0, late) + spare


def _service_counts(q: Array, s: float, cores: int, limit: float, spare: int, late: Late) -> int:
    return _sized(float(q.max()), s, cores, max(limit - s, 0.0), late) + spare


def _spare_doubles(q: Array, s: float, cores: int, limit: float, spare: int, late: Late) -> int:
    return _sized(float(q.max()), s, cores, limit, late) * (1 + spare)


MISCONCEPTIONS = (
    Misconception(
        "sized for the mean hour",
        _mean,
        "Machines bought for the mean are drowned every evening: the busiest hour decides. What "
        "stands idle at night is what elastic allocation is for.",
    ),
    Misconception(
        "every core busy all the time",
        _fully_used,
        "At 100 % use the queue has no end: requests come at random, and each idle moment is lost. "
        "Ask late() for the share that waits too long.",
    ),
    Misconception(
        "no spare",
        _no_spare,
        "One machine will be down on some evening. What is left must still do: add spare.",
    ),
    Misconception(
        "one core a machine",
        _cores_bought,
        "late() counts servers, which are cores: m machines have m * cores of them.",
    ),
    Misconception(
        "21:00 taken for the busiest hour",
        _at_nine,
        "Which hour is busiest is in the curve; on a Saturday it need not be the 21st. Take "
        "qps.max().",
    ),
    Misconception(
        "one per cent over the whole day",
        _day_average,
        "The good hours hide the bad one: over the day one per cent may be late, at 21:00 ten. The "
        "limit holds in every hour.",
    ),
    Misconception(
        "nobody may wait",
        _no_waiting,
        "limit_ms of waiting are allowed. Pass it to late(); at 0 you pay for machines that the "
        "promise does not ask for.",
    ),
    Misconception(
        "the service time is taken off the limit",
        _service_counts,
        "limit_ms bounds the waiting for a core alone; the service time comes after it.",
    ),
    Misconception(
        "a spare for every machine",
        _spare_doubles,
        "spare machines may be down, of all of them: add them once.",
    ),
)


def _tide(peak: float, at: int = 21, night: float = 0.12) -> Array:
    """(24,) a day's QPS with one peak."""
    hours = np.arange(24)
    away = np.minimum((hours - at) % 24, (at - hours) % 24)
    return np.asarray(np.round(peak * np.maximum(np.exp(-((away / 5.0) ** 2)), night), 1))


_ROUGH = np.round(900 * rng(3, "exercise-3.5").uniform(0.4, 1.0, 24), 1)
CASES = (
    Case("a tide with its peak at 21:00", (_tide(2000.0), 8.0, 4, 20.0, 1, ErlangC())),
    Case("Saturday: the peak is at 14:00", (_tide(2000.0, 14), 8.0, 4, 20.0, 1, ErlangC())),
    Case("two machines may be down", (_tide(2000.0), 8.0, 4, 20.0, 2, ErlangC())),
    Case("a slow model, a loose limit", (_tide(300.0), 60.0, 2, 200.0, 1, ErlangC())),
    Case("a slow model, a tight limit", (_tide(300.0), 60.0, 2, 5.0, 1, ErlangC())),
    Case("the same all day", (np.full(24, 120.0), 25.0, 8, 10.0, 1, ErlangC())),
    Case("a rough day", (_ROUGH, 12.0, 16, 15.0, 0, ErlangC())),
    Case("hardly anybody", (np.full(24, 0.5), 10.0, 4, 20.0, 1, ErlangC())),
    Case("a large platform", (_tide(40_000.0), 6.0, 32, 10.0, 3, ErlangC())),
)

TASK = Task(
    id="3.5",
    title="Size the cluster for 21:00",
    asked="Write machines(qps, service_ms, cores, limit_ms, spare, late): qps (24,) of a day by "
    "hour; each request keeps one core busy for service_ms on average; a machine has cores. Return "
    "how many machines to buy, so that in every hour at most 1 % of the requests wait longer than "
    "limit_ms for a core, also while `spare` machines are down. late(qps, service_ms, servers, "
    "limit_ms) gives the share that waits longer when servers cores share one queue.",
    starter="def machines(qps, service_ms, cores, limit_ms, spare, late):\n"
    '    """(24,) hourly QPS, ms of one core a request -> machines to buy."""\n    ...',
    judge=Probe(
        machines,
        CASES,
        MISCONCEPTIONS,
        praise="At the peak the cores are not all busy, and that is what keeps the promise.",
    ),
    hints=(
        "Which hour decides? And is late() larger or smaller with one more machine?",
        "Begin with one machine and add one while late(qps.max(), service_ms, m * cores, limit_ms) "
        "> 0.01.",
        "The loop finds what must be running. Return m + spare, since spare of them may be down.",
    ),
    solution=machines,
    why="A cluster is paid for by its busiest hour. There the load per core stays clearly below 1, "
    "the less so the larger the pool: many cores behind one queue can be used harder at the same "
    "wait. The gap to the mean hour is what dynamic allocation turns into better models at night, "
    "and degradation into fewer machines for the peak.",
    when_slow="late() falls with each machine, so counting up ends soon; for large clusters begin "
    "at qps.max() * service_ms / 1000 / cores.",
    limit_s=20.0,
)


def utilisation(qps: Array, service_ms: float, cores: int, n: int) -> Array:
    """(24,) share of time that a core of ``n`` machines is busy."""
    return np.asarray(qps * service_ms / 1000 / (n * cores))
