"""The whole of §2.1 over the lab: six businesses, the Router, and the blending service, wired.

    router = blended_router(lab)                              # the businesses in this process
    with six_servers(lab) as servers:                         # or as six processes
        router = blended_router(lab, servers)
    slate, trace = router.recommend(lab.requests(1)[0])

What the service believes (curves, outcomes, factors) is learned on the tuning day, once, and kept
in the lab's cache. Every page obeys the rules, whatever fails: the policy makes it so, the fallback
after it, and the pool that fills what is missing. ``breaking_blended`` takes it apart.

Simplified: industry relearns the beliefs every hour and tells all Routers of the new ones.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from reclab.blending.allocation import (
    BUSINESSES,
    DualPrices,
    PageRules,
    PricedPage,
    Quotas,
)
from reclab.blending.allocation.policy import first_that_fit
from reclab.blending.businesses import Money, cards_of, make_businesses
from reclab.blending.businesses.make import SHORT_VIDEO
from reclab.blending.calibration import Line, ScoreCalibration
from reclab.blending.currency import OBJECTIVES, Currency, Outcomes
from reclab.blending.router import Router, RouterConfig
from reclab.blending.rpc import Client, Local
from reclab.blending.ruled_pool import RuledPool, page_of
from reclab.blending.servers import Servers
from reclab.blending.service import BlendingService
from reclab.cascade.ranking.calibration import Curve
from reclab.core.clock import HOUR_MS
from reclab.core.errors import check
from reclab.core.protocols import Degradation, Recommender
from reclab.core.types import Array, Candidates, Request, Slate, Trace
from reclab.lab.blending import warm_up
from reclab.lab.blending_pool import rules_of
from reclab.lab.blending_values import Learned, learn_values
from reclab.lab.kept import kept
from reclab.lab.lab import Lab, train_until
from reclab.stores.forward_index import ForwardIndex

POOL = 500  # items of the last resort


# ---- what the service believes ---------------------------------------------------------------


@dataclass(frozen=True)
class Belief:
    """What was learned of one business: its curve as points ``x`` -> ``y`` (on log odds with
    ``odds``) or, where there were few labels, ``line``; ``means`` (objectives, 2) of an exposure
    without its event and with it; ``factor`` (2,) of its own watch seconds and revenue."""

    x: Array
    y: Array
    odds: bool
    line: Array
    means: Array
    factor: Array


def kept_beliefs(lab: Lab) -> dict[str, Belief]:
    """Of each business, learned on the tuning day once for this lab's models (seconds)."""

    def compute() -> dict[str, Belief]:
        learned = learn_values(lab, make_businesses(lab.trained, lab.logs), Money())
        return {name: _belief(learned, code) for code, name in enumerate(BUSINESSES)}

    return kept(lab, "blending_values", Belief, compute)


def _belief(learned: Learned, code: int) -> Belief:
    curve, none = learned.calibration.curves[code], np.zeros(0)
    means = np.stack([learned.outcomes.means[name][code] for name in OBJECTIVES])
    factor = np.array([learned.watch_factor[code], learned.revenue_factor[code]])
    if isinstance(curve, Curve):
        return Belief(curve.x, curve.y, curve.odds, none, means, factor)
    return Belief(none, none, False, np.array(curve), means, factor)


@dataclass(frozen=True)
class LabBlending(BlendingService):
    """The blending service over the lab's catalogue: it reads what the policy must know of a card
    (its creator, who pays for it) from the index."""

    index: ForwardIndex

    def blend(self, candidates: Candidates) -> tuple[Candidates, Trace]:
        """The cards of each request's page in their order, with the column ``slot``."""
        return super().blend(cards_of(candidates, self.index))

    def saw(self, slates: Sequence[Slate]) -> None:
        """These pages were shown: a policy with prices learns from their cards (of the Router's
        pages in order; what came from the pool belongs to no business)."""
        pages = [np.flatnonzero(slate.columns["business"] >= 0) for slate in slates]
        names = ("business", "value", "payer", "spend")
        own = [(slate, at) for slate, at in zip(slates, pages, strict=True) if len(at)]
        if not own:
            return
        columns = {n: np.concatenate([slate.columns[n][at] for slate, at in own]) for n in names}
        columns["slot"] = np.concatenate(pages)
        owner = np.arange(len(slates)).repeat([len(at) for at in pages])
        rows = np.concatenate([slate.item_row[at] for slate, at in own])
        time_ms = max(slate.request.time_ms for slate in slates)
        self.observe(Candidates(len(slates), owner, rows, columns), time_ms)


