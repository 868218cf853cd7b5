"""Exercise 5.7: the boost (Boost 加权): f + lambda g for what the creator side asks for.

f'_ui = f_ui + lambda g_ui   if i in D_u,   else f_ui      (Chen et al. 2025)

Simplified: f and g are on one scale; industry calibrates both before they are added.
"""

from typing import Any

import numpy as np

from reclab.core.chance import rng
from reclab.core.types import Array
from reclab.learn.exercise import Task
from reclab.learn.probe import Case, Misconception, Probe, read_array


def boost(item, f, d_item, g, lam, k):
    """(n,) candidates with f, (m,) items of D_u with g, weight, size -> (<= k,) page."""
    order = np.argsort(d_item, kind="stable")
    place = np.searchsorted(d_item, item, sorter=order)
    place = order[np.minimum(place, len(d_item) - 1)] if len(d_item) else place
    member = d_item[place] == item if len(d_item) else np.zeros(len(item), bool)
    boosted = f.astype(float)
    boosted[member] += lam * g[place[member]]
    return item[np.argsort(-boosted, kind="stable")[:k]]


def page_difference(value: Any, expected: Array, *args: Any) -> str:
    """'' when the pages agree, else the first place where they do not."""
    mine = read_array(value)
    if isinstance(mine, str):
        return mine
    if mine.shape != expected.shape:
        return f"Shape: yours {mine.shape}, expected {expected.shape}, one item a place."
    off = np.flatnonzero(mine != expected)
    if not len(off):
        return ""
    return f"Place {off[0]}: yours item {mine[off[0]]:g}, expected item {expected[off[0]]}."


def _extra(item: Array, d_item: Array, g: Array) -> Array:
    """(n,) g of the items of D_u, 0 elsewhere."""
    found = dict(zip(d_item.tolist(), g.tolist(), strict=True))
    return np.array([found.get(i, 0.0) for i in item.tolist()])


def _page(item: Array, score: Array, k: int) -> Array:
    return np.asarray(item[np.argsort(-score, kind="stable")[:k]])


def _not_added(item: Array, f: Array, d_item: Array, g: Array, lam: float, k: int) -> Array:
    extra = _extra(item, d_item, g)
    return _page(item, np.where(np.isin(item, d_item), lam * extra, f), k)


def _same_bonus(item: Array, f: Array, d_item: Array, g: Array, lam: float, k: int) -> Array:
    return _page(item, f + lam * np.isin(item, d_item), k)


def _weighted_f(item: Array, f: Array, d_item: Array, g: Array, lam: float, k: int) -> Array:
    extra = _extra(item, d_item, g)
    mixed = (1 - lam) * f + lam * extra
    return _page(item, np.where(np.isin(item, d_item), mixed, f), k)


def _factor(item: Array, f: Array, d_item: Array, g: Array, lam: float, k: int) -> Array:
    return _page(item, f * (1 + lam * _extra(item, d_item, g)), k)


def _by_place(item: Array, f: Array, d_item: Array, g: Array, lam: float, k: int) -> Array:
    score = f.astype(float)
    n = min(len(g), len(item))
    score[:n] += lam * g[:n]
    return _page(item, score, k)


def _stale_shown(item: Array, f: Array, d_item: Array, g: Array, lam: float, k: int) -> Array:
    gone = ~np.isin(d_item, item)
    every = np.concatenate([item, d_item[gone]])
    score = np.concatenate([f + lam * _extra(item, d_item, g), lam * g[gone]])
    return _page(every, score, k)


def _no_boost(item: Array, f: Array, d_item: Array, g: Array, lam: float, k: int) -> Array:
    return _page(item, f, k)


def _upwards(item: Array, f: Array, d_item: Array, g: Array, lam: float, k: int) -> Array:
    return _page(item, -(f + lam * _extra(item, d_item, g)), k)


def _whole(item: Array, f: Array, d_item: Array, g: Array, lam: float, k: int) -> Array:
    return _page(item, f + lam * _extra(item, d_item, g), len(item))


def _no_lambda(item: Array, f: Array, d_item: Array, g: Array, lam: float, k: int) -> Array:
    return _page(item, f + _extra(item, d_item, g), k)


