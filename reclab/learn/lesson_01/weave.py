"""Exercise 1.1: the weave: several businesses' lists become one, in a ratio.

    the j-th card of business b, j = 0, 1, ..., is due at (j + 1/2) / ratio_b; by due time

The half is what makes it fair: the divisor method of Sainte-Lague, as seats are given to parties.
Reference: Balinski and Young 1982; ``blending/allocation/slot_operations.py`` is ours.

Simplified: industry learns the ratios by experiment, a set for each user group.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from reclab.core.chance import rng
from reclab.core.types import Array
from reclab.learn.exercise import Task
from reclab.learn.probe import Case, Misconception, Probe, read_array


def weave(business, ratios, n_slots):
    """(n,) codes in list order, (kinds,) ratios -> positions of the first n_slots cards woven."""
    place = np.zeros(len(business))
    for b in range(len(ratios)):
        mine = business == b
        place[mine] = np.arange(mine.sum())  # 0, 1, 2 ... within its own business
    ratio = ratios[business]
    due = np.where(ratio > 0, (place + 0.5) / np.where(ratio > 0, ratio, 1), np.inf)
    order = np.argsort(due, kind="stable")  # of equals the one that came first
    return order[ratio[order] > 0][:n_slots]


def places(business: Array) -> Array:
    """(n,) place of each card among those of its business."""
    same = business[:, None] == business
    return np.asarray(np.tril(same, -1).sum(1))


def _by(due: Callable[[Array, Array], Array]) -> Callable[..., Array]:
    """A weave by another due time ``due(place, ratio)``, for the misconceptions."""

    def woven(business: Array, ratios: Array, n_slots: int) -> Array:
        ratio = ratios[business]
        order = np.argsort(due(places(business), ratio), kind="stable")
        return order[ratio[order] > 0][:n_slots]

    return woven


def _blocks(business: Array, ratios: Array, n_slots: int) -> Array:
    return np.asarray(np.lexsort((places(business), business, -ratios[business]))[:n_slots])


def _nobody_left_out(business: Array, ratios: Array, n_slots: int) -> Array:
    ratio = np.maximum(ratios[business], 1e-12)
    return np.argsort((places(business) + 0.5) / ratio, kind="stable")[:n_slots]


def _whole_list(business: Array, ratios: Array, n_slots: int) -> Array:
    return np.asarray(weave(business, ratios, len(business)))


def _codes(business: Array, ratios: Array, n_slots: int) -> Array:
    return np.asarray(business[weave(business, ratios, n_slots)])


def _ties_by_last(business: Array, ratios: Array, n_slots: int) -> Array:
    ratio = ratios[business]
    due = (places(business) + 0.5) / np.where(ratio > 0, ratio, np.nan)
    order = np.lexsort((-np.arange(len(due)), due))
    return order[ratio[order] > 0][:n_slots]


MISCONCEPTIONS = (
    Misconception(
        "everybody in turn",
        _by(lambda place, ratio: place.astype(float)),
        "This takes one card of each business, then the second of each: the ratios are not used. "
        "Divide the place by the ratio: who has ratio 2 is due twice as often.",
    ),
    Misconception(
        "one block after the other",
        _blocks,
        "Whoever has the largest ratio is shown first, all of it. A weave keeps the ratio in every "
        "stretch of the page: sort all cards by one due time.",
    ),
    Misconception(
        "due at j / ratio",
        _by(lambda place, ratio: place / ratio),
        "Without the half every business's first card is due at 0, so a business with a tenth of "
        "the others' ratio still opens the page. Use (j + 1/2) / ratio.",
    ),
    Misconception(
        "due at (j + 1) / ratio",
        _by(lambda place, ratio: (place + 1) / ratio),
        "With a whole instead of a half the small businesses wait too long: whoever is due half a "
        "card has waited enough. Use (j + 1/2) / ratio.",
    ),
    Misconception(
        "multiplied by the ratio",
        _by(lambda place, ratio: (place + 0.5) * ratio),
        "A larger ratio must make a card due earlier: divide by it.",
    ),
    Misconception(
        "the list's place instead of the business's",
        _by(lambda place, ratio: (np.arange(len(place)) + 0.5) / ratio),
        "j counts within the card's own business: its first card has j = 0, wherever it stands in "
        "the list.",
    ),
    Misconception(
        "ratio 0 is shown",
        _nobody_left_out,
        "Ratio 0 means none of it, also where slots stay empty.",
    ),
    Misconception(
        "n_slots is not used", _whole_list, "Return no more than n_slots positions, the first ones."
    ),
    Misconception(
        "codes instead of positions",
        _codes,
        "These are the businesses of the cards. Return where the cards stand in the list, so that "
        "the page can be taken from it.",
    ),
    Misconception(
        "ties to the last",
        _ties_by_last,
        "Of two cards that are due at the same time, the one that came first in the list goes "
        'first: np.argsort(due, kind="stable").',
    ),
)


def order_difference(
    value: Any, expected: Array, business: Array, ratios: Array, n_slots: int
) -> str:
    """'' when the order agrees, else the first slot that differs, in words."""
    mine = read_array(value)
    if isinstance(mine, str):
        return mine
    if mine.shape != expected.shape:
        return f"Shape: yours {mine.shape}, expected {expected.shape}, one position a slot."
    off = np.flatnonzero(mine != expected)
    if not len(off):
        return ""
    t = int(off[0])
    return f"Slot {t}: yours is the card at {mine[t]:g}, expected the card at {expected[t]}."


def _random(n: int, kinds: int) -> tuple[Array, Array]:
    chance = rng(1, "exercise-1.1", n)
    return chance.integers(0, kinds, n), chance.uniform(0.3, 5.0, kinds)


_TWO = np.repeat([0, 1], 8)
CASES = (
    Case("two businesses, 2 to 1", (_TWO, np.array([2.0, 1.0]), 9)),
    Case("two businesses, 5 to 1", (_TWO, np.array([5.0, 1.0]), 8)),
    Case("a mixed list, 3 to 2 to 1", (np.array([2, 0, 1] * 6), np.array([3.0, 2.0, 1.0]), 12)),
    Case("equal ratios, the second was first", (1 - _TWO, np.array([1.0, 1.0]), 8)),
    Case("a ratio of 0", (np.array([0, 1, 0, 1]), np.array([1.0, 0.0]), 4)),
    Case("one runs out of cards", (np.array([0, 0, 1, 1, 1, 1]), np.array([3.0, 1.0]), 6)),
    Case("no cards", (np.zeros(0, np.int64), np.array([1.0, 1.0]), 5)),
    Case("60 cards of six businesses", (*_random(60, 6), 10)),
    Case("600 cards, ratios that are no whole numbers", (*_random(600, 6), 200)),
)

TASK = Task(
    id="1.1",
    title="Weave the businesses by their ratios",
    asked="Write weave(business, ratios, n_slots): business (n,) codes of the cards in list order, "
    "ratios (kinds,) of each business. The j-th card of a business, counted from 0 within the "
    "business, is due at (j + 1/2) / ratio. Return the positions of the first n_slots cards by due "
    "time; of equals the one that came first in the list. Ratio 0: none of it.",
    starter='def weave(business, ratios, n_slots):\n    """(n,) codes, (kinds,) ratios -> '
    'positions of the woven list."""\n    ...',
    judge=Probe(
        weave,
        CASES,
        MISCONCEPTIONS,
        order_difference,
        praise="The live pages can now be woven by your order.",
    ),
    hints=(
        "First number the cards within their business: 0, 1, 2 ... A loop over the businesses with "
        "a mask business == b does it.",
        "due = (place + 0.5) / ratios[business]; the page is the order of due. What does a ratio "
        "of 0 do in this division, and how is such a card left out?",
        'order = np.argsort(due, kind="stable"), then order[ratios[business][order] > 0][:n_slots]'
        ".",
    ),
    solution=weave,
    why="Each business walks along the page in steps of 1 / ratio, and the half lets it take its "
    "first card in the middle of its first step. So every stretch of the page holds each "
    "business's share, give or take one card, and no score is compared with another. That is its "
    "strength, and its price: a business with nothing good to say is heard as often as before.",
    when_slow="Numbering needs a loop over the businesses, not over pairs of cards.",
    limit_s=10.0,
)
