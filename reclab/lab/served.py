"""Serving wired from this lab's parts: the ladder, its cache, its pools.

    with served(lab) as online:
        answer = online.serving.answer(lab.requests(1)[0])

A fresh answer is asked for 30 cards: ten are shown, ranks 11 to 30 go into the degradation cache,
written by a thread of its own, so that a slow Redis costs no request anything.

Simplified: one process with its Redis; a platform runs hundreds behind a load balancer.
"""

import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np

from reclab.cascade.batch import Batch
from reclab.cascade.pipeline import HOT_POOL, Cascade
from reclab.core.types import Array, Request, Slate
from reclab.degradation_dcaf.cache import DegradationCache
from reclab.degradation_dcaf.pipeline import DegradedPath
from reclab.lab.lab import Lab
from reclab.offline_online.serving.fallback import (
    CACHED,
    EDITORS,
    FRESH,
    HOT,
    NOT_RANKED,
    Ask,
    Asked,
    Cost,
    Gate,
    GateConfig,
    Ladder,
    Rung,
    ask_cascade,
    ask_pool,
    ask_recommender,
    without_ranking,
)
from reclab.offline_online.serving.latency_budget import BudgetConfig, BudgetedCascade, monotonic_ms
from reclab.offline_online.serving.pools import NEVER, EditorsPool, HotPool, Pool, first_rows
from reclab.offline_online.serving.serving import Serving, ServingConfig
from reclab.stores.kv import KV, StoreDown

HOT_ITEMS, PICKS, LASTING = 500, 60, 40
WARM = 5  # requests after which costs are believed


class CacheWriter:
    """Writes ranks 11 to 30 behind the request's back; what does not fit into its queue, or fails,
    is counted and forgotten."""

    def __init__(self, cache: DegradationCache, room: int = 256) -> None:
        self.cache, self.lost = cache, 0
        self._queue: queue.Queue[Slate | None] = queue.Queue(room)
        self._thread = threading.Thread(target=self._write, name="cache writer", daemon=True)
        self._thread.start()

    def put(self, slate: Slate) -> None:
        """Take a healthy answer of 30 cards."""
        try:
            self._queue.put_nowait(slate)
        except queue.Full:
            self.lost += 1

    def _write(self) -> None:
        while (slate := self._queue.get()) is not None:
            try:
                self.cache.remember(slate)
            except StoreDown:  # a healthy answer does not need the cache
                self.lost += 1
            finally:
                self._queue.task_done()
        self._queue.task_done()

    def flush(self) -> None:
        """Wait until all is written."""
        self._queue.join()

    def close(self) -> None:
        """Stop, if the queue is not stuck."""
        try:
            self._queue.put_nowait(None)
        except queue.Full:
            pass


def remembering(ask: Ask, writer: CacheWriter) -> Ask:
    """The same rung, asked for as many cards as the cache keeps; the request gets its own."""
    last = writer.cache.config.last

    def ask_for_more(request: Request, left_ms: float) -> Asked:
        if request.n >= last:
            return ask(request, left_ms)
        slate, ms = ask(replace(request, n=last), left_ms)
        writer.put(slate)
        n = request.n
        columns = {name: values[:n] for name, values in slate.columns.items()}
        return Slate(request, slate.item_id[:n], slate.item_row[:n], columns), ms

    return ask_for_more


@dataclass(frozen=True)
class Online:
    """What is running: the service, the cache behind it, its writer, the pool of popular items."""

    serving: Serving
    cache: DegradationCache
    writer: CacheWriter
    hot: HotPool

    @property
    def ladder(self) -> Ladder:
        """The rungs."""
        return self.serving.ladder


def hot_list(lab: Lab) -> Pool:
    """The popular items as of now, for everybody."""
    p = lab.trained.parts
    ids = first_rows(p.index, p.popular.popularity, HOT_ITEMS, earliest_ms(lab))
    return Pool.of(p.index, ids)


