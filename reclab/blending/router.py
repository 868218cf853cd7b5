"""The Router (推荐路由服务): the one door between the app's server and all recommenders.

    server ─1─► Router ─2─► businesses, in parallel ─3─► Router ─4─► blending ─5─► Router ─► server

Whatever fails behind it, the page is full and on time: a late business is left out, one that fails
again and again is not asked for a while, bad candidates are dropped, and what is missing comes from
the last-resort pool. When the decision service raises its flag, the degraded path answers.
Chapter 2, section 2.1, figure 2.1.

    what fails or is late    what takes its place         awaited
    a business               the others, then the pool    until its deadline      each behind its
    the decision service     the live path                flag_ms                 circuit breaker
    the degraded path        the pool                     cached_ms
    the blending function    the fallback, then weave     (it runs in the Router: keep it short)

Simplified: industry runs many Routers behind a load balancer, and limits each caller's rate.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from reclab.blending.breaker import Breaker, BreakerConfig
from reclab.blending.contract import CallFailed, Clicks, monotonic_ms
from reclab.blending.door import Answer, Door
from reclab.blending.experiment import Arm, Blend, BlendService, Experiment
from reclab.blending.fan_out import Visit
from reclab.blending.guard import Guard
from reclab.blending.hedge import Hedge, HedgeConfig
from reclab.blending.lane import Lane
from reclab.blending.outbox import Outbox
from reclab.blending.page import Filler, LastResort, RowLookup, weave
from reclab.blending.pipeline import steps
from reclab.blending.rpc import Client
from reclab.blending.trace import RouterTrace
from reclab.core.errors import DataError, check, check_float, check_int
from reclab.core.pipeline import run
from reclab.core.protocols import Degradation, Recommender
from reclab.core.stage import Stage
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
    gather_ms: float = 5.0
    """time that a request waits for company, while two groups or more are inside (0-10 ms)"""
    flag_ms: float = 20.0
    """time of the decision service to say whether to degrade (1-50 ms)"""
    cached_ms: float = 50.0
    """time of the degraded path to answer (5-100 ms)"""
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
        check_float("RouterConfig.gather_ms", self.gather_ms, 0.0, 1e4, "5")
        check_float("RouterConfig.flag_ms", self.flag_ms, 0.1, 1e6, "20")
        check_float("RouterConfig.cached_ms", self.cached_ms, 0.1, 1e6, "50")
        check_int("RouterConfig.most", self.most, 1, 10_000, "64")

    def limit_ms(self, business: str) -> float:
        """Until when a business may answer."""
        return min(self.business_ms.get(business, 1e9), self.deadline_ms - self.finish_ms)


class Router:
    """``recommend`` from any number of threads. ``index`` knows the items (the forward index),
    ``pool``: item ids of the last resort, best first, or whoever makes pages whole; ``carry``: its
    features that the blending reads; ``fallback`` blends when ``blend`` fails, by the same rules;
    ``degradation`` raises the flag, ``degraded`` answers where it is raised. Column ``business`` of
    candidates and slates: position in ``names``, -1 = none."""

    def __init__(
        self,
        clients: Sequence[Client],
        index: RowLookup,
        pool: Sequence[int] | Array | Filler,
        blend: Blend | BlendService = weave,
        config: RouterConfig | None = None,
        *,
        fallback: Blend = weave,
        carry: Sequence[str] = (),
        experiment: Experiment | None = None,
        degradation: Degradation | None = None,
        degraded: Recommender | None = None,
        now_ms: Callable[[], float] = monotonic_ms,
    ) -> None:
        self.config = c = config or RouterConfig()
        self.names = tuple(client.name for client in clients)
        _check_names(self.names, c, experiment)
        self.index = index
        ids = isinstance(pool, Sequence | np.ndarray)
        self.last_resort: Filler = LastResort(pool, index) if ids else pool
        index.get(np.zeros(0, np.int64), tuple(carry))  # an unknown feature is said now
        self.experiment, self.now_ms = experiment, now_ms
        breaker = lambda: Breaker(c.breaker, now_ms)  # noqa: E731
        self.decision = degradation and Guard(
            "decision service", lambda asked: np.asarray(degradation.flags(asked)), breaker(), 1
        )
        self.degraded = degraded and Guard(
            "degraded path", lambda asked: _cached(degraded, asked, index), breaker()
        )
        self.lanes = [
            Lane(client, c.n_offers, breaker(), Hedge(c.hedge), now_ms) for client in clients
        ]
        self.outboxes = [Outbox(client) for client in clients]
        """reports of clicks on their way to each business"""
        limits = {name: c.limit_ms(name) for name in self.names}
        handed = index, tuple(carry), blend, fallback
        self.steps = steps(self.lanes, limits, *handed, c.enough, c.grace_ms, now_ms)
        """the boxes of figure 2.1, in order"""
        self._door = Door(self._live, c.most, c.gather_ms, self._at_once)

    @property
    def boxes(self) -> list[Stage]:
        """The steps, with the blending service's own in the place of the last: what a trace
        counts where all requests go to one service."""
        blend = self.steps[-1].blend  # type: ignore[attr-defined]
        inner = blend.boxes() if hasattr(blend, "boxes") else self.steps[-1:]
        return [*self.steps[:-1], *inner]

    @property
    def breakers(self) -> dict[str, Breaker]:
        """Each business's circuit breaker: ``state`` and ``history``."""
        return {lane.name: lane.breaker for lane in self.lanes}

    def recommend(self, request: Request) -> tuple[Slate, RouterTrace]:
        """The page for one request, and how it came about."""
        return self._door.pass_through(request, self.now_ms())

    def recommend_batch(self, requests: Sequence[Request]) -> tuple[list[Slate], list[RouterTrace]]:
        """The same for many requests at once, that share their calls and their deadline."""
        pages: dict[int, tuple[Slate, RouterTrace]] = {}
        began_ms = self.now_ms()
        notes = self._at_once(requests, began_ms, pages.__setitem__)
        live = [row for row in range(len(requests)) if row not in pages]
        if live:
            mine = [requests[row] for row in live]
            answer = lambda n, page: pages.update({live[n]: page})  # noqa: E731
            self._live(mine, began_ms, notes, lambda: None, answer)
        pairs = [pages[row] for row in range(len(requests))]
        return [slate for slate, _ in pairs], [trace for _, trace in pairs]

    def feedback(self, slate: Slate, clicked: Array) -> None:
        """Tell the businesses which of their cards were ``clicked`` (n,) bool by slot. Returns at
        once; a business that is away hears of it when it is back. Cards of the last resort and of
        the degraded path belong to no business."""
        clicked = np.asarray(clicked)
        if clicked.shape != (len(slate),) or clicked.dtype != bool:
            what = f"{clicked.dtype} of shape {clicked.shape}"
            raise DataError(f"clicked must be bool of shape ({len(slate)},), got {what}")
        business = slate.columns.get("business", np.full(len(slate), -1))
        one = slate.request
        facts = [one.user_id, one.req_id, one.time_ms, 0]
        for code in np.unique(business[clicked & (business >= 0)]).tolist():
            rows = np.tile(facts, (int((clicked & (business == code)).sum()), 1))
            rows[:, 3] = slate.item_id[clicked & (business == code)]
            self.outboxes[code].put(Clicks.of(rows))

    def close(self) -> None:
        """Close the clients and let the Router's own threads end; clicks that no business has
        heard of yet are lost."""
        for outbox in self.outboxes:
            outbox.close()
        for lane in self.lanes:
            lane.client.close()
        for guard in (self.decision, self.degraded):
            if guard is not None:
                guard.workers.close()

    # ---- how ------------------------------------------------------------------------------------

    def _at_once(
        self, requests: Sequence[Request], began_ms: float, answer: Answer
    ) -> tuple[str, ...]:
        """The flagged requests, from the degraded path: their users do not wait for the others."""
        flags, notes = self._flags(requests)
        rows = np.flatnonzero(flags).tolist()
        if rows:
            self._from_cache([requests[row] for row in rows], began_ms, rows, answer)
        return notes

    def _flags(self, requests: Sequence[Request]) -> tuple[Array, tuple[str, ...]]:
        """(B,) 1 = degraded; live where nobody decides, or the decision service fails."""
        live = np.zeros(len(requests), int)
        if self.decision is None or not len(requests):
            return live, ()
        try:
            flags = self.decision.ask(requests, self.config.flag_ms)
            if flags.shape == live.shape:
                return flags, ()
            why = f"decision service: {flags.shape} flags for {len(requests)} requests"
        except CallFailed as error:
            why = str(error)
        return live, (f"{why}: live path",)

    def _from_cache(
        self, requests: Sequence[Request], began_ms: float, rows: Sequence[int], answer: Answer
    ) -> None:
        """The degraded path's answers to the requests ``rows``; no business is asked."""
        kept, trace = Candidates.empty(len(requests)), Trace(())
        try:
            if self.degraded is not None:
                kept, trace = self.degraded.ask(requests, self.config.cached_ms)
        except CallFailed as error:
            trace = Trace((), (f"{error}: last-resort pool",))
        ms, n, due = self.now_ms() - began_ms, len(requests), self.config.deadline_ms
        for row, (slate, from_pool) in zip(rows, self._pages(requests, kept), strict=True):
            answer(row, (slate, RouterTrace(trace, (), ms, due, n, True, "", from_pool)))

    def _live(
        self,
        requests: Sequence[Request],
        began_ms: float,
        notes: tuple[str, ...],
        on_sent: Callable[[], None],
        answer: Answer,
    ) -> None:
        """The five steps."""
        arms, due = self._arms(requests), self.config.deadline_ms
        visit = Visit(tuple(requests), began_ms, arms, on_sent)
        kept, trace = run(self.steps, visit, len(requests))
        pages = self._pages(requests, kept)
        calls = tuple(one for call in visit.calls for one in call.trace(began_ms))
        trace = _with_inner(trace, visit.inner, notes)
        ms, n = self.now_ms() - began_ms, len(requests)
        for row, (slate, from_pool) in enumerate(pages):
            arm = _name(arms[row])
            answer(row, (slate, RouterTrace(trace, calls, ms, due, n, False, arm, from_pool)))

    def _arms(self, requests: Sequence[Request]) -> tuple[Arm | None, ...]:
        if self.experiment is None:
            return (None,) * len(requests)
        users = np.array([request.user_id for request in requests])
        return tuple(self.experiment.arms[n] for n in self.experiment.arm_of(users).tolist())

    def _pages(self, requests: Sequence[Request], kept: Candidates) -> list[tuple[Slate, int]]:
        """A full slate a request, and how many of its cards are from the pool."""
        starts, pages = kept.starts().tolist(), []
        slots = kept.columns.get("slot", np.arange(len(kept)) - kept.starts()[kept.request_row])
        for row, request in enumerate(requests):
            mine = slots[starts[row] : starts[row + 1]]
            at = _first_in_slot(mine, request.n)
            cards, slot = at + starts[row], mine[at]
            blended = kept.item_row[cards]
            rows, given = self.last_resort.fill(blended, slot, request.n)
            columns = {
                name: values[cards] if rows is blended else _spread(values[cards], given)
                for name, values in kept.columns.items()
                if name not in ("item_id", "slot")
            }
            slate = Slate(request, self.index.ids[rows], rows, columns)
            pages.append((slate, int((given < 0).sum())))
        return pages


