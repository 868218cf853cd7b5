"""The blending panel: two hundred requests of the tuning day, all businesses' candidates for them,
and how long each business took to answer, so that a knob can be turned and the day served again.

    in time (request, business) = its measured answer took no longer than the deadline
    page    = argmax sum_t w_t (value - prices), of the candidates whose business was in time
    value   = weights . E[watch time, money, satisfaction]
    prices  of quotas and budgets over the day, in mean values of an exposure, of a unit of money

Late is late for the whole request: the Router has sent the page.

Simplified: a business that is late costs its answer; the Router has last-resort answers besides.
"""

from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np

from reclab.blending.allocation import BUSINESSES, PageRules, Quotas, check_together
from reclab.blending.allocation.rules import exposures
from reclab.blending.businesses import Money
from reclab.blending.businesses.make import AD, SHORT_VIDEO
from reclab.blending.currency import OBJECTIVES, Currency
from reclab.core.clock import DAY_MS, HOUR_MS
from reclab.core.errors import check_float, check_int
from reclab.core.metrics import gini
from reclab.core.types import Array, Candidates
from reclab.lab.answer_times import OFFERED, Say, answer_times, requests_of
from reclab.lab.blending import tail_creators
from reclab.lab.blending_candidates import Pool, Truths, make_pool
from reclab.lab.blending_pool import EVERY, Served, priced, rules_of, serve
from reclab.lab.cache import built
from reclab.lab.kept import cache_name
from reclab.lab.lab import Lab
from reclab.lab.page_simulator import PageSimulator

REQUESTS = 200
STEP = 0.1  # as PricingConfig.step: so few pages must teach quotas their prices fast
BEAM = 8  # as PricedPage.beam: half as wide as usual, so that a move stays under 50 ms
SMALL = tuple(code for code in range(len(BUSINESSES)) if code not in (SHORT_VIDEO, AD))
LIKED = ("p_click", "p_long", "topic", "creator", "hazard")  # arrays of the simulator
FILE = "panel.npz"


@dataclass(frozen=True)
class BlendKnobs:
    """What the control room of lesson 01 turns."""

    revenue: float = 1.0
    """weight of money (value of a unit, 0-4)"""
    satisfaction: float = 1.0
    """weight of satisfaction (value of a long view, 0-10)"""
    load: int = 2
    """ad load: paid cards on a page, at most (cards, 0-3)"""
    gap: int = 2
    """other cards between two paid ones, at least (cards, 1-5); three ads need 2 or less"""
    quota: float = 0.0
    """of expected exposures, at least, for each of the four small businesses (share, 0-0.1)"""
    deadline_ms: float = 100.0
    """how long the Router waits for a business (ms, 2-100)"""

    def __post_init__(self) -> None:
        check_float("BlendKnobs.revenue", self.revenue, 0.0, 1e6, "0-4")
        check_float("BlendKnobs.satisfaction", self.satisfaction, 0.0, 1e6, "0-10")
        check_int("BlendKnobs.load", self.load, 0, 3, "2")
        check_int("BlendKnobs.gap", self.gap, 0, 9, "3")
        check_float("BlendKnobs.quota", self.quota, 0.0, 0.25, "0-0.1")
        check_float("BlendKnobs.deadline_ms", self.deadline_ms, 0.0, 1e9, "2-100")

    @property
    def weights(self) -> dict[str, float]:
        """Of the objectives."""
        changed = {"revenue": self.revenue, "satisfaction": self.satisfaction}
        return {**OBJECTIVES, **changed}

    @property
    def rules(self) -> PageRules:
        """Of the page; without two ads the gap between them says nothing."""
        rules = rules_of(self.load)
        return replace(rules, paid_gap=self.gap) if self.load > 1 else rules

    @property
    def quotas(self) -> Quotas:
        """Of the day."""
        return Quotas(low=tuple(self.quota * (b in SMALL) for b in range(len(BUSINESSES))))


@dataclass(frozen=True)
class Blended:
    """A day of the panel under some knobs, as ``served``. ``share`` (businesses,) of expected
    exposures; of the creators with a candidate: ``lorenz`` (creators,) exposure of the least shown
    so far, ``gini``, and ``tail``, the share of the long tail. Prices at the ``hours`` (m,) of the
    day: ``bonus`` (m, businesses) that a floor adds to a card, in mean values of an exposure;
    ``money`` (m,) what a unit of an agency's money costs on average, in mean values of one.
    ``in_time`` (B, businesses) answers, ``filled`` share of slots."""

    knobs: BlendKnobs
    served: Served
    share: Array
    lorenz: Array
    gini: float
    tail: float
    hours: Array
    bonus: Array
    money: Array
    in_time: Array
    filled: float

    @property
    def three(self) -> Array:
        """(3,) watch minutes a session, money a session, return rate."""
        return self.served.worth.three()


@dataclass(frozen=True)
class Page:
    """The cards of one page, (k,) each: ``item_row``, ``business``, calibrated ``p``; what it is
    worth by objective (``terms``), and what quotas and budgets took off (``price``; below 0: a
    floor paid for it). ``late`` businesses were not waited for."""

    item_row: Array
    business: Array
    p: Array
    terms: dict[str, Array]
    price: Array
    late: tuple[int, ...]


