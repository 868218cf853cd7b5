"""Exercise 1.3: a check of a page's hard rules: which cards may not stand where they stand.

    no paid card in the first slots,   at most k paid cards,   a gap of other cards between two
    paid ones,   a gap of other cards between two of one creator

The last gate before a page is shown asks nobody how it was made.
Reference: ``blending.allocation.rules.violations`` is ours.

Simplified: industry counts what the gate finds, by rule and by sender, and rings when it rises.
"""

from collections.abc import Callable

import numpy as np

from reclab.core.chance import rng
from reclab.core.types import Array
from reclab.learn.exercise import Task
from reclab.learn.probe import Case, Misconception, Probe, read_array


def page_check(paid, creator, first_paid, most_paid, paid_gap, creator_gap):
    """(slots,) bool, (slots,) ids, -1 = nobody's, four rules -> (slots,) bool, True = not here."""
    slots = len(paid)
    wrong = np.zeros(slots, bool)
    ads = np.flatnonzero(paid)
    wrong[ads[ads < first_paid]] = True
    wrong[ads[most_paid:]] = True
    close = np.diff(ads) - 1 < paid_gap  # cards between neighbours
    wrong[ads[1:][close]] = True
    for t in range(slots):
        near = creator[max(0, t - creator_gap) : t]
        wrong[t] |= creator[t] >= 0 and (near == creator[t]).any()
    return wrong


def _changed(**rules: Callable[..., int]) -> Callable[..., Array]:
    """The check with some of the four rules read otherwise, for the misconceptions."""

    def check(
        paid: Array,
        creator: Array,
        first_paid: int,
        most_paid: int,
        paid_gap: int,
        creator_gap: int,
    ) -> Array:
        told = {
            "first_paid": first_paid, "most_paid": most_paid,
            "paid_gap": paid_gap, "creator_gap": creator_gap,
        }  # fmt: skip
        told |= {name: read(told[name]) for name, read in rules.items()}
        return np.asarray(page_check(paid, creator, **told))

    return check


def _nobody_is_a_creator(paid: Array, creator: Array, *rules: int) -> Array:
    return np.asarray(page_check(paid, creator - creator.min(initial=0), *rules))


def _once_per_page(paid: Array, creator: Array, *rules: int) -> Array:
    return np.asarray(page_check(paid, creator, *rules[:3], len(paid)))


def _both_of_a_pair(paid: Array, creator: Array, *rules: int) -> Array:
    backwards = np.array(page_check(paid[::-1], creator[::-1], 0, len(paid), *rules[2:]))[::-1]
    return np.asarray(page_check(paid, creator, *rules) | backwards)


def _one_verdict(paid: Array, creator: Array, *rules: int) -> Array:
    return np.asarray(page_check(paid, creator, *rules).any())


def _allowed(paid: Array, creator: Array, *rules: int) -> Array:
    return ~np.asarray(page_check(paid, creator, *rules))


MISCONCEPTIONS = (
    Misconception(
        "the first slots are not looked at",
        _changed(first_paid=lambda n: 0),
        "Slots 0 ... first_paid - 1 take no paid card: a page does not open with an ad.",
    ),
    Misconception(
        "slot first_paid itself is barred",
        _changed(first_paid=lambda n: n + 1),
        "With first_paid = 2 slots 0 and 1 are barred and slot 2 is free: t < first_paid.",
    ),
    Misconception(
        "paid cards are not counted",
        _changed(most_paid=lambda n: 10**6),
        "Each paid card has to be spaced, and there may be no more than most_paid of them: from "
        "the next one on, all are wrong.",
    ),
    Misconception(
        "one paid card too few",
        _changed(most_paid=lambda n: max(n - 1, 0)),
        "most_paid cards are allowed; the one after them is the first that is too many.",
    ),
    Misconception(
        "the gap is a distance",
        _changed(paid_gap=lambda n: max(n - 1, 0)),
        "paid_gap counts the cards between two paid ones. Slots 2 and 5 have two cards between "
        "them, not three: t - before - 1.",
    ),
    Misconception(
        "one card more between than asked",
        _changed(paid_gap=lambda n: n + 1),
        "A gap of exactly paid_gap cards is enough: wrong is t - before - 1 < paid_gap.",
    ),
    Misconception(
        "the creator's gap is a distance",
        _changed(creator_gap=lambda n: max(n - 1, 0)),
        "creator_gap counts the cards between two of one creator: look at the creator_gap cards "
        "before this one, not at one fewer.",
    ),
    Misconception(
        "creators are not looked at",
        _changed(creator_gap=lambda n: 0),
        "Paid or not, two cards of one creator need creator_gap other cards between them.",
    ),
    Misconception(
        "a creator once a page",
        _once_per_page,
        "A creator may come again, after creator_gap other cards.",
    ),
    Misconception(
        "nobody counts as a creator",
        _nobody_is_a_creator,
        "-1 says that the card has no creator; two such cards have nothing to do with each other.",
    ),
    Misconception(
        "both cards of a pair",
        _both_of_a_pair,
        "The earlier card was right when it was placed; the one that comes too soon after it is "
        "wrong, and leaves.",
    ),
    Misconception(
        "one verdict for the page",
        _one_verdict,
        "That a page is wrong does not say what must leave it. Return one bool a slot.",
    ),
    Misconception(
        "True where a card may stay",
        _allowed,
        "True marks the cards that break a rule; yours marks those that do not.",
    ),
)


