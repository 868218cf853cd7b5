"""Drills (故障演练, 压测): each dependency down in turn, and more load than the service can take.

    drill      a dependency raises, hangs, gives NaN or is killed: who answers, how late, and why
    overload   capacity in a closed loop; then arrivals by chance at a multiple of it, that do not
               wait for one another

Times count from when a request was due to be sent, also when the machine was late to send it.

Simplified: all users' devices are threads of the same process, and take their share of its time.
"""

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from reclab.cascade.batch import Batch
from reclab.cascade.pipeline import CHANNELS, Cascade
from reclab.core.chance import rng
from reclab.core.errors import ConfigError
from reclab.core.types import Array, Candidates, Request
from reclab.lab.lab import Lab
from reclab.lab.served import Online, served
from reclab.offline_online.fallback import RUNGS
from reclab.offline_online.latency_budget import BudgetConfig, monotonic_ms
from reclab.offline_online.serving import Answer, ServingConfig
from reclab.stores.kv import KV
from reclab.stores.redis_server import RedisServer

EVERYTHING = "everything"
DOWN = (
    "nothing",
    "retrieval raises",
    "vector index hangs",
    "feature store raises",
    "feature store hangs",
    "ranker raises",
    "ranker says NaN",
    "ranker hangs",
    "Redis killed",
    "Redis hangs",
    "cache empty",
    "hot pool empty",
    EVERYTHING,
)
CALLERS = 8  # of a drill, each with a request under way
DEVICES = 200  # of an overload: requests under way at most
WARM_UP = 24


class Broken:
    """Stands where a part stands; every call of it raises, or hangs until ``release``."""

    def __init__(self, real: Any, release: threading.Event | None = None) -> None:
        self._real, self._release = real, release

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._real, name)
        return self._call if callable(found) else found

    def _call(self, *args: Any, **kwargs: Any) -> Any:
        if self._release is not None:
            self._release.wait()
        raise ConnectionError(f"{type(self._real).__name__} is down")


@dataclass(frozen=True)
class SaysNaN:
    """A ranker whose scores are no numbers."""

    real: Any

    @property
    def macs_per_candidate(self) -> int:
        """The real one's."""
        return int(self.real.macs_per_candidate)

    def predict(self, batch: Batch, candidates: Candidates) -> dict[str, Array]:
        """NaN for all."""
        told = self.real.predict(batch, candidates)
        return {name: np.full_like(values, np.nan) for name, values in told.items()}


def broken_cascade(cascade: Cascade, down: str, release: threading.Event) -> Cascade:
    """The cascade with what ``down`` names broken. ``release`` lets those go that hang."""
    p = cascade.parts
    changes: dict[str, dict[str, Any]] = {
        "retrieval raises": {name: Broken(getattr(p, name)) for name in CHANNELS},
        "vector index hangs": {"two_tower": Broken(p.two_tower, release)},
        "feature store raises": {"users": Broken(p.users)},
        "feature store hangs": {"users": Broken(p.users, release)},
        "ranker raises": {"ranker": Broken(p.ranker)},
        "ranker says NaN": {"ranker": SaysNaN(p.ranker)},
        "ranker hangs": {"ranker": Broken(p.ranker, release)},
    }
    changes[EVERYTHING] = changes["feature store hangs"] | changes["ranker hangs"]
    changes[EVERYTHING] |= changes["retrieval raises"]
    return cascade.with_parts(**changes.get(down, {}))


@dataclass(frozen=True)
class Drill:
    """Requests ``asked``; ``whole`` answers with ten different published items; ``late`` after the
    deadline, of ``worst_ms`` at most; answers by rung; the commonest reason against the best rung;
    ``left_behind`` workers that were still hanging at the end; ``stall_ms`` of ``Heartbeat``."""

    down: str
    asked: int
    whole: int
    late: int
    p50_ms: float
    worst_ms: float
    rungs: Mapping[str, int]
    reason: str
    left_behind: int
    stall_ms: float

    def line(self) -> str:
        """One line of a table."""
        who = ", ".join(f"{name} {n / self.asked:.0%}" for name, n in self.rungs.items() if n)
        return f"{self.down:<22}{self.whole / self.asked:>6.0%}{self.late:>6}  {who}"


