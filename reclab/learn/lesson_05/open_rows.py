"""Exercise 5.1: the online user pool (在线用户池, equation 2.5): whom may an item look for?

both    |D_u| < Q  and  p(active) >= threshold     the paper's pool
either  |D_u| < Q  or   p(active) >= threshold     the chapter's words: each rule lets in by itself

Simplified: one threshold for all; industry weighs the price of a miss against that of a match that
nobody comes to see.
"""

from typing import Any

import numpy as np

from reclab.core.chance import rng
from reclab.core.types import Array
from reclab.learn.exercise import Task
from reclab.learn.probe import Case, Misconception, Probe, read_array


def open_rows(count, p_active, capacity, threshold, rule):
    """(n,) |D_u|, (n,) probability, Q, threshold, "both" or "either" -> rows who may be matched."""
    room = count < capacity
    active = p_active >= threshold  # an unknown one, NaN, is not
    allowed = room & active if rule == "both" else room | active
    return np.flatnonzero(allowed)


def rows_difference(value: Any, expected: Array, count: Array, *args: Any) -> str:
    """'' when the same users are named, in any order, else the first who is not."""
    mine = read_array(value)
    if isinstance(mine, str):
        return mine
    if mine.shape == count.shape and np.asarray(value).dtype == bool:
        return "It returns a mask, expected the rows of the users: np.flatnonzero(mask)."
    if mine.ndim != 1:
        return f"Shape: yours {mine.shape}, expected one row number a user: {expected.shape}."
    if len(np.unique(mine)) < len(mine):
        return "A user is named twice."
    missing, extra = np.setdiff1d(expected, mine), np.setdiff1d(mine, expected)
    n = f"yours has {len(mine)} users, expected {len(expected)}"
    if len(extra):
        return f"User {extra[0]:g} should not be in the pool ({n})."
    return f"User {missing[0]:g} is missing ({n})." if len(missing) else ""


def _full_too(count: Array, p: Array, capacity: int, threshold: float, rule: str) -> Array:
    return np.asarray(open_rows(count, p, capacity + 1, threshold, rule))


def _rule_ignored(count: Array, p: Array, capacity: int, threshold: float, rule: str) -> Array:
    return np.asarray(open_rows(count, p, capacity, threshold, "both"))


def _rule_swapped(count: Array, p: Array, capacity: int, threshold: float, rule: str) -> Array:
    other = "either" if rule == "both" else "both"
    return np.asarray(open_rows(count, p, capacity, threshold, other))


def _room_alone(count: Array, p: Array, capacity: int, threshold: float, rule: str) -> Array:
    return np.flatnonzero(count < capacity)


def _active_alone(count: Array, p: Array, capacity: int, threshold: float, rule: str) -> Array:
    return np.flatnonzero(p >= threshold)


def _unknown_active(count: Array, p: Array, capacity: int, threshold: float, rule: str) -> Array:
    return np.asarray(open_rows(count, np.where(np.isnan(p), 1.0, p), capacity, threshold, rule))


def _strictly(count: Array, p: Array, capacity: int, threshold: float, rule: str) -> Array:
    return np.asarray(open_rows(count, np.where(p == threshold, 0.0, p), capacity, threshold, rule))


def _not_equal(count: Array, p: Array, capacity: int, threshold: float, rule: str) -> Array:
    room, active = count != capacity, p >= threshold
    return np.flatnonzero(room & active if rule == "both" else room | active)


def _probability_is_true(
    count: Array, p: Array, capacity: int, threshold: float, rule: str
) -> Array:
    return np.asarray(open_rows(count, (p > 0).astype(float), capacity, threshold, rule))


