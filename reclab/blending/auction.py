"""The auction (公平竞价): organic and paid cards bid for the same slots in one currency.

    total_i = worth_i + g bid_i,   the best total at the first slot, the next at the second, ...
    b_is    = max(reserve, (s-th best total of the others - worth_i) / g)     least bid for slot s
    p_i     = sum_{s >= t} (w_s - w_{s+1}) b_is,   w_k = 0                    expected payment

worth is what a full exposure of the card is worth beside its money (for an ad it may be below 0: it
annoys), g the value of a unit of money. An ad pays for what it takes from those below it, who would
each stand a slot higher without it: with one slot that is the second price, with several the price
of Vickrey, Clarke and Groves. Nothing a bidder says changes what a slot costs it, so the best bid
is the truth: overbidding buys slots that cost more than they bring.
References: Vickrey 1961; Clarke 1971; Groves 1973; Myerson 1981 (reserve); Edelman, Ostrovsky and
Schwarz, AER 2007 (why the plain second price of slots, GSP, is not truthful).

Simplified: industry charges by click or conversion, and sets reserves from past auctions.
"""

from dataclasses import dataclass

import numpy as np

from reclab.blending.allocation.exact_page import ExactPage
from reclab.blending.allocation.rules import PageRules, page_value
from reclab.core.errors import DataError, check, check_float
from reclab.core.types import Array, Candidates

PRICING = ("vcg", "second_price", "first_price")


@dataclass(frozen=True)
class AuctionConfig:
    """The currency, the reserve, and who pays what."""

    money_value: float = 1.0
    """g, value of a unit of money (value, 0.01-100)"""
    reserve: float = 0.0
    """least bid that takes part (money for a full exposure, 0-1)"""
    pricing: str = "vcg"
    """"vcg"; or, to see why not: "second_price" (the next total's bid for one's own slot, GSP) and
    "first_price" (one's own bid)"""

    def __post_init__(self) -> None:
        check_float("AuctionConfig.money_value", self.money_value, 1e-9, 1e9, "1")
        check_float("AuctionConfig.reserve", self.reserve, 0.0, 1e9, "0-1")
        known = f"be one of {', '.join(PRICING)}"
        check(self.pricing in PRICING, "AuctionConfig.pricing", self.pricing, known, "vcg")


@dataclass(frozen=True)
class Sale:
    """``page`` (slots,) positions of cards, -1 = empty; ``weight`` (n,) share of users who see each
    card; ``payment`` (n,) expected money of each; ``value`` of the page at the bids."""

    page: Array
    weight: Array
    payment: Array
    value: float


def sell_slots(
    worth: Array, bid: Array, weights: Array, config: AuctionConfig | None = None
) -> Sale:
    """Sell slots of falling ``weights`` (k,) to cards (n,) with ``worth`` and ``bid`` (money for a
    full exposure; NaN = organic, pays nothing). Ties go to the first.

    >>> sale = sell_slots(np.array([2.0, 0.0, 0.0]), np.array([np.nan, 5.0, 3.0]), np.array([1.0]))
    >>> sale.page.tolist(), sale.payment.tolist()
    ([1], [0.0, 3.0, 0.0])
    """
    config = config or AuctionConfig()
    worth, bid, weights = _checked(worth, bid, weights)
    paid = ~np.isnan(bid)
    total = worth + config.money_value * np.where(paid, bid, 0.0)
    takes_part = ~paid | (bid >= config.reserve)
    order = np.argsort(-total, kind="stable")
    order = order[takes_part[order]]
    page = np.full(len(weights), -1)
    page[: len(order)] = order[: len(weights)]
    held = np.zeros(len(worth))
    held[page[page >= 0]] = weights[: min(len(order), len(weights))]
    payment = np.zeros(len(worth))
    for slot, card in enumerate(page.tolist()):
        if card >= 0 and paid[card]:
            least = least_bids(worth[card], total[order[order != card]], len(weights), config)
            payment[card] = _price(slot, least, bid[card], weights, config)
    return Sale(page, held, payment, float(total @ held))