MISCONCEPTIONS = (
    Misconception(
        "f is replaced",
        _not_added,
        "Add lam * g to f. An item of D_u that this user likes anyway would otherwise lose by "
        "being in D_u.",
    ),
    Misconception(
        "one bonus for all of D_u",
        _same_bonus,
        "The creator side says how well each user fits, in g. A flat bonus lifts the worst match "
        "as much as the best.",
    ),
    Misconception(
        "a mean instead of a sum",
        _weighted_f,
        "(1 - lam) f + lam g lowers whoever fits the item less than he likes it. The rule adds, "
        "and f keeps its weight.",
    ),
    Misconception(
        "a factor instead of a sum",
        _factor,
        "f * (1 + lam g) hardly helps where f is small, and that is where new items are: the model "
        "knows little of them. Add lam * g.",
    ),
    Misconception(
        "added by place, not by item",
        _by_place,
        "g belongs to d_item, in another order and length than item: look each item up.",
    ),
    Misconception(
        "items that are no candidates",
        _stale_shown,
        "An item of D_u that is not in `item` was withdrawn, or the user has seen it since: the "
        "filters took it out. Boost candidates, add none.",
    ),
    Misconception(
        "nothing is boosted",
        _no_boost,
        "This is the user side alone. For items in d_item add lam * g.",
    ),
    Misconception("the worst first", _upwards, "np.argsort sorts upwards: sort -score."),
    Misconception("the page is not cut", _whole, "Only the first k make the page."),
    Misconception(
        "the weight is left out",
        _no_lambda,
        "Add lam * g, not g: lam is the knob that says what creators may cost the users.",
    ),
)


def _random(n: int, m: int) -> tuple[Array, Array, Array, Array]:
    chance = rng(5, "exercise-5.7", n)
    item = chance.permutation(3 * n)[:n]
    d_item = np.concatenate([chance.choice(item, m // 2, replace=False), 3 * n + np.arange(m // 2)])
    return item, chance.random(n), chance.permutation(d_item), chance.random(len(d_item))


_ITEM = np.array([31, 32, 33, 34, 35])
_F = np.array([0.9, 0.8, 0.7, 0.3, 0.2])
_D = np.array([35, 33])
_G = np.array([0.9, 0.5])
_NONE = np.zeros(0, np.int64)
CASES = (
    Case("two of five in D_u, lambda 0.5", (_ITEM, _F, _D, _G, 0.5, 3)),
    Case("lambda 1", (_ITEM, _F, _D, _G, 1.0, 3)),
    Case("lambda 0: the user side's order", (_ITEM, _F, _D, _G, 0.0, 3)),
    Case("an item of D_u is no candidate", (_ITEM, _F, np.array([99, 34]), _G, 1.0, 3)),
    Case("D_u is empty", (_ITEM, _F, _NONE, np.zeros(0), 0.5, 3)),
    Case("no candidates", (_NONE, np.zeros(0), _D, _G, 0.5, 3)),
    Case("fewer candidates than places", (_ITEM[:2], _F[:2], np.array([32]), _G[:1], 0.5, 10)),
    Case("equal scores keep their order", (_ITEM, np.ones(5), np.array([34]), np.ones(1), 0.5, 5)),
    Case("200 candidates, 10 in D_u", (*_random(200, 10), 0.3, 10)),
    Case("2,000 candidates, 400 in D_u", (*_random(2000, 400), 0.6, 50)),
)

TASK = Task(
    id="5.7",
    title="Boost: f + lambda g",
    asked="Write boost(item, f, d_item, g, lam, k): item (n,) are the candidates of a request, f "
    "(n,) what the user side says of them; d_item (m,) is D_u, g (m,) what the creator side says, "
    "in any order. A candidate that is in D_u scores f + lam * g, any other f. Return the k best "
    "candidates, best first; fewer when there are no more. Equal scores keep their order. Items of "
    "D_u that are no candidates are left out.",
    starter="def boost(item, f, d_item, g, lam, k):\n"
    '    """(n,) candidates with f, (m,) of D_u with g, lambda, size -> the page."""\n    ...',
    judge=Probe(
        boost,
        CASES,
        MISCONCEPTIONS,
        page_difference,
        praise="Pages can now be merged by your function.",
    ),
    hints=(
        "Make an array of what is added to each candidate: zeros, and lam * g where the candidate "
        "is in D_u. How do you find the place of an item in d_item?",
        "A dict from d_item to g is enough: found.get(i, 0.0) for each candidate i.",
        "item[np.argsort(-(f + lam * extra), kind='stable')[:k]]; work on a copy of f.",
    ),
    solution=boost,
    why="The sum lets a small f be lifted and a good one stay: at lambda 0 the creator side only "
    "offers candidates, and each step of lambda buys exposure with the users' own order. That is "
    "why the price has to be measured at several lambdas (5.3).",
    limit_s=10.0,
)
