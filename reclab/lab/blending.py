"""Blending on the simulated platform: the front of watch time, revenue and return, and three of the
chapter's four conflicts. The fourth, long against short term, takes days: ``blending_days``.

    objectives   pages made for one objective alone, judged by all of them
    resources    who gets the slots under each policy; what a slot more for a business costs
    fairness     quotas for small businesses and a bonus for the tail of creators, and their price
    front        settings of four policies; a dominates b: no objective less, one more

Pages are made by what the platform believes (learned on the tuning day) and judged by the truth.
Reference: chapter 2, section 2.1 (目标冲突 资源竞争 生态公平 长短期平衡).
Simplified: industry sees such fronts by experiments with live traffic, one point an arm.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from reclab.blending.allocation import (
    BUSINESSES,
    FixedSlots,
    PagePolicy,
    PricedPage,
    Quotas,
    RatioWeave,
    WeightedSum,
)
from reclab.blending.allocation.rules import exposures
from reclab.blending.businesses import Recommender, make_businesses
from reclab.blending.businesses.make import AD, LIVE, PRODUCT
from reclab.blending.contract import Deadline
from reclab.blending.currency import OBJECTIVES, Currency
from reclab.core.errors import DataError
from reclab.core.metrics import gini
from reclab.core.types import Array, Request
from reclab.lab.blending_pool import (
    Pool,
    Served,
    make_pool,
    priced,
    rules_of,
    serve,
    with_money,
)
from reclab.lab.kept import kept
from reclab.lab.lab import Lab, open_lab

LOADS = (0, 1, 2, 3)
REVENUE = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0)
AD_SLOTS: dict[int, tuple[int, ...]] = {0: (), 1: (6,), 2: (2, 6), 3: (2, 5, 8)}
PRODUCT_SLOTS: tuple[tuple[int, ...], ...] = ((), (3,), (3, 7))
LIVE_SLOTS: tuple[tuple[int, ...], ...] = ((), (1,), (1, 9))
POOL = 600  # requests of each day


@dataclass(frozen=True)
class Point:
    """One setting of a policy: mean watch ``minutes`` and ``money`` a session, return rate
    ``back``; ``share`` of expected exposures of each business."""

    family: str
    minutes: float
    money: float
    back: float
    share: tuple[float, ...]

    def dominates(self, other: "Point") -> bool:
        """No objective less, and one more."""
        mine, theirs = (np.array([p.minutes, p.money, p.back]) for p in (self, other))
        return bool((mine >= theirs).all() and (mine > theirs).any())


def point_of(family: str, served: Served, pool: Pool, policy: PagePolicy) -> Point:
    """The means of a served pool."""
    minutes, money, back = served.worth.three().tolist()
    held = exposures(served.pages, pool.candidates, policy.rules).sum(0)
    return Point(family, minutes, money, back, tuple((held / held.sum()).tolist()))


def point(policy: PagePolicy, pool: Pool, family: str = "") -> Point:
    """The pool served under a policy, judged by the truth."""
    return point_of(family or type(policy).__name__, serve(policy, pool), pool, policy)


# ---- the front -----------------------------------------------------------------------------


def settings(pool: Pool) -> Iterator[tuple[str, str, PagePolicy, Pool]]:
    """(name, family, policy, pool as it sees it) of every setting."""
    for load in LOADS:
        yield from fixed_settings(load, pool)
        for product in (0, 1, 2):
            for live in (0, 1, 2):
                ratios = (5, live, product, load, 0.5, 0.5)
                name = f"weave ads {load} products {product} live {live}"
                yield name, "weave", RatioWeave(rules_of(load), ratios), pool
        for boost in (0.0, 0.5, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0):
            boosts = (1.0, boost, boost, boost, 1.0, 1.0)
            policy = WeightedSum(rules_of(load), boosts, "value")
            yield f"sum ads {load} boost {boost:g}", "weighted sum", policy, pool
        yield f"sum ads {load} raw scores", "weighted sum", WeightedSum(rules_of(load)), pool
        for weight in REVENUE:
            for care in (1.0, 3.0):
                priced_pool = pool.at(
                    Currency({**OBJECTIVES, "revenue": weight, "satisfaction": care})
                )
                name = f"priced ads {load} revenue {weight:g} satisfaction {care:g}"
                yield name, "priced", priced(pool, rules_of(load)), priced_pool


def fixed_settings(load: int, pool: Pool) -> Iterator[tuple[str, str, PagePolicy, Pool]]:
    """Fixed slots: a business without slots of its own that is paid for is not shown at all."""
    for products in PRODUCT_SLOTS:
        for lives in LIVE_SLOTS:
            rules = rules_of(load)
            ceilings = list(rules.ceilings)
            ceilings[PRODUCT], ceilings[LIVE] = len(products), len(lives)
            slots = ((), lives, products, AD_SLOTS[load], (), ())
            policy = FixedSlots(replace(rules, ceilings=tuple(ceilings)), slots)
            yield (
                f"fixed ads {load} products {len(products)} live {len(lives)}",
                "fixed slots",
                policy,
                pool,
            )


def front(pool: Pool) -> dict[str, Point]:
    """Every setting served and judged."""
    return {
        name: point_of(family, serve(policy, seen), seen, policy)
        for name, family, policy, seen in settings(pool)
    }


@dataclass(frozen=True)
class Dominance:
    """Of ``fixed`` settings of a family: how many some setting of the priced policy dominates; and
    how many priced settings any of that family's dominates."""

    family: str
    settings: int
    dominated: int
    priced: int
    priced_dominated: int


