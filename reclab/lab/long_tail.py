"""The long tail (长尾) in our own logs: figure 2.9, how unequal each day is, who gets seen at all.

    figure 2.9 (a)  exposures of an item on a day against its popularity (clicks of the day before)
    figure 2.9 (b)  how many items there are of each popularity, and what share of exposure they get
    each day        Gini and Lorenz curve of all that was published by then, those without included
    ExpoReach       share of new items (creators) that reach k exposures within h hours

Popularity and exposure are read on different days: within one, a click needs an exposure, and the
figure would show little but that. ``matthew`` has how long the popular stay so.
Reference: Lorenz 1905; Gini 1912; Chen et al. 2025 (ExpoReach, new-item coverage).

Simplified: an exposure is a card that was looked at; industry also counts what was only fetched.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from reclab.core.clock import DAY_MS, HOUR_MS
from reclab.core.errors import DataError, check, check_int
from reclab.core.metrics import gini, lorenz, top_share
from reclab.core.tables import Logs
from reclab.core.types import Array

ITEM_GOALS = (1, 5, 20, 50, 200)
CREATOR_GOALS = (1, 20, 100, 200, 1000)


@dataclass(frozen=True)
class Exposed:
    """Who was shown when. ``item`` (n,) row, ``time_ms`` (n,), ``click`` (n,) bool of each
    exposure; ``chosen`` (n,) bool, not a flagged random slot; ``publish_ms`` and ``creator``
    (n_items,), the latter a row of 0 … ``n_creators`` - 1; ``days`` of the log."""

    item: Array
    time_ms: Array
    click: Array
    chosen: Array
    publish_ms: Array
    creator: Array
    n_creators: int
    days: int

    @staticmethod
    def of(logs: Logs) -> "Exposed":
        """From the log tables. Raises ``DataError`` when nothing was shown, or an item of the log
        is not in the catalogue."""
        rows, items = logs.interactions, logs.items
        if not len(rows):
            raise DataError("Exposed.of: these logs have no exposures")
        order = np.argsort(items["video_id"], kind="stable")
        place = np.searchsorted(items["video_id"][order], rows["video_id"]).clip(max=len(order) - 1)
        item = order[place]
        if (items["video_id"][item] != rows["video_id"]).any():
            raise DataError("Exposed.of: the log shows items that the item table does not have")
        authors, creator = np.unique(items["author_id"], return_inverse=True)
        random = rows["is_random"] if "is_random" in rows else np.zeros(len(rows), bool)
        time_ms, days = rows["time_ms"], int(rows["time_ms"].max() // DAY_MS) + 1
        facts = items["publish_ms"], creator, len(authors), days
        return Exposed(item, time_ms, rows["is_click"], ~random, *facts)

    def by_day(self, weight: Array | None = None) -> Array:
        """(days, n_items) exposures, or sums of ``weight`` (n,)."""
        n = len(self.publish_ms)
        cell = (self.time_ms // DAY_MS) * n + self.item
        return np.bincount(cell, weight, self.days * n).reshape(self.days, n)

    def of_creators(self, by_item: Array) -> Array:
        """(…, n_items) -> (…, n_creators) sums."""
        flat = by_item.reshape(-1, by_item.shape[-1])
        sums = [np.bincount(self.creator, row, self.n_creators) for row in flat]
        return np.array(sums).reshape(*by_item.shape[:-1], self.n_creators)

    def published(self, day: int) -> Array:
        """(n_items,) bool: there by the end of the day."""
        return np.asarray(self.publish_ms < (day + 1) * DAY_MS)


# ---- figure 2.9 ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Popularity:
    """Figure 2.9, a value a class of popularity. A class begins at ``clicks`` (0, 1, 2, 4, 8 …) in
    the ``memory`` days before a day; ``n_items`` in it on an average day, an item's mean exposures
    that day (``after``) and a day of the memory itself (``before``), and the class's share of all
    items and of the day's exposures. ``slope`` and ``slope_before``: of ln(mean exposures) on
    ln(mean clicks), over the classes with clicks: 1 would be in proportion."""

    memory: int
    clicks: Array
    n_items: Array
    before: Array
    after: Array
    share_items: Array
    share_exposure: Array
    slope: float
    slope_before: float

    def table(self) -> str:
        """A line a class."""
        heads = ("clicks before", "items", "of items", "shown before", "after", "of exposure")
        columns = self.n_items, self.share_items, self.before, self.after, self.share_exposure
        rows = [
            (
                f"{c:,.0f}+" if c else "0",
                f"{n:,.0f}",
                f"{s:.1%}",
                f"{b:.2f}",
                f"{a:.2f}",
                f"{e:.1%}",
            )
            for c, n, s, b, a, e in zip(self.clicks, *columns, strict=True)
        ]
        return aligned([heads, *rows])


def figure_2_9(exposed: Exposed, memory: int = 1) -> Popularity:
    """Both panels, over all days that have ``memory`` days before them and the items published
    before each."""
    check_int("memory", memory, 1, max(1, exposed.days - 1), "1")
    check_int("days of the log", exposed.days, 2, 100_000, "28")
    shown, clicked = exposed.by_day(), exposed.by_day(exposed.click)
    rows = []
    for day in range(memory, exposed.days):
        there, past = exposed.published(day - 1), slice(day - memory, day)
        rows.append([x[there] for x in (clicked[past].sum(0), shown[past].sum(0), shown[day])])
    clicks, before, after = (np.concatenate(column) for column in zip(*rows, strict=True))
    group = np.where(clicks > 0, np.floor(np.log2(np.maximum(clicks, 1))) + 1, 0).astype(np.int64)
    n = np.bincount(group)
    kept = np.flatnonzero(n)
    n = n[kept]
    mean_clicks, was, now = (np.bincount(group, x)[kept] / n for x in (clicks, before, after))
    shares = n / n.sum(), n * now / max(1.0, after.sum())
    slopes = _slope(mean_clicks, now, n), _slope(mean_clicks, was, n)
    start = np.where(kept > 0, 2.0 ** (kept - 1), 0.0)
    return Popularity(memory, start, n / len(rows), was / memory, now, *shares, *slopes)


def _slope(x: Array, y: Array, weight: Array) -> float:
    """Of ln y on ln x where both are above 0; NaN for fewer than two points."""
    good = (x > 0) & (y > 0)
    if good.sum() < 2:
        return float("nan")
    return float(np.polyfit(np.log(x[good]), np.log(y[good]), 1, w=np.sqrt(weight[good]))[0])


# ---- each day ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Concentration:
    """Inequality by day, (days,) each: Gini over all items and over all creators who have an item
    by then, share of exposure of the ``top`` 1 % and of the ``bottom`` 80 % of items, share of the
    items never shown that day (``unseen``). ``items`` and ``creators``: the Lorenz curve (x, y) of
    the whole log."""

    gini_items: Array
    gini_creators: Array
    top: Array
    bottom: Array
    unseen: Array
    items: tuple[Array, Array]
    creators: tuple[Array, Array]

    def table(self, every: int = 3) -> str:
        """A line each ``every`` days, and the last."""
        heads = ("day", "Gini items", "Gini creators", "top 1 %", "bottom 80 %", "not shown")
        n = len(self.gini_items)
        days = sorted({*range(0, n, every), n - 1})
        columns = self.top, self.bottom, self.unseen
        rows = [
            (f"{d}", f"{self.gini_items[d]:.3f}", f"{self.gini_creators[d]:.3f}")
            + tuple(f"{values[d]:.1%}" for values in columns)
            for d in days
        ]
        return aligned([heads, *rows])


def concentration(exposed: Exposed) -> Concentration:
    """How unequal each day is, and the whole log."""
    shown = exposed.by_day()
    made_by = exposed.of_creators(shown)
    rows = []
    for day in range(exposed.days):
        there = exposed.published(day)
        x, creators = shown[day, there], np.unique(exposed.creator[there])
        ten = top_share(x, 0.01), 1 - top_share(x, 0.2), float((x == 0).mean())
        rows.append((gini(x), gini(made_by[day, creators]), *ten))
    there = exposed.published(exposed.days - 1)
    whole = lorenz(shown.sum(0)[there]), lorenz(made_by.sum(0))
    return Concentration(*np.array(rows).T, *whole)


# ---- who reaches an audience ---------------------------------------------------------------


@dataclass(frozen=True)
class Reach:
    """ExpoReach: ``share`` (len(goals),) that gets at least ``goals`` exposures in ``hours``; with
    ``chosen`` alone, the flagged random slots left out, beside it. Of ``n`` items or (creator,
    window) pairs."""

    what: str
    hours: float
    goals: tuple[int, ...]
    share: Array
    chosen: Array
    n: int

    def table(self) -> str:
        """A line a goal."""
        heads = (f"{self.what}, {self.hours:g} h", "reach it", "without random slots")
        rows = [
            (f"{g:,}+ exposures", f"{a:.1%}", f"{b:.1%}")
            for g, a, b in zip(self.goals, self.share, self.chosen, strict=True)
        ]
        return aligned([heads, *rows])


def first_exposures(exposed: Exposed, hours: float, chosen: bool = False) -> tuple[Array, Array]:
    """(n_new,) rows of the items published in the log whose first ``hours`` lie in it, and their
    exposures within them."""
    check(hours > 0, "hours", hours, "be above 0", "24")
    window = hours * HOUR_MS
    within = exposed.time_ms - exposed.publish_ms[exposed.item] < window
    within &= exposed.chosen if chosen else True
    count = np.bincount(exposed.item[within], minlength=len(exposed.publish_ms))
    end = exposed.days * DAY_MS - window
    new = np.flatnonzero((exposed.publish_ms >= 0) & (exposed.publish_ms <= end))
    return new, count[new]


def reach_of_items(
    exposed: Exposed, hours: float = 24.0, goals: Sequence[int] = ITEM_GOALS
) -> Reach:
    """Of the new items, the share with ``goals`` exposures within ``hours`` of publication; at a
    goal of 1 it is the new-item coverage (新内容覆盖率)."""
    both = [first_exposures(exposed, hours, chosen)[1] for chosen in (False, True)]
    share, chosen = (_reached(x, goals) for x in both)
    return Reach("new items", hours, tuple(goals), share, chosen, len(both[0]))


def reach_of_creators(
    exposed: Exposed, hours: float = 24.0, goals: Sequence[int] = CREATOR_GOALS
) -> Reach:
    """Of those who have an item, the share whose items together get ``goals`` exposures in a
    window of ``hours``; the windows tile the log, what is left at its end is not counted."""
    check(0 < hours <= exposed.days * 24, "hours", hours, "be above 0 and within the log", "24")
    window, n = int(hours * HOUR_MS), exposed.n_creators
    n_windows = exposed.days * DAY_MS // window
    first = np.full(n, np.iinfo(np.int64).max)
    np.minimum.at(first, exposed.creator, exposed.publish_ms)
    there = first[None] < window * np.arange(1, n_windows + 1)[:, None]
    at = exposed.time_ms // window
    found = []
    for mask in (at < n_windows, (at < n_windows) & exposed.chosen):
        cell = at[mask] * n + exposed.creator[exposed.item[mask]]
        count = np.bincount(cell, minlength=n_windows * n).reshape(n_windows, n)
        found.append(_reached(count[there], goals))
    return Reach("creators", hours, tuple(goals), *found, int(there.sum()))


def coverage_by_day(exposed: Exposed, hours: float = 24.0, goal: int = 1) -> Array:
    """(days,) share of the items published on a day that get ``goal`` exposures within ``hours``;
    NaN for days without, and for those whose hours the log does not hold."""
    new, count = first_exposures(exposed, hours)
    day = exposed.publish_ms[new] // DAY_MS
    posted = np.bincount(day, minlength=exposed.days)[: exposed.days]
    hit = np.bincount(day, count >= goal, exposed.days)[: exposed.days]
    return np.asarray(np.where(posted > 0, hit / np.maximum(posted, 1), np.nan))


def _reached(count: Array, goals: Sequence[int]) -> Array:
    return np.array([float((count >= g).mean()) if len(count) else np.nan for g in goals])


def aligned(rows: Sequence[tuple[str, ...]]) -> str:
    """Rows of words as lines: the first column to the left, the others to the right."""
    wide = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(
            [row[0].ljust(wide[0]), *(c.rjust(w) for c, w in zip(row[1:], wide[1:], strict=True))]
        )
        for row in rows
    ]
    return "\n".join(lines)
