"""Exercise 5.2: regrouping by user (重组, equation 2.4): from matches by item to D_u by user.

D_u = the best room_u items matched to u, each once, best first

Simplified: all at once, in one process; ours does it inside Redis, where a hundred writers come at
the same moment.
"""

from typing import Any

import numpy as np

from reclab.core.chance import rng
from reclab.core.types import Array
from reclab.learn.exercise import Task
from reclab.learn.probe import Case, Misconception, Probe, read_array, shown

Pair = tuple[Array, Array]


def regroup(item, user, score, room):
    """(m,) matches in order of item, (n_users,) places left -> (user, item) of what is written."""
    order = np.lexsort((-score, user))  # by user, best first; ties keep their order
    item, user = item[order], user[order]
    _, first = np.unique(np.stack([user, item], 1), axis=0, return_index=True)
    kept = np.sort(first)  # of a pair matched twice, the better
    item, user = item[kept], user[kept]
    place = np.arange(len(user)) - np.searchsorted(user, user)  # 0, 1, 2 … within a user
    fits = place < room[user]
    return user[fits], item[fits]


def pairs_difference(value: Any, expected: Pair, *args: Any) -> str:
    """'' when each user has the same items in the same order, else the first who has not."""
    if value is None:
        return "It returns nothing (None): is the `return` missing?"
    try:
        mine = [read_array(part) for part in value]
    except TypeError:
        mine = []
    if len(mine) != 2:
        return f"It returns {shown(value)}, expected two arrays: (user, item)."
    for part in mine:
        if isinstance(part, str):
            return part
    user, item = mine
    if user.ndim != 1 or user.shape != item.shape:  # type: ignore[union-attr]
        return f"user {np.shape(user)} and item {np.shape(item)} should be equally long rows."
    if (np.diff(user) < 0).any():  # type: ignore[arg-type]
        return "The users are not in rising order: D_u is one stretch a user."
    if np.array_equal(user, expected[0]) and np.array_equal(item, expected[1]):
        return ""
    for u in np.union1d(user, expected[0]):  # type: ignore[arg-type]
        has, good = item[user == u], expected[1][expected[0] == u]  # type: ignore[index]
        if not np.array_equal(has, good):
            return f"User {u:g}: yours {_some(has)}, expected {_some(good)}."
    return "An entry is no number."


def _some(ids: Array) -> str:
    told = ", ".join(f"{i:g}" for i in ids[:8])
    return f"[{told}{', …' if len(ids) > 8 else ''}]"


# ---- wrong ideas ---------------------------------------------------------------------------


def _sorted(item: Array, user: Array, score: Array) -> Pair:
    order = np.lexsort((-score, user))
    return user[order], item[order]


def _cut(user: Array, item: Array, room: Array) -> Pair:
    place = np.arange(len(user)) - np.searchsorted(user, user)
    return user[place < room[user]], item[place < room[user]]


def _doubles(item: Array, user: Array, score: Array, room: Array) -> Pair:
    return _cut(*_sorted(item, user, score), room)


def _cut_then_once(item: Array, user: Array, score: Array, room: Array) -> Pair:
    u, i = _cut(*_sorted(item, user, score), room)
    _, first = np.unique(np.stack([u, i], 1), axis=0, return_index=True)
    return u[np.sort(first)], i[np.sort(first)]


def _first_come(item: Array, user: Array, score: Array, room: Array) -> Pair:
    return regroup(item, user, np.zeros(len(item)), room)  # type: ignore[no-any-return]


def _worst_first(item: Array, user: Array, score: Array, room: Array) -> Pair:
    return regroup(item, user, -score, room)  # type: ignore[no-any-return]


def _no_room(item: Array, user: Array, score: Array, room: Array) -> Pair:
    return regroup(item, user, score, np.full(len(room), len(item)))  # type: ignore[no-any-return]


def _item_once(item: Array, user: Array, score: Array, room: Array) -> Pair:
    order = np.argsort(-score, kind="stable")
    _, first = np.unique(item[order], return_index=True)
    kept = order[np.sort(first)]
    return regroup(item[kept], user[kept], score[kept], room)  # type: ignore[no-any-return]


def _one_room(item: Array, user: Array, score: Array, room: Array) -> Pair:
    most = room.max() if len(room) else 0
    return regroup(item, user, score, np.full(len(room), most))  # type: ignore[no-any-return]


def _by_number(item: Array, user: Array, score: Array, room: Array) -> Pair:
    u, i = regroup(item, user, score, room)
    order = np.lexsort((i, u))
    return u[order], i[order]


def _changed(item: Array, user: Array, score: Array, room: Array) -> Pair:
    u, i = regroup(item, user, score, room)
    return i, u