def dominance(points: Mapping[str, Point]) -> list[Dominance]:
    """The priced policy against each other family."""
    families = [*dict.fromkeys(p.family for p in points.values())]
    priced_points = [p for p in points.values() if p.family == "priced"]
    if not priced_points:
        raise DataError(f"a front without priced settings (it has: {', '.join(families)})")
    found = []
    for family in families:
        theirs = [p for p in points.values() if p.family == family]
        if family != "priced":
            lost = sum(any(q.dominates(p) for q in priced_points) for p in theirs)
            beaten = sum(any(p.dominates(q) for p in theirs) for q in priced_points)
            found.append(Dominance(family, len(theirs), lost, len(priced_points), beaten))
    return found


def transferred(tuning: Mapping[str, Point], held_out: Mapping[str, Point]) -> Dominance:
    """Settings chosen on one day and compared on the next: the priced settings that nothing
    dominates on the tuning day, against fixed slots on the held-out one."""
    best = [
        name
        for name, p in tuning.items()
        if p.family == "priced" and not any(q.dominates(p) for q in tuning.values())
    ]
    fixed = {name: p for name, p in held_out.items() if p.family == "fixed slots"}
    return dominance({**fixed, **{name: held_out[name] for name in best}})[0]


def kept_front(lab: Lab, split: str, n: int = POOL) -> dict[str, Point]:
    """The front of a split, computed once for a lab."""
    kind = f"blending_front_{split}_{n}"
    return kept(lab, kind, Point, lambda: front(make_pool(lab, split, n)))


@dataclass(frozen=True)
class Sensitivity:
    """Who dominates whom if the platform kept another ``commission`` and advertisers had
    ``headroom`` times the money; ``shares`` of ads and products where revenue counts once."""

    commission: float
    headroom: float
    fixed_dominated: float
    priced_dominated: float
    ads: float
    products: float


def sensitivity(
    pool: Pool,
    commissions: Sequence[float] = (0.02, 0.05, 0.08, 0.15, 0.3),
    headrooms: Sequence[float] = (0.25, 1.0, 4.0),
) -> list[Sensitivity]:
    """The front again under other money."""
    found = []
    for commission in commissions:
        for headroom in headrooms:
            points = front(with_money(pool, commission, headroom))
            d = dominance(points)[0]
            usual = points["priced ads 2 revenue 1 satisfaction 1"].share
            found.append(
                Sensitivity(
                    commission, headroom, d.dominated / d.settings,
                    d.priced_dominated / d.priced, usual[AD], usual[PRODUCT],
                )
            )  # fmt: skip
    return found


# ---- conflicts -----------------------------------------------------------------------------


def objectives(pool: Pool, load: int = 2) -> dict[str, Point]:
    """Conflict of objectives (目标冲突): pages for each objective alone, and for all three."""
    alone = {name: {name: 1.0} for name in OBJECTIVES}
    found = {}
    for name, weights in {**alone, "all three": OBJECTIVES}.items():
        seen, policy = pool.at(Currency(weights)), priced(pool, rules_of(load))
        found[name] = point_of("priced", serve(policy, seen), seen, policy)
    return found


@dataclass(frozen=True)
class Slots:
    """Resources (资源竞争): ``share`` of exposures of each business under each policy, ``value`` of
    a page as the platform believes; and what it believes to lose on a page by one card more of
    each business (``slot_price``, value; NaN where the rules allow no more)."""

    policies: tuple[str, ...]
    share: Array
    value: tuple[float, ...]
    slot_price: Array