def drill(lab: Lab, down: str, n: int = 80, deadline_ms: float = 200.0) -> Drill:
    """Break what ``down`` (one of ``DOWN``) names while ``CALLERS`` ask ``n`` requests of users
    whose caches are full. Raises ``ConfigError`` for an unknown name."""
    if down not in DOWN:
        raise ConfigError(f"drill: no dependency {down!r} (there are: {', '.join(DOWN)})")
    requests, config = one_a_user(lab, WARM_UP), ServingConfig(BudgetConfig(deadline_ms))
    with _redis() as (server, kv), _released() as release:
        with served(lab, config, kv=kv) as healthy:
            _warm_up(healthy, requests)
        cascade = broken_cascade(lab.trained, down, release)
        with served(lab, config, cascade=cascade, kv=kv) as online:
            _break_stores(online, server, down)
            asked = [requests[i % len(requests)] for i in range(n)]
            with ThreadPoolExecutor(CALLERS) as callers, Heartbeat() as heart:
                answers = list(callers.map(online.serving.answer, asked))
            return _told(down, online, answers, heart.stall_ms)


def one_a_user(lab: Lab, n: int) -> list[Request]:
    """``n`` requests of different users, or as many as there are: each has two pages cached."""
    by_user = {request.user_id: request for request in lab.requests(10 * n)}
    return [*by_user.values()][:n]


def _warm_up(online: Online, requests: Sequence[Request]) -> None:
    for request in requests:
        online.serving.answer(request, 1e4)
    online.writer.flush()


def _break_stores(online: Online, server: RedisServer, down: str) -> None:
    if down in ("Redis killed", EVERYTHING):
        os.kill(server.pid, signal.SIGKILL)
    if down == "Redis hangs":
        os.kill(server.pid, signal.SIGSTOP)
    if down == "cache empty":
        online.cache.kv.delete(*online.cache.kv.names())
    if down in ("hot pool empty", EVERYTHING):
        online.hot.clear()
    if down in ("cache empty", "hot pool empty"):  # what is above it must be gone to see it
        for rung in online.ladder.rungs[: 2 if down == "cache empty" else 3]:
            rung.on = False


@contextmanager
def _redis() -> Iterator[tuple[RedisServer, KV]]:
    server = RedisServer()
    kv = KV(server.address, "drill")
    try:
        yield server, kv
    finally:
        if server.running:
            os.kill(server.pid, signal.SIGCONT)
        server.stop()


@contextmanager
def _released() -> Iterator[threading.Event]:
    release = threading.Event()
    try:
        yield release
    finally:
        release.set()


def _told(down: str, online: Online, answers: Sequence[Answer], stall_ms: float) -> Drill:
    ms = np.array([answer.ms for answer in answers])
    rungs = Counter(answer.rung for answer in answers)
    why = Counter(attempt.why for answer in answers for attempt in answer.why[:1])
    return Drill(
        down,
        len(answers),
        sum(not online.ladder.fault(answer.slate) for answer in answers),
        int((ms > np.array([answer.deadline_ms for answer in answers])).sum()),
        float(np.median(ms)),
        float(ms.max()),
        {name: rungs[name] for name in RUNGS},
        why.most_common(1)[0][0] if why else "",
        online.serving.left_behind,
        stall_ms,
    )


class Heartbeat:
    """The longest that this process stood still in its ``with`` block: a thread that only sleeps
    woke so many ms too late (``stall_ms``). Other programs on the machine do that, and the
    interpreter's lock."""

    EVERY_S = 0.002

    def __enter__(self) -> "Heartbeat":
        self.stall_ms, self._goes_on = 0.0, True
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)
        self._thread.start()
        return self

    def _beat(self) -> None:
        before = monotonic_ms()
        while self._goes_on:
            time.sleep(self.EVERY_S)
            now = monotonic_ms()
            self.stall_ms = max(self.stall_ms, now - before - 1000 * self.EVERY_S)
            before = now

    def __exit__(self, *exc: object) -> None:
        self._goes_on = False
        self._thread.join()