def _first_in_slot(slot: Array, n: int) -> Array:
    """(k,) positions of the cards that stand on a page of ``n``, by slot: the first in each."""
    first = np.unique(slot, return_index=True)[1]
    return first[(slot[first] >= 0) & (slot[first] < n)]


def _spread(values: Array, given: Array) -> Array:
    """(n, …) a column by slot: ``given`` (n,) says which card stands there; what is from the pool
    (-1) has NaN, or -1."""
    blank = np.full((1, *values.shape[1:]), np.nan if values.dtype.kind == "f" else -1)
    return np.concatenate([values, blank.astype(values.dtype)])[given]


def _with_inner(trace: Trace, inner: Sequence[Trace], notes: tuple[str, ...]) -> Trace:
    """The steps, with those of the blending service in the place of the last; its notes too."""
    stages = trace.stages
    if len(inner) == 1 and inner[0].stages:
        stages = stages[:-1] + inner[0].stages
    said = tuple(note for one in inner for note in one.notes)
    return Trace(stages, notes + trace.notes + said)


def _cached(
    path: Recommender, requests: Sequence[Request], index: RowLookup
) -> tuple[Candidates, Trace]:
    """What a degraded path answers, checked as the businesses are: known items, each once."""
    slates, trace = path.recommend_batch(requests)
    owner = np.repeat(np.arange(len(requests)), [len(slate) for slate in slates])
    rows = index.rows(np.concatenate([slate.item_id for slate in slates]))
    first = np.zeros(len(rows), bool)
    first[np.unique(np.stack([owner, rows]), axis=1, return_index=True)[1]] = True
    business = np.full(len(rows), -1, np.int8)
    everything = Candidates(len(requests), owner, rows, {"business": business})
    return everything.take(first & (rows >= 0)), trace


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
