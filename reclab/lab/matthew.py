"""The Matthew effect (马太效应) as it unfolds in our own log, from one day to the next.

    winners       the most exposed 1 % of a day: are they the winners of the days after?
    luck          winners by one half of the users, counted with the other half on the same day
    creators      posts of next week against the exposure gained this week; who falls silent

What winners lose from the day on that they do not lose from one half of the users to the other is
no regression to the mean: their lead was real, and it went (they were seen, or grew old).
A creator's habit is what he had posted before the log began, which no exposure in it can have
moved.
Reference: Galton 1886 (regression to the mean); Mladenov et al. 2020.

Simplified: groups of like creators, no model of the single one.
"""

from dataclasses import dataclass

import numpy as np

from reclab.core.chance import rng
from reclab.core.clock import DAY_MS
from reclab.core.errors import check_float, check_int
from reclab.core.types import Array
from reclab.lab.long_tail import Exposed, aligned

WEEK = 7


@dataclass(frozen=True)
class Persistence:
    """By ``lag`` in days (0 = the day itself, the other half of the users): share of a day's
    winners who win again (``again``; chance gives ``top``), their exposures as a share of those of
    the first day (``kept``), and the rank correlation of all items there on both (``ranks``)."""

    lag: Array
    again: Array
    kept: Array
    ranks: Array
    top: float

    def table(self) -> str:
        """A line a lag."""
        heads = ("days later", f"again in the top {self.top:.0%}", "exposure kept", "ranks")
        rows = [
            ("0, other users" if not d else f"{d}", f"{a:.1%}", f"{k:.0%}", f"{r:.2f}")
            for d, a, k, r in zip(self.lag, self.again, self.kept, self.ranks, strict=True)
        ]
        return aligned([heads, *rows])


def persistence(
    exposed: Exposed,
    user: Array,
    lags: tuple[int, ...] = (0, 1, 2, 3, 7),
    top: float = 0.01,
    first_day: int = 2,
    seed: int = 0,
) -> Persistence:
    """Does yesterday's winner win today? ``user`` (n,) of each exposure; winners are chosen by a
    random half of the users and counted with the other half, at every lag, so that their luck
    stays behind. Days before ``first_day`` are left out: nothing is personal yet."""
    check_float("top", top, 1e-6, 0.5, "0.01")
    check_int("first_day", first_day, 0, exposed.days - 1, "2")
    _, row = np.unique(user, return_inverse=True)
    mine = rng(seed, "matthew halves").random(row.max() + 1)[row] < 0.5
    one = exposed.by_day(mine.astype(float))
    other = exposed.by_day((~mine).astype(float)) * mine.mean() / max(1e-9, (~mine).mean())
    found = []
    for lag in lags:
        pairs = [
            _pair(one[d], other[d + lag], exposed.published(d), top)
            for d in range(first_day, exposed.days - lag)
        ]
        found.append(np.mean(pairs, 0) if pairs else np.full(3, np.nan))
    return Persistence(np.array(lags), *np.array(found).T, top)


def _pair(then: Array, now: Array, there: Array, top: float) -> tuple[float, float, float]:
    """Winners of ``then`` again among those of ``now``, exposures kept, rank correlation."""
    from scipy.stats import spearmanr  # slow to import

    n = max(1, round(top * int(there.sum())))
    then, now = np.where(there, then, -1), np.where(there, now, -1)
    won, wins = (np.argsort(-x, kind="stable")[:n] for x in (then, now))
    kept = now[won].sum() / max(1e-9, then[won].sum())
    ranks = spearmanr(then[there], now[there]).statistic
    return float(np.isin(won, wins).mean()), float(kept), float(ranks)


# ---- creators ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Answer:
    """Creators in groups by what they gained in a week. ``gained``: exposure share over share of
    the items from before the log, the group's; ``posts``: posts of the next week over the habit,
    1 = the mean of all; ``error``: one standard error of it, of the posts alone (Poisson); ``n``
    creator-weeks. ``slope``: of ln posts on ln gained, by groups: the elasticity."""

    gained: Array
    posts: Array
    error: Array
    n: Array
    slope: float

    def table(self) -> str:
        """A line a group."""
        heads = ("exposure / fair share", "creator-weeks", "posts next week / habit", "±")
        rows = [
            (f"{g:.2f}", f"{n:,}", f"{p:.2f}", f"{e:.2f}")
            for g, n, p, e in zip(self.gained, self.n, self.posts, self.error, strict=True)
        ]
        return aligned([heads, *rows])


