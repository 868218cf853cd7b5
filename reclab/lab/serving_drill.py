"""Drills (故障演练) of the service: each dependency down in turn, and all of them together.

    drill      a dependency raises, hangs, gives NaN or is killed: who answers, how late, and why

Simplified: it happens to one process; a platform drills whole machine rooms.
"""

import os
import signal
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from reclab.cascade.batch import Batch
from reclab.cascade.pipeline import CHANNELS, Cascade
from reclab.core.errors import ConfigError
from reclab.core.types import Array, Candidates
from reclab.lab.lab import Lab
from reclab.lab.served import Online, served
from reclab.lab.serving_load import Heartbeat, one_a_user, warm_up
from reclab.offline_online.serving.fallback import RUNGS
from reclab.offline_online.serving.latency_budget import BudgetConfig
from reclab.offline_online.serving.serving import Answer, ServingConfig
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
            warm_up(healthy, requests)
        cascade = broken_cascade(lab.trained, down, release)
        with served(lab, config, cascade=cascade, kv=kv) as online:
            _break_stores(online, server, down)
            asked = [requests[i % len(requests)] for i in range(n)]
            with ThreadPoolExecutor(CALLERS) as callers, Heartbeat() as heart:
                answers = list(callers.map(online.serving.answer, asked))
            return _told(down, online, answers, heart.stall_ms)


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
