"""The Router (推荐路由服务): the one door between the app's server and all recommenders.

    server ─1─► Router ─2─► businesses, in parallel ─3─► Router ─4─► blending ─5─► Router ─► server

Whatever fails behind it, the page is full and on time: a late business is left out, one that fails
again and again is not asked for a while, bad candidates are dropped, and what is missing comes from
the last-resort pool. When the decision service raises its flag, the degraded path answers.
Chapter 2, section 2.1, figure 2.1.

    policies   decision service fails: live path      degraded path fails: last-resort pool
               blending function fails: weave         business fails: the others, then the pool

Simplified: industry runs many Routers behind a load balancer, and limits each caller's rate.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from reclab.blending.breaker import Breaker, BreakerConfig
from reclab.blending.contract import monotonic_ms
from reclab.blending.door import Door
from reclab.blending.experiment import Arm, Blend, Experiment
from reclab.blending.fan_out import Visit
from reclab.blending.hedge import Hedge, HedgeConfig
from reclab.blending.lane import Lane
from reclab.blending.page import LastResort, RowLookup, weave
from reclab.blending.pipeline import steps
from reclab.blending.rpc import Client
from reclab.blending.trace import RouterTrace
from reclab.core.errors import check, check_float, check_int
from reclab.core.pipeline import run
from reclab.core.protocols import Degradation, Recommender
from reclab.core.types import Array, Candidates, Request, Slate, Trace


@dataclass(frozen=True)
class RouterConfig:
    """Deadlines, sizes, and when the Router stops waiting. All times from the request's arrival."""

    deadline_ms: float = 300.0
    """until when the page is due (50-1000 ms)"""
    finish_ms: float = 30.0
    """of it, time kept for checking and blending: no business is awaited longer (2-50 ms)"""
    business_ms: Mapping[str, float] = field(default_factory=dict)
    """shorter deadlines of single businesses, by name (20-500 ms)"""
    n_offers: int = 20
    """candidates asked of each business for one page (10-200)"""
    enough: float = 1.0
    """share of the businesses asked, after whose answers the others have only grace_ms (0.5-1)"""
    grace_ms: float = 20.0
    """time of those others (0-50 ms)"""
    most: int = 64
    """requests that go together when many come at once (1-256)"""
    breaker: BreakerConfig = field(default_factory=BreakerConfig)
    hedge: HedgeConfig = field(default_factory=HedgeConfig)

    def __post_init__(self) -> None:
        check_float("RouterConfig.deadline_ms", self.deadline_ms, 1.0, 1e6, "300")
        fits = f"be in [0, deadline_ms = {self.deadline_ms:g})"
        ok = 0 <= self.finish_ms < self.deadline_ms
        check(ok, "RouterConfig.finish_ms", self.finish_ms, fits, "a tenth of deadline_ms")
        for name, ms in self.business_ms.items():
            check_float(f"RouterConfig.business_ms[{name!r}]", ms, 0.1, 1e6, "100")
        check_int("RouterConfig.n_offers", self.n_offers, 1, 100_000, "20")
        check_float("RouterConfig.enough", self.enough, 0.01, 1.0, "0.8")
        check_float("RouterConfig.grace_ms", self.grace_ms, 0.0, 1e6, "20")
        check_int("RouterConfig.most", self.most, 1, 10_000, "64")

    def limit_ms(self, business: str) -> float:
        """Until when a business may answer."""
        return min(self.business_ms.get(business, 1e9), self.deadline_ms - self.finish_ms)


