"""What the creator side costs users and what it buys: a front over settings and seeds.

    change of a setting = (setting - user side alone), seed by seed, mean and half range

Users' value and posts as shares of the user side's (0.01 = 1 % more), everything else as
differences of shares and of Gini. Value and exposures over all days; creators in the last week.

Simplified: two settings a hair apart are told apart by no more than the spread.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np

from reclab.core.metrics import mean_and_spread
from reclab.core.types import Array
from reclab.lab.dualrec_days import (
    ALONE,
    CREATOR_REACH,
    ITEM_REACH,
    TwoSidedDays,
)

Pair = tuple[float, float]  # mean and half range over seeds
LAST = slice(-7, None)
REACHED, CREATOR_REACHED = 50, 300
"""thresholds of the front: exposures of a new item, of a creator"""


@dataclass(frozen=True)
class Change:
    """A setting against the user side alone, (mean, half range) each: true ``value`` a session and
    ``card``, users who ``came`` and ``returned``, ``posts``: as shares; ``reach`` of new items and
    creators, Gini of items and creators, creators ``active`` and ``gone``: as differences;
    ``volume``: the creator side's share of exposures."""

    name: str
    value: Pair
    card: Pair
    came: Pair
    returned: Pair
    reach: Pair
    creator_reach: Pair
    gini_items: Pair
    gini_creators: Pair
    active: Pair
    posts: Pair
    gone: Pair
    volume: Pair


@dataclass(frozen=True)
class Front:
    """Every setting's change, in the order given."""

    rows: tuple[Change, ...]

    def within(self, loss: float = 0.01) -> tuple[Change, ...]:
        """Settings whose mean loss of value a session is at most ``loss``, most reach first."""
        kept = [row for row in self.rows if row.value[0] >= -loss]
        return tuple(sorted(kept, key=lambda row: -row.reach[0]))

    def dominated(self) -> tuple[str, ...]:
        """Settings beside which another has no less value and no less reach, and more of one."""
        return tuple(
            a.name
            for a in self.rows
            for b in self.rows
            if b.value[0] >= a.value[0]
            and b.reach[0] >= a.reach[0]
            and (b.value[0], b.reach[0]) != (a.value[0], a.reach[0])
        )

    def table(self) -> str:
        """A line a setting, in per cent and per cent points; Gini as differences times 100."""
        names = [field.name for field in fields(Change)[1:]]
        lines = [f"{'':<20}" + "".join(f"{name:>15}" for name in names)]
        for row in self.rows:
            cells = (getattr(row, name) for name in names)
            told = "".join(f"{100 * m:>+9.1f} ±{100 * s:4.1f}" for m, s in cells)
            lines.append(f"{row.name:<20}{told}")
        return "\n".join(lines)


def seeds_of(days: Mapping[str, TwoSidedDays]) -> list[str]:
    """The seeds of ``kept_days``' keys."""
    return sorted({name.split("/")[0] for name in days})


def front(days: Mapping[str, TwoSidedDays], names: Sequence[str], base: str = ALONE) -> Front:
    """``days`` by "seed/setting", as ``kept_days`` gives them."""
    return Front(tuple(change(days, name, base) for name in names))


def change(days: Mapping[str, TwoSidedDays], name: str, base: str = ALONE) -> Change:
    """One setting against ``base``."""
    pairs = [(days[f"{seed}/{name}"], days[f"{seed}/{base}"]) for seed in seeds_of(days)]

    def share(of: Callable[[TwoSidedDays], float]) -> Pair:
        return mean_and_spread(np.array([of(a) / of(b) - 1 for a, b in pairs]))

    def points(of: Callable[[TwoSidedDays], float]) -> Pair:
        return mean_and_spread(np.array([of(a) - of(b) for a, b in pairs]))

    item, creator = ITEM_REACH.index(REACHED), CREATOR_REACH.index(CREATOR_REACHED)
    return Change(
        name,
        share(lambda d: _mean(d.value * d.sessions) / _mean(d.sessions)),
        share(lambda d: _mean(d.value_card * d.total) / _mean(d.total)),
        share(lambda d: _mean(d.came)),
        share(lambda d: _mean(d.returned)),
        points(lambda d: float(d.reach[-1, item])),
        points(lambda d: float(d.creator_reach[-1, creator])),
        points(lambda d: _mean(d.gini_items[LAST])),
        points(lambda d: _mean(d.gini_creators[LAST])),
        points(lambda d: _mean(d.active[LAST])),
        share(lambda d: float(d.posts.sum())),
        points(lambda d: float(d.gone[-1])),
        points(lambda d: _mean(d.creator_share)),
    )


def _mean(values: Array) -> float:
    return float(np.nanmean(values))


def levels(days: Mapping[str, TwoSidedDays], names: Sequence[str]) -> str:
    """A table of the settings as they are: means over seeds; of the last week where of a day."""
    heads = ("value", "card", "came", "back", *(f"new>={t}" for t in ITEM_REACH))
    heads += (*(f"cr>={t}" for t in CREATOR_REACH), "gini i", "gini c", "active", "posts", "gone")
    heads += ("volume", "D_u .1", ".5", ".9", "hit", "cover")
    lines = [f"{'':<20}" + "".join(f"{head:>9}" for head in heads)]
    for name in names:
        every = [_levels(days[f"{seed}/{name}"]) for seed in seeds_of(days)]
        cells = "".join(f"{cell:>9.3f}" for cell in np.mean(every, 0))
        lines.append(f"{name:<20}{cells}")
    return "\n".join(lines)


def _levels(d: TwoSidedDays) -> list[float]:
    hit = float(np.nanmean(d.hit)) if np.isfinite(d.hit).any() else float("nan")
    return [
        _mean(d.value), _mean(d.value_card), _mean(d.came), _mean(d.returned), *d.reach[-1],
        *d.creator_reach[-1], _mean(d.gini_items[LAST]), _mean(d.gini_creators[LAST]),
        _mean(d.active[LAST]), _mean(d.posts), float(d.gone[-1]), _mean(d.creator_share),
        *np.asarray(d.sizes[LAST])[:, [1, 5, 9]].mean(0), hit, _mean(d.coverage),
    ]  # fmt: skip
