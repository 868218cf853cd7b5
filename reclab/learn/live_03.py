"""The reader's own component in lesson 03: their function in, samples, money or a page out.

    own_join(close_at, streams)             # exercise 3.1: the stream join closes by it
    own_front(close_at, streams)            #   and what it catches against its wait, for a plot
    own_consumer(handle, entries, kills)    # exercise 3.3: behind a real log, killed with -9
    own_watermark(watermark, panel)         # exercise 3.6: tells the join when samples may leave
    own_rung(pick_rung, ladder, …)          # exercise 3.7: climbs the ladder of serving
    OwnBuckets(take_tokens)                 # exercise 3.8: limits requests in the gateway's intake

Simplified: a consumer is a child process of the notebook; a platform runs them on other machines.
"""

import json
import os
import signal
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from reclab.core.errors import DataError, check
from reclab.core.types import Array, Request, Slate
from reclab.lab.join_panel import JoinPanel
from reclab.lab.join_study import Streams, stream
from reclab.offline_online.gateway.rate_limit import RateConfig, TokenBuckets
from reclab.offline_online.join.batch_join import closes
from reclab.offline_online.join.hazard import Hazard, HazardConfig
from reclab.offline_online.join.report import JoinReport
from reclab.offline_online.join.sample_join import SampleJoin, SampleJoinConfig
from reclab.offline_online.join.window import MINUTE_MS, FixedWindow
from reclab.offline_online.serving.fallback import FAILED, Attempt, Ladder
from reclab.stores.event_log import ConsumerConfig, TopicConfig, open_log
from reclab.stores.kv import KV

# ---- 3.1: the close rule ----------------------------------------------------------------------

CloseAt = Callable[[Array, Array, Array, int, int, int], Array]
QUIETS_MIN = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)


class OwnCloseRule(Hazard):
    """A close rule around the reader's function; it remembers nothing beside the rows. Raises
    ``DataError`` for closes that no join can keep."""

    def __init__(
        self, function: CloseAt, window_min: float, first_min: float, quiet_min: float
    ) -> None:
        super().__init__(HazardConfig(max_wait_ms=int(window_min * MINUTE_MS)))
        self.function = function
        self.waits = int(first_min * MINUTE_MS), int(quiet_min * MINUTE_MS)

    def _after(self, stamp_ms: Array, time_ms: Array, labels: Array, count: Array) -> Array:
        last, n = stamp_ms.astype(np.int64), count.astype(np.int64)
        found = np.asarray(self.function(time_ms.copy(), last, n, self.max_wait_ms, *self.waits))
        if found.shape != time_ms.shape or found.dtype.kind not in "iuf":
            raise DataError(f"close_at must return {len(time_ms)} stamps in ms")
        if not ((found >= time_ms) & (found <= time_ms + self.max_wait_ms)).all():
            raise DataError("close_at must lie between time_ms and time_ms + window_ms")
        return found.astype(np.int64)

    def state(self) -> dict[str, Array]:
        """Nothing."""
        return {}

    def restore(self, state: Mapping[str, Array]) -> None:
        """Nothing."""


def own_join(
    function: CloseAt,
    streams: Streams,
    window_min: float = 20.0,
    first_min: float = 5.0,
    quiet_min: float = 2.0,
) -> JoinReport:
    """The two streams through the sample join, which closes by the reader's function."""
    return stream(streams, OwnCloseRule(function, window_min, first_min, quiet_min)).report()


@dataclass(frozen=True)
class Front:
    """One point a quiet time (k,): ``labels`` and ``wait`` as shares of the fixed window's."""

    quiet_min: Array
    labels: Array
    wait: Array


def own_front(
    function: CloseAt,
    streams: Streams,
    window_min: float = 20.0,
    first_min: float = 20.0,
    quiets_min: Sequence[float] = QUIETS_MIN,
) -> Front:
    """What the reader's rule catches against how long it waits, beside the fixed window; by the
    batch, which gives what the stream gives."""
    now, points = streams.now, []
    time_ms = now.shown["time_ms"]
    fixed_close, fixed = closes(now, FixedWindow(int(window_min * MINUTE_MS)))
    whole = (fixed_close - time_ms).mean()
    for quiet in quiets_min:
        close, caught = closes(now, OwnCloseRule(function, window_min, first_min, quiet))
        points.append((caught.sum() / max(fixed.sum(), 1), (close - time_ms).mean() / whole))
    return Front(np.asarray(quiets_min, float), *np.array(points).T)