def editors_picks(lab: Lab) -> Pool:
    """Popular items, one a creator; the first of them are today's and expire at midnight, the
    others last."""
    p, since = lab.trained.parts, earliest_ms(lab)
    ids = first_rows(p.index, p.popular.popularity, len(p.index), since)
    if "author_id" in p.index:
        creator = p.index.get(p.index.rows(ids), ["author_id"])["author_id"]
        ids = ids[np.sort(np.unique(creator, return_index=True)[1])]
    ids = ids[:PICKS]
    expires = np.full(len(ids), NEVER)
    expires[: max(len(ids) - LASTING, 0)] = since + 86_400_000
    return Pool.of(p.index, ids, expires)


def earliest_ms(lab: Lab) -> int:
    """From when on the lab's requests come."""
    until = lab.trained.parts.until_ms
    return int(lab.logs.interactions["time_ms"].max() if until is None else until)


def hot_rows(cascade: Cascade) -> Callable[[Batch], Array]:
    """What the degraded path fills up with."""
    return lambda batch: cascade.parts.popular.retrieve(batch, HOT_POOL)[0]


@contextmanager
def served(
    lab: Lab,
    config: ServingConfig | None = None,
    *,
    cascade: Cascade | None = None,
    kv: KV | None = None,
    gate: GateConfig | None = None,
) -> Iterator[Online]:
    """The service over ``cascade`` (default: the lab's), warm, with costs measured on this machine.
    ``kv``: the Redis of cached answers (default: one of its own)."""
    config, own = config or ServingConfig(), None
    if kv is None:
        kv = own = KV(namespace="serving")
    cascade, cache = cascade or lab.trained, DegradationCache(kv)
    p = cascade.parts
    writer, hot = CacheWriter(cache), HotPool(monotonic_ms)
    hot.refresh(hot_list(lab))
    path = DegradedPath(cache, p.index, p.users, hot_rows(cascade), p.exposures)
    rungs = ladder_of(lab, cascade, config.budget, path, writer, hot, gate)
    serving = Serving(Ladder(rungs, p.index), config)
    try:
        yield Online(serving, cache, writer, hot)
    finally:
        serving.close()
        writer.close()
        if own is not None:
            _forget(own)


def ladder_of(
    lab: Lab,
    cascade: Cascade,
    budget: BudgetConfig,
    path: DegradedPath,
    writer: CacheWriter,
    hot: HotPool,
    gate: GateConfig | None = None,
) -> list[Rung]:
    """The five rungs; the first costs are those of a few requests of a healthy cascade."""
    healthy = BudgetedCascade(lab.trained, replace(budget, deadline_ms=1e5))
    ms = [cost_ms(ask_cascade(healthy), lab.requests(WARM))]
    plain = without_ranking(lab.trained)
    ms.append(cost_ms(ask_cascade(plain), lab.requests(WARM)))
    fresh = remembering(ask_cascade(BudgetedCascade(cascade, budget)), writer)
    editors = EditorsPool(editors_picks(lab), earliest_ms(lab))

    def shut() -> Gate:
        return Gate(gate)

    return [
        Rung(FRESH, fresh, Cost(ms[0]), gate=shut()),
        Rung(NOT_RANKED, ask_cascade(without_ranking(cascade)), Cost(ms[1]), gate=shut()),
        Rung(CACHED, ask_recommender(path), Cost(1.0), quick=True, gate=shut()),
        Rung(HOT, ask_pool(hot), Cost(0.05), in_memory=True, gate=shut()),
        Rung(EDITORS, ask_pool(editors), Cost(0.05), in_memory=True, gate=shut()),
    ]


def cost_ms(ask: Ask, requests: Sequence[Request]) -> float:
    """Median ms of single requests."""
    began, spent = monotonic_ms(), []
    for request in requests:
        ask(request, 1e5)
        now = monotonic_ms()
        spent.append(now - began)
        began = now
    return float(np.median(spent))


def _forget(kv: KV) -> None:
    try:
        kv.delete(*kv.names())
    except StoreDown:
        pass  # it was killed, and what it held with it
    kv.close()