def creators_answer(exposed: Exposed, groups: int = 5, seed: int = 0) -> Answer:
    """Do those who were seen last week post more this week? Groups of equal size within a week.

    The group is chosen by one random half of a creator's old items, the habit read from the other:
    with one count in both places, whoever had few by chance would seem well seen and eager."""
    check_int("groups", groups, 2, 100, "5")
    shown, posted = exposed.of_creators(exposed.by_day()), posts_by_day(exposed)
    first, habit = _habit(exposed, seed)
    known = np.flatnonzero(first > 0)
    totals = np.zeros((5, groups))
    for start in range(0, exposed.days - 2 * WEEK + 1, WEEK):
        exposure = shown[start : start + WEEK].sum(0)
        after = posted[start + WEEK : start + 2 * WEEK].sum(0)
        scale = after[known].sum() / max(1, habit[known].sum())
        order = known[np.argsort(exposure[known] / first[known], kind="stable")]
        for g, rows in enumerate(np.array_split(order, groups)):
            share = exposure[rows].sum() / max(1, exposure[known].sum())
            fair = habit[rows].sum() / max(1, habit[known].sum())
            totals[:, g] += share, fair, after[rows].sum(), habit[rows].sum() * scale, len(rows)
    share, fair, after, expected, n = totals
    posts = after / np.maximum(expected, 1e-9)
    error = np.sqrt(np.maximum(after, 1)) / np.maximum(expected, 1e-9)
    gained = share / np.maximum(fair, 1e-9)
    good = (gained > 0) & (posts > 0)
    slope = float("nan")
    if good.sum() >= 2:
        weight = np.sqrt(after[good])
        slope = float(np.polyfit(np.log(gained[good]), np.log(posts[good]), 1, w=weight)[0])
    return Answer(gained, posts, error, n.astype(np.int64), slope)


@dataclass(frozen=True)
class Silence:
    """Who left: ``silent`` creators of ``n`` posted nothing in the last ``days``, though their
    posts before let at least ``least`` be expected; chance alone would silence ``by_chance``.
    ``active`` (days of the log,): creators who posted in the week that ends with the day."""

    silent: int
    n: int
    by_chance: float
    days: int
    least: float
    active: Array

    def table(self) -> str:
        """Two lines."""
        first = (
            f"{self.silent} of {self.n} creators who post {self.least:g}+ times in {self.days} days"
            f" were silent in the last {self.days}; chance alone: {self.by_chance:.1f}"
        )
        every = " ".join(f"{n:,}" for n in self.active[WEEK - 1 :: WEEK])
        return f"{first}\ncreators active in each week: {every}"


def silence(exposed: Exposed, days: int = 10, least: float = 3.0) -> Silence:
    """Who posted before and not any more, beside what Poisson chance gives for the same rates."""
    check_int("days", days, 1, exposed.days - 1, "10")
    posted = posts_by_day(exposed)
    before, after = posted[:-days].sum(0), posted[-days:].sum(0)
    expected = before * days / (exposed.days - days)
    regular = expected >= least
    trailing = np.array(
        [(posted[max(0, d - WEEK + 1) : d + 1].sum(0) > 0).sum() for d in range(exposed.days)]
    )
    chance = float(np.exp(-expected[regular]).sum())
    silent = int((after[regular] == 0).sum())
    return Silence(silent, int(regular.sum()), chance, days, least, trailing)


def posts_by_day(exposed: Exposed) -> Array:
    """(days, n_creators) items published on each day of the log."""
    new = (exposed.publish_ms >= 0) & (exposed.publish_ms < exposed.days * DAY_MS)
    day = exposed.publish_ms[new] // DAY_MS
    cell = day * exposed.n_creators + exposed.creator[new]
    count = np.bincount(cell, minlength=exposed.days * exposed.n_creators)
    return count.reshape(exposed.days, exposed.n_creators)


def _habit(exposed: Exposed, seed: int) -> tuple[Array, Array]:
    """(n_creators,) items from before the log, a random half of them and the other."""
    old = exposed.creator[exposed.publish_ms < 0]
    half = rng(seed, "matthew habit").random(len(old)) < 0.5
    first, other = (np.bincount(old[h], minlength=exposed.n_creators) for h in (half, ~half))
    return first, other
