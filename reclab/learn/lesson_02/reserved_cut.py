"""Exercise 2.8: a cut with a duty: places kept for new items, the rest by score.

r = round(share * keep). Kept are the r best new ones, then the best of all others until ``keep``.

A floor, not a bonus: new items that are good enough by themselves fill the kept places first.

Simplified: industry keeps places for several groups at once, and moves the shares by the hour.
"""

import numpy as np

from reclab.core.chance import rng
from reclab.core.types import Array
from reclab.learn.exercise import Task
from reclab.learn.probe import Case, Misconception, Probe


def reserved_cut(score: np.ndarray, is_new: np.ndarray, keep: int, share: float) -> np.ndarray:
    """(n,) scores, (n,) bool -> (n,) bool, True for the ``keep`` candidates that go on."""
    new = np.flatnonzero(is_new)
    first = new[np.argsort(-score[new])][: round(share * keep)]  # the places kept for the new
    order = np.argsort(-score)
    rest = order[~np.isin(order, first)][: keep - len(first)]
    kept = np.zeros(len(score), bool)
    kept[first] = kept[rest] = True
    return kept


def _mask(n: int, rows: Array) -> Array:
    kept = np.zeros(n, bool)
    kept[rows] = True
    return kept


def _best(score: Array, rows: Array, n: int) -> Array:
    return np.asarray(rows[np.argsort(-score[rows])][: max(n, 0)])


def _no_duty(score: Array, is_new: Array, keep: int, share: float) -> Array:
    return reserved_cut(score, is_new, keep, 0.0)


def _bonus(score: Array, is_new: Array, keep: int, share: float) -> Array:
    r = round(share * keep)
    won = _best(score, np.arange(len(score)), keep - r)
    left = np.setdiff1d(np.arange(len(score)), won)
    lucky = _best(score, left[is_new[left]], r)
    more = np.setdiff1d(left, lucky)
    rest = _best(score, more, keep - len(won) - len(lucky))
    return _mask(len(score), np.concatenate([won, lucky, rest]))


def _cap(score: Array, is_new: Array, keep: int, share: float) -> Array:
    r = round(share * keep)
    new, old = np.flatnonzero(is_new), np.flatnonzero(~is_new)
    return _mask(len(score), np.concatenate([_best(score, new, r), _best(score, old, keep - r)]))


def _share_of_the_new(score: Array, is_new: Array, keep: int, share: float) -> Array:
    r = min(keep, round(share * is_new.sum()))
    return reserved_cut(score, is_new, keep, r / max(keep, 1))


def _places_left_empty(score: Array, is_new: Array, keep: int, share: float) -> Array:
    r = round(share * keep)
    first = _best(score, np.flatnonzero(is_new), r)
    others = np.setdiff1d(np.arange(len(score)), first)
    return _mask(len(score), np.concatenate([first, _best(score, others, keep - r)]))


def _any_new(score: Array, is_new: Array, keep: int, share: float) -> Array:
    first = np.flatnonzero(is_new)[: round(share * keep)]
    others = np.setdiff1d(np.arange(len(score)), first)
    return _mask(len(score), np.concatenate([first, _best(score, others, keep - len(first))]))


def _on_top(score: Array, is_new: Array, keep: int, share: float) -> Array:
    first = _best(score, np.flatnonzero(is_new), round(share * keep))
    others = np.setdiff1d(np.arange(len(score)), first)
    return _mask(len(score), np.concatenate([first, _best(score, others, keep)]))


def _worst(score: Array, is_new: Array, keep: int, share: float) -> Array:
    return reserved_cut(-score, is_new, keep, share)


def _added(score: Array, is_new: Array, keep: int, share: float) -> Array:
    return reserved_cut(score + share * is_new, is_new, keep, 0.0)