# ---- 3.3: the idempotent consumer -------------------------------------------------------------

Delivery = tuple[int, str, float]
Handle = Callable[[Any, int, str, float], Any]
QUICK = ConsumerConfig(session_ms=400, heartbeat_ms=100)
DONE, PATIENCE_S, COMMIT_EVERY = 0, 30.0, 3


class OwnStore:
    """The store of exercise 3.3 in Redis: a record is one value, written at once. The process kills
    itself with -9 right after its ``dies_after``-th write (0 = never)."""

    def __init__(self, kv: KV, dies_after: int = 0) -> None:
        self.kv, self._left = kv, dies_after

    def get(self, name: str, default: Any = None) -> Any:
        """A record."""
        held = self.kv.get(f"own:{name}")
        return default if held is None else json.loads(str(held))

    def put(self, name: str, record: Any) -> None:
        """Write a record."""
        self.kv.put(f"own:{name}", json.dumps(record))
        self._left -= 1
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


@dataclass(frozen=True)
class Consumed:
    """``paid`` by key as the store has it and as it should be; ``deaths`` of consumers;
    ``delivered`` is how many entries the log holds."""

    paid: dict[str, float]
    truth: dict[str, float]
    deaths: int
    delivered: int

    @property
    def exact(self) -> bool:
        """Every sum is right."""
        return self.paid == self.truth


def own_consumer(
    function: Handle, entries: Sequence[Delivery], kills: Sequence[int] = ()
) -> Consumed:
    """Entries (event id, key, money) through a real log and consumers of one group: the i-th of
    them is killed with -9 after ``kills[i]`` writes, and the next goes on from the last commit.
    Raises ``DataError`` where processes cannot be forked, or when the reader's function raises."""
    check(hasattr(os, "fork"), "own_consumer", os.name, "run where there is fork()", "Linux, macOS")
    name = f"own-{uuid.uuid4().hex[:8]}"
    with open_log(namespace=name) as log:
        log.create("payments", TopicConfig(partitions=2))
        values = [json.dumps(entry).encode() for entry in entries]
        log.append("payments", values, [key for _, key, _ in entries], time_ms=0)
        kv = KV(log.address, f"{name}-store")
        deaths = 0
        for dies_after in [*kills, 0]:
            status = _in_a_child(function, log.address, name, dies_after)
            if os.WIFSIGNALED(status):
                deaths += 1
            elif os.WEXITSTATUS(status) != DONE:
                raise DataError("the consumer failed: handle raised, or the log was not read")
        paid = _sums(OwnStore(kv), entries)
        kv.delete(*kv.names())
        kv.close()
    told = {event: (key, money) for event, key, money in entries}
    truth = dict.fromkeys((key for key, _ in told.values()), 0.0)
    for key, money in told.values():
        truth[key] += money
    return Consumed(paid, truth, deaths, len(entries))


def _sums(store: OwnStore, entries: Sequence[Delivery]) -> dict[str, float]:
    held = {key: store.get(key, {}) for key in {key for _, key, _ in entries}}
    return {key: one.get("paid", 0.0) for key, one in held.items() if isinstance(one, dict)}


def _in_a_child(function: Handle, address: str, name: str, dies_after: int) -> int:
    """Wait status of a child process that consumes until nothing is left, or dies."""
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1]
    try:
        _consume(function, address, name, dies_after)
        os._exit(DONE)
    finally:  # never back into the notebook
        os._exit(1)


def _consume(function: Handle, address: str, name: str, dies_after: int) -> None:
    with open_log(address, namespace=name) as log, log.consumer("payments", "own", QUICK) as reader:
        store, give_up = (
            OwnStore(KV(address, f"{name}-store"), dies_after),
            time.monotonic() + PATIENCE_S,
        )
        while log.stats("payments", "own").lag.sum():
            if time.monotonic() > give_up:
                raise DataError("the log was not read to its end")
            for i, entry in enumerate(reader.read(50, wait_ms=50), 1):
                event, key, money = json.loads(entry.value)
                function(store, event, key, money)
                if i % COMMIT_EVERY == 0:
                    reader.commit({entry.partition: entry.offset + 1})
            reader.commit()


# ---- 3.6: the watermark -----------------------------------------------------------------------

