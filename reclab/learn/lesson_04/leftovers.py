"""Exercise 4.5: the leftovers of the degradation cache (降级缓存, definition 2.2).

given  = the k best of what is kept and not barred
stays  = all others that are not barred, best first, for the next time

Simplified: ours does the same in one script inside Redis, since two requests of one user may come
at the same moment.
"""

from typing import Any

import numpy as np

from reclab.core.chance import rng
from reclab.core.types import Array
from reclab.learn.exercise import Task
from reclab.learn.probe import Case, Misconception, Probe, read_array, shown


def leftovers(item, score, k, barred):
    """(n,) items and scores, how many, (m,) items not to show -> (given, stays), best first."""
    best_first = item[np.argsort(-score, kind="stable")]
    _, first = np.unique(best_first, return_index=True)  # of an item kept twice, the better one
    allowed = best_first[np.sort(first)]
    allowed = allowed[~np.isin(allowed, barred)]
    return allowed[:k], allowed[k:]


def two_lists_difference(value: Any, expected: Any, item: Array, *args: Any) -> str:
    """'' when both lists agree, else one sentence about the first that does not."""
    if value is None:
        return "It returns nothing (None): is the `return` missing?"
    try:
        given, stays = value
    except (TypeError, ValueError):
        return f"It returns {shown(value)}, expected two lists: (given, stays)."
    for name, mine, good in zip(("given", "stays"), (given, stays), expected, strict=True):
        mine = read_array(mine)
        if isinstance(mine, str):
            return f"{name}: {mine}"
        if mine.shape != good.shape or (mine != good).any():
            return f"{name}: yours {_some(mine)}, expected {_some(good)}."
    return ""


def _some(ids: Array, most: int = 12) -> str:
    told = [f"{i:g}" for i in np.atleast_1d(ids)[:most]]
    return f"[{', '.join(told)}{', …' if np.size(ids) > most else ''}] ({np.size(ids)} items)"


Pair = tuple[Array, Array]


def _sorted(item: Array, score: Array, k: int, barred: Array) -> Array:
    """Best first, each item once, the barred ones still there."""
    every = leftovers(item, score, len(item), np.zeros(0))
    return np.asarray(every[0])


def _as_it_lies(item: Array, score: Array, k: int, barred: Array) -> Pair:
    allowed = item[~np.isin(item, barred)]
    _, first = np.unique(allowed, return_index=True)
    allowed = allowed[np.sort(first)]
    return allowed[:k], allowed[k:]


def _worst_first(item: Array, score: Array, k: int, barred: Array) -> Pair:
    given, stays = leftovers(item, -score, k, barred)
    return given, stays


def _cut_then_filter(item: Array, score: Array, k: int, barred: Array) -> Pair:
    every = _sorted(item, score, k, barred)
    given, stays = every[:k], every[k:]
    return given[~np.isin(given, barred)], stays[~np.isin(stays, barred)]


def _barred_shown(item: Array, score: Array, k: int, barred: Array) -> Pair:
    every = _sorted(item, score, k, barred)
    return every[:k], every[k:]


def _barred_stay(item: Array, score: Array, k: int, barred: Array) -> Pair:
    every, given = _sorted(item, score, k, barred), leftovers(item, score, k, barred)[0]
    return given, every[~np.isin(every, given)]


def _handed_out_stays(item: Array, score: Array, k: int, barred: Array) -> Pair:
    given, stays = leftovers(item, score, k, barred)
    return given, np.concatenate([given, stays])


def _rest_thrown_away(item: Array, score: Array, k: int, barred: Array) -> Pair:
    return leftovers(item, score, k, barred)[0], item[:0]


def _all_or_nothing(item: Array, score: Array, k: int, barred: Array) -> Pair:
    given, stays = leftovers(item, score, k, barred)
    return (given, stays) if len(given) == k else (given[:0], given)


def _twice(item: Array, score: Array, k: int, barred: Array) -> Pair:
    every = item[np.argsort(-score, kind="stable")]
    every = every[~np.isin(every, barred)]
    return every[:k], every[k:]


def _rest_unsorted(item: Array, score: Array, k: int, barred: Array) -> Pair:
    given, stays = leftovers(item, score, k, barred)
    return given, np.sort(stays)


def _swapped(item: Array, score: Array, k: int, barred: Array) -> Pair:
    given, stays = leftovers(item, score, k, barred)
    return stays, given


