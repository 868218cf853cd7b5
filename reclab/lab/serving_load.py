"""Load tests (压测) of the service: more requests than it has capacity for.

    overload   capacity in a closed loop; then arrivals by chance at a multiple of it, that do not
               wait for one another

Times count from when a request was due to be sent, also when the machine was late to send it.

Simplified: all users' devices are threads of the same process, and take their share of its time.
"""

import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np

from reclab.core.chance import rng
from reclab.core.types import Array, Request
from reclab.lab.lab import Lab
from reclab.lab.served import Online, served
from reclab.offline_online.serving.fallback import RUNGS
from reclab.offline_online.serving.latency_budget import BudgetConfig, monotonic_ms
from reclab.offline_online.serving.serving import Answer, ServingConfig

DEVICES = 200  # requests under way at most


def one_a_user(lab: Lab, n: int) -> list[Request]:
    """``n`` requests of different users, or as many as there are: each has two pages cached."""
    by_user = {request.user_id: request for request in lab.requests(10 * n)}
    return [*by_user.values()][:n]


def warm_up(online: Online, requests: Sequence[Request]) -> None:
    for request in requests:
        online.serving.answer(request, 1e4)
    online.writer.flush()


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
        warm_up(online, requests)
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