MISCONCEPTIONS = (
    Misconception(
        "an item stands twice in a user's list",
        _doubles,
        "A user may be found for an item by the vector and as a fan: one pair, two matches. Keep "
        "the better one, or he is shown the same card twice.",
    ),
    Misconception(
        "doubles are dropped after the cut",
        _cut_then_once,
        "A double took a place that the next best item could have had. First each pair once, then "
        "the cut.",
    ),
    Misconception(
        "whoever is written first gets the place",
        _first_come,
        "The matches lie in order of item, so the items with low numbers win whatever their score. "
        "Take each user's best.",
    ),
    Misconception(
        "the worst first",
        _worst_first,
        "np.lexsort and np.argsort sort upwards: use -score.",
    ),
    Misconception(
        "the room is not kept",
        _no_room,
        "room[u] = Q - |D_u| is what a user can still be shown: no more may be written, or some "
        "users hold thousands.",
    ),
    Misconception(
        "each item goes to one user",
        _item_once,
        "An item looks for many users, about 200 of them. Only the pair (user, item) is unique.",
    ),
    Misconception(
        "the same room for all",
        _one_room,
        "Users have used up different parts of Q: look up room[user].",
    ),
    Misconception(
        "the order within a user is lost",
        _by_number,
        "D_u is read best first: keep the order of the scores within a user.",
    ),
    Misconception("user and item changed places", _changed, "Return (user, item), in that order."),
)


def _random(n_items: int, n_users: int, each: int) -> tuple[Array, Array, Array, Array]:
    chance = rng(5, "exercise-5.2", n_items)
    item = np.repeat(100 + np.arange(n_items), each)
    user = chance.integers(0, n_users, len(item))
    return item, user, chance.random(len(item)), chance.integers(0, 6, n_users)


_ITEM = np.array([11, 11, 11, 12, 12, 13, 13, 13])
_USER = np.array([0, 1, 2, 0, 2, 0, 1, 2])
_SCORE = np.array([0.5, 0.9, 0.2, 0.8, 0.6, 0.7, 0.1, 0.4])
_NONE = np.zeros(0, np.int64)
_TWICE = (np.array([11, 11, 12]), np.zeros(3, int), np.array([0.9, 0.8, 0.3]), np.array([2]))
CASES = (
    Case("three items, three users, two places each", (_ITEM, _USER, _SCORE, np.full(3, 2))),
    Case("a pair matched twice", _TWICE),
    Case("other rooms, one of them none", (_ITEM, _USER, _SCORE, np.array([1, 0, 3]))),
    Case("room for all", (_ITEM, _USER, _SCORE, np.full(3, 10))),
    Case("Q = 0: nobody has room", (_ITEM, _USER, _SCORE, np.zeros(3, int))),
    Case("no matches", (_NONE, _NONE, np.zeros(0), np.full(3, 2))),
    Case("equal scores keep their order", (_ITEM[::-1], _USER, np.ones(8), np.full(3, 2))),
    Case("40 items, 10 users each", _random(40, 30, 10)),
    Case("150 items, 80 users each", _random(150, 900, 80)),
)

TASK = Task(
    id="5.2",
    title="Regroup: from items' users to users' items",
    asked="Write regroup(item, user, score, room): match j says that item[j] wants user[j], with "
    "score[j]; the matches lie in order of item. room (n_users,) is how many more each user can "
    "take, Q - |D_u|. Return (user, item): for each user in rising order his best items, best "
    "first, at most room[u] of them and none twice. Equal scores keep their order; a pair that "
    "was matched twice counts once, at its better score.",
    starter="def regroup(item, user, score, room):\n"
    '    """(m,) matches in order of item, (n_users,) places left -> (user, item)."""\n    ...',
    judge=Probe(
        regroup,
        CASES,
        MISCONCEPTIONS,
        pairs_difference,
        praise="The creator side's matches can now be written by your function.",
    ),
    hints=(
        "Three steps: sort by user and by score within a user, drop the doubles, cut each user's "
        "stretch. In which order must the last two come?",
        "np.lexsort((-score, user)) sorts by user first, best first within. np.unique(np.stack([u, "
        "i], 1), axis=0, return_index=True) gives the first place of each pair.",
        "The place within a user's stretch is np.arange(m) - np.searchsorted(user, user), with "
        "user sorted. Keep where it is below room[user].",
    ),
    solution=regroup,
    why="An item's list and a user's list are the same matches sorted by another key; what is new "
    "is the limit. It holds for the user, so it can only be applied after the sorting: however "
    "good a match is for its item, others may be better for this user. What is refused here is "
    "what a pool kept up to date would not have matched.",
    when_slow="A loop over users that searches all matches each time is n_users * m steps: sort "
    "once instead.",
    limit_s=10.0,
)