MISCONCEPTIONS = (
    Misconception(
        "who is full is still let in",
        _full_too,
        "A user with |D_u| = Q has no room left: the rule is |D_u| < Q, not <=. With <= every "
        "user ends at Q + 1.",
    ),
    Misconception(
        "one rule for both names",
        _rule_ignored,
        'With "either" one of the two is enough: the chapter lets a user in by his room, or by '
        "being predicted active.",
    ),
    Misconception(
        "both and either changed places",
        _rule_swapped,
        '"both" wants room and activity (&), "either" one of them (|).',
    ),
    Misconception(
        "activity is left out",
        _room_alone,
        "A match for a user who does not come back is never seen, and it took a place in the "
        "item's list. Ask for the activity too.",
    ),
    Misconception(
        "room is left out",
        _active_alone,
        "The most active users fit every item. Without |D_u| < Q a few of them collect thousands "
        "of items, and nobody else gets any.",
    ),
    Misconception(
        "unknown taken for active",
        _unknown_active,
        "NaN says that nothing is known of a user. He is not predicted active: NaN >= threshold "
        "is False, ~(NaN < threshold) is not.",
    ),
    Misconception(
        "the threshold itself is too little",
        _strictly,
        "Predicted active is p >= threshold: a model that gives few different values meets its "
        "threshold exactly.",
    ),
    Misconception(
        "not equal instead of less",
        _not_equal,
        "Q may be lowered during the day: then some users hold more than Q. They are not open.",
    ),
    Misconception(
        "any probability counts as yes",
        _probability_is_true,
        "p_active is a probability, not a flag: compare it with the threshold.",
    ),
)


def _random(n: int) -> tuple[Array, Array]:
    chance = rng(5, "exercise-5.1", n)
    return chance.integers(0, 14, n), chance.random(n)


_COUNT = np.array([0, 9, 10, 12, 3, 0])
_P = np.array([0.9, 0.6, 0.8, 0.9, 0.2, np.nan])
CASES = (
    Case("six users, both", (_COUNT, _P, 10, 0.5, "both")),
    Case("six users, either", (_COUNT, _P, 10, 0.5, "either")),
    Case("exactly at the threshold", (np.zeros(3, int), np.array([0.4, 0.5, 0.6]), 1, 0.5, "both")),
    Case("Q = 0, both: nobody", (_COUNT, _P, 0, 0.5, "both")),
    Case("Q = 0, either: the active ones", (_COUNT, _P, 0, 0.5, "either")),
    Case("nobody there", (np.zeros(0, int), np.zeros(0), 10, 0.5, "both")),
    Case("nobody active", (_COUNT, np.zeros(6), 10, 0.5, "either")),
    Case("unknown and full, either", (np.array([10, 4]), np.full(2, np.nan), 10, 0.5, "either")),
    Case("5,000 users, both", (*_random(5000), 10, 0.3, "both")),
    Case("5,000 users, either", (*_random(5000), 10, 0.3, "either")),
)

TASK = Task(
    id="5.1",
    title="The online user pool",
    asked="Write open_rows(count, p_active, capacity, threshold, rule): count (n,) is |D_u|, what "
    "waits for each user already; p_active (n,) the probability that he comes soon, NaN = unknown; "
    "capacity is Q. A user has room when count < capacity and is active when p_active >= "
    'threshold. Return the rows of those who may be matched: with rule "both" (the paper) room '
    'and activity, with "either" (the chapter\'s words) one of them.',
    starter="def open_rows(count, p_active, capacity, threshold, rule):\n"
    '    """(n,) |D_u|, (n,) probability, Q, threshold, rule -> rows who may be matched."""\n'
    "    ...",
    judge=Probe(
        open_rows,
        CASES,
        MISCONCEPTIONS,
        rows_difference,
        praise="The creator side can now search within your pool.",
    ),
    hints=(
        "Two masks of shape (n,): who has room, who is active. How do & and | put them together?",
        "np.flatnonzero(mask) turns a mask into row numbers. What does NaN >= 0.5 give?",
        'room & active if rule == "both" else room | active, with room = count < capacity and '
        "active = p_active >= threshold.",
    ),
    solution=open_rows,
    why="The pool is a filter before the search: an item only meets users who can still be shown "
    "something and are likely to come. Either-or lets in the full and the absent, so matches are "
    "refused later or never seen; both-and is what keeps |D_u| <= Q while the matching goes on.",
    limit_s=10.0,
)