Watermark = Callable[[Array, Array, Array, int, int, int], Array]
CHUNK = 50  # entries a step of the join


def own_watermark(
    function: Watermark,
    panel: JoinPanel,
    n_partitions: int = 4,
    slow_ms: int = 120_000,
    disorder_ms: int = 1_000,
    idle_ms: int = 600_000,
    window_min: float = 20.0,
) -> JoinReport:
    """The panel's day through the sample join, read from partitions (request mod n) of which the
    last is ``slow_ms`` behind; what may leave is said by the reader's watermark."""
    shown = panel.shown
    told = {**panel.told, "report_ms": panel.sent_ms + panel.way_ms}
    n, parts = len(shown["time_ms"]), (shown["req_id"], told["req_id"])
    partition = np.concatenate(parts) % n_partitions
    stamp = np.concatenate([shown["time_ms"], told["report_ms"]])
    read = stamp + np.where(partition == n_partitions - 1, slow_ms, 0)
    order = np.argsort(read, kind="stable")
    columns = partition[order], stamp[order], read[order]
    marks = np.asarray(function(*columns, n_partitions, disorder_ms, idle_ms))
    if marks.shape != order.shape or marks.dtype.kind not in "iu":
        raise DataError(f"watermark must return {len(order)} whole numbers")
    join = SampleJoin(FixedWindow(int(window_min * MINUTE_MS)), SampleJoinConfig(carry=()))
    for first in range(0, len(order), CHUNK):
        some = order[first : first + CHUNK]
        shown_now, told_now = some[some < n], some[some >= n] - n
        join.update(
            {name: column[shown_now] for name, column in shown.items()},
            {name: column[told_now] for name, column in told.items()},
            int(marks[min(first + CHUNK, len(order)) - 1]),
        )
    join.flush()
    return join.report()


# ---- 3.7: the ladder --------------------------------------------------------------------------

PickRung = Callable[[Array, Array, Array], Array]


def own_rung(
    function: PickRung,
    ladder: Ladder,
    request: Request,
    left_ms: float,
    now_ms: Callable[[], float],
) -> tuple[Slate, str, list[Attempt]]:
    """A page from the rung that the reader's function picks, by the costs and gates as they are
    now; if that fails, from the best one below. The slate, the rung, and what was tried."""
    rungs, due = ladder.rungs, now_ms() + left_ms
    tried: list[Attempt] = []
    place = 0
    while place < len(rungs):
        below = rungs[place:]
        cost = np.array([rung.cost.estimate_ms for rung in below])
        good = np.array([rung.on and not rung.gate.closed(now_ms()) for rung in below])
        left = due - now_ms()
        step = np.asarray(function(np.array([left]), cost, good))
        if step.shape != (1,) or step.dtype.kind not in "iu" or not 0 <= step[0] < len(below):
            raise DataError(f"pick_rung must return one whole number from 0 to {len(below) - 1}")
        place += int(step[0])
        asked, attempt = ladder.try_one(rungs[place], request, left, now_ms)
        tried.append(attempt)
        if asked:
            return asked[0], rungs[place].name, tried
        place += 1
    last = tried[-1] if tried else Attempt("", FAILED)
    raise DataError(f"the last rung, {last.rung}, gave no page: {last.why}")


# ---- 3.8: the token bucket --------------------------------------------------------------------

TakeTokens = Callable[[Array, Array, Array, float, float], tuple[Array, Array]]


class OwnBuckets(TokenBuckets):
    """The gateway's buckets, filled and emptied by the reader's function:
    ``gateway.intake.buckets = OwnBuckets(take_tokens)``."""

    def __init__(self, function: TakeTokens, config: RateConfig | None = None) -> None:
        super().__init__(config)
        self.function = function

    def _take(self, slots: Array, n_events: Array, now_ms: int) -> Array:
        gap_s = (now_ms - self._last_ms[slots]) / 1000.0
        held = self._tokens[slots].astype(np.float64)
        rate = self.config.per_s, self.config.burst
        passed, left = self.function(held, gap_s, np.asarray(n_events), *rate)
        passed, left = np.asarray(passed), np.asarray(left)
        if passed.shape != slots.shape or left.shape != slots.shape or passed.dtype != bool:
            raise DataError(f"take_tokens must return {len(slots)} bools and as many numbers")
        self._tokens[slots] = left
        self._last_ms[slots] = np.maximum(self._last_ms[slots], now_ms)
        return passed