class Router:
    """``recommend`` from any number of threads. ``index`` knows the items (the forward index),
    ``pool``: item ids of the last resort, best first; ``degradation`` raises the flag, ``degraded``
    answers where it is raised. Column ``business`` of a slate: position in ``names``, -1 = none."""

    def __init__(
        self,
        clients: Sequence[Client],
        index: RowLookup,
        pool: Sequence[int] | Array,
        blend: Blend = weave,
        config: RouterConfig | None = None,
        *,
        experiment: Experiment | None = None,
        degradation: Degradation | None = None,
        degraded: Recommender | None = None,
        now_ms: Callable[[], float] = monotonic_ms,
    ) -> None:
        self.config = c = config or RouterConfig()
        self.names = tuple(client.name for client in clients)
        _check_names(self.names, c, experiment)
        self.index, self.last_resort = index, LastResort(pool, index)
        self.experiment, self.degradation, self.degraded = experiment, degradation, degraded
        self.now_ms = now_ms
        self.lanes = [
            Lane(client, c.n_offers, Breaker(c.breaker, now_ms), Hedge(c.hedge), now_ms)
            for client in clients
        ]
        limits = {name: c.limit_ms(name) for name in self.names}
        self.steps = steps(self.lanes, limits, index.rows, blend, c.enough, c.grace_ms, now_ms)
        """the boxes of figure 2.1, in order"""
        self._door = Door(self._serve, c.most)

    @property
    def breakers(self) -> dict[str, Breaker]:
        """Each business's circuit breaker: ``state`` and ``history``."""
        return {lane.name: lane.breaker for lane in self.lanes}

    def recommend(self, request: Request) -> tuple[Slate, RouterTrace]:
        """The page for one request, and how it came about."""
        return self._door.pass_through(request, self.now_ms())

    def recommend_batch(self, requests: Sequence[Request]) -> tuple[list[Slate], list[RouterTrace]]:
        """The same for many requests at once, that share their calls and their deadline."""
        pairs = self._serve(requests, self.now_ms(), lambda: None)
        return [slate for slate, _ in pairs], [trace for _, trace in pairs]

    def close(self) -> None:
        """Close the clients."""
        for lane in self.lanes:
            lane.client.close()

    # ---- how ------------------------------------------------------------------------------------

    def _serve(
        self, requests: Sequence[Request], began_ms: float, on_sent: Callable[[], None]
    ) -> list[tuple[Slate, RouterTrace]]:
        flags, notes = self._flags(requests)
        pairs: list[tuple[Slate, RouterTrace] | None] = [None] * len(requests)
        for flag, path in ((0, self._live), (1, self._from_cache)):
            rows = np.flatnonzero(flags == flag).tolist()
            if rows:
                served = path([requests[row] for row in rows], began_ms, on_sent, notes)
                for row, pair in zip(rows, served, strict=True):
                    pairs[row] = pair
        return [pair for pair in pairs if pair is not None]

    def _flags(self, requests: Sequence[Request]) -> tuple[Array, tuple[str, ...]]:
        """(B,) 1 = degraded; live where nobody decides, or the decision service fails."""
        live = np.zeros(len(requests), int)
        if self.degradation is None or not len(requests):
            return live, ()
        try:
            flags = np.asarray(self.degradation.flag(requests))
            if flags.shape == live.shape:
                return (flags != 0).astype(int), ()
            why = f"{flags.shape} flags for {len(requests)} requests"
        except Exception as error:  # fail open, whatever it was: most requests can be served live
            why = f"{type(error).__name__}: {error}"
        return live, (f"the decision service failed ({why}): live path",)

    def _live(
        self,
        requests: Sequence[Request],
        began_ms: float,
        on_sent: Callable[[], None],
        notes: tuple[str, ...],
    ) -> list[tuple[Slate, RouterTrace]]:
        arms = self._arms(requests)
        visit = Visit(tuple(requests), began_ms, arms, on_sent)
        kept, trace = run(self.steps, visit, len(requests))
        slates, filled = self._pages(requests, kept)
        calls = tuple(one for call in visit.calls for one in call.trace(began_ms))
        trace, c = replace(trace, notes=notes + trace.notes), self.config
        ms, n = self.now_ms() - began_ms, len(requests)
        return [
            (slate, RouterTrace(trace, calls, ms, c.deadline_ms, n, False, _name(arm), from_pool))
            for slate, arm, from_pool in zip(slates, arms, filled, strict=True)
        ]

    def _from_cache(
        self,
        requests: Sequence[Request],
        began_ms: float,
        on_sent: Callable[[], None],
        notes: tuple[str, ...],
    ) -> list[tuple[Slate, RouterTrace]]:
        """The degraded path's answers; no business is asked."""
        on_sent()
        kept, trace = Candidates.empty(len(requests)), Trace(())
        try:
            if self.degraded is not None:
                cached, trace = self.degraded.recommend_batch(requests)
                kept = _as_candidates(cached, self.index)
        except Exception as error:  # the last resort below answers, whatever it was
            why = f"the degraded path failed ({type(error).__name__}: {error}): last-resort pool"
            notes = (*notes, why)
        slates, filled = self._pages(requests, kept)
        ms, n, due = self.now_ms() - began_ms, len(requests), self.config.deadline_ms
        trace = replace(trace, notes=notes + trace.notes)
        return [
            (slate, RouterTrace(trace, (), ms, due, n, True, "", from_pool))
            for slate, from_pool in zip(slates, filled, strict=True)
        ]

    def _arms(self, requests: Sequence[Request]) -> tuple[Arm | None, ...]:
        if self.experiment is None:
            return (None,) * len(requests)
        users = np.array([request.user_id for request in requests])
        return tuple(self.experiment.arms[n] for n in self.experiment.arm_of(users).tolist())

    def _pages(
        self, requests: Sequence[Request], kept: Candidates
    ) -> tuple[list[Slate], list[int]]:
        """A full slate a request, and how many of its cards are from the pool."""
        starts, slates, filled = kept.starts().tolist(), [], []
        for row, request in enumerate(requests):
            start, end = starts[row], min(starts[row + 1], starts[row] + request.n)
            rows = self.last_resort.fill(kept.item_row[start:end], request.n)
            more = request.n - (end - start)
            columns = {name: _pad(values[start:end], more) for name, values in kept.columns.items()}
            columns.pop("item_id", None)
            slates.append(Slate(request, self.index.ids[rows], rows, columns))
            filled.append(more)
        return slates, filled


def _pad(values: Array, more: int) -> Array:
    """A column with ``more`` unknowns behind it."""
    if not more:
        return values
    blank = np.nan if values.dtype.kind == "f" else -1
    return np.concatenate([values, np.full(more, blank, values.dtype)])


def _as_candidates(slates: Sequence[Slate], index: RowLookup) -> Candidates:
    """What a degraded path answered, checked as the businesses are: known items, each once."""
    owner = np.repeat(np.arange(len(slates)), [len(slate) for slate in slates])
    ids = np.concatenate([slate.item_id for slate in slates])
    rows = index.rows(ids)
    first = np.zeros(len(rows), bool)
    first[np.unique(np.stack([owner, rows]), axis=1, return_index=True)[1]] = True
    business = np.full(len(rows), -1, np.int8)
    all_of_them = Candidates(len(slates), owner, rows, {"business": business})
    return all_of_them.take(first & (rows >= 0))


def _name(arm: Arm | None) -> str:
    return arm.name if arm else ""


def _check_names(names: Sequence[str], config: RouterConfig, split: Experiment | None) -> None:
    check(0 < len(names) <= 127, "number of the Router's clients", len(names), "be 1..127", "6")
    check(len({*names}) == len(names), "names of the clients", names, "be different", "live, ads")
    named = [*config.business_ms]
    named += [name for arm in (split.arms if split else ()) for name in arm.businesses or ()]
    for name in named:
        among = f"be one of the Router's businesses {', '.join(names)}"
        check(name in names, "a business's name", name, among, names[0])
