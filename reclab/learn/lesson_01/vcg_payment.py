"""Exercise 1.6: what a slot costs its winner: the price of Vickrey, Clarke and Groves.

    total_i = worth_i + bid_i,  best total at the first slot, the next at the second, ...
    b_s     = max(0, (s-th best total of the others) - worth_i)     the least bid that takes slot s
    p_i     = sum over s >= own slot of (w_s - w_s+1) b_s,  w after the last = 0

Each slot below one's own would have been another's, a place higher, for its difference in weight.
References: Vickrey 1961; Clarke 1971; Groves 1973; ``blending/auction.py`` is ours.

Simplified: no reserve and money counts 1; ours has both.
"""

from collections.abc import Callable

import numpy as np

from reclab.core.chance import rng
from reclab.core.types import Array
from reclab.learn.exercise import Task
from reclab.learn.probe import Case, Misconception, Probe, array_difference


def vcg_payment(worth, bid, weights):
    """(n,) worths beside money, (n,) bids, NaN = organic, (k,) weights -> (n,) payments."""
    total = worth + np.nan_to_num(bid)
    order = np.argsort(-total, kind="stable")
    step = weights - np.append(weights[1:], 0)  # what a slot has more than the next one
    payment = np.zeros(len(worth))
    for slot, card in enumerate(order[: len(weights)]):
        if np.isnan(bid[card]):
            continue
        others = total[order[order != card]]  # from the best
        for s in range(slot, len(weights)):
            if s < len(others):
                payment[card] += step[s] * max(0, others[s] - worth[card])
    return payment


Price = Callable[[int, Array, float, Array], float]


def _by(price: Price, with_itself: bool = False) -> Callable[..., Array]:
    """Payments by another ``price(slot, least bids, own bid, weights)``, for the misconceptions."""

    def pay(worth: Array, bid: Array, weights: Array) -> Array:
        total = worth + np.nan_to_num(bid)
        order, payment = np.argsort(-total, kind="stable"), np.zeros(len(worth))
        for slot, card in enumerate(order[: len(weights)].tolist()):
            if not np.isnan(bid[card]):
                rest = total[order if with_itself else order[order != card]]
                least = np.zeros(len(weights))
                n = min(len(rest), len(weights))
                least[:n] = np.maximum(0, rest[:n] - worth[card])
                payment[card] = price(slot, least, bid[card], weights)
        return payment

    return pay


def _steps(weights: Array) -> Array:
    return np.asarray(weights - np.append(weights[1:], 0))


first_price = _by(lambda slot, least, bid, w: w[slot] * bid)
second_price = _by(lambda slot, least, bid, w: w[slot] * least[slot])


def _worth_forgotten(worth: Array, bid: Array, weights: Array) -> Array:
    paid = ~np.isnan(bid)
    nothing = np.where(paid, 0.0, worth)
    held = vcg_payment(nothing, np.where(paid, worth + bid, np.nan), weights)
    return np.asarray(held)


def _paid_back(worth: Array, bid: Array, weights: Array) -> Array:
    """By the definition of externality, the platform's gain by the card's own worth included."""
    total, k = worth + np.nan_to_num(bid), len(weights)
    order, payment = np.argsort(-total, kind="stable"), np.zeros(len(worth))

    def best(some: Array) -> float:
        top = np.sort(some)[::-1][:k]
        return float(top @ weights[: len(top)])

    for slot, card in enumerate(order[:k].tolist()):
        if not np.isnan(bid[card]):
            others = best(total) - weights[slot] * (total[card] - worth[card])
            payment[card] = max(0.0, best(np.delete(total, card)) - others)
    return payment


def _organic_pay(worth: Array, bid: Array, weights: Array) -> Array:
    free = np.isnan(bid)
    return np.asarray(vcg_payment(np.where(free, 0, worth), np.where(free, worth, bid), weights))


MISCONCEPTIONS = (
    Misconception(
        "everyone pays its own bid",
        first_price,
        "Then the best bid is a guess just above the next one, and nobody tells the truth. The "
        "payment must not contain the own bid at all.",
    ),
    Misconception(
        "the next one's price for the whole slot",
        second_price,
        "This is the plain second price of slots (GSP). With one slot it is right; with several "
        "the winner also displaces those further down, who lose only a step in weight each: sum "
        "(w_s - w_s+1) times the least bid for slot s.",
    ),
    Misconception(
        "only the own slot's step",
        _by(lambda slot, least, bid, w: _steps(w)[slot] * least[slot]),
        "Everybody below would stand a slot higher without this card, not just the next one: sum "
        "over all slots from the own one down.",
    ),
    Misconception(
        "whole weights instead of steps",
        _by(lambda slot, least, bid, w: float(w[slot:] @ least[slot:])),
        "A card that moves up a slot gains the difference of two weights, not a weight.",
    ),
    Misconception(
        "without the weights",
        _by(lambda slot, least, bid, w: float(least[slot])),
        "Few users see the last slot: an expected payment counts each step with its weight.",
    ),
    Misconception(
        "the card stays among the others",
        _by(lambda slot, least, bid, w: float(_steps(w)[slot:] @ least[slot:]), True),
        "What would the page be without this card? Leave it out before you look for the s-th best "
        "total, or it competes with itself.",
    ),
    Misconception(
        "the own worth is not counted",
        _worth_forgotten,
        "The page wants the card for its worth already, so it has to bid less: the least bid is "
        "the others' total minus the own worth.",
    ),
    Misconception(
        "its worth is paid back",
        _paid_back,
        "What the page would lose without the card is right, and truthful too. But where its worth "
        "alone wins a slot the step comes out below 0: the platform would pay the ad for being "
        "there. A bid is at least 0, so each slot's least bid is as well.",
    ),
    Misconception(
        "organic cards pay",
        _organic_pay,
        "A bid of NaN is a card that is no advertising: it takes its slot by worth and pays 0.",
    ),
)