MISCONCEPTIONS = (
    Misconception(
        "the order in which they lie",
        _as_it_lies,
        "Sort by score, best first: what is handed out first is seen first.",
    ),
    Misconception(
        "the worst first",
        _worst_first,
        "np.argsort sorts upwards. Sort -score: the best leave the list first.",
    ),
    Misconception(
        "cut first, filtered after",
        _cut_then_filter,
        "Whoever is barred takes a place on the page and leaves it empty. Filter first, then take "
        "k: the next best move up.",
    ),
    Misconception(
        "barred items are handed out",
        _barred_shown,
        "barred are items that the user has seen or may not see. The list was made before that was "
        "known, so the rule is applied on reading.",
    ),
    Misconception(
        "barred items stay",
        _barred_stay,
        "What is barred today is barred tomorrow: it leaves the list without being shown, or it is "
        "read and refused each time.",
    ),
    Misconception(
        "what was handed out stays",
        _handed_out_stays,
        "The next degraded page would show the same ten again: take them out of the list.",
    ),
    Misconception(
        "the rest is thrown away",
        _rest_thrown_away,
        "Definition 2.2: what is not used stays for the next degraded request of this user.",
    ),
    Misconception(
        "all k or none",
        _all_or_nothing,
        "Fewer than k is a short page, which the hot pool fills. Give what there is.",
    ),
    Misconception(
        "an item kept twice is given twice",
        _twice,
        "Two healthy answers may have kept the same item. Keep the better copy, drop the other.",
    ),
    Misconception(
        "the rest has lost its order",
        _rest_unsorted,
        "What stays is the next page: it must keep the order of the scores.",
    ),
    Misconception(
        "given and stays changed places", _swapped, "Return (given, stays), in that order."
    ),
)


def _random(n: int) -> tuple[Array, Array]:
    chance = rng(4, "exercise-4.5", n)
    return chance.permutation(10 * n)[:n], chance.permutation(n) / n


_ITEM = np.array([15, 11, 14, 12, 13])
_SCORE = np.array([0.5, 0.9, 0.6, 0.8, 0.7])
_NONE = np.zeros(0, np.int64)
CASES = (
    Case("two of five", (_ITEM, _SCORE, 2, _NONE)),
    Case("the best is barred", (_ITEM, _SCORE, 2, np.array([11, 99]))),
    Case("one of the rest is barred", (_ITEM, _SCORE, 2, np.array([14]))),
    Case("fewer than asked", (_ITEM, _SCORE, 10, np.array([12]))),
    Case(
        "an item kept twice",
        (np.array([11, 12, 11, 13]), np.array([0.3, 0.5, 0.9, 0.4]), 2, _NONE),
    ),
    Case("all are barred", (_ITEM, _SCORE, 3, _ITEM)),
    Case("nothing is kept", (_NONE, np.zeros(0), 10, np.array([11]))),
    Case("equal scores keep their order", (_ITEM, np.ones(5), 3, np.array([11]))),
    Case("twenty kept, ten asked", (*_random(20), 10, np.array([3, 40, 77]))),
    Case("20,000 kept, 5,000 barred", (*_random(20_000), 500, np.arange(0, 100_000, 20))),
)

TASK = Task(
    id="4.5",
    title="Leftovers: what is handed out, what stays",
    asked="Write leftovers(item, score, k, barred): item (n,) ids kept for a user, in any order, "
    "with score (n,); barred (m,) ids that may not be shown. Return (given, stays), two arrays of "
    "ids, best first: the k best that are not barred, fewer when there are no more, and all others "
    "that are not barred. Barred items leave the list. An item kept twice counts once, at its "
    "better score. Equal scores keep their order.",
    starter="def leftovers(item, score, k, barred):\n"
    '    """(n,) ids and scores, k, (m,) barred ids -> (given, stays), best first."""\n    ...',
    judge=Probe(
        leftovers,
        CASES,
        MISCONCEPTIONS,
        two_lists_difference,
        praise="The degraded path can now hand out its pages by your function.",
    ),
    hints=(
        "Four steps: sort, once each, filter, cut. Does it matter whether you filter before or "
        "after the cut?",
        "order = np.argsort(-score, kind='stable') sorts best first and keeps ties. np.isin(a, "
        "barred) says who is barred.",
        "np.unique(sorted_items, return_index=True) gives the first place of each item; sort those "
        "places to keep the order. Then allowed[:k] and allowed[k:].",
    ),
    solution=leftovers,
    why="Rules are applied on reading, because the list was made before the user saw what he has "
    "seen since. Filtering before the cut fills the page; taking out what is given is what makes "
    "the second degraded page a new one, and each is a little worse than the one before.",
    when_slow="A loop with `in barred` compares each item with each barred one. np.isin does it at "
    "once.",
    limit_s=10.0,
)