# ---- overload ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Load:
    """Requests a second that the fresh cascade can do (``capacity_qps``) and that came
    (``offered_qps``); ``ms`` (n,) from due to answered; ``rung`` (n,) position in ``RUNGS``;
    ``whole`` answers; ``deadline_ms``; ``stall_ms`` of ``Heartbeat``."""

    capacity_qps: float
    offered_qps: float
    ms: Array
    rung: Array
    whole: int
    deadline_ms: float
    stall_ms: float

    @property
    def late(self) -> int:
        """Answers after the deadline."""
        return int((self.ms > self.deadline_ms).sum())

    def shares(self) -> dict[str, float]:
        """Share of the answers by rung."""
        counts = np.bincount(self.rung, minlength=len(RUNGS)) / len(self.rung)
        return dict(zip(RUNGS, counts.tolist(), strict=True))

    def line(self) -> str:
        """One line of a table."""
        p50, p99 = np.percentile(self.ms, [50, 99])
        who = ", ".join(f"{name} {share:.0%}" for name, share in self.shares().items() if share)
        return (
            f"{self.offered_qps / self.capacity_qps:>4.1f} x{self.offered_qps:>7.0f}/s"
            f"{p50:>8.0f}{p99:>8.0f}{self.ms.max():>8.0f}{self.late:>6}"
            f"{self.stall_ms:>7.0f}  {who}"
        )


def capacity_of(online: Online, requests: Sequence[Request], seconds: float = 1.0) -> float:
    """Requests a second that the workers do with the best rung, in a closed loop; where others use
    the machine, not less than a core of its own would do."""
    rung, workers = online.ladder.rungs[0], online.serving.config.workers
    end, done, began_cpu = time.monotonic() + seconds, [0] * workers, time.process_time()
    spent = [0.0] * workers

    def busy(w: int) -> None:
        began = time.monotonic()
        while time.monotonic() < end:
            rung.ask(requests[(w + done[w] * workers) % len(requests)], 1e4)
            done[w] += 1
        spent[w] = time.monotonic() - began

    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(busy, range(workers)))
    alone = sum(done) / (time.process_time() - began_cpu)
    return max(sum(n / s for n, s in zip(done, spent, strict=True)), alone)


def overload(
    lab: Lab,
    times: Sequence[float] = (0.5, 1.0, 3.0),
    seconds: float = 3.0,
    config: ServingConfig | None = None,
    seed: int = 0,
) -> list[Load]:
    """Poisson arrivals at each multiple of the capacity, one run after the other, on one warm
    service. What users' devices do takes a share of the same cores."""
    config, requests = config or ServingConfig(BudgetConfig(200.0)), one_a_user(lab, 200)
    with served(lab, config) as online:
        _warm_up(online, requests)
        found = []
        for factor in times:
            capacity = capacity_of(online, requests)
            found.append(_at(online, requests, capacity, factor, seconds, seed))
        return found


def _at(
    online: Online,
    requests: Sequence[Request],
    capacity: float,
    factor: float,
    seconds: float,
    seed: int,
) -> Load:
    qps, deadline = factor * capacity, online.serving.config.budget.deadline_ms
    gaps = rng(seed, "arrivals", round(100 * factor)).exponential(1000 / qps, int(qps * seconds))
    start = monotonic_ms() + 20.0
    due = start + np.cumsum(gaps)

    def one(i: int) -> tuple[float, Answer]:
        left = deadline - (monotonic_ms() - due[i])
        answer = online.serving.answer(replace(requests[i % len(requests)], req_id=i), left)
        return monotonic_ms() - due[i], answer

    with ThreadPoolExecutor(DEVICES) as devices, Heartbeat() as heart:
        sent = []
        for i, at in enumerate(due.tolist()):
            time.sleep(max(at - monotonic_ms(), 0.0) / 1000)
            sent.append(devices.submit(one, i))
        got = [job.result() for job in sent]
    return Load(
        capacity,
        qps,
        np.array([ms for ms, _ in got]),
        np.array([RUNGS.index(answer.rung) for _, answer in got]),
        sum(not online.ladder.fault(answer.slate) for _, answer in got),
        deadline,
        heart.stall_ms,
    )