def payment_difference(value: object, expected: Array, *args: Array) -> str:
    """'' when the payments agree, else the first card that differs, in words."""
    told = array_difference(value, expected)
    if not told.startswith("Entry"):
        return told
    return told.replace("Entry [", "Payment of card [")


def _random(n: int, k: int) -> tuple[Array, Array, Array]:
    chance = rng(1, "exercise-1.6", n)
    bid = np.where(chance.random(n) < 0.6, chance.lognormal(0, 0.7, n), np.nan)
    return chance.normal(0.5, 0.4, n), bid, 0.9 ** np.arange(k)


_NAN = np.nan
_W = np.array([1.0, 0.6, 0.3])
CASES = (
    Case("one slot, two ads", (np.zeros(2), np.array([5.0, 3.0]), np.array([1.0]))),
    Case("one slot, an organic card", (np.array([2.0, 0.0, 0.0]), np.array([_NAN, 5, 3]), _W[:1])),
    Case("three slots, four ads", (np.zeros(4), np.array([5.0, 4.0, 3.0, 1.0]), _W)),
    Case("an ad that is worth something itself", (np.array([1, 0, 0]), np.array([2.0, 2, 1]), _W)),
    Case("an ad that annoys", (np.array([-1.0, 1, 0.5]), np.array([4.0, _NAN, _NAN]), _W[:2])),
    Case("more slots than cards", (np.zeros(2), np.array([3.0, 2.0]), _W)),
    Case("nobody bids", (np.array([1.0, 2.0]), np.array([_NAN, _NAN]), _W)),
    Case("all slots of one weight", (np.zeros(4), np.array([5.0, 4.0, 3.0, 1.0]), np.ones(2))),
    Case("no cards", (np.zeros(0), np.zeros(0), _W)),
    Case("60 cards, 10 slots", _random(60, 10)),
)

TASK = Task(
    id="1.6",
    title="What a slot costs: the VCG payment",
    asked="Write vcg_payment(worth, bid, weights): worth (n,) of each card to the platform beside "
    "its money, bid (n,) for a full exposure, NaN for organic cards, weights (k,) of the slots, "
    "falling. The cards take the slots by worth + bid, best first, ties to the first. Return (n,) "
    "expected payments: for each slot s from its own down, (w_s - w_s+1) times the least bid that "
    "would take slot s from the others, never below 0. Organic cards and those without a slot pay "
    "0; a slot that nobody else would take costs 0. Two slots of weights 1 and .5, worths 0, bids "
    "5, 4 and 2: the first pays .5 * 4 + .5 * 2 = 3, the second .5 * 2 = 1.",
    starter="def vcg_payment(worth, bid, weights):\n"
    '    """(n,) worths, (n,) bids, NaN = organic, (k,) weights -> (n,) payments."""\n    ...',
    judge=Probe(
        vcg_payment,
        CASES,
        MISCONCEPTIONS,
        payment_difference,
        praise="The ads of the live pages can now pay by your rule: see which bid is best for one.",
    ),
    hints=(
        "Take a winner off the page. Who moves up a slot, and how much does each of them gain by "
        "it? That is what the winner takes from them.",
        "Sort the totals of the others. The s-th of them would hold slot s; to take it, the bid "
        "has to be at least that total minus the own worth.",
        "step = weights - np.append(weights[1:], 0); payment = sum over s >= slot of step[s] * "
        "max(0, others[s] - worth). Where there is no s-th other, nothing is added.",
    ),
    solution=vcg_payment,
    why="Nothing the winner says is in its payment: its bid decides which slot it gets, and the "
    "others decide what that costs. So it cannot gain by saying anything but the truth. The sum of "
    "steps is what makes this true for several slots: GSP charges the whole slot at its own price, "
    "and then a lower slot can be the better buy.",
    when_slow="Sort the totals once; a winner's others are the same order without it.",
    limit_s=10.0,
)
