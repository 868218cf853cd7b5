"""Exercise 1.5: who bids above worth? Read it off the books of an auction, in two ways of paying.

    profit = (worth - price) * exposures,   worth: what a full exposure is worth to the advertiser

The books come from the real auction: two ad slots of every page of the pool, six advertisers with
their best ad each. One of them bids a multiple of its worth, one a fraction, the rest the truth.
Reference: Vickrey 1961; ``blending/auction.py``.

Simplified: advertisers bid one multiple of their worth all day; real ones change it by the hour.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from reclab.blending.allocation.rules import PageRules
from reclab.blending.auction import AuctionConfig, sell_slots
from reclab.blending.businesses.make import AD
from reclab.core.types import Array
from reclab.lab.blending_pool import Pool
from reclab.learn.exercise import Task
from reclab.learn.probe import CORRECT, NOT_ATTEMPTED, NOT_YET, Verdict, shown

NAMES = ("Ant", "Bee", "Crow", "Deer", "Eel", "Fox")
FACTORS = (1.0, 1.0, 1.35, 1.0, 0.6, 1.0)  # of its worth, what each bids
AD_SLOTS = (2, 6)
NEAR = 0.03  # of the factor, that rounding may cost


@dataclass(frozen=True)
class Rounds:
    """An auction a page: ``worth`` (B, 6) to the platform beside the money, ``truth`` (B, 6) to the
    advertiser, NaN = has no ad there; ``weights`` of the slots."""

    worth: Array
    truth: Array
    weights: Array


@dataclass(frozen=True)
class Books:
    """An advertiser's day: mean ``bid`` for a full exposure; ``exposures``, and under each way of
    paying the ``price`` of one and the ``profit`` of all."""

    name: str
    bid: float
    exposures: float
    vcg_price: float
    vcg_profit: float
    own_bid_price: float
    own_bid_profit: float


def rounds_of(pool: Pool) -> Rounds:
    """The ads of the pool: of each advertiser the one that is worth most on a page."""
    c = pool.candidates
    ads = np.flatnonzero((c["business"] == AD) & (c["payer"] >= 0))
    who, row = c["payer"][ads] % len(NAMES), c.request_row[ads]
    money = c["revenue"][ads].astype(np.float64)
    worth, truth = (np.full((len(pool), len(NAMES)), np.nan) for _ in range(2))
    order = np.argsort(c["value"][ads], kind="stable")  # the best comes last and stays
    worth[row[order], who[order]] = (c["value"][ads] - money)[order]
    truth[row[order], who[order]] = money[order]
    return Rounds(worth, truth, PageRules().weights[list(AD_SLOTS)])


Sell = Callable[[Array, Array, Array], tuple[Array, Array]]


def by_auction(pricing: str) -> Sell:
    """(worths, bids, weights) -> (exposures, payments) of the cards, by the real auction."""

    def sell(worth: Array, bid: Array, weights: Array) -> tuple[Array, Array]:
        sale = sell_slots(worth, bid, weights, AuctionConfig(pricing=pricing))
        return sale.weight, sale.payment

    return sell


def profits(rounds: Rounds, factors: Array, sell: Sell) -> tuple[Array, Array, Array]:
    """(6,) exposures, payments and profits, if each bids its factor (6,) times the truth."""
    sums = np.zeros((3, len(NAMES)))
    for worth, truth in zip(rounds.worth, rounds.truth, strict=True):
        here = np.isfinite(truth)
        held, paid = sell(worth[here], (factors * truth)[here], rounds.weights)
        sums[:, here] += held, paid, held * truth[here] - paid
    return sums[0], sums[1], sums[2]


def the_books(rounds: Rounds, factors: Sequence[float] = FACTORS) -> list[Books]:
    """The day of every advertiser."""
    each = np.array(factors)
    bid = np.nanmean(each * rounds.truth, 0)
    held, vcg, vcg_gain = profits(rounds, each, by_auction("vcg"))
    _, own, own_gain = profits(rounds, each, by_auction("first_price"))
    seen = np.maximum(held, 1e-12)
    columns = (bid, held, vcg / seen, vcg_gain, own / seen, own_gain)
    return [Books(name, *(float(x[n]) for x in columns)) for n, name in enumerate(NAMES)]


def books_table(books: Sequence[Books]) -> str:
    """The books as text, two ways of paying side by side."""
    head = f"{'':<8}{'mean':>8}{'':>11}{'-- VCG --':>18}{'-- own bid --':>18}"
    lines = [head, f"{'':<8}{'bid':>8}{'exposures':>11}" + f"{'price':>9}{'profit':>9}" * 2]
    lines += [
        f"{b.name:<8}{b.bid:>8.2f}{b.exposures:>11.0f}{b.vcg_price:>9.3f}{b.vcg_profit:>9.1f}"
        f"{b.own_bid_price:>9.3f}{b.own_bid_profit:>9.1f}"
        for b in books
    ]
    return "\n".join(lines)


def profit_by_factor(
    rounds: Rounds, name: str, factors: Sequence[float], sell: Sell | str = "vcg"
) -> Array:
    """(m,) profit of one advertiser if it bids ``factors`` (m,) times its worth and the others
    the truth; ``sell`` is an auction or the name of its pricing."""
    sell = by_auction(sell) if isinstance(sell, str) else sell
    at = NAMES.index(name)
    tried = [np.where(np.arange(len(NAMES)) == at, factor, 1.0) for factor in factors]
    return np.array([profits(rounds, each, sell)[2][at] for each in tried])


def factor_in(b: Books) -> float:
    """What it bids as a multiple of its worth: under own-bid payment the price is the bid."""
    worth = b.own_bid_price + b.own_bid_profit / max(b.exposures, 1e-12)
    return b.own_bid_price / worth if worth > 0 else np.inf


def judge(answer: Any, books: Sequence[Books] = ()) -> Verdict:
    """``answer``: (name, how many times its worth it bids); ``books`` as ``the_books`` gives."""
    if answer is None or answer is ...:
        return Verdict(NOT_ATTEMPTED)
    read = _read(answer)
    if isinstance(read, str):
        return Verdict(NOT_YET, (read,))
    if not isinstance(books, (list, tuple)) or not all(isinstance(b, Books) for b in books):
        books = ()
    if not books:
        return Verdict(NOT_YET, ("Give the books too: ex.check(answer, books).",))
    name, factor = read
    right = min(books, key=lambda b: b.own_bid_profit / max(b.exposures, 1e-12))
    mine = next((b for b in books if b.name.casefold() == name.casefold()), None)
    if mine is None:
        names = ", ".join(b.name for b in books)
        return Verdict(NOT_YET, (f"Nobody is called {shown(name)}; there are {names}.",))
    if mine is not right:
        return Verdict(NOT_YET, _not_this_one(mine, books))
    wrong = _wrong_factor(factor, right)
    if wrong:
        return Verdict(NOT_YET, wrong)
    told = (
        f"{right.name} bids {factor_in(right):.2f} times its worth. Paying its own bid it loses "
        f"{-right.own_bid_profit:.1f} on {right.exposures:.0f} exposures; under VCG its profit is "
        f"{right.vcg_profit:.1f}, with all the exposures that a truthful bid would not have won "
        "bought above their worth. profit_by_factor shows where its profit is largest."
    )
    return Verdict(CORRECT, (told,))


def _read(answer: Any) -> tuple[str, float] | str:
    """The two parts, or a sentence that says what is wrong with them."""
    asked = f"Got {shown(answer)}, expected (name, factor), for example ('Ant', 1.5)."
    if not isinstance(answer, (tuple, list)) or len(answer) != 2:
        return asked
    name, factor = answer
    fits = isinstance(factor, (int, float, np.number)) and not isinstance(factor, bool)
    if not isinstance(name, str) or not fits or not np.isfinite(factor):
        return asked
    return name.strip(), float(factor)


def _not_this_one(mine: Books, books: Sequence[Books]) -> tuple[str, ...]:
    """Why somebody else was likely chosen."""
    each = mine.own_bid_profit / max(mine.exposures, 1e-12)
    fact = (
        f"Paying its own bid, {mine.name} pays {mine.own_bid_price:.3f} for an exposure and gains "
        f"{each:+.3f} by it, expected below 0 for one who bids above worth."
    )
    if each > 0.01:
        why = (
            "Likely: a profit taken for too much. Who gains while paying its own bid bids less "
            "than the exposure is worth to it."
        )
    elif mine is max(books, key=lambda b: b.bid):
        why = (
            "Likely: the highest bid taken for too high. Its ads may be worth that much; a bid is "
            "too high only against its own worth."
        )
    elif mine is max(books, key=lambda b: b.exposures):
        why = "Likely: the most wins taken for overbidding. Good ads win often with honest bids."
    elif mine is max(books, key=lambda b: b.vcg_price):
        why = (
            "Likely: the highest price. Under VCG a price is what the others lose, and says "
            "nothing of the own bid."
        )
    elif mine is min(books, key=lambda b: b.vcg_profit):
        why = (
            "Likely: the smallest profit. Who has few good ads gains little by honest bids too. "
            "Which column turns below 0 as soon as a bid exceeds the worth?"
        )
    else:
        why = "In which of the two ways of paying does an honest bidder gain exactly nothing?"
    return why, fact


def _wrong_factor(factor: float, right: Books) -> tuple[str, ...]:
    """() for the right one; else the likely slip."""
    good = factor_in(right)

    def near(value: float) -> bool:
        return abs(factor - value) <= NEAR * value

    if near(good):
        return ()
    worth = right.own_bid_price / good
    own = f"Yours is {factor:.2f}, expected {good * (1 - NEAR):.2f} to {good * (1 + NEAR):.2f}."
    if near(1 / good):
        return ("Likely: upside down. The factor is bid over worth, above 1 here.", own)
    if near(good - 1):
        return ("Likely: how much more instead of how many times. Add the 1.", own)
    if near(right.vcg_price / (right.vcg_price + right.vcg_profit / right.exposures)):
        return (
            "Likely: from the VCG columns. There the price is not the bid. Where one pays one's "
            "own bid, it is.",
            own,
        )
    if near(right.bid / worth):
        return (
            "Likely: the mean of all bids over the worth of the slots won. Compare like with "
            "like: the price paid for the exposures that were won.",
            own,
        )
    return (
        "The worth of an exposure is price + profit / exposures, with the columns of one way of "
        "paying. In which of them is the price the bid?",
        own,
    )


TASK = Task(
    id="1.5",
    title="Find the one who bids above worth",
    asked="The books show a day of six advertisers in the same auctions, once under VCG and once "
    "where each pays its own bid: mean bid, exposures won, price of an exposure, profit (worth "
    "less payment, of all exposures). One of them bids above what an exposure is worth to "
    "it. Give answer = (name, how many times its worth it bids). Check with ex.check(answer, "
    "books).",
    starter="answer = None  # (name, how many times its worth it bids)",
    judge=judge,
    hints=(
        "A high bid is no lie if the ad is worth it, and many wins neither. Under which way of "
        "paying does a bid above worth show in the profit of every single win?",
        "Paying one's own bid, profit for an exposure is worth - bid: 0 for the honest, above 0 "
        "for who bids less, below 0 for who bids more.",
        "There price = bid, and price + profit / exposures = worth. Divide the two.",
    ),
    solution="def factor(b):\n"
    "    return b.own_bid_price / (b.own_bid_price + b.own_bid_profit / b.exposures)\n\n"
    "liar = max(books, key=factor)\n"
    "answer = (liar.name, factor(liar))\n",
    why="Where one pays one's own bid the honest gain nothing, so everybody bids below worth, by "
    "guesses about the others, and overbidding shows at once as a loss. Under VCG the own bid "
    "decides only whether one wins, never what one pays: bidding more buys just those exposures "
    "whose price is above their worth. So honesty is the best bid there, and needs no guesses.",
    limit_s=10.0,
)
