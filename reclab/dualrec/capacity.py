"""Capacity (容量约束下的分配): many items want the same users, and each user takes only so many.

    x = greedy by falling g_ui:  x_ui = 1  if  sum_j x_uj < room_u  and  sum_v x_vi < want_i

Item and user agree on what a match is worth (g), so this is the one stable matching: no pair is
left out that both would rather have than one of theirs. Without a loop over pairs: a pair that is
among the best ``want_i`` left of its item and the best ``room_u`` left of its user cannot be beaten
by anything the greedy takes before it, so all such pairs are taken at once; what they fill up is
struck out, and the rest go into the next round.
References: Gale and Shapley 1962; Preis, Linear time 1/2-approximation (locally dominant edges),
STACS 1999.

Simplified: greedy earns at least half of the best sum, in practice nearly all; industry solves the
linear programme with dual prices instead where the sum itself is the goal.
"""

import numpy as np

from reclab.core.types import Array


def resolve(owner: Array, user_row: Array, score: Array, want: Array, room: Array) -> Array:
    """(n,) bool: which pairs are taken.

    ``owner`` (n,) ascending item positions, each one's pairs best first, no pair twice;
    ``user_row`` (n,), ``score`` (n,) float32; ``want`` (B,) users for each item, ``room``
    (n_users,) items for each user. Of equal scores the earlier pair comes first.

    >>> one = np.ones(2, int)
    >>> resolve(np.array([0, 0, 1]), np.array([0, 1, 0]), np.array([.5, .4, .9]), one, one).tolist()
    [False, True, True]
    """
    want, room = want.astype(np.int64), room.astype(np.int64)
    taken = np.zeros(len(owner), bool)
    left = np.flatnonzero((want[owner] > 0) & (room[user_row] > 0))
    by_user: Array | None = None
    while len(left):
        items, users = owner[left], user_row[left]
        good = _place(items) < want[items]
        rivals = np.bincount(users, minlength=len(room))
        contested = rivals[users] > room[users]
        if contested.any():
            if by_user is None:
                hot = left[contested]  # no other user will ever be contested
                by_user = hot[best_first(user_row[hot], score[hot])]
            good &= _wins(left, by_user, contested, user_row, room, len(owner))
        won = left[good]
        taken[won] = True
        want -= np.bincount(owner[won], minlength=len(want))
        room -= np.bincount(user_row[won], minlength=len(room))
        left = left[~good]
        left = left[(want[owner[left]] > 0) & (room[user_row[left]] > 0)]
    return taken


def _place(group: Array) -> Array:
    """(n,) place within its run of equal values, from 0."""
    at = np.arange(len(group))
    first = np.ones(len(group), bool)
    first[1:] = group[1:] != group[:-1]
    return at - np.maximum.accumulate(np.where(first, at, 0))


def best_first(group: Array, score: Array) -> Array:
    """(n,) positions sorted by group, then falling score; ties keep their order.

    >>> best_first(np.array([1, 0, 1]), np.array([-0.5, 0.0, 2.0])).tolist()
    [1, 2, 0]
    """
    bits = (score.astype(np.float32) + np.float32(0)).view(np.int32)  # -0.0 and 0.0 are equal
    rising = bits ^ ((bits >> 31) & np.int32(0x7FFFFFFF))  # the order of int32 = of the floats
    key = group.astype(np.int64) << 32 | (0x7FFFFFFF - rising.astype(np.int64))
    return np.argsort(key, kind="stable")


def _wins(
    left: Array, by_user: Array, contested: Array, user_row: Array, room: Array, n: int
) -> Array:
    """(len(left),) bool: pairs among the best of their user that there is room for."""
    good = np.zeros(n, bool)
    good[left] = True
    hot = np.zeros(n, bool)
    hot[left[contested]] = True
    mine = by_user[hot[by_user]]  # of contested users, by user, best first
    owner = user_row[mine]
    good[mine] = _place(owner) < room[owner]
    return good[left]
