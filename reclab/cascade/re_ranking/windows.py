"""Windows (打散): no more than a cap of one category, or of one creator, in any w cards in a row.

    for every group g and every t:  #{ s in t-w+1 .. t : group(card_s) = g } <= cap

A greedy list can run into a dead end although another order would do: ``search`` looks for such
an order, best card first, and gives up after a fixed number of steps. A rule that cannot be kept
is relaxed by its caller, who says so.

Reference: constraint search with a counting bound, Régin and Puget 1997 (sequence constraints).
Simplified: industry adds rules by position, business, and what the user scrolled past before.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from reclab.core.types import Array


class Rule(NamedTuple):
    """``group`` (B, n) which group each candidate belongs to, -1 = none, bound by no rule; at
    most ``cap`` of one group in any ``window`` cards in a row."""

    group: Array
    window: int
    cap: int


def broken(group: Array, window: int, cap: int) -> Array:
    """(..., k) bool: cards that break the rule, given the (..., k) groups in list order."""
    late = np.subtract.outer(np.arange(group.shape[-1]), np.arange(group.shape[-1]))
    near = (late >= 0) & (late < window) & (group[..., :, None] == group[..., None, :])
    return np.asarray((near.sum(-1) > cap) & (group >= 0))


def room(k: int, window: int, cap: int) -> int:
    """Most cards of one group in a list of ``k``: full windows, and a rest.

    >>> room(10, 5, 2), room(7, 5, 2), room(6, 5, 2)
    (4, 4, 3)
    """
    return k // window * cap + min(k % window, cap)


def can_fit(group: Array, k: int, window: int, cap: int) -> bool:
    """Whether enough of the (n,) candidates may stand in a list of ``k`` under this rule alone.
    False is certain; True is not, when other rules bind too."""
    counts = np.bincount(group + 1)
    return int(counts[0] + np.minimum(counts[1:], room(k, window, cap)).sum()) >= k


def search(
    value: Array, rules: Sequence[tuple[Array, int, int]], k: int, steps: int = 500
) -> Array | None:
    """An order (k,) that keeps every rule, or None when none was found in ``steps`` steps.

    Depth first, the candidate of the highest ``value`` (n,) first; of candidates in the same
    groups only the best is tried, and a state that failed is not entered again.
    """
    groups = np.stack([group for group, _, _ in rules], 1)
    _, kind = np.unique(groups, axis=0, return_inverse=True)
    kind = kind.ravel()
    order = np.argsort(-value, kind="stable")
    queues = [order[kind[order] == t].tolist() for t in range(int(kind.max()) + 1)]
    of_kind = [tuple(groups[queue[0]].tolist()) for queue in queues]
    limits = [(window, cap) for _, window, cap in rules]
    walk = _Walk(value, queues, of_kind, limits, k, steps)
    return np.array(walk.placed) if walk.go() else None


class _Walk:
    """The state of one depth-first search."""

    def __init__(
        self,
        value: Array,
        queues: list[list[int]],
        of_kind: list[tuple[int, ...]],
        limits: list[tuple[int, int]],
        k: int,
        steps: int,
    ) -> None:
        self.value, self.queues, self.of_kind = value, queues, of_kind
        self.limits, self.k, self.steps = limits, k, steps
        self.used = [0] * len(queues)
        self.kinds: list[int] = []
        self.placed: list[int] = []
        self.failed: set[tuple[tuple[int, ...], tuple[int, ...]]] = set()
        self.memory = max(window for window, _ in limits) - 1

    def go(self) -> bool:
        """Place the remaining cards; False when that is impossible or the steps are spent."""
        if len(self.placed) == self.k:
            return True
        recent = tuple(self.kinds[-self.memory :]) if self.memory else ()
        state = (tuple(self.used), recent)
        self.steps -= 1
        if self.steps < 0 or state in self.failed or not self._enough():
            return False
        for t in sorted(self._open(), key=lambda t: -self.value[self.queues[t][self.used[t]]]):
            self.placed.append(self.queues[t][self.used[t]])
            self.kinds.append(t)
            self.used[t] += 1
            if self.go():
                return True
            self.placed.pop()
            self.kinds.pop()
            self.used[t] -= 1
        self.failed.add(state)
        return False

    def _open(self) -> list[int]:
        """Kinds that have a card left and break no rule at the next place."""
        return [
            t
            for t, queue in enumerate(self.queues)
            if self.used[t] < len(queue)
            and all(self._allowed(t, r) for r in range(len(self.limits)))
        ]

    def _allowed(self, t: int, r: int) -> bool:
        window, cap = self.limits[r]
        group = self.of_kind[t][r]
        if group < 0 or window == 1:
            return True
        recent = self.kinds[-(window - 1) :]
        return sum(self.of_kind[u][r] == group for u in recent) < cap

    def _enough(self) -> bool:
        """The counting bound: each rule alone leaves enough cards for the open places."""
        open_places = self.k - len(self.placed)
        for r, (window, cap) in enumerate(self.limits):
            left: dict[int, int] = {}
            for t, queue in enumerate(self.queues):
                group = self.of_kind[t][r]
                left[group] = left.get(group, 0) + len(queue) - self.used[t]
            most = room(open_places, window, cap)
            fits = sum(n if group < 0 else min(n, most) for group, n in left.items())
            if fits < open_places:
                return False
        return True