def blending_service(
    lab: Lab,
    load: int = 2,
    weights: Mapping[str, float] | None = None,
    quotas: Quotas | None = None,
) -> LabBlending:
    """The service with values learned on the tuning day. ``load``: ads on a page at most (0-3);
    ``weights`` of the objectives (value a unit, default ``OBJECTIVES``); ``quotas`` of exposures:
    then its policy has prices, which move when it is told what was shown (``saw``)."""
    beliefs = [*kept_beliefs(lab).values()]
    calibration, outcomes = ScoreCalibration(), Outcomes()
    calibration.curves = [
        Line(*b.line) if len(b.line) else Curve(b.x, b.y, b.odds) for b in beliefs
    ]
    for at, name in enumerate(OBJECTIVES):
        outcomes.means[name] = np.stack([b.means[at] for b in beliefs])
    for at, name in enumerate(("watch_sec", "revenue")):
        outcomes.factors[name] = np.array([b.factor[at] for b in beliefs])
    rules, prices = rules_of(load), None
    if quotas is not None:
        hour = lab.logs.interactions["time_ms"] // HOUR_MS % 24
        prices = DualPrices(quotas, rules, np.bincount(hour, minlength=24))
    currency = Currency(weights) if weights else Currency()
    policy = PricedPage(rules, prices)
    return LabBlending(calibration, outcomes, currency, policy, lab.trained.parts.index)


# ---- the Router ------------------------------------------------------------------------------


@dataclass(frozen=True)
class RuledWeave:
    """The fallback of the blending: the businesses' cards woven, as far as the rules allow."""

    rules: PageRules
    index: ForwardIndex

    def __call__(self, request: Request, candidates: Candidates) -> Array:
        """(slots,) positions, -1 = left to the pool."""
        order = np.lexsort((candidates["business"], candidates["place"]))
        listed = cards_of(candidates.take(order), self.index)
        listed = listed.with_columns(value=np.ones(len(listed)))
        page = first_that_fit(listed, page_of(self.rules, request.n))[0]
        return np.where(page >= 0, np.append(order, -1)[page], -1)


def last_resort(lab: Lab, rules: PageRules) -> RuledPool:
    """The short videos that most people liked before the tuning day."""
    parts, until = lab.trained.parts, train_until(lab)
    index = parts.index
    liked = np.zeros(len(index))
    liked[: len(parts.popular.popularity)] = parts.popular.popularity
    mine = (index["business"] == SHORT_VIDEO) & (index["publish_ms"] < until)
    best = np.argsort(-np.where(mine, liked, -1.0), kind="stable")[: min(POOL, int(mine.sum()))]
    return RuledPool(index.ids[best], index, rules)


def blended_router(
    lab: Lab,
    servers: Servers | None = None,
    config: RouterConfig | None = None,
    service: LabBlending | None = None,
    degradation: Degradation | None = None,
    degraded: Recommender | None = None,
) -> Router:
    """The Router over the six businesses: in this process, or clients of ``servers``. Its pages
    obey the rules of ``service``'s policy, also those that the degraded path has made."""
    service = service or blending_service(lab)
    index, rules = lab.trained.parts.index, service.policy.rules
    clients: list[Client] = []
    if servers is None:
        for business in make_businesses(lab.trained, lab.logs).values():
            warm_up(business, lab, 3)
            clients.append(Local(business))
    else:
        said = f"be {', '.join(BUSINESSES)}, in this order: their places are their codes"
        check(servers.names == BUSINESSES, "servers.names", servers.names, said, "six_servers(lab)")
        clients += servers.clients()
    return Router(
        clients,
        index,
        last_resort(lab, rules),
        service,
        config,
        fallback=RuledWeave(rules, index),
        degradation=degradation,
        degraded=degraded,
    )


# ---- six processes ---------------------------------------------------------------------------


def six_servers(lab: Lab, start_s: float = 180.0) -> Servers:
    """The businesses as six processes over the same lab, to be entered with ``with``; each opens
    the lab from the cache (seconds, half a gigabyte). ``kill``, ``restart``, ``hang`` and
    ``SlowDown`` break them."""
    same = {"RECLAB_SEED": str(lab.seed), "RECLAB_DATA": lab.data}
    if lab.has_truth:
        same["RECLAB_SCALE"] = lab.scale
    factory = "reclab.lab.blending:open_business"
    servers = Servers(BUSINESSES, factory, start_s=start_s, environment=same)
    servers.environment["RECLAB_LEDGER"] = str(servers.folder)  # a killed one remembers
    return servers