MISCONCEPTIONS = (
    Misconception(
        "the duty is not used",
        _no_duty,
        "These are the best by score. Take the best new ones first, as many as the duty keeps "
        "places for, then fill up.",
    ),
    Misconception(
        "a bonus instead of a floor",
        _bonus,
        "You give places to new items on top of those that won by themselves. The duty promises "
        "a least number: a new item that wins by itself fills one of the kept places.",
    ),
    Misconception(
        "a ceiling instead of a floor",
        _cap,
        "The rest goes by score to everybody, new or not. As it is, a new item with the best "
        "score of all is turned away once the kept places are taken.",
    ),
    Misconception(
        "a share of the new items, not of the places",
        _share_of_the_new,
        "share is of the places: round(share * keep) of them, however many new items there are.",
    ),
    Misconception(
        "places left empty",
        _places_left_empty,
        "When there are fewer new items than kept places, the places go to the best of the "
        "others: fill up to keep, not to keep - round(share * keep).",
    ),
    Misconception(
        "any new items, not the best ones",
        _any_new,
        "The duty says that new items get a chance, not which. Choose the best of them by score: "
        "it costs least.",
    ),
    Misconception(
        "more than keep go on",
        _on_top,
        "The kept places are part of the budget: the ranker can afford keep candidates in all.",
    ),
    Misconception(
        "the worst scores",
        _worst,
        "np.argsort sorts upwards, the smallest first. Sort -score.",
    ),
    Misconception(
        "the score is changed",
        _added,
        "Adding share to the score of a new item promises nothing: how many get in depends on the "
        "scale of the scores. Count places instead.",
    ),
)


def _random(n: int, new: float) -> tuple[Array, Array]:
    chance = rng(2, "exercise-2.8", n)
    return chance.permutation(n).astype(np.float32), chance.random(n) < new


_SCORE = np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.4], np.float32)
_LAST = np.array([False, False, False, False, True, True])
_NONE = np.zeros(6, bool)
CASES = (
    Case("half of four places, two new at the end", (_SCORE, _LAST, 4, 0.5)),
    Case("a new item that wins by itself", (_SCORE, _LAST[::-1].copy(), 3, 0.34)),
    Case("no duty", (_SCORE, _LAST, 3, 0.0)),
    Case("nothing is new", (_SCORE, _NONE, 3, 0.67)),
    Case(
        "only one is new, three places are kept",
        (_SCORE[::-1].copy(), _NONE | (_SCORE > 0.85), 4, 0.75),
    ),
    Case("more places than candidates", (_SCORE, _LAST, 10, 0.3)),
    Case("no candidates", (np.zeros(0, np.float32), np.zeros(0, bool), 5, 0.2)),
    Case("1000 candidates, a twentieth new", (*_random(1000, 0.05), 300, 0.1)),
)

TASK = Task(
    id="2.8",
    title="A cut with a duty to new items",
    asked="Write reserved_cut(score, is_new, keep, share): score (n,), is_new (n,) bool. Return "
    "(n,) bool, True for the candidates that go on, at most keep of them. round(share * keep) "
    "places belong to the best new items; all other places, and those that too few new items "
    "leave free, go by score to whoever is best, new or not.",
    starter="def reserved_cut(score, is_new, keep, share):\n"
    '    """(n,) scores, (n,) bool -> (n,) bool: who goes on."""\n    ...',
    judge=Probe(
        reserved_cut,
        CASES,
        MISCONCEPTIONS,
        praise="The live pre-ranking can now cut with your function: raise share and see the cost.",
    ),
    hints=(
        "Two steps: who takes the kept places, and who takes all others. What must the second step "
        "leave out, and how many places has it really?",
        "new = np.flatnonzero(is_new); first = new[np.argsort(-score[new])][:round(share * keep)] "
        "are the best new ones, perhaps fewer than asked.",
        "order = np.argsort(-score); and order[~np.isin(order, first)][:keep - len(first)]. "
        "Mark both in an array of False.",
    ),
    solution=reserved_cut,
    why="A floor costs nothing as long as the new items are good: those who win by themselves fill "
    "the kept places. Counting places instead of raising scores makes the promise exact, whatever "
    "the scale of the model's scores is tomorrow.",
    when_slow="np.isin and one argsort do it at once; a loop over candidates is too slow for a "
    "thousand of them at every request.",
    limit_s=10.0,
)
