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
    groups only the best is tried, and a state that failed is not entered again. A group of no
    more cards than the cap can never break its rule, so its cards count as in no group: that
    leaves few kinds of cards, and soon proves that there is no order.
    """
    groups = np.stack([_binding(group, cap) for group, _, cap in rules], 1)
    of_kind, kind = np.unique(groups, axis=0, return_inverse=True)
    order = np.argsort(-value, kind="stable")
    kind = kind.ravel()[order]
    queues = [order[kind == t][:k].tolist() for t in range(len(of_kind))]
    limits = [(window, cap) for _, window, cap in rules]
    walk = _Walk(value.tolist(), queues, of_kind.T.tolist(), limits, k, steps)
    return np.array(walk.placed) if walk.go() else None


def _binding(group: Array, cap: int) -> Array:
    """(n,) the groups of more than ``cap`` cards as 0, 1, ...; -1 for the rest."""
    _, code, count = np.unique(group, return_inverse=True, return_counts=True)
    bound = (count > cap)[code] & (group >= 0)
    return np.where(bound, code, -1)


class _Walk:
    """The state of one depth-first search: ``queues[t]`` the cards of kind t, best first,
    ``groups[r][t]`` the group of kind t under rule r, ``limits[r]`` its window and cap."""

    def __init__(
        self,
        value: list[float],
        queues: list[list[int]],
        groups: list[list[int]],
        limits: list[tuple[int, int]],
        k: int,
        steps: int,
    ) -> None:
        self.value, self.queues, self.groups = value, queues, groups
        self.limits, self.k, self.steps = limits, k, steps
        self.used = [0] * len(queues)
        self.kinds: list[int] = []
        self.placed: list[int] = []
        self.failed: set[tuple[object, ...]] = set()

    def go(self) -> bool:
        """Place the remaining cards; False when that is impossible or the steps are spent."""
        if len(self.placed) == self.k:
            return True
        state = self._state()
        self.steps -= 1
        if self.steps < 0 or state in self.failed:
            return False
        rooms = [self._rooms(r) for r in range(len(self.limits))]
        if self._enough(rooms):
            nexts = self._open()
            for t in sorted(nexts, key=lambda t: -self.value[self.queues[t][self.used[t]]]):
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

    def _state(self) -> tuple[object, ...]:
        """What the future depends on: cards used, and the last groups under each rule. Under a
        window as long as the list the counts say it all."""
        recent = (
            tuple(self.groups[r][u] for u in self.kinds[-window + 1 :])
            for r, (window, _) in enumerate(self.limits)
            if 1 < window < self.k
        )
        return (tuple(self.used), *recent)

    def _open(self) -> list[int]:
        """Kinds that have a card left and break no rule at the next place."""
        full: list[set[int]] = []
        for (window, cap), group in zip(self.limits, self.groups, strict=True):
            recent = [group[u] for u in self.kinds[-window + 1 :]] if window > 1 else []
            full.append({g for g in recent if g >= 0 and recent.count(g) >= cap})
        return [
            t
            for t, queue in enumerate(self.queues)
            if self.used[t] < len(queue)
            and all(group[t] not in shut for group, shut in zip(self.groups, full, strict=True))
        ]

    def _rooms(self, r: int) -> dict[int, int]:
        """Most further cards of each group that the open places take under rule ``r`` alone: each
        as early as the last ones allow, which is never worse than later."""
        (window, cap), group, t = self.limits[r], self.groups[r], len(self.kinds)
        fresh = room(self.k - t, window, cap)
        rooms = dict.fromkeys(group, fresh)
        rooms[-1] = self.k - t
        for g in {group[u] for u in self.kinds[-window + 1 :]} - {-1}:
            last = [p for p, u in enumerate(self.kinds) if group[u] == g][-cap:]
            first, most = t, 0
            for p in [-window] * (cap - len(last)) + last:
                first = max(first, p + window)
                most += max(0, (self.k - 1 - first) // window + 1)
                first += 1
            rooms[g] = most
        return rooms

    def _enough(self, rooms: list[dict[int, int]]) -> bool:
        """The counting bound: each rule leaves enough cards for the open places, where a group
        under it counts no more cards than the other rules leave of it."""
        open_places = self.k - len(self.placed)
        for r, group in enumerate(self.groups):
            others = [s for s in range(len(self.groups)) if s != r] or [r]
            for s in others:
                left: dict[tuple[int, int], int] = {}
                for t, pair in enumerate(zip(group, self.groups[s], strict=True)):
                    left[pair] = left.get(pair, 0) + len(self.queues[t]) - self.used[t]
                most: dict[int, int] = {}
                for (g, h), n in left.items():
                    most[g] = most.get(g, 0) + min(n, rooms[s][h])
                if sum(min(n, rooms[r][g]) for g, n in most.items()) < open_places:
                    return False
        return True