def slot_difference(value: object, expected: Array, *args: object) -> str:
    """'' when the marks agree, else the first slot that differs, in words."""
    mine = read_array(value)
    if isinstance(mine, str):
        return mine
    if mine.shape != expected.shape:
        return f"Shape: yours {mine.shape}, expected {expected.shape}, one mark a slot."
    off = np.flatnonzero(mine != expected)
    if not len(off):
        return ""
    t = int(off[0])
    word = "breaks a rule" if expected[t] else "breaks none"
    return f"Slot {t}: yours {mine[t]:g}, expected {expected[t]:d}: this card {word}."


def _page(ads: tuple[int, ...], slots: int = 10) -> Array:
    return np.isin(np.arange(slots), ads)


def _random(slots: int) -> tuple[Array, Array]:
    chance = rng(1, "exercise-1.3", slots)
    return chance.random(slots) < 0.25, chance.integers(-1, max(slots // 4, 3), slots)


_EACH = np.arange(10)
_USUAL = (2, 2, 3, 3)
CASES = (
    Case("a page that breaks nothing", (_page((2, 6)), _EACH, *_USUAL)),
    Case("an ad first", (_page((0, 5)), _EACH, *_USUAL)),
    Case("two cards between two ads, three are asked for", (_page((3, 6)), _EACH, *_USUAL)),
    Case("three ads, well spaced", (_page((2, 5, 8)), _EACH, 2, 2, 2, 3)),
    Case(
        "a creator after two others, and again after three",
        (_page((4,)), np.array([7, 1, 2, 7, 3, 4, 5, 7, 6, 8]), *_USUAL),
    ),
    Case("cards that are nobody's", (_page((2,)), np.full(10, -1), *_USUAL)),
    Case("rules that ask for nothing", (_page((0, 1, 2)), np.zeros(10, int), 0, 10, 0, 0)),
    Case("no ads allowed at all", (_page((3, 8)), _EACH, 2, 0, 3, 3)),
    Case("an empty page", (np.zeros(0, bool), np.zeros(0, int), *_USUAL)),
    Case("a page of 40 cards", (*_random(40), 3, 6, 4, 5)),
    Case("a page of 12 cards", (*_random(12), 1, 3, 2, 4)),
)

TASK = Task(
    id="1.3",
    title="Gap and cap: check a page",
    asked="Write page_check(paid, creator, first_paid, most_paid, paid_gap, creator_gap): paid "
    "(slots,) bool and creator (slots,) ids, -1 = nobody's, from the first slot down. Return "
    "(slots,) bool, True for each card that may not stand there: paid in one of the first "
    "first_paid slots; paid, with most_paid paid cards before it; paid, with fewer than paid_gap "
    "cards since the last paid one; or of a creator who is among the creator_gap cards before it.",
    starter="def page_check(paid, creator, first_paid, most_paid, paid_gap, creator_gap):\n"
    '    """(slots,) paid, (slots,) creators, four rules -> (slots,) bool, True = not here."""\n'
    "    ...",
    judge=Probe(
        page_check,
        CASES,
        MISCONCEPTIONS,
        slot_difference,
        praise="The live pages can now be checked by your gate.",
    ),
    hints=(
        "ads = np.flatnonzero(paid) are the slots of the paid cards in order. Three of the four "
        "rules are one line each about this array.",
        "np.diff(ads) - 1 is how many cards lie between neighbours; ads[most_paid:] are those too "
        "many. Which card of a pair that is too close is wrong?",
        "For creators go slot by slot: near = creator[max(0, t - creator_gap):t], and the card is "
        "wrong when its own creator is not -1 and is in near.",
    ),
    solution=page_check,
    why="Each rule names the later card, because pages are read from the top and what stands above "
    "is already seen. A gate like this one knows nothing of scores and prices, so it finds what "
    "goes wrong in those who do; whoever writes pages slot by slot asks the same questions before "
    "each card instead of after, and then the gate stays silent.",
    limit_s=10.0,
)