def least_bids(worth: float, others: Array, slots: int, config: AuctionConfig) -> Array:
    """(slots,) the least bid that takes each slot from ``others`` (m,), totals from the best."""
    bar = np.full(slots, -np.inf)
    bar[: len(others)] = others[:slots]
    return np.maximum(config.reserve, (bar - worth) / config.money_value)


def _price(slot: int, least: Array, bid: float, weights: Array, config: AuctionConfig) -> float:
    """Expected payment for a slot."""
    if config.pricing == "first_price":
        return float(weights[slot] * bid)
    if config.pricing == "second_price":
        return float(weights[slot] * least[slot])
    steps = weights - np.append(weights[1:], 0.0)
    return float(steps[slot:] @ least[slot:])


def sell_page(
    candidates: Candidates, bid: Array, rules: PageRules, money_value: float = 1.0
) -> Sale:
    """The auction of one request's page under all its rules, ``value`` being what a card is worth
    beside its ``bid`` (n,): each paid card pays what the best page without it would be worth more
    to everybody else, by ``ExactPage``, twenty times dearer than without rules. Never below 0: if
    the page would be short of cards without it, a card may get its slot for nothing."""
    paid = ~np.isnan(bid)
    total = candidates["value"] + money_value * np.where(paid, bid, 0.0)
    solver = ExactPage(rules)
    priced = candidates.with_columns(value=total)

    def best(value: Array) -> tuple[Array, float]:
        page = solver.best(candidates, value)[0]
        return page, float(page_value(page, priced, rules)[0])

    page, value = best(total)
    held, payment = np.zeros(len(bid)), np.zeros(len(bid))
    held[page[page >= 0]] = rules.weights[page >= 0]
    for card in page[page >= 0].tolist():
        if paid[card]:
            without = best(np.where(np.arange(len(bid)) == card, np.nan, total))[1]
            others = value - held[card] * total[card]
            cost = without - others - held[card] * candidates["value"][card]
            payment[card] = max(0.0, cost / money_value)
    return Sale(page, held, payment, value)


def utility_of_bidding(
    worth: Array,
    truth: Array,
    weights: Array,
    factors: Array,
    bidder: int,
    config: AuctionConfig | None = None,
) -> Array:
    """(m,) what ``bidder`` gains, money's worth less payment, if it bids ``factors`` (m,) times
    its ``truth``, what an exposure is worth to it; the others bid theirs (n,), NaN = organic."""
    gains = np.empty(len(factors))
    for at, factor in enumerate(factors):
        bid = truth.copy()
        bid[bidder] *= factor
        sale = sell_slots(worth, bid, weights, config)
        gains[at] = sale.weight[bidder] * truth[bidder] - sale.payment[bidder]
    return gains


def _checked(worth: Array, bid: Array, weights: Array) -> tuple[Array, Array, Array]:
    worth, bid, weights = (np.asarray(x, np.float64) for x in (worth, bid, weights))
    if worth.shape != bid.shape or worth.ndim != 1:
        raise DataError(f"worth {worth.shape} and bid {bid.shape} must both be (cards,)")
    if not np.isfinite(worth).all():
        bad = int((~np.isfinite(worth)).sum())
        raise DataError(f"the worth of {bad} of {len(worth)} cards is NaN or infinite")
    if (bid < 0).any() or np.isinf(bid).any():
        raise DataError("bids must be >= 0 and finite, or NaN for organic cards, "
                        f"got {bid[(bid < 0) | np.isinf(bid)][0]:g}")  # fmt: skip
    if len(weights) and (weights.min() < 0 or (np.diff(weights) > 0).any()):
        raise DataError(f"slot weights must fall and be >= 0, got {weights.tolist()}")
    return worth, bid, weights