@dataclass(frozen=True)
class BlendPanel:
    """``pool`` as it is before any knob is turned; ``answer_ms`` (B, businesses) measured;
    ``creator_row`` (n,) of each candidate among the pool's creators, ``is_tail`` (n,) bool."""

    pool: Pool
    answer_ms: Array
    creator_row: Array
    is_tail: Array

    def __len__(self) -> int:
        return len(self.pool)

    def serve(self, knobs: BlendKnobs) -> Blended:
        """Serve all requests again, in order of time, by the priced policy."""
        in_time = self.answer_ms <= knobs.deadline_ms
        seen = self.offered(knobs.weights, in_time)
        policy = replace(priced(seen, knobs.rules, knobs.quotas, STEP), beam=BEAM)
        done, prices = serve(policy, seen), policy.prices
        held = exposures(done.pages, seen.candidates, policy.rules).sum(0)
        assert prices is not None  # priced() gives them
        page, n = policy.rules.weights.sum(), len(BUSINESSES)
        unit = max(prices.value / (prices.pages * page), 1e-12)
        coin = max(prices.paid_value / max(prices.spend.sum(), 1e-12), 1e-12)
        return Blended(
            knobs,
            done,
            held / max(held.sum(), 1e-12),
            *self.by_creator(done.pages, done.worth.shown),
            done.times % DAY_MS / HOUR_MS,
            np.maximum(-done.prices[:, :n], 0.0) / unit,
            done.prices[:, n:].mean(1) / coin,
            in_time,
            float((done.pages >= 0).mean()),
        )

    def page(self, blended: Blended, row: int) -> Page:
        """The page of one request, at the prices of its moment."""
        at = blended.served.pages[row]
        at = at[at >= 0]
        c, prices, n = self.pool.candidates, blended.served.prices, len(BUSINESSES)
        before = row // EVERY - 1  # the prices that the request met
        now = prices[before] if before >= 0 else np.zeros(prices.shape[1])
        business, payer = c["business"][at], c["payer"][at]
        price = now[business] + np.append(now[n:], 0.0)[payer] * c["spend"][at]
        terms = {name: w * c[name][at] for name, w in blended.knobs.weights.items()}
        late = tuple(np.flatnonzero(~blended.in_time[row]).tolist())
        return Page(c.item_row[at], business, c["p"][at], terms, price, late)

    def offered(self, weights: dict[str, float], in_time: Array) -> Pool:
        """The pool at these weights; cards of a business that was late have no value."""
        seen = self.pool.at(Currency(weights))
        c = seen.candidates
        late = ~in_time[c.request_row, c["business"]]
        value = np.where(late, np.nan, c["value"])
        return replace(seen, candidates=c.with_columns(value=value))

    def by_creator(self, pages: Array, shown: Array) -> tuple[Array, float, float]:
        """Lorenz curve (creators,) of exposure, its Gini, and the share of the tail; ``shown`` (B,
        slots) P(each card is reached)."""
        there = pages >= 0
        at, weight = pages[there], shown[there]
        held = np.bincount(self.creator_row[at], weight, int(self.creator_row.max()) + 1)
        if not weight.sum():
            return np.full(len(held), np.nan), float("nan"), float("nan")
        lorenz = np.cumsum(np.sort(held)) / held.sum()
        return lorenz, gini(held), float(weight @ self.is_tail[at] / weight.sum())


# ---- made once -----------------------------------------------------------------------------


def blend_panel(lab: Lab, n: int = REQUESTS, say: Say | None = None) -> BlendPanel:
    """The panel of a lab: computed and timed once (half a minute), then read."""
    say = say or (lambda fraction, text: None)

    def build(folder: Path) -> None:
        say(0.0, "candidates of all businesses")
        pool = make_pool(lab, "tuning", n, OFFERED)
        arrays = {f"column.{name}": values for name, values in pool.candidates.columns.items()}
        arrays |= {f"truth.{f.name}": getattr(pool.truths, f.name) for f in fields(Truths)}
        arrays |= {f"simulator.{name}": getattr(pool.simulator, name) for name in LIKED}
        np.savez(
            folder / FILE, request_row=pool.candidates.request_row, time_ms=pool.time_ms,
            item_row=pool.candidates.item_row, budget=pool.budget,
            answer_ms=answer_times(lab, requests_of(lab, n), say=say), **arrays,
        )  # fmt: skip

    folder = built(*cache_name(lab, f"blending_panel_{n}"), build)
    with np.load(folder / FILE) as held:
        pool = _read(lab, held)
        answers = held["answer_ms"]
    creator = pool.candidates["creator"]
    row = np.unique(creator, return_inverse=True)[1]
    return BlendPanel(pool, answers, row, np.isin(creator, tail_creators(lab)))


def _read(lab: Lab, held: "np.lib.npyio.NpzFile") -> Pool:
    def under(kind: str) -> dict[str, Array]:
        names = [name for name in held.files if name.startswith(f"{kind}.")]
        return {name.removeprefix(f"{kind}."): held[name] for name in names}

    when = held["time_ms"]
    candidates = Candidates(len(when), held["request_row"], held["item_row"], under("column"))
    simulator = PageSimulator(lab.world.truth.behaviour, **under("simulator"))
    truths = Truths(**under("truth"))
    return Pool(candidates, when, None, simulator, truths, held["budget"], Money())


def warm(knobs: BlendKnobs, loads: range, gaps: range) -> None:
    """Check all rules of the knobs' ranges now (whether a page can keep them, 30 ms each), so that
    no later move waits for it."""
    for load in loads:
        for gap in gaps:
            check_together(replace(knobs, load=load, gap=gap).rules)