def resources(pool: Pool, load: int = 2) -> Slots:
    """The same candidates under each policy; then one floor at a time raised."""
    rules = rules_of(load)
    policies: dict[str, PagePolicy] = {
        "fixed slots": FixedSlots(rules, ((), (1,), (3,), AD_SLOTS[load], (), ())),
        "weave": RatioWeave(rules),
        "weighted sum": WeightedSum(rules, column="value"),
        "priced": priced(pool, rules),
    }
    served = {name: serve(policy, pool) for name, policy in policies.items()}
    shares = [point_of(n, s, pool, policies[n]).share for n, s in served.items()]
    believed = np.append(pool.candidates["value"], 0.0)
    value = [float((believed[s.pages] @ rules.weights).mean()) for s in served.values()]
    best = PricedPage(rules).allocate(pool.candidates)
    price = np.full(len(BUSINESSES), np.nan)
    for b in range(len(BUSINESSES)):
        held = np.bincount(
            np.append(pool.candidates["business"], -1)[best].ravel() + 1, minlength=7
        )
        floor = int(np.floor(held[b + 1] / len(pool))) + 1
        if floor <= rules.ceilings[b] and not (b == AD and floor > load):
            floors = tuple(floor if c == b else f for c, f in enumerate(rules.floors))
            forced = PricedPage(replace(rules, floors=floors)).allocate(pool.candidates)
            price[b] = ((believed[best] - believed[forced]) @ rules.weights).mean()
    return Slots(tuple(policies), np.array(shares), tuple(value), price)


@dataclass(frozen=True)
class Fairness:
    """Ecosystem (生态公平): ``tail`` share of exposures of the creators outside the fifth that the
    log showed most, ``gini`` of exposures over creators, ``smallest`` business's share, and what
    it costs: ``minutes``, ``money``, ``back``."""

    tail: float
    gini: float
    smallest: float
    minutes: float
    money: float
    back: float


def fairness(lab: Lab, pool: Pool, load: int = 2) -> dict[str, Fairness]:
    """No protection; quotas for the small businesses; a bonus in value for the tail."""
    tail = tail_creators(lab)
    rules, small = rules_of(load), (0.0, 0.05, 0.05, 0.0, 0.05, 0.05)
    found = {}
    for name, quotas, bonus in (
        ("none", None, 0.0),
        ("quotas of 5 %", Quotas(low=small), 0.0),
        ("tail bonus 0.1", None, 0.1),
        ("tail bonus 0.3", None, 0.3),
        ("tail bonus 1", None, 1.0),
        ("both", Quotas(low=small), 0.3),
    ):
        c = pool.candidates
        is_tail = np.isin(c["creator"], tail)
        seen = replace(pool, candidates=c.with_columns(value=c["value"] + bonus * is_tail))
        policy = priced(pool, rules, quotas)
        served = serve(policy, seen)
        p = point_of("priced", served, seen, policy)
        weight, at = served.worth.shown[served.pages >= 0], served.pages[served.pages >= 0]
        creators, row = np.unique(lab.trained.parts.index["author_id"], return_inverse=True)
        by_creator = np.bincount(row[c.item_row[at]], weight, len(creators))
        share = float((weight * is_tail[at]).sum() / weight.sum())
        found[name] = Fairness(share, gini(by_creator), min(p.share), p.minutes, p.money, p.back)
    return found


def tail_creators(lab: Lab, head: float = 0.2) -> Array:
    """Author ids outside the ``head`` most shown before the models' end of training."""
    index, shown = lab.trained.parts.index, lab.logs.interactions
    early = shown["time_ms"] < (lab.trained.parts.until_ms or np.inf)
    creators, row = np.unique(index["author_id"], return_inverse=True)
    count = np.bincount(row[index.rows(shown["video_id"][early])], minlength=len(creators))
    return creators[np.argsort(-count, kind="stable")[int(head * len(creators)) :]]


def open_business(name: str) -> Recommender:
    """One business over the lab of ``RECLAB_SCALE`` and ``RECLAB_SEED`` (default 0), or over real
    logs by ``RECLAB_DATA``; its ledger of clicks in the folder ``RECLAB_LEDGER``, if it is named:
    what a server process opens with
    ``python -m reclab.blending.serve NAME --factory reclab.lab.blending:open_business``."""
    lab = open_lab(seed=int(os.environ.get("RECLAB_SEED") or 0), progress=False)
    folder = os.environ.get("RECLAB_LEDGER")
    journal = Path(folder) / f"{name}.clicks" if folder else None
    business = make_businesses(lab.trained, lab.logs, names=(name,), journal=journal)[name]
    warm_up(business, lab)
    return business


def warm_up(business: Recommender, lab: Lab, n: int = 20) -> None:
    """Answer ``n`` requests for nobody: indexes are made and files are read at the first ones,
    which would be late, and the circuit breakers would open at once."""
    users = lab.logs.users["user_id"]
    now_ms = lab.trained.parts.until_ms or 0
    for user in users[np.linspace(0, len(users) - 1, n).astype(int)].tolist():
        business.offer([Request(user, now_ms)], 20, Deadline(float("inf")))
